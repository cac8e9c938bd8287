"""The potential of a density against the double sum."""

import numpy as np

from ipsdist.model.system import Grid
from ipsdist.numerics.densities.meanfield import PotentialField


def test_potential_is_the_double_sum():
    """Phi * u + V by FFT is the sum over grid points, in one, two and three dimensions."""
    rng = np.random.default_rng(1)
    grids = (((-1.0,), (2.0,), (12,)), ((-1.0, 0.0), (2.0, 1.0), (6, 9)), ((-1.0,) * 3, (1.0,) * 3, (4, 6, 5)))
    for grid in (Grid(*parts) for parts in grids):
        u = rng.random([n + 1 for n in grid.cells])
        points = np.stack([p.ravel() for p in np.meshgrid(*grid.axes(), indexing="ij")], axis=-1)
        distance = np.sqrt(((points[:, None] - points[None]) ** 2).sum(axis=-1))
        expected = np.exp(-distance) @ u.ravel() * np.prod(grid.spacing) + points[:, 0] ** 2
        field = PotentialField(grid, lambda r: np.exp(-r), lambda x, *_: x**2)
        np.testing.assert_allclose(field(u).ravel(), expected, rtol=1e-12)
