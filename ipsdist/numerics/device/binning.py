"""Linear binning on a line in Numba: counts only, one addition to memory a particle."""

from __future__ import annotations

import numpy as np
from numba import njit

__all__ = ["bin_line"]

_ONE = 65536.0
"""COUNT_ONE of model/deposits.py."""
_PARTICLE = 1 << 40
"""A cell's particles are counted from this bit up, the sum of their upper weights below it."""


@njit(cache=True)
def bin_line(positions, inverse, lower, cells):  # type: ignore[no-untyped-def]
    """Add every position (n,), n <= 2**22, to its cell in ``cells`` (nodes,); return how many are off the mesh.

    The weight of the upper node is rounded as in `deposit`. Both nodes of a cell follow from the number of its
    particles and the sum of their upper weights, so that one addition does for two; it is the cost of this loop.
    """
    lost = 0
    last = lower + cells.size - 1
    for i in range(positions.size):
        q = positions[i] * inverse
        floor = np.floor(q)
        if not (floor >= lower and floor < last):
            lost += 1
            continue
        cells[np.int64(floor) - lower] += _PARTICLE + np.int64((q - floor) * _ONE + 0.5)
    return lost
