"""Standard errors against the scatter of repeated experiments; condition numbers against NumPy."""

import numpy as np
import pytest

from ipsdist.learning.uncertainty import condition, covariance, discounted, inverse_gram, sandwich
from ipsdist.model.normal_equations import NormalEquations
from tests.learning.rows import from_rows


def correlated_experiment(rng, panels=400, memory=0.9):
    """Two columns that drift slowly and a residual that remembers: (equations, estimate)."""
    slow = np.cumsum(rng.standard_normal((panels, 2)), axis=0) * 0.05
    x = 1 + slow[:, None, :] + rng.standard_normal((panels, 3, 2))
    residual = np.zeros(panels)
    for n in range(1, panels):
        residual[n] = memory * residual[n - 1] + rng.standard_normal()
    y = x @ np.array([1.0, -2.0]) + residual[:, None]
    equations = from_rows(x, y)
    total = equations.total()
    return equations, np.linalg.solve(total.gram[0], total.moment[0])


def test_sandwich_is_the_scatter_for_correlated_residuals():
    """Over 300 experiments the mean squared standard error matches the scatter, which white noise would understate."""
    rng = np.random.default_rng(11)
    estimates, squared, white = [], [], []
    for _ in range(300):
        equations, z = correlated_experiment(rng)
        estimates.append(z)
        squared.append(np.diag(sandwich(equations, (0, 1), z)))
        misfit = equations.misfit(z).sum() / (3 * equations.panels)
        white.append(misfit * np.diag(inverse_gram(equations.gram.sum(axis=0))))
    scatter = np.var(estimates, axis=0)
    ratio = np.sqrt(np.mean(squared, axis=0) / scatter)
    assert ((ratio > 0.75) & (ratio < 1.25)).all()
    assert (np.sqrt(np.mean(white, axis=0) / scatter) < 0.75).all()


def test_action_form_has_the_inverse_of_the_gram():
    """Where the Gram over sigma^2 is the information, the covariance is sigma^2 A_S^-1 at any scale."""
    rng = np.random.default_rng(3)
    x = rng.standard_normal((5, 50, 3)) * [1e-6, 1.0, 1e6]
    equations = from_rows(x, rng.standard_normal((5, 50)), "action")
    found = covariance(equations, (0, 2), [0.0, 0.0], diffusion=0.5)
    expected = 0.5 * np.linalg.inv(equations.gram.sum(axis=0)[np.ix_([0, 2], [0, 2])])
    np.testing.assert_allclose(found, expected, rtol=1e-9)
    assert (found == found.T).all()


def test_sandwich_agrees_with_the_plain_covariance_for_white_noise():
    """White residuals of known size leave nothing to correct: the two agree on average."""
    rng = np.random.default_rng(8)
    ratios = []
    for _ in range(200):
        x = rng.standard_normal((40, 10, 2))
        equations = from_rows(x, 0.3 * rng.standard_normal((40, 10)))
        total = equations.total()
        z = np.linalg.solve(total.gram[0], total.moment[0])
        ratios.append(np.diag(sandwich(equations, (0, 1), z)) / np.diag(0.09 * inverse_gram(total.gram[0])))
    assert np.mean(ratios) == pytest.approx(1.0, abs=0.1)


def test_too_few_panels_say_nothing():
    """One panel gives no scatter: the standard errors are infinite, not zero."""
    rng = np.random.default_rng(5)
    equations = from_rows(rng.standard_normal((2, 10, 2)), rng.standard_normal((2, 10)))
    assert np.isinf(covariance(equations, (0, 1), [0.0, 0.0], 1.0)).all()


def test_no_terms_have_an_empty_covariance():
    """The empty model is a model."""
    equations = from_rows(np.ones((3, 4, 1)), np.ones((3, 4)))
    assert covariance(equations, (), [], 1.0).shape == (0, 0)


def test_condition_of_the_scaled_gram():
    """Units do not count; what remains is NumPy's condition number, and a repeated column is singular."""
    rng = np.random.default_rng(6)
    x = rng.standard_normal((4, 25, 3)) @ rng.standard_normal((3, 3))
    y = np.zeros((4, 25))
    rows = x.reshape(-1, 3)
    expected = np.linalg.cond(rows / np.sqrt((rows**2).sum(axis=0))) ** 2
    assert condition(from_rows(x * [1e-7, 1.0, 1e5], y)) == pytest.approx(expected, rel=1e-9)
    assert condition(from_rows(x[..., [0, 1, 1]], y)) > 1e15
    assert condition(from_rows(x * [1.0, 0.0, 1.0], y)) > 1e15


def test_discounted_equations_are_those_of_a_free_sigma():
    """With sigma^2 quite unknown, coefficients and errors are those of a fit with its slope as one more column."""
    rng = np.random.default_rng(4)
    root = rng.normal(size=(30, 3))
    gram, slope, moment = root.T @ root, rng.normal(size=3), rng.normal(size=3) * 20
    plain = NormalEquations("action", ("a", "b", "c"), gram[None], moment[None], None, 100, 1.0)
    # Observations y of the whitened moment: y = A^(1/2) z - A^(-1/2) s d + noise, d with a normal prior.
    values, vectors = np.linalg.eigh(gram)
    half = vectors @ np.diag(np.sqrt(values)) @ vectors.T
    design = np.column_stack([half, -np.linalg.solve(half, slope)])
    for variance in (1e-3, 0.1, 1e9):
        prior = np.diag([0.0, 0.0, 0.0, 2.0 / variance])
        kept = [0, 1, 3]  # the third term left out: a model of two terms
        small = design[:, kept].T @ design[:, kept] + prior[np.ix_(kept, kept)]
        z = np.linalg.solve(small, design[:, kept].T @ np.linalg.solve(half, moment))[:2]
        spread = 2.0 * np.linalg.inv(small)[:2, :2]
        found = discounted(plain, slope, variance, 2.0)
        inner = found.gram[0][:2, :2]
        np.testing.assert_allclose(np.linalg.solve(inner, found.moment[0][:2]), z, rtol=1e-6)
        np.testing.assert_allclose(2.0 * np.linalg.inv(inner), spread, rtol=1e-6)
