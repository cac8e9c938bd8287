"""What break points cannot be sought with, and the cases that seek them."""

import pytest

from ipsdist.config import resolve
from ipsdist.model.errors import InputError

REFUSED = [
    (
        ("system.dimension=2", "initial.uniform={lower=-1.0,upper=1.0}", "grid.cells=40"),
        "`fit.selection` must not be breakpoints when system.dimension > 1; got system.dimension = 2; "
        'use fit.selection = "best_subset"',
    ),
    (
        ("fit.form=strong",),
        "`fit.selection` must not be breakpoints for the strong form, which is no likelihood of a kernel in pieces; "
        'got fit.form = strong; use fit.form = "action"',
    ),
    (
        ("fit.form=weak",),
        "`fit.selection` must not be breakpoints for the weak form, which is no likelihood of a kernel in pieces; "
        'got fit.form = weak; use fit.form = "action"',
    ),
    (
        ("fit.sums=direct",),
        '`fit.sums` must not be direct for breakpoints, which takes a force mesh; got "direct"; use fit.sums = "mesh"',
    ),
    (
        ('dictionary.potentials=["x"]',),
        "`dictionary.potentials` must be left out for breakpoints, which learns the kernel alone; got given; "
        'use fit.selection = "best_subset"',
    ),
    (
        ("dictionary.drift=true",),
        "`dictionary.drift` must be left out for breakpoints, which learns the kernel alone; got given; "
        'use fit.selection = "best_subset"',
    ),
]


@pytest.mark.parametrize(("sets", "message"), REFUSED, ids=[s[0] for s, _ in REFUSED])
def test_what_does_not_go_together(sets, message):
    """In one line, before anything is written."""
    with pytest.raises(InputError) as refused:
        resolve("polarization", sets)
    assert str(refused.value) == message


@pytest.mark.parametrize(("case", "breaks"), [("polarization", (1.5, 2.0)), ("consensus", (2.0, 3.0))])
def test_cases(case, breaks):
    """Both cases have jumps at their breaks, seek them by the action form, and are told neither number nor places."""
    config = resolve(case)
    assert tuple(place for place, size in config.kernel().jumps() if size) == breaks
    assert (config.selection, config.form) == ("breakpoints", "action")
    assert config.terms().names == ("r", "r**2")
