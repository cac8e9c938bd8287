"""What the slices do not show: the error that the gaps between them leave in the time integrals of the action form.

The integrand of coefficients z is g(t) = sigma**2 / 2 laplacian(t) - gram(t) z. Simpson's rule and the same rule on
every second slice differ by d on a window of four intervals. Where g is smooth they add up, and a fifteenth of
their sum is the error of Simpson's rule. Where g is the noise of particles that meet and part faster than the slices
follow, they do not add up, and a third of the sum of their squares is its variance.
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
_FOLLOWED = 1e-9
"""Smallest eigenvalue of the scaled Gram matrix along which noise is weighed; combinations of terms below it vanish."""


def integrand(pairings: Pairings, coefficients: npt.ArrayLike, diffusion: float) -> Array:
    """Return g at the slices (S, M)."""
    z = np.asarray(coefficients, dtype=np.float64)
    return np.asarray(0.5 * diffusion * pairings.laplacian - pairings.gram @ z)


def window_differences(
    pairings: Pairings, times: npt.ArrayLike, coefficients: npt.ArrayLike, diffusion: float, stride: int = WINDOW
) -> Array:
    """Return d of the windows that begin at every ``stride``-th slice (W, M); none for fewer than five slices.

    ``coefficients`` (M,) hold one for every column of the pairings, that of a known potential being 1.
    """
    t = np.asarray(times, dtype=np.float64)
    g = integrand(pairings, coefficients, diffusion)
    found = []
    for a in range(0, len(t) - WINDOW, stride):
        weights = _composite(t[a : a + WINDOW + 1], "simpson")
        weights[::2] -= _composite(t[a : a + WINDOW + 1 : 2], "simpson")
        found.append(weights @ g[a : a + WINDOW + 1])
    return np.array(found).reshape(len(found), g.shape[1])


def _composite(times: npt.ArrayLike, rule: str) -> Array:
    weights = np.zeros(len(np.asarray(times)))
    for p in panels(times, rule):
        weights[p.first : p.last + 1] += p.weights
    return weights


def gap_noise(rest: Pairings, times: npt.ArrayLike, coefficients: npt.ArrayLike, diffusion: float) -> Array:
    """Return Q (W, M), so that Q'Q estimates the covariance that the gaps add to the moment of the equations.

    ``rest`` is what a model leaves of the pairings (`remainder`): of the pairings themselves the differences would
    mostly be smooth. All windows are used, though they overlap, and the sum is scaled to the number that do not.
    """
    d = window_differences(rest, times, coefficients, diffusion, stride=1)
    apart = (len(rest) - 1) / WINDOW
    return np.asarray(d * np.sqrt(apart / (3.0 * max(1, len(d)))))


def with_gap_noise(equations: NormalEquations, noise: Array, diffusion: float) -> NormalEquations:
    """Return the equations of generalised least squares, in which the moment's covariance is sigma^2 A + Q'Q.

    A' = A - Q'(sigma^2 + Q A^-1 Q')^-1 Q and b' = b - Q'(sigma^2 + Q A^-1 Q')^-1 Q A^-1 b: the covariance sigma^2 A'^-1
    is A^-1 (sigma^2 A + Q'Q) A^-1, and the likelihood that `best_subset` ranks by forgives what the gaps may have made.
    The noise belongs to all panels together, so the result has one. ``noise`` (W, M) may have no row: nothing changes.
    """
    whole = equations.total()
    scale = np.sqrt(np.maximum(np.diag(whole.gram[0]), 0.0))
    scale[scale == 0.0] = 1.0
    gram, moment, q = whole.gram[0] / np.outer(scale, scale), whole.moment[0] / scale, noise / scale
    values, vectors = np.linalg.eigh(gram)
    kept = vectors[:, values > _FOLLOWED]
    along = q @ kept  # combinations that the data do not show carry no noise either
    q, solved = along @ kept.T, (along / values[values > _FOLLOWED]) @ kept.T
    weight = np.linalg.inv(diffusion * np.eye(len(q)) + q @ solved.T)
    gram = gram - q.T @ weight @ q
    moment = moment - q.T @ (weight @ (solved @ moment))
    gram = 0.5 * (gram + gram.T) * np.outer(scale, scale)
    return replace(whole, gram=gram[None], moment=(moment * scale)[None])


def in_standard_errors(errors: Array, gram: Array, terms: Sequence[int], diffusion: float) -> float:
    """Return the size of errors of the moment (W, M) in standard errors: sqrt(sum_w e_w'A^-1 e_w / sigma^2) on ``terms``.

    Of all models with at most one more term the largest is taken. Those that these data cannot tell from smaller ones
    (a Gram matrix that is not positive) say nothing and are passed over.
    """
    largest = 0.0
    for model in [sorted({*terms, k}) for k in range(len(gram))]:
        scale = np.sqrt(np.maximum(np.diag(gram)[model], 0.0))
        if not (scale > 0).all():
            continue
        scaled = gram[np.ix_(model, model)] / np.outer(scale, scale)
        if np.linalg.eigvalsh(scaled)[0] > _FOLLOWED:
            e = errors[:, model] / scale
            largest = max(largest, float((e.T * np.linalg.solve(scaled, e.T)).sum()))
    return float(np.sqrt(largest / diffusion))
