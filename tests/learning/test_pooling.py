"""Pooled equations are the weighted sum, their errors hold, and chi^2 of the experiments is a chi^2."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats

from ipsdist.learning.pooling import Part, agreement, pooled_equations, pooled_fit
from ipsdist.learning.subset import best_subset
from ipsdist.model.normal_equations import NormalEquations

NAMES = ("1", "r", "r**2")
TRUE = np.array([3.0, -1.0, 200.0])
SCALES = np.array([1.0, 30.0, 0.01])
SIGMA2 = (2.0, 0.5, 1.0)


def grams(blind=None):
    """Return the Gram matrices of three experiments of 6, 5, 4 panels; the last does not see the term ``blind``."""
    random = np.random.default_rng(1)
    found = []
    for panels, size in ((6, 400.0), (5, 100.0), (4, 900.0)):
        rows = random.normal(size=(panels, 8, 3)) * SCALES * np.sqrt(size)
        if blind is not None and panels == 4:
            rows[:, :, blind] = 0.0
        found.append(np.einsum("pnk,pnl->pkl", rows, rows))
    return found


def draw(random, gram, sigma2, error=None, truth=TRUE):
    """Return the equations of one experiment with noise of its sigma**2, whose own error moves the moment."""
    root = np.linalg.cholesky(gram + 1e-9 * np.eye(3) * (np.einsum("pkk->k", gram) == 0))
    moment = gram @ truth + np.sqrt(sigma2) * np.einsum("pkl,pl->pk", root, random.normal(size=(len(gram), 3)))
    moment *= np.einsum("pkk->pk", gram) > 0
    shift = None
    if error is not None:
        shift = error * np.sqrt(sigma2) * gram.sum(axis=0) @ (1.0 / SCALES) / 20.0
        moment[0] += shift * random.normal()
    return Part(NormalEquations("action", NAMES, gram, moment, None, 100, sigma2), sigma2, shift)


def experiments(random, blind=None, error=None):
    """Return three experiments, the second with an error of sigma**2 where ``error`` is given."""
    errors = (None, error, None)
    return [draw(random, g, s, e) for g, s, e in zip(grams(blind), SIGMA2, errors, strict=True)]


def whole(parts):
    """Fit all three terms to the pool: none can be left out of the best model, so sure are they."""
    fit = pooled_fit(parts, criterion="bic", max_terms=3)
    assert fit.terms == (0, 1, 2)
    return fit


def test_the_pool_is_the_weighted_sum():
    """Panels in the order given, each over its sigma**2, to the last bit; particles add; unit diffusion."""
    parts = experiments(np.random.default_rng(0))
    pool = pooled_equations(parts)
    np.testing.assert_array_equal(pool.gram[6:11], parts[1].equations.gram / 0.5)
    np.testing.assert_array_equal(pool.moment[:6], parts[0].equations.moment / 2.0)
    assert (pool.panels, pool.particles, pool.diffusion, pool.form) == (15, 300, 1.0, "action")
    gram = sum(p.equations.gram.sum(axis=0) / p.diffusion for p in parts)
    moment = sum(p.equations.moment.sum(axis=0) / p.diffusion for p in parts)
    fit = whole(parts)
    np.testing.assert_allclose(fit.coefficients, np.linalg.solve(gram, moment), rtol=1e-12)
    np.testing.assert_allclose(fit.covariance, np.linalg.inv(gram), rtol=1e-10)


def test_one_experiment_is_itself():
    """The pool of one has the answer and the errors of its own sigma**2."""
    (part, *_) = experiments(np.random.default_rng(0))
    alone = best_subset(part.equations, part.diffusion, criterion="bic", max_terms=3)
    fit = pooled_fit([part], criterion="bic", max_terms=3)
    np.testing.assert_allclose(fit.coefficients, alone.coefficients, rtol=1e-12)
    np.testing.assert_allclose(fit.covariance, alone.covariance, rtol=1e-10)


def test_chi2_is_that_of_textbooks():
    """It equals sum (z_e - z)' A_e / sigma_e**2 (z_e - z); that of one experiment compares it with the others' pool."""
    parts = experiments(np.random.default_rng(2))
    fit = whole(parts)
    found = agreement(parts, fit)
    sums = [(p.equations.gram.sum(axis=0) / p.diffusion, p.equations.moment.sum(axis=0) / p.diffusion) for p in parts]
    apart = [np.linalg.solve(gram, moment) - fit.coefficients for gram, moment in sums]
    expected = sum(d @ gram @ d for d, (gram, _) in zip(apart, sums, strict=True))
    assert found.degrees_of_freedom == 6
    np.testing.assert_allclose(found.chi2, expected, rtol=1e-8)
    np.testing.assert_allclose(found.p_value, scipy.stats.chi2.sf(expected, 6), rtol=1e-8)
    for k, one in enumerate(found.each):
        rest = [sum(s[j] for n, s in enumerate(sums) if n != k) for j in range(2)]
        between = np.linalg.solve(*sums[k]) - np.linalg.solve(*rest)
        spread = np.linalg.inv(sums[k][0]) + np.linalg.inv(rest[0])
        np.testing.assert_allclose(one.chi2, between @ np.linalg.solve(spread, between), rtol=1e-8)
        np.testing.assert_allclose(one.coefficients, np.linalg.solve(*sums[k]), rtol=1e-10)
        np.testing.assert_allclose(one.standard_errors, np.sqrt(np.diag(np.linalg.inv(sums[k][0]))), rtol=1e-10)
        assert (fit.standard_errors < one.standard_errors).all()


@pytest.mark.parametrize(("blind", "freedom"), [(None, (6, 3, 3, 3)), (1, (5, 3, 3, 2))])
def test_p_values_are_uniform(blind, freedom):
    """With one law, over 400 draws: of all and of each, with sigma**2 learnt in one and one that lacks a term."""
    random, found = np.random.default_rng(3), []
    for _ in range(400):
        parts = experiments(random, blind, error=1.0)
        test = agreement(parts, whole(parts))
        assert (test.degrees_of_freedom, *(one.degrees_of_freedom for one in test.each)) == freedom
        found.append([test.p_value, *(one.p_value for one in test.each)])
    for values in np.array(found).T:
        assert scipy.stats.kstest(values, "uniform").pvalue > 1e-3


def test_errors_hold_where_sigma2_was_learnt():
    """The scatter of 400 pooled answers is that of the covariance: Hotelling's sum is a chi^2; without it, far off."""
    random, sizes = np.random.default_rng(4), []
    for _ in range(400):
        parts = experiments(random, error=3.0)
        fit = whole(parts)
        apart = fit.coefficients - TRUE
        naive = np.linalg.inv(pooled_equations(parts).gram.sum(axis=0))
        sizes.append([apart @ np.linalg.solve(c, apart) for c in (fit.covariance, naive)])
    mean = np.mean(sizes, axis=0)
    assert abs(mean[0] - 3.0) < 4 * np.sqrt(6 / 400)
    assert mean[1] > 3.5


def test_a_term_that_an_experiment_lacks():
    """Its own coefficient is nan, that of the others is not, and the pool takes it from the others."""
    parts = experiments(np.random.default_rng(5), blind=1)
    found = agreement(parts, whole(parts))
    assert np.isnan(found.each[2].coefficients).tolist() == [False, True, False]
    assert np.isnan(found.each[2].standard_errors).tolist() == [False, True, False]
    some = [0, 2]
    gram = parts[2].equations.gram.sum(axis=0)[np.ix_(some, some)]
    alone = np.linalg.solve(gram, parts[2].equations.moment.sum(axis=0)[some])
    np.testing.assert_allclose(found.each[2].coefficients[some], alone, rtol=1e-7)


def test_another_law_is_noticed():
    """Five standard errors in one coefficient of one experiment: p falls below 1e-3, least for that experiment."""
    random = np.random.default_rng(6)
    parts = experiments(random)
    gram = parts[1].equations.gram
    error = np.sqrt(SIGMA2[1] * np.linalg.inv(gram.sum(axis=0))[0, 0])
    parts[1] = draw(random, gram, SIGMA2[1], truth=np.add(TRUE, [5 * error, 0.0, 0.0]))
    found = agreement(parts, whole(parts))
    assert found.p_value < 1e-3
    assert min(found.each, key=lambda one: one.p_value) is found.each[1]


def test_nothing_kept_is_nothing_to_compare():
    """A pool without terms has no degrees of freedom and no p."""
    parts = [Part(NormalEquations("action", NAMES, g, np.zeros((len(g), 3)), None, 100, 1.0), 1.0) for g in grams()]
    found = agreement(parts, pooled_fit(parts, criterion="bic", max_terms=3))
    assert (found.chi2, found.degrees_of_freedom, len(found.each)) == (0.0, 0, 3)
    assert np.isnan([found.p_value, *(one.p_value for one in found.each)]).all()


def test_unlike_parts_are_refused():
    """Another form, another basis, the strong form, no sigma**2 and no parts."""
    part = experiments(np.random.default_rng(0))[0]
    (panels, terms), gram = part.equations.moment.shape, part.equations.gram
    strong = NormalEquations("strong", NAMES, gram, np.zeros((panels, terms)), np.zeros(panels), 1)
    other = NormalEquations("action", ("1", "r", "r**3"), gram, np.zeros((panels, terms)), None, 1)
    for parts in ([], [Part(strong, 1.0)], [part, Part(other, 1.0)]):
        with pytest.raises(ValueError, match="one basis and one form that is a likelihood"):
            pooled_equations(parts)
    with pytest.raises(ValueError, match="`diffusion` must be positive"):
        pooled_equations([Part(part.equations, 0.0)])
