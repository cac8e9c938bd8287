"""Distances between densities on the grid: Wasserstein-2 and mean square difference (docs/method.md, section 6).

Negative lobes are clipped and both densities are normalised before they are transported. Three roads, each a file:
quantile functions (one dimension, exact), the weighted H^-1 norm (small distances), the debiased Sinkhorn divergence
(large ones); POT's linear programme checks them.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from ipsdist.learning.wasserstein.programme import programme_distance
from ipsdist.learning.wasserstein.quantiles import quantile_distance
from ipsdist.learning.wasserstein.sinkhorn import sinkhorn_distance
from ipsdist.learning.wasserstein.sobolev import sobolev_distance
from ipsdist.model.errors import InputError
from ipsdist.model.system import Grid

__all__ = ["METHODS", "data_loss", "wasserstein2", "wasserstein2_curve"]

Array = npt.NDArray[np.float64]

METHODS = ("auto", "sobolev", "sinkhorn", "emd")
"""auto: quantile functions in one dimension; in more the weighted H^-1 norm where it holds, else the debiased Sinkhorn
divergence; the others by name, in any dimension."""

_STEEPEST = 0.1
"""Most mean squared relative change of the density along a displacement at which the H^-1 norm is W2 within 1 %."""


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
        densities constant on cells ("quantiles"); in more the weighted H^-1 norm ("sobolev") where a displacement
        changes the density little, else the root of the debiased Sinkhorn divergence, its entropic length**2 in the
        label ("debiased_sinkhorn(...)"). "sobolev" and "sinkhorn": that one, whatever the distance. "emd": optimal
        transport of at most 48 x 48 coarse cells by POT ("emd(...)"), an independent check that cannot see distances
        below a coarse cell.

    Raises
    ------
    InputError
        Unknown method; a density of another shape, not finite, or without mass.
    """
    if method not in METHODS:
        raise InputError("method", f"must be one of {', '.join(METHODS)}", got=repr(method))
    a, b = _masses(u, "u", grid), _masses(v, "v", grid)
    if method == "emd":
        return programme_distance(a, b, grid)
    if method == "auto" and a.ndim == 1:
        return quantile_distance(a, b, grid), "quantiles"
    if method != "sinkhorn":
        value, steepness = sobolev_distance(a, b, grid)
        if method == "sobolev" or steepness <= _STEEPEST:
            return value, "sobolev"
    value, blur, settled = sinkhorn_distance(a, b, grid)
    return value, f"debiased_sinkhorn({blur:.3g}{'' if settled else ', not settled'})"


def wasserstein2_curve(us: Iterable[Array], vs: Iterable[Array], grid: Grid) -> tuple[Array, str]:
    """Return the distances (T,) of pairs of densities by "auto", and how they were found.

    Where more than one road was taken, the second value counts them: "sobolev at 18 times, debiased_sinkhorn at 3".
    """
    found = [wasserstein2(u, v, grid) for u, v in zip(us, vs, strict=True)]
    labels = dict.fromkeys(label for _, label in found)
    if len(labels) > 1:  # blurs follow the densities: name the road only
        roads = Counter(label.partition("(")[0] for _, label in found)
        method = ", ".join(f"{road} at {n} times" for road, n in sorted(roads.items(), reverse=True))
    else:
        method = next(iter(labels), "none")
    return np.array([value for value, _ in found]), method


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
