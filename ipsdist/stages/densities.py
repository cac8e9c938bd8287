"""Densities: the counts of all replicas of a slice added, then smoothed onto the grid; solved ones are only copied."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ipsdist.config import RunConfig
from ipsdist.model.deposits import Deposits
from ipsdist.model.setup import Setup
from ipsdist.model.unknowns import AXES
from ipsdist.numerics.densities.estimate import estimate_density
from ipsdist.stages.base import Payload, Stage, Task, Tick, measured, no_answer, setup_of
from ipsdist.stages.blocks import common_mesh, load_block, slice_blocks
from ipsdist.stages.continuum import read_densities
from ipsdist.storage import Store

__all__ = ["DENSITIES", "slice_totals"]


def slice_totals(store: Store, replicas: int, slices: int, dimension: int, number: int) -> list[Deposits]:
    """Return the deposits of every slice of block ``number``, replicas added (integers: exact), without fluxes."""
    block = slice_blocks(slices, dimension)[number]
    totals = load_block(store, 0, block, flux=False)
    for replica in range(1, replicas):
        others = load_block(store, replica, block, flux=False)
        meshes = [common_mesh(a.mesh, b.mesh) for a, b in zip(totals, others, strict=True)]
        totals = [a.on(m) + b.on(m) for a, b, m in zip(totals, others, meshes, strict=True)]
    return totals


def _tasks(config: RunConfig, setup: Setup, store: str, fingerprint: str) -> Sequence[Task]:
    grid, slices = setup.grid, setup.slices
    points = math.prod(n + 1 for n in grid.cells)
    return [
        Task(store, "densities", f"block-{b.number}", fingerprint, config, (b.number,), len(b), 16 * points * len(b))
        for b in slice_blocks(slices, len(grid.cells))
    ]


@measured
def estimate_block(store: Store, task: Task, tick: Tick) -> Payload:
    """Estimate the densities of one block of slices and write them as one chunk."""
    setup, config = setup_of(store), task.config
    grid, slices = setup.grid, setup.slices
    d = len(grid.cells)
    block = slice_blocks(slices, d)[task.index[0]]
    if config.data.source == "mean_field":
        store.write_region("densities/density", block.first, read_densities(store, config, block, grid))
        return {}
    estimates = []
    for done, total in enumerate(slice_totals(store, setup.replicas, slices, d, block.number), start=1):
        estimates.append(estimate_density(total, grid, config.density.bandwidth, config.density.bandwidth_factor))
        tick(done)
    store.write_region("densities/density", block.first, np.stack(estimates))
    return {}


def _prepare(store: Store, config: RunConfig) -> None:
    """Make the array of all densities and its coordinates."""
    setup = setup_of(store)
    grid, slices = setup.grid, setup.slices
    axes, points = AXES[: len(grid.cells)], tuple(n + 1 for n in grid.cells)
    chunks = (len(slice_blocks(slices, len(points))[0]), *points)
    shape, units = (slices, *points), f"length^-{len(points)}"
    store.create_array("densities/density", shape, np.float64, ("slice", *axes), chunks, units=units)
    for axis, coordinates in zip(axes, grid.axes(), strict=True):
        store.write(f"densities/{axis}", coordinates, dims=(axis,), units="length")
    store.write("densities/slice", setup.slice_times, dims=("slice",), units="time")


DENSITIES = Stage(
    name="densities",
    unit="slices",
    needs=lambda config: ("particles",),
    keys=lambda config: config.values("grid", "density"),
    prepare=_prepare,
    tasks=_tasks,
    do=estimate_block,
    finish=no_answer,
)
