"""The mean-field solvers against exact solutions, and their promises: mass, sign, energy."""

import re

import numpy as np
import pytest

from ipsdist.learning.energy import free_energies
from ipsdist.model.errors import InputError, RunError
from ipsdist.model.system import Grid
from ipsdist.numerics.densities.meanfield import chosen_scheme, solve_mean_field
from tests.numerics.densities.meanfield.laws import CASES, cubic, mixture, normal, two_modes

POSITIVE = ("scharfetter_gummel", "carrillo_chertock_huang")
EVERY = (*POSITIVE, "runge_kutta_4")


def square(r):
    """Potential of phi = r, which keeps a normal normal."""
    return 0.5 * r * r


@pytest.mark.parametrize("scheme", POSITIVE)
@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("slices", [11, 401])
def test_mass_sign_and_energy(name, slices, scheme):
    """Mass is kept to 1e-12, nothing is negative, and the free energy never rises, whatever times are asked for."""
    grid, first, second, potential, diffusion = CASES[name]
    u = solve_mean_field(
        two_modes(grid.axes()[0], first, second),
        grid,
        potential,
        diffusion,
        np.linspace(0.0, 1.0, slices),
        scheme=scheme,
    )
    mass = u.sum(axis=1)
    assert np.abs(mass / mass[0] - 1.0).max() < 1e-12
    assert u.min() >= 0.0
    energy = free_energies(u, grid, diffusion, potential)
    assert np.diff(energy).max() <= 1e-12 * max(1.0, np.abs(energy).max())
    assert energy[0] - energy[-1] > 1.0


def ornstein_uhlenbeck_error(cells, diffusion, scheme, dimension=1, half=8.0):
    """L2 error at t = 0.5 for phi = r, where a normal stays one: variance D + (v - D) exp(-2 t), D = sigma**2 / 2."""
    grid = Grid((-half,) * dimension, (half,) * dimension, (cells,) * dimension)
    d, v = 0.5 * diffusion, 0.5
    coordinates = np.meshgrid(*grid.axes(), indexing="ij")
    start = np.prod([normal(x, 0.3, v) for x in coordinates], axis=0)
    u = solve_mean_field(start, grid, square, diffusion, [0.0, 0.5], scheme=scheme)[-1]
    exact = np.prod([normal(x, 0.3, d + (v - d) * np.exp(-1.0)) for x in coordinates], axis=0)
    return np.sqrt(np.sum((u - exact) ** 2) * np.prod(grid.spacing))


@pytest.mark.parametrize(
    ("scheme", "dimension", "diffusion", "cells", "half", "worst"),
    [
        ("scharfetter_gummel", 1, 2.0, (80, 160, 320), 8.0, 5e-5),
        ("carrillo_chertock_huang", 1, 2.0, (80, 160, 320), 8.0, 4e-5),
        ("runge_kutta_4", 1, 2.0, (80, 160, 320), 8.0, 9e-5),
        ("scharfetter_gummel", 2, 2.0, (40, 80, 160), 6.0, 9e-5),
        ("carrillo_chertock_huang", 2, 2.0, (40, 80, 160), 6.0, 8e-5),
        ("carrillo_chertock_huang", 1, 0.02, (160, 320, 640), 8.0, 1e-4),
        ("runge_kutta_4", 1, 0.02, (160, 320, 640), 8.0, 3e-4),
    ],
)
def test_second_order(scheme, dimension, diffusion, cells, half, worst):
    """Halving the cells cuts the error fourfold, at D = 1 and, where the scheme is meant for it, at D = 0.01."""
    errors = [ornstein_uhlenbeck_error(n, diffusion, scheme, dimension, half) for n in cells]
    assert np.log2(np.divide(errors[:-1], errors[1:])).min() >= 1.9
    assert errors[-1] < worst


def test_small_diffusion_still_converges():
    """At D = 0.01 the upwind part of Scharfetter and Gummel shows: the order is below two, but the error falls."""
    errors = [ornstein_uhlenbeck_error(cells, 0.02, "scharfetter_gummel") for cells in (160, 320, 640)]
    assert np.log2(np.divide(errors[:-1], errors[1:])).min() >= 1.0


@pytest.mark.parametrize("scheme", POSITIVE)
def test_external_potential_gives_gibbs(scheme):
    """Without interaction the long-time density is exp(-2 V / sigma**2), to rounding: the fluxes are exact there."""
    grid = Grid((-3.0,), (3.0,), (60,))
    x = grid.axes()[0]
    u = solve_mean_field(
        normal(x, 1.0, 0.2), grid, np.zeros_like, 1.0, [0.0, 40.0], external=lambda y: 0.25 * y**4, scheme=scheme
    )[-1]
    gibbs = np.exp(-0.5 * x**4)
    np.testing.assert_allclose(u / u.sum(), gibbs / gibbs.sum(), rtol=1e-8, atol=1e-14)


@pytest.mark.parametrize("scheme", EVERY)
def test_times_between_do_not_matter(scheme):
    """Asking for more slices changes the last one by the time error only, far below the space error."""
    grid, first, second, potential, diffusion = CASES["cubic"]
    u0 = two_modes(grid.axes()[0], first, second)
    few = solve_mean_field(u0, grid, potential, diffusion, [0.0, 1.0], scheme=scheme)[-1]
    many = solve_mean_field(u0, grid, potential, diffusion, np.linspace(0.0, 1.0, 901), scheme=scheme)[-1]
    assert np.abs(few - many).max() < 1e-6


@pytest.mark.parametrize("scheme", POSITIVE)
@pytest.mark.parametrize("diffusion", [0.0, 1e-300, 1e-9])
def test_no_diffusion_is_upwind(diffusion, scheme):
    """With next to no diffusion the fluxes are finite, upwind ones: mass and sign hold while the density collapses."""
    grid = Grid((-4.0,), (4.0,), (160,))
    start = two_modes(grid.axes()[0], (1, 0.25), (-1, 0.25))
    u = solve_mean_field(start, grid, cubic, diffusion, [0.0, 0.3], scheme=scheme)
    assert np.isfinite(u).all()
    assert u.min() >= 0.0
    assert u[-1].sum() == pytest.approx(u[0].sum(), rel=1e-12)
    assert u[-1].max() > 1.5 * u[0].max()


@pytest.mark.parametrize("scheme", EVERY)
def test_nothing_happens_without_forces(scheme):
    """No diffusion, no interaction: the density stays bit for bit."""
    grid = Grid((0.0,), (1.0,), (8,))
    u = np.arange(9.0)
    after = solve_mean_field(u, grid, np.zeros_like, 0.0, [0.0, 5.0], scheme=scheme)[-1]
    np.testing.assert_array_equal(after, u)


@pytest.mark.parametrize("scheme", POSITIVE)
@pytest.mark.parametrize("diffusion", [0.0, 0.002, 2.0])
@pytest.mark.parametrize("spikes", [False, True])
def test_empty_cells(scheme, diffusion, spikes):
    """A box with nothing outside, and single full cells: mass, sign and energy hold, in a bearable number of steps."""
    grid = Grid((-8.0,), (8.0,), (160,))
    start = np.where(np.abs(grid.axes()[0]) <= 5.0, 0.1, 0.0)
    if spikes:
        start[:] = 0.0
        start[[30, 70, 71, 120]] = 2.5
    u = solve_mean_field(start, grid, square, diffusion, np.linspace(0.0, 0.5, 21), scheme=scheme)
    assert u.min() >= 0.0
    assert u.sum(axis=1) == pytest.approx(np.full(21, start.sum()), rel=1e-12)
    energy = free_energies(u, grid, diffusion, square)
    assert np.diff(energy).max() <= 1e-12 * max(1.0, np.abs(energy).max())


@pytest.mark.parametrize("scheme", POSITIVE)
def test_front_in_empty_cells_is_exact_in_the_end(scheme):
    """A spike becomes the heat kernel: the short steps at the jump cost no accuracy."""
    grid = Grid((-8.0,), (8.0,), (320,))
    start = np.zeros(321)
    start[160] = 1.0 / grid.spacing[0]
    u = solve_mean_field(start, grid, np.zeros_like, 2.0, [0.0, 0.5], scheme=scheme)[-1]
    np.testing.assert_allclose(u, normal(grid.axes()[0], 0.0, 1.0), atol=1e-3)


@pytest.mark.parametrize("scheme", EVERY)
def test_plane(scheme):
    """In two dimensions phi = r keeps a normal normal, with a variance of its own on every axis."""
    grid = Grid((-5.0, -4.0), (5.0, 4.0), (60, 40))
    x, y = np.meshgrid(*grid.axes(), indexing="ij")
    start = normal(x, 0.2, 0.5) * normal(y, 0.0, 1.5)
    u = solve_mean_field(start, grid, square, 1.5, np.linspace(0.0, 0.5, 6), scheme=scheme)
    after = [0.75 + (v - 0.75) * np.exp(-1.0) for v in (0.5, 1.5)]
    exact = normal(x, 0.2, after[0]) * normal(y, 0.0, after[1])
    assert np.abs(u[-1] - exact).max() < 0.01 * exact.max()
    assert u.sum(axis=(1, 2)) == pytest.approx(u[0].sum(), rel=1e-12)
    if scheme in POSITIVE:
        assert u.min() >= 0.0
        assert np.diff(free_energies(u, grid, 1.5, square)).max() < 0.0


@pytest.mark.parametrize("scheme", EVERY)
def test_space(scheme):
    """The same in three dimensions, where every axis has cells of its own."""
    grid = Grid((-4.0, -3.5, -5.0), (4.0, 3.5, 5.0), (32, 28, 20))
    coordinates = np.meshgrid(*grid.axes(), indexing="ij")
    start = np.prod([normal(x, 0.2, v) for x, v in zip(coordinates, (0.4, 0.5, 1.5), strict=True)], axis=0)
    u = solve_mean_field(start, grid, square, 1.5, [0.0, 0.1, 0.2], scheme=scheme)
    after = [0.75 + (v - 0.75) * np.exp(-0.4) for v in (0.4, 0.5, 1.5)]
    exact = np.prod([normal(x, 0.2, v) for x, v in zip(coordinates, after, strict=True)], axis=0)
    assert np.abs(u[-1] - exact).max() < 0.02 * exact.max()
    assert u.sum(axis=(1, 2, 3)) == pytest.approx(u[0].sum(), rel=1e-12)


@pytest.mark.parametrize("scheme", POSITIVE)
def test_three_laws_meet(scheme):
    """phi = 3 r**2 in the plane: two modes, four modes and a ring end at one value of the free energy ([S] fig. 6b)."""
    grid = Grid((-4.0, -4.0), (4.0, 4.0), (64, 64))
    x, y = np.meshgrid(*grid.axes(), indexing="ij")
    ends = []
    for law in ("two", "four", "ring"):
        start = mixture(law, x, y)
        u = solve_mean_field(start / (start.sum() * np.prod(grid.spacing)), grid, cubic, 2.0, [0.0, 1.0], scheme=scheme)
        energy = free_energies(u, grid, 2.0, cubic)
        assert energy[0] > energy[1] + 2.0
        ends.append(energy[1])
    assert np.ptp(ends) < 1e-6
    assert np.mean(ends) == pytest.approx(-0.793146, abs=2e-6)


def test_source_step():
    """Runge-Kutta 4 at [S]'s dt = 1e-3 agrees with the other schemes to the error of the grid."""
    grid, first, second, potential, diffusion = CASES["cubic"]
    u0 = two_modes(grid.axes()[0], first, second)
    times = np.linspace(0.0, 1.0, 6)
    ours = solve_mean_field(u0, grid, potential, diffusion, times, scheme="carrillo_chertock_huang")
    source = solve_mean_field(u0, grid, potential, diffusion, times, scheme="runge_kutta_4", step=1e-3)
    difference = np.abs(source - ours).sum(axis=1) * grid.spacing[0]
    assert difference.max() < 4e-3
    assert source.sum(axis=1) == pytest.approx(np.full(6, u0.sum()), rel=1e-12)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"initial": np.ones(4)}, r"`initial` must be a density on the grid \(9,\); got \(4,\)"),
        ({"initial": -np.ones(9)}, "`initial` must be finite and not negative; got -1.0; clip and normalise it"),
        ({"initial": np.full(9, np.nan)}, "`initial` must be finite and not negative; got nan"),
        ({"diffusion": -1.0}, "`system.diffusion` must be finite and not negative; got -1.0"),
        ({"times": [0.0, 1.0, 1.0]}, "`times` must be finite and increase"),
        ({"potential": lambda r: 1.0 / r}, "`system.kernel` and system.potential must have finite potentials"),
        (
            {"scheme": "euler"},
            "`mean_field.scheme` must be one of scharfetter_gummel, carrillo_chertock_huang, runge_kutta_4; got euler",
        ),
        ({"step": 0.0}, "`mean_field.step` must be positive; got 0.0"),
    ],
)
@pytest.mark.filterwarnings("ignore:divide by zero")
def test_refusals(changes, message):
    """Bad input is refused by name before any step."""
    given = {"initial": np.ones(9), "potential": cubic, "diffusion": 1.0, "times": [0.0, 1.0]} | changes
    with pytest.raises(InputError, match=message):
        solve_mean_field(grid=Grid((0.0,), (1.0,), (8,)), **given)


@pytest.mark.parametrize(("scheme", "limit"), [("scharfetter_gummel", 4.5), ("runge_kutta_4", 2.785 / 4.0)])
def test_step_beyond_the_bound(scheme, limit):
    """Without forces the longest step is 9 dx**2 / (2 D) and 2.785 dx**2 / (4 D); a longer one is refused with it."""
    grid = Grid((0.0,), (1.0,), (20,))
    longest = limit * 0.05**2 / 0.5
    given = (np.ones(21), grid, np.zeros_like, 1.0, [0.0, 1.0])
    solve_mean_field(*given, scheme=scheme, step=0.999 * longest)
    rule = r"`mean_field.step` must be at most (\S+) on this grid, beyond which the scheme is unstable; got .*"
    with pytest.raises(InputError, match=rule + '; make it shorter or "auto"') as refused:
        solve_mean_field(*given, scheme=scheme, step=1.001 * longest)
    assert float(re.match(rule, str(refused.value)).group(1)) == pytest.approx(longest, rel=3e-3)


@pytest.mark.parametrize("scheme", EVERY)
def test_hopeless_step_is_an_error(scheme):
    """A potential that would need far more than ten thousand steps stops at once, with the reason."""
    grid = Grid((-7.0,), (7.0,), (70,))
    start = normal(grid.axes()[0], 0, 1)
    with pytest.raises(RunError, match="the potential is too steep for the grid"):
        solve_mean_field(start, grid, lambda r: 1e9 * np.expm1(r), 1.0, [0.0, 1.0], scheme=scheme)


@pytest.mark.parametrize(("diffusion", "scheme"), [(2.0, POSITIVE[0]), (0.02, POSITIVE[1])])
def test_the_chosen_scheme_is_the_better_one(diffusion, scheme):
    """With phi = r a normal stays normal, its variance known: the scheme of the rule is not far from the better one."""
    grid = Grid((-4.0,), (4.0,), (80,))
    x = grid.axes()[0]
    start = normal(x, 0.0, 1.0)
    assert chosen_scheme(start, grid, square, diffusion) == scheme
    variance = 0.5 * diffusion + (1.0 - 0.5 * diffusion) * np.exp(-2.0 * 0.5)
    errors = {
        name: np.abs(
            solve_mean_field(start, grid, square, diffusion, [0.0, 0.5], scheme=name)[-1] - normal(x, 0.0, variance)
        ).sum()
        for name in POSITIVE
    }
    assert errors[scheme] <= 1.5 * min(errors.values())


def test_the_chosen_scheme_counts_an_external_potential():
    grid = Grid((-4.0,), (4.0,), (80,))
    start = normal(grid.axes()[0], 0.0, 1.0)
    assert chosen_scheme(start, grid, np.zeros_like, 1.0) == POSITIVE[0]
    assert chosen_scheme(start, grid, np.zeros_like, 1.0, external=lambda x: 40.0 * x) == POSITIVE[1]
