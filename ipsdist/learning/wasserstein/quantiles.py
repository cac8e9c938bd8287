"""Wasserstein-2 on the line: the integral of the squared difference of the quantile functions, exact on cells."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from ipsdist.model.system import Grid

__all__ = ["quantile_distance"]

Array = npt.NDArray[np.float64]


def quantile_distance(a: Array, b: Array, grid: Grid) -> float:
    """Return W2 of masses (points,), constant on the cell around each point.

    Both quantile functions are linear between the merged values of the two distribution functions.
    """
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
        low, width = cdf[cell], cdf[cell + 1] - cdf[cell]
        # Shares of a cell, not slopes: the mass of a cell in the tail may be 1e-300.
        shares = [
            np.divide(at - low, width, out=np.zeros_like(width), where=width > 0) for at in (levels[:-1], levels[1:])
        ]
        return start[cell] + dx * shares[0], start[cell] + dx * shares[1]

    (low_a, high_a), (low_b, high_b) = ends(cdfs[0], starts[0]), ends(cdfs[1], starts[1])
    low, high = low_a - low_b, high_a - high_b
    return math.sqrt(float(np.sum(np.diff(levels) * (low**2 + low * high + high**2))) / 3.0)
