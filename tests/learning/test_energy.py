"""Free energies against closed forms and sums over all pairs of grid points."""

import numpy as np
import pytest

from ipsdist.learning.energy import entropy_integral, free_energies, free_energy, source_normalisation
from ipsdist.model.system import Grid
from tests.references import double_sum_energy


def normal(x, variance):
    return np.exp(-0.5 * x**2 / variance) / np.sqrt(2.0 * np.pi * variance)


GRID = Grid((-9.0,), (9.0,), (180,))
X = GRID.axes()[0]
VARIANCE, DIFFUSION = 1.3, 0.7
ENTROPY = -0.5 * np.log(2.0 * np.pi * np.e * VARIANCE)


def test_normal_law():
    """For a normal and phi = r, V = x**4: -sigma**2/4 ln(2 pi e v) + v/2 + 3 v**2."""
    found = free_energy(normal(X, VARIANCE), GRID, DIFFUSION, lambda r: 0.5 * r * r, lambda x: x**4)
    assert found == pytest.approx(0.5 * DIFFUSION * ENTROPY + 0.5 * VARIANCE + 3 * VARIANCE**2, rel=1e-10)


def test_source_normalisation():
    """The printed variant has 1/2 before the entropy and no 1/2 before the interaction: ENTROPY / 2 + v."""
    found = source_normalisation(normal(X, VARIANCE)[None], GRID, lambda r: 0.5 * r * r)
    np.testing.assert_allclose(found, [0.5 * ENTROPY + VARIANCE], rtol=1e-10)


def test_double_sum():
    """In one and two dimensions the energies are the sum over all pairs of points, external potential included."""
    rng = np.random.default_rng(1)
    for grid in (Grid((-1.0,), (2.0,), (25,)), Grid((-1.0, 0.0), (2.0, 1.0), (6, 8))):
        u = rng.random((3, *[n + 1 for n in grid.cells]))
        arguments = (grid, 0.3, lambda r: r**1.5, lambda x, *_: np.cos(x))
        expected = [double_sum_energy(v, *arguments) for v in u]
        np.testing.assert_allclose(free_energies(u, *arguments), expected, rtol=1e-12)
        np.testing.assert_allclose([free_energy(v, *arguments) for v in u], expected, rtol=1e-12)


def test_empty_cells_and_negative_lobes_add_no_entropy():
    """The integrand u ln u counts as 0 where u <= 0, its limit at 0."""
    grid = Grid((0.0,), (1.0,), (4,))
    assert entropy_integral(np.array([0.0, -0.1, 2.0, 1.0, 0.0]), grid) == pytest.approx(0.25 * 2 * np.log(2.0))
