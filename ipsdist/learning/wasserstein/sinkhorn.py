"""Wasserstein-2 by the debiased Sinkhorn divergence with separable Gaussian kernels (docs/method.md, section 6).

Own code: POT has debiased Sinkhorn for point clouds (a dense n x n cost, 0.8 GB at 100 x 100) and separable
kernels for barycentres only.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from ipsdist.model.system import Grid

__all__ = ["sinkhorn_distance"]

Array = npt.NDArray[np.float64]

_NEGLIGIBLE_MASS = 1e-14
_CELLS_PER_BLUR = 4.0
"""Least entropic length**2 in squared cell sizes: from there on the cells do not show."""
_VARIANCES_PER_BLUR = 0.03
"""Least entropic length**2 in variances of the densities; the bias is of the square of a quarter of it."""
_MOST_TURNS = 2000
_TOLERANCE = 1e-13
_PLAIN_TURNS = 12
"""Least turns before over-relaxation; the rate is read from them."""
_NEAR = 0.05
"""Mean move of log p in a turn below which over-relaxation begins; farther from the solution it overshoots."""
_MOST_RELAXED = 1.95


def sinkhorn_distance(a: Array, b: Array, grid: Grid) -> tuple[float, float, bool]:
    """Return W2 of masses (points...), exact for shifts, its blur, and whether the turns allowed were enough.

    The blur is the entropic length**2, the least that float64 holds. Turns are too few where less than about a
    thousandth of the mass crosses empty space; W2 is then too small.

    S = OT(a, b) - OT(a, a) / 2 - OT(b, b) / 2 for the cost |x - y|**2 and the entropy weighed by the blur (Feydy and
    others 2019). Differences on lengths below the root of the blur are underrated.
    """
    a, b = (np.where(m > _NEGLIGIBLE_MASS, m, 0.0) for m in (a, b))
    variance = 0.5 * (_mean_variance(a, grid) + _mean_variance(b, grid))
    blur = max(_CELLS_PER_BLUR * max(grid.spacing) ** 2, _VARIANCES_PER_BLUR * variance)
    while True:  # ends: the kernel tends to 1
        plans = _Plans(a / a.sum(), b / b.sum(), grid, blur)
        for relaxed in (True, False):
            squared, settled = plans.divergence(relaxed)
            if math.isfinite(squared):
                return math.sqrt(max(squared, 0.0)), blur, settled
        blur *= 4.0


def _mean_variance(mass: Array, grid: Grid) -> float:
    """Return the mean over axes of the coordinate variance."""
    found = []
    for axis, x in enumerate(grid.axes()):
        marginal = mass.sum(axis=tuple(k for k in range(mass.ndim) if k != axis))
        found.append(float(marginal @ x**2 - (marginal @ x) ** 2))
    return math.fsum(found) / len(found)


class _Plans:
    """Scalings p, q of the plan diag(p) K diag(q) between two masses, and those of the plans to themselves."""

    def __init__(self, a: Array, b: Array, grid: Grid, blur: float) -> None:
        self._a, self._b, self._blur = a, b, blur
        self._kernels = [np.exp(-((x[:, None] - x) ** 2) / blur) for x in grid.axes()]
        with np.errstate(all="ignore"):
            self._own = [self._symmetric(mass) for mass in (a, b)]

    def divergence(self, relaxed: bool) -> tuple[float, bool]:
        """Return S = blur (<a, log p / p_a> + <b, log q / p_b>), nan when the scalings leave the range; and if settled.

        After a few turns log p and log q go further than a turn sends them, by the factor that is best for the rate
        seen so far (Lehmann and others 2022): up to forty times fewer turns where little mass crosses a gap.
        """
        a, b, (own_a, own_b) = self._a, self._b, self._own
        with np.errstate(all="ignore"):
            p, q, last, factor, moved = own_a, own_b, math.inf, 1.0, []
            for _ in range(_MOST_TURNS):
                new_q = _ratio(b, self._smooth(p))
                q = _further(q, new_q, factor)
                new_p = _ratio(a, self._smooth(q))
                value = _paired(a, new_p, own_a) + _paired(b, new_q, own_b)
                if not abs(value - last) > _TOLERANCE * max(1.0, abs(value)):
                    return self._blur * value, True
                if relaxed and factor == 1.0:
                    moved.append(_moved(a, new_p, p))
                    factor = _best_factor(moved)
                p, last = _further(p, new_p, factor), value
        return self._blur * value, False

    def _symmetric(self, mass: Array) -> Array:
        """Return the scaling of the plan of a mass to itself."""
        scaling = np.sqrt(mass)
        for _ in range(_MOST_TURNS):
            new = np.sqrt(scaling * _ratio(mass, self._smooth(scaling)))
            moved = abs(_paired(mass, new, scaling))
            scaling = new
            if not moved > _TOLERANCE:
                break
        return scaling

    def _smooth(self, values: Array) -> Array:
        for axis, kernel in enumerate(self._kernels):
            values = np.moveaxis(np.tensordot(kernel, values, axes=(1, axis)), 0, axis)
        return values


def _ratio(mass: Array, values: Array) -> Array:
    return np.divide(mass, values, out=np.zeros_like(mass), where=mass > 0.0)


def _further(old: Array, new: Array, factor: float) -> Array:
    """Return old (new / old)**factor."""
    return new if factor == 1.0 else old * _ratio(new, old) ** factor


def _paired(mass: Array, above: Array, below: Array) -> float:
    """Return <mass, log above / below>."""
    held = mass > 0.0
    return float(np.sum(mass[held] * (np.log(above[held]) - np.log(below[held]))))


def _moved(mass: Array, new: Array, old: Array) -> float:
    """Return <mass, |log new / old|>."""
    held = mass > 0.0
    return float(np.sum(mass[held] * np.abs(np.log(new[held]) - np.log(old[held]))))


def _best_factor(moved: list[float]) -> float:
    """Return 1 until enough turns are seen, then 2 / (1 + sqrt(1 - rate)), that of successive over-relaxation."""
    if len(moved) <= _PLAIN_TURNS or not 0.0 < moved[-1] < min(_NEAR, moved[-5]):
        return 1.0
    rate = (moved[-1] / moved[-5]) ** 0.25
    return min(2.0 / (1.0 + math.sqrt(1.0 - rate)), _MOST_RELAXED)
