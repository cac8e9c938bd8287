"""sigma^2 of labelled displacements: free of the drift, at uneven times, with an honest error."""

import numpy as np

from ipsdist.model.deposits import MOVE_ONE
from ipsdist.numerics.equations.diffusion import richardson

SPACING, N = 2.0**-6, 4000


def sums(positions, times, hole=None):
    """Squared displacements over one and two intervals of positions (S, N, d)."""
    one = np.sum(np.diff(positions, axis=0) ** 2, axis=(1, 2))
    two = np.sum((positions[2:] - positions[:-2]) ** 2, axis=(1, 2))
    if hole is not None:
        two[hole] = np.nan
    return np.rint(one * MOVE_ONE / SPACING**2).astype(np.int64), two


def estimate(positions, times, hole=None):
    one, two = sums(positions, times, hole)
    return richardson(times, one, two, spacing=SPACING, particles=N, dimension=positions.shape[2])


def walk(times, drift, sigma2, dimension, seed):
    rng = np.random.default_rng(seed)
    steps = np.sqrt(sigma2 * np.diff(times))[:, None, None] * rng.normal(size=(len(times) - 1, N, dimension))
    x = np.concatenate([np.zeros((1, N, dimension)), np.cumsum(steps, axis=0)])
    return x + drift * times[:, None, None]


def test_uneven_times_and_a_drift():
    """The value is within its error of the truth over seeds, z-scores of size one, where the raw value is off."""
    times = np.cumsum(np.r_[0.0, np.random.default_rng(1).uniform(0.005, 0.02, 60)])
    scores = []
    for seed in range(30):
        x = walk(times, drift=1.0, sigma2=0.5, dimension=2, seed=seed)
        found = estimate(x, times, hole=[3, 30])
        scores.append((found.value - 0.5) / found.standard_error)
    raw = np.sum(np.diff(x, axis=0) ** 2) / (N * 2 * (times[-1] - times[0]))
    assert raw - 0.5 > 5 * found.standard_error
    assert abs(np.mean(scores)) < 4 / np.sqrt(30)
    assert 0.6 < np.std(scores) < 1.6


def test_even_times_are_the_usual_formula():
    """2 s(D) - s(2D) of a mean over the same slices."""
    times = np.linspace(0.0, 1.0, 21)
    x = walk(times, drift=1.0, sigma2=2.0, dimension=1, seed=7)
    one, two = sums(x, times)
    both = (one[:-1] + one[1:]) * SPACING**2 / MOVE_ONE
    expected = np.mean(2.0 * both / (2 * N * 0.05) - two / (N * 2 * 0.05))
    np.testing.assert_allclose(estimate(x, times).value, expected, rtol=1e-12)


def test_few_slices_have_the_error_of_diffusion():
    """Three values, or two far apart, scatter less about their own mean than they should; the error knows."""
    times = np.linspace(0.0, 0.04, 5)
    for hole in (None, [1]):
        found = [estimate(walk(times, drift=0.0, sigma2=0.5, dimension=1, seed=s), times, hole) for s in range(100)]
        scores = [(f.value - 0.5) / f.standard_error for f in found]
        assert np.mean(np.abs(scores) < 1.96) > 0.85
