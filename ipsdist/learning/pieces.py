"""Kernels in pieces over hats: their columns for any break points, and the misfit, its slope and its minimum."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq

from ipsdist.learning.uncertainty import inverse_gram
from ipsdist.model.dictionary import Dictionary
from ipsdist.model.normal_equations import NormalEquations
from ipsdist.model.radial_basis import RadialBasis

__all__ = ["HatSystem", "Kept", "Pieces", "all_columns", "without_contact"]

Array = npt.NDArray[np.float64]
Kept = tuple[tuple[int, int], ...]
"""(piece, term) of some columns, increasing."""

_SLOPE = 1e-4
"""Step of the difference that gives the slope of a term, in widths of a hat."""
_GAP, _FIRST = 2.0, 8.0
"""Least distance of two break points, and of the first from 0, in widths of a hat: pairs in contact are seen worst."""
_SEEN = 1e-5
"""Share of the information of all nodes, beyond the reach."""
_TURNS, _HALVINGS = 60, 12
"""Gauss-Newton steps at most, and how often one is halved."""
_ENOUGH = 1e-7
"""Gain of a turn after which places are settled."""
QUANTILE = 3.841458820694124
"""95 % quantile of chi-squared of one degree: the misfit at the ends of an interval less the least."""
_CURVE, _FAR = 12, 2.0
"""Places of a profile on either side, and how far they go: so many times to the end of the interval."""
_SINGULAR = 1e-11
"""Smallest eigenvalue of the scaled Gram of columns that the data tell apart."""


@dataclass(frozen=True, eq=False)
class HatSystem:
    """The likelihood of kernels in pieces: -2 l(f) = f'A f - 2 b'f for f the values at the nodes, sigma^2 divided out.

    Piece p of break points b_1 < b_2 < ... holds b_p < r <= b_(p+1), and every piece may have every term. A term that
    begins at b does so between nodes: its value and its slope at b are spread over the two nodes beside it as hats hold
    them, so that moments of order 0 and 1 are kept and the misfit has a continuous slope in b.
    """

    gram: Array
    """(M, M) Gram over the hats / sigma^2."""
    moment: Array
    """(M,) moment / sigma^2."""
    width: float
    """Distance of two nodes; node m is at m * width."""
    terms: Dictionary
    particles: int
    resolution: float = 0.0
    """Least distance of two break points (length), if that is more than two widths."""

    @classmethod
    def of(
        cls,
        equations: NormalEquations,
        basis: RadialBasis,
        terms: Dictionary,
        diffusion: float,
        resolution: float = 0.0,
    ) -> HatSystem:
        """Return the system of all panels.

        Raises ValueError for equations that are no likelihood or of another basis, and a basis of other functions than
        hats at multiples of one width.
        """
        if equations.energy is not None or equations.basis != basis.names:
            raise ValueError(f"equations of a likelihood over the basis are needed; got the form {equations.form}")
        sites = np.asarray(basis.knots)[1:-1]
        width = float(sites[1] - sites[0])
        if basis.degree != 1 or not np.allclose(np.diff(sites), width, rtol=1e-9):
            raise ValueError("the basis must be hats on even knots")
        gram, moment = equations.gram.sum(axis=0), equations.moment.sum(axis=0)
        return cls(gram / diffusion, moment / diffusion, width, terms, equations.particles, resolution)

    @cached_property
    def nodes(self) -> Array:
        """(M,) distances of the nodes."""
        return np.arange(len(self.moment), dtype=np.float64) * self.width

    @cached_property
    def at_nodes(self) -> Array:
        """(M, K) values of the terms at the nodes; 0 at the node 0, whose hat has no force (`without_contact`)."""
        return without_contact(self.terms.values(self.nodes).T)

    @cached_property
    def reach(self) -> float:
        """Distance beyond which a share of 1e-5 of the information lies: few pairs, whose scores are not normal."""
        beyond = np.cumsum(np.diag(self.gram)[::-1])[::-1]
        return float(self.nodes[int(np.flatnonzero(beyond > _SEEN * beyond[0])[-1])])

    @property
    def gap(self) -> float:
        """Least distance between two break points, and of the last to the reach."""
        return max(_GAP * self.width, self.resolution)

    @property
    def first(self) -> float:
        """Least place of a break point: beyond what a cut-off has frozen, which is no formula for a piece to end."""
        frozen = [t.cutoff for t in self.terms if t.cutoff is not None and t.pieces[0][1].unbounded_at_zero()]
        return max(_FIRST * self.width, self.gap, *frozen)

    def starting(self, places: Sequence[float]) -> Array:
        """Return the values (B, M, K) at the nodes of the terms on r > place, 0 before, for every place."""
        return self._begun(places)[0]

    def _begun(self, places: Sequence[float]) -> tuple[Array, Array]:
        """Return `starting` and its derivative by the place: what the slope adds cancels, S' is the hat."""
        b = np.asarray(places, dtype=np.float64)[:, None]
        x = np.clip((self.nodes - b) / self.width, -1.0, 1.0)
        late = np.maximum(x, 0.0)
        # What hats add to a step and to a ramp at the place, 0 but beside it.
        step = 0.5 + x - 0.5 * x * np.abs(x) - (x > 0)
        ramp = self.width * ((1.0 + x) ** 3 / 6.0 - late**3 / 3.0 - late)
        hat = (1.0 - np.abs(x)) / self.width
        h = _SLOPE * self.width
        low, mid, high = np.moveaxis(self.terms.values(b + h * np.arange(-1, 2)), 0, -1).swapaxes(0, 1)[:, :, None]
        slope, bend = (high - low) / (2 * h), (high - 2 * mid + low) / h**2
        step, ramp, hat = step[..., None], ramp[..., None], hat[..., None]
        values = self.at_nodes * (self.nodes > b)[..., None] + step * mid + ramp * slope
        return values, ramp * bend - hat * mid

    def columns(self, places: Sequence[float], kept: Kept) -> Array:
        """Return the values (M, k) of the kept columns at the nodes."""
        return self._differences(self.starting(places), kept)

    def _differences(self, begun: Array, kept: Kept) -> Array:
        starts = [self.at_nodes, *begun, np.zeros_like(self.at_nodes)]
        chosen = [starts[p][:, k] - starts[p + 1][:, k] for p, k in kept]
        return np.stack(chosen, axis=1) if kept else np.zeros((len(self.moment), 0))

    def solve(self, places: Sequence[float], kept: Kept) -> Pieces:
        """Return the kernel of least misfit with these columns."""
        begun, moving = self._begun(places)
        columns = self._differences(begun, kept)
        pushed = self.gram @ columns
        gram, moment = columns.T @ pushed, columns.T @ self.moment
        scale = np.sqrt(np.where(np.diag(gram) > 0, np.diag(gram), 1.0))
        z = np.linalg.pinv(gram / np.outer(scale, scale), rcond=_SINGULAR, hermitian=True) @ (moment / scale) / scale
        slopes = np.zeros((len(self.moment), len(places)))
        for (p, k), value in zip(kept, z, strict=True):
            if p > 0:
                slopes[:, p - 1] += value * moving[p - 1][:, k]
            if p < len(places):
                slopes[:, p] -= value * moving[p][:, k]
        uphill = slopes.T @ (self.moment - pushed @ z)
        return Pieces(tuple(float(b) for b in places), kept, z, float(moment @ z), columns, slopes, uphill)

    def settled(self, places: Sequence[float], kept: Kept, held: int | None = None, enough: float = _ENOUGH) -> Pieces:
        """Return the kernel of least misfit near these places, the one numbered ``held`` staying where it is.

        Gauss-Newton in the places, coefficients at their best, halved where it overshoots. Places keep their order and
        the gap between them: in a turn each moves a width at most, and in the half of the way to its neighbours. It
        ends with a turn that gains no more than ``enough``.
        """
        free = [n for n in range(len(places)) if n != held]
        now = self.solve(places, kept)
        for _ in range(_TURNS if free else 0):
            at = np.array(now.places)
            ends = self._ends(at)
            step = np.zeros(len(at))
            step[free] = np.clip(self._step(now, free), -self.width, self.width)
            for _ in range(_HALVINGS):
                moved = np.clip(at + step, ends[:, 0], ends[:, 1])
                found = self.solve(moved.tolist(), kept)
                if found.gain >= now.gain:
                    break
                step *= 0.5
            else:
                break
            gained, now = found.gain - now.gain, found
            if gained <= enough:
                break
        return now

    def _step(self, now: Pieces, free: list[int]) -> Array:
        """Return the Gauss-Newton step of some places, the columns projected out of what they do."""
        moved = now.slopes[:, free]
        both = np.column_stack([now.columns, moved])
        gram = both.T @ self.gram @ both
        scale = np.sqrt(np.where(np.diag(gram) > 0, np.diag(gram), 1.0))
        target = np.concatenate([np.zeros(now.columns.shape[1]), now.uphill[free]])
        inverse = np.linalg.pinv(gram / np.outer(scale, scale), rcond=_SINGULAR, hermitian=True)
        return np.asarray((inverse @ (target / scale) / scale)[-len(free) :])

    def _ends(self, places: Array) -> Array:
        """Return between what ends (B, 2) each place may move so that no two can come closer than the gap."""
        lower = np.concatenate([[0.0], places[:-1]])
        upper = np.concatenate([places[1:], [self.reach]])
        low = np.where(np.arange(len(places)) == 0, self.first, 0.5 * (lower + places + self.gap))
        high = np.where(
            np.arange(len(places)) == len(places) - 1, self.reach - self.gap, 0.5 * (upper + places - self.gap)
        )
        return np.stack([np.minimum(low, places), np.maximum(high, places)], axis=1)

    def covariance(self, found: Pieces, *, sought: bool = True) -> Array:
        """Return the covariance (k + B, k + B) of coefficients and places together, or (k, k) for places that stand.

        Infinite where the data do not tell them apart.
        """
        both = found.columns
        if sought:
            both = np.column_stack([both, found.slopes])
        gram = both.T @ self.gram @ both
        scale = np.sqrt(np.maximum(np.diag(gram), 0.0))
        if not (scale > 0).all() or (len(gram) and np.linalg.eigvalsh(gram / np.outer(scale, scale))[0] <= _SINGULAR):
            return np.full(gram.shape, np.inf)
        return inverse_gram(gram)

    def profile(self, best: Pieces, number: int) -> tuple[tuple[float, float], tuple[Array, Array]]:
        """Return the 95 % interval of a place and its profile: places, and the misfit there less the least.

        Everything else is at its best for each. An interval that reaches a neighbour, 0 or the largest distance ends
        there.
        """
        seen: dict[float, tuple[float, tuple[float, ...]]] = {best.places[number]: (0.0, best.places)}

        def deviance(place: float) -> float:
            if place not in seen:
                near = min(seen, key=lambda b: (abs(b - place), b))
                start = list(seen[near][1])
                start[number] = place
                found = self.settled(start, best.kept, held=number)
                seen[place] = (max(0.0, best.gain - found.gain), found.places)
            return seen[place][0]

        covariance = self.covariance(best)
        error = float(np.sqrt(covariance[len(best.kept) + number, len(best.kept) + number]))
        around = [self.first, *best.places[:number], *best.places[number + 1 :], self.reach - self.gap]
        lower = max((b for b in around if b < best.places[number]), default=best.places[number])
        upper = min((b for b in around if b > best.places[number]), default=best.places[number])
        ends = [self._end(deviance, best.places[number], limit, error) for limit in (lower, upper)]
        for end, limit in zip(ends, (lower, upper), strict=True):
            far = best.places[number] + _FAR * (end - best.places[number])
            far = max(far, limit) if limit < best.places[number] else min(far, limit)
            for place in np.linspace(best.places[number], far, _CURVE + 1)[1:].tolist():
                deviance(place)
        curve = np.array(sorted((b, d) for b, (d, _) in seen.items()))
        return (ends[0], ends[1]), (curve[:, 0], curve[:, 1])

    def _end(self, deviance: Callable[[float], float], best: float, limit: float, error: float) -> float:
        """Return where the deviance passes the quantile of 95 % between the best place and a limit."""
        sign = 1.0 if limit > best else -1.0
        step = 1.96 * error if np.isfinite(error) and error > 0 else self.width
        inner, outer = best, best
        while deviance(outer) < QUANTILE:
            if abs(outer - limit) <= 1e-12 * self.width:
                return limit
            inner, outer = outer, sign * min(sign * (outer + sign * step), sign * limit)
            step *= 2.0
        return float(brentq(lambda b: deviance(b) - QUANTILE, inner, outer, xtol=1e-4 * self.width, rtol=1e-9))


@dataclass(frozen=True, eq=False)
class Pieces:
    """A kernel in pieces of least misfit for its places and columns."""

    places: tuple[float, ...]
    kept: Kept
    coefficients: Array
    """(k,)"""
    gain: float
    """2 log-likelihood ratio to phi = 0."""
    columns: Array
    """(M, k) values of the kept columns at the nodes."""
    slopes: Array
    """(M, B) derivative of the kernel by the places."""
    uphill: Array
    """(B,) half the derivative of the gain by the places, coefficients at their best."""


def without_contact(values: Array) -> Array:
    """Return values (M, k) at the nodes with 0 at the node 0.

    The force of the hat at 0 falls between the nodes of the mesh, its energy does not: its moment, a dipole of pairs in
    contact, has no counterpart in the Gram, and 26 000 units of log-likelihood can be gained there by nothing at all.
    """
    return np.concatenate([np.zeros_like(values[:1]), values[1:]])


def all_columns(breaks: int, terms: int) -> Kept:
    """Return every term on every piece."""
    return tuple((p, k) for p in range(breaks + 1) for k in range(terms))
