"""The strong form against a double loop, against exact residuals of smooth densities, and its bits."""

import itertools

import numpy as np
import pytest

from ipsdist.model.dictionary import Dictionary
from ipsdist.model.errors import InputError
from ipsdist.model.expression import Expression
from ipsdist.model.system import Grid
from ipsdist.model.unknowns import Unknowns
from ipsdist.numerics.equations.forms.strong import strong_equations
from tests.references import strong_rows

TERMS = Dictionary.parse(["1", "r", "r**2", "exp(-r)"])


def bumps(grid, slices, seed=0):
    """Smooth positive densities that change from slice to slice (S, points...)."""
    rng = np.random.default_rng(seed)
    points = np.meshgrid(*grid.axes(), indexing="ij")
    out = []
    for _ in range(slices):
        centre = rng.normal(0, 0.4, len(points))
        distance = sum((x - c) ** 2 for x, c in zip(points, centre, strict=True))
        out.append(np.exp(-distance) * (1 + 0.3 * np.sin(points[0] + rng.normal())))
    return np.array(out) / (np.sum(out[0]) * np.prod(grid.spacing))


@pytest.mark.parametrize(
    "grid",
    [
        Grid((-2.0,), (3.0,), (14,)),
        Grid((-2.0, -1.5), (2.0, 2.5), (5, 6)),
        Grid((-1.0,) * 3, (1.0, 1.5, 2.0), (3, 2, 3)),
    ],
    ids=["1-D", "2-D", "3-D"],
)
@pytest.mark.parametrize("external", [False, True])
def test_equals_the_double_loop(grid, external):
    """Gram, moment and energy are products, weighted by dt h^d, of rows made one point at a time."""
    d = len(grid.cells)
    densities, times = bumps(grid, 3), np.array([0.0, 0.1, 0.35])
    text = "+".join(f"{k + 1}*{name}**2/2" for k, name in enumerate("xyz"[:d]))
    potential = Expression.parse(text, variables=tuple("xyz"[:d]), argument="system.potential") if external else None
    slope = (lambda axis, x: (axis + 1) * x[axis]) if external else None
    y, f = strong_rows(densities, times, grid, TERMS, 0.7, slope)
    weight = np.diff(times) * np.prod(grid.spacing)
    found = strong_equations(densities, times, grid, Unknowns(TERMS), 0.7, 50, external=potential)
    np.testing.assert_allclose(found.gram, np.einsum("pkx,plx,p->pkl", f, f, weight), rtol=1e-10, atol=1e-13)
    np.testing.assert_allclose(found.moment, np.einsum("pkx,px,p->pk", f, y, weight), rtol=1e-10, atol=1e-13)
    np.testing.assert_allclose(found.energy, np.einsum("px,px,p->p", y, y, weight), rtol=1e-10, atol=1e-13)
    assert (found.form, found.basis, found.particles) == ("strong", TERMS.names, 50)


def gaussian(x, variance):
    return np.exp(-(x**2) / (2 * variance)) / np.sqrt(2 * np.pi * variance)


def linear_attraction(cells, step, coefficient=1.5, diffusion=0.8, slices=3):
    """Exact solution for phi = c r, normal with v' = -2 c v + sigma^2: (densities, times, grid)."""
    grid, times = Grid((-7.0,), (7.0,), (cells,)), 0.2 + step * np.arange(slices)
    rest = diffusion / (2 * coefficient)
    variances = rest + (1.2 - rest) * np.exp(-2 * coefficient * times)
    return np.array([gaussian(grid.axes()[0], v) for v in variances]), times, grid


def learnt(cells, step):
    densities, times, grid = linear_attraction(cells, step)
    total = strong_equations(densities, times, grid, Unknowns(Dictionary.parse(["r"])), 0.8, 1).total()
    return total.moment[0, 0] / total.gram[0, 0, 0]


def test_second_order_in_space():
    """With the exact density of phi = 1.5 r the error of the coefficient falls by 4 when the spacing is halved."""
    errors = [abs(learnt(cells, 1e-7) - 1.5) for cells in (70, 140, 280)]
    ratios = np.array(errors[:-1]) / errors[1:]
    assert errors[-1] < 2e-3
    assert ((ratios > 3.7) & (ratios < 4.3)).all()


def test_first_order_in_time():
    """Against the finest step, forward differences err in proportion to the distance of the slices."""
    best = learnt(280, 1e-7)
    errors = [abs(learnt(280, step) - best) for step in (4e-2, 2e-2, 1e-2)]
    ratios = np.array(errors[:-1]) / errors[1:]
    assert ((ratios > 1.8) & (ratios < 2.2)).all()


def test_features_approach_the_exact_integrals():
    """For a normal u of variance v: K * u is x for r and x^3 + 3 v x for r^3, which gives A."""
    variance, step = 0.6, 0.01
    grid = Grid((-8.0,), (8.0,), (640,))
    densities = np.repeat(gaussian(grid.axes()[0], variance)[None], 2, axis=0)
    found = strong_equations(densities, [0.0, step], grid, Unknowns(Dictionary.parse(["r", "r**3"])), 1.0, 1)
    x = np.linspace(-8, 8, 200001)
    u = gaussian(x, variance)
    exact = [u * (1 - x * x / variance), u * (3 * x**2 + 3 * variance - x * (x**3 + 3 * variance * x) / variance)]
    expected = step * np.array([[np.sum(f * g) for g in exact] for f in exact]) * (x[1] - x[0])
    np.testing.assert_allclose(found.gram[0], expected, rtol=5e-3)


def test_stationary_density_is_balanced():
    """At equilibrium, u = N(0, sigma^2 / 2c), attraction and diffusion cancel: the misfit at z = c is O(h^4)."""
    coefficient, diffusion = 2.0, 1.0
    misfits = []
    for cells in (80, 160):
        grid = Grid((-4.0,), (4.0,), (cells,))
        density = gaussian(grid.axes()[0], diffusion / (2 * coefficient))
        one = Unknowns(Dictionary.parse(["r"]))
        found = strong_equations(np.array([density] * 2), [0.0, 1.0], grid, one, diffusion, 1)
        misfits.append(found.misfit([coefficient])[0])
        assert misfits[-1] < 2e-2 * found.energy[0]
    assert 12 < misfits[0] / misfits[1] < 20


def test_external_potential_stands_in_for_attraction():
    """For a centred density V = x^2/2 pushes as phi = r does: known V takes 1 from the coefficient of r."""
    densities, times, grid = linear_attraction(160, 1e-3)
    terms = Dictionary.parse(["r"])
    free = strong_equations(densities, times, grid, Unknowns(terms), 0.8, 1)
    held = strong_equations(
        densities, times, grid, Unknowns(terms), 0.8, 1, external=Expression.parse("x**2/2", variables=("x",))
    )
    values = [e.total().moment[0, 0] / e.total().gram[0, 0, 0] for e in (free, held)]
    assert values[1] == pytest.approx(values[0] - 1, abs=1e-9)


@pytest.mark.parametrize("grid", [Grid((-3.0,), (3.0,), (60,)), Grid((-2.0, -2.0), (2.0, 2.0), (12, 17))])
def test_blocks_have_the_bits_of_the_whole(grid):
    """Blocks that share a slice, of any length, give the same bits as all slices at once."""
    densities, times = bumps(grid, 12), 0.01 * np.arange(12)
    whole = strong_equations(densities, times, grid, Unknowns(TERMS), 1.0, 9)
    for cuts in ([0, 11], [0, 1, 2, 11], [0, 4, 9, 11], list(range(12))):
        parts = [
            strong_equations(densities[a : b + 1], times[a : b + 1], grid, Unknowns(TERMS), 1.0, 9)
            for a, b in itertools.pairwise(cuts)
        ]
        for name in ("gram", "moment", "energy"):
            joined = np.concatenate([getattr(part, name) for part in parts])
            assert joined.tobytes() == getattr(whole, name).tobytes()


@pytest.mark.parametrize(
    ("shape", "times", "cells", "message"),
    [
        (
            (3, 12),
            [0.0, 0.1, 0.2],
            10,
            "`densities` must be one array (points...) for every time on the grid; got shape (3, 12) for 3 times and "
            "(11,) points; estimate them on the same [grid]",
        ),
        (
            (3, 11),
            [0.0, 0.2, 0.1],
            10,
            "`times` must be at least two and increase; got 3 times; sort them and drop repeats",
        ),
        ((1, 11), [0.0], 10, "`times` must be at least two and increase; got 1 times; sort them and drop repeats"),
        (
            (2, 2),
            [0.0, 0.1],
            1,
            "`grid.cells` must be at least 2 on every axis for the strong form; got (1,); raise grid.cells",
        ),
    ],
)
def test_refuses(shape, times, cells, message):
    """Each refusal names the argument, the rule, what came and the fix."""
    with pytest.raises(InputError) as error:
        strong_equations(np.ones(shape), times, Grid((0.0,), (1.0,), (cells,)), Unknowns(TERMS), 1.0, 1)
    assert str(error.value) == message
