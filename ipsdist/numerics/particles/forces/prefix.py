"""Exact pair sums in one dimension by sorting and prefix sums: integer powers of r and exponentials, O(N log N)."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from ipsdist.model.errors import InputError, RunError
from ipsdist.model.radial import RadialKernel
from ipsdist.numerics.particles.forces.terms import refusal, terms_of

__all__ = ["prefix_sums"]

Array = npt.NDArray[np.float64]

_ALLOWED = "sums of powers 1, r, r**2, ... r**16 and of exponentials exp(a*r)"
_MAX_EXPONENT = 700.0


def prefix_sums(kernel: RadialKernel, dimension: int) -> Callable[[Array], Array]:
    """Return the function from positions (N, 1) to sum_j phi(|x_i - x_j|) sgn(x_i - x_j) (N, 1).

    Raises InputError naming force.method for other kernels and for d > 1.
    """
    if dimension != 1:
        raise InputError("force.method", '"prefix" needs system.dimension = 1', dimension, 'use "mesh" or "moments"')
    terms = terms_of(kernel, "prefix", _ALLOWED)
    if any(p and a for p, a in terms):
        raise refusal(kernel, "prefix", _ALLOWED)
    powers = [(p, float(c)) for (p, a), c in sorted(terms.items()) if a == 0]
    exponentials = [(float(a), float(c)) for (_, a), c in sorted(terms.items()) if a != 0]
    return lambda positions: _pair_sums(positions, powers, exponentials)


def _pair_sums(positions: Array, powers: list[tuple[int, float]], exponentials: list[tuple[float, float]]) -> Array:
    x = positions[:, 0]
    order = np.argsort(x, kind="stable")
    sorted_x = x[order]
    centre = 0.5 * (sorted_x[0] + sorted_x[-1])
    half = max(0.5 * (sorted_x[-1] - sorted_x[0]), np.finfo(float).tiny)
    z = (sorted_x - centre) / half
    # Equal positions exert no force on each other: strictly below, strictly above.
    below = np.searchsorted(z, z, side="left")
    above = np.searchsorted(z, z, side="right")
    total = np.zeros(len(z))
    if powers:
        total += _powers(z, half, below, above, powers)
    for rate, coefficient in exponentials:
        total += coefficient * _exponential(z * half, rate, below, above)
    out = np.empty_like(positions)
    out[order, 0] = total
    return out


def _prefix(values: Array) -> Array:
    """Return the sums of the first 0, 1, ..., N values (N + 1,)."""
    return np.concatenate([[0.0], np.cumsum(values)])


def _powers(
    z: Array, half: float, below: npt.NDArray[np.intp], above: npt.NDArray[np.intp], powers: list[tuple[int, float]]
) -> Array:
    """Sum c (z_i - z_j)**p over j below minus c (z_j - z_i)**p over j above, by the binomial theorem, |z| <= 1."""
    highest = max(p for p, _ in powers)
    monomials = [np.ones_like(z)]
    for _ in range(highest):
        monomials.append(monomials[-1] * z)
    lower, upper = [], []
    for monomial in monomials:
        sums = _prefix(monomial)
        lower.append(sums[below])
        upper.append(sums[-1] - sums[above])
    total = np.zeros_like(z)
    for p, coefficient in powers:
        part = np.zeros_like(z)
        for k in range(p + 1):
            side = (-1) ** k * lower[k] - (-1) ** (p - k) * upper[k]
            part += math.comb(p, k) * monomials[p - k] * side
        total += coefficient * half**p * part
    return total


def _exponential(y: Array, rate: float, below: npt.NDArray[np.intp], above: npt.NDArray[np.intp]) -> Array:
    """Sum exp(rate (y_i - y_j)) over j below minus exp(rate (y_j - y_i)) over j above: sums of positive terms."""
    if abs(rate) * y[-1] > _MAX_EXPONENT:
        raise RunError(f'exp({rate:g}*r) overflows over particles {2 * y[-1]:g} apart; use force.method = "mesh"')
    up, down = np.exp(rate * y), np.exp(-rate * y)
    after = np.concatenate([np.cumsum(up[::-1])[::-1], [0.0]])
    force: Array = up * _prefix(down)[below] - down * after[above]
    return force
