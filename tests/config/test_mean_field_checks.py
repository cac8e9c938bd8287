"""What densities of the mean-field equation cannot serve is refused in one line."""

import pytest

from ipsdist.config import resolve
from ipsdist.model.errors import InputError

WHEN = 'when data.source = "mean_field"'
REFUSED = [
    (
        "initial.file=x.npy",
        f"`initial.file` must be a law with a density {WHEN}; got ",
    ),
    (
        "system.dimension=3",
        f'`system.dimension` must be 1 or 2 {WHEN}; got 3; use data.source = "simulate"',
    ),
    (
        "system.replicas=2",
        f"`system.replicas` must be 1 {WHEN}, which has no chance to repeat; got 2; leave it out",
    ),
    (
        "time.positions_at=[0.0]",
        f"`time.positions_at` must be left out {WHEN}; got given; there are no particles",
    ),
    (
        "force.method=direct",
        f'`force.method` must be auto or mesh {WHEN}; got "direct"; use force.method = "auto"',
    ),
    (
        "fit.form=likelihood",
        f'`fit.form` must not be likelihood {WHEN}, which has no displacements; got "likelihood"; '
        'use fit.form = "action"',
    ),
    (
        "fit.sums=direct",
        f'`fit.sums` must not be direct {WHEN}, which has no pairs of particles; got "direct"; use fit.sums = "mesh"',
    ),
]


@pytest.mark.parametrize(("key", "message"), REFUSED, ids=[key for key, _ in REFUSED])
def test_what_needs_particles_is_refused(key, message):
    """One line with the key, the rule, what came and the fix."""
    with pytest.raises(InputError) as caught:
        resolve("cubic", ["data.source=mean_field", key])
    assert str(caught.value).startswith(message)


def test_a_density_has_no_labels():
    """``data.labelled`` is false whatever the file says, and sigma^2 comes from the weak form."""
    config = resolve("cubic", ["data.source=mean_field", "data.labelled=true", "fit.diffusion=estimate"])
    assert config.data.labelled is False
    assert config.form == "weak"
    assert resolve("cubic").data.labelled is True


def test_what_a_simulation_needs_is_needed_here_too():
    """Kernel, diffusion, time and a law; the times may be chosen."""
    chosen = resolve("cubic", ["data.source=mean_field", "data.times=gauss_lobatto", "data.slices=9"])
    assert chosen.times().slices == 9
    with pytest.raises(InputError, match=r"`data\.file` is read only when"):
        resolve("cubic", ["data.source=mean_field", "data.file=x.npz"])
