"""The starting density: moments without the window's broadening."""

import numpy as np
import pytest

from ipsdist.model.mesh import Mesh
from ipsdist.model.system import Grid
from ipsdist.numerics.densities.deposit import deposit
from ipsdist.numerics.densities.estimate import density_of_counts
from ipsdist.numerics.densities.start import starting_density


@pytest.mark.parametrize("factor", [0.5, 1.0])
def test_variance_is_that_of_the_particles(factor):
    """The variance is the particles' to 1e-3, where a plain window adds 1 % and more; mass 1, nothing negative."""
    x = np.random.default_rng(4).standard_normal((20_000, 1))
    mesh = Mesh.around(x.min(0), x.max(0), 2.0**-5)
    weights = deposit(x, mesh).density_weights()
    grid = Grid((-6.0,), (6.0,), (150,))
    points, dx = grid.axes()[0], grid.spacing[0]
    u = starting_density(weights, mesh, len(x), grid, factor)
    plain = density_of_counts(weights, mesh, len(x), grid, "scott", factor)
    assert u.min() >= 0
    assert u.sum() * dx == pytest.approx(1, rel=1e-12)
    variance = [float(v @ points**2 - (v @ points) ** 2 * dx) * dx for v in (u, plain)]
    assert variance[0] == pytest.approx(x.var(), rel=1e-3)
    assert variance[1] > 1.004 * x.var()


def test_two_axes():
    """In the plane as on the line: both variances, mass 1."""
    x = np.random.default_rng(4).standard_normal((20_000, 2)) * [1.0, 0.5]
    mesh = Mesh.around(x.min(0), x.max(0), 2.0**-4)
    grid = Grid((-6.0, -4.0), (6.0, 4.0), (96, 96))
    u = starting_density(deposit(x, mesh).density_weights(), mesh, len(x), grid)
    first, second = (a**2 for a in grid.axes())
    volume = np.prod(grid.spacing)
    assert u.sum() * volume == pytest.approx(1)
    assert (u.sum(axis=1) @ first) * volume == pytest.approx((x[:, 0] ** 2).mean(), rel=5e-3)
    assert (u.sum(axis=0) @ second) * volume == pytest.approx((x[:, 1] ** 2).mean(), rel=5e-3)
