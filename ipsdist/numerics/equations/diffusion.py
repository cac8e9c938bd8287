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
    """Return 2 s(D) - s(2D), with s(D) = sum |X(t + D) - X(t)|^2 / (N d D), a mean over slices.

    Times are even and at least 5. ``squared_moves`` (S - 1,) are deposits in units of spacing^2 / MOVE_ONE,
    ``squared_moves_two_apart`` (S - 2,) in length^2. The drift enters s(D) as a multiple of D, which the combination
    removes. The standard error is that of the mean over slices, neighbours correlated (their double steps overlap),
    and of the remainder of order D^2, for which the square of the correction stands.
    """
    gaps = np.diff(times)
    gap = float(gaps.mean())
    single = squared_moves * (spacing**2 / MOVE_ONE) / (particles * dimension * gap)
    double = squared_moves_two_apart / (particles * dimension * 2.0 * gap)
    each = (single[:-1] + single[1:]) - double
    spread = each - each.mean()
    lags = [float(spread[k:] @ spread[: len(spread) - k]) / len(each) for k in range(2)]
    variance = max(lags[0] + 2.0 * lags[1], 0.0) / len(each)
    value = float(2.0 * single.mean() - double.mean())
    remainder = (float(double.mean()) - float(single.mean())) ** 2 / abs(value)
    return Diffusion(value, float(np.hypot(np.sqrt(variance), remainder)))
