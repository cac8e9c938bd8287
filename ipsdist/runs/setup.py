"""The setup of a run, chosen from its configuration and a look at its particles; and what would founder is refused."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from ipsdist.config import RunConfig
from ipsdist.model.errors import InputError, RunError
from ipsdist.model.mesh import Mesh
from ipsdist.model.setup import Setup
from ipsdist.model.system import Grid
from ipsdist.numerics.densities.continuum import cells_of
from ipsdist.numerics.densities.law import law_averages
from ipsdist.numerics.particles.forces import particle_force
from ipsdist.numerics.particles.mesh_spacing import choose_spacing, data_spacing
from ipsdist.numerics.particles.stability import largest_step
from ipsdist.runs.inputs import Inputs, start_sample, track_shape
from ipsdist.stages.base import setup_of
from ipsdist.stages.blocks import slice_blocks
from ipsdist.stages.continuum import refuse_step
from ipsdist.stages.densities import slice_totals
from ipsdist.storage import Store

__all__ = ["prepare", "seen_grid", "with_grid"]

_GRID_CELLS = {1: 160, 2: 64, 3: 32}
_GRID_REACH = 5.0
"""Half-width of an automatic grid in standard deviations."""
_LOOKS = 8
_TAIL = 1e-4
_MARGIN = 0.1
"""Of the particles' extent, added on either side."""
_LOST = 0.01
"""Share of the particles that may start outside the density grid."""
_MISSED = 1e-3
"""Share of a law that may lie outside the grid on which its equation is solved."""

Array = npt.NDArray[np.float64]


def prepare(config: RunConfig, inputs: Inputs | Store) -> Setup:
    """Return the setup of a new run; raise InputError for what a run would founder on."""
    if config.data.source == "import":
        times, particles, dimension, ragged = track_shape(inputs)
        sample = start_sample(config, inputs)
        return Setup(
            dimension=dimension,
            particles=particles,
            replicas=1,
            times=times,
            labelled=config.data.labelled,
            force=None,
            spacing=_given(config, sample) or data_spacing(sample, config.dictionary.cutoff, particles),
            grid=_grid(config, sample),
            ragged=ragged,
        )
    if config.data.source == "mean_field":
        return _of_densities(config, start_sample(config, inputs))
    return _of_simulation(config, start_sample(config, inputs))


def with_grid(store: Store, config: RunConfig, inputs: Inputs | None) -> Setup:
    """Return the setup of an existing run with the grid that its configuration asks for now.

    ``inputs`` are given where the store has not taken them in yet. Raises InputError for a grid that loses particles.
    """
    return replace(setup_of(store), grid=_grid(config, start_sample(config, inputs or store)))


def seen_grid(store: Store) -> Grid:
    """Return a grid that holds the particles of all times: their extent, one in 10 000 left out a side."""
    setup = setup_of(store)
    blocks = slice_blocks(setup.slices, setup.dimension)
    chosen = {round(k) for k in np.linspace(0, len(blocks) - 1, min(_LOOKS, len(blocks)))}
    ends: list[list[tuple[float, float]]] = [[] for _ in range(setup.dimension)]
    for number in sorted(chosen):
        for total in (slice_totals(store, setup.replicas, setup.slices, setup.dimension, number)[k] for k in (0, -1)):
            for axis, nodes in enumerate(total.mesh.axes()):
                others = tuple(a for a in range(setup.dimension) if a != axis)
                share = np.cumsum(total.count.sum(axis=others)) / total.count.sum()
                first, last = np.searchsorted(share, (_TAIL, 1.0 - _TAIL))
                ends[axis].append((float(nodes[first]), float(nodes[last])))
    lower, upper = (np.array([f(e[k] for e in axis) for axis in ends]) for k, f in ((0, min), (1, max)))
    margin = _MARGIN * np.maximum(upper - lower, setup.spacing)
    cells = (_GRID_CELLS[setup.dimension],) * setup.dimension
    return Grid(tuple((lower - margin).tolist()), tuple((upper + margin).tolist()), cells)


def _of_simulation(config: RunConfig, sample: Array) -> Setup:
    system, times = config.system_value(), config.times()
    assert system.kernel is not None
    if config.force.method not in ("auto", "mesh"):
        particle_force(config.force.method, system.kernel, system.potential, system.dimension)
    spacing = _spacing(config, sample)
    limit = largest_step(system, sample, spacing)
    if times.step > limit:
        fix = f"a step of at most {limit:g} would do"
        raise InputError("time.step", "must resolve the force", f"{times.step:g}", fix)
    return Setup(
        dimension=system.dimension,
        particles=system.particles,
        replicas=system.replicas,
        times=tuple(times.slice_times().tolist()),
        labelled=config.data.labelled,
        force="mesh" if config.force.method == "auto" else config.force.method,
        spacing=spacing,
        grid=_grid(config, sample),
    )


def _of_densities(config: RunConfig, sample: Array) -> Setup:
    """Return the setup of densities; the statistics of the fit are those of ``system.particles`` particles."""
    system, times, grid = config.system_value(), config.times(), _grid(config, sample)
    law = config.initial_law()
    assert law is not None
    outside = law_averages(law, cells_of(grid.lower, grid.upper, grid.cells))[1]
    if config.grid is not None and outside > _MISSED:
        rule = f"must hold the initial law, at most {_MISSED:.1%} outside: nothing leaves the grid"
        fix = "widen grid.lower and grid.upper, or leave [grid] out"
        raise InputError("grid.lower", rule, f"{outside:.1%}", fix)
    setup = Setup(
        dimension=system.dimension,
        particles=system.particles,
        replicas=1,
        times=tuple(times.slice_times().tolist()),
        labelled=False,
        force=None,
        spacing=_spacing(config, sample),
        grid=grid,
    )
    refuse_step(config, setup)
    return setup


def _spacing(config: RunConfig, sample: Array) -> float:
    """Return the spacing of the force mesh for a kernel that is known."""
    system = config.system_value()
    assert system.kernel is not None
    cutoffs = [c for c in (config.system.cutoff, config.dictionary.cutoff) if c is not None]
    cutoff = min(cutoffs) if cutoffs else None
    return _given(config, sample) or choose_spacing(
        system.kernel, sample, system.particles, system.dimension, cutoff, system.replicas
    )


def _given(config: RunConfig, sample: Array) -> float | None:
    """Return force.spacing rounded down to a power of two, None for auto; refuse one too coarse."""
    if config.force.spacing == "auto":
        return None
    spacing = float(config.force.spacing)
    rounded = 2.0 ** math.floor(math.log2(spacing))
    widest = float(sample.std(axis=0).max())
    if rounded > widest:
        rule = "must be finer than the spread of the particles, or the mesh would lose their arrangement"
        raise InputError(
            "force.spacing", rule, f"{spacing:g} against a standard deviation of {widest:.3g}", 'use "auto"'
        )
    try:
        Mesh.around(sample.min(axis=0), sample.max(axis=0), rounded)
    except RunError:
        fix = 'use "auto" or a larger one'
        raise InputError("force.spacing", "must leave a force mesh that fits", f"{spacing:g}", fix) from None
    return rounded


def _grid(config: RunConfig, sample: Array) -> Grid:
    grid = config.density_grid() or _automatic_grid(sample)
    outside = float(((sample < np.array(grid.lower)) | (sample > np.array(grid.upper))).any(axis=1).mean())
    if outside > _LOST:
        box = f"{sample.min(axis=0).round(3).tolist()} to {sample.max(axis=0).round(3).tolist()}"
        rule = f"must hold the particles; at most {_LOST:.0%} may start outside"
        fix = f"the particles span {box}: widen grid.lower and grid.upper"
        raise InputError("grid.lower", rule, f"{outside:.1%} outside", fix)
    return grid


def _automatic_grid(sample: Array) -> Grid:
    centre, reach = sample.mean(axis=0), _GRID_REACH * sample.std(axis=0)
    # An axis along which nothing moves still needs a width.
    reach = np.where(reach > 0, reach, max(float(reach.max()), 1.0))
    lower, upper = np.minimum(centre - reach, sample.min(axis=0)), np.maximum(centre + reach, sample.max(axis=0))
    dimension = sample.shape[1]
    return Grid(tuple(lower.tolist()), tuple(upper.tolist()), (_GRID_CELLS[dimension],) * dimension)
