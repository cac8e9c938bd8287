"""Break points: the pieces of a kernel, their number and their places, from equations over hats (docs/method.md, 7)."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from ipsdist.learning.columns import best_columns, scaled
from ipsdist.learning.insertion import Insertion
from ipsdist.learning.pieces import HatSystem, Kept, Pieces, all_columns
from ipsdist.learning.price import Price
from ipsdist.learning.smoothness import smooth_score
from ipsdist.model.dictionary import Dictionary
from ipsdist.model.normal_equations import NormalEquations
from ipsdist.model.radial_basis import RadialBasis

__all__ = ["BreakFit", "Runner", "break_points", "pieces_fit"]

Array = npt.NDArray[np.float64]

_TURNS = 6
"""Turns of places and columns, each for given others; two or three settle both."""
_RUNNERS = 4
"""Runners-up that are kept, besides the best of every number of break points."""
_BETTER = 0.01
"""Difference in score for which a kernel is exchanged for another."""
_ROUGH, _SETTLED = 1e-3, 1e-8
"""Gain of a turn after which places are settled, while kernels are weighed and at last."""
_FAR = 60.0
"""Difference in score beyond which a number of break points is not pursued: more than a few columns too many cost."""
_FEW = 6
"""Candidates up to which every subset of them is tried."""


@dataclass(frozen=True)
class Runner:
    """Another kernel that was weighed; its score less that of the chosen one."""

    places: tuple[float, ...]
    kept: Kept
    coefficients: tuple[float, ...]
    score: float


@dataclass(frozen=True, eq=False)
class BreakFit:
    """A kernel in pieces: piece p holds places[p - 1] < r <= places[p], the last one everything beyond."""

    places: Array
    """(B,) increasing break points (length)."""
    intervals: Array
    """(B, 2) 95 % intervals of the places, from the profile misfit."""
    names: tuple[str, ...]
    """(K,) names of the terms that every piece may have."""
    kept: Kept
    """(piece, term) of the kept columns, increasing."""
    coefficients: Array
    """(k,)"""
    covariance: Array
    """(k, k), the places' uncertainty included where they were sought."""
    score: float
    """-2 log-likelihood ratio to phi = 0 plus a price for every coefficient and every place."""
    alternatives: tuple[Runner, ...] = ()
    """Kernels with other terms, and the best of the other numbers of break points, best first."""
    smooth: tuple[int, float] | None = None
    """Coefficients of the best smooth kernel, a cubic spline, and its score less this one; None for given places."""
    curves: tuple[tuple[Array, Array], ...] = ()
    """For every break point, places and the misfit there in units of sigma^2 less the least, all else free."""

    def values(self, piece: int) -> dict[str, tuple[float, float]]:
        """Return the terms of a piece: name to (coefficient, standard error)."""
        errors = np.sqrt(np.diag(self.covariance))
        rows = zip(self.kept, self.coefficients, errors, strict=True)
        return {self.names[k]: (float(z), float(e)) for (p, k), z, e in rows if p == piece}


def break_points(
    equations: NormalEquations,
    basis: RadialBasis,
    terms: Dictionary,
    diffusion: float,
    *,
    criterion: str = "ebic",
    max_breaks: int = 4,
    resolution: float = 0.0,
) -> BreakFit:
    """Return the kernel in pieces of the best score, told neither how many break points there are nor where.

    The misfit of the best kernel in pieces is a function of the break points alone. For every number of them up to
    ``max_breaks`` it is minimised from a search over nodes (one and two: all there are; more: one put in at a time,
    then each moved) with all terms on all pieces; then columns are dropped by the criterion and places found anew with
    those left, in turn. The score adds to -2 l, with k coefficients and B places among C nodes, N particles

        bic   (k + B) ln N
        ebic  (k + B) ln N + 2 ln C(K (B + 1), k) + 2 ln C(C, B)
        2lnN  2 (k + B) ln N.

    Parameters
    ----------
    equations : action or likelihood form over the hats ``basis`` (degree 1, even knots).
    terms : what every piece may have.
    diffusion : sigma**2, length**2 / time.
    resolution
        Least distance of two break points (length), two widths of a hat at the least: of pieces through which pairs
        pass between two slices, the time integrals are noise that the likelihood knows nothing of.

    Raises
    ------
    InputError
        For an unknown criterion.
    """
    system, price = _begun(equations, basis, terms, diffusion, criterion, resolution)
    found = _of_every_number(system, price, max_breaks)
    least = min(f.score for f in found)
    found = [_improved(system, f, price) if f.score < least + _FAR else f for f in found]
    best = min(found, key=lambda f: f.score)
    best = _scored(system, best.pieces.places, best.pieces.kept, price, enough=_SETTLED)
    others = [f for f in found if len(f.pieces.places) != len(best.pieces.places)]
    answer = _finished(system, best, [*_neighbours(system, best, price), *others], sought=True)
    return replace(answer, smooth=smooth_score(system, price, best.score))


def pieces_fit(
    equations: NormalEquations,
    basis: RadialBasis,
    terms: Dictionary,
    places: Sequence[float],
    diffusion: float,
    *,
    criterion: str = "ebic",
    resolution: float = 0.0,
) -> BreakFit:
    """Regress on the pieces between given candidate places; spurious terms are dropped, equal neighbours merged.

    Of all subsets of the candidates (more than six: the least useful left out in turn) and of the terms on the pieces
    that they leave, the best score counts, with prices as in `break_points`: where neighbours have the same law the
    break between them is not worth its price. Kept candidates stay where they are, and their intervals are the points
    themselves. Candidates nearer to each other than `break_points` puts them, or nearer to 0 or the largest distance,
    are passed over.

    Raises InputError for an unknown criterion.
    """
    system, price = _begun(equations, basis, terms, diffusion, criterion, resolution)
    apart: list[float] = []
    for b in sorted(float(b) for b in places):
        if system.first <= b <= system.reach - system.gap and (not apart or b - apart[-1] >= system.gap):
            apart.append(b)
    now = _best_columns(system, tuple(apart), price)
    found = [now]
    if len(apart) <= _FEW:
        subsets = [s for n in range(len(apart)) for s in itertools.combinations(apart, n)]
        found += [_best_columns(system, s, price) for s in subsets]
    else:
        while now.pieces.places:
            rest = [tuple(b for b in now.pieces.places if b != out) for out in now.pieces.places]
            now = min((_best_columns(system, s, price) for s in rest), key=lambda f: f.score)
            found.append(now)
    best = min(found, key=lambda f: (f.score, len(f.pieces.places)))
    return _finished(system, best, found, sought=False)


@dataclass(frozen=True, eq=False)
class _Scored:
    pieces: Pieces
    score: float


def _begun(
    equations: NormalEquations,
    basis: RadialBasis,
    terms: Dictionary,
    diffusion: float,
    criterion: str,
    resolution: float,
) -> tuple[HatSystem, Price]:
    system = HatSystem.of(equations, basis, terms, diffusion, resolution)
    return system, Price.by(criterion, equations.particles, len(terms), round(system.reach / system.width))


def _of_every_number(system: HatSystem, price: Price, most: int) -> list[_Scored]:
    """Return a good kernel for 0, 1, ... break points: breaks are put in one by one, then taken out of the larger."""
    search = Insertion(system)
    nodes: tuple[int, ...] = ()
    found = [_best_columns(system, (), price)]
    for breaks in range(1, most + 1):
        nodes = search.places(breaks, nodes)
        if len(nodes) < breaks:
            break
        starts = [tuple(float(system.nodes[m]) for m in nodes)]
        further = search.added(found[-1].pieces)
        if further is not None:
            starts.append(further)
        found.append(_best_of([_alternated(system, start, price) for start in starts]))
    for breaks in reversed(range(1, len(found) - 1)):
        more = found[breaks + 1]
        if more.score < found[breaks].score + _FAR:
            fewer = [tuple(b for b in more.pieces.places if b != out) for out in more.pieces.places]
            found[breaks] = _best_of([found[breaks], *(_alternated(system, start, price) for start in fewer)])
    return found


def _best_of(found: list[_Scored]) -> _Scored:
    return min(found, key=lambda f: f.score)


def _alternated(system: HatSystem, places: tuple[float, ...], price: Price) -> _Scored:
    """Settle places and columns in turn, beginning with every column."""
    pieces = system.settled(places, all_columns(len(places), len(system.terms)), enough=_ROUGH)
    now = _best_columns(system, pieces.places, price)
    for _ in range(_TURNS):
        pieces = system.settled(now.pieces.places, now.pieces.kept, enough=_ROUGH)
        again = _best_columns(system, pieces.places, price)
        if again.pieces.kept == now.pieces.kept:
            break
        now = again
    return _scored(system, now.pieces.places, now.pieces.kept, price)


def _scored(system: HatSystem, places: tuple[float, ...], kept: Kept, price: Price, enough: float = _ROUGH) -> _Scored:
    """Settle the places of some columns."""
    pieces = system.settled(places, kept, enough=enough)
    return _Scored(pieces, price(len(kept), len(places)) - pieces.gain)


def _improved(system: HatSystem, now: _Scored, price: Price) -> _Scored:
    """Change one column and settle the places anew, as long as that lowers the score.

    At places that were settled with a spurious slope it may look needed: the two must give way together.
    """
    while True:
        best = min(_neighbours(system, now, price), key=lambda f: f.score)
        if not best.score < now.score - _BETTER:
            return now
        now = best


def _neighbours(system: HatSystem, now: _Scored, price: Price) -> list[_Scored]:
    """Return the kernels with one column less, one more, or one for another of the same piece."""
    places, kept = now.pieces.places, now.pieces.kept
    every = all_columns(len(places), len(system.terms))
    fewer = [kept[:n] + kept[n + 1 :] for n in range(len(kept))]
    free = [column for column in every if column not in kept]
    more = [tuple(sorted((*kept, column))) for column in free]
    others = [
        tuple(sorted((*rest, column)))
        for rest, (p, _) in zip(fewer, kept, strict=True)
        for column in free
        if column[0] == p
    ]
    return [_scored(system, places, some, price) for some in (*fewer, *more, *others)]


def _best_columns(system: HatSystem, places: tuple[float, ...], price: Price) -> _Scored:
    """Return the columns of the best score for places that stand."""
    every = all_columns(len(places), len(system.terms))
    columns = system.columns(places, every)
    gram, moment = scaled(columns.T @ system.gram @ columns, columns.T @ system.moment)
    seen = np.flatnonzero(np.diag(gram) > 0)
    prices = [price(k, len(places)) for k in range(len(seen) + 1)]
    chosen, score = best_columns(gram[np.ix_(seen, seen)], moment[seen], prices)
    return _Scored(system.solve(places, tuple(every[seen[n]] for n in chosen)), score)


def _finished(system: HatSystem, best: _Scored, others: list[_Scored], *, sought: bool) -> BreakFit:
    """Add errors, intervals and runners-up to the chosen kernel."""
    pieces = best.pieces
    k, places = len(pieces.kept), np.array(pieces.places)
    covered = system.covariance(pieces, sought=sought)
    profiles = [system.profile(pieces, n) for n in range(len(places))] if sought else []
    intervals = [interval for interval, _ in profiles] if sought else [(b, b) for b in pieces.places]
    rivals = sorted((f for f in others if not _idle(f.pieces)), key=lambda f: f.score)
    runners = [
        Runner(f.pieces.places, f.pieces.kept, tuple(f.pieces.coefficients.tolist()), f.score - best.score)
        for n, f in enumerate(rivals)
        if n < _RUNNERS or len(f.pieces.places) not in {len(g.pieces.places) for g in (best, *rivals[:n])}
    ]
    return BreakFit(
        places=places,
        intervals=np.array(intervals).reshape(-1, 2),
        names=system.terms.names,
        kept=pieces.kept,
        coefficients=pieces.coefficients,
        covariance=covered[:k, :k],
        score=best.score,
        alternatives=tuple(runners),
        curves=tuple(curve for _, curve in profiles),
    )


def _idle(pieces: Pieces) -> bool:
    """Tell whether a break point stands between two pieces without a term."""
    used = {p for p, _ in pieces.kept}
    return any(p not in used and p + 1 not in used for p in range(len(pieces.places)))
