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

_INTERVALS = 64
"""Between the times at which the scores are looked at."""
_LEAST, _USUAL, _MOST = 4, 24, 192
"""Steps of the finest chain in an interval: at least, where a smaller size is not needed, and at most."""
_SIZES = (1, 2, 4)
"""Of the steps of the three chains, in those of the finest one."""
_TURN = 0.4
"""Largest product of strain and step of the widest one, for a series in powers of the step."""
_CELLS = 2**13


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


def chain_pieces(step: float, horizon: float, rate: float) -> int:
    """Return the steps of the finest chain in an interval, for a strain of ``rate`` (1 / time).

    They are as those of the simulation where that is affordable. Raises RunError where the drift changes so fast along
    itself that too many would be needed.
    """
    needed = rate * horizon * max(_SIZES) / (_TURN * _INTERVALS)
    if not needed <= _MOST:
        raise RunError("the drift changes too fast for chains of a few thousand steps")
    wanted = max(needed, min(horizon / (_INTERVALS * step), _USUAL), _LEAST)
    return max(_SIZES) * math.ceil(wanted / max(_SIZES))


def chain_grid(grid: Grid, pieces: int, deviation: float, diffusion: float, horizon: float) -> Grid:
    """Return the grid (one axis) divided so finely that chains, and points ``deviation`` apart, are resolved.

    Raises RunError where that would take too many cells.
    """
    (dx,), (cells,) = grid.spacing, grid.cells
    finest = math.sqrt(diffusion * horizon / (_INTERVALS * pieces)) / CHAIN_WIDTH
    factor = math.ceil(dx / min(finest, deviation))
    if cells * factor > _CELLS:
        raise RunError("the particles are too concentrated for the chain on the grid")
    return replace(grid, cells=(cells * factor,))


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
    """Return the bias of the scores of the action form by a time step, as of ``particles`` particles on a line.

    Parameters
    ----------
    start : density (n,) at the points of the grid of the tables (`chain_grid`), of mass 1.
    z : (M,) coefficients of the law, one for every column of the tables.
    diffusion, step, horizon : sigma**2, the size h of the simulation's steps, and the time from first to last slice.
    pieces : of `chain_pieces`.
    """
    (dx,) = tables.grid.spacing
    sizes = horizon / (_INTERVALS * pieces) * np.array(_SIZES, dtype=np.float64)
    sums = []
    for size, h in zip(_SIZES, sizes.tolist(), strict=True):
        every = pieces // size
        shapes = chain_densities(start, dx, lambda u: _velocity(u, tables, z), diffusion, h, _INTERVALS * every, every)
        sums.append(_scores(shapes, tables, z, diffusion, horizon))
    # The polynomial through the three: its value at the step less that at 0.
    weights = [_lagrange(sizes, k, step) - _lagrange(sizes, k, 0.0) for k in range(len(sizes))]
    times = np.linspace(0.0, horizon, _INTERVALS + 1)
    return StepBias(times, particles * np.tensordot(weights, np.stack(sums), 1))


def strain(u: Array, tables: ModelTables, z: Array) -> float:
    """Return the root mean square of grad V over the particles of a density (points...), in 1 / time.

    In any dimension: it is what the size of a step is measured by.
    """
    spacing, d = tables.grid.spacing, u.ndim
    lengths = [scipy.fft.next_fast_len(2 * n + 1, real=True) for n in tables.grid.cells]
    spectrum = np.tensordot(z[: len(tables.spectra)], tables.spectra, 1)
    np.multiply(spectrum, scipy.fft.rfftn(u, lengths), out=spectrum)  # large arrays: the order is not NumPy's to choose
    felt = scipy.fft.irfftn(spectrum, lengths)[tuple(slice(0, n) for n in u.shape)]
    felt = felt + np.tensordot(z[len(tables.spectra) :], tables.outside, 1)
    pulls = np.gradient(felt, *spacing) if d > 1 else [np.gradient(felt, *spacing)]
    squares = sum(np.square(np.gradient(pull, dx, axis=a)) for pull in pulls for a, dx in enumerate(spacing))
    return math.sqrt(float((u * squares).sum() * math.prod(spacing)))


def _fields(u: Array, tables: ModelTables) -> Array:
    """Return the potentials (M, n) that particles of a density (n,) feel by every column."""
    (length,) = [scipy.fft.next_fast_len(2 * n + 1, real=True) for n in tables.grid.cells]
    felt = scipy.fft.irfft(tables.spectra * scipy.fft.rfft(u, length), length, axis=1)[:, : len(u)]
    return np.concatenate([felt, tables.outside])


def _velocity(u: Array, tables: ModelTables, z: Array) -> Array:
    """Return V (n,) of a density: the mean of the differences to both sides, as the pairings have them at faces."""
    (dx,) = tables.grid.spacing
    (length,) = [scipy.fft.next_fast_len(2 * n + 1, real=True) for n in tables.grid.cells]
    kernels = len(tables.spectra)
    spectrum = z[:kernels] @ tables.spectra
    felt = scipy.fft.irfft(spectrum * scipy.fft.rfft(u, length), length)[: len(u)] + z[kernels:] @ tables.outside
    return np.asarray(-np.gradient(felt, dx))


def _scores(shapes: Array, tables: ModelTables, z: Array, diffusion: float, horizon: float) -> Array:
    """Return int (b - A z) from the start to the time of every density (J, n), a particle: (J, M)."""
    (dx,) = tables.grid.spacing
    kernels = len(tables.spectra)
    half = np.where(np.arange(len(z)) < kernels, 0.5, 1.0)
    energy, rate = [], []
    for u in shapes:
        fields = _fields(u, tables)
        slope = np.diff(fields, axis=1) / dx
        on_face, rise = 0.5 * (u[1:] + u[:-1]), np.diff(u)
        energy.append(half * (fields @ u) * dx)
        # The Laplacian by parts, as in `model_pairings`.
        rate.append(-0.5 * diffusion * (slope @ rise) - dx * (slope * on_face) @ (z @ slope))
    times = np.linspace(0.0, horizon, len(shapes))
    whole = cumulative_simpson(np.stack(rate), x=times, axis=0, initial=0.0)
    return np.asarray(np.stack(energy)[:1] - np.stack(energy) + whole)


def _lagrange(points: Array, which: int, at: float) -> float:
    others = np.delete(points, which)
    return float(np.prod((at - others) / (points[which] - others)))
