"""Distances between densities on the grid: Wasserstein-2 and mean square difference (docs/method.md, section 6).

A grid density is read as constant on the cell around each point. Negative lobes are clipped and both densities are
normalised before they are transported.
"""

from __future__ import annotations

import itertools
import math

import numpy as np
import numpy.typing as npt

from ipsdist.model.errors import InputError
from ipsdist.model.system import Grid

__all__ = ["METHODS", "data_loss", "wasserstein2"]

Array = npt.NDArray[np.float64]

METHODS = ("auto", "emd")
"""auto: quantile functions in one dimension, debiased Sinkhorn in more; emd: POT's linear programme on coarse cells."""

_EMD_POINTS = 48**2
"""Most cells of the linear programme."""
_NEGLIGIBLE_MASS = 1e-14
_CELLS_PER_BLUR = 8.0
"""Least entropic length**2 in squared cell sizes: from there on the cells do not show."""
_VARIANCES_PER_BLUR = 0.05
"""Least entropic length**2 in variances of the densities; the bias is of the square of a quarter of it."""
_MOST_TURNS = 5000
_TOLERANCE = 1e-13


def data_loss(densities: npt.ArrayLike, predicted: npt.ArrayLike) -> float:
    """Return L_data = mean of (u - u_hat)**2 over grid and times ([S], section 4); both arrays of one shape."""
    return float(np.mean((np.asarray(densities) - np.asarray(predicted)) ** 2))


def wasserstein2(u: Array, v: Array, grid: Grid, method: str = "auto") -> tuple[float, str]:
    """Return the Wasserstein-2 distance of two densities (points...), in length units, and how it was found.

    Parameters
    ----------
    u, v
        Densities on the grid; any positive mass.
    method
        "auto": in one dimension the integral of the squared difference of the two quantile functions, exact for
        densities constant on cells ("quantiles"); in more the root of the debiased Sinkhorn divergence, exact for
        shifts, its entropic length**2 in the label ("debiased_sinkhorn(...)"). "emd": optimal transport of at most 48
        x 48 coarse cells by POT ("emd(...)"), an independent check that cannot see distances below a coarse cell.

    Raises
    ------
    InputError
        Unknown method; a density of another shape, not finite, or without mass.
    """
    if method not in METHODS:
        raise InputError("method", f"must be one of {', '.join(METHODS)}", got=repr(method))
    a, b = _masses(u, "u", grid), _masses(v, "v", grid)
    if method == "emd":
        return _emd(a, b, grid)
    if a.ndim == 1:
        return _quantile_distance(a, b, grid), "quantiles"
    return _sinkhorn_distance(a, b, grid)


def _masses(density: Array, name: str, grid: Grid) -> Array:
    """Return the masses of the cells, clipped and normalised to sum 1."""
    shape = tuple(n + 1 for n in grid.cells)
    if density.shape != shape:
        raise InputError(name, f"must be a density on the grid {shape}", got=density.shape)
    clipped = np.maximum(density, 0.0)
    total = clipped.sum()
    if not 0.0 < total < math.inf:
        raise InputError(name, "must be finite with a positive mass", got=f"the sum {total}")
    return np.asarray(clipped / total)


def _quantile_distance(a: Array, b: Array, grid: Grid) -> float:
    """Return W2 in one dimension: both quantile functions are linear between the merged values of the two CDFs."""
    (dx,), (points,) = grid.spacing, grid.axes()
    cdfs, starts = [], []
    for mass in (a, b):
        full = mass > 0.0  # an empty cell is a jump of the quantile function
        cdf = np.concatenate([[0.0], np.cumsum(mass[full])])
        cdfs.append(cdf / cdf[-1])
        starts.append(points[full] - 0.5 * dx)
    levels = np.union1d(*cdfs)
    middle = 0.5 * (levels[:-1] + levels[1:])

    def ends(cdf: Array, start: Array) -> tuple[Array, Array]:
        """Quantiles at both ends of every interval of levels."""
        cell = np.clip(np.searchsorted(cdf, middle) - 1, 0, len(start) - 1)
        slope = dx / (cdf[cell + 1] - cdf[cell])
        return start[cell] + (levels[:-1] - cdf[cell]) * slope, start[cell] + (levels[1:] - cdf[cell]) * slope

    (low_a, high_a), (low_b, high_b) = ends(cdfs[0], starts[0]), ends(cdfs[1], starts[1])
    low, high = low_a - low_b, high_a - high_b
    return math.sqrt(float(np.sum(np.diff(levels) * (low**2 + low * high + high**2))) / 3.0)


def _sinkhorn_distance(a: Array, b: Array, grid: Grid) -> tuple[float, str]:
    """Return W2 by the debiased Sinkhorn divergence, with the least blur whose scalings float64 can hold."""
    a, b = (np.where(m > _NEGLIGIBLE_MASS, m, 0.0) for m in (a, b))
    variance = 0.5 * (_mean_variance(a, grid) + _mean_variance(b, grid))
    blur = max(_CELLS_PER_BLUR * max(grid.spacing) ** 2, _VARIANCES_PER_BLUR * variance)
    while True:  # ends: the kernel tends to 1
        squared = _sinkhorn_divergence(a / a.sum(), b / b.sum(), grid, blur)
        if math.isfinite(squared):
            return math.sqrt(max(squared, 0.0)), f"debiased_sinkhorn({blur:.3g})"
        blur *= 4.0


def _mean_variance(mass: Array, grid: Grid) -> float:
    """Return the mean over axes of the coordinate variance."""
    found = []
    for axis, x in enumerate(grid.axes()):
        marginal = mass.sum(axis=tuple(k for k in range(mass.ndim) if k != axis))
        found.append(float(marginal @ x**2 - (marginal @ x) ** 2))
    return math.fsum(found) / len(found)


def _sinkhorn_divergence(a: Array, b: Array, grid: Grid, blur: float) -> float:
    """Return S = OT(a, b) - OT(a, a) / 2 - OT(b, b) / 2 for the cost |x - y|**2; nan when the scalings leave the range.

    With scalings p, q of the plan diag(p) K diag(q) and p_a, p_b those of the symmetric plans,
    S = blur (<a, log p / p_a> + <b, log q / p_b>).
    """
    kernels = [np.exp(-((x[:, None] - x) ** 2) / blur) for x in grid.axes()]

    def smooth(values: Array) -> Array:
        for axis, kernel in enumerate(kernels):
            values = np.moveaxis(np.tensordot(kernel, values, axes=(1, axis)), 0, axis)
        return values

    def ratio(mass: Array, values: Array) -> Array:
        return np.divide(mass, values, out=np.zeros_like(mass), where=mass > 0.0)

    def paired(mass: Array, above: Array, below: Array) -> float:
        held = mass > 0.0
        return float(np.sum(mass[held] * (np.log(above[held]) - np.log(below[held]))))

    with np.errstate(all="ignore"):
        own = []
        for mass in (a, b):
            scaling = np.sqrt(mass)
            for _ in range(_MOST_TURNS):
                new = np.sqrt(scaling * ratio(mass, smooth(scaling)))
                moved = abs(paired(mass, new, scaling))
                scaling = new
                if not moved > _TOLERANCE:
                    break
            own.append(scaling)
        p, last = own[0], math.inf
        for _ in range(_MOST_TURNS):
            q = ratio(b, smooth(p))
            p = ratio(a, smooth(q))
            value = paired(a, p, own[0]) + paired(b, q, own[1])
            if not abs(value - last) > _TOLERANCE * max(1.0, abs(value)):
                break
            last = value
    return blur * value


def _emd(a: Array, b: Array, grid: Grid) -> tuple[float, str]:
    """Return W2 of the densities summed over blocks of cells, by POT."""
    import ot

    side = int(_EMD_POINTS ** (1.0 / a.ndim) + 1e-9)
    blocks = [np.arange(n) // math.ceil(n / side) for n in a.shape]
    coarse = [_aggregated(mass, blocks).reshape(-1) for mass in (a, b)]
    centres = [np.bincount(k, x) / np.bincount(k) for k, x in zip(blocks, grid.axes(), strict=True)]
    places = np.array(list(itertools.product(*centres)))
    used = [np.flatnonzero(c) for c in coarse]
    cost = ot.dist(places[used[0]], places[used[1]], metric="sqeuclidean")
    squared = ot.emd2(coarse[0][used[0]], coarse[1][used[1]], cost, numItermax=10_000_000)
    return math.sqrt(max(float(squared), 0.0)), f"emd({' x '.join(str(len(c)) for c in centres)})"


def _aggregated(mass: Array, blocks: list[npt.NDArray[np.intp]]) -> Array:
    """Return the masses summed over blocks along every axis."""
    for axis, block in enumerate(blocks):
        mass = np.add.reduceat(mass, np.flatnonzero(np.diff(block, prepend=-1)), axis=axis)
    return mass
