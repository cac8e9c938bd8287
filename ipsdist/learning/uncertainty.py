"""How sure a fit is: the covariance of its coefficients and the condition of its dictionary."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from ipsdist.model.fit import Fit
from ipsdist.model.normal_equations import NormalEquations

__all__ = ["BLOCKS", "condition", "covariance", "discounted", "inverse_gram", "sandwich", "with_diffusion_error"]

Array = npt.NDArray[np.float64]

_SHOWN = 1e-10
"""Smallest eigenvalue of the scaled Gram matrix of a direction that the data show."""
BLOCKS = 20
"""Blocks of consecutive panels over which the sandwich adds its scores."""


def condition(equations: NormalEquations) -> float:
    """Return the condition number of the scaled Gram matrix (unit diagonal) of all panels and the whole dictionary.

    Never above 1 / machine epsilon (4.5e15), which reads: singular to working precision, as with a column of zeros.
    """
    gram = equations.gram.sum(axis=0)
    scale = np.sqrt(np.diag(gram))
    eps = float(np.finfo(np.float64).eps)
    if not (scale > 0).all():
        return 1 / eps
    eigenvalues = np.linalg.eigvalsh(gram / np.outer(scale, scale))
    smallest, largest = float(eigenvalues[0]), float(eigenvalues[-1])
    return largest / max(smallest, eps * largest)


def inverse_gram(gram: Array) -> Array:
    """Return the inverse of a Gram matrix (k, k) by way of its scaled form, symmetric to the last bit."""
    scale = np.sqrt(np.diag(gram))
    units = np.outer(scale, scale)
    inverse = np.linalg.inv(gram / units) / units
    return np.asarray(0.5 * (inverse + inverse.T))


def sandwich(
    equations: NormalEquations, terms: Sequence[int], coefficients: npt.ArrayLike, blocks: int = BLOCKS
) -> Array:
    """Return A^-1 (sum_B g_B g_B') A^-1 over blocks B of consecutive panels, with g_B the sum of g_n = b_n - A_n z.

    For forms whose residuals are not white (docs/method.md, section 4): blocks that are long against the correlation
    time of the residual count as independent. The factor B / (B - k) makes up for the k coefficients, which make the
    scores add to zero. It measures scatter only, not the bias that smoothing brings. With no more blocks (or
    panels) than coefficients nothing can be said: every entry is infinite.

    Parameters
    ----------
    terms : indices of the kept terms (k,).
    coefficients : (k,).
    """
    z, kept = np.asarray(coefficients, dtype=np.float64), list(terms)
    blocks = min(blocks, equations.panels)
    if blocks <= len(kept):
        return np.full((len(kept), len(kept)), np.inf)
    gram = equations.gram[:, kept][:, :, kept]
    score = equations.moment[:, kept] - np.einsum("nkl,l->nk", gram, z)
    sums = np.add.reduceat(score, [n * equations.panels // blocks for n in range(blocks)], axis=0)
    spread = np.einsum("nk,nl->kl", sums, sums) * (blocks / (blocks - len(kept)))
    inverse = inverse_gram(gram.sum(axis=0))
    return np.asarray(inverse @ spread @ inverse)


def covariance(
    equations: NormalEquations, terms: Sequence[int], coefficients: npt.ArrayLike, diffusion: float
) -> Array:
    """Return the covariance (k, k) of the kept coefficients: sigma^2 A^-1; the `sandwich` for the strong form."""
    if equations.form == "strong":
        return sandwich(equations, terms, coefficients)
    kept = list(terms)
    return diffusion * inverse_gram(equations.gram.sum(axis=0)[np.ix_(kept, kept)])


def with_diffusion_error(fit: Fit, equations: NormalEquations, slope: Array, error: float) -> Fit:
    """Return the fit with what an error of sigma^2 adds to its covariance.

    ``slope`` (M,) is the derivative of the moment by sigma^2, ``error`` the standard error of sigma^2, taken as
    independent of the moment's own noise (true for labelled displacements: they share only the energy difference).
    """
    kept = list(fit.terms)
    if not kept:
        return fit
    gram = equations.gram.sum(axis=0)[np.ix_(kept, kept)]
    moved = inverse_gram(gram) @ slope[kept] * error
    return replace(fit, covariance=fit.covariance + np.outer(moved, moved))


def discounted(equations: NormalEquations, slope: Array, variance: float, noise: float) -> NormalEquations:
    """Return the total of the equations as a sigma^2 of this ``variance`` leaves it, one panel.

    The moment is b + s d at a sigma^2 that is off by d, s its ``slope`` (M,). Then its covariance is not c A, with c
    the ``noise`` (sigma^2, widened or not), but c A + v s s', and in the place of A and b there are
    A (A + w s s')^-1 A and A (A + w s s')^-1 b with w = v / c: what another sigma^2 would do as well counts no more.
    """
    one = equations.total()
    gram, moment = one.gram[0], one.moment[0]
    scale = np.sqrt(np.where(np.diag(gram) > 0, np.diag(gram), 1.0))
    inverse = np.linalg.pinv(gram / np.outer(scale, scale), rcond=_SHOWN, hermitian=True) / np.outer(scale, scale)
    slope = gram @ (inverse @ slope)  # what the data do not show is not taken away from them
    weight = variance / noise
    share = weight / (1.0 + weight * float(slope @ inverse @ slope))
    lost = float(slope @ inverse @ moment)
    left = gram - share * np.outer(slope, slope)
    return replace(one, gram=left[None], moment=(moment - share * lost * slope)[None])
