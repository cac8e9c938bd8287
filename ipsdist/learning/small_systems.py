"""Many small systems at once: subsets of scaled normal equations by Cholesky, the same bits on every machine."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["SINGULAR", "Subsets", "factorised", "solve_subsets"]

Array = npt.NDArray[np.float64]
Subsets = npt.NDArray[np.intp]

SINGULAR = 1e-13
"""Share of a column's squared length below which its squared distance from the span of others is rounding."""


def solve_subsets(gram: Array, moment: Array, subsets: Subsets) -> tuple[Array, Array]:
    """Return gain b'z (n,) and z (n, k) of n subsets (n, k) of the scaled equations; -inf where A_S is singular.

    One Cholesky factorisation for all subsets of a size, written over columns: element by element, so its bits depend
    on no library and no thread. A subset is singular where a column is too close to the span of the others: of those
    before it by its pivot, 1 - R^2, of all others by 1 / (A_S^-1)_jj, its pivot if it came last. What the pivots alone
    let pass, six smooth columns whose smallest eigenvalue is 1e-16, gains by rounding.
    """
    n, k = subsets.shape
    lower, forward, regular = factorised(gram, moment, subsets, SINGULAR)
    gain = np.zeros(n)
    z = np.zeros((n, k))
    for j in reversed(range(k)):
        gain += forward[:, j] ** 2  # b'z = |L^-1 b|^2, also equal to 2 b'z - z'A z at the solution
        rest = forward[:, j].copy()
        for i in range(j + 1, k):
            rest -= lower[:, i, j] * z[:, i]
        z[:, j] = rest / lower[:, j, j]
        regular &= SINGULAR * _inverse_entry(lower, j) < 1.0
    return np.where(regular, gain, -np.inf), z


def _inverse_entry(lower: Array, j: int) -> Array:
    """Return (A^-1)_jj (n,) for A = L L', the squared length of column j of L^-1."""
    column = [1.0 / lower[:, j, j]]
    for i in range(j + 1, lower.shape[1]):
        rest = np.zeros(len(lower))
        for m, known in enumerate(column, start=j):
            rest -= lower[:, i, m] * known
        column.append(rest / lower[:, i, i])
    return np.asarray(sum(entry * entry for entry in column))


def factorised(
    gram: Array, moment: Array, subsets: Subsets, singular: float
) -> tuple[Array, Array, npt.NDArray[np.bool_]]:
    """Return L (n, k, k) with L L' = A_S, L^-1 b_S (n, k), and where all pivots are above ``singular`` (n,)."""
    n, k = subsets.shape
    lower = np.zeros((n, k, k))
    regular = np.ones(n, dtype=np.bool_)
    forward = np.zeros((n, k))
    for j in range(k):
        for i in range(j, k):
            rest = gram[subsets[:, i], subsets[:, j]].copy()
            for m in range(j):
                rest -= lower[:, i, m] * lower[:, j, m]
            if i == j:
                regular &= rest > singular
                rest = np.sqrt(np.where(regular, rest, 1.0))
                lower[:, j, j] = rest
            else:
                lower[:, i, j] = rest / lower[:, j, j]
        known = moment[subsets[:, j]].copy()
        for m in range(j):
            known -= lower[:, j, m] * forward[:, m]
        forward[:, j] = known / lower[:, j, j]
    return lower, forward, regular
