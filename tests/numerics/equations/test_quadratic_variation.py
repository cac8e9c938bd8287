"""sigma^2 from the size of residuals: exact laws of Brownian and of relaxing amplitudes."""

import numpy as np
import pytest

from ipsdist.numerics.equations.quadratic_variation import quadratic_variation

SIGMA2 = 0.7


def relaxing(random, rates, gap, intervals, error=0.0):
    """Arguments for Q independent amplitudes da = -l a dt + sigma dW with G = 1, by exact transitions.

    The curvature is what relaxes them: (sigma^2 / 2) L = -l a. ``error`` is the spread of errors of the amplitudes.
    """
    keep, spread = np.exp(-rates * gap), np.sqrt(SIGMA2 * -np.expm1(-2 * rates * gap) / (2 * rates))
    a = [np.sqrt(SIGMA2 / (2 * rates)) * random.normal(size=len(rates))]
    for _ in range(intervals):
        a.append(keep * a[-1] + spread * random.normal(size=len(rates)))
    a = np.array(a) + error * random.normal(size=(intervals + 1, len(rates)))
    unit = np.broadcast_to(np.eye(len(rates)), (intervals, len(rates), len(rates)))
    return {
        "times": gap * np.arange(intervals + 1),
        "residual": np.diff(a, axis=0) + gap / 2 * rates * (a[1:] + a[:-1]),
        "covariance": gap * unit,
        "curvature": -2 / SIGMA2 * rates * a,
        "weight": unit,
        "fitted": 0,
    }


@pytest.mark.parametrize(("rate", "gap"), [(0.1, 0.01), (60.0, 0.01), (100.0, 0.01)])
def test_value_and_error(rate, gap):
    """The value scatters as promised about sigma^2; where amplitudes relax within an interval it counts for less."""
    random, rates = np.random.default_rng(5), np.full(8, rate)
    found = [quadratic_variation(**relaxing(random, rates, gap, 100)) for _ in range(60)]
    values, squares = np.array([f.value for f in found]), found[0].squares
    error = SIGMA2 * np.sqrt(2 / 800)
    relaxed = (rate * gap) ** 2 / 12
    assert abs(values.mean() - SIGMA2) < relaxed * SIGMA2 + 3 * error / np.sqrt(60)
    assert values.std(ddof=1) == pytest.approx(error, rel=0.3)
    assert squares.shape == (100,)
    assert np.mean([2 / f.squares.sum() for f in found]) == pytest.approx(2 / 800 + relaxed**2, rel=0.5)


def test_weights_count_what_they_weigh():
    """Correlated tests with any scale are worth their rank, whatever the weight leaves of it."""
    random = np.random.default_rng(2)
    mix = random.normal(size=(5, 5)) * 10.0 ** np.arange(5)
    plain = relaxing(random, np.full(5, 0.1), 0.01, 50)
    mixed = dict(plain)
    mixed["residual"], mixed["curvature"] = plain["residual"] @ mix.T, plain["curvature"] @ mix.T
    mixed["covariance"] = mix @ plain["covariance"] @ mix.T
    mixed["weight"] = np.broadcast_to(np.linalg.inv(mix @ mix.T), (50, 5, 5))
    one, other = quadratic_variation(**plain), quadratic_variation(**mixed)
    assert other.value == pytest.approx(one.value, rel=1e-6)
    np.testing.assert_allclose(other.squares, one.squares, rtol=1e-6)


def test_errors_of_positions_are_noticed():
    """Errors as large as the moves treble the squares, correlate neighbours, and leave the value little weight."""
    random, gap = np.random.default_rng(1), 0.01
    found = quadratic_variation(**relaxing(random, np.full(8, 0.1), gap, 200, error=np.sqrt(SIGMA2 * gap)))
    assert found.value == pytest.approx(3 * SIGMA2, rel=0.1)
    assert found.squares.sum() < 8


def test_fitted_coefficients_are_degrees_of_freedom():
    """Residuals of a fit are smaller by the coefficients it used up."""
    arguments = relaxing(np.random.default_rng(4), np.full(8, 0.1), 0.01, 50)
    whole = quadratic_variation(**arguments)
    fewer = quadratic_variation(**{**arguments, "fitted": 40})
    assert fewer.value == pytest.approx(whole.value / 0.9, rel=1e-5)


@pytest.mark.parametrize("still", [False, True])
def test_nothing_to_square_says_nothing(still):
    """Two slices, or residuals of zero, are worth no squares."""
    arguments = relaxing(np.random.default_rng(4), np.full(3, 0.1), 0.01, 5 if still else 1)
    arguments["residual"] = 0.0 * arguments["residual"] if still else arguments["residual"]
    found = quadratic_variation(**arguments)
    assert found.value == 0
    assert not found.squares.any()
