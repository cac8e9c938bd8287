"""Sums over lags on a short line of nodes: cheaper than two transforms, and in one order, also on a GPU."""

from __future__ import annotations

from numba import njit

__all__ = ["lag_sums"]


@njit(cache=True, nogil=True)
def lag_sums(table, weights, out):  # type: ignore[no-untyped-def]
    """Write sum_b table[a - b + n - 1] weights[b] to ``out`` (n,), b increasing: table (2 n - 1,), weights (n,).

    One rounding an operation, in the order of b for every a, which is the vector loop: `leap.cu` gives the same bits.
    """
    n = weights.size
    out[:] = 0.0
    for b in range(n):
        weight = float(weights[b])
        if weight != 0.0:  # what would be added is a zero
            lags = table[n - 1 - b : 2 * n - 1 - b]
            for a in range(n):
                out[a] += lags[a] * weight
