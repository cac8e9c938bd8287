"""Time rules: panels of neighbouring slices and the weights that integrate polynomials exactly on them."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ipsdist.model.errors import InputError

__all__ = ["CALM", "INTERVALS", "RULES", "SCHEDULES", "Panel", "growth", "observation_times", "panels"]

Array = npt.NDArray[np.float64]

INTERVALS = {"trapezoid": 1, "simpson": 2, "boole": 4}
"""Intervals between slices that one panel of a rule joins, which is also the degree that it integrates exactly."""
RULES = (*INTERVALS, "spline", "gauss_lobatto")
"""The rules by name."""
SCHEDULES = ("even", "gauss_lobatto", "chebyshev")
"""The ways to choose observation times: with the last two, the interpolatory rule ``gauss_lobatto`` belongs."""

_WINDOW = 8
"""Intervals of one spline: its ends are felt over two of them, and panels should be many."""
CALM = 1.5
"""Largest `growth` of a rule that does not make much of the noise in the slices."""


@dataclass(frozen=True)
class Panel:
    """The slices first .. last (included) and their weights (last - first + 1,), which sum to the panel's duration."""

    first: int
    last: int
    weights: Array


def panels(times: npt.ArrayLike, rule: str) -> list[Panel]:
    """Cut the times (S,) into panels and weight their slices; a remainder joins the last panel.

    trapezoid, simpson, boole
        Panels of ``INTERVALS[rule]`` intervals, polynomials through all slices of a panel: uneven times need no other
        rule; on even ones it is the trapezoid's, Simpson's (3/8 in a last panel of three intervals) and Boole's.
    spline
        Panels of eight intervals, each with its cubic spline (not a knot next to the ends): exact for cubics and of
        fourth order on uneven times too, where Simpson's rule is of third.
    gauss_lobatto
        One panel, the polynomial through all slices: for times of `observation_times`, which crowd at the ends.

    Raises InputError where the polynomial of gauss_lobatto oscillates between these times.
    """
    t = np.asarray(times, dtype=np.float64)
    intervals = len(t) - 1
    if rule == "gauss_lobatto":
        return [Panel(0, intervals, _whole_range(t))]
    width, weights = (_WINDOW, _spline) if rule == "spline" else (INTERVALS[rule], _polynomial)
    count = max(1, intervals // width)
    edges = [k * width for k in range(count)] + [intervals]
    return [Panel(a, b, weights(t[a : b + 1])) for a, b in itertools.pairwise(edges)]


def growth(times: npt.ArrayLike, rule: str) -> float:
    """Return the sum of the sizes of all weights over the duration: 1 where none is negative."""
    t = np.asarray(times, dtype=np.float64)
    return float(sum(np.abs(p.weights).sum() for p in panels(t, rule)) / (t[-1] - t[0]))


def observation_times(horizon: float, count: int, rule: str, step: float) -> Array:
    """Return ``count`` increasing times from 0 to ``horizon``, whole multiples of ``step``, at which to observe.

    "gauss_lobatto" are the nodes of that rule (the ends and the zeros of P'_(count-1)), "chebyshev" the extrema of the
    Chebyshev polynomial, "even" equal parts; all are rounded to steps. The first two need far fewer slices.
    Both ends are among them: the energy's difference needs them. Raises InputError where two times round to one step.
    """
    if count < 2:
        raise InputError("data.slices", "must be at least 2", count, "20 is enough for most")
    x = np.linspace(-1.0, 1.0, count)
    if rule == "chebyshev":
        x = -np.cos(math.pi * np.arange(count) / (count - 1))
    elif rule == "gauss_lobatto":
        derivative = np.polynomial.legendre.Legendre.basis(count - 1).deriv()
        x = np.concatenate([[-1.0], np.sort(derivative.roots().real), [1.0]]) if count > 2 else x
    elif rule != "even":
        raise InputError("data.times", f"must be one of {', '.join(SCHEDULES)}", repr(rule), "use gauss_lobatto")
    steps = np.rint(0.5 * (x + 1.0) * (horizon / step)).astype(np.int64)
    if (np.diff(steps) <= 0).any():
        got = f"{count} slices in {steps[-1]} steps"
        raise InputError("data.slices", "must leave a step between any two slices", got, "ask for fewer slices")
    return np.asarray(steps * step, dtype=np.float64)


def _mapped(t: Array) -> tuple[Array, float]:
    """Return the times mapped to [-1, 1], for the sake of conditioning, and the scale back."""
    half = (t[-1] - t[0]) / 2.0
    return (t - t[0]) / half - 1.0, float(half)


def _polynomial(t: Array) -> Array:
    """Integrate the interpolating polynomial over [t[0], t[-1]], as a sum of P_n, of which only P_0 has an integral."""
    s, half = _mapped(t)
    moments = np.zeros(len(t))
    moments[0] = 2.0
    return np.asarray(half * np.linalg.solve(np.polynomial.legendre.legvander(s, len(t) - 1).T, moments))


def _spline(t: Array) -> Array:
    """Integrate the cubic spline over [t[0], t[-1]]; up to three intervals it is the interpolating polynomial."""
    from scipy.interpolate import CubicSpline  # takes a third of a second; the schema imports this module

    s, half = _mapped(t)
    return np.asarray(half * CubicSpline(s, np.eye(len(t))).integrate(-1.0, 1.0))


def _whole_range(t: Array) -> Array:
    weights = _polynomial(t)
    size = float(np.abs(weights).sum() / (t[-1] - t[0]))
    if not size <= CALM:
        rule = "gauss_lobatto needs times that crowd at both ends"
        raise InputError("fit.quadrature", rule, f"weights {size:.1e} times the duration", 'use "spline"')
    return weights
