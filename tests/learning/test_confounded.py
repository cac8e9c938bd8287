"""Confounded groups: what no data of a kind tell apart is named, what they tell apart is not."""

import numpy as np
import pytest

from ipsdist.learning.confounded import alike_but_for_chance, confounded
from ipsdist.learning.subset import best_subset
from ipsdist.model.fit import Fit
from ipsdist.model.normal_equations import DIFFUSION as SIGMA2
from ipsdist.model.normal_equations import NormalEquations
from tests.learning.draws import drawn, pair_gram
from tests.learning.rows import EIGHT

OPTIONS = {"criterion": "ebic", "max_terms": 4}
LAW = (*EIGHT[:4], "exp(-r/2)", *EIGHT[5:])
"""Eight terms with those of exp(-r) - 0.5 exp(-r/2)."""


def attracted(seed, centres, particles=1000, steps=60, diffusion=2.0):
    """Likelihood of phi = r over one unit of time, with V = x**2/2 and two more columns to choose from."""
    rng = np.random.default_rng(seed)
    step = 1.0 / steps
    x = rng.choice(centres, particles) + 0.5 * rng.standard_normal(particles)
    gram, moment = np.zeros((4, 4)), np.zeros(4)
    for _ in range(steps):
        m1, m2, m3 = x.mean(), (x**2).mean(), (x**3).mean()
        columns = -np.array([x - m1, x**3 - 3 * x**2 * m1 + 3 * x * m2 - m3, x, x**3])
        move = step * columns[0] + np.sqrt(diffusion * step) * rng.standard_normal(particles)
        gram += step * columns @ columns.T
        moment += columns @ move
        x = x + move
    basis = ("r", "r**3", "x**2/2", "x**4/4")
    return NormalEquations("likelihood", basis, gram[None], moment[None], None, particles)


@pytest.mark.parametrize(("centres", "low", "high"), [((-1.0, 1.0), 27, 30), ((0.0, 2.0), 0, 0)])
def test_attraction_and_a_potential(centres, low, high):
    """phi = r and V = x**2/2 differ by the mean: one group in nearly all of 30 symmetric runs, in none about 1."""
    named = 0
    for seed in range(30):
        equations = attracted(seed, centres)
        groups = confounded(best_subset(equations, 2.0), equations, 2.0, **OPTIONS)
        named += any({"r", "x**2/2"} <= set(group) for group in groups)
    assert low <= named <= high


def law_draws(size, count):
    """Fits and equations of exp(-r) - 0.5 exp(-r/2), from the exact law of the moment."""
    gram, z = size * pair_gram(LAW, 150, np.random.default_rng(0)), np.zeros(8)
    z[[4, 5]] = -0.5, 1.0
    for seed in range(count):
        equations = drawn(gram, z, 0.5, np.random.default_rng(seed), basis=LAW)
        yield best_subset(equations, 0.5, **OPTIONS), equations


def test_wrong_answers_name_the_true_terms():
    """Where the data often mislead, the fit's terms and those in its groups hold the truth in nearly all wrong ones."""
    wrong = covered = 0
    for fit, equations in law_draws(1e5, 60):
        if fit.terms == (4, 5):
            continue
        wrong += 1
        names = {name for group in confounded(fit, equations, 0.5, **OPTIONS) for name in group}
        covered += {"exp(-r/2)", "exp(-r)"} <= names | {LAW[k] for k in fit.terms}
    assert wrong >= 15
    assert covered >= 0.95 * wrong


def test_groups_shrink_with_data_and_grow_with_evidence():
    """With a hundred times the data the same law is told apart; more evidence asked for never names fewer."""
    counts = {}
    for size in (1e5, 1e7):
        for evidence in (2.0, 6.0, 10.0):
            groups = [confounded(f, e, 0.5, evidence=evidence, **OPTIONS) for f, e in law_draws(size, 20)]
            counts[size, evidence] = [sum(map(len, g)) for g in groups]
    for size in (1e5, 1e7):
        few, some, many = (np.array(counts[size, evidence]) for evidence in (2.0, 6.0, 10.0))
        assert (few <= some).all()
        assert (some <= many).all()
    assert np.mean(np.array(counts[1e5, 6.0]) > 0) > 0.9
    assert np.mean(np.array(counts[1e7, 6.0]) > 0) < 0.1


def one_panel(moment, basis, gram=None):
    """Equations of one panel, by default with unit Gram; N = 1000."""
    terms = len(basis)
    matrix = np.eye(terms) if gram is None else gram
    return NormalEquations("action", basis, matrix[None], np.array(moment, dtype=float)[None], None, 1000)


def test_two_exchanges_are_two_groups_in_the_order_of_the_basis():
    """Pairs that exchange independently stay apart, although both exchanges at once fit as well."""
    gram = np.eye(5)
    for one, other in ((0, 3), (1, 2)):
        gram[one, other] = gram[other, one] = 0.9999
    equations = one_panel(gram @ [20.0, 0.0, 20.0, 0.0, 20.0], ("a", "c", "d", "b", "e"), gram)
    fit = best_subset(equations, 1.0, **OPTIONS)
    assert fit.terms == (0, 2, 4)
    assert (1, 3, 4) in [a.terms for a in fit.alternatives if a.score < 1]
    assert confounded(fit, equations, 1.0, evidence=1.0, **OPTIONS) == (("a", "b"), ("c", "d"))


def test_chains_of_exchanges_merge():
    """A for B and B for C are one group, though D stays out of it; so are two terms for one."""
    gram = np.eye(4)
    gram[:3, :3] = 0.9999
    np.fill_diagonal(gram, 1.0)
    equations = one_panel(gram @ [20.0, 0.0, 0.0, 20.0], ("a", "b", "c", "d"), gram)
    assert confounded(best_subset(equations, 1.0, **OPTIONS), equations, 1.0, **OPTIONS) == (("a", "b", "c"),)
    gram = np.eye(4)
    gram[0, 1] = gram[1, 0] = gram[0, 2] = gram[2, 0] = np.sqrt(0.498)
    equations = one_panel(gram @ [50.0, 0.0, 0.0, 20.0], ("a", "b", "c", "d"), gram)
    groups = confounded(best_subset(equations, 1.0, **OPTIONS), equations, 1.0, evidence=20.0, **OPTIONS)
    assert groups == (("a", "b", "c"),)


def test_more_or_fewer_terms_are_no_exchange():
    """A term that might be added is in no group by itself; two of which either might be added are one."""
    weak = 0.9 * np.sqrt(np.log(1000) + 2 * np.log(6 / 4))  # the price of a second term of four
    for near, groups in ((0.0, ()), (0.99, (("b", "c"),))):
        gram = np.eye(4)
        gram[1, 2] = gram[2, 1] = near
        equations = one_panel(gram @ [30.0, weak, 0.0, 0.0], ("a", "b", "c", "d"), gram)
        fit = best_subset(equations, 1.0, **OPTIONS)
        assert fit.terms == (0,)
        assert fit.alternatives[0].terms == (0, 1)
        assert fit.alternatives[0].score < 6
        assert confounded(fit, equations, 1.0, **OPTIONS) == groups


def test_of_the_two_phases_too():
    """A fit with other terms than the best subset's is weighed against it: what they exchange is a group."""
    gram = np.array([[1.0, 0.999], [0.999, 1.0]])
    equations = one_panel(gram @ [30.0, 0.0], ("a", "b"), gram)
    other = Fit(equations.basis, (1,), np.array([29.97]), np.eye(1), 1.0, "two_phase")
    assert confounded(other, equations, 1.0, evidence=0.0, **OPTIONS) == (("a", "b"),)
    nothing = Fit(equations.basis, (), np.zeros(0), np.zeros((0, 0)), 1.0, "two_phase")
    assert confounded(nothing, equations, 1.0, evidence=0.0, **OPTIONS) == ()


def test_columns_in_every_model_are_in_no_group():
    """sigma^2 is in all models: in no group, however the terms beside it exchange."""
    gram = np.eye(4)
    gram[0, 1] = gram[1, 0] = 0.999
    gram[3, :3] = gram[:3, 3] = 0.3
    equations = one_panel(gram @ [20.0, 0.0, 0.0, 5.0], ("a", "b", "c", SIGMA2), gram)
    fit = best_subset(equations, 1.0, always=[3], **OPTIONS)
    assert fit.terms == (0, 3)
    assert confounded(fit, equations, 1.0, always=[3], **OPTIONS) == (("a", "b"),)


@pytest.mark.parametrize(("centre", "expected"), [(0.0, (("r", "x**2/2"),)), (1.0, ())])
def test_columns_that_chance_alone_tells_apart(centre, expected):
    """Forces of phi = r and V = x**2/2 differ by the sample's mean: chance about 0, a fact about 1, however many."""
    x = np.random.default_rng(3).normal(centre, 1.0, 20_000)
    columns = np.stack([-(x - x.mean()), -x, -np.sign(x - x.mean()) * (x - x.mean()) ** 2])
    gram = columns @ columns.T
    equations = NormalEquations("action", ("r", "x**2/2", "r**2"), gram[None], gram[:1] * 1.0, None, 20_000, 1.0)
    fit = best_subset(equations, 1.0)
    assert fit.terms == (0,)
    assert alike_but_for_chance(fit, equations) == expected
