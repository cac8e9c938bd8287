"""The two phases of [S] (algorithm 1): panels drawn by their error and a threshold find a mask; all panels refit it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ipsdist.learning.lasso import lasso
from ipsdist.learning.uncertainty import condition, covariance
from ipsdist.model.errors import InputError
from ipsdist.model.fit import Candidate, Fit, Iteration
from ipsdist.model.normal_equations import NormalEquations

__all__ = ["two_phase"]

Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

_PATIENCE = 5
"""Phase I ends when this many draws in a row have left the mask as it was."""
_RIDGE = 1e-10
"""Share of the mean diagonal that regularises A_n in the score of a panel."""


def two_phase(
    equations: NormalEquations,
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

    Parameters
    ----------
    diffusion : sigma**2, for the errors of the action and likelihood forms.
    alpha : threshold, in [0, 1].
    penalty : L1 weight on the scaled coefficients, as a share of the smallest weight that leaves no term; in [0, 1].
    penalize_refit : keep the penalty in Phase II, as [S] eq. 21 has it; a single term then shrinks by this share.
    sampled_fraction : share of the panels drawn in each iteration, in (0, 1].
    importance : draw by error ([S] eq. 18); False draws evenly.
    keep : number of runners-up: models with one kept term swapped for another, by their misfit over all panels less
        that of the chosen model, divided by ``diffusion`` (for action and likelihood, -2 log-likelihood ratio).

    Raises InputError for a parameter out of its range.
    """
    _check(alpha, penalty, sampled_fraction, iterations)
    scaled = _Scaled.of(equations, penalty, scale_columns, penalize_refit)
    history = _phase_one(scaled, seed, alpha, sampled_fraction, iterations, importance)
    mask = np.array(history[-1].mask)
    terms = tuple(int(k) for k in np.flatnonzero(mask))
    coefficients = (scaled.refit(mask) / scaled.scale)[list(terms)]
    return Fit(
        basis=equations.basis,
        terms=terms,
        coefficients=coefficients,
        covariance=covariance(equations, terms, coefficients, diffusion),
        condition=condition(equations),
        selection="two_phase",
        alternatives=_swapped(scaled, mask, diffusion)[:keep],
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


@dataclass(frozen=True)
class _Scaled:
    """The equations in the units in which coefficients are penalised and compared with the threshold."""

    equations: NormalEquations
    scale: Array
    """(M,) scaled coefficient = scale * coefficient."""
    penalty: float
    refit_penalty: float

    @classmethod
    def of(cls, equations: NormalEquations, penalty: float, scale_columns: bool, penalize_refit: bool) -> _Scaled:
        """Scale every column to unit norm over all panels (a column of zeros keeps its own)."""
        scale = np.ones(len(equations.basis))
        if scale_columns:
            norm = np.sqrt(np.diag(equations.gram.sum(axis=0)))
            scale = np.where(norm > 0, norm, 1.0)
        scaled = equations.change_basis(np.diag(1 / scale), equations.basis)
        return cls(scaled, scale, penalty, penalty if penalize_refit else 0.0)

    def solve(self, panels: npt.NDArray[np.intp], mask: Mask) -> Array:
        """Return the scaled coefficients (M,) of Phase I from the panels of these indices; masked ones are 0."""
        return _minimise(self.equations.take(panels).total(), mask, self.penalty)

    def refit(self, mask: Mask) -> Array:
        """Return the scaled coefficients (M,) of Phase II from all panels; masked ones are 0."""
        return _minimise(self.equations.total(), mask, self.refit_penalty)

    def errors(self, z: Array) -> Array:
        """Return the error of every panel at z (P,), at least 0, in the units of the form.

        The misfit where the form has an energy; else the score |b_n - A_n z|^2 in the norm of the regularised A_n^-1
        (docs/method.md, section 4).
        """
        if self.equations.energy is not None:
            return np.maximum(self.equations.misfit(z), 0.0)
        gram, m = self.equations.gram, len(z)
        score = self.equations.moment - np.einsum("nkl,l->nk", gram, z)
        level = _RIDGE * np.trace(gram, axis1=1, axis2=2) / m
        regular = gram + np.where(level > 0, level, 1.0)[:, None, None] * np.eye(m)
        whitened = np.linalg.solve(regular, score[..., None])[..., 0]
        return np.asarray(np.maximum(np.einsum("nk,nk->n", score, whitened), 0.0))


def _minimise(total: NormalEquations, mask: Mask, penalty: float) -> Array:
    kept = np.flatnonzero(mask)
    gram, moment = total.gram[0][np.ix_(kept, kept)], total.moment[0][kept]
    z = np.zeros(len(mask))
    z[kept] = lasso(gram, moment, penalty * float(np.abs(moment).max(initial=0.0)))
    return z


def _phase_one(
    scaled: _Scaled, seed: int, alpha: float, sampled_fraction: float, iterations: int, importance: bool
) -> list[Iteration]:
    random = np.random.Generator(np.random.Philox(seed))
    panels = scaled.equations.panels
    size = max(1, math.ceil(sampled_fraction * panels))
    z = random.standard_normal(len(scaled.scale))
    mask = np.ones(len(z), dtype=np.bool_)
    history: list[Iteration] = []
    unchanged = 0
    while len(history) < iterations and unchanged < _PATIENCE and mask.any():
        errors = scaled.errors(z) if importance else np.ones(panels)
        z = scaled.solve(_draw(random, errors, size), mask)
        height = np.abs(z)
        # The second condition matters for a penalty that sends all coefficients, and so the threshold, to 0.
        survivors = mask & (height >= alpha * height.max()) & (height > 0)
        unchanged = unchanged + 1 if np.array_equal(survivors, mask) else 0
        mask, z = survivors, np.where(survivors, z, 0.0)
        history.append(
            Iteration(
                mask=tuple(bool(m) for m in mask),
                coefficients=tuple(float(c) for c in z / scaled.scale),
                sampled=size,
                loss=float(scaled.equations.misfit(z).mean()),
            )
        )
    return history


def _draw(random: np.random.Generator, weights: Array, size: int) -> npt.NDArray[np.intp]:
    """Draw ``size`` different panels, one after the other with probability proportional to weight; return them sorted.

    The smallest of exponential waiting times with these rates are such a draw (panels of weight 0 come last).
    """
    with np.errstate(divide="ignore"):
        waiting = random.exponential(size=len(weights)) / weights
    return np.sort(np.argsort(waiting, kind="stable")[:size])


def _swapped(scaled: _Scaled, mask: Mask, diffusion: float) -> tuple[Candidate, ...]:
    """Return the models with one kept term swapped for a dropped one, best first."""
    total = scaled.equations.total()

    def misfit(z: Array) -> float:
        return float(total.misfit(z)[0]) / diffusion

    chosen = misfit(scaled.refit(mask))
    found = []
    for out in np.flatnonzero(mask):
        for into in np.flatnonzero(~mask):
            other = mask.copy()
            other[out], other[into] = False, True
            z = scaled.refit(other)
            terms = tuple(int(k) for k in np.flatnonzero(other))
            values = tuple(float(c) for c in (z / scaled.scale)[list(terms)])
            found.append(Candidate(terms, values, misfit(z) - chosen))
    return tuple(sorted(found, key=lambda c: (c.score, c.terms)))
