"""Which columns of a kernel in pieces are worth their price, for break points that stand."""

from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt

from ipsdist.learning.price import Price
from ipsdist.learning.small_systems import solve_subsets
from ipsdist.learning.uncertainty import condition, covariance
from ipsdist.model.fit import Fit
from ipsdist.model.normal_equations import NormalEquations

__all__ = ["best_columns", "columns_fit", "scaled"]

Array = npt.NDArray[np.float64]

_EACH = 12
"""Columns up to which every subset of them is solved; of more, single ones are put in, left out and exchanged."""
_BETTER = 1e-6
"""Difference in score that is more than rounding."""


def columns_fit(equations: NormalEquations, diffusion: float, *, criterion: str = "ebic") -> Fit:
    """Return the best columns of equations over pieces that stand, as `break_points` drops them."""
    one = equations.total()
    gram, moment = scaled(one.gram[0] / diffusion, one.moment[0] / diffusion)
    seen = np.flatnonzero(np.diag(gram) > 0)
    price = Price.by(criterion, equations.particles, len(moment))
    chosen, _ = best_columns(gram[np.ix_(seen, seen)], moment[seen], [price(k, 0) for k in range(len(seen) + 1)])
    kept = seen[list(chosen)].tolist()
    part = one.change_basis(np.eye(len(moment))[:, kept], [equations.basis[k] for k in kept])
    z = part.solution()
    covered = covariance(equations, kept, z, diffusion)
    return Fit(equations.basis, tuple(kept), z, covered, condition(equations), "breakpoints")


def scaled(gram: Array, moment: Array) -> tuple[Array, Array]:
    """Return Gram and moment of columns of length 1; those of no length are 0."""
    length = np.sqrt(np.maximum(np.diag(gram), 0.0))
    units = np.where(length > 0, length, np.inf)
    return gram / np.outer(units, units), moment / units


def best_columns(gram: Array, moment: Array, prices: list[float]) -> tuple[tuple[int, ...], float]:
    """Return the subset of least price - gain and that score."""
    return (_exhaustive if len(moment) <= _EACH else _stepwise)(gram, moment, prices)


def _exhaustive(gram: Array, moment: Array, prices: list[float]) -> tuple[tuple[int, ...], float]:
    """Return the subset of least price - gain, of all; of equals the smaller, then the first."""
    best: tuple[tuple[int, ...], float] = ((), prices[0])
    for size in range(1, len(moment) + 1):
        subsets = np.array(list(itertools.combinations(range(len(moment)), size)), dtype=np.intp)
        gain, _ = solve_subsets(gram, moment, subsets)
        n = int(np.argmax(gain))
        if prices[size] - gain[n] < best[1]:
            best = (tuple(subsets[n].tolist()), float(prices[size] - gain[n]))
    return best


def _stepwise(gram: Array, moment: Array, prices: list[float]) -> tuple[tuple[int, ...], float]:
    """Return the better of two searches that put in, leave out and exchange single columns: from none and from all."""
    none: tuple[int, ...] = ()
    found = [_searched(gram, moment, prices, start) for start in (none, tuple(range(len(moment))))]
    return min(found, key=lambda pair: pair[1])


def _searched(gram: Array, moment: Array, prices: list[float], now: tuple[int, ...]) -> tuple[tuple[int, ...], float]:
    gain = solve_subsets(gram, moment, np.array([now], dtype=np.intp))[0][0] if now else 0.0
    score = prices[len(now)] - float(gain)
    while True:
        free = [n for n in range(len(moment)) if n not in now]
        fewer = [now[:n] + now[n + 1 :] for n in range(len(now))]
        moves = [*fewer, *((*now, n) for n in free), *((*rest, n) for rest in fewer for n in free)]
        best, least = now, score
        for size in sorted({len(m) for m in moves}):
            some = [tuple(sorted(m)) for m in moves if len(m) == size]
            gains = solve_subsets(gram, moment, np.array(some, dtype=np.intp))[0] if size else np.zeros(1)
            n = int(np.argmax(gains))
            if prices[size] - gains[n] < least - _BETTER:
                best, least = some[n], float(prices[size] - gains[n])
        if best == now:
            return now, score
        now, score = best, least
