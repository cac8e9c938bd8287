"""Exact pair sums in one dimension by sorting and prefix sums, O(N log N): powers, also in pieces; exponentials."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from ipsdist.model.errors import InputError, RunError
from ipsdist.model.radial import RadialKernel
from ipsdist.numerics.particles.forces.terms import refusal, terms_of

__all__ = ["prefix_sums"]

Array = npt.NDArray[np.float64]
Span = tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]

_ALLOWED = "sums of powers 1, r, r**2, ... r**16 and of exponentials exp(a*r)"
_MAX_EXPONENT = 700.0


def prefix_sums(kernel: RadialKernel, dimension: int) -> Callable[[Array], Array]:
    """Return the function from positions (N, 1) to sum_j phi(|x_i - x_j|) sgn(x_i - x_j) (N, 1).

    Raises InputError naming force.method for other kernels and for d > 1.
    """
    if dimension != 1:
        raise InputError("force.method", '"prefix" needs system.dimension = 1', dimension, 'use "mesh" or "moments"')
    if len(kernel.pieces) > 1:
        return _in_pieces(kernel)
    terms = terms_of(kernel, "prefix", _ALLOWED)
    if any(p and a for p, a in terms):
        raise refusal(kernel, "prefix", _ALLOWED)
    powers = [(p, float(c)) for (p, a), c in sorted(terms.items()) if a == 0]
    exponentials = [(float(a), float(c)) for (_, a), c in sorted(terms.items()) if a != 0]
    return lambda positions: _pair_sums(positions, powers, exponentials)


def _in_pieces(kernel: RadialKernel) -> Callable[[Array], Array]:
    """Return the sums of a kernel in pieces, each a polynomial."""
    ends = [0.0, *(upto for upto, _ in kernel.pieces)]
    parts: list[tuple[float, float, list[tuple[int, float]]]] = []
    for (lower, upper), (_, formula) in zip(itertools.pairwise(ends), kernel.pieces, strict=True):
        terms = terms_of(RadialKernel(((math.inf, formula),)), "prefix", _ALLOWED)
        if any(a for _, a in terms):
            raise refusal(kernel, "prefix", "polynomials on every piece")
        if terms:
            parts.append((lower, upper, [(p, float(c)) for (p, _), c in sorted(terms.items())]))

    def sums(positions: Array) -> Array:
        x = positions[:, 0]
        order = np.argsort(x, kind="stable")
        y = x[order]
        centre, half = 0.5 * (y[0] + y[-1]), max(0.5 * (y[-1] - y[0]), np.finfo(float).tiny)
        z, total = (y - centre) / half, np.zeros(len(y))
        for lower, upper, powers in parts:
            # Those below at a distance in (lower, upper] are from .. until - 1, those above begin .. end - 1.
            until, begin = np.searchsorted(y, y - lower, side="left"), np.searchsorted(y, y + lower, side="right")
            start, end = np.searchsorted(y, y - upper, side="left"), np.searchsorted(y, y + upper, side="right")
            total += _powers(z, half, (start, until), (begin, end), powers)
        out = np.empty_like(positions)
        out[order, 0] = total
        return out

    return sums


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
        none, all_ = np.zeros_like(below), np.full_like(above, len(z))
        total += _powers(z, half, (none, below), (above, all_), powers)
    for rate, coefficient in exponentials:
        total += coefficient * _exponential(z * half, rate, below, above)
    out = np.empty_like(positions)
    out[order, 0] = total
    return out


def _prefix(values: Array) -> Array:
    """Return the sums of the first 0, 1, ..., N values (N + 1,)."""
    return np.concatenate([[0.0], np.cumsum(values)])


def _powers(z: Array, half: float, below: Span, above: Span, powers: list[tuple[int, float]]) -> Array:
    """Sum c (z_i - z_j)**p over j below minus c (z_j - z_i)**p over j above, by the binomial theorem, |z| <= 1.

    Both are spans of sorted particles, from the first on and up to the second.
    """
    highest = max(p for p, _ in powers)
    monomials = [np.ones_like(z)]
    for _ in range(highest):
        monomials.append(monomials[-1] * z)
    lower, upper = [], []
    for monomial in monomials:
        sums = _prefix(monomial)
        lower.append(sums[below[1]] - sums[below[0]])
        upper.append(sums[above[1]] - sums[above[0]])
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
