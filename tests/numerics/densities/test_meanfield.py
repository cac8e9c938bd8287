"""The mean-field solver against exact solutions, and its three promises: mass, sign, energy."""

import numpy as np
import pytest

from ipsdist.learning.energy import free_energies
from ipsdist.model.errors import InputError, RunError
from ipsdist.model.system import Grid
from ipsdist.numerics.densities.meanfield import PotentialField, solve_mean_field

RADIUS = 0.05


def normal(x, mean, variance):
    return np.exp(-0.5 * (x - mean) ** 2 / variance) / np.sqrt(2.0 * np.pi * variance)


def cubic(r):
    return r**3


def power_law(r):
    """Potential of r - r**-1.5, the second part frozen below RADIUS."""
    frozen = r * RADIUS**-1.5
    beyond = RADIUS**-0.5 - 2.0 * (np.maximum(r, RADIUS) ** -0.5 - RADIUS**-0.5)
    return 0.5 * r * r - np.where(r < RADIUS, frozen, beyond)


def two_modes(x, first, second):
    return 0.5 * normal(x, *first) + 0.5 * normal(x, *second)


CASES = {
    "cubic": (Grid((-4.0,), (4.0,), (160,)), (1.0, 0.25), (-1.0, 0.25), cubic, 2.0),
    "power_law": (Grid((-7.0,), (7.0,), (280,)), (2.0, 0.25), (-3.0, 1.0), power_law, 0.02),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("slices", [11, 401])
def test_mass_sign_and_energy(name, slices):
    """Mass is kept to 1e-12, nothing is negative, and the free energy never rises, whatever times are asked for."""
    grid, first, second, potential, diffusion = CASES[name]
    u = solve_mean_field(
        two_modes(grid.axes()[0], first, second), grid, potential, diffusion, np.linspace(0.0, 1.0, slices)
    )
    mass = u.sum(axis=1)
    assert np.abs(mass / mass[0] - 1.0).max() < 1e-12
    assert u.min() >= 0.0
    energy = free_energies(u, grid, diffusion, potential)
    assert np.diff(energy).max() <= 1e-13 * np.abs(energy).max()
    assert energy[0] - energy[-1] > 1.0


def ornstein_uhlenbeck_error(cells, diffusion):
    """L2 error at t = 0.5 for phi = r, where a normal stays one: variance D + (v - D) exp(-2 t), D = sigma**2 / 2."""
    grid = Grid((-8.0,), (8.0,), (cells,))
    x, d, v = grid.axes()[0], 0.5 * diffusion, 0.5
    u = solve_mean_field(normal(x, 0.3, v), grid, lambda r: 0.5 * r * r, diffusion, [0.0, 0.5])[-1]
    exact = normal(x, 0.3, d + (v - d) * np.exp(-1.0))
    return np.sqrt(np.sum((u - exact) ** 2) * grid.spacing[0])


def test_second_order():
    """Halving the cells cuts the error fourfold at sigma**2 / 2 = 1."""
    errors = [ornstein_uhlenbeck_error(cells, 2.0) for cells in (80, 160, 320)]
    assert np.log2(np.divide(errors[:-1], errors[1:])).min() >= 1.9
    assert errors[-1] < 1e-4


def test_small_diffusion_still_converges():
    """At sigma**2 / 2 = 0.01 the upwind part shows: the order is below two, but the error falls."""
    errors = [ornstein_uhlenbeck_error(cells, 0.02) for cells in (160, 320, 640)]
    assert np.log2(np.divide(errors[:-1], errors[1:])).min() >= 1.0


def test_external_potential_gives_gibbs():
    """Without interaction the long-time density is exp(-2 V / sigma**2), to rounding: the fluxes are exact there."""
    grid = Grid((-3.0,), (3.0,), (60,))
    x = grid.axes()[0]
    u = solve_mean_field(normal(x, 1.0, 0.2), grid, np.zeros_like, 1.0, [0.0, 40.0], external=lambda y: 0.25 * y**4)[-1]
    gibbs = np.exp(-0.5 * x**4)
    np.testing.assert_allclose(u / u.sum(), gibbs / gibbs.sum(), rtol=1e-8, atol=1e-14)


def test_times_between_do_not_matter():
    """Asking for more slices changes the last one by the time error only, far below the space error."""
    grid, first, second, potential, diffusion = CASES["cubic"]
    u0 = two_modes(grid.axes()[0], first, second)
    few = solve_mean_field(u0, grid, potential, diffusion, [0.0, 1.0])[-1]
    many = solve_mean_field(u0, grid, potential, diffusion, np.linspace(0.0, 1.0, 901))[-1]
    assert np.abs(few - many).max() < 1e-6


@pytest.mark.parametrize("diffusion", [0.0, 1e-300, 1e-9])
def test_no_diffusion_is_upwind(diffusion):
    """With next to no diffusion the fluxes are finite, upwind ones: mass and sign hold while the density collapses."""
    grid = Grid((-4.0,), (4.0,), (160,))
    u = solve_mean_field(two_modes(grid.axes()[0], (1, 0.25), (-1, 0.25)), grid, cubic, diffusion, [0.0, 0.3])
    assert np.isfinite(u).all()
    assert u.min() >= 0.0
    assert u[-1].sum() == pytest.approx(u[0].sum(), rel=1e-12)
    assert u[-1].max() > 1.5 * u[0].max()


def test_nothing_happens_without_forces():
    """No diffusion, no interaction: the density stays bit for bit."""
    grid = Grid((0.0,), (1.0,), (8,))
    u = np.arange(9.0)
    np.testing.assert_array_equal(solve_mean_field(u, grid, np.zeros_like, 0.0, [0.0, 5.0])[-1], u)


def test_plane():
    """In two dimensions phi = r keeps a normal normal, with a variance of its own on every axis."""
    grid = Grid((-5.0, -4.0), (5.0, 4.0), (60, 40))
    x, y = np.meshgrid(*grid.axes(), indexing="ij")
    u = solve_mean_field(
        normal(x, 0.2, 0.5) * normal(y, 0.0, 1.5), grid, lambda r: 0.5 * r * r, 1.5, np.linspace(0.0, 0.5, 6)
    )
    after = [0.75 + (v - 0.75) * np.exp(-1.0) for v in (0.5, 1.5)]
    exact = normal(x, 0.2, after[0]) * normal(y, 0.0, after[1])
    assert np.abs(u[-1] - exact).max() < 0.01 * exact.max()
    assert u.sum(axis=(1, 2)) == pytest.approx(u[0].sum(), rel=1e-12)
    assert u.min() >= 0.0
    assert np.diff(free_energies(u, grid, 1.5, lambda r: 0.5 * r * r)).max() < 0.0


def test_potential_is_the_double_sum():
    """Phi * u + V by FFT is the sum over grid points, in one and two dimensions."""
    rng = np.random.default_rng(1)
    for grid in (Grid((-1.0,), (2.0,), (12,)), Grid((-1.0, 0.0), (2.0, 1.0), (6, 9))):
        u = rng.random([n + 1 for n in grid.cells])
        points = np.stack([p.ravel() for p in np.meshgrid(*grid.axes(), indexing="ij")], axis=-1)
        distance = np.sqrt(((points[:, None] - points[None]) ** 2).sum(axis=-1))
        expected = np.exp(-distance) @ u.ravel() * np.prod(grid.spacing) + points[:, 0] ** 2
        field = PotentialField(grid, lambda r: np.exp(-r), lambda x, *_: x**2)
        np.testing.assert_allclose(field(u).ravel(), expected, rtol=1e-12)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"initial": np.ones(4)}, r"`initial` must be a density on the grid \(9,\); got \(4,\)"),
        ({"initial": -np.ones(9)}, "`initial` must be finite and not negative; got -1.0; clip and normalise it"),
        ({"initial": np.full(9, np.nan)}, "`initial` must be finite and not negative; got nan"),
        ({"diffusion": -1.0}, "`system.diffusion` must be finite and not negative; got -1.0"),
        ({"times": [0.0, 1.0, 1.0]}, "`times` must be finite and increase"),
        ({"potential": lambda r: 1.0 / r}, "`system.kernel` and system.potential must have finite potentials"),
    ],
)
@pytest.mark.filterwarnings("ignore:divide by zero")
def test_refusals(changes, message):
    """Bad input is refused by name before any step."""
    given = {"initial": np.ones(9), "potential": cubic, "diffusion": 1.0, "times": [0.0, 1.0]} | changes
    with pytest.raises(InputError, match=message):
        solve_mean_field(grid=Grid((0.0,), (1.0,), (8,)), **given)


def test_hopeless_step_is_an_error():
    """A potential that would need more than ten million steps stops at once, with the reason."""
    grid = Grid((-7.0,), (7.0,), (70,))
    with pytest.raises(RunError, match="the potential is too steep for the grid"):
        solve_mean_field(normal(grid.axes()[0], 0, 1), grid, lambda r: 1e9 * np.expm1(r), 1.0, [0.0, 1.0])
