"""The density of an Euler-Maruyama chain: against the Ornstein-Uhlenbeck chain, and against a sum over all points."""

import numpy as np
import pytest

from ipsdist.numerics.densities.meanfield.euler_chain import chain_densities

SPACING = 0.04
X = SPACING * np.arange(-200, 201)


def normal(mean, variance):
    return np.exp(-0.5 * (X - mean) ** 2 / variance) / np.sqrt(2.0 * np.pi * variance)


def test_a_linear_pull_keeps_a_normal_density_with_the_moments_of_the_chain():
    """X' = (1 - h) X + sqrt(sigma^2 h) xi: means m become (1 - h) m, variances v (1 - h)^2 v + sigma^2 h."""
    h, diffusion, mean, variance = 0.1, 0.3, 1.0, 0.2
    found = chain_densities(normal(mean, variance), [SPACING], lambda u: -X[None], diffusion, h, 30, 10)
    assert found.shape == (4, len(X))
    for u in found:
        np.testing.assert_allclose(u, normal(mean, variance), rtol=0, atol=1e-8)
        for _ in range(10):
            mean, variance = (1.0 - h) * mean, (1.0 - h) ** 2 * variance + diffusion * h


def test_a_step_is_the_integral_over_where_particles_come_from():
    """The sum over all pairs of points, for a drift that follows the density; the mass stays 1."""

    def velocity(u):
        return np.sin(2.0 * X) + (u * X).sum() * SPACING

    h, diffusion, start = 0.05, 0.4, 0.5 * normal(-1.0, 0.3) + 0.5 * normal(0.7, 0.1)
    found = chain_densities(start, [SPACING], lambda u: velocity(u)[None], diffusion, h, 2, 1)
    u = start
    for step in (1, 2):
        far = X[:, None] - (X + h * velocity(u))
        u = SPACING * np.exp(-0.5 * far**2 / (diffusion * h)) / np.sqrt(2.0 * np.pi * diffusion * h) @ u
        np.testing.assert_allclose(found[step], u, rtol=0, atol=2e-9)
    np.testing.assert_allclose(found.sum(axis=1) * SPACING, 1.0, rtol=1e-9)


def test_a_step_in_the_plane_is_that_of_both_axes():
    """A product of two lines stays one, narrow on one axis and wide on the other, beside a pull along x alone."""
    h, diffusion, spacings = 0.02, 0.4, (0.07, 0.02)
    axes = [dx * np.arange(-n, n + 1) for dx, n in zip(spacings, (45, 150), strict=True)]
    lines = [np.exp(-0.5 * (x / 0.4) ** 2) / (0.4 * np.sqrt(2.0 * np.pi)) for x in axes]

    def velocity(u):
        return np.stack([np.broadcast_to(-np.sin(axes[0])[:, None], u.shape), np.zeros_like(u)])

    found = chain_densities(np.outer(*lines), spacings, velocity, diffusion, h, 3, 3)[1]
    moves = [lambda u: -np.sin(axes[0])[None], lambda u: np.zeros((1, len(u)))]
    each = [
        chain_densities(line, [dx], move, diffusion, h, 3, 3)[1]
        for line, dx, move in zip(lines, spacings, moves, strict=True)
    ]
    np.testing.assert_allclose(found, np.outer(*each), rtol=0, atol=1e-8)


def test_a_grid_too_coarse_for_a_step_is_refused():
    """With both widths."""
    with pytest.raises(ValueError, match=r"a step must be 1\.1 grid spacings wide or more; got 0\.79"):
        chain_densities(normal(0.0, 1.0), [SPACING], lambda u: -X[None], 1.0, 0.001, 1, 1)
