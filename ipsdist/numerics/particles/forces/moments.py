"""Exact pair sums from global moments where phi(r) / r is a polynomial in r**2: O(N), any dimension."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from ipsdist.model.radial import RadialKernel
from ipsdist.numerics.particles.forces.terms import refusal, terms_of

__all__ = ["moment_sums"]

Array = npt.NDArray[np.float64]
Exponents = tuple[int, ...]

_ALLOWED = "sums of odd powers r, r**3, ... r**15"


def moment_sums(kernel: RadialKernel, dimension: int) -> Callable[[Array], Array]:
    """Return the function from positions (N, d) to sum_j phi(|z|) z / |z|, z = x_i - x_j (N, d).

    Raises InputError naming force.method when phi(r) / r is no polynomial in r**2.
    """
    terms = terms_of(kernel, "moments", _ALLOWED)
    if any(a or p % 2 == 0 for p, a in terms):
        raise refusal(kernel, "moments", _ALLOWED)
    odd = {p: float(c) for (p, _), c in terms.items()}
    axes = [_force_polynomial(odd, axis, dimension) for axis in range(dimension)]
    return lambda positions: _pair_sums(positions, axes)


def _force_polynomial(odd: dict[int, float], axis: int, dimension: int) -> dict[Exponents, float]:
    """Return z_axis * sum_p c_p |z|**(p - 1) as coefficients of z**exponents, by the multinomial theorem."""
    polynomial: dict[Exponents, float] = {}
    for p, coefficient in odd.items():
        half = (p - 1) // 2
        for split in itertools.product(range(half + 1), repeat=dimension):
            if sum(split) == half:
                count = math.factorial(half) // math.prod(math.factorial(k) for k in split)
                exponents = tuple(2 * k + (a == axis) for a, k in enumerate(split))
                polynomial[exponents] = polynomial.get(exponents, 0.0) + coefficient * count
    return polynomial


def _pair_sums(positions: Array, axes: list[dict[Exponents, float]]) -> Array:
    """Expand (x_i - x_j)**g = sum_b C(g, b) x_i**(g - b) (-x_j)**b; the sums over j are the moments."""
    y = positions - positions.mean(axis=0)
    degree = max((max(g) for polynomial in axes for g in polynomial), default=0)
    powers = [[np.ones(len(y))] for _ in range(y.shape[1])]
    for a, column in enumerate(powers):
        for _ in range(degree):
            column.append(column[-1] * y[:, a])

    def monomial(exponents: Exponents) -> Array:
        value = powers[0][exponents[0]]
        for a in range(1, len(exponents)):
            value = value * powers[a][exponents[a]]
        return value

    moments: dict[Exponents, float] = {}
    out = np.zeros_like(positions)
    for axis, polynomial in enumerate(axes):
        mean_field: dict[Exponents, float] = {}
        for g, coefficient in polynomial.items():
            for b in itertools.product(*[range(k + 1) for k in g]):
                if b not in moments:
                    moments[b] = float(monomial(b).sum())
                rest = tuple(k - m for k, m in zip(g, b, strict=True))
                ways = math.prod(math.comb(k, m) for k, m in zip(g, b, strict=True)) * (-1) ** sum(b)
                mean_field[rest] = mean_field.get(rest, 0.0) + coefficient * ways * moments[b]
        for exponents, value in mean_field.items():
            out[:, axis] += value * monomial(exponents)
    return out
