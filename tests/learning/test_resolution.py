"""The information-matrix test: terms that the slices do not resolve are found and left out."""

from dataclasses import replace

import numpy as np

from ipsdist.learning.resolution import fit_resolved, score_ratios
from ipsdist.learning.subset import best_subset
from ipsdist.model.normal_equations import NormalEquations


def equations(panels=60, terms=3, noisy=(), excess=50.0, seed=0, z=(2.0, 0.0, 0.0)):
    """Panels with b_n = A_n z + noise of covariance sigma^2 A_n, ``excess`` times that for the terms in ``noisy``."""
    random = np.random.default_rng(seed)
    factors = random.normal(size=(panels, 40, terms))
    gram = np.einsum("pik,pil->pkl", factors, factors)
    noise = np.einsum("pik,pi->pk", factors, random.normal(size=(panels, 40)))
    for k in noisy:
        noise[:, k] *= np.sqrt(excess)
    moment = np.einsum("pkl,l->pk", gram, np.array(z)) + noise
    return NormalEquations("action", ("a", "b", "c")[:terms], gram, moment, None, 10_000, 1.0)


def select(e):
    return best_subset(e, 1.0, criterion="bic", max_terms=3)


def test_resolved_terms_scatter_as_promised():
    """For noise of covariance sigma^2 A the ratio is 1 on average, with variance 35 / (9 P) over P like panels."""
    ratios = []
    for seed in range(200):
        e = equations(seed=seed)
        ratios.append(score_ratios(e, select(e), 1.0))
    assert np.abs(np.mean(ratios) - 1.0) < 5 * np.sqrt(35 / (9 * e.panels) / 200)
    # The Grams differ from panel to panel, which makes it vary a little more.
    assert 0.8 < np.var(ratios) * e.panels / (35 / 9) < 1.6


def test_errors_that_are_smooth_in_time_unresolve_nothing():
    """A bias of several standard errors a panel that dies away, as that of the time step does with many particles."""
    e = equations(panels=100)
    fading = 8.0 * np.exp(-np.arange(100) / 5.0)[:, None] * np.sqrt(np.einsum("pkk->pk", e.gram))
    biased = replace(e, moment=e.moment + fading)
    assert fit_resolved(biased, 1.0, select)[1] == ()


def test_an_unresolved_term_is_left_out():
    """A term whose scores scatter 50 times too much is named, and the answer is that of the others alone."""
    e = equations(noisy=(2,))
    fit, unresolved = fit_resolved(e, 1.0, select)
    assert unresolved == ("c",)
    assert fit.basis == ("a", "b", "c")
    assert fit.terms == (0,)
    alone = select(equations(noisy=(2,)).change_basis(np.eye(3)[:, :2], ("a", "b")))
    np.testing.assert_array_equal(fit.coefficients, alone.coefficients)
    assert all(2 not in a.terms for a in fit.alternatives)


def test_nothing_is_left_out_of_good_equations_or_few_panels():
    """Resolved terms stay; with 6 panels nothing can be said and nothing is done."""
    good = equations()
    fit, unresolved = fit_resolved(good, 1.0, select)
    assert unresolved == ()
    np.testing.assert_array_equal(fit.coefficients, select(good).coefficients)
    assert fit_resolved(equations(panels=6, noisy=(2,)), 1.0, select)[1] == ()
