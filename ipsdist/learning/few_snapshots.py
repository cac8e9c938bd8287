"""Few snapshots: the best subset and the prediction that its time integrals need, in turn until both stand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from ipsdist.learning.subset import best_subset
from ipsdist.model.errors import RunError
from ipsdist.model.fit import Fit
from ipsdist.model.normal_equations import NormalEquations

__all__ = ["FewSnapshots", "fit_few_snapshots"]

_STANDS = 0.1
"""Largest move of a coefficient, in standard errors, of an answer that stands."""


@dataclass(frozen=True)
class FewSnapshots:
    """The answer of `fit_few_snapshots` and how it was reached."""

    fit: Fit
    equations: NormalEquations
    """The equations that ``fit`` solves: those of the last prediction."""
    trail: tuple[Fit, ...]
    """The fits in turn, from the one before any prediction to ``fit``."""
    settled: bool
    """Whether the answer reproduces itself: solved forward, it leads to equations whose best model it is."""


def fit_few_snapshots(
    start: NormalEquations,
    predict: Callable[[Fit], NormalEquations],
    diffusion: float,
    *,
    criterion: str = "ebic",
    max_terms: int = 4,
    iterations: int = 8,
) -> FewSnapshots:
    """Return the model that stands when its own prediction carries the equations between the snapshots.

    Several models may reproduce themselves, for a large one bends the prediction to its own errors. So models grow: the
    best of one term is iterated until it stands, then the best of two, and so on; the first that is also the best of
    up to ``max_terms`` terms, under the equations that it predicts, is the answer. Where a size goes round in circles,
    the mean of its last two sets of equations is taken, which is the mean of the two predictions. A model of two or more
    terms that does not stand even so is returned as not settled: larger ones would only be wilder.

    Parameters
    ----------
    start
        The action form's equations by a plain rule: only the best model of one term is taken from them.
    predict
        From a fit to the equations with the integrals of its mean-field density
        (numerics/equations/control_variate.py). Costs a solution of the mean-field equation; called three to ten times.
        May raise RunError where a kernel has none that can be computed.
    diffusion
        sigma**2, length**2 / time.
    iterations
        Most predictions of one size.

    Raises
    ------
    InputError
        As `best_subset`.
    RunError
        Not even the first model can be solved forward.
    """

    def best(equations: NormalEquations, size: int) -> Fit:
        return best_subset(equations, diffusion, criterion=criterion, max_terms=size)

    equations, trail, stands = start, [best(start, 1)], False
    for size in range(1, min(max_terms, len(start.basis)) + 1):
        if size > 1:
            trail.append(best(equations, size))
        try:
            equations, stands = _iterate(trail, partial(best, size=size), predict, iterations)
        except RunError:
            if size == 1:
                raise
            return FewSnapshots(trail[-1], equations, tuple(trail), False)
        answer = best(equations, max_terms)
        if answer.terms == trail[-1].terms:
            trail[-1] = answer  # the same model, with the runners-up of all sizes
            return FewSnapshots(answer, equations, tuple(trail), stands)
        if size > 1 and not stands:
            break
    return FewSnapshots(trail[-1], equations, tuple(trail), False)


def _iterate(
    trail: list[Fit], best: Callable[[NormalEquations], Fit], predict: Callable[[Fit], NormalEquations], most: int
) -> tuple[NormalEquations, bool]:
    """Predict and fit in turn from the last fit of the trail on, and add to it; tell whether it stands."""
    seen = {trail[-1].terms}
    equations = predict(trail[-1])
    for turn in range(most):
        before, after = trail[-1], best(equations)
        trail.append(after)
        if _same(before, after):
            return equations, True
        if turn + 1 < most:
            circle = after.terms in seen and after.terms != before.terms
            seen.add(after.terms)
            following = predict(after)
            equations = _mean(equations, following) if circle else following
    return equations, False


def _same(one: Fit, other: Fit) -> bool:
    if one.terms != other.terms:
        return False
    return bool((np.abs(one.coefficients - other.coefficients) <= _STANDS * other.standard_errors).all())


def _mean(one: NormalEquations, other: NormalEquations) -> NormalEquations:
    """Return the equations half-way, which are those of the mean of two predictions: both are linear in them."""
    return replace(other, gram=0.5 * (one.gram + other.gram), moment=0.5 * (one.moment + other.moment))
