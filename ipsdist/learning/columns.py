"""Which columns of a kernel in pieces are worth their price, for break points that stand."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ipsdist.learning.small_systems import solve_subsets
from ipsdist.learning.uncertainty import condition, covariance
from ipsdist.model.errors import InputError
from ipsdist.model.fit import Fit
from ipsdist.model.normal_equations import NormalEquations

__all__ = ["Price", "best_columns", "columns_fit", "scaled"]

Array = npt.NDArray[np.float64]

_CRITERIA = ("bic", "ebic", "2lnN")
_EACH = 12
"""Columns up to which every subset of them is solved; of more, the least useful is left out in turn."""


@dataclass(frozen=True)
class Price:
    """What coefficients and places cost."""

    criterion: str
    particles: int
    terms: int
    nodes: int
    """Nodes among which places are chosen."""

    @classmethod
    def by(cls, criterion: str, particles: int, terms: int, nodes: int = 0) -> Price:
        """Return the price by a criterion. Raises InputError for an unknown one."""
        if criterion not in _CRITERIA:
            raise InputError("fit.criterion", "must be bic, ebic or 2lnN", repr(criterion), "ebic is the usual choice")
        return cls(criterion, particles, terms, nodes)

    def __call__(self, kept: int, breaks: int) -> float:
        """Return the price of so many coefficients and places."""
        each = (kept + breaks) * math.log(self.particles)
        if self.criterion == "2lnN":
            return 2 * each
        if self.criterion == "bic":
            return each
        choices = math.comb(self.terms * (breaks + 1), kept) * math.comb(max(self.nodes, breaks), breaks)
        return each + 2 * math.log(choices)


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
    return (_exhaustive if len(moment) <= _EACH else _backward)(gram, moment, prices)


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


def _backward(gram: Array, moment: Array, prices: list[float]) -> tuple[tuple[int, ...], float]:
    """Leave out the column that is missed least until few are left, then try all subsets; return the best seen."""
    now = list(range(len(moment)))
    best: tuple[tuple[int, ...], float] = ((), prices[0])
    while len(now) > _EACH:
        gain, _ = solve_subsets(gram, moment, np.array([now], dtype=np.intp))
        if prices[len(now)] - gain[0] < best[1]:
            best = (tuple(now), float(prices[len(now)] - gain[0]))
        rest = np.array([[n for n in now if n != out] for out in now], dtype=np.intp)
        gains, _ = solve_subsets(gram, moment, rest)
        # Columns that cannot be told apart leave no gain to compare: the last of them goes.
        now = rest[len(rest) - 1 - int(np.argmax(gains[::-1]))].tolist()
    few, score = _exhaustive(gram[np.ix_(now, now)], moment[now], prices)
    return (tuple(now[n] for n in few), score) if score < best[1] else best
