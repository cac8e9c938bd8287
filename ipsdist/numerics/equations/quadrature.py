"""Time rules: panels of neighbouring slices and the weights that integrate polynomials exactly on them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["INTERVALS", "Panel", "panels"]

Array = npt.NDArray[np.float64]

INTERVALS = {"trapezoid": 1, "simpson": 2, "boole": 4}
"""Intervals between slices that one panel of a rule joins, which is also the degree that it integrates exactly."""


@dataclass(frozen=True)
class Panel:
    """The slices first .. last (included) and their weights (last - first + 1,), which sum to the panel's duration."""

    first: int
    last: int
    weights: Array


def panels(times: npt.ArrayLike, rule: str) -> list[Panel]:
    """Cut the times (S,) into panels of ``INTERVALS[rule]`` intervals; a remainder joins the last panel.

    The weights are those of polynomial interpolation through the panel's slices, so uneven times need no other rule;
    on even ones they are the trapezoid's, Simpson's (3/8 in a last panel of three intervals) and Boole's.
    """
    t = np.asarray(times, dtype=np.float64)
    width, intervals = INTERVALS[rule], len(t) - 1
    count = max(1, intervals // width)
    edges = [k * width for k in range(count)] + [intervals]
    return [Panel(a, b, _weights(t[a : b + 1])) for a, b in zip(edges[:-1], edges[1:], strict=True)]


def _weights(t: Array) -> Array:
    """Integrate the interpolating polynomial over [t[0], t[-1]], on the interval mapped to [-1, 1] for its conditioning."""
    half = (t[-1] - t[0]) / 2.0
    s = (t - t[0]) / half - 1.0
    degree = np.arange(len(t))
    moments = np.where(degree % 2 == 0, 2.0 / (degree + 1), 0.0)
    return np.asarray(half * np.linalg.solve(s[None, :] ** degree[:, None], moments))
