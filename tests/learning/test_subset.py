"""Best subset against brute force on the rows themselves."""

import itertools
import math

import numpy as np
import pytest

from ipsdist.learning.subset import best_subset
from ipsdist.model.errors import InputError
from tests.learning.rows import EIGHT, dictionary_rows, from_rows


def brute_force(x, y, diffusion, particles, criterion, max_terms):
    """(score, terms, coefficients) of every model by lstsq on stacked rows, best first."""
    rows, target = x.reshape(-1, x.shape[-1]), y.ravel()
    terms = rows.shape[1]
    found = [(0.0, (), np.array([]))]
    for size in range(1, max_terms + 1):
        price = {
            "bic": size * math.log(particles),
            "ebic": size * math.log(particles) + 2 * math.log(math.comb(terms, size)),
            "2lnN": 2 * size * math.log(particles),
        }[criterion]
        for subset in itertools.combinations(range(terms), size):
            z = np.linalg.lstsq(rows[:, subset], target, rcond=None)[0]
            residual = target - rows[:, subset] @ z
            found.append(((residual @ residual - target @ target) / diffusion + price, subset, z))
    return sorted(found, key=lambda f: f[0])


@pytest.mark.parametrize("criterion", ["bic", "ebic", "2lnN"])
def test_equals_brute_force(criterion):
    """Winner, coefficients and runners-up agree with least squares on the rows, up to five of eight terms."""
    x, y = dictionary_rows(np.random.default_rng(2), {"r": 1.0, "cos(r)": -2.0}, noise=1.0)
    equations = from_rows(x, y, "action", basis=EIGHT)
    fit = best_subset(equations, 1.0, criterion=criterion, max_terms=5, keep=8)
    expected = brute_force(x, y, 1.0, equations.particles, criterion, 5)
    assert fit.terms == expected[0][1]
    np.testing.assert_allclose(fit.coefficients, expected[0][2], rtol=1e-6)
    assert len(fit.alternatives) == 8
    for found, (score, terms, coefficients) in zip(fit.alternatives, expected[1:], strict=False):
        assert found.terms == terms
        assert found.score == pytest.approx(score - expected[0][0], abs=1e-4)
        np.testing.assert_allclose(found.coefficients, coefficients, rtol=1e-4)


def test_whole_dictionary_agrees_with_the_rows_within_its_errors():
    """At condition above 1e8 the coefficients of all eight terms are those of the rows, to 1 % of an error."""
    x, y = dictionary_rows(np.random.default_rng(4), {"r**2": 3.0}, noise=1.0)
    y += (
        100 * x[..., 7]
        + 200 * x[..., 1]
        - 300 * x[..., 5]
        + 50 * x[..., 6]
        + 20 * x[..., 0]
        + x[..., 3]
        - 9 * x[..., 4]
    )
    equations = from_rows(x, y, "action", basis=EIGHT)
    fit = best_subset(equations, 1e-12, criterion="bic", max_terms=8)
    assert fit.terms == tuple(range(8))
    assert fit.condition > 1e8
    z = np.linalg.lstsq(x.reshape(-1, 8), y.ravel(), rcond=None)[0]
    errors = np.sqrt(np.diag(np.linalg.inv(equations.gram.sum(axis=0))))
    assert (np.abs(fit.coefficients - z) < 0.01 * errors).all()


def test_right_support_over_many_noises():
    """EBIC finds both terms in every one of 150 noises, and the scatter of the coefficients is that of their errors."""
    deviations = []
    for seed in range(150):
        x, y = dictionary_rows(np.random.default_rng(seed), {"r": 1.0, "cos(r)": -2.0}, noise=0.1)
        fit = best_subset(from_rows(x, y, "action", basis=EIGHT), 0.01, criterion="ebic", max_terms=4)
        assert fit.terms == (1, 7)
        deviations.append((fit.coefficients - [1.0, -2.0]) / fit.standard_errors)
    spread = np.array(deviations).std(axis=0)
    assert ((spread > 0.8) & (spread < 1.2)).all()


def test_empty_model_wins_on_noise():
    """Where nothing is to be found the fit has no terms, and the runners-up cost something."""
    x, y = dictionary_rows(np.random.default_rng(0), {}, noise=1.0)
    fit = best_subset(from_rows(x, y, "action", basis=EIGHT), 1.0, criterion="ebic", max_terms=3)
    assert fit.terms == ()
    assert fit.coefficients.shape == (0,)
    assert fit.covariance.shape == (0, 0)
    assert fit.dropped == EIGHT
    assert all(candidate.score > 0 for candidate in fit.alternatives)


def test_dependent_and_empty_columns_are_passed_over():
    """A column that repeats another, or is 0, never stands beside it; the condition says: singular."""
    rng = np.random.default_rng(7)
    x = rng.standard_normal((10, 20, 4))
    x[..., 2] = 2 * x[..., 0]
    x[..., 3] = 0
    y = 3 * x[..., 0] + x[..., 1] + 0.1 * rng.standard_normal((10, 20))
    fit = best_subset(from_rows(x, y, "action"), 0.01, criterion="ebic", max_terms=4, keep=20)
    assert fit.terms == (0, 1)
    models = {fit.terms, *(c.terms for c in fit.alternatives)}
    assert models == {(), (0,), (1,), (2,), (0, 1), (1, 2)}
    assert fit.alternatives[0].terms == (1, 2)
    assert fit.alternatives[0].score == pytest.approx(0.0, abs=1e-6)
    assert fit.condition > 1e15


def test_units_of_terms_do_not_matter():
    """Terms measured in units 1e6 apart are chosen alike, coefficients changing with the units."""
    x, y = dictionary_rows(np.random.default_rng(9), {"r": 1.0, "cos(r)": -2.0}, noise=1.0)
    units = 10.0 ** np.array([0, 6, -6, 3, 0, -3, 6, 5])
    fit = best_subset(from_rows(x, y, "action"), 1.0)
    other = best_subset(from_rows(x * units, y, "action"), 1.0)
    assert other.terms == fit.terms
    np.testing.assert_allclose(other.coefficients * units[list(fit.terms)], fit.coefficients, rtol=1e-8)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"criterion": "aic"},
            "`fit.criterion` must be bic, ebic or 2lnN; got 'aic'; ebic is the usual choice",
        ),
        ({"max_terms": 0}, "`fit.max_terms` must be at least 1; got 0; 4 is the usual choice"),
        (
            {"max_terms": 9},
            "`fit.max_terms` must leave at most 200000 models to compare; got 431909 models of up to 9 of 20 terms; "
            "lower fit.max_terms or shorten dictionary.terms",
        ),
    ],
)
def test_refuses(change, message):
    """Each refusal names the key, the rule, what came and the fix."""
    rng = np.random.default_rng(0)
    equations = from_rows(rng.standard_normal((2, 30, 20)), rng.standard_normal((2, 30)), "action")
    with pytest.raises(InputError) as error:
        best_subset(equations, 1.0, **change)
    assert str(error.value) == message


def test_refuses_the_strong_form():
    """The misfit of the strong form is no likelihood, so no criterion can rank by it."""
    rng = np.random.default_rng(0)
    equations = from_rows(rng.standard_normal((2, 30, 3)), rng.standard_normal((2, 30)), "strong")
    with pytest.raises(InputError) as error:
        best_subset(equations, 1.0)
    assert str(error.value) == (
        '`fit.selection` best_subset needs a form that is a likelihood; got fit.form = "strong"; '
        'use fit.form = "action", or fit.selection = "two_phase"'
    )
