"""Best subset: every model of up to so many terms, ranked by an information criterion; exact, not greedy."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ipsdist.learning.uncertainty import condition, covariance
from ipsdist.model.errors import InputError
from ipsdist.model.fit import Candidate, Fit
from ipsdist.model.normal_equations import NormalEquations

__all__ = ["best_subset"]

Array = npt.NDArray[np.float64]

_MOST_SUBSETS = 200_000
_SINGULAR = 1e-13
"""Share of a column's squared length below which its squared distance from the span of others is rounding."""


def best_subset(
    equations: NormalEquations, diffusion: float, *, criterion: str = "ebic", max_terms: int = 4, keep: int = 5
) -> Fit:
    """Return the best of all models of 0 to ``max_terms`` terms by an information criterion.

    The log-likelihood ratio to the empty model is l = (2 b'z - z'A z) / (2 sigma^2) at z = A_S^-1 b_S (docs/method.md,
    section 4), and the score, smaller is better, with N particles and M terms in the dictionary

        bic   -2 l + |S| ln N
        ebic  -2 l + |S| ln N + 2 ln C(M, |S|)
        2lnN  -2 l + 2 |S| ln N.

    The empty model scores 0; if it wins, the fit has no terms. Everything is done on the scaled Gram (unit diagonal);
    models whose columns are dependent to working precision are passed over. Of equal scores the smaller model wins,
    then the one that comes first in the dictionary.

    Parameters
    ----------
    diffusion : sigma**2, length**2 / time.
    keep : number of runners-up among the alternatives, with their score less that of the best.

    Raises InputError for the strong form (its misfit is no likelihood), an unknown criterion and over 200 000 models.
    """
    terms = len(equations.basis)
    sizes = range(1, min(max_terms, terms) + 1)
    _check(equations, criterion, max_terms, sum(math.comb(terms, k) for k in sizes))
    gram, moment = equations.gram.sum(axis=0), equations.moment.sum(axis=0)
    scale = np.sqrt(np.diag(gram))
    seen = np.flatnonzero(scale > 0)  # a column of zeros says nothing about its coefficient
    units = scale[seen]
    scaled, target = gram[np.ix_(seen, seen)] / np.outer(units, units), moment[seen] / units
    ranked = _Ranking.empty(keep + 1)
    for size in sizes:
        price = _price(criterion, size, terms, equations.particles)
        subsets = np.array(list(itertools.combinations(range(len(seen)), size)), dtype=np.intp).reshape(-1, size)
        gain, values = _solve(scaled, target, subsets)
        ranked = ranked.merged(price - gain / diffusion, seen[subsets], values / units[subsets])
    best, *others = ranked.candidates
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


def _check(equations: NormalEquations, criterion: str, max_terms: int, models: int) -> None:
    if equations.energy is not None:
        raise InputError(
            "fit.selection",
            "best_subset needs a form that is a likelihood",
            f'fit.form = "{equations.form}"',
            'use fit.form = "action", or fit.selection = "two_phase"',
        )
    if criterion not in ("bic", "ebic", "2lnN"):
        raise InputError("fit.criterion", "must be bic, ebic or 2lnN", repr(criterion), "ebic is the usual choice")
    if max_terms < 1:
        raise InputError("fit.max_terms", "must be at least 1", max_terms, "4 is the usual choice")
    if models > _MOST_SUBSETS:
        raise InputError(
            "fit.max_terms",
            f"must leave at most {_MOST_SUBSETS} models to compare",
            f"{models} models of up to {max_terms} of {len(equations.basis)} terms",
            "lower fit.max_terms or shorten dictionary.terms",
        )


def _price(criterion: str, size: int, terms: int, particles: int) -> float:
    if criterion == "2lnN":
        return 2 * size * math.log(particles)
    price = size * math.log(particles)
    return price + 2 * math.log(math.comb(terms, size)) if criterion == "ebic" else price


def _solve(gram: Array, moment: Array, subsets: npt.NDArray[np.intp]) -> tuple[Array, Array]:
    """Return gain b'z (n,) and z (n, k) of n subsets (n, k) of the scaled equations; -inf where A_S is singular.

    One Cholesky factorisation for all subsets of a size, written over columns: element by element, so its bits depend
    on no library and no thread, and its pivots (1 - R^2 of a column on those before it) show which ones are singular.
    """
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
                regular &= rest > _SINGULAR
                rest = np.sqrt(np.where(regular, rest, 1.0))
                lower[:, j, j] = rest
            else:
                lower[:, i, j] = rest / lower[:, j, j]
        known = moment[subsets[:, j]].copy()
        for m in range(j):
            known -= lower[:, j, m] * forward[:, m]
        forward[:, j] = known / lower[:, j, j]
    gain = np.zeros(n)
    z = np.zeros((n, k))
    for j in reversed(range(k)):
        gain += forward[:, j] ** 2  # b'z = |L^-1 b|^2, also equal to 2 b'z - z'A z at the solution
        rest = forward[:, j].copy()
        for i in range(j + 1, k):
            rest -= lower[:, i, j] * z[:, i]
        z[:, j] = rest / lower[:, j, j]
    return np.where(regular, gain, -np.inf), z


@dataclass(frozen=True)
class _Ranking:
    """The best models so far, best first; never more than ``size``."""

    size: int
    candidates: tuple[Candidate, ...]

    @classmethod
    def empty(cls, size: int) -> _Ranking:
        """Start with the model of no terms."""
        return cls(size, (Candidate((), (), 0.0),))

    def merged(self, scores: Array, subsets: npt.NDArray[np.intp], coefficients: Array) -> _Ranking:
        """Add models of one size, later than those here in the order that breaks ties."""
        new = [
            Candidate(tuple(subsets[n].tolist()), tuple(coefficients[n].tolist()), float(scores[n]))
            for n in np.argsort(scores, kind="stable")[: self.size]
            if np.isfinite(scores[n])
        ]
        both = sorted([*self.candidates, *new], key=lambda c: c.score)
        return _Ranking(self.size, tuple(both[: self.size]))
