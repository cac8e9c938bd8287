"""Panels that are assembled when they are drawn: the answer of whole equations from a part of them."""

from dataclasses import replace

import numpy as np
import pytest

from ipsdist.learning.panels import Sample
from ipsdist.learning.two_phase import two_phase
from tests.learning.rows import EIGHT, dictionary_rows, from_rows

CUBIC = {"r**2": 3.0}


class Counted:
    """A source of panels that are there, which notes what it is asked for."""

    def __init__(self, equations):
        self.equations, self.basis, self.panels = equations, equations.basis, equations.panels
        self.taken, self.kept = [], []

    def take(self, panels):
        """Note the panels."""
        self.taken.append(panels.tolist())
        return self.equations.take(panels)

    def keep(self, terms):
        """Note the terms."""
        self.kept.append(tuple(terms))
        names = [self.basis[k] for k in terms]
        return self.equations.change_basis(np.eye(len(self.basis))[:, list(terms)], names)


def long_equations(seed, form="strong", panels=400, noise=1.0):
    x, y = dictionary_rows(np.random.default_rng(seed), CUBIC, noise, panels=panels)
    if form == "strong":
        return from_rows(x, y, basis=EIGHT)
    rng = np.random.default_rng(seed + 100)
    y = x @ [CUBIC.get(name, 0.0) for name in EIGHT] + noise * rng.standard_normal(y.shape)
    return from_rows(x, y, form, basis=EIGHT)


@pytest.mark.parametrize("form", ["strong", "action"])
def test_a_source_that_is_drawn_whole_gives_the_answer_of_whole_equations(form):
    """With every panel drawn: the same masks, terms, runners-up and condition, coefficients to rounding."""
    equations = long_equations(0, form)
    source = Counted(equations)
    whole = two_phase(equations, diffusion=2.0, seed=3, sampled_fraction=1.0)
    drawn = two_phase(source, diffusion=2.0, seed=3, sampled_fraction=1.0)
    assert drawn.terms == whole.terms
    assert [turn.mask for turn in drawn.history] == [turn.mask for turn in whole.history]
    assert [turn.sampled for turn in drawn.history] == [turn.sampled for turn in whole.history]
    np.testing.assert_allclose(drawn.coefficients, whole.coefficients, rtol=1e-12)
    np.testing.assert_allclose(drawn.covariance, whole.covariance, rtol=1e-9)
    assert drawn.condition == pytest.approx(whole.condition, rel=1e-4)  # 1e10 times the rounding of a sum
    assert [c.terms for c in drawn.alternatives] == [c.terms for c in whole.alternatives]
    assert source.kept == []


@pytest.mark.parametrize("form", ["strong", "action"])
@pytest.mark.parametrize("importance", [True, False])
def test_only_drawn_panels_are_assembled(form, importance):
    """Each once, after 20 evenly spread ones; the history counts them; Phase II asks for the kept terms alone."""
    equations = long_equations(1, form)
    source = Counted(equations)
    fit = two_phase(source, diffusion=1.0, seed=0, sampled_fraction=0.02, importance=importance)
    asked = [n for panels in source.taken for n in panels]
    assert source.taken[0] == np.linspace(0, 399, 20).round().tolist()
    assert all(len(panels) <= 8 for panels in source.taken[1:])
    assert len(asked) == len(set(asked)) == fit.history[-1].sampled < 100
    counts = [turn.sampled for turn in fit.history]
    assert counts == sorted(counts)
    assert source.kept == [fit.terms] == [(2,)]
    total = equations.total()
    assert fit.coefficients[0] == pytest.approx(total.moment[0, 2] / total.gram[0, 2, 2], rel=1e-12)
    again = two_phase(Counted(equations), diffusion=1.0, seed=0, sampled_fraction=0.02, importance=importance)
    assert again.history == fit.history
    assert again.coefficients.tobytes() == fit.coefficients.tobytes()


def test_errors_between_assembled_panels_are_interpolated():
    """An assembled panel has its own misfit; the others lie on the line between their assembled neighbours."""
    equations = long_equations(2, panels=50)
    sample = Sample.first(Counted(equations), scale_columns=True)
    z = np.linspace(-1, 1, 8)
    own = equations.misfit(z / sample.scale)
    errors = sample.errors(z)
    np.testing.assert_allclose(errors[sample.index], own[sample.index], rtol=1e-9)
    left, right = sample.index[3], sample.index[4]
    assert right > left + 1
    for n in range(left, right):
        line = own[left] + (own[right] - own[left]) * (n - left) / (right - left)
        assert errors[n] == pytest.approx(line, rel=1e-9)
    grown, used = sample.draw(np.array([left, left + 1]))
    assert grown.index.tolist() == sorted({*sample.index.tolist(), left + 1})
    assert used.panels == len(grown.index)
    np.testing.assert_allclose(grown.errors(z * grown.scale / sample.scale)[left + 1], own[left + 1], rtol=1e-9)
    np.testing.assert_allclose(np.diag(used.gram.sum(axis=0)), 1.0)


def test_importance_finds_a_stretch_that_was_hardly_looked_at():
    """A tenth of the time fits far worse than the rest: drawn by error it gives most of the new panels."""
    equations = long_equations(3)
    moment, energy = equations.moment.copy(), equations.energy.copy()
    stretch = slice(120, 160)
    moment[stretch] += 30.0 * equations.gram[stretch, :, 0]
    energy[stretch] += 1e6
    changed = replace(equations, moment=moment, energy=energy)

    def share(importance):
        source = Counted(changed)
        two_phase(source, diffusion=1.0, seed=0, sampled_fraction=0.01, importance=importance)
        new = [n for panels in source.taken[1:] for n in panels]
        return np.mean([120 <= n < 160 for n in new])

    assert share(importance=True) > 0.5
    assert share(importance=False) < 0.3


def test_runners_up_of_a_source_are_scaled_to_all_panels():
    """The rise of the misfit over the assembled panels counts for those that were left out."""
    equations = long_equations(4, "action")
    source = Counted(equations)
    fit = two_phase(source, diffusion=0.5, seed=0, sampled_fraction=0.05)
    total = equations.take(sorted(n for panels in source.taken for n in panels)).total()
    gains = total.moment[0] ** 2 / np.diag(total.gram[0])
    share = fit.history[-1].sampled / 400
    for candidate in fit.alternatives:
        rise = (gains[2] - gains[candidate.terms[0]]) / 0.5 / share
        assert candidate.score == pytest.approx(rise, rel=1e-6)


def test_a_source_of_nothing_is_not_refitted():
    """With penalty 1 no term is left, and no panel is assembled for Phase II."""
    source = Counted(long_equations(0))
    fit = two_phase(source, diffusion=1.0, seed=0, penalty=1.0, sampled_fraction=0.01)
    assert (fit.terms, source.kept) == ((), [])


def test_a_short_source_is_assembled_by_the_first_look():
    """Fewer than 20 panels are all looked at first."""
    equations = long_equations(5, panels=12)
    source = Counted(equations)
    fit = two_phase(source, diffusion=1.0, seed=0, sampled_fraction=0.1)
    assert source.taken == [list(range(12))]
    assert source.kept == []
    assert {turn.sampled for turn in fit.history} == {12}
