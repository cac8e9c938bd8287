"""Few snapshots: the best subset and the prediction that its time integrals need, in turn until both stand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from ipsdist.learning.subset import best_subset
from ipsdist.learning.uncertainty import condition, covariance, inverse_gram
from ipsdist.model.errors import RunError
from ipsdist.model.fit import Fit
from ipsdist.model.normal_equations import NormalEquations

__all__ = ["FewSnapshots", "fit_few_snapshots"]

_STANDS = 0.1
"""Largest move of a coefficient, in standard errors, of a model that stands."""
_SINGULAR = 1e-13
"""Smallest eigenvalue of the scaled Gram matrix of a model that is not rounding."""
_TRIALS = 3
"""Models of one size that are predicted."""
_RANKED = 500
"""Models among which one is looked up by its score; those further down count as hopeless."""


@dataclass(frozen=True)
class FewSnapshots:
    """The answer of `fit_few_snapshots` and how it was reached."""

    fit: Fit
    equations: NormalEquations
    """The equations that ``fit`` solves: those of the last prediction."""
    trail: tuple[Fit, ...]
    """The models that were predicted, in turn, each as it came to stand."""
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
    """Return the smallest model that is the best under the equations that its own prediction leads to.

    Equations without a good prediction favour large models that fit the errors of the time rule, and a large model's
    prediction may bear it out. So models grow: a model of one term is predicted and refitted until it stands; if it is
    then also the best of up to ``max_terms`` terms, it is the answer, else the next best of its size has its turn. Of
    the three that do, the one that is least behind the best leads on to models of two terms, and so on. If none
    reproduces itself, the one that is least behind is returned as not settled.

    Parameters
    ----------
    start
        The action form's equations by a plain rule: they only say which model of one term is tried first.
    predict
        From a fit to the equations with the integrals of its mean-field density
        (numerics/equations/control_variate.py). Costs a solution of the mean-field equation; called two to ten times,
        a hundred at worst. May raise RunError where a kernel has none that can be computed; that model is passed over.
    diffusion
        sigma**2, length**2 / time.
    iterations
        Most predictions of one model.

    Raises
    ------
    InputError
        As `best_subset`.
    RunError
        No model of one term can be solved forward.
    """
    search = partial(best_subset, diffusion=diffusion, criterion=criterion, keep=_RANKED)
    around, trials = start, list[_Trial]()
    tried: set[tuple[int, ...]] = set()
    failure = RunError("no model of one term has a mean-field prediction")
    for size in range(1, min(max_terms, len(start.basis)) + 1):
        here: list[_Trial] = []
        for _ in range(_TRIALS):
            terms = _untried(search(around, max_terms=size), size, tried)
            if terms is None:
                break
            tried.add(terms)
            try:
                fit, equations, stands = _iterate(_refit(around, terms, diffusion), predict, diffusion, iterations)
            except RunError as error:
                failure = error
                continue
            here.append(_Trial(fit, equations, _lag(search(equations, max_terms=max_terms), terms), stands))
            around = equations
            if stands and here[-1].lag == 0.0:
                answer = best_subset(equations, diffusion, criterion=criterion, max_terms=max_terms)
                trail = (*(t.fit for t in (*trials, *here[:-1])), answer)
                return FewSnapshots(answer, equations, trail, True)
        trials += here
        if not any(t.stands for t in here):
            break  # larger models would only be wilder
        around = min(here, key=lambda t: t.lag).equations
    if not trials:
        raise failure
    nearest = min(trials, key=lambda t: t.lag)
    return FewSnapshots(nearest.fit, nearest.equations, tuple(t.fit for t in trials), False)


@dataclass(frozen=True)
class _Trial:
    """A model that was predicted and refitted."""

    fit: Fit
    equations: NormalEquations
    lag: float
    """Its score less that of the best model under its own equations; infinite far down."""
    stands: bool


def _untried(ranked: Fit, size: int, tried: set[tuple[int, ...]]) -> tuple[int, ...] | None:
    """Return the best model of this size that was not tried; at one term, that of none where it is the very best."""
    models = [ranked.terms, *(c.terms for c in ranked.alternatives)]
    wanted = [t for t in models if len(t) == size or (size == 1 and not t and t == ranked.terms)]
    return next((t for t in wanted if t not in tried), None)


def _lag(best: Fit, terms: tuple[int, ...]) -> float:
    if best.terms == terms:
        return 0.0
    return next((c.score for c in best.alternatives if c.terms == terms), np.inf)


def _iterate(
    fit: Fit, predict: Callable[[Fit], NormalEquations], diffusion: float, most: int
) -> tuple[Fit, NormalEquations, bool]:
    """Predict and refit one model in turn; return it with its last equations, and whether it came to stand."""
    for _ in range(most):
        equations = predict(fit)
        before, fit = fit, _refit(equations, fit.terms, diffusion)
        if (np.abs(fit.coefficients - before.coefficients) <= _STANDS * fit.standard_errors).all():
            return fit, equations, True
    return fit, equations, False


def _refit(equations: NormalEquations, terms: tuple[int, ...], diffusion: float) -> Fit:
    """Return the least squares of one model. Raises RunError where the equations do not tell its terms apart."""
    kept = list(terms)
    total = equations.total()
    scale = np.sqrt(np.maximum(np.diag(total.gram[0])[kept], 0.0))
    if kept and not (
        scale.min() > 0
        and np.linalg.eigvalsh(total.gram[0][np.ix_(kept, kept)] / np.outer(scale, scale))[0] > _SINGULAR
    ):
        raise RunError("the slices cannot tell apart " + ", ".join(equations.basis[k] for k in kept))
    coefficients = inverse_gram(total.gram[0][np.ix_(kept, kept)]) @ total.moment[0][kept]
    spread = covariance(total, terms, coefficients, diffusion)
    return Fit(equations.basis, terms, coefficients, spread, condition(equations), "best_subset")
