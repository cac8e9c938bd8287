"""Control variate for few snapshots: a mean-field model carries the time integrals from one snapshot to the next.

The action form needs int gram dt and int laplacian dt. Where the snapshots are too far apart for any rule, the pairings
of a mean-field density u(x, t) that is near the data's take the rule's error away (docs/method.md, section 4):

    int f dt  ~  sum_k w_k (f_data - f_model)(t_k)  +  int f_model dt,

the last integral on times as fine as one likes. What the model has wrong enters only through the rule's error of it.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import scipy.fft

from ipsdist.model.dictionary import Dictionary
from ipsdist.model.errors import RunError
from ipsdist.model.expression import Expression
from ipsdist.model.normal_equations import NormalEquations
from ipsdist.model.system import Grid
from ipsdist.numerics.equations.forms.known import fold_known
from ipsdist.numerics.equations.gap_noise import gap_noise, with_gap_noise
from ipsdist.numerics.equations.pairings import Pairings
from ipsdist.numerics.equations.quadrature import panels

__all__ = [
    "ModelPairings",
    "ModelTables",
    "controlled_action_equations",
    "controlled_integrals",
    "model_grid",
    "model_pairings",
    "model_tables",
    "model_times",
    "remainder",
]

Array = npt.NDArray[np.float64]

_PIECES = 200
"""Pieces of the whole span for the model's own integral, in which it is Simpson's."""
_LEAST_PIECES = 4
"""Of every interval, so that a crowd of early snapshots is resolved as well."""
_MOST_CELLS = {1: 2**14, 2: 2**18, 3: 2**21}
"""Of a grid on which the mean-field equation is solved several times."""
_PER_DEVIATION = {1: 16, 2: 8, 3: 6}
"""Grid points in the smallest standard deviation: eight on the line lose the support of eleven snapshots."""
_SUBPOINTS = {1: 16, 2: 4, 3: 2}
"""Points an axis of a cell over which the potentials are averaged: those of singular kernels are steep near 0."""


@dataclass(frozen=True)
class ModelTables:
    """Potentials of M terms, and of columns outside, on the density grid, ready for the pairings of any density."""

    grid: Grid
    spectra: npt.NDArray[np.complex128]
    """(M, frequencies...) of Phi_k, averaged over a cell, times the volume of a cell."""
    outside: Array
    """(E, points...) potentials of the external columns."""


@dataclass(frozen=True)
class ModelPairings:
    """Pairings of a mean-field density with M columns at F times, in the units of `Pairings`."""

    times: Array
    """(F,) those of `model_times`."""
    gram: Array
    """(F, M, M) N int u (K_k * u) . (K_l * u)."""
    laplacian: Array
    """(F, M) N int u (Lap Phi_k * u)."""


def model_times(times: npt.ArrayLike) -> Array:
    """Return the times of the model for snapshots at ``times`` (S,): each interval in an even number of pieces."""
    t = np.asarray(times, dtype=np.float64)
    finest = (t[-1] - t[0]) / _PIECES
    parts = [t[:1]]
    for a, b in itertools.pairwise(t):
        pieces = max(_LEAST_PIECES, 2 * math.ceil((b - a) / (2.0 * finest)))
        inner = a + (b - a) * np.arange(1, pieces) / pieces
        parts += [inner, np.array([b])]
    return np.concatenate(parts)


def model_grid(grid: Grid, deviations: npt.ArrayLike) -> Grid:
    """Return the grid divided so finely that the prediction's own error does not show; its points are kept.

    ``deviations`` (d,) are the standard deviations of the particles along the axes, the smallest of all slices.
    Raises RunError where that would take too many cells.
    """
    widths = np.maximum(np.asarray(deviations, dtype=np.float64), 1e-9 * np.array(grid.spacing))
    ratios = np.maximum(1.0, np.array(grid.spacing) * _PER_DEVIATION[len(grid.cells)] / widths)
    if not np.prod(ratios * np.array(grid.cells)) <= _MOST_CELLS[len(grid.cells)]:
        raise RunError("the particles are too concentrated at some slice for a prediction on the grid")
    factors = [math.ceil(ratio) for ratio in ratios.tolist()]
    return replace(grid, cells=tuple(n * f for n, f in zip(grid.cells, factors, strict=True)))


def model_tables(dictionary: Dictionary, grid: Grid, outside: Sequence[Expression] = ()) -> ModelTables:
    """Tabulate the potentials of the dictionary on the lags of the grid, a transform a term, and V of other columns."""
    d = len(grid.cells)
    sizes = [2 * n + 1 for n in grid.cells]  # lags -n .. n of n + 1 points
    lengths = [scipy.fft.next_fast_len(size, real=True) for size in sizes]
    axes = []
    for cells, length, dx in zip(grid.cells, lengths, grid.spacing, strict=True):
        lags = scipy.fft.fftfreq(length, 1.0 / length)
        axes.append(np.where(np.abs(lags) <= cells, lags, 0.0) * dx)
    places = (np.arange(_SUBPOINTS[d]) + 0.5) / _SUBPOINTS[d] - 0.5
    mean = np.zeros((len(dictionary), *lengths))
    for shift in np.ndindex(*(_SUBPOINTS[d],) * d):
        moved = [lag + places[s] * dx for lag, s, dx in zip(axes, shift, grid.spacing, strict=True)]
        radius = np.sqrt(sum(x * x for x in np.meshgrid(*moved, indexing="ij", sparse=True)))
        mean += dictionary.potentials(radius)
    mean *= math.prod(grid.spacing) / _SUBPOINTS[d] ** d
    spectra = scipy.fft.rfftn(mean, axes=tuple(range(1, d + 1)))
    points = np.meshgrid(*grid.axes(), indexing="ij")
    values = [np.broadcast_to(v(*points), points[0].shape) for v in outside]
    return ModelTables(grid, spectra, np.array(values).reshape(-1, *points[0].shape))


def model_pairings(densities: Array, times: npt.ArrayLike, tables: ModelTables, particles: int) -> ModelPairings:
    """Return the pairings of the densities (F, points...) at the times (F,), as of ``particles`` particles.

    The grid's points are centres of cells and K_k * u is the difference of Phi_k * u across a face, as in
    `solve_mean_field`: second order in the grid spacing, and exact in the jump of K_k at 0 where phi_k(0) is not 0. The
    Laplacian is summed by parts, -int grad u . grad(Phi_k * u), so that it needs no second derivative of Phi_k either.
    """
    parts = [_pair_density(u, tables) for u in densities]
    gram = particles * np.stack([g for g, _ in parts])
    laplacian = particles * np.stack([b for _, b in parts])
    return ModelPairings(np.asarray(times, dtype=np.float64), gram, laplacian)


def _pair_density(u: Array, tables: ModelTables) -> tuple[Array, Array]:
    """Return gram (M, M) and laplacian (M,) of one density, per particle."""
    spacing, d = tables.grid.spacing, u.ndim
    axes = tuple(range(1, d + 1))
    lengths = [scipy.fft.next_fast_len(2 * n + 1, real=True) for n in tables.grid.cells]
    product = tables.spectra * scipy.fft.rfftn(u, lengths)
    whole = scipy.fft.irfftn(product, lengths, axes=axes)
    potential = whole[(slice(None), *[slice(0, n) for n in u.shape])]
    potential = np.concatenate([potential, tables.outside])
    columns = len(potential)
    gram, laplacian, volume = np.zeros((columns, columns)), np.zeros(columns), math.prod(spacing)
    for axis, dx in enumerate(spacing):
        slope = np.moveaxis(np.diff(potential, axis=axis + 1) / dx, axis + 1, 1).reshape(columns, -1)
        v = np.moveaxis(u, axis, 0)
        on_face = 0.5 * (v[1:] + v[:-1]).reshape(-1)
        gram += volume * (slope * on_face) @ slope.T
        laplacian -= volume / dx * (slope @ (v[1:] - v[:-1]).reshape(-1))
    return gram, laplacian


def remainder(pairings: Pairings, times: npt.ArrayLike, model: ModelPairings) -> Pairings:
    """Return the pairings less those of the model; ``model`` must be at `model_times` of ``times`` (S,)."""
    at = _places(times, model)
    return replace(pairings, gram=pairings.gram - model.gram[at], laplacian=pairings.laplacian - model.laplacian[at])


def controlled_integrals(
    pairings: Pairings, times: npt.ArrayLike, model: ModelPairings, quadrature: str = "simpson"
) -> tuple[Array, Array]:
    """Return int gram dt (P, M, M) and int laplacian dt (P, M) of every panel, the model's between the snapshots.

    ``model`` must be at `model_times` of ``times`` (S,), else ValueError. The rule weighs what `remainder` leaves.
    """
    at, rest = _places(times, model), remainder(pairings, times, model)
    rule = panels(times, quadrature)

    def integral(fine: Array, coarse: Array) -> Array:
        between = np.stack([_simpson(model.times[a : b + 1], fine[a : b + 1]) for a, b in itertools.pairwise(at)])
        of_model = [between[p.first : p.last].sum(axis=0) for p in rule]
        of_rest = [np.tensordot(p.weights, coarse[p.first : p.last + 1], 1) for p in rule]
        return np.stack(of_model) + np.stack(of_rest)

    return integral(model.gram, rest.gram), integral(model.laplacian, rest.laplacian)


def _places(times: npt.ArrayLike, model: ModelPairings) -> npt.NDArray[np.intp]:
    t = np.asarray(times, dtype=np.float64)
    at = np.minimum(np.searchsorted(model.times, t), len(model.times) - 1)
    if not np.array_equal(model.times[at], t):
        raise ValueError("`model` must be at `model_times` of the snapshots")
    return at


def _simpson(times: Array, values: Array) -> Array:
    """Integrate values (2 n + 1, ...) at equal pieces of one interval."""
    piece = (times[-1] - times[0]) / (len(times) - 1)
    inner = 4.0 * values[1:-1:2].sum(axis=0) + 2.0 * values[2:-1:2].sum(axis=0)
    return np.asarray(piece / 3.0 * (values[0] + inner + values[-1]))


def controlled_action_equations(
    pairings: Pairings,
    times: npt.ArrayLike,
    model: ModelPairings,
    coefficients: npt.ArrayLike,
    *,
    basis: Sequence[str],
    diffusion: float,
    particles: int,
    quadrature: str = "simpson",
    bias: Array | float = 0.0,
) -> NormalEquations:
    """Return the equations of the action form with `controlled_integrals`, one panel; compare `action_equations`.

    ``pairings`` are those of one replica at ``times`` (S,), ``coefficients`` (len(basis),) those of the model's kernel;
    a column beyond ``basis`` is a known potential, folded in. ``bias`` (len(basis),) is taken from the moment. What the
    gaps between the snapshots leave open even with the right model counts as noise (`with_gap_noise`), so that the
    errors hold and no term is added for its sake.
    """
    gram, laplacian = controlled_integrals(pairings, times, model, quadrature)
    energy = pairings.energy[-1:] - pairings.energy[:1]
    moment = 0.5 * diffusion * laplacian.sum(axis=0, keepdims=True) - energy
    equations = fold_known("action", basis, gram.sum(axis=0, keepdims=True), moment, particles)
    equations = replace(equations, moment=equations.moment - bias)
    z = np.ones(gram.shape[1])
    z[: len(basis)] = coefficients
    noise = gap_noise(remainder(pairings, times, model), times, z, diffusion)
    return with_gap_noise(equations, noise[:, : len(basis)], diffusion)
