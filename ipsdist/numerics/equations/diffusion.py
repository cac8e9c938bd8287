"""sigma^2 from labelled displacements: Richardson's value, free of the drift to first order (docs/method.md, 4)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ipsdist.model.deposits import MOVE_ONE

__all__ = ["Diffusion", "richardson"]


@dataclass(frozen=True)
class Diffusion:
    """sigma^2 (length^2 / time) and its standard error; None when it was given, not estimated."""

    value: float
    standard_error: float | None


def richardson(
    times: npt.NDArray[np.float64],
    squared_moves: npt.NDArray[np.int64],
    squared_moves_two_apart: npt.NDArray[np.float64],
    *,
    spacing: float,
    particles: int,
    dimension: int,
) -> Diffusion:
    """Return sigma^2 from what the particles move in one interval and in two, free of the drift to first order.

    For neighbouring intervals D1, D2 with s = sum |dX|^2 of the N particles in each and s12 in both together,

        sigma^2 = ((D1 + D2)^2 (s1 + s2) - (D1^2 + D2^2) s12) / (2 N d D1 D2 (D1 + D2)),

    which for even times is 2 s(D) - s(2D) with s(D) = sum |dX|^2 / (N d D); a mean over the times where s12 is known,
    weighted by the inverse of its variance under diffusion.
    The standard error is that of the mean, neighbours correlated (their double steps overlap) and not below that of
    independent diffusing particles, and of the remainder of order D^2, for which the square of the correction stands.

    Parameters
    ----------
    times : (S,) at least 5, increasing.
    squared_moves : (S - 1,) deposits, in units of spacing^2 / MOVE_ONE.
    squared_moves_two_apart : (S - 2,) length^2; NaN where unknown.
    """
    gaps = np.diff(times)
    known = np.isfinite(squared_moves_two_apart)
    single, double = squared_moves * (spacing**2 / MOVE_ONE), squared_moves_two_apart[known]
    both = (single[:-1] + single[1:])[known]
    first, second = gaps[:-1][known], gaps[1:][known]
    span = first + second
    each = (span**2 * both - (first**2 + second**2) * double) / (2.0 * particles * dimension * first * second * span)
    squares = first**2 + second**2
    weight = span**2 / (2.0 * squares + squares**2 / (first * second))  # one over the variance of diffusing particles
    information = float(weight.sum()) * particles * dimension
    weight /= weight.mean()
    value = float((weight * each).mean())
    spread = weight * (each - value)
    lags = [float(spread[k:] @ spread[: len(spread) - k]) / len(each) for k in range(2)]
    # Few values about their own mean hide their scatter: it is at least that of diffusion, neighbours independent.
    variance = max((lags[0] + 2.0 * lags[1]) / len(each), value**2 / information)
    correction = float(double.sum() - both.sum()) / (particles * dimension * float(span.sum()))
    return Diffusion(value, float(np.hypot(np.sqrt(variance), correction**2 / abs(value))))
