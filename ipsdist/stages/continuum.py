"""Densities instead of particles: the mean-field equation solved on the cells of a box, and deposited slice by slice.

The equation is solved twice, on cells and on their halves, and the two densities are extrapolated: with one of them
alone the error of the scheme, of second order at best, shows as an error of the kernel. How fine the cells are is found
by solving on them. A ``mean_field.step`` in numbers solves once, on the cells of the density grid, as [S] does.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ipsdist.config import RunConfig
from ipsdist.model.errors import InputError, RunError
from ipsdist.model.setup import Setup
from ipsdist.model.system import Grid
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
from ipsdist.numerics.densities.law import law_averages
from ipsdist.numerics.densities.meanfield import solve_mean_field
from ipsdist.runtime.threads import single_threaded
from ipsdist.stages.base import Payload, Task, Tick, committed, setup_of
from ipsdist.stages.blocks import Block, block_group, block_record, save_block, slice_blocks, slice_bytes
from ipsdist.storage import Store

__all__ = [
    "box_keys", "cell_bytes", "density_warnings", "first_density", "prepare_cells", "read_densities", "refuse_step",
    "solve_densities", "solving_bytes",
]  # fmt: skip

Array = npt.NDArray[np.float64]

_CELLS = "particles/cells"
_QUALITY = "quality"
_PER_LENGTH = {1: 12.0, 2: 5.0}
"""Cells in the length on which the density varies; the finer of the two solutions has twice as many."""
_PER_CUTOFF = 4.0
"""Cells in the cut-off radius of a singular kernel, in one dimension."""
_USUAL = {1: 2**11, 2: 2**14}
"""Cells in all that are seldom passed."""
_FIRST = {1: 256, 2: 48}
"""Cells an axis with which the search begins."""
_MOST_UPDATES = 5e8
"""Cells times steps that diffusion takes, on the finer level: less than a minute of one core."""
_MULTIPLE = 8
_TURNS = 8
_WIDER = 1.25
_EMPTY = 1e-6
"""Density at the walls, relative to the mean one, that a box may have which is chosen here."""
_FELT = 1e-2
"""Density at the walls of a given box from which on it is told."""
_COARSE = 0.7
"""Share of the cells wanted below which it is told."""


def _refined(config: RunConfig) -> bool:
    """Tell whether the cells are chosen here and two solutions extrapolated."""
    return config.mean_field.step == "auto"


def box_keys(config: RunConfig) -> tuple[str, ...]:
    """Return the keys of the grid that decide the densities: its walls, and its cells where they are solved on."""
    return ("grid.lower", "grid.upper") if _refined(config) else ("grid.lower", "grid.upper", "grid.cells")


def cell_bytes(setup: Setup) -> int:
    """Return how many bytes the density of a slice seldom passes on the cells."""
    return 8 * _USUAL[setup.dimension]


def solving_bytes(setup: Setup) -> int:
    """Bound the memory of solving one block of slices: densities on cells and halves, and deposits."""
    levels = {1: 4, 2: 6}[setup.dimension]  # cells, their halves, and both again as one
    block = len(slice_blocks(setup.slices, setup.dimension)[0])
    return block * (levels * cell_bytes(setup) + 2 * slice_bytes(setup))


def prepare_cells(store: Store, config: RunConfig) -> None:
    """Choose box and cells by solving on coarse ones, finer and wider until both suit the densities of all slices.

    Particles need none.
    """
    if config.data.source != "mean_field":
        return
    setup = setup_of(store)
    lower, upper = setup.grid.lower, setup.grid.upper
    d, cells = setup.dimension, setup.grid.cells
    if _refined(config):
        cells = (_FIRST[d],) * d
        for _ in range(_TURNS):
            with single_threaded():
                wanted, reached = _look(config, setup, cells_of(lower, upper, cells))
            narrow = config.grid is None and reached > _EMPTY
            enough = all(w <= n for w, n in zip(wanted, cells, strict=True))
            suited = cells if enough else _affordable(config, setup, np.subtract(upper, lower), wanted)
            if suited == cells and not narrow:
                break
            cells = suited
            if narrow:
                lower, upper = _wider(lower, upper)
    rows = np.column_stack([lower, upper, cells]).astype(np.float64)
    store.write(_CELLS, rows, dims=("axis", "lower_upper_cells"))


def _wider(lower: tuple[float, ...], upper: tuple[float, ...]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return the corners of a box whose sides are longer."""
    middles, halves = np.add(lower, upper) / 2, np.subtract(upper, lower) / 2
    return tuple((middles - _WIDER * halves).tolist()), tuple((middles + _WIDER * halves).tolist())


def _look(config: RunConfig, setup: Setup, centres: Grid) -> tuple[tuple[int, ...], float]:
    """Return the cells that the densities of all slices but the first ask for (d,), and the largest density at a wall.

    The averages of the first one are exact, jumps and all, and diffusion has smoothed them by the second.
    """
    finest, reached, state = np.full(setup.dimension, math.inf), 0.0, [_start(config, centres)]
    for block in slice_blocks(setup.slices, setup.dimension):
        found = _advance(config, setup, [centres], state, block)
        later = found[0][1:] if block.first == 0 else found[0]
        finest = np.min([finest, *(lengths(u, centres) for u in later)], axis=0)
        reached = max(reached, *(wall(u) for u in found[0]))
        state = [found[0][-1]]
    sides = np.array([(n + 1) * dx for n, dx in zip(centres.cells, centres.spacing, strict=True)])
    wanted = sides * _PER_LENGTH[setup.dimension] / finest
    cutoff = config.system.cutoff
    if cutoff is not None and setup.dimension == 1:
        wanted = np.maximum(wanted, sides * _PER_CUTOFF / cutoff)
    return tuple(_MULTIPLE * math.ceil(n / _MULTIPLE) for n in wanted.tolist()), reached


def _affordable(config: RunConfig, setup: Setup, sides: Array, wanted: tuple[int, ...]) -> tuple[int, ...]:
    """Return as many cells as are wanted, or in all axes in proportion as many as are affordable."""
    d, horizon = len(wanted), setup.times[-1] - setup.times[0]
    halves = 2.0 * np.array(wanted)
    steps = setup.slices + horizon * float(config.system.diffusion or 0.0) * float(np.sum((halves / sides) ** 2))
    share = min(1.0, (_MOST_UPDATES / (steps * math.prod(halves))) ** (1.0 / (d + 2)))
    return tuple(max(_MULTIPLE, _MULTIPLE * math.floor(n * share / _MULTIPLE)) for n in wanted)


def _start(config: RunConfig, centres: Grid) -> Array:
    law = config.initial_law()
    assert law is not None
    return law_averages(law, centres)[0]


def _levels(store: Store, config: RunConfig) -> list[Grid]:
    """Return the centres of the cells, and of their halves where two solutions are extrapolated."""
    rows = store.read(_CELLS).tolist()
    lower, upper = tuple(row[0] for row in rows), tuple(row[1] for row in rows)
    cells = [round(row[2]) for row in rows]
    parts = (1, 2) if _refined(config) else (1,)
    return [cells_of(lower, upper, tuple(n * part for n in cells)) for part in parts]


def _advance(
    config: RunConfig, setup: Setup, levels: Sequence[Grid], states: Sequence[Array], block: Block
) -> list[Array]:
    """Return the densities (slices, cells...) of a block on every level; ``states`` are those of the slice before it.

    A run that was stopped goes on with the same intervals between slices, and so with the same bits.
    """
    first = max(0, block.first - 1)
    times = setup.slice_times[first : block.stop]
    try:
        solved = [_solve(config, g, u, times) for g, u in zip(levels, states, strict=True)]
    except InputError as error:  # something is written by now
        raise RunError(str(error)) from error
    return [u[block.first - first :] for u in solved]


def _solve(config: RunConfig, centres: Grid, start: Array, times: Array) -> Array:
    system, keys = config.system_value(), config.mean_field
    assert system.kernel is not None
    # A scheme that does not keep the sign has left it by a little, if at all, at the end of the block before.
    positive = np.maximum(start, 0.0)
    return solve_mean_field(
        positive * (start.sum() / positive.sum()),
        centres,
        system.kernel.potential,
        system.diffusion,
        times,
        external=system.potential,
        scheme=keys.fitting_scheme,
        step=keys.fixed_step,
    )


def refuse_step(config: RunConfig, setup: Setup) -> None:
    """Raise InputError for a ``mean_field.step`` in numbers that the scheme cannot take to the second slice."""
    if not _refined(config):
        centres = cells_of(setup.grid.lower, setup.grid.upper, setup.grid.cells)
        try:
            _solve(config, centres, _start(config, centres), setup.slice_times[:2])
        except RunError as error:
            rule = "must lead to the second slice"
            raise InputError("mean_field.step", rule, f"{config.mean_field.step:g}: {error}", 'use "auto"') from None


def solve_densities(store: Store, task: Task, tick: Tick) -> Payload:
    """Solve from the last committed block on; write densities and deposits block by block."""
    config, setup = task.config, setup_of(store)
    levels, blocks = _levels(store, config), slice_blocks(setup.slices, setup.dimension)
    done = [b for b in blocks if committed(store, block_record(0, b), task.fingerprint) is not None]
    if len(done) == len(blocks):
        return {}
    states = _restored(store, done[-1], levels) if done else [_start(config, g) for g in levels]
    faces = [CellDensity(levels[0]).faces(a) for a in range(setup.dimension)]
    mesh = box_mesh(tuple(float(f[0]) for f in faces), tuple(float(f[-1]) for f in faces), setup.spacing)
    deposited = DensityDeposits(levels[0], mesh, setup.particles / DEPOSITED)
    axes = ("x", "y")[: setup.dimension]
    for block in blocks[len(done) :]:
        solved = _advance(config, setup, levels, states, block)
        states = [u[-1] for u in solved]
        densities = [extrapolated(*pair) for pair in zip(*solved, strict=True)] if len(solved) == 2 else list(solved[0])
        group, units = block_group(0, block), f"length^-{setup.dimension}"
        store.write(f"{group}/density", np.stack(densities), dims=("slice", *axes), units=units)
        quality = [[*(lengths(u, levels[0]) / levels[0].spacing), wall(u)] for u in densities]
        store.write(f"{group}/{_QUALITY}", np.array(quality), dims=("slice", "cells_a_length_then_wall"))
        for level, state in enumerate(states):
            store.write(f"{_checkpoint(block.number)}/level-{level}", state, dims=axes, units=units)
        save_block(store, 0, block, [deposited(u) for u in densities], task.fingerprint)
        if block.number >= 2:
            store.discard(_checkpoint(block.number - 2))
        tick(float(block.stop))
    return {}


def _checkpoint(block: int) -> str:
    return f"particles/replica-0/checkpoint-{block}"


def _restored(store: Store, block: Block, levels: Sequence[Grid]) -> list[Array]:
    """Return the densities after a committed block, from which the equation goes on with the same bits."""
    return [store.read(f"{_checkpoint(block.number)}/level-{k}") for k in range(len(levels))]


def read_densities(store: Store, config: RunConfig, block: Block, grid: Grid) -> Array:
    """Return the densities of a block at the points of a grid (slices, points...)."""
    density = CellDensity(_levels(store, config)[0])
    return np.stack([density.at(u, grid) for u in store.read(f"{block_group(0, block)}/density")])


def first_density(store: Store, config: RunConfig, grid: Grid) -> Array:
    """Return the density of the first slice at the points of a grid (points...), not negative, of mass 1."""
    block = slice_blocks(setup_of(store).slices, len(grid.cells))[0]
    averages = store.read(f"{block_group(0, block)}/density", slice(0, 1))[0]
    u = np.maximum(CellDensity(_levels(store, config)[0]).at(averages, grid), 0.0)
    return np.asarray(u / (u.sum() * math.prod(grid.spacing)))


def density_warnings(store: Store, config: RunConfig) -> tuple[str, ...]:
    """Warn of solved densities that the cells do not resolve, and of those that lean on the walls of their box."""
    if config.data.source != "mean_field":
        return ()
    setup = setup_of(store)
    blocks = slice_blocks(setup.slices, setup.dimension)
    quality = np.concatenate([store.read(f"{block_group(0, b)}/{_QUALITY}") for b in blocks])
    said = []
    found = float(quality[1:, :-1].min())
    if found < _COARSE * _PER_LENGTH[setup.dimension]:
        said.append(f"the density varies within {found:.2g} cells: the mean-field equation is not well resolved")
    if quality[:, -1].max() > _FELT:
        said.append("the density reaches the walls of [grid], where the equations assume none: widen it")
    return tuple(said)
