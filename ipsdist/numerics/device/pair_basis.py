"""Direct pair sums over all functions of a radial basis at once, compiled: a few functions are non-zero at a distance.

A spline is a polynomial on every interval between its knots. A pair adds degree + 1 values to the velocity and to the
divergence at both of its particles; to the energy it adds powers of its place in the interval, and the sums of these
make the energies of all functions by one small product.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from numba import njit

from ipsdist.model.radial_basis import RadialBasis

__all__ = ["BasisPieces", "add_blurred", "add_jumps", "add_pairs", "basis_pieces"]

Array = npt.NDArray[np.float64]

_BINS = 4096
"""Bins of the table that finds the interval of a distance."""


@dataclass(frozen=True)
class BasisPieces:
    """The functions of a radial basis as polynomials in u = (r - start) / length on Q intervals."""

    breaks: Array
    """(Q + 1,) ends of the intervals, from 0 to the reach."""
    first: npt.NDArray[np.int64]
    """(Q,) first of the degree + 1 functions that are not 0 on the interval."""
    coefficients: Array
    """(Q, degree + 1, degree + 1): of u**k in function first + f, at [q, k, f]."""
    interval: npt.NDArray[np.int64]
    """(bins,) interval of the lower end of equal bins of the distance."""
    potentials: Array
    """(M, Q * (degree + 2)): of the sum of u**k over pairs in interval q in sum Phi_m, k = 0 .. degree + 1."""
    farthest: Array
    """(M,) Phi_m at the reach and beyond."""


def basis_pieces(basis: RadialBasis) -> BasisPieces:
    """Return the pieces of a basis; Taylor's formula at the lower end of every interval is exact."""
    breaks, degree = basis.breaks, basis.degree
    length = np.diff(breaks)
    first = np.searchsorted(basis.knots, breaks[:-1], side="right") - 1 - degree
    shown = first[:, None] + np.arange(degree + 1)
    coefficients = np.empty((len(length), degree + 1, degree + 1))
    integrals = np.zeros((len(basis), len(length), degree + 2))
    integrals[:, :, 0] = basis.potentials(breaks[:-1])
    scale = np.ones(len(length))
    for k in range(degree + 1):
        part = basis.derivatives(breaks[:-1], k) * scale
        coefficients[:, k, :] = np.take_along_axis(part.T, shown, axis=1)
        integrals[:, :, k + 1] = part * length / (k + 1)
        scale = scale * length / (k + 1)
    lower = np.arange(_BINS) * (basis.reach / _BINS)
    interval = np.searchsorted(breaks, lower, side="right") - 1
    return BasisPieces(
        breaks, first, coefficients, interval, integrals.reshape(len(basis), -1), basis.potentials(basis.reach)
    )


@njit(cache=True, nogil=True)
def add_pairs(positions, breaks, first, coefficients, interval, velocity, divergence, powers):  # type: ignore[no-untyped-def]
    """Add the pairs of ``positions`` (N, d) to three sums, every pair once: (1, 0), (2, 0), (2, 1), (3, 0) and so on.

    ``velocity`` (N, d, M) takes -sum_j B_m(r_ij) (X_i - X_j) / r_ij, ``divergence`` (N, M) takes
    -sum_j [B_m'(r_ij) + (d - 1) B_m(r_ij) / r_ij], ``powers`` (Q, degree + 2) the u**k of the pairs in an interval.
    Returns the number of pairs beyond the reach, which add to none. Particles in one place have no direction: they
    count in the powers alone.
    """
    size, d = positions.shape
    width = coefficients.shape[1]
    last = len(first) - 1
    reach = breaks[-1]
    scale = len(interval) / reach
    value, slope = np.empty(width), np.empty(width)
    z = np.empty(d)
    beyond = 0
    for i in range(size):
        for j in range(i):
            square = 0.0
            for a in range(d):
                z[a] = positions[i, a] - positions[j, a]
                square += z[a] * z[a]
            r = np.sqrt(square)
            if r > reach:
                beyond += 1
                continue
            if r == 0.0:
                powers[0, 0] += 1.0
                continue
            q = interval[min(int(r * scale), len(interval) - 1)]
            while q < last and r >= breaks[q + 1]:
                q += 1
            inverse = 1.0 / (breaks[q + 1] - breaks[q])
            u = (r - breaks[q]) * inverse
            power = 1.0
            for k in range(width + 1):
                powers[q, k] += power
                power *= u
            piece = coefficients[q]
            for f in range(width):
                value[f] = piece[width - 1, f]
                slope[f] = 0.0
            for k in range(width - 2, -1, -1):
                for f in range(width):
                    slope[f] = slope[f] * u + value[f]
                    value[f] = value[f] * u + piece[k, f]
            m = first[q]
            unit = 1.0 / r
            for f in range(width):
                change = slope[f] * inverse + (d - 1) * value[f] * unit
                divergence[i, m + f] -= change
                divergence[j, m + f] -= change
            for a in range(d):
                along = z[a] * unit
                for f in range(width):
                    pull = value[f] * along
                    velocity[i, a, m + f] -= pull
                    velocity[j, a, m + f] += pull
    return beyond


@njit(cache=True, nogil=True)
def add_jumps(positions, distance, blur, density):  # type: ignore[no-untyped-def]
    """Add to ``density`` (N,) how densely the others of ``positions`` (N, d) lie at a distance: sum_j w(r_ij).

    w is the window (15/32) (3 - 10 s^2 + 7 s^4) / blur of s = (r - distance) / blur, 0 beyond 1: its integral is 1 and
    its second moment 0, so that the bias is of fourth order. At distance 0 half of it is left, with half the integral.
    """
    size, d = positions.shape
    nearest, farthest = max(distance - blur, 0.0), distance + blur
    for i in range(size):
        for j in range(i):
            square = _square(positions, i, j, d)
            if nearest * nearest <= square < farthest * farthest:
                s = (np.sqrt(square) - distance) / blur
                value = 15.0 / 32.0 * (3.0 - 10.0 * s**2 + 7.0 * s**4) / blur
                density[i] += value
                density[j] += value


@njit(cache=True, nogil=True)
def add_blurred(positions, blur, excess):  # type: ignore[no-untyped-def]
    """Add to ``excess`` (N,) what a bounded function in place of 1 / r changes: sum_j [w(r_ij) - 1 / r_ij], r < blur.

    w = (5 - 10 s^2 + 6 s^4) / blur of s = r / blur has the integrals of 1 / r in the plane, times 1 and times r^2.
    """
    size, d = positions.shape
    for i in range(size):
        for j in range(i):
            square = _square(positions, i, j, d)
            if 0.0 < square < blur * blur:
                s = square / (blur * blur)
                value = (5.0 - 10.0 * s + 6.0 * s**2) / blur - 1.0 / np.sqrt(square)
                excess[i] += value
                excess[j] += value


@njit(cache=True, nogil=True)
def _square(positions, i, j, d):  # type: ignore[no-untyped-def]
    total = 0.0
    for a in range(d):
        z = positions[i, a] - positions[j, a]
        total += z * z
    return total
