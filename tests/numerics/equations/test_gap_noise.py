"""Noise of the gaps: calibrated on random walks, and generalised least squares against its dense formula."""

import numpy as np
import pytest

from ipsdist.model.normal_equations import NormalEquations
from ipsdist.numerics.equations.gap_noise import gap_noise, in_standard_errors, window_differences, with_gap_noise
from ipsdist.numerics.equations.pairings import Pairings
from ipsdist.numerics.equations.quadrature import panels


def of_laplacian(values):
    """Pairings of one term with these Laplacians (S,) and nothing else."""
    s = len(values)
    return Pairings(np.zeros((s, 1, 1)), np.zeros((s, 1)), np.asarray(values)[:, None], np.full((s, 1), np.nan))


def decaying(noise, rate):
    """Noise that forgets at this rate a step."""
    path = np.zeros(len(noise))
    for k in range(1, len(noise)):
        path[k] = (1 - rate) * path[k - 1] + noise[k]
    return path


def simpson(times, values):
    return sum(p.weights @ values[p.first : p.last + 1] for p in panels(times, "simpson"))


@pytest.mark.parametrize("memory", ["none", "walk", "between"])
def test_variance_of_noise_between_slices(memory):
    """Q'Q is the mean squared error of Simpson's rule to a factor of two or so, for noise of any memory."""
    random, slices, pieces = np.random.default_rng(1), 21, 50
    times = np.linspace(0, 1, slices)
    errors, estimates = [], []
    for _ in range(400):
        noise = random.standard_normal((slices - 1) * pieces + 1)
        path = {"none": noise, "walk": np.cumsum(noise), "between": decaying(noise, 1 / pieces)}[memory]
        exact = (path[1:] + path[:-1]).mean() / 2
        seen = path[::pieces]
        errors.append(simpson(times, seen) - exact)
        estimates.append(float((gap_noise(of_laplacian(seen), times, [0.0], 2.0) ** 2).sum()))
    assert 0.4 < np.mean(estimates) / np.mean(np.square(errors)) < 2


def test_differences_of_a_smooth_integrand_are_fifteen_errors():
    """For exp(t) the sum of the differences is 15 times the error of Simpson's rule, to 1 %."""
    times = np.linspace(0, 1, 13)
    d = window_differences(of_laplacian(np.exp(times)), times, [0.0], 2.0)
    assert len(d) == 3
    assert d.sum() == pytest.approx(-15 * (simpson(times, np.exp(times)) - np.expm1(1)), rel=1e-2)


def test_integrand_counts_gram_and_diffusion():
    """g = sigma^2/2 laplacian - gram z: a Laplacian that balances the gram leaves nothing."""
    times = np.linspace(0, 1, 9)
    shape = np.exp(-5 * times)
    pairings = Pairings(3 * shape[:, None, None], np.zeros((9, 1)), 2 * shape[:, None], np.zeros((9, 1)))
    assert np.abs(window_differences(pairings, times, [1.0], 3.0)).max() < 1e-15
    assert np.abs(window_differences(pairings, times, [1.0], 2.0)).max() > 1e-4


def equations_of(random, terms=4):
    rows = random.standard_normal((50, terms))
    gram = rows.T @ rows
    moment = random.standard_normal((2, terms))
    return NormalEquations("action", tuple("abcd"[:terms]), np.stack([gram, gram]), moment, None, 9)


def test_is_generalised_least_squares():
    """Gram and moment are those of least squares with the covariance sigma^2 A + Q'Q, by dense algebra."""
    random = np.random.default_rng(2)
    equations, noise, diffusion = equations_of(random), 3 * random.standard_normal((2, 4)), 0.7
    after = with_gap_noise(equations, noise, diffusion)
    gram, moment = equations.gram.sum(0), equations.moment.sum(0)
    precision = np.linalg.inv(diffusion * gram + noise.T @ noise)
    np.testing.assert_allclose(after.gram[0], diffusion * gram @ precision @ gram, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(after.moment[0], diffusion * gram @ precision @ moment, rtol=1e-9, atol=1e-9)


def test_without_noise_nothing_changes():
    """Two slices give no rows, a straight line no noise, and the equations are the sum of their panels."""
    equations = equations_of(np.random.default_rng(3))
    assert gap_noise(of_laplacian([1.0, 5.0]), np.arange(2.0), [0.0], 2.0).shape == (0, 1)
    times = np.array([0.0, 0.1, 0.7, 1.0])
    assert np.abs(gap_noise(of_laplacian(2 + 3 * times), times, [0.0], 2.0)).max() < 1e-14
    after = with_gap_noise(equations, np.empty((0, 4)), 1.0)
    np.testing.assert_allclose(after.gram, equations.total().gram, rtol=1e-12)
    np.testing.assert_allclose(after.moment, equations.total().moment, rtol=1e-12)


def test_uneven_gaps_of_a_walk():
    """Slices in close pairs: the estimate is twice the mean squared error of the trapezoid for a random walk."""
    random = np.random.default_rng(6)
    places = np.unique([0, 20, 200, 220, 500, 510, 900, 1000])
    times = places / 1000
    errors, estimates = [], []
    for _ in range(2000):
        path = np.cumsum(random.standard_normal(1001))
        seen = path[places]
        errors.append(np.trapezoid(seen, times) - np.trapezoid(path, dx=1e-3))
        estimates.append(float((gap_noise(of_laplacian(seen), times, [0.0], 2.0) ** 2).sum()))
    # The outer halves of the first and last gap have no slice beyond them to be judged by.
    assert 1.5 < np.mean(estimates) / np.mean(np.square(errors)) < 2.1


def test_columns_that_the_data_do_not_show_stay_harmless():
    """A column of zeros, two equal ones, a negative Gram matrix: the result is finite and not negative."""
    gram = np.zeros((1, 3, 3))
    gram[0, :2, :2] = 5.0
    for shift in (0.0, -6.0):
        equations = NormalEquations("action", ("a", "b", "c"), gram + shift, np.array([[1.0, 1.0, 0.0]]), None, 9)
        after = with_gap_noise(equations, np.array([[40.0, -7.0, 3.0]]), 1.0)
        assert np.isfinite(after.moment).all()
        assert np.linalg.eigvalsh(after.gram[0])[0] > -1e-9


def test_size_in_standard_errors():
    """A diagonal case by hand: the error of the kept term and the largest of the others, in quadrature."""
    errors, gram = np.array([[3.0, 4.0, 1.0]]), np.diag([1.0, 4.0, 1.0])
    assert in_standard_errors(errors, gram, (0,), 2.0) == pytest.approx(np.sqrt((9 + 4) / 2))
