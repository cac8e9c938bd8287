"""Averages of an initial law over cells: against the density itself, integrated another way."""

import numpy as np
import pytest
import scipy.integrate

from ipsdist.model.system import FromArray, Mixture, Ring, Uniform
from ipsdist.numerics.densities.continuum import cells_of
from ipsdist.numerics.densities.law import law_averages


def test_a_mixture_is_integrated_exactly():
    """In the plane: two normals, against fine sums of their densities."""
    law = Mixture((0.3, 0.7), ((0.5, 0.0), (-0.5, 0.25)), (0.04, 0.09))
    centres = cells_of((-3.0, -3.0), (3.0, 3.0), (24, 12))
    averages, outside = law_averages(law, centres)
    fine = cells_of((-3.0, -3.0), (3.0, 3.0), (24 * 20, 12 * 40)).axes()
    x, y = np.meshgrid(*fine, indexing="ij")
    density = sum(
        w * np.exp(-((x - a) ** 2 + (y - b) ** 2) / (2 * v)) / (2 * np.pi * v)
        for w, (a, b), v in zip(law.weights, law.means, law.variances, strict=True)
    )
    expected = density.reshape(24, 20, 12, 40).mean(axis=(1, 3))
    np.testing.assert_allclose(averages, expected, atol=4e-4 * expected.max())
    assert outside < 1e-12


def test_what_lies_outside_is_told_and_the_rest_has_mass_one():
    """A normal of which a half is outside."""
    averages, outside = law_averages(Mixture((1.0,), ((0.0,),), (1.0,)), cells_of((0.0,), (9.0,), (90,)))
    assert outside == pytest.approx(0.5, abs=1e-9)
    assert averages.sum() * 0.1 == pytest.approx(1.0, rel=1e-12)


def test_a_box_shares_the_cells_that_it_cuts():
    """Uniform on [0.05, 0.25]: half of the first cell of width 0.1, all of the second, half of the third."""
    averages, outside = law_averages(Uniform((0.05,), (0.25,)), cells_of((0.0,), (0.4,), (4,)))
    np.testing.assert_allclose(averages, [2.5, 5.0, 2.5, 0.0], rtol=1e-12, atol=1e-12)
    assert outside == pytest.approx(0.0, abs=1e-12)


def test_a_ring_is_normalised_numerically():
    """Cells so small that averages are values: against the density divided by its radial integral."""
    law = Ring(1.0, 0.04)
    centres = cells_of((-2.5, -2.5), (2.5, 2.5), (200, 200))
    averages, outside = law_averages(law, centres)

    def density(r):
        return np.exp(-((r - 1.0) ** 2) / (2 * 0.04))

    total = 2 * np.pi * scipy.integrate.quad(lambda r: r * density(r), 0, 2.5)[0]
    radius = np.hypot(*np.meshgrid(*centres.axes(), indexing="ij"))
    np.testing.assert_allclose(averages, density(radius) / total, atol=2e-3 * averages.max())
    assert averages.sum() * 0.025**2 == pytest.approx(1.0, rel=1e-12)
    assert outside < 1e-12


def test_positions_have_no_density():
    """They are refused."""
    with pytest.raises(ValueError, match="positions have no density"):
        law_averages(FromArray(np.zeros((3, 1))), cells_of((0.0,), (1.0,), (8,)))
