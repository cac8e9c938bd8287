"""What a run fixes before its first step (inputs, mesh spacing, grid), and what it refuses before it writes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ipsdist.config import RunConfig
from ipsdist.importers.npz import Tracks, digest, read_initial, read_tracks
from ipsdist.model.errors import InputError
from ipsdist.model.system import FromArray, Grid
from ipsdist.numerics.particles.mesh_spacing import choose_spacing, data_spacing
from ipsdist.numerics.particles.stability import largest_step
from ipsdist.stages.particles import INPUT_INITIAL, INPUT_POSITIONS, initial_positions
from ipsdist.storage import Store

__all__ = ["Inputs", "prepare", "read_inputs", "with_grid", "write_inputs"]

_SAMPLE = 4096
_GRID_CELLS = {1: 160, 2: 64, 3: 32}
_GRID_REACH = 5.0
"""Half-width of an automatic grid in standard deviations."""
_LOST = 0.01
"""Share of the particles that may start outside the density grid."""

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Inputs:
    """What a run reads from outside: positions that others made, or initial ones; and the digests of the files."""

    tracks: Tracks | None = None
    initial: Array | None = None
    digests: tuple[tuple[str, str], ...] = ()


def read_inputs(config: RunConfig) -> Inputs:
    """Read the files that a run names. Raises InputError."""
    if config.data.source == "import":
        path = Path(str(config.data.file))
        tracks = read_tracks(path)
        return Inputs(tracks=tracks, digests=(("data.file", digest(path)),))
    if config.initial_law() is None:
        path = Path(str(config.initial.file))
        initial = read_initial(path, config.system_value().particles, config.system.dimension)
        return Inputs(initial=initial, digests=(("initial.file", digest(path)),))
    return Inputs()


def write_inputs(store: Store, inputs: Inputs) -> None:
    """Put the inputs into the store, where every task finds them."""
    if inputs.tracks is not None:
        x = inputs.tracks.positions
        store.create_array(
            INPUT_POSITIONS, x.shape, x.dtype, ("time", "particle", "space"), (1, *x.shape[1:]), "length", False
        )
        store.write_region(INPUT_POSITIONS, 0, x)
        store.write("input/times", inputs.tracks.times, dims=("time",), units="time")
    if inputs.initial is not None:
        store.write(INPUT_INITIAL, inputs.initial, dims=("particle", "space"), units="length", compress=False)


def prepare(config: RunConfig, inputs: Inputs) -> dict[str, Any]:
    """Return the setup of a run, JSON-able; raise InputError for what a run would founder on."""
    if config.run.device == "gpu":
        raise InputError("run.device", "must be auto or cpu in this version", "gpu", "the GPU road is not built yet")
    if inputs.tracks is not None:
        return _of_tracks(config, inputs.tracks)
    return _of_simulation(config, inputs)


def _of_simulation(config: RunConfig, inputs: Inputs) -> dict[str, Any]:
    system, times = config.system_value(), config.times()
    law = FromArray(inputs.initial) if inputs.initial is not None else config.initial_law()
    assert law is not None
    assert system.kernel is not None
    sample = initial_positions(law, config, 0, _SAMPLE)
    cutoffs = [c for c in (config.system.cutoff, config.dictionary.cutoff) if c is not None]
    if config.force.spacing == "auto":
        spacing = choose_spacing(
            system.kernel, sample, system.particles, system.dimension, min(cutoffs) if cutoffs else None
        )
    else:
        spacing = _given_spacing(float(config.force.spacing), sample)
    limit = largest_step(system, sample, spacing)
    if times.step > limit:
        raise InputError(
            "time.step", "must resolve the force", f"{times.step:g}", f"a step of at most {limit:g} would do"
        )
    grid = _grid(config, sample)
    return {
        "dimension": system.dimension,
        "particles": system.particles,
        "replicas": system.replicas,
        "slices": times.slices,
        "times": times.slice_times().tolist(),
        "labelled": config.data.labelled,
        "force": "mesh" if config.force.method == "auto" else config.force.method,
        "spacing": spacing,
        "grid": grid,
    }


def _of_tracks(config: RunConfig, tracks: Tracks) -> dict[str, Any]:
    x = tracks.positions
    ends = np.concatenate([x[0], x[-1]])
    every = max(1, len(ends) // _SAMPLE)
    cutoff = config.dictionary.cutoff
    given = config.force.spacing
    spacing = data_spacing(ends, cutoff) if given == "auto" else _given_spacing(float(given), ends)
    return {
        "dimension": x.shape[2],
        "particles": x.shape[1],
        "replicas": 1,
        "slices": len(tracks.times),
        "times": tracks.times.tolist(),
        "labelled": config.data.labelled,
        "force": None,
        "spacing": spacing,
        "grid": _grid(config, ends[::every]),
    }


def _given_spacing(spacing: float, sample: Array) -> float:
    """Round down to a power of two; refuse a mesh too coarse to see the particles' arrangement."""
    rounded = 2.0 ** math.floor(math.log2(spacing))
    widest = float(sample.std(axis=0).max())
    if rounded > widest:
        rule = "must be finer than the spread of the particles, or the mesh would lose their arrangement"
        raise InputError(
            "force.spacing", rule, f"{spacing:g} against a standard deviation of {widest:.3g}", 'use "auto"'
        )
    return rounded


def _grid(config: RunConfig, sample: Array) -> dict[str, Any]:
    grid = config.density_grid() or _automatic_grid(sample)
    lower, upper = np.array(grid.lower), np.array(grid.upper)
    outside = float(((sample < lower) | (sample > upper)).any(axis=1).mean())
    if outside > _LOST:
        box = f"{sample.min(axis=0).round(3).tolist()} to {sample.max(axis=0).round(3).tolist()}"
        rule = f"must hold the particles; at most {_LOST:.0%} may start outside"
        raise InputError(
            "grid.lower", rule, f"{outside:.1%} outside", f"the particles span {box}: widen grid.lower and grid.upper"
        )
    return {"lower": list(grid.lower), "upper": list(grid.upper), "cells": list(grid.cells)}


def _automatic_grid(sample: Array) -> Grid:
    d = sample.shape[1]
    centre, reach = sample.mean(axis=0), _GRID_REACH * sample.std(axis=0)
    lower = np.minimum(centre - reach, sample.min(axis=0))
    upper = np.maximum(centre + reach, sample.max(axis=0))
    return Grid(tuple(lower.tolist()), tuple(upper.tolist()), (_GRID_CELLS[d],) * d)


def with_grid(setup: Mapping[str, Any], config: RunConfig) -> dict[str, Any]:
    """Return the setup of an existing run with the density grid of a changed configuration."""
    grid = config.density_grid()
    if grid is None:
        return dict(setup)
    return {**setup, "grid": {"lower": list(grid.lower), "upper": list(grid.upper), "cells": list(grid.cells)}}
