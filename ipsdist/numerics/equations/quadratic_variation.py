"""sigma^2 of unlabelled slices by quadratic variation: how far test functions move beyond what the drift explains."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["QuadraticVariation", "quadratic_variation"]

Array = npt.NDArray[np.float64]

_DEVIATIONS = 3.0
"""Standard errors by which neighbouring residuals may correlate before that is held against the value."""


@dataclass(frozen=True)
class QuadraticVariation:
    """What the squares of residuals say about sigma^2."""

    value: float
    """sigma^2 (length^2 / time); 0 where there are no squares."""
    squares: Array
    """(S - 1,) how many independent squares every interval is worth: the variance of the value is 2 value^2 / sum."""


def quadratic_variation(
    times: Array, residual: Array, covariance: Array, curvature: Array, *, weight: Array, fitted: int
) -> QuadraticVariation:
    """Return sum e'W e / sum tr(W G) over the S - 1 intervals between slices; with two slices nothing.

    Over an interval the residual e of the weak equations is a martingale's increment with covariance sigma^2 G, so its
    square knows sigma^2, whatever the drift. Two things make it worth less; they are not corrected but counted, as
    shares of the value by which it may be off:

    - the time rule. Test functions that diffuse away between slices, at a rate l, lose (l D)^2 / 12 of their square.
    - correlation of neighbouring residuals beyond chance, of which the squares hold twice as much. Errors of the
      positions make it negative; a drift outside the dictionary, or one too fast for the slices, positive.

    Parameters
    ----------
    times : (S,).
    residual : (S - 1, Q) e of every interval, by the trapezoid's rule.
    covariance : (S - 1, Q, Q) G, the integral of sum_i grad psi_q . grad psi_r.
    curvature : (S, Q) sum_i Lap psi_q.
    weight : (S - 1, Q, Q) W, known at the beginning of the interval.
    fitted : number of coefficients in the residual.
    """
    gaps = np.diff(times)
    weight = weight / gaps[:, None, None]
    products = weight @ covariance
    trace = np.einsum("nqq->n", products)
    freedom = float(trace.sum()) ** 2 / float(np.einsum("nqr,nrq->", products, products))
    squares = float(np.einsum("nq,nqr,nr->", residual, weight, residual))
    if len(gaps) < 2 or squares == 0:
        return QuadraticVariation(0.0, np.zeros(len(gaps)))
    value = squares / float(trace.sum()) / max(1.0 - fitted / freedom, 1.0 / freedom)
    neighbours = float(np.einsum("nq,nqr,nr->", residual[:-1], weight[:-1], residual[1:])) / squares
    rule = _rule_share(gaps, curvature, weight, trace, value)
    excess = max(neighbours**2 - _DEVIATIONS**2 / freedom, 0.0)
    variance = 2.0 / freedom + rule**2 + 4.0 * excess
    return QuadraticVariation(value, trace / trace.sum() * (2.0 / variance))


def _rule_share(gaps: Array, curvature: Array, weight: Array, trace: Array, value: float) -> float:
    """Return (l D)^2 / 12 in the mean over tests and intervals, from how the curvature scatters.

    Relaxing at the rate l, the amplitude of a test moves its curvature (2 l / sigma^2) times as far as itself: in time
    dt by c = (2 l)^2 / sigma^2 dt in the square, so that l^2 / 12 = sigma^2 c / 48. Differences of slopes have variance
    c (1 / D_n + 1 / D_(n+1)), and a trend cancels in them.
    """
    slopes = np.diff(curvature, axis=0) / gaps[:, None]
    bends = np.diff(slopes, axis=0)
    scatter = np.einsum("nq,nqr,nr->", bends, weight[1:], bends)
    rate = scatter / np.sum(trace[1:] * (1.0 / gaps[1:] + 1.0 / gaps[:-1]) / gaps[1:])
    return float(value * rate * np.sum(trace * gaps**2) / (48.0 * np.sum(trace)))
