"""Mean-field solvers: errors against exact solutions, CPU-seconds, and what they keep, beside py-pde.

    python benchmarks/meanfield.py [--quick] [--json FILE]

phi = r keeps a normal normal with a known mean and variance: the error is that of the last density (t = 0.5) in L2.
Every scheme solves the interaction itself; py-pde (the extra ``benchmark``) gets the same equation written locally,
d_t u = div(u (x - mean)) + D Lap u, on the same points, and phi = 3 r**2 with our convolution and its operators. Its
compilation is outside the seconds, as is ours. radial_2d is [S]'s case in the plane with its three initial laws.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from ipsdist.learning.energy import free_energies
from ipsdist.model.system import Grid
from ipsdist.numerics.densities.meanfield import PotentialField, solve_mean_field

Array = npt.NDArray[np.float64]
Row = dict[str, Any]
Solve = Callable[[], Array]
Potential = Callable[[Array], Array]

SCHEMES = ("scharfetter_gummel", "carrillo_chertock_huang", "runge_kutta_4")
MEAN, VARIANCE, HORIZON = 0.3, 0.5, 0.5


def normal(grid: Grid, variance: float, mean: float = MEAN) -> Array:
    squares = sum((x - mean) ** 2 for x in np.meshgrid(*grid.axes(), indexing="ij"))
    return np.exp(-0.5 * squares / variance) / (2.0 * math.pi * variance) ** (0.5 * len(grid.cells))


def square(cells: int, half: float, dimension: int) -> Grid:
    return Grid((-half,) * dimension, (half,) * dimension, (cells,) * dimension)


def ours(start: Array, grid: Grid, potential: Potential, diffusion: float, horizon: float) -> dict[str, Solve]:
    """Return a run of every scheme to the horizon, by name."""
    return {
        name: lambda name=name: solve_mean_field(start, grid, potential, diffusion, [0.0, horizon], scheme=name)[-1]
        for name in SCHEMES
    }


def timed(solve: Solve, repeats: int = 3) -> tuple[Array, float]:
    """Return the answer and the CPU-seconds of the fastest of a few runs."""
    best = math.inf
    for _ in range(repeats):
        start = time.process_time()
        u = solve()
        best = min(best, time.process_time() - start)
    return u, best


def pde_grid(pde: Any, grid: Grid) -> Any:
    """Return py-pde's grid whose cell centres are our points."""
    bounds = [(a - dx / 2, b + dx / 2) for a, b, dx in zip(grid.lower, grid.upper, grid.spacing, strict=True)]
    return pde.CartesianGrid(bounds, [n + 1 for n in grid.cells])


def pde_solver(pde: Any, equation: Any, grid: Grid, start: Array, horizon: float, step: float) -> Solve:
    """Return a run of py-pde, compiled: Runge-Kutta 4 in whole steps, the longest up to ``step``."""
    step = horizon / math.ceil(horizon / step)
    state = pde.ScalarField(pde_grid(pde, grid), start)
    solver = pde.RungeKuttaSolver(equation)
    advance = solver.make_stepper(state, dt=step)

    def solve() -> Array:
        after = state.copy()
        result = advance(after, 0.0, horizon)
        return np.array(result[0].data if isinstance(result, tuple) else after.data)

    solve()
    return solve


def local_equation(pde: Any, dimension: int, constant: float) -> Any:
    drift = " + ".join(f"d_d{a}(({a} - {MEAN}) * u)" for a in "xyz"[:dimension])
    return pde.PDE({"u": f"{constant} * laplace(u) + {drift}"}, bc={"value": 0})


def interacting_equation(pde: Any, grid: Grid, constant: float) -> Any:
    """Return py-pde's equation with its own gradient, divergence and Laplacian, and our Phi * u of phi = 3 r**2."""
    field = PotentialField(grid, lambda r: r**3)

    class Interacting(pde.PDEBase):  # type: ignore[misc]
        def evolution_rate(self, state: Any, t: float = 0.0) -> Any:  # noqa: ARG002
            potential = pde.ScalarField(state.grid, field(state.data))
            flux = state * potential.gradient({"derivative": 0})
            return constant * state.laplace({"value": 0}) + flux.divergence({"value": 0})

    return Interacting()


def ornstein_uhlenbeck(pde: Any, dimension: int, constant: float, half: float, sizes: list[int]) -> list[Row]:
    """Return a row for every scheme and grid, with the order between this grid and the one before it."""
    rows: list[Row] = []
    for cells in sizes:
        grid = square(cells, half, dimension)
        start = normal(grid, VARIANCE)
        exact = normal(grid, constant + (VARIANCE - constant) * math.exp(-2.0 * HORIZON))
        runs = ours(start, grid, lambda r: 0.5 * r * r, 2.0 * constant, HORIZON)
        diffusive = 4.0 * constant * sum(dx**-2 for dx in grid.spacing) / 2.785
        turning = sum(half / dx for dx in grid.spacing) / 2.828
        equation = local_equation(pde, dimension, constant)
        runs["py-pde"] = pde_solver(pde, equation, grid, start, HORIZON, 0.9 / (diffusive + turning))
        for name, run in runs.items():
            u, seconds = timed(run)
            error = float(np.sqrt(np.sum((u - exact) ** 2) * math.prod(grid.spacing)))
            rows.append({"d": dimension, "D": constant, "cells": cells, "method": name})
            rows[-1] |= {"error": error, "seconds": seconds, "lowest": float(u.min())}
            before = [r for r in rows[:-1] if r["method"] == name]
            rows[-1]["order"] = math.log2(before[-1]["error"] / error) if before else None
    return rows


def cubic(pde: Any, cells: int) -> list[Row]:
    """Solve phi = 3 r**2 on the line to t = 0.2; the reference is a grid eight times finer."""

    def runs_on(grid: Grid) -> tuple[Array, dict[str, Solve]]:
        start = 0.5 * normal(grid, 0.25, 1.0) + 0.5 * normal(grid, 0.25, -1.0)
        return start, ours(start, grid, lambda r: r**3, 2.0, 0.2)

    grid = square(cells, 4.0, 1)
    exact = runs_on(square(8 * cells, 4.0, 1))[1]["carrillo_chertock_huang"]()[::8]
    start, runs = runs_on(grid)
    equation = interacting_equation(pde, grid, 1.0)
    runs["py-pde"] = pde_solver(pde, equation, grid, start, 0.2, 1e-3 * (160 / cells) ** 2)
    rows = []
    for name, run in runs.items():
        u, seconds = timed(run)
        error = float(np.sqrt(np.sum((u - exact) ** 2) * grid.spacing[0]))
        rows.append({"method": name, "cells": cells, "error": error, "seconds": seconds})
    return rows


def radial_2d(cells: int) -> list[Row]:
    """Return what the schemes keep on [S]'s case in the plane, T = 1, with its three initial laws."""
    grid = square(cells, 4.0, 2)
    x, y = np.meshgrid(*grid.axes(), indexing="ij")
    centres = {"two": [(1, 0), (-1, 0)], "four": [(1, 1), (1, -1), (-1, 1), (-1, -1)]}
    laws = {k: sum(np.exp(-((x - a) ** 2 + (y - b) ** 2) / 0.5) for a, b in v) for k, v in centres.items()}
    laws["ring"] = np.exp(-((np.hypot(x, y) - 1.0) ** 2) / 0.5)
    times = np.linspace(0.0, 1.0, 101)
    rows = []
    for scheme in SCHEMES:
        for law, start in laws.items():
            start /= start.sum() * math.prod(grid.spacing)
            begun = time.process_time()
            u = solve_mean_field(start, grid, lambda r: r**3, 2.0, times, scheme=scheme)
            seconds = time.process_time() - begun
            energy = free_energies(u, grid, 2.0, lambda r: r**3)
            rows.append({"scheme": scheme, "law": law, "cells": cells, "seconds": seconds})
            rows[-1] |= {"mass": float(np.abs(u.sum(axis=(1, 2)) / start.sum() - 1.0).max()), "lowest": float(u.min())}
            rows[-1] |= {"rise": float(np.diff(energy).max()), "end": float(energy[-1])}
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small grids, to see that everything runs")
    parser.add_argument("--json", metavar="FILE", help="write the rows to FILE as well")
    options = parser.parse_args()
    try:
        import pde
    except ImportError:
        sys.exit("benchmarks/meanfield.py compares with py-pde, which is not installed: pip install '.[benchmark]'")
    part = 4 if options.quick else 1
    exact = [
        *ornstein_uhlenbeck(pde, 1, 1.0, 8.0, [n // part for n in (160, 320, 640)]),
        *ornstein_uhlenbeck(pde, 1, 0.01, 8.0, [320, 640][: 2 if part == 1 else 1]),
        *ornstein_uhlenbeck(pde, 2, 1.0, 6.0, [n // part for n in (40, 80, 160)]),
    ]
    print(f"{'d':>2} {'D':>5} {'cells':>6}  {'method':<24} {'L2 error':>9} {'order':>6} {'CPU-s':>8} {'lowest':>9}")
    for r in exact:
        order = "" if r["order"] is None else f"{r['order']:.2f}"
        numbers = f"{r['error']:>9.2e} {order:>6} {r['seconds']:>8.4f} {r['lowest']:>9.1e}"
        print(f"{r['d']:>2} {r['D']:>5} {r['cells']:>6}  {r['method']:<24} {numbers}")
    interacting = cubic(pde, 320 // part)
    print(f"\nphi = 3 r**2, d = 1, t = 0.2\n{'cells':>6}  {'method':<24} {'L2 error':>9} {'CPU-s':>8}")
    for r in interacting:
        print(f"{r['cells']:>6}  {r['method']:<24} {r['error']:>9.2e} {r['seconds']:>8.4f}")
    plane = radial_2d(160 // part)
    print(f"\nradial_2d\n{'scheme':<24} {'law':<5} {'CPU-s':>6} {'mass':>8} {'lowest':>9} {'rise':>9} {'F(1)':>11}")
    for r in plane:
        numbers = f"{r['seconds']:>6.2f} {r['mass']:>8.1e} {r['lowest']:>9.1e} {r['rise']:>9.1e} {r['end']:>11.7f}"
        print(f"{r['scheme']:<24} {r['law']:<5} {numbers}")
    if options.json:
        versions = {"python": platform.python_version(), "numpy": np.__version__, "py-pde": pde.__version__}
        record = {"benchmark": "meanfield", "versions": versions, "exact": exact, "cubic": interacting, "plane": plane}
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump(record, file, indent=2)


if __name__ == "__main__":
    main()
