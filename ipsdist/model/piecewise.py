"""Functions of the distance as piecewise polynomials: adaptive interpolation that keeps kinks and jumps in place."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ipsdist.model.errors import InputError

if TYPE_CHECKING:
    from scipy.interpolate import PPoly

__all__ = ["piecewise_polynomial"]

Array = npt.NDArray[np.float64]

_DEGREE = 8
_ANGLES = np.pi * (np.arange(_DEGREE + 1) + 0.5) / (_DEGREE + 1)
_NODES = 0.5 - 0.5 * np.cos(_ANGLES)
"""Chebyshev points of [0, 1], increasing; the ends, where jumps may be, are none of them."""
_CHECKS = 0.5 - 0.5 * np.cos(np.pi * np.arange(_DEGREE + 2) / (_DEGREE + 1))
"""Where the interpolant is checked: between the nodes, where its error is largest, and at both ends."""
_PROBES = 4097
"""Even distances at which all is checked too: what is narrower than a node's distance from the next is seen by them."""
_SAFETY = 0.5
"""Share of the tolerance that is used up at the checks, for the places between them."""
_MOST = 4096
_FINEST = 2.0**-100
"""Shortest interval, as a share of all: its powers are still numbers."""


def _chebyshev_coefficients() -> Array:
    """Return the matrix from values at the nodes to coefficients of the T_k(2 t - 1)."""
    order = np.arange(_DEGREE + 1)
    matrix = np.cos(np.outer(order, np.pi - _ANGLES)) * 2.0 / (_DEGREE + 1)
    matrix[0] *= 0.5
    return np.asarray(matrix)


def _powers() -> Array:
    """Return the matrix from coefficients of the T_k(2 t - 1) to those of the t**n; whole numbers, exact."""
    matrix = np.zeros((_DEGREE + 1, _DEGREE + 1))
    matrix[0, 0] = 1.0
    matrix[:2, 1] = -1.0, 2.0
    for k in range(2, _DEGREE + 1):
        matrix[:, k] = -2.0 * matrix[:, k - 1] - matrix[:, k - 2]
        matrix[1:, k] += 4.0 * matrix[:-1, k - 1]
    return matrix


_TO_CHEBYSHEV, _TO_POWERS = _chebyshev_coefficients(), _powers()


def piecewise_polynomial(function: Callable[[Array], Array], edges: npt.ArrayLike, tolerance: float) -> PPoly:
    """Return a piecewise polynomial of degree 8 equal to ``function`` between the first edge, 0, and the last one.

    Intervals are halved until interpolation at Chebyshev points is within ``tolerance``, relative to the largest size
    of the function, everywhere it is checked. Where only a jump is left, halving ends at two neighbouring floats. An
    interval holds its lower end and not its upper one. Beyond the last edge the polynomial is nan.

    Parameters
    ----------
    function : from distances (n,) to values (n,), smooth between the edges but for what halving can isolate.
    edges : (E,) increasing; breaks that stay.

    Raises InputError naming ``reach`` where the function is not finite, and ``tolerance`` where it is not reached.
    """
    breaks = np.asarray(edges, dtype=np.float64)
    reach = float(breaks[-1])
    probes = np.linspace(0.0, reach, _PROBES)
    while True:
        result = _interpolant(function, breaks)
        places = np.unique(np.concatenate([_within(breaks, _CHECKS).ravel(), probes]))
        exact = function(places)
        if not np.isfinite(exact).all():
            first = places[~np.isfinite(exact)][0]
            raise InputError("reach", "must be a distance up to which phi is finite", f"{reach:g}", f"below {first:g}")
        allowed = _SAFETY * tolerance * np.abs(exact).max()
        failed = places[~(np.abs(result(places) - exact) <= allowed)]
        if not failed.size:
            return result
        at = np.minimum(np.searchsorted(breaks, failed, side="right"), len(breaks) - 1)
        split = np.unique(at)
        if len(breaks) + len(split) > _MOST + 1 or np.diff(breaks)[split - 1].min() < _FINEST * reach:
            fix = "use a larger tolerance or a shorter reach"
            raise InputError("tolerance", f"is not reached with {_MOST} intervals", f"{tolerance:g}", fix)
        breaks = np.insert(breaks, split, 0.5 * (breaks[split - 1] + breaks[split]))


def _interpolant(function: Callable[[Array], Array], breaks: Array) -> PPoly:
    from scipy.interpolate import PPoly

    lengths = np.diff(breaks)
    values = function(_within(breaks, _NODES).ravel()).reshape(len(lengths), -1)
    # In two steps: the large numbers of the second then meet only high coefficients, which are small where the
    # function is smooth, and the rounding of what cancels stays that of the values.
    coefficients = (values @ _TO_CHEBYSHEV.T) @ _TO_POWERS.T
    coefficients /= lengths[:, None] ** np.arange(_DEGREE + 1)
    alone = np.nextafter(breaks[:-1], np.inf) >= breaks[1:]  # the lower end is the only float of the interval
    coefficients[alone] = 0.0
    coefficients[alone, 0] = function(breaks[:-1][alone])
    return PPoly(coefficients.T[::-1], breaks, extrapolate=False)


def _within(breaks: Array, shares: Array) -> Array:
    """Return the places at these shares of every interval (intervals, shares), all of them in the interval."""
    lower, upper = breaks[:-1, None], breaks[1:, None]
    return np.minimum(lower + (upper - lower) * shares, np.nextafter(upper, lower))
