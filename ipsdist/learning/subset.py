"""Best subset: every model of up to so many terms, ranked by an information criterion; exact, not greedy."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ipsdist.learning.branch import leading_subsets
from ipsdist.learning.price import Price
from ipsdist.learning.small_systems import SINGULAR, solve_subsets
from ipsdist.learning.uncertainty import condition, covariance
from ipsdist.model.errors import InputError
from ipsdist.model.fit import Candidate, Fit
from ipsdist.model.normal_equations import NormalEquations

__all__ = ["best_subset"]

Array = npt.NDArray[np.float64]

_EACH = 200_000
"""Models up to which each is solved; larger sizes are left to branch and bound."""
_SLACK = 1.0
"""Difference in score by which a bound must fail, for the sake of rounding (`leading_subsets`)."""


def best_subset(
    equations: NormalEquations,
    diffusion: float,
    *,
    criterion: str = "ebic",
    max_terms: int = 4,
    keep: int = 5,
    always: Sequence[int] = (),
) -> Fit:
    """Return the best of all models of 0 to ``max_terms`` terms by an information criterion.

    The log-likelihood ratio to the empty model is l = (2 b'z - z'A z) / (2 sigma^2) at z = A_S^-1 b_S (docs/method.md,
    section 4), and the score, smaller is better, with N particles and M terms in the dictionary

        bic   -2 l + |S| ln N
        ebic  -2 l + |S| ln N + 2 ln C(M, |S|)
        2lnN  -2 l + 2 |S| ln N.

    The empty model scores 0; if it wins, the fit has no terms. Everything is done on the scaled Gram (unit diagonal);
    models whose columns are dependent to working precision are passed over. Of equal scores the smaller model wins,
    then the one that comes first in the dictionary. Up to 200 000 models each is solved, beyond that branch and bound
    finds the same ones.

    Parameters
    ----------
    diffusion : sigma**2, length**2 / time.
    keep : number of runners-up among the alternatives, with their score less that of the best.
    always
        Indices of columns that are in every model, as an unknown sigma**2 is. They are no terms: they count neither in
        |S| nor in M, and the empty model is the one of them alone. The fit and its alternatives have their
        coefficients.

    Raises
    ------
    InputError
        For the strong form (its misfit is no likelihood), an unknown criterion, ``always`` columns that are dependent,
        and where the best are not settled after looking at 1e9 models.
    """
    _check(equations, max_terms)
    system = _reduced(equations, always)
    priced, free = (
        Price.by(criterion, equations.particles, len(equations.basis) - len(system.always)),
        len(system.columns),
    )
    ranked = _Ranking.empty(keep + 1)
    models = looked = 0
    for size in range(1, min(max_terms, free) + 1):
        price = priced(size)
        models += math.comb(free, size)
        if models <= _EACH:
            subsets = np.array(list(itertools.combinations(range(free), size)), dtype=np.intp)
        else:
            subsets, looked = leading_subsets(
                system.gram,
                system.moment,
                size,
                count=keep + 1,
                least=(price - ranked.last) * diffusion,
                slack=_SLACK * diffusion,
                looked=looked,
            )
        gain, values = solve_subsets(system.gram, system.moment, subsets)
        ranked = ranked.merged(price - gain / diffusion, subsets, values)
    best, *others = (system.whole(candidate) for candidate in ranked.candidates)
    coefficients = np.array(best.coefficients, dtype=np.float64)
    return Fit(
        basis=equations.basis,
        terms=best.terms,
        coefficients=coefficients,
        covariance=covariance(equations, best.terms, coefficients, diffusion),
        condition=condition(equations),
        selection="best_subset",
        alternatives=tuple(Candidate(c.terms, c.coefficients, c.score - best.score) for c in others),
    )


def _check(equations: NormalEquations, max_terms: int) -> None:
    if equations.form == "strong":
        raise InputError(
            "fit.selection",
            "best_subset needs a form that is a likelihood",
            f'fit.form = "{equations.form}"',
            'use fit.form = "action", or fit.selection = "two_phase"',
        )
    if max_terms < 1:
        raise InputError("fit.max_terms", "must be at least 1", max_terms, "4 is the usual choice")


@dataclass(frozen=True)
class _Reduced:
    """The scaled equations of the terms once the columns of every model are taken out."""

    always: tuple[int, ...]
    columns: npt.NDArray[np.intp]
    """Indices of the m terms that are not zero."""
    gram: Array
    """(m, m) Schur complement; the unit Gram where no column is in every model."""
    moment: Array
    """(m,)"""
    units: Array
    """(M,) lengths of the columns."""
    rows: tuple[tuple[Array, float], ...]
    """What gives the coefficients z (M,), scaled, of the columns taken out, in turn: row'z = value, diagonal 1."""

    def whole(self, candidate: Candidate) -> Candidate:
        """Return a model of the scaled terms as one of the whole basis, in its units."""
        z = dict(zip(self.columns[list(candidate.terms)].tolist(), candidate.coefficients, strict=True))
        for index, (row, value) in reversed(list(zip(self.always, self.rows, strict=True))):
            z[index] = value - math.fsum(float(row[k]) * z[k] for k in sorted(z))
        terms = sorted(z)
        return Candidate(tuple(terms), tuple(z[k] / float(self.units[k]) for k in terms), candidate.score)


def _reduced(equations: NormalEquations, always: Sequence[int]) -> _Reduced:
    """Scale the equations of all panels to a unit diagonal and take out the columns of every model, one by one."""
    gram, moment = equations.gram.sum(axis=0), equations.moment.sum(axis=0)
    units, base = np.sqrt(np.diag(gram)), tuple(sorted(set(always)))
    if base and not 0 <= base[0] <= base[-1] < len(units):
        raise ValueError(f"`always` must be indices of the {len(units)} columns; got {tuple(always)}")
    seen = units > 0  # a column of zeros says nothing about its coefficient
    safe = np.where(seen, units, 1.0)
    rest, known = gram / np.outer(safe, safe), moment / safe
    rows = []
    for index in base:
        pivot = float(rest[index, index])
        if not pivot > SINGULAR:
            got = f"{equations.basis[index]}, which is 0 or a combination of the others"
            raise InputError("always", "must be columns that the equations determine", got, "leave it out")
        column, forward = rest[index] / math.sqrt(pivot), float(known[index]) / math.sqrt(pivot)
        rows.append((column / math.sqrt(pivot), forward / math.sqrt(pivot)))
        rest, known = rest - column[:, None] * column, known - column * forward
    columns = np.array([k for k in np.flatnonzero(seen) if k not in base], dtype=np.intp)
    return _Reduced(base, columns, rest[np.ix_(columns, columns)], known[columns], units, tuple(rows))


@dataclass(frozen=True)
class _Ranking:
    """The best models so far, best first; never more than ``size``."""

    size: int
    candidates: tuple[Candidate, ...]

    @classmethod
    def empty(cls, size: int) -> _Ranking:
        """Start with the model of no terms."""
        return cls(size, (Candidate((), (), 0.0),))

    @property
    def last(self) -> float:
        """Score that a newcomer must not exceed."""
        return self.candidates[-1].score if len(self.candidates) == self.size else math.inf

    def merged(self, scores: Array, subsets: npt.NDArray[np.intp], coefficients: Array) -> _Ranking:
        """Add models of one size, later than those here in the order that breaks ties."""
        new = [
            Candidate(tuple(subsets[n].tolist()), tuple(coefficients[n].tolist()), float(scores[n]))
            for n in np.argsort(scores, kind="stable")[: self.size]
            if np.isfinite(scores[n])
        ]
        both = sorted([*self.candidates, *new], key=lambda c: c.score)
        return _Ranking(self.size, tuple(both[: self.size]))
