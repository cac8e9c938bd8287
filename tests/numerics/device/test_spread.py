"""Normal densities around places in the plane: against sums over all points."""

import numpy as np

from ipsdist.numerics.device.spread import spread_normal

DEVIATIONS, REACH = np.array([1.2, 1.5]), 11


def test_masses_become_normal_densities():
    rng = np.random.default_rng(3)
    n, m = 30, 34
    mass = np.zeros((n, m))
    mass[12:18, 14:20] = rng.random((6, 6))
    i, j = np.meshgrid(np.arange(n), np.arange(m), indexing="ij")
    x, y = i + rng.uniform(-2, 2, (n, m)), j + rng.uniform(-2, 2, (n, m))
    found = np.zeros((n, m))
    spread_normal(mass, x, y, DEVIATIONS, REACH, found)
    wanted = sum(
        mass[a, b]
        * np.exp(-0.5 * (((i - x[a, b]) / DEVIATIONS[0]) ** 2 + ((j - y[a, b]) / DEVIATIONS[1]) ** 2))
        / (2.0 * np.pi * DEVIATIONS.prod())
        for a, b in np.argwhere(mass)
    )
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-10)
    assert abs(found.sum() - mass.sum()) < 1e-9


def test_nothing_is_lost_beyond_the_ends():
    mass = np.zeros((8, 8))
    mass[0, 7] = 2.0
    found = np.zeros((8, 8))
    spread_normal(mass, np.full((8, 8), -30.0), np.full((8, 8), 30.0), DEVIATIONS, REACH, found)
    assert abs(found[0, 7] - 2.0) < 1e-9
    assert np.count_nonzero(found) == 1
