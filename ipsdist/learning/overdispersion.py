"""Whether the noise of equations is the one that sigma^2 says, by the scatter of their scores (quasi-likelihood)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ipsdist.learning.uncertainty import BLOCKS
from ipsdist.model.normal_equations import NormalEquations

__all__ = ["Overdispersion", "overdispersion"]

_SHOWN = 1e-10
"""Smallest eigenvalue of the scaled Gram matrix of a direction that these data show."""


@dataclass(frozen=True)
class Overdispersion:
    """Variance of the scores over the one that sigma^2 gives them: 1 for the model."""

    value: float
    standard_error: float
    """Of the value, from how much the blocks differ; infinite where fewer than three can be told apart."""


def overdispersion(equations: NormalEquations, diffusion: float, blocks: int = BLOCKS) -> Overdispersion:
    """Return (sum_B g_B' A^+ g_B) / (sigma^2 sum_B tr(A^+ C_B)) over blocks B of consecutive panels.

    g_B = b_B - A_B z is the score of a block at the answer z = A^+ b of all columns, whose covariance the model says is
    sigma^2 C_B, C_B = A_B - A_B A^+ A_B: the fit takes its share. Blocks must be long against the memory of the noise:
    displacements that go on from slice to slice, or that jitter about a place, scatter the scores more, or less, than
    sigma^2 from neighbouring slices says. The ratio then belongs on every covariance of coefficients, sigma^2 A^-1, and
    below every log-likelihood. Not so for a term that the columns lack: a wrong law scatters the scores as well.

    Raises ValueError for a form that is no likelihood.
    """
    if equations.energy is not None:
        raise ValueError(f"scores of a likelihood are needed; got the form {equations.form}")
    parts = equations.blocks(blocks)
    gram, moment, count = parts.gram, parts.moment, parts.panels
    scale = np.sqrt(np.maximum(np.diag(gram.sum(axis=0)), np.finfo(np.float64).tiny))
    values, vectors = np.linalg.eigh(gram.sum(axis=0) / np.outer(scale, scale))
    shown = values > _SHOWN
    # In these coordinates the whole Gram is 1.
    white = vectors[:, shown] / np.sqrt(values[shown]) / scale[:, None]
    gram, moment = white.T @ gram @ white, moment @ white
    score = moment - gram @ moment.sum(axis=0)
    found = np.sum(score**2, axis=1)
    expected = diffusion * (np.trace(gram, axis1=1, axis2=2) - np.sum(gram**2, axis=(1, 2)))
    if count < 3 or not expected.sum() > 0:
        return Overdispersion(float("nan"), float("inf"))
    value = float(found.sum() / expected.sum())
    spread = found - value * expected
    error = np.sqrt(np.sum(spread**2) * count / (count - 1)) / expected.sum()
    return Overdispersion(value, float(error))
