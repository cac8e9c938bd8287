"""The bias of the scores by a time step: against phi(r) = r, where density and scores are known in closed form."""

import numpy as np
import pytest

from ipsdist.model.dictionary import Dictionary
from ipsdist.model.errors import RunError
from ipsdist.model.expression import Expression
from ipsdist.model.normal_equations import NormalEquations
from ipsdist.model.system import Grid
from ipsdist.numerics.equations.control_variate import model_tables
from ipsdist.numerics.equations.step_bias import StepBias, chain_grid, chain_pieces, step_bias, strain

GRID = Grid((-6.0,), (6.0,), (240,))
HORIZON, DIFFUSION, VARIANCE = 1.5, 0.8, 0.9


def normal(grid, variance):
    squares = sum(x**2 for x in np.meshgrid(*grid.axes(), indexing="ij"))
    return np.exp(-0.5 * squares / variance) / np.sqrt(2.0 * np.pi * variance) ** len(grid.cells)


def exact(h, times, diffusion=DIFFUSION):
    """Return -(v(t) - v(0)) / 2 + sigma^2 t / 2 - int v: the chain's variance goes by q = (1 - h)^2 to its limit."""
    q = (1.0 - h) ** 2
    limit = diffusion * h / (1.0 - q)
    late = np.exp(times / h * np.log(q))
    variance = limit + (VARIANCE - limit) * late
    integral = limit * times + (VARIANCE - limit) * (late - 1.0) * h / np.log(q)
    return -0.5 * (variance - VARIANCE) + 0.5 * diffusion * times - integral


@pytest.mark.parametrize("outside", [False, True])
@pytest.mark.parametrize("h", [0.02, 0.006, 0.0005])
def test_phi_of_r_is_r(h, outside):
    """As a kernel, and as the potential x^2 / 2, which pulls a cloud around 0 alike; with a column that has no part."""
    fields = [Expression.parse("x**2/2", ("x",))] if outside else []
    pieces = chain_pieces(1, h, HORIZON, 1.0)
    grid = chain_grid(GRID, pieces, [0.1], DIFFUSION, HORIZON)
    tables = model_tables(Dictionary.parse(["r", "r**3"]), grid, fields)
    z = np.array([0.0, 0.0, 1.0] if outside else [1.0, 0.0])
    found = step_bias(normal(grid, VARIANCE), tables, z, DIFFUSION, h, HORIZON, pieces, particles=7)
    wanted = 7.0 * exact(h, found.times)
    np.testing.assert_allclose(found.score[:, int(np.argmax(z))], wanted, rtol=0, atol=2e-3 * np.abs(wanted).max())
    assert abs(wanted[-1]) > 7.0 * 0.1 * h  # not a comparison of zeros


def test_phi_of_r_is_r_in_the_plane():
    """Every axis as on a line; wide steps, of which a transform spreads the most, on cells that are not square."""
    h, grid = 0.02, Grid((-8.0, -8.0), (8.0, 8.0), (100, 92))
    tables = model_tables(Dictionary.parse(["r", "r**3"]), grid)
    found = step_bias(normal(grid, VARIANCE), tables, np.array([1.0, 0.0]), 4 * DIFFUSION, h, HORIZON, 4, particles=7)
    wanted = 14.0 * exact(h, found.times, 4 * DIFFUSION)
    np.testing.assert_allclose(found.score[:, 0], wanted, rtol=0, atol=5e-3 * np.abs(wanted).max())


def test_it_leaves_the_moments_of_every_replica_by_the_time_of_the_panels():
    """What lies between the ends of a panel, from its moment alone; the Gram stays."""
    times = np.linspace(0.0, 2.0, 33)
    bias = StepBias(times, np.column_stack([times**2, -times]))
    gram = np.tile(np.eye(2), (6, 1, 1))
    equations = NormalEquations("action", ("a", "b"), gram, np.zeros((6, 2)), None, 10, 1.0)
    ends = [(0.0, 0.5), (0.5, 1.5), (1.5, 2.0)]
    found = bias.removed(equations, ends)
    wanted = [[-(b**2 - a**2), b - a] for a, b in ends]
    np.testing.assert_allclose(found.moment, wanted + wanted, atol=1e-12)
    assert np.array_equal(found.gram, gram)


def test_the_strain_of_a_linear_pull_is_its_strength_on_every_axis():
    """grad V is 2 on a line, and 2 on each of two axes."""
    line = model_tables(Dictionary.parse(["r"]), GRID)
    assert strain(normal(GRID, VARIANCE), line, np.array([2.0])) == pytest.approx(2.0, rel=1e-3)
    plane = Grid((-5.0, -5.0), (5.0, 5.0), (60, 60))
    x, y = np.meshgrid(*plane.axes(), indexing="ij")
    u = np.exp(-0.5 * (x**2 + y**2))
    u /= u.sum() * np.prod(plane.spacing)
    assert strain(u, model_tables(Dictionary.parse(["r"]), plane), np.array([2.0])) == pytest.approx(8**0.5, rel=1e-2)


def test_pieces_follow_the_step_and_the_strain():
    """As fine as the simulation where that is affordable, finer where the drift turns fast, and refused beyond."""
    assert chain_pieces(1, step=1e-3, horizon=1.0, rate=1.0) == 16  # 1 / 1024
    assert chain_pieces(1, step=1e-6, horizon=1.0, rate=1.0) == 24  # no need to be so fine
    assert chain_pieces(1, step=1.0, horizon=1.0, rate=1.0) == 4
    assert chain_pieces(1, step=1.0, horizon=1.0, rate=100.0) == 16  # 4 steps of 1 / 1024 are 0.4 of 1 / rate
    with pytest.raises(RunError, match="changes too fast for chains of a few thousand steps"):
        chain_pieces(1, step=1e-3, horizon=100.0, rate=100.0)
    assert chain_pieces(2, step=1e-3, horizon=1.0, rate=1.0) == 4
    with pytest.raises(RunError, match="on a line and in the plane"):
        chain_pieces(3, step=1e-3, horizon=1.0, rate=1.0)


def test_the_grid_resolves_a_step_and_the_particles():
    """Whichever asks for more cells; too many are refused."""
    coarse = Grid((-4.0,), (4.0,), (100,))
    assert chain_grid(coarse, 4, [1.0], 2.0, 1.0) == coarse
    fine = chain_grid(coarse, 96, [1.0], 2.0, 1.0)
    assert np.sqrt(2.0 / (64 * 96)) / fine.spacing[0] >= 1.1
    assert chain_grid(coarse, 4, [0.01], 2.0, 1.0).spacing[0] <= 0.01
    with pytest.raises(RunError, match="too concentrated for the chain"):
        chain_grid(coarse, 4, [1e-4], 2.0, 1.0)
