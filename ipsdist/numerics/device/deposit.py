"""Deposits of given positions in Numba: counts, products of neighbouring corner weights, flux.

The corner c of a cell is a bit mask, bit a set for the upper node of axis a. Weights are split axis by axis in
integers, so that the corners of a particle sum to COUNT_ONE exactly; everything after the quantisation is an integer
and adds in any order. In one dimension, where slices may be as many as steps, a loop of its own is nine times as fast.

Positions are float64 or float32; what is done with them is done in float64.
"""

from __future__ import annotations

import numpy as np
from numba import njit

__all__ = ["add_squares", "deposit_flux", "deposit_flux_1d", "deposit_products", "deposit_products_1d"]

_ONE = 65536
"""COUNT_ONE of model/deposits.py."""
_BITS = 16
_HALF = 1 << (_BITS - 1)
_MOVE_ONE = 2.0**20
"""MOVE_ONE of model/deposits.py."""


@njit(cache=True)
def _corner_weights(x, inverse, lower, shape, strides, weights):  # type: ignore[no-untyped-def]
    """Write the weights (2**d,) of a position (d,); return the flat index of its lowest node, -1 off the mesh."""
    node = 0
    weights[0] = _ONE
    for a in range(x.size):
        q = x[a] * inverse
        floor = np.floor(q)
        if not (floor >= lower[a] and floor < lower[a] + shape[a] - 1):
            return -1
        node += (np.int64(floor) - lower[a]) * strides[a]
        upper = np.int64((q - floor) * _ONE + 0.5)
        corners = 1 << a
        for c in range(corners):
            # Half up: one rule for every axis, and w = 1 on the first axis gives ``upper`` itself.
            part = (weights[c] * upper + _HALF) >> _BITS
            weights[c + corners] = part
            weights[c] -= part
    return node


@njit(cache=True, nogil=True)
def deposit_products(positions, inverse, lower, shape, strides, steps, pairs, count, products):  # type: ignore[no-untyped-def]
    """Add the weights of ``positions`` (n, d) to flat ``count`` (nodes,) and ``products`` (offsets, nodes).

    ``steps`` (2**d,) is the flat step from the lowest node to each corner; ``pairs`` (K, 3) lists first corner, second
    corner and offset of every pair of corners. Returns how many positions are off the mesh; those are skipped.
    """
    weights = np.empty(steps.size, np.int64)
    lost = 0
    for i in range(positions.shape[0]):
        node = _corner_weights(positions[i], inverse, lower, shape, strides, weights)
        if node < 0:
            lost += 1
            continue
        for c in range(steps.size):
            count[node + steps[c]] += weights[c]
        for p in range(pairs.shape[0]):
            a, b, k = pairs[p, 0], pairs[p, 1], pairs[p, 2]
            products[k, node + steps[a]] += weights[a] * weights[b]
    return lost


@njit(cache=True, nogil=True)
def deposit_flux(before, after, inverse, lower, shape, strides, steps, move_one, flux, squares, reach):  # type: ignore[no-untyped-def]
    """Add weight of ``before`` (n, d) times displacement to ``flux`` (d, nodes); return how many are off the mesh.

    Displacements are in spacings, rounded to 1 / ``move_one``. ``squares`` (2,) receives the sum of their squares,
    rounded to 1 / MOVE_ONE, low 32 bits and the rest apart, so that no particle number overflows it; ``reach`` (1,) the
    largest displacement along an axis, by which the caller tells whether any of these integers overflowed.
    """
    weights = np.empty(steps.size, np.int64)
    lost, farthest = 0, reach[0]
    for i in range(before.shape[0]):
        node = _corner_weights(before[i], inverse, lower, shape, strides, weights)
        if node < 0:
            lost += 1
            continue
        square = 0.0
        for a in range(before.shape[1]):
            shift = (np.float64(after[i, a]) - np.float64(before[i, a])) * inverse
            square += shift * shift
            farthest = max(farthest, abs(shift))
            amount = np.int64(np.rint(shift * move_one))
            for c in range(steps.size):
                flux[a, node + steps[c]] += weights[c] * amount
        whole = np.int64(np.rint(square * _MOVE_ONE))
        squares[0] += whole & 0xFFFFFFFF
        squares[1] += whole >> 32
    reach[0] = farthest
    return lost


@njit(cache=True, nogil=True)
def deposit_products_1d(positions, inverse, lower, count, products):  # type: ignore[no-untyped-def]
    """Do what `deposit_products` does for flat ``positions`` (n,), ``count`` and ``products`` (nodes,)."""
    lost = 0
    for i in range(positions.size):
        q = positions[i] * inverse
        floor = np.floor(q)
        if not (floor >= lower and floor < lower + count.size - 1):
            lost += 1
            continue
        k = np.int64(floor) - lower
        w = np.int64((q - floor) * _ONE + 0.5)
        count[k] += _ONE - w
        count[k + 1] += w
        products[k] += w * (_ONE - w)
    return lost


@njit(cache=True, nogil=True)
def deposit_flux_1d(before, after, inverse, lower, move_one, flux, squares, reach):  # type: ignore[no-untyped-def]
    """Do what `deposit_flux` does for flat ``before`` and ``after`` (n,) and ``flux`` (nodes,)."""
    lost, farthest = 0, reach[0]
    for i in range(before.size):
        q = before[i] * inverse
        floor = np.floor(q)
        if not (floor >= lower and floor < lower + flux.size - 1):
            lost += 1
            continue
        k = np.int64(floor) - lower
        w = np.int64((q - floor) * _ONE + 0.5)
        shift = (np.float64(after[i]) - np.float64(before[i])) * inverse
        farthest = max(farthest, abs(shift))
        amount = np.int64(np.rint(shift * move_one))
        flux[k] += (_ONE - w) * amount
        flux[k + 1] += w * amount
        whole = np.int64(np.rint(shift * shift * _MOVE_ONE))
        squares[0] += whole & 0xFFFFFFFF
        squares[1] += whole >> 32
    reach[0] = farthest
    return lost


@njit(cache=True, nogil=True)
def add_squares(before, after, inverse, squares, reach):  # type: ignore[no-untyped-def]
    """Add the rounded squares of the displacements (n, d) to ``squares`` (2,), as `deposit_flux` does; no mesh."""
    farthest = reach[0]
    for i in range(before.shape[0]):
        square = 0.0
        for a in range(before.shape[1]):
            shift = (np.float64(after[i, a]) - np.float64(before[i, a])) * inverse
            square += shift * shift
            farthest = max(farthest, abs(shift))
        whole = np.int64(np.rint(square * _MOVE_ONE))
        squares[0] += whole & 0xFFFFFFFF
        squares[1] += whole >> 32
    reach[0] = farthest
