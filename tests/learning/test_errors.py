"""Errors of an answer, worked out by hand."""

import numpy as np
import pytest

from ipsdist.learning.errors import (
    coefficient_errors,
    cramer_rao_bounds,
    cramer_rao_ratio,
    kernel_relative_l2,
    support_correct,
)
from ipsdist.learning.subset import best_subset
from ipsdist.model.errors import InputError
from ipsdist.model.fit import Fit
from tests.learning.rows import from_rows

BASIS = ("1", "r", "r**2")


def fit_of(terms, coefficients):
    k = len(terms)
    return Fit(BASIS, terms, np.array(coefficients), np.eye(k), 1.0, "best_subset")


def test_kernel_error_is_weighted_by_the_pairs():
    """|1.1 r - r| / |r| is 0.1 under any weights; an error where no pairs are does not count."""
    r = np.linspace(0, 3, 31)
    rho = np.exp(-r)
    assert kernel_relative_l2(lambda r: 1.1 * r, lambda r: r, r, rho) == pytest.approx(0.1)
    near = (r <= 1).astype(float)
    assert kernel_relative_l2(lambda r: np.where(r > 1, 50.0, r), lambda r: r, r, near) == 0.0
    expected = np.sqrt((rho * (r**2 - r) ** 2).sum() / (rho * r**2).sum())
    assert kernel_relative_l2(lambda r: r**2, lambda r: r, r, 7 * rho) == pytest.approx(expected)
    assert np.isnan(kernel_relative_l2(lambda r: r, np.zeros_like, r, rho))


def test_coefficient_errors_cover_kept_and_true_terms():
    """A kept false term errs by its estimate, a dropped true one by minus the truth; the order is the dictionary's."""
    errors = coefficient_errors(fit_of((0, 2), [0.5, 3.1]), {"r**2": 3.0, "r": -1.0})
    assert list(errors) == ["1", "r", "r**2"]
    assert errors == pytest.approx({"1": 0.5, "r": 1.0, "r**2": 0.1})


def test_support():
    """Only the set of terms counts; a true coefficient of 0 is no term."""
    assert support_correct(["r", "1"], {"1": 2.0, "r": 1.0, "r**2": 0.0})
    assert not support_correct(["r"], {"1": 2.0, "r": 1.0})
    assert not support_correct(["r", "1"], {"r": 1.0})


def test_cramer_rao_ratio_is_standard_normal():
    """Over 300 noises the ratio of least squares on the true terms has mean 0 and standard deviation 1."""
    rng = np.random.default_rng(12)
    truth = {"r": 1.0, "r**2": -2.0}
    ratios = []
    for _ in range(300):
        x = rng.standard_normal((3, 20, 3))
        y = x @ [0.0, 1.0, -2.0] + 0.2 * rng.standard_normal((3, 20))
        equations = from_rows(x, y, "action", basis=BASIS)
        ratio = cramer_rao_ratio(equations, best_subset(equations, 0.04), truth, 0.04)
        ratios.append([ratio["r"], ratio["r**2"]])
    assert np.abs(np.mean(ratios, axis=0)).max() < 0.25
    assert np.std(ratios, axis=0) == pytest.approx([1.0, 1.0], abs=0.15)


def test_bounds_are_those_of_the_true_terms_alone():
    """False terms in the dictionary do not widen the bound."""
    rng = np.random.default_rng(1)
    equations = from_rows(rng.standard_normal((2, 30, 3)) + 1, np.zeros((2, 30)), "likelihood", basis=BASIS)
    bounds = cramer_rao_bounds(equations, {"r": 1.0}, 0.5)
    assert bounds == pytest.approx({"r": np.sqrt(0.5 / equations.gram.sum(axis=0)[1, 1])})


def test_refusals():
    """A truth outside the dictionary and a form without information are refused in words."""
    rng = np.random.default_rng(1)
    strong = from_rows(rng.standard_normal((2, 30, 3)), np.zeros((2, 30)), "strong", basis=BASIS)
    with pytest.raises(ValueError, match="the Gram of the strong form is no Fisher information; pass action equations"):
        cramer_rao_bounds(strong, {"r": 1.0}, 0.5)
    with pytest.raises(InputError) as error:
        coefficient_errors(fit_of((0,), [1.0]), {"r": 1.0, "r**7": 2.0})
    assert str(error.value) == (
        "`truth` must be a combination of the dictionary's terms; got r**7; add them to dictionary.terms"
    )
