"""Best subset against brute force on the rows themselves."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest

from ipsdist.learning.subset import best_subset
from ipsdist.model.errors import InputError
from tests.learning.rows import EIGHT, dictionary_rows, from_rows


def brute_force(x, y, diffusion, particles, criterion, max_terms, always=()):
    """(score, terms, coefficients) of every model by lstsq on stacked rows, best first."""
    rows, target = x.reshape(-1, x.shape[-1]), y.ravel()
    free = [k for k in range(rows.shape[1]) if k not in always]
    terms, alone, found = len(free), 0.0, []
    for size in range(max_terms + 1):
        price = {
            "bic": size * math.log(particles),
            "ebic": size * math.log(particles) + 2 * math.log(math.comb(terms, size)),
            "2lnN": 2 * size * math.log(particles),
        }[criterion]
        for some in itertools.combinations(free, size):
            subset = tuple(sorted((*some, *always)))
            z = np.linalg.lstsq(rows[:, subset], target, rcond=None)[0]
            misfit = float(np.sum((target - rows[:, subset] @ z) ** 2))
            alone = alone or misfit
            found.append(((misfit - alone) / diffusion + price, subset, z))
    return sorted(found, key=lambda f: f[0])


@pytest.mark.parametrize("always", [(), (7,), (0, 4)])
@pytest.mark.parametrize("criterion", ["bic", "ebic", "2lnN"])
def test_equals_brute_force(criterion, always):
    """Winner, coefficients and runners-up agree with least squares on the rows, up to five terms and those in all."""
    x, y = dictionary_rows(np.random.default_rng(2), {"r": 1.0, "cos(r)": -2.0}, noise=1.0)
    equations = from_rows(x, y, "action", basis=EIGHT)
    fit = best_subset(equations, 1.0, criterion=criterion, max_terms=5, keep=8, always=always)
    expected = brute_force(x, y, 1.0, equations.particles, criterion, 5, always)
    assert fit.terms == expected[0][1]
    np.testing.assert_allclose(fit.coefficients, expected[0][2], rtol=1e-6)
    np.testing.assert_allclose(
        fit.covariance, np.linalg.inv(equations.gram.sum(axis=0)[np.ix_(fit.terms, fit.terms)]), rtol=1e-6
    )
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
            {"always": [20]},
            "`always` must be columns that the equations determine; got f20, which is 0 or a combination of the others"
            "; leave it out",
        ),
        (
            {"always": [0, 3, 21]},
            "`always` must be columns that the equations determine; got f21, which is 0 or a combination of the others"
            "; leave it out",
        ),
    ],
)
def test_refuses(change, message):
    """Each refusal names the key, the rule, what came and the fix."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, 30, 22))
    x[..., 20], x[..., 21] = 0.0, x[..., 0] - 2 * x[..., 3]
    equations = from_rows(x, rng.standard_normal((2, 30)), "action")
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


def test_columns_in_every_model_are_named_by_indices():
    """An index beyond the basis is a programming error; order and repeats do not matter."""
    x, y = dictionary_rows(np.random.default_rng(2), {"r": 1.0, "cos(r)": -2.0}, noise=1.0)
    equations = from_rows(x, y, "action", basis=EIGHT)
    for wrong in ([8], [-1, 0]):
        with pytest.raises(ValueError, match=r"`always` must be indices of the 8 columns"):
            best_subset(equations, 1.0, always=wrong)
    one, other = (best_subset(equations, 1.0, always=a) for a in ([7, 0, 7], (0, 7)))
    assert one.terms == other.terms
    assert one.alternatives == other.alternatives


def test_only_the_columns_in_every_model_may_stay():
    """On noise the model of them alone wins, with their least squares; no term comes twice."""
    x, y = dictionary_rows(np.random.default_rng(0), {"exp(-r)": 2.0}, noise=1.0)
    fit = best_subset(from_rows(x, y, "action", basis=EIGHT), 1.0, max_terms=3, always=[5], keep=300)
    assert fit.terms == (5,)
    column = x[..., 5].ravel()
    assert fit.coefficients[0] == pytest.approx(column @ y.ravel() / (column @ column), rel=1e-12)
    models = {a.terms for a in fit.alternatives}
    assert len(models) == len(fit.alternatives) == 7 + 21 + 35
    assert all(5 in m for m in models)


def test_the_weak_form_is_a_likelihood():
    """A form with an energy that is one is ranked like the others, and has their covariance."""
    x, y = dictionary_rows(np.random.default_rng(2), {"r": 1.0, "cos(r)": -2.0}, noise=1.0)
    weak = replace(from_rows(x, y, "strong", basis=EIGHT), form="weak")
    fit, plain = best_subset(weak, 1.0), best_subset(from_rows(x, y, "action", basis=EIGHT), 1.0)
    assert fit.terms == plain.terms
    assert fit.alternatives == plain.alternatives
    np.testing.assert_array_equal(fit.covariance, plain.covariance)
