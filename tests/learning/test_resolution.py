"""The information-matrix test: terms that the slices do not resolve are found and left out."""

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
    """For noise of covariance sigma^2 A the ratio is 1 within 5 sqrt(2 / P)."""
    e = equations()
    ratios = score_ratios(e, select(e), 1.0)
    assert (np.abs(ratios - 1.0) < 5 * np.sqrt(2 / e.panels)).all()


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
