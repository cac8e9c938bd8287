"""What a simulation's time step adds to the scores of the action form (docs/method.md, section 4).

Particles that take Euler-Maruyama steps follow a chain, and the equations are those of a diffusion. With the right
coefficients z the score b - A z is then not 0 on average but beta(h) = beta_1 h + beta_2 h**2 + .., h the step. It is
found from the density of infinitely many such particles (`chain_densities`) with steps of three sizes: the part that
does not depend on the size, what grid and time rule add, drops out.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import scipy.fft
from scipy.integrate import cumulative_simpson
from scipy.interpolate import CubicSpline

from ipsdist.model.errors import RunError
from ipsdist.model.normal_equations import NormalEquations
from ipsdist.model.system import Grid
from ipsdist.numerics.densities.meanfield.euler_chain import CHAIN_WIDTH, chain_densities
from ipsdist.numerics.equations.control_variate import ModelTables

__all__ = ["StepBias", "chain_grid", "chain_pieces", "step_bias", "strain"]

Array = npt.NDArray[np.float64]

_INTERVALS = {1: 64, 2: 32}
"""Between the times at which the scores are looked at, by dimension: a step in the plane takes far longer."""
_LEAST = 4
"""Steps of the finest chain in an interval."""
_USUAL, _MOST = {1: 24, 2: 4}, {1: 192, 2: 64}
"""The same where a smaller size is not needed, and at most."""
_SIZES = (1, 2, 4)
"""Of the steps of the three chains, in those of the finest one."""
_TURN = 0.4
"""Largest product of strain and step of the widest one, for a series in powers of the step."""
_CELLS = {1: 2**13, 2: 2**15}


@dataclass(frozen=True)
class StepBias:
    """The bias of the scores of M columns, summed from the start to each of J times."""

    times: Array
    """(J,)."""
    score: Array
    """(J, M), in the units of the moment."""

    def removed(self, equations: NormalEquations, ends: npt.ArrayLike) -> NormalEquations:
        """Return equations with P / R panels of every of R replicas, from and to ``ends`` (P / R, 2), without it."""
        whole = CubicSpline(self.times, self.score)
        first, last = np.asarray(ends, dtype=np.float64).T
        part = whole(last) - whole(first)
        replicas = equations.panels // len(part)
        return replace(equations, moment=equations.moment - np.tile(part, (replicas, 1)))


def chain_pieces(dimension: int, step: float, horizon: float, rate: float) -> int:
    """Return the steps of the finest chain in an interval, for a strain of ``rate`` (1 / time).

    They are as those of the simulation where that is affordable. Raises RunError where the drift changes so fast along
    itself that too many would be needed, and in space.
    """
    if dimension not in _INTERVALS:
        raise RunError("chains are computed on a line and in the plane")
    intervals = _INTERVALS[dimension]
    needed = rate * horizon * max(_SIZES) / (_TURN * intervals)
    if not needed <= _MOST[dimension]:
        raise RunError("the drift changes too fast for chains of a few thousand steps")
    wanted = max(needed, min(horizon / (intervals * step), _USUAL[dimension]), _LEAST)
    return max(_SIZES) * math.ceil(wanted / max(_SIZES))


def chain_grid(grid: Grid, pieces: int, deviations: npt.ArrayLike, diffusion: float, horizon: float) -> Grid:
    """Return the grid divided so finely that chains, and points ``deviations`` (d,) apart on the axes, are resolved.

    Raises RunError where that would take too many cells.
    """
    d = len(grid.cells)
    finest = math.sqrt(diffusion * horizon / (_INTERVALS[d] * pieces)) / CHAIN_WIDTH
    wanted = np.array(grid.spacing) / np.minimum(finest, np.asarray(deviations, dtype=np.float64))
    if not np.prod(np.ceil(wanted) * grid.cells) <= _CELLS[d]:
        raise RunError("the particles are too concentrated for the chain on the grid")
    return replace(grid, cells=tuple(n * math.ceil(w) for n, w in zip(grid.cells, wanted.tolist(), strict=True)))


def step_bias(
    start: Array,
    tables: ModelTables,
    z: Array,
    diffusion: float,
    step: float,
    horizon: float,
    pieces: int,
    particles: int,
) -> StepBias:
    """Return the bias of the scores of the action form by a time step, as of ``particles`` particles.

    Parameters
    ----------
    start : density (points...) at the points of the grid of the tables (`chain_grid`), of mass 1.
    z : (M,) coefficients of the law, one for every column of the tables.
    diffusion, step, horizon : sigma**2, the size h of the simulation's steps, and the time from first to last slice.
    pieces : of `chain_pieces`.
    """
    intervals = _INTERVALS[start.ndim]
    sizes = horizon / (intervals * pieces) * np.array(_SIZES, dtype=np.float64)
    sums = []
    for size, h in zip(_SIZES, sizes.tolist(), strict=True):
        every = pieces // size
        shapes = chain_densities(
            start, tables.grid.spacing, lambda u: _velocity(u, tables, z), diffusion, h, intervals * every, every
        )
        sums.append(_scores(shapes, tables, z, diffusion, horizon))
    # The polynomial through the three: its value at the step less that at 0.
    weights = [_lagrange(sizes, k, step) - _lagrange(sizes, k, 0.0) for k in range(len(sizes))]
    times = np.linspace(0.0, horizon, intervals + 1)
    return StepBias(times, particles * np.tensordot(weights, np.stack(sums), 1))


def strain(u: Array, tables: ModelTables, z: Array) -> float:
    """Return the root mean square of grad V over the particles of a density (points...), in 1 / time.

    In any dimension: it is what the size of a step is measured by.
    """
    spacing = tables.grid.spacing
    squares = sum(
        np.square(np.gradient(v, dx, axis=a)) for v in _velocity(u, tables, z) for a, dx in enumerate(spacing)
    )
    return math.sqrt(float((u * squares).sum() * math.prod(spacing)))


def _felt(u: Array, spectra: npt.NDArray[np.complex128], grid: Grid) -> Array:
    """Return the potentials (k, points...) that particles of a density feel by k spectra of `ModelTables`."""
    lengths = [scipy.fft.next_fast_len(2 * n + 1, real=True) for n in grid.cells]
    axes = tuple(range(1, u.ndim + 1))
    product = np.multiply(spectra, scipy.fft.rfftn(u, lengths))
    whole = scipy.fft.irfftn(product, lengths, axes=axes)
    return np.asarray(whole[(slice(None), *[slice(0, n) for n in u.shape])])


def _velocity(u: Array, tables: ModelTables, z: Array) -> Array:
    """Return V (d, points...) of a density: the mean of the differences to both sides, which pairings have at faces."""
    kernels = len(tables.spectra)
    potential = _felt(u, np.tensordot(z[:kernels], tables.spectra, 1)[None], tables.grid)[0]
    potential = potential + np.tensordot(z[kernels:], tables.outside, 1)
    return np.stack([-np.gradient(potential, dx, axis=a) for a, dx in enumerate(tables.grid.spacing)])


def _scores(shapes: Array, tables: ModelTables, z: Array, diffusion: float, horizon: float) -> Array:
    """Return int (b - A z) from the start to the time of every density (J, n), a particle: (J, M)."""
    spacing, volume = tables.grid.spacing, math.prod(tables.grid.spacing)
    half = np.where(np.arange(len(z)) < len(tables.spectra), 0.5, 1.0)
    energy, rate = [], []
    for u in shapes:
        fields = np.concatenate([_felt(u, tables.spectra, tables.grid), tables.outside])
        energy.append(half * (fields.reshape(len(z), -1) @ u.reshape(-1)) * volume)
        change = np.zeros(len(z))
        for axis, dx in enumerate(spacing):
            slope = np.moveaxis(np.diff(fields, axis=axis + 1) / dx, axis + 1, 1).reshape(len(z), -1)
            v = np.moveaxis(u, axis, 0)
            on_face, rise = (0.5 * (v[1:] + v[:-1])).reshape(-1), (v[1:] - v[:-1]).reshape(-1)
            # The Laplacian by parts, as in `model_pairings`.
            change -= volume * (0.5 * diffusion / dx * (slope @ rise) + slope @ (on_face * (z @ slope)))
        rate.append(change)
    times = np.linspace(0.0, horizon, len(shapes))
    whole = cumulative_simpson(np.stack(rate), x=times, axis=0, initial=0.0)
    return np.asarray(np.stack(energy)[:1] - np.stack(energy) + whole)


def _lagrange(points: Array, which: int, at: float) -> float:
    others = np.delete(points, which)
    return float(np.prod((at - others) / (points[which] - others)))
