"""Part learning of gpu.py: deposits and densities of a billion particles, equations of a hundred slices."""

from __future__ import annotations

import importlib
import math
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any
from unittest import mock

import numpy as np
from _gpu_bench import DONE, FAILED, Bench
from _gpu_speed import drawn, particles_of, rule_mesh

from ipsdist.model.deposits import COUNT_ONE, Deposits
from ipsdist.model.dictionary import Dictionary
from ipsdist.model.mesh import Mesh
from ipsdist.model.radial_basis import RadialBasis
from ipsdist.model.system import Grid
from ipsdist.model.unknowns import Unknowns
from ipsdist.numerics.densities.deposit import deposit, deposit_flux
from ipsdist.numerics.particles import device_sums
from ipsdist.numerics.particles.device_sums import line_grid

TERMS = (
    "1", "r", "r**2", "r**3", "r**4", "r**5", "exp(r)", "exp(-r)", "exp(-2*r)", "exp(-r**2)", "sin(r)", "cos(r)",
    "sin(2*r)", "cos(2*r)", "log(1 + r)", "1/(1 + r)",
)  # fmt: skip
SLICES, SIDE, BINS = 100, 256, 200
MOST_DENSITY, MOST_EQUATIONS, MOST_BINS = 10.0, 50.0, 500.0
"""Milliseconds."""
_NEAR = 1e-10
"""Largest difference from the host, of the largest number: transforms of another library round elsewhere."""


def measure(bench: Bench) -> None:
    """Do the part."""
    if "array_api_compat" not in sys.modules and not _array_api():
        bench.row("arrays of the card", state=FAILED, note="array-api-compat is not installed, nor is SciPy's copy")
        return
    there, here = _mover(bench)
    for d in (2,) if bench.tiny else (1, 2):
        with bench.case(f"{d}-D deposits and density"):
            _densities(bench, d, there, here)
    with bench.case("equations"):
        _equations(bench, there)


def _array_api() -> bool:
    """Make array_api_compat importable: the package itself, else the copy that SciPy brings."""
    for name in ("array_api_compat", "scipy._lib.array_api_compat", "scipy._external.array_api_compat"):
        try:
            sys.modules["array_api_compat"] = importlib.import_module(name)
        except ImportError:
            continue
        return True
    return False


def _mover(bench: Bench) -> tuple[Callable[[Any], Any], Callable[[Any], Any]]:
    """Return the functions that bring an array to the card and back; a rehearsal has a stand-in for CuPy."""
    from ipsdist.arrays.namespace import host

    if not bench.rehearse:
        import cupy

        return cupy.asarray, cupy.asnumpy
    try:
        import array_api_strict as strict
    except ImportError:
        return np.asarray, np.asarray
    return partial(strict.asarray, device=strict.Device("device1")), host


def _densities(bench: Bench, dimension: int, there: Callable[[Any], Any], here: Callable[[Any], Any]) -> None:
    """Measure deposits, and the density that follows: counts from the host to the card, the density back."""
    from ipsdist.numerics.densities.window import density

    n = particles_of(bench, 2 * dimension)  # two clouds
    mesh = rule_mesh(n, dimension)
    cloud = drawn(bench, n, dimension, "float32")
    size, what = 4 * dimension, f"{dimension}-D, mesh of the rule"
    later = cloud.copy()
    _sums(bench, f"count and products, {what}", n, lambda: cloud.deposits(mesh), size)
    _sums(bench, f"flux, {what}", n, lambda: cloud.moves(later, mesh, 2**17), 2 * size)
    bench.rate(f"extent, {dimension}-D", n, bench.timed(cloud.extent, 3), size)
    weights = cloud.deposits(mesh)[0] / COUNT_ONE
    grid = Grid((-4.0,) * dimension, (4.0,) * dimension, (100,) * dimension)
    widths = np.full(dimension, max(4 * mesh.spacing, n ** (-1 / (4 + dimension))))
    seconds = bench.timed(lambda: here(density(there(weights), mesh, grid, widths)))
    off = _off(here(density(there(weights), mesh, grid, widths)), density(weights, mesh, grid, widths))
    told = f"beyond the deposit of {n:.0e}; {off:.1e} off the host's"
    bench.row(f"density, {what}", 1e3 * seconds, "ms", bar=MOST_DENSITY, most=True, note=told)
    seconds = bench.timed(lambda: density(weights, mesh, grid, widths))
    bench.row(f"density on the host, {what}", 1e3 * seconds, "ms")


def _sums(bench: Bench, what: str, particles: int, add: Callable[[], Any], size: int) -> None:
    """Measure sums at the nodes as the package adds them, and all in global memory."""
    grids: list[Any] = []

    def seen(*given: Any) -> Any:
        grids.append(line_grid(*given))
        return grids[-1]

    with mock.patch.object(device_sums, "line_grid", seen):
        seconds = bench.timed(add, 3)
    grid = grids[-1]
    if grid is None:
        bench.rate(what, particles, seconds, size, note="in global memory: no line fits")
    else:
        note = f"{len(grid.passes)} passes, {grid.resident} x {grid.threads} threads, {grid.shared} bytes shared"
        bench.rate(what, particles, seconds, size, note=note)
        with mock.patch.object(device_sums, "line_grid", return_value=None):
            bench.rate("  in global memory", particles, bench.timed(add, 3), size)


def _off(found: Any, wanted: Any) -> float:
    return float(np.abs(np.nan_to_num(found) - np.nan_to_num(wanted)).max() / np.nanmax(np.abs(wanted)))


def _equations(bench: Bench, there: Callable[[Any], Any]) -> None:
    from ipsdist.numerics.equations.radial import pair_radial, pair_slices, table_mesh
    from ipsdist.numerics.equations.tables import pair_tables

    slices, side = (3, 12) if bench.tiny else (SLICES, SIDE)
    deposits = _walk(slices, side)
    moved = [
        replace(d, count=there(d.count), products=there(d.products), flux=None if d.flux is None else there(d.flux))
        for d in deposits
    ]
    mesh = deposits[0].mesh
    dictionary = Dictionary.parse(TERMS)
    size = f"{slices} slices, {side} x {side}"
    start = time.perf_counter()
    tables = pair_tables(dictionary, mesh)
    bench.row(f"tables of {len(TERMS)} terms, once, by the host", time.perf_counter() - start, "s")
    on_card = tables.on(moved[0].count)
    _timed(
        bench, f"equations, {size}, {len(TERMS)} terms", MOST_EQUATIONS,
        lambda: pair_slices(moved, on_card), lambda: pair_slices(deposits[:2], tables), 2,
    )  # fmt: skip
    _strong(bench, there, dictionary, slices, side)
    what = f"equations, {size}, {BINS} radial functions"
    if bench.late(what, 10.0):
        return
    basis = _basis(mesh, 8 if bench.tiny else BINS)
    start = time.perf_counter()
    tables = pair_tables(basis, table_mesh(mesh))
    bench.row(f"tables of {len(basis)} radial functions, once, by the host", time.perf_counter() - start, "s")
    on_card, every = tables.on(moved[0].count), np.arange(slices)
    _timed(
        bench, what, MOST_BINS, lambda: pair_radial(moved, on_card, every),
        lambda: pair_radial(deposits[:1], tables, every[:1]), 1,
    )  # fmt: skip


def _timed(
    bench: Bench, what: str, bar: float, card: Callable[[], Any], host: Callable[[], Any], compared: int
) -> None:
    """Measure what the card does, and compare its first slices with those of the host."""
    with bench.case(what):
        seconds = bench.timed(card, 5)
        bench.row(what, 1e3 * seconds, "ms", bar=bar, most=True)
        found, wanted = card(), host()
        off = max(_off(getattr(found, p)[:compared], getattr(wanted, p)) for p in ("gram", "energy", "laplacian"))
        bench.row("  off the host's", off, "of the largest", state=DONE if off <= _NEAR else FAILED)


def _strong(bench: Bench, there: Callable[[Any], Any], dictionary: Dictionary, slices: int, side: int) -> None:
    from ipsdist.numerics.equations.forms.strong import strong_equations

    grid = Grid((-4.0, -4.0), (4.0, 4.0), (side - 1, side - 1))
    x, y = np.meshgrid(*grid.axes(), indexing="ij")
    times = np.linspace(0.0, 1.0, slices)
    u = np.stack([np.exp(-(x * x + y * y) / (1 + t)) / (math.pi * (1 + t)) for t in times])
    unknowns, what = Unknowns(dictionary), f"strong form, {slices} slices, {side} x {side}, {len(TERMS)} terms"
    with bench.case(what):
        if bench.late(what, 6.0):
            return
        moved = there(u)
        seconds = bench.timed(lambda: strong_equations(moved, times, grid, unknowns, 2.0, 20_000), 3)
        found = strong_equations(moved, times, grid, unknowns, 2.0, 20_000)
        wanted = strong_equations(u[:2], times[:2], grid, unknowns, 2.0, 20_000)
        off = _off(found.gram[:1], wanted.gram)
        state = FAILED if off > _NEAR else ""
        bench.row(what, 1e3 * seconds, "ms", state=state, note=f"its tables too; {off:.1e} off the host's")


def _walk(slices: int, side: int) -> list[Deposits]:
    """Return deposits of particles that walk everywhere on a mesh of two axes, with their flux."""
    mesh = Mesh(2.0**-5, (-side // 2, -side // 2), (side, side))
    rng, half = np.random.default_rng(5), (side // 2 - 1) * mesh.spacing
    x = rng.uniform(-half, 0.99 * half, (20 * side, 2))
    found = []
    for _ in range(slices):
        y = np.clip(x + 0.01 * rng.normal(size=x.shape), -half, 0.99 * half)
        flux, squares = deposit_flux(x, y, mesh)
        found.append(replace(deposit(x, mesh), flux=flux, squared_move=squares))
        x = y
    found[-1] = replace(found[-1], flux=None, squared_move=None)
    return found


def _basis(mesh: Mesh, functions: int) -> RadialBasis:
    """Return a radial basis of so many functions of degree 1, over all distances on the mesh and in its tables."""
    reach = mesh.spacing * (np.linalg.norm(mesh.shape) + 12)
    inner = np.linspace(0.0, reach, functions)[1:-1].tolist()
    return RadialBasis((0.0, 0.0, *inner, float(reach), float(reach)), 1)
