"""L1-penalised least squares against its optimality conditions and coordinate descent."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ipsdist.learning.lasso import lasso
from tests.learning.rows import dictionary_rows
from tests.references import coordinate_descent


def random_problem(seed, terms=7, rows=30):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((rows, terms)) @ rng.standard_normal((terms, terms))
    x /= np.sqrt((x**2).sum(axis=0))
    y = x[:, 0] - 0.4 * x[:, 1] + 0.1 * rng.standard_normal(rows)
    return x.T @ x, x.T @ y


def violation(gram, moment, weight, z):
    """Largest violation of the optimality conditions, over the weight."""
    gradient = gram @ z - moment
    active = z != 0
    inside = np.abs(gradient[active] + weight * np.sign(z[active])).max(initial=0.0)
    outside = (np.abs(gradient[~active]) - weight).max(initial=0.0)
    return max(inside, outside) / weight


@settings(max_examples=60, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10**6), share=st.floats(1e-4, 0.99))
def test_optimality_conditions_hold(seed, share):
    """The gradient is -weight * sign on the active columns and at most the weight elsewhere."""
    gram, moment = random_problem(seed)
    weight = share * np.abs(moment).max()
    assert violation(gram, moment, weight, lasso(gram, moment, weight)) < 1e-8


@pytest.mark.parametrize("share", [1e-5, 1e-3, 0.01, 0.1])
def test_optimality_conditions_hold_for_nearly_collinear_columns(share):
    """The usual dictionary, condition above 1e8, is solved to 1e-6 of the weight."""
    x, y = dictionary_rows(np.random.default_rng(1), {"r**2": 3.0}, noise=1.0)
    x, y = x.reshape(-1, x.shape[-1]), y.ravel()
    x = x / np.sqrt((x**2).sum(axis=0))
    gram, moment = x.T @ x, x.T @ y
    assert np.linalg.cond(gram) > 1e8
    weight = share * np.abs(moment).max()
    assert violation(gram, moment, weight, lasso(gram, moment, weight)) < 1e-6


def test_agrees_with_coordinate_descent():
    """On a well-conditioned problem the slow twin has the same minimiser."""
    gram, moment = random_problem(3)
    gram = gram + 0.2 * np.eye(len(gram))
    for share in (0.02, 0.2, 0.6):
        weight = share * np.abs(moment).max()
        np.testing.assert_allclose(
            lasso(gram, moment, weight), coordinate_descent(gram, moment, weight, 2000), atol=1e-9
        )


def test_no_weight_is_least_squares_and_a_large_one_leaves_nothing():
    """Weight 0 solves A z = b; the largest |b_k| is the smallest weight that leaves no term."""
    gram, moment = random_problem(5)
    np.testing.assert_allclose(gram @ lasso(gram, moment, 0.0), moment, atol=1e-10)
    most = np.abs(moment).max()
    assert not lasso(gram, moment, most).any()
    assert np.count_nonzero(lasso(gram, moment, 0.999 * most)) == 1


def test_equal_columns_share_by_minimum_norm():
    """A singular Gram is no error: two equal columns get half each."""
    gram = np.ones((2, 2))
    np.testing.assert_allclose(lasso(gram, np.array([4.0, 4.0]), 0.0), [2.0, 2.0])
