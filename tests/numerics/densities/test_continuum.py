"""Deposits of a density: against particles placed by its quantiles, against integrals known in closed form."""

from dataclasses import replace

import numpy as np
import pytest
import scipy.special

from ipsdist.model.deposits import COUNT_ONE, PRODUCT_ONE, neighbour_offsets
from ipsdist.model.dictionary import Dictionary
from ipsdist.model.system import Grid, Mixture, Uniform
from ipsdist.numerics.densities.continuum import (
    DEPOSITED,
    CellDensity,
    DensityDeposits,
    box_mesh,
    cells_of,
    extrapolated,
    lengths,
    wall,
)
from ipsdist.numerics.densities.deposit import deposit
from ipsdist.numerics.densities.law import law_averages
from ipsdist.numerics.equations.pairings import pair_slice
from ipsdist.numerics.equations.radial import occupied, pair_radial, table_mesh
from ipsdist.numerics.equations.tables import pair_tables

NORMAL = Mixture((1.0,), ((0.1,),), (0.25,))


def averages(cells, law=NORMAL, side=4.0, dimension=1):
    """Return centres and averages of a law on a box around 0."""
    centres = cells_of((-side,) * dimension, (side,) * dimension, (cells,) * dimension)
    return centres, law_averages(law, centres)[0]


def test_counts_and_products_are_those_of_very_many_particles():
    """200 000 particles at the quantiles of a normal differ from its density by the spacing of the quantiles alone."""
    centres, u = averages(120)
    mesh = box_mesh((-4.0,), (4.0,), 0.125)
    found = DensityDeposits(centres, mesh)(u)
    n = 200_000
    x = 0.1 + 0.5 * scipy.special.ndtri((np.arange(n) + 0.5) / n)
    twin = deposit(x[:, None], mesh)
    np.testing.assert_allclose(found.count / DEPOSITED, twin.count / n, atol=COUNT_ONE * 2e-6)
    np.testing.assert_allclose(found.products / DEPOSITED, twin.products / n, atol=PRODUCT_ONE * 2e-6)


def test_counts_and_products_in_the_plane():
    """Two normals, on cells that are no multiple of the mesh: against Gauss points as weighted particles."""
    law = Mixture((0.4, 0.6), ((0.3, -0.2), (-0.5, 0.1)), (0.16, 0.25))
    centres = cells_of((-3.0, -3.0), (3.2, 3.0), (95, 80))
    mesh = box_mesh((-3.0, -3.0), (3.2, 3.0), 0.25)
    found = DensityDeposits(centres, mesh)(law_averages(law, centres)[0])
    places, gauss = np.polynomial.legendre.leggauss(12)
    ends = [low + np.arange(n - 1) for low, n in zip(mesh.lower, mesh.shape, strict=True)]
    x, y = ((0.25 * (e[:, None] + 0.5 + 0.5 * places)).ravel() for e in ends)
    of_point = np.outer(np.tile(gauss, len(ends[0])), np.tile(gauss, len(ends[1]))).ravel()
    x, y = (a.ravel() for a in np.meshgrid(x, y, indexing="ij"))
    weight = sum(
        w * np.exp(-((x - a) ** 2 + (y - b) ** 2) / (2 * v)) / v
        for w, (a, b), v in zip(law.weights, law.means, law.variances, strict=True)
    )
    weight *= of_point
    weight /= weight.sum()
    cell = [np.floor(a / 0.25).astype(int) - low for a, low in zip((x, y), mesh.lower, strict=True)]
    upper = [a / 0.25 - np.floor(a / 0.25) for a in (x, y)]
    corners = [(i, j) for i in (0, 1) for j in (0, 1)]

    def share(corner):
        return np.prod([u if k else 1 - u for k, u in zip(corner, upper, strict=True)], axis=0)

    count, products = np.zeros(mesh.shape), np.zeros((4, *mesh.shape))
    for a in corners:
        place = tuple(c + k for c, k in zip(cell, a, strict=True))
        np.add.at(count, place, weight * share(a))
        for b in corners:
            offset = (b[0] - a[0], b[1] - a[1])
            if offset in neighbour_offsets(2):
                np.add.at(products[neighbour_offsets(2).index(offset)], place, weight * share(a) * share(b))
    np.testing.assert_allclose(found.count / (DEPOSITED * COUNT_ONE), count, atol=1e-6 * count.max())
    np.testing.assert_allclose(found.products / (DEPOSITED * PRODUCT_ONE), products, atol=1e-6 * products.max())


@pytest.mark.parametrize("law", [NORMAL, Uniform((-1.0,), (1.3,))])
def test_the_mass_is_exact(law):
    """To the last unit, whatever the density."""
    centres, u = averages(100, law)
    found = DensityDeposits(centres, box_mesh((-4.0,), (4.0,), 2.0**-6))(0.7 * u)
    assert int(found.count.sum()) == DEPOSITED * COUNT_ONE
    assert found.particles == DEPOSITED


def test_the_density_between_averages_is_of_high_order():
    """Halving the cells makes the error 50 times smaller, at points that are no centres."""
    points = Grid((-3.9,), (3.9,), (777,))
    (x,) = points.axes()
    exact = np.exp(-((x - 0.1) ** 2) / 0.5) / np.sqrt(0.5 * np.pi)
    errors = []
    for cells in (40, 80):
        centres, u = averages(cells)
        errors.append(np.abs(CellDensity(centres).at(u, points) - exact).max())
    assert errors[1] < errors[0] / 32  # fifth order at least
    assert errors[1] < 1e-5


def test_outside_the_box_there_is_nothing():
    """Points beyond the faces get 0, those on them the density."""
    centres, u = averages(40, Uniform((-4.0,), (4.0,)))
    found = CellDensity(centres).at(u, Grid((-5.0,), (5.0,), (10,)))
    np.testing.assert_allclose(found, [0.0, *[0.125] * 9, 0.0], rtol=1e-12)


def test_two_solutions_are_extrapolated():
    """What differs by the square of the cell width alone comes out free of it, in the plane too."""
    coarse_u, fine_u = np.ones((4, 6)), np.ones((8, 12))
    slope = np.linspace(0.0, 1.0, 8)[:, None]
    fine = fine_u + slope + 0.25
    coarse = coarse_u + slope.reshape(4, 2).mean(axis=1)[:, None] + 1.0
    np.testing.assert_allclose(extrapolated(coarse, fine), coarse - 1.0, rtol=1e-14)


def test_lengths_and_walls():
    """The length of a normal is its standard deviation on every axis; a flat density leans on all walls."""
    law = Mixture((1.0,), ((0.0, 0.0),), (0.25,))
    centres, u = averages(160, law, 4.0, 2)
    np.testing.assert_allclose(lengths(u, centres), [0.5, 0.5], rtol=2e-3)
    assert wall(u) < 1e-10
    assert wall(np.ones((5, 7))) == 1.0
    flat = np.ones((5, 5))
    assert np.isinf(lengths(flat, cells_of((0.0, 0.0), (1.0, 1.0), (5, 5)))).all()


def test_a_mesh_that_cuts_the_box_is_refused():
    """Mass would be lost."""
    centres, _ = averages(40)
    with pytest.raises(ValueError, match="must hold the cells"):
        DensityDeposits(centres, box_mesh((-3.0,), (4.0,), 0.5))


def test_pairings_of_a_density_are_those_of_the_system():
    """phi = r pulls to the mean: the Gram is N times the variance, the energy half of it, the Laplacian N."""
    law = Mixture((0.5, 0.5), ((1.0,), (-1.0,)), (0.25, 0.25))
    centres, u = averages(100, law)
    n, variance = 20_000, 1.25
    mesh = box_mesh((-4.0,), (4.0,), 2.0**-5)
    found = DensityDeposits(centres, mesh, n / DEPOSITED)(u)
    tables = pair_tables(Dictionary.parse(("r",), None), mesh)
    paired = pair_slice(found, tables)
    assert paired.gram.item() == pytest.approx(n * variance, rel=1e-7)
    assert paired.energy.item() == pytest.approx(n * variance / 2, rel=1e-7)
    assert paired.laplacian.item() == pytest.approx(n, rel=1e-7)


def test_the_radial_pairings_count_the_same_particles():
    """Both roads scale what deposited particles are worth, and deposits of another worth do not add."""
    centres, u = averages(80)
    mesh = box_mesh((-4.0,), (4.0,), 2.0**-4)
    found = DensityDeposits(centres, mesh, 1000 / DEPOSITED)(u)
    dictionary = Dictionary.parse(("r", "r**2"), None)
    (boxed,) = occupied([found])
    radial = pair_radial([boxed], pair_tables(dictionary, table_mesh(boxed.mesh)), np.array([0]))
    direct = pair_slice(found, pair_tables(dictionary, mesh))
    for name in ("gram", "energy", "laplacian"):
        np.testing.assert_allclose(getattr(radial, name), getattr(direct, name), rtol=1e-9)
    with pytest.raises(ValueError, match="of one kind"):
        found + replace(found, worth=1.0)
