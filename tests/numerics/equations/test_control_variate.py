"""Pairings of a density against closed Gaussian integrals and against particles drawn from it; integrals by hand."""

import itertools

import numpy as np
import pytest

from ipsdist.model.dictionary import Dictionary
from ipsdist.model.expression import Expression
from ipsdist.model.mesh import Mesh
from ipsdist.model.system import Grid
from ipsdist.numerics.densities.deposit import deposit
from ipsdist.numerics.equations.control_variate import (
    ModelPairings,
    controlled_action_equations,
    controlled_integrals,
    model_grid,
    model_pairings,
    model_tables,
    model_times,
)
from ipsdist.numerics.equations.pairings import Pairings, pair_slice
from ipsdist.numerics.equations.quadrature import panels
from ipsdist.numerics.equations.tables import pair_tables
from tests.learning.rows import EIGHT


def gaussian(grid, deviation):
    """The centred isotropic normal density at the points of a grid."""
    points = np.meshgrid(*grid.axes(), indexing="ij")
    d = len(points)
    return np.exp(-0.5 * sum(x * x for x in points) / deviation**2) / (2 * np.pi * deviation**2) ** (d / 2)


def cube(d, half, cells):
    return Grid((-half,) * d, (half,) * d, (cells,) * d)


def one(density, tables, particles=1):
    pairings = model_pairings(density[None], [0.0], tables, particles)
    return pairings.gram[0], pairings.laplacian[0]


def test_gaussian_on_the_line():
    """phi = 1 (a jump of the force at 0) and phi = r: N/3, N s/sqrt(pi), N s^2; Laplacians N/(s sqrt(pi)) and N."""
    grid, s, n = cube(1, 6.0, 600), 0.7, 1000
    gram, laplacian = one(gaussian(grid, s), model_tables(Dictionary.parse(["1", "r"]), grid), n)
    root = np.sqrt(np.pi)
    np.testing.assert_allclose(gram, n * np.array([[1 / 3, s / root], [s / root, s * s]]), rtol=3e-4)
    np.testing.assert_allclose(laplacian, [n / (s * root), n], rtol=3e-4)


@pytest.mark.parametrize("d", [2, 3])
def test_gaussian_in_the_plane_and_in_space(d):
    """phi = r has gram N d s^2 and Laplacian N d; phi = 1 has Laplacian (d - 1) N E[1/|X - Y|]."""
    grid, s = cube(d, 4.0, {2: 100, 3: 40}[d]), 0.8
    gram, laplacian = one(gaussian(grid, s), model_tables(Dictionary.parse(["1", "r"]), grid))
    inverse = {2: np.sqrt(np.pi) / (2 * s), 3: 1 / (s * np.sqrt(np.pi))}[d]
    assert gram[1, 1] == pytest.approx(d * s * s, rel={2: 5e-3, 3: 2e-2}[d])
    np.testing.assert_allclose(laplacian, [(d - 1) * inverse, d], rtol=2e-2)


def test_error_is_of_second_order():
    """Halving the spacing divides the error of the Laplacian of |x| by four."""

    def error(cells):
        grid = cube(1, 6.0, cells)
        laplacian = one(gaussian(grid, 0.7), model_tables(Dictionary.parse(["1"]), grid))[1][0]
        return abs(laplacian * 0.7 * np.sqrt(np.pi) - 1)

    assert np.log2(error(60) / error(120)) == pytest.approx(2, abs=0.1)


def test_known_potential_is_the_last_column():
    """V = x^2/2: gram N E[x^2], cross term with phi = r the same, Laplacian N."""
    grid, s = cube(1, 6.0, 400), 0.7
    tables = model_tables(Dictionary.parse(["r"]), grid, (Expression.parse("x**2/2", variables=("x",)),))
    gram, laplacian = one(gaussian(grid, s), tables, 10)
    np.testing.assert_allclose(gram, np.full((2, 2), 10 * s * s), rtol=1e-3)
    np.testing.assert_allclose(laplacian, [10, 10], rtol=1e-3)


@pytest.mark.parametrize(("terms", "cutoff"), [(EIGHT, None), (("r**-0.5", "r**-1.5", "r**-2"), 0.1)])
def test_agrees_with_particles_drawn_from_the_density(terms, cutoff):
    """A million particles paired by the deposits, self terms left out, agree within sampling errors of a few 1e-3."""
    random, s = np.random.default_rng(5), 0.4
    x = (np.where(random.random(1_000_000) < 0.4, 1.0, -1.0) + s * random.standard_normal(1_000_000))[:, None]
    dictionary, mesh = Dictionary.parse(terms, cutoff), Mesh.around(x.min(0), x.max(0), 2.0**-8)
    data = pair_slice(deposit(x, mesh), pair_tables(dictionary, mesh))
    grid = cube(1, 4.0, 400)
    points = grid.axes()[0]
    u = sum(p * np.exp(-0.5 * ((points - m) / s) ** 2) for p, m in ((0.4, 1), (0.6, -1))) / (s * np.sqrt(2 * np.pi))
    gram, laplacian = one(u, model_tables(dictionary, grid), len(x))
    units = np.sqrt(np.diag(gram))
    np.testing.assert_allclose(gram / np.outer(units, units), data.gram[0] / np.outer(units, units), atol=8e-3)
    np.testing.assert_allclose(laplacian, data.laplacian[0], rtol=8e-3)


def made_up(times, fast=12.0):
    """Pairings whose gram and Laplacian are exp(-fast t) times constants, energies 0 and t."""
    shape = np.exp(-fast * np.asarray(times))
    gram = shape[:, None, None] * np.array([[2.0, 0.5], [0.5, 1.0]])
    energy, work = np.outer(times, [0.0, 1.0]), np.full((len(times), 2), np.nan)
    return Pairings(gram, energy, shape[:, None] * np.array([3.0, -1.0]), work)


@pytest.mark.parametrize("rule", ["trapezoid", "simpson", "spline"])
@pytest.mark.parametrize("times", [np.linspace(0, 1, 6), np.array([0, 0.02, 0.05, 0.3, 1.0])])
def test_the_right_model_makes_any_rule_exact(times, rule):
    """Model equal to the data: the integral is that of the model, whatever the rule and the slices; panels add up."""
    fine = model_times(times)
    of_model = made_up(fine)
    gram, laplacian = controlled_integrals(
        made_up(times), times, ModelPairings(fine, of_model.gram, of_model.laplacian), rule
    )
    assert len(gram) == len(panels(times, rule))
    assert gram.sum(axis=0)[0, 0] == pytest.approx(2 * -np.expm1(-12) / 12, rel=1e-5)
    assert laplacian.sum(axis=0)[1] == pytest.approx(np.expm1(-12) / 12, rel=1e-5)


def test_only_the_error_of_the_rule_is_corrected():
    """A model that is off by a cubic in time changes nothing where Simpson's rule integrates cubics."""
    times = np.linspace(0, 1, 5)
    fine = model_times(times)
    of_model = made_up(fine)
    off = (1 + fine - 2 * fine**3)[:, None]
    right = controlled_integrals(made_up(times), times, ModelPairings(fine, of_model.gram, of_model.laplacian))[1]
    shifted = ModelPairings(fine, of_model.gram, of_model.laplacian + off)
    np.testing.assert_allclose(controlled_integrals(made_up(times), times, shifted)[1], right, rtol=1e-12)


def test_equations_of_the_right_model():
    """b = -(H(last) - H(first)) + sigma^2/2 int laplacian, one panel; a column beyond the basis is folded in."""
    times = np.linspace(0, 1, 6)
    fine = model_times(times)
    of_model = made_up(fine)
    model = ModelPairings(fine, of_model.gram, of_model.laplacian)
    equations = controlled_action_equations(
        made_up(times), times, model, [1.0], basis=("r",), diffusion=2.0, particles=7
    )
    duration = -np.expm1(-12) / 12
    assert (equations.panels, equations.basis, equations.particles) == (1, ("r",), 7)
    assert equations.gram[0, 0, 0] == pytest.approx(2.0 * duration, rel=1e-5)
    assert equations.moment[0, 0] == pytest.approx(3.0 * duration - 0.5 * duration, rel=1e-5)


def test_model_times_are_even_within_every_interval():
    """Snapshots are among the model's times; every interval has an even number of equal pieces, four or more."""
    times = np.array([0.0, 1e-3, 0.4, 1.0])
    fine = model_times(times)
    places = np.searchsorted(fine, times)
    np.testing.assert_array_equal(fine[places], times)
    for a, b in itertools.pairwise(places):
        assert (b - a) % 2 == 0
        assert b - a >= 4
        np.testing.assert_allclose(np.diff(fine[a : b + 1]), (fine[b] - fine[a]) / (b - a), rtol=1e-9)


def test_model_grid_is_fine_enough_and_keeps_points():
    """Sixteen points a deviation on the line, eight in the plane; every axis by its own whole factor; never coarser."""
    assert model_grid(Grid((-4.0,), (4.0,), (60,)), [1.1]).cells == (120,)
    assert model_grid(Grid((-4.0,), (4.0,), (200,)), [1.1]).cells == (200,)
    assert model_grid(Grid((-4.0, -1.0), (4.0, 1.0), (64, 64)), [0.8, 0.05]).cells == (128, 320)


def test_model_at_other_times_is_an_error():
    """A model that lacks a snapshot's time is refused."""
    fine = np.linspace(0, 1, 5)
    of_model = made_up(fine)
    times = np.array([0, 0.3, 1.0])
    with pytest.raises(ValueError, match="model_times"):
        controlled_integrals(made_up(times), times, ModelPairings(fine, of_model.gram, of_model.laplacian))
