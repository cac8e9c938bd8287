"""The potential of a density against the double sum."""

import numpy as np
import scipy.fft

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


def test_the_product_of_spectra_has_one_order():
    """NumPy may write `a * f()` into the temporary as `f() * a`, from 256 kB on, and does not always."""
    grid = Grid((-1.0, -1.0), (1.0, 1.0), (143, 143))
    field = PotentialField(grid, lambda r: np.sqrt(1.0 + r * r) - 1.0)
    density = np.random.default_rng(1).random((144, 144))
    rows = scipy.fft.rfft(density, 288, axis=-1)
    rows = scipy.fft.fft(rows, 288, axis=0)
    product = np.empty_like(rows)
    np.multiply(field._spectrum, rows, out=product)
    product = scipy.fft.ifft(product, axis=0, norm="forward")[:144]
    whole = scipy.fft.irfft(product, 288, axis=-1, norm="forward")[:, :144]
    assert np.array_equal(field.interaction(density), whole * (1.0 / 288**2))
