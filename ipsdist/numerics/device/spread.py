"""Masses that become normal densities around where they landed in the plane, in Numba."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

__all__ = ["spread_normal"]


@njit(cache=True, nogil=True)
def spread_normal(mass, x, y, deviations, reach, out):  # type: ignore[no-untyped-def]
    """Add to ``out`` (n, m) the normal density of every mass (n, m) at its place, times the mass.

    Places ``x`` and ``y`` (n, m) and the standard deviations (2,) are in grid spacings, and the density sums to 1 over
    the grid. Points farther than ``reach`` from the one next to the place get nothing, and what falls beyond an end is
    given to the last point there. One order of additions.
    """
    n, m = mass.shape
    width = 2 * reach + 1
    along = np.empty((2, width))
    for i in range(n):
        for j in range(m):
            if mass[i, j] == 0.0:
                continue
            row, column = int(np.rint(x[i, j])), int(np.rint(y[i, j]))
            for k in range(width):
                for axis in range(2):
                    far = (row - x[i, j] if axis == 0 else column - y[i, j]) + k - reach
                    scaled = far / deviations[axis]
                    along[axis, k] = math.exp(-0.5 * scaled * scaled) / (math.sqrt(2.0 * math.pi) * deviations[axis])
            if reach <= column < m - reach:  # without the ends, a vector loop
                for k in range(width):
                    part = mass[i, j] * along[0, k]
                    row_out = out[min(max(row + k - reach, 0), n - 1), column - reach : column + reach + 1]
                    for q in range(width):
                        row_out[q] += part * along[1, q]
            else:
                for k in range(width):
                    part = mass[i, j] * along[0, k]
                    a = min(max(row + k - reach, 0), n - 1)
                    for q in range(width):
                        out[a, min(max(column + q - reach, 0), m - 1)] += part * along[1, q]
