"""The two phases of [S] (algorithm 1): panels drawn by their error and a threshold find a mask; all panels refit it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ipsdist.learning.lasso import lasso
from ipsdist.learning.panels import PanelSource, Sample, in_units
from ipsdist.learning.uncertainty import condition, covariance
from ipsdist.model.errors import InputError
from ipsdist.model.fit import Candidate, Fit, Iteration
from ipsdist.model.normal_equations import NormalEquations

__all__ = ["two_phase"]

Array = npt.NDArray[np.float64]
Index = npt.NDArray[np.intp]
Mask = npt.NDArray[np.bool_]

_PATIENCE = 5
"""Phase I ends when this many draws in a row have left the mask as it was."""


def two_phase(
    equations: NormalEquations | PanelSource,
    *,
    diffusion: float,
    seed: int,
    alpha: float = 0.3,
    penalty: float = 0.01,
    scale_columns: bool = True,
    sampled_fraction: float = 0.3,
    iterations: int = 50,
    importance: bool = True,
    penalize_refit: bool = False,
    keep: int = 5,
) -> Fit:
    """Return the terms that the two phases keep, refitted on all panels.

    Phase I: coefficients z normal, mask all true; then, with s_k = sqrt(A_kk) over all panels (1 without
    ``scale_columns``), repeat: draw panels with probability proportional to their error at z, without replacement; take
    z from the drawn panels, unweighted, over the unmasked terms; keep those with |z_k s_k| >= alpha max_j |z_j s_j|.
    What is masked stays masked. It ends when 5 draws in a row change nothing, when nothing is left (a penalty near 1)
    or after ``iterations``. Phase II: the mask frozen, z from all panels. z minimises z'Az/2 - b'z plus the L1 penalty,
    which Phase II leaves out unless ``penalize_refit``. The answer is a function of the equations and the seed.

    The penalty does the work that the threshold alone cannot. The columns of a usual dictionary are so nearly collinear
    (condition 3e11 for cubic) that the noise puts the coefficients of plain least squares on the combinations that the
    data hardly see; the threshold then keeps the terms of those. A penalty a little above the noise removes them.

    Of a `PanelSource` only what is drawn is assembled, after a first look at every twentieth panel (20 at least), and
    what is assembled is used: s_k and z come from all panels assembled so far, and the error of any other is
    interpolated between its assembled neighbours. ``sampled`` of the history counts them. Phase II assembles all panels
    over the kept terms alone; condition and runners-up are those of the panels of Phase I. Where those are all, the
    answer is that of whole equations.

    Parameters
    ----------
    diffusion : sigma**2, for the errors of the action and likelihood forms.
    alpha : threshold, in [0, 1].
    penalty : L1 weight on the scaled coefficients, as a share of the smallest weight that leaves no term; in [0, 1].
    penalize_refit : keep the penalty in Phase II, as [S] eq. 21 has it; a single term then shrinks by this share.
    sampled_fraction : share of the panels drawn in each iteration, in (0, 1]; 0.01 does for a `PanelSource`.
    importance : draw by error ([S] eq. 18); False draws evenly.
    keep : number of runners-up: models with one kept term swapped for another, by their misfit over all panels less
        that of the chosen model, divided by ``diffusion`` (for action and likelihood, -2 log-likelihood ratio).

    Raises InputError for a parameter out of its range.
    """
    _check(alpha, penalty, sampled_fraction, iterations)
    sample = Sample.first(equations, scale_columns)
    sample, history = _phase_one(sample, seed, alpha, penalty, sampled_fraction, iterations, importance)
    refit_penalty = penalty if penalize_refit else 0.0
    mask = np.array(history[-1].mask)
    terms = tuple(int(k) for k in np.flatnonzero(mask))
    coefficients, errors = _phase_two(sample, terms, refit_penalty, diffusion)
    return Fit(
        basis=equations.basis,
        terms=terms,
        coefficients=coefficients,
        covariance=errors,
        condition=condition(sample.equations),
        selection="two_phase",
        alternatives=_swapped(sample, mask, refit_penalty, diffusion)[:keep],
        history=tuple(history),
    )


def _check(alpha: float, penalty: float, sampled_fraction: float, iterations: int) -> None:
    if not 0 <= alpha <= 1:
        raise InputError("fit.alpha", "must lie in [0, 1]", alpha, "0.3 on scaled columns is the usual choice")
    if not 0 <= penalty <= 1:
        raise InputError("fit.penalty", "must lie in [0, 1]", penalty, "0.01 is the usual choice; 1 leaves no term")
    if not 0 < sampled_fraction <= 1:
        raise InputError("fit.sampled_fraction", "must lie in (0, 1]", sampled_fraction, "0.3 is the usual choice")
    if iterations < 1:
        raise InputError("fit.iterations", "must be at least 1", iterations, "50 is the usual choice")


def _minimise(total: NormalEquations, mask: Mask, penalty: float) -> Array:
    kept = np.flatnonzero(mask)
    gram, moment = total.gram[0][np.ix_(kept, kept)], total.moment[0][kept]
    z = np.zeros(len(mask))
    z[kept] = lasso(gram, moment, penalty * float(np.abs(moment).max(initial=0.0)))
    return z


def _phase_one(
    sample: Sample,
    seed: int,
    alpha: float,
    penalty: float,
    sampled_fraction: float,
    iterations: int,
    importance: bool,
) -> tuple[Sample, list[Iteration]]:
    random = np.random.Generator(np.random.Philox(seed))
    size = max(1, math.ceil(sampled_fraction * sample.panels))
    z = random.standard_normal(len(sample.scale))
    mask = np.ones(len(z), dtype=np.bool_)
    history: list[Iteration] = []
    unchanged = 0
    while len(history) < iterations and unchanged < _PATIENCE and mask.any():
        errors = sample.errors(z) if importance else np.ones(sample.panels)
        sample, used = sample.draw(_draw(random, errors, size))
        z = _minimise(used.total(), mask, penalty)
        height = np.abs(z)
        # The second condition matters for a penalty that sends all coefficients, and so the threshold, to 0.
        survivors = mask & (height >= alpha * height.max()) & (height > 0)
        unchanged = unchanged + 1 if np.array_equal(survivors, mask) else 0
        mask, z = survivors, np.where(survivors, z, 0.0)
        history.append(
            Iteration(
                mask=tuple(bool(m) for m in mask),
                coefficients=tuple(float(c) for c in z / sample.scale),
                sampled=used.panels,
                loss=sample.loss(z),
            )
        )
    return sample, history


def _draw(random: np.random.Generator, weights: Array, size: int) -> Index:
    """Draw ``size`` different panels, one after the other with probability proportional to weight; return them sorted.

    The smallest of exponential waiting times with these rates are such a draw (panels of weight 0 come last).
    """
    with np.errstate(divide="ignore"):
        waiting = random.exponential(size=len(weights)) / weights
    return np.sort(np.argsort(waiting, kind="stable")[:size])


def _phase_two(sample: Sample, terms: Sequence[int], penalty: float, diffusion: float) -> tuple[Array, Array]:
    """Return the coefficients (k,) of these terms from all panels, and their covariance (k, k)."""
    final, places = sample.all_panels(terms)
    scale = sample.scale if len(final.basis) == len(sample.scale) else sample.scale[list(terms)]
    mask = np.isin(np.arange(len(scale)), places)
    z = _minimise(in_units(final, scale).total(), mask, penalty) / scale
    return z[places], covariance(final, places, z[places], diffusion)


def _swapped(sample: Sample, mask: Mask, penalty: float, diffusion: float) -> tuple[Candidate, ...]:
    """Return the models with one kept term swapped for a dropped one, best first; panels count for those left out."""
    total, share = sample.scaled.total(), len(sample.index) / sample.panels

    def misfit(z: Array) -> float:
        return float(total.misfit(z)[0]) / share / diffusion

    chosen = misfit(_minimise(total, mask, penalty))
    found = []
    for out in np.flatnonzero(mask):
        for into in np.flatnonzero(~mask):
            other = mask.copy()
            other[out], other[into] = False, True
            z = _minimise(total, other, penalty)
            terms = tuple(int(k) for k in np.flatnonzero(other))
            values = tuple(float(c) for c in (z / sample.scale)[list(terms)])
            found.append(Candidate(terms, values, misfit(z) - chosen))
    return tuple(sorted(found, key=lambda c: (c.score, c.terms)))
