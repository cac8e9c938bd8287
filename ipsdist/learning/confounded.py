"""Confounded terms: names that the data cannot tell apart, because models that exchange them fit as well."""

from __future__ import annotations

import itertools
import operator
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial, reduce

import numpy as np

from ipsdist.learning.subset import best_subset
from ipsdist.model.fit import Fit
from ipsdist.model.normal_equations import NormalEquations

__all__ = ["EVIDENCE", "alike_but_for_chance", "confounded"]

EVIDENCE = 6.0
"""Difference in score up to which models are as good as the best: odds of 20 to 1 where the score is a BIC."""

_CHANCE = 30.0
"""N (1 - R^2) of two columns below which chance makes their difference: of phi = r and V = x**2/2, which differ by the
mean of the data, it is about two squares of standard normal numbers, and above 30 in one sample of ten thousand."""
_SMALL = 1e-10
"""Share of a column's squared length that counts as rounding."""
_FIRST = 100
_MOST = 400
"""Models that are compared, first and at most: where more are as good, a few hundred exchange everything."""


def confounded(
    fit: Fit,
    equations: NormalEquations,
    diffusion: float,
    *,
    criterion: str,
    max_terms: int,
    evidence: float = EVIDENCE,
    always: Sequence[int] = (),
) -> tuple[tuple[str, ...], ...]:
    """Return groups of names that these data cannot tell apart.

    As good as the fit are the models within ``evidence`` of the best by the criterion (`best_subset`), on the equations
    and on those with the moment A z that the fit predicts: without the noise, which may have favoured it. Of the fit
    and these models any two exchange terms if neither has all terms of the other; the terms that they do not share are
    a group, and groups with a name in common merge, though not by an exchange that is two others at once. So phi = r
    and V = x**2/2 are one where either will do; and where a further term would do, but one of several, these are one
    although the fit has none of them. A model with terms more or less is no exchange: whether a term is there at all,
    its standard error tells.

    Parameters
    ----------
    diffusion : sigma**2, length**2 / time.
    criterion, max_terms, always : as in `best_subset`; columns in ``always`` are in no group.
    evidence : difference in score; above 2 it is commonly called positive evidence, above 6 strong, above 10 very.

    Returns
    -------
    Groups of two names or more, in the order of the basis, as the groups are by their first names.

    Raises
    ------
    InputError
        As `best_subset`.
    """
    search = partial(best_subset, diffusion=diffusion, criterion=criterion, max_terms=max_terms, always=always)
    close = [fit.terms, *_close(search, equations, evidence), *_close(search, _predicted(equations, fit), evidence)]
    indices = range(len(equations.basis))
    free = sum(1 << k for k in indices if k not in set(always))
    models = dict.fromkeys(sum(1 << k for k in terms) & free for terms in close)
    pairs = itertools.combinations(models, 2)
    groups = _groups({one ^ other for one, other in pairs if one & ~other and other & ~one})
    found = sorted(tuple(k for k in indices if group >> k & 1) for group in groups)
    return tuple(tuple(equations.basis[k] for k in group) for group in found)


def _groups(exchanges: set[int]) -> list[int]:
    """Merge exchanges (bits of names) that share a name; one that is several at once joins none."""
    groups: list[int] = []
    for apart in sorted(exchanges, key=lambda exchange: (exchange.bit_count(), exchange)):
        parts = [apart & group for group in groups if apart & group]
        if sum(parts) != apart or not exchanges.issuperset(parts):
            joined = reduce(operator.or_, (group for group in groups if group & apart), apart)
            groups = [*(group for group in groups if not group & apart), joined]
    return groups


def _predicted(equations: NormalEquations, fit: Fit) -> NormalEquations:
    """Return the equations with the moment that the fit predicts, as one panel."""
    total = equations.total()
    kept = list(fit.terms)
    return replace(total, moment=(total.gram[:, :, kept] * fit.coefficients).sum(axis=2))


def _close(search: Callable[..., Fit], equations: NormalEquations, evidence: float) -> list[tuple[int, ...]]:
    """Return the terms of the models within ``evidence`` of the best, best first."""
    best = search(equations, keep=_FIRST)
    if best.alternatives and best.alternatives[-1].score <= evidence:
        best = search(equations, keep=_MOST)
    return [best.terms, *(c.terms for c in best.alternatives if c.score <= evidence)]


def alike_but_for_chance(fit: Fit, equations: NormalEquations) -> tuple[tuple[str, str], ...]:
    """Return the pairs (kept, other) of columns that only the fluctuations of N particles tell apart.

    With the other kept columns free, 1 - R^2 of two columns that the law of the particles makes equal (phi = r and
    V = x**2/2 of a symmetric law) is of order 1 / N, and a sample that happens to be off centre may favour one
    strongly. Another sample need not: such a pair is no discovery, whatever its score.
    """
    gram = equations.gram.sum(axis=0)
    scale = np.sqrt(np.where(np.diag(gram) > 0, np.diag(gram), 1.0))
    gram = gram / np.outer(scale, scale)
    pairs = []
    for kept in fit.terms:
        others = [k for k in fit.terms if k != kept]
        rest = [k for k in range(len(gram)) if k not in others]
        moved = np.linalg.pinv(gram[np.ix_(others, others)], rcond=_SMALL, hermitian=True) @ gram[np.ix_(others, rest)]
        free = dict(zip(rest, (gram[np.ix_(rest, rest)] - gram[np.ix_(rest, others)] @ moved), strict=True))
        place = rest.index(kept)
        for at, other in enumerate(rest):
            own = free[kept][place] * free[other][at]
            if other in fit.terms or not free[other][at] > _SMALL:
                continue
            if equations.particles * (1.0 - free[kept][at] ** 2 / own) < _CHANCE:
                pairs.append((equations.basis[kept], equations.basis[other]))
    return tuple(pairs)
