"""What the slices do not show: the error that the gaps between them leave in the time integrals of the action form.

The integrand of coefficients z is g(t) = sigma**2 / 2 laplacian(t) - gram(t) z. Two looks at it:

- Where g is smooth, Simpson's rule and the same rule on every second slice differ by 15 times the error of the former.
- Where g is noise, of particles that meet and part between the slices, a slice lies off the straight line through its
  neighbours by e, and the integral is off by what such noise does unseen. For a random walk the gaps a and b beside
  the slice hide a variance of e**2 (a + b) (a**3 + b**3) / (24 a b), for noise without memory from slice to slice some
  four times that. Twice that is taken, which is right to a factor of two or so for all that lies between.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from ipsdist.model.normal_equations import NormalEquations
from ipsdist.numerics.equations.pairings import Pairings
from ipsdist.numerics.equations.quadrature import panels

__all__ = ["WINDOW", "gap_noise", "in_standard_errors", "window_differences", "with_gap_noise"]

Array = npt.NDArray[np.float64]

WINDOW = 4
"""Intervals of a window; fewer say nothing."""
_SHOWN = 1e-13
"""Smallest eigenvalue of the scaled Gram matrix that is not rounding."""


def integrand(pairings: Pairings, coefficients: npt.ArrayLike, diffusion: float) -> Array:
    """Return g at the slices (S, M)."""
    z = np.asarray(coefficients, dtype=np.float64)
    return np.asarray(0.5 * diffusion * pairings.laplacian - pairings.gram @ z)


def window_differences(
    pairings: Pairings, times: npt.ArrayLike, coefficients: npt.ArrayLike, diffusion: float
) -> Array:
    """Return the differences of Simpson's rule from that on every second slice, over windows of four intervals (W, M).

    The windows lie one after the other; a remainder is left out. ``coefficients`` (M,) hold one for every column of the
    pairings, that of a known potential being 1.
    """
    t = np.asarray(times, dtype=np.float64)
    g = integrand(pairings, coefficients, diffusion)
    found = []
    for a in range(0, len(t) - WINDOW, WINDOW):
        weights = _composite(t[a : a + WINDOW + 1])
        weights[::2] -= _composite(t[a : a + WINDOW + 1 : 2])
        found.append(weights @ g[a : a + WINDOW + 1])
    return np.array(found).reshape(len(found), g.shape[1])


def _composite(times: Array) -> Array:
    weights = np.zeros(len(times))
    for p in panels(times, "simpson"):
        weights[p.first : p.last + 1] += p.weights
    return weights


def gap_noise(rest: Pairings, times: npt.ArrayLike, coefficients: npt.ArrayLike, diffusion: float) -> Array:
    """Return Q (S - 2, M), so that Q'Q estimates the covariance that the gaps add to the moment of the equations.

    ``rest`` is what a model leaves of the pairings (`remainder`): the pairings themselves bend for other reasons.
    """
    g, gaps = integrand(rest, coefficients, diffusion), np.diff(np.asarray(times, dtype=np.float64))
    before, after = gaps[:-1, None], gaps[1:, None]
    off = g[1:-1] - (after * g[:-2] + before * g[2:]) / (before + after)
    return np.asarray(off * np.sqrt((before + after) * (before**3 + after**3) / (12.0 * before * after)))


def with_gap_noise(equations: NormalEquations, noise: Array, diffusion: float) -> NormalEquations:
    """Return the equations of generalised least squares, in which the moment's covariance is sigma^2 A + Q'Q.

    A' = sigma^2 A C A and b' = sigma^2 A C b with C = (sigma^2 A + Q'Q)^-1: the covariance sigma^2 A'^-1 is
    A^-1 (sigma^2 A + Q'Q) A^-1, and the likelihood that `best_subset` ranks by forgives what the gaps may have made.
    The noise belongs to all panels together, so the result has one. ``noise`` (W, M) may have no row: nothing changes.
    A' is a square, so never negative, even where a poor prediction left A so: what A does not show is left out.
    """
    whole = equations.total()
    scale = np.sqrt(np.maximum(np.diag(whole.gram[0]), 0.0))
    scale[scale == 0.0] = 1.0
    values, vectors = np.linalg.eigh(whole.gram[0] / np.outer(scale, scale))
    shown = values > _SHOWN
    roots, directions = np.sqrt(values[shown]), vectors[:, shown]
    # In coordinates in which A is 1 the noise is W'W, and sigma^2 (sigma^2 + W'W)^-1 = M M with M below.
    white = ((noise / scale) @ directions) / roots
    _, sizes, axes = np.linalg.svd(white, full_matrices=False)
    shrink = 1.0 - np.sqrt(diffusion / (diffusion + sizes**2))
    factor = (directions * roots).T  # A = factor' factor
    factor -= axes.T @ (shrink[:, None] * (axes @ factor))
    target = (directions / roots).T @ (whole.moment[0] / scale)
    target -= axes.T @ (shrink * (axes @ target))
    factor *= scale
    return replace(whole, gram=(factor.T @ factor)[None], moment=(factor.T @ target)[None])


def in_standard_errors(errors: Array, gram: Array, terms: Sequence[int], diffusion: float) -> float:
    """Return the size of errors of the moment (W, M) over its own: sqrt(sum_w e_w'A^-1 e_w / sigma^2), on ``terms``.

    Of all models with at most one more term the largest is taken. Those that these data cannot tell from smaller ones
    (a Gram matrix that is not positive) say nothing and are passed over.
    """
    largest = 0.0
    for model in [sorted({*terms, k}) for k in range(len(gram))]:
        scale = np.sqrt(np.maximum(np.diag(gram)[model], 0.0))
        if not (scale > 0).all():
            continue
        scaled = gram[np.ix_(model, model)] / np.outer(scale, scale)
        if np.linalg.eigvalsh(scaled)[0] > _SHOWN:
            e = errors[:, model] / scale
            largest = max(largest, float((e.T * np.linalg.solve(scaled, e.T)).sum()))
    return float(np.sqrt(largest / diffusion))
