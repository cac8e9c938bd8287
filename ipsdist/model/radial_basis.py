"""Radial basis: graded B-splines in the distance, in which equations are assembled once for every dictionary."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from ipsdist.model.dictionary import Dictionary

__all__ = ["RadialBasis", "RadialFunction", "project"]

Array = npt.NDArray[np.float64]

_RATIO = 0.2
"""Length of an interval over its distance from 0, where the knots are graded: powers r**-2 to 1e-6 with degree 5."""
_INSIDE = 2
"""Intervals inside a cut-off, where singular terms are constant."""
_TAIL = 1e-3
"""Share of a term's largest value below which its error is not looked at relatively."""
_CHECKS = 8
"""Distances in an interval at which the error of a projection is looked for."""


@dataclass(frozen=True)
class RadialBasis:
    """M B-splines B_m(r) of one degree on 0 <= r <= reach, 0 beyond; they sum to 1, and phi(0) is free.

    Stands where a `Dictionary` does for tables on the force mesh: names, terms, values and exact potentials.
    """

    knots: tuple[float, ...]
    """(M + degree + 1,) non-decreasing; both ends ``degree + 1`` times, a distance of a kink ``degree`` times."""
    degree: int = 5

    @classmethod
    def graded(
        cls, reach: float, finest: float, kink: float | None = None, intervals: int = 32, degree: int = 5
    ) -> RadialBasis:
        """Return the basis for distances 0 .. reach (length).

        Intervals grow with the distance, from ``finest`` (two mesh spacings) at 0 to reach / ``intervals``: 32 hold
        sin, cos and exp of r to 1e-8 over a reach of 6, 16 to 1e-6. With a ``kink``, the cut-off of singular terms,
        there are two intervals inside it, and they grow from a fifth of it (or ``finest``) outside.
        Raises ValueError unless 0 < finest, kink < reach.
        """
        if not (0 < finest < reach and (kink is None or 0 < kink < reach)):
            raise ValueError(f"`finest` and `kink` must lie between 0 and `reach`; got {finest}, {kink}, {reach}")
        start = kink or 0.0
        r = np.concatenate([[start], np.geomspace(start + finest / 16, reach, 2048)])
        step = np.minimum(np.maximum(finest, _RATIO * r), reach / intervals)
        number = np.concatenate([[0.0], np.cumsum(0.5 * (1 / step[1:] + 1 / step[:-1]) * np.diff(r))])
        count = max(1, round(number[-1]))
        inner = np.interp(np.linspace(0.0, number[-1], count + 1), number, r)[1:-1].tolist()
        if kink is not None:
            inner = [*np.linspace(0.0, kink, _INSIDE + 1)[1:-1].tolist(), *[float(kink)] * degree, *inner]
        return cls((*[0.0] * (degree + 1), *inner, *[float(reach)] * (degree + 1)), degree)

    def coarsened(self, resolution: float, upto: float) -> RadialBasis:
        """Return the basis of the knots in resolution .. upto, the kinks and both ends: a subspace of this one."""
        places, times = np.unique(self.knots, return_counts=True)
        inside = (places > 0) & (places < self.reach) & (places <= upto)
        kept = inside & ((places >= resolution) | (times > 1))
        ends = self.degree + 1
        inner = np.repeat(places[kept], times[kept]).tolist()
        return RadialBasis((*[0.0] * ends, *inner, *[self.reach] * ends), self.degree)

    def coordinates(self, values: Callable[[Array], Array]) -> Array:
        """Return the matrix (M, K) that writes K functions, values(r) (K, R), in this basis by interpolation."""
        sites = self.sites()
        return np.asarray(np.linalg.solve(self.values(sites).T, values(sites).T), dtype=np.float64)

    def __len__(self) -> int:
        return len(self.knots) - self.degree - 1

    def __iter__(self) -> Iterator[RadialFunction]:
        return iter(self.terms)

    @property
    def reach(self) -> float:
        """Largest distance of the basis."""
        return self.knots[-1]

    @cached_property
    def terms(self) -> tuple[RadialFunction, ...]:
        """The functions, each callable."""
        return tuple(RadialFunction(self, m) for m in range(len(self)))

    @property
    def names(self) -> tuple[str, ...]:
        """B0, B1, ...: names of the functions in normal equations."""
        return tuple(f"B{m}" for m in range(len(self)))

    @property
    def breaks(self) -> Array:
        """Ends of the intervals on which the functions are polynomials."""
        return np.unique(self.knots)

    def kinks(self) -> Array:
        """Return the distances at which slopes may jump."""
        places, times = np.unique(self.knots, return_counts=True)
        return np.asarray(places[(times >= self.degree) & (places > 0) & (places < self.reach)])

    def sites(self) -> Array:
        """Return the means of ``degree`` neighbouring knots (M,), one site for every function, increasing."""
        t = np.asarray(self.knots)
        means = np.lib.stride_tricks.sliding_window_view(t[1:-1], self.degree).mean(axis=1)
        # The mean of equal knots may round beyond them, where no function is.
        return np.asarray(np.clip(means, 0.0, self.reach))

    def values(self, r: npt.ArrayLike) -> Array:
        """Return B_m(r), shape (M, *r.shape)."""
        return _dense(np.asarray(self.knots), self.degree, np.asarray(r, dtype=np.float64))

    def potentials(self, r: npt.ArrayLike) -> Array:
        """Return the integrals of B_m from 0 to r, exact, shape (M, *r.shape).

        A B-spline's is its length / (degree + 1) times the sum of the splines of the next degree from it on.
        """
        t = np.asarray(self.knots)
        longer = np.concatenate([t[:1], t, t[-1:]])
        radii = np.minimum(np.asarray(r, dtype=np.float64), self.reach)
        upper = _dense(longer, self.degree + 1, radii)[1:]
        length = (t[self.degree + 1 :] - t[: -self.degree - 1]) / (self.degree + 1)
        sums = np.cumsum(upper[::-1], axis=0)[::-1]
        return np.asarray(length.reshape(-1, *[1] * radii.ndim) * sums)

    def derivatives(self, r: npt.ArrayLike, order: int) -> Array:
        """Return the derivatives of B_m of an order up to ``degree``, shape (M, *r.shape)."""
        t, radii = np.asarray(self.knots), np.asarray(r, dtype=np.float64)
        result = _dense(t, self.degree - order, radii)
        for degree in range(self.degree - order + 1, self.degree + 1):
            width = t[degree:] - t[:-degree]
            rate = np.divide(degree, width, out=np.zeros_like(width), where=width > 0).reshape(-1, *[1] * radii.ndim)
            result = rate[:-1] * result[:-1] - rate[1:] * result[1:]
        return result


@dataclass(frozen=True)
class RadialFunction:
    """One function of a radial basis."""

    basis: RadialBasis
    index: int

    def __call__(self, r: npt.ArrayLike) -> Array:
        """Return B_index(r), the shape of r."""
        radii = np.asarray(r, dtype=np.float64)
        knots = np.asarray(self.basis.knots)
        near = (radii >= knots[self.index]) & (radii <= knots[self.index + self.basis.degree + 1])
        result = np.zeros(radii.shape)
        result[near] = self.basis.values(radii[near])[self.index]
        return result

    @property
    def name(self) -> str:
        """Name of the function in normal equations."""
        return f"B{self.index}"


def project(dictionary: Dictionary, basis: RadialBasis, upto: float | None = None) -> tuple[Array, Array]:
    """Return the matrix P (M functions, K terms) with phi_k(r) = sum_m P[m, k] B_m(r), and the error of each term (K,).

    P interpolates at the sites of the basis, so that an error stays near its place. The error of a term is the largest
    of |phi_k - sum P B| on 0 .. ``upto`` (the whole reach), each over the largest |phi_k| in its interval, or over a
    thousandth of the largest of all where a tail is smaller. It says whether the basis holds the term at all: a kink or
    a jump where the basis has none gives 1e-3 to 1.
    """
    matrix = basis.coordinates(dictionary.values)
    ends = basis.breaks
    inside = (np.arange(_CHECKS) + 0.5) / _CHECKS
    checks = (ends[:-1, None] + np.diff(ends)[:, None] * inside)[ends[:-1] < (basis.reach if upto is None else upto)]
    exact = dictionary.values(checks)
    wrong = np.abs(exact - np.tensordot(matrix.T, basis.values(checks), 1))
    size = np.abs(exact).max(axis=2)
    size = np.maximum(size, _TAIL * size.max(axis=1, keepdims=True))
    tiny = np.finfo(np.float64).tiny
    return matrix, np.asarray((wrong.max(axis=2) / np.maximum(size, tiny)).max(axis=1))


def _dense(knots: Array, degree: int, r: Array) -> Array:
    """Return all B-splines of a degree (len(knots) - degree - 1, *r.shape) by the recurrence of Cox and de Boor."""
    flat = r.ravel()
    last = len(knots) - degree - 2
    interval = np.clip(np.searchsorted(knots, flat, side="right") - 1, 0, last)
    # From the right end, step back over repeated knots into the last interval that has a length.
    interval = np.minimum(interval, np.searchsorted(knots, knots[-1], side="left") - 1)
    local = np.zeros((degree + 1, len(flat)))
    local[0] = (flat >= knots[0]) & (flat <= knots[-1])
    for k in range(1, degree + 1):
        carried = np.zeros(len(flat))
        for j in range(k):
            right, left = knots[interval + j + 1], knots[interval + j + 1 - k]
            share = local[j] / (right - left)
            local[j] = carried + (right - flat) * share
            carried = (flat - left) * share
        local[k] = carried
    result = np.zeros((last + 1, len(flat)))
    columns = np.arange(len(flat))
    for j in range(degree + 1):
        result[interval - degree + j, columns] = local[j]
    return result.reshape(last + 1, *r.shape)
