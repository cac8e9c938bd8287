"""Pooling: the equations of several experiments become one, each weighted by its noise; and whether they agree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import scipy.special

from ipsdist.learning.subset import best_subset
from ipsdist.learning.uncertainty import with_diffusion_error
from ipsdist.model.fit import Fit
from ipsdist.model.normal_equations import NormalEquations

__all__ = ["Agreement", "Own", "Part", "agreement", "pooled_equations", "pooled_fit"]

Array = npt.NDArray[np.float64]

_EPSILON = float(np.finfo(np.float64).eps)
_MARGIN = 10.0
"""Smallest variance of a combination of scores that is no rounding, over the least share of information."""


@dataclass(frozen=True)
class Part:
    """What one experiment brings to a pool."""

    equations: NormalEquations
    diffusion: float
    """sigma**2 of its noise, length**2 / time: what its scores scatter by."""
    shift: Array | None = None
    """(M,) what one standard error of sigma**2 moves the moment by; None where sigma**2 was given."""


@dataclass(frozen=True)
class Own:
    """What one experiment says alone of the K terms that the pool keeps."""

    coefficients: Array
    """(K,); nan where its data do not determine one."""
    standard_errors: Array
    """(K,); nan likewise."""
    chi2: float
    """Its distance from the pooled coefficients in their covariance, which it has in part brought about itself."""
    degrees_of_freedom: int
    p_value: float
    """nan without degrees of freedom."""


@dataclass(frozen=True)
class Agreement:
    """Whether one law with one set of coefficients holds in all experiments."""

    chi2: float
    degrees_of_freedom: int
    p_value: float
    """Probability of a larger chi2 if it does; nan without degrees of freedom."""
    each: tuple[Own, ...]


def pooled_equations(parts: Sequence[Part]) -> NormalEquations:
    """Return the equations of all experiments, panels one after the other, Gram and moment over each one's sigma**2.

    They are those of unit noise: A^-1 is the covariance of the coefficients, and 1 the diffusion to fit them with.
    Particles add. An energy is left out: without its part of the noise it is no misfit of the pool.

    Raises ValueError for no parts, unlike forms or bases, the strong form (its residuals are not white, so that no
    weight is right), and a sigma**2 that is not positive.
    """
    kinds = {(part.equations.form, part.equations.basis) for part in parts}
    if len(kinds) != 1 or next(iter(kinds))[0] == "strong":
        raise ValueError(f"experiments pool for one basis and one form that is a likelihood; got {sorted(kinds)}")
    if not all(part.diffusion > 0 for part in parts):
        raise ValueError(f"`diffusion` must be positive; got {[part.diffusion for part in parts]}")
    return replace(
        parts[0].equations,
        gram=np.concatenate([part.equations.gram / part.diffusion for part in parts]),
        moment=np.concatenate([part.equations.moment / part.diffusion for part in parts]),
        energy=None,
        particles=sum(part.equations.particles for part in parts),
        diffusion=1.0,
    )


def pooled_fit(parts: Sequence[Part], *, criterion: str, max_terms: int) -> Fit:
    """Return the best subset of the pooled equations (`best_subset`).

    Its covariance is A^-1, and what the errors of those sigma**2 add that were estimated; they are independent. Raises
    as `pooled_equations` and `best_subset`.
    """
    equations = pooled_equations(parts)
    fit = best_subset(equations, 1.0, criterion=criterion, max_terms=max_terms)
    for part in parts:
        if part.shift is not None:
            fit = with_diffusion_error(fit, equations, part.shift / part.diffusion, 1.0)
    return fit


def agreement(parts: Sequence[Part], fit: Fit) -> Agreement:
    """Test whether the experiments lead to one set of coefficients of the terms that the pool keeps.

    With weighted sums A_e, b_e of an experiment, A = sum A_e and the pooled z = A^-1 sum b_e, its score is
    g_e = b_e - A_e z, and chi2 = sum_e g_e' A_e^-1 g_e = sum_e (z_e - z)' A_e (z_e - z) with K (E - 1) degrees of
    freedom for E experiments that determine all K terms; those that do not, count with the directions they see. Of one
    experiment, chi2_e = g_e' (A_e - A_e A^-1 A_e)^-1 g_e compares it with all others. Where sigma**2 was estimated, its
    error adds to the covariance of b_e.
    """
    kept = list(fit.terms)
    if not kept:
        nothing = Own(np.zeros(0), np.zeros(0), 0.0, 0, float("nan"))
        return Agreement(0.0, 0, float("nan"), (nothing,) * len(parts))
    grams = [part.equations.gram.sum(axis=0)[np.ix_(kept, kept)] / part.diffusion for part in parts]
    white, least = _whitening(np.sum(grams, axis=0))
    each = [_seen(part, gram, kept, white, least) for part, gram in zip(parts, grams, strict=True)]
    total = np.sum([e.moment for e in each], axis=0)
    spread = np.sum([e.spread for e in each], axis=0)
    scores = [e.root.T @ (e.moment - e.gram @ total) for e in each]
    covariance = [[_between(a, b, spread, same=a is b) for b in each] for a in each]
    chi2, freedom, p = _test(np.concatenate(scores), np.block(covariance), least)
    own = []
    for k, (one, score) in enumerate(zip(each, scores, strict=True)):
        values, errors = _alone(one, white, least)
        own.append(Own(values, errors, *_test(score, covariance[k][k], least)))
    return Agreement(chi2, freedom, p, tuple(own))


@dataclass(frozen=True)
class _Seen:
    """The equations of one experiment in coordinates in which the pooled Gram matrix is 1."""

    gram: Array
    """(K, K) its share of the information; eigenvalues 0 .. 1."""
    moment: Array
    """(K,)"""
    spread: Array
    """(K, K) covariance of the moment: the Gram matrix, and what an error of sigma**2 adds."""
    root: Array
    """(K, R) whitens the moment in the R directions that the experiment sees."""
    inverse: Array
    """(K, K) of the Gram matrix in these directions."""
    hidden: Array
    """(K, K - R) the directions that it does not see."""


def _whitening(gram: Array) -> tuple[Array, float]:
    """Return W (K, K) with W'AW = 1, and the least share of the information that is told from none.

    Shares are known to machine epsilon times the condition number c of the scaled A. The root of that is the least, so
    that what is divided by shares is known to as many digits.
    """
    scale = np.sqrt(np.diag(gram))
    values, vectors = np.linalg.eigh(gram / np.outer(scale, scale))
    white = vectors / np.sqrt(values) / scale[:, None]
    return white, float(np.sqrt(_EPSILON * values[-1] / values[0]))


def _seen(part: Part, gram: Array, kept: list[int], white: Array, least: float) -> _Seen:
    own = white.T @ gram @ white
    own = 0.5 * (own + own.T)
    moment = white.T @ (part.equations.moment.sum(axis=0)[kept] / part.diffusion)
    values, vectors = np.linalg.eigh(own)
    shown = vectors[:, values > least]
    spread = own
    if part.shift is not None:
        moved = white.T @ (part.shift[kept] / part.diffusion)
        spread = own + np.outer(moved, moved)
    sizes, turned = np.linalg.eigh(shown.T @ spread @ shown)
    return _Seen(
        own,
        moment,
        spread,
        root=shown @ (turned / np.sqrt(sizes)),
        inverse=(shown / values[values > least]) @ shown.T,
        hidden=vectors[:, values <= least],
    )


def _between(a: _Seen, b: _Seen, spread: Array, *, same: bool) -> Array:
    """Return the covariance of the whitened scores of two experiments, g_e = m_e - G_e sum_f m_f."""
    middle = a.gram @ spread @ b.gram - a.spread @ b.gram - a.gram @ b.spread
    return np.asarray(a.root.T @ (middle + a.spread if same else middle) @ b.root)


def _test(scores: Array, covariance: Array, least: float) -> tuple[float, int, float]:
    """Return chi2 of scores (R,) in the directions that vary, their number, and the probability of a larger one."""
    values, vectors = np.linalg.eigh(0.5 * (covariance + covariance.T))
    free = values > _MARGIN * least
    freedom = int(free.sum())
    chi2 = float(((vectors[:, free].T @ scores) ** 2 / values[free]).sum())
    return chi2, freedom, float(scipy.special.chdtrc(freedom, chi2)) if freedom else float("nan")


def _alone(one: _Seen, white: Array, least: float) -> tuple[Array, Array]:
    """Return the coefficients (K,) of an experiment alone and their standard errors; nan for those that it lacks."""
    half = white @ one.inverse
    errors = np.sqrt(np.einsum("kl,lm,km->k", half, one.spread, half))
    lacks = np.abs(white @ one.hidden).max(axis=1, initial=0.0) > least * np.linalg.norm(white, axis=1)
    return np.where(lacks, np.nan, half @ one.moment), np.where(lacks, np.nan, errors)
