"""The fused Euler-Maruyama step in Numba: noise, drift from the mesh, move and deposit in one pass over the particles.

    X' = (X + dt * f(X)) + scale * xi,    f = multilinear interpolation of the node drift, scale = sqrt(diffusion * dt)

A block of particles at a time, so that everything between two passes stays near the core: its normals and its moves are
vector code, its deposits a scalar loop. Additions have one order and are never contracted (no fastmath), so the bits
are those of the NumPy twin in the tests. Numba compiles only the branch of the dimension at hand.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from ipsdist.numerics.device.philox import fill_normals

__all__ = ["move", "step"]

_BLOCK = 2048
"""Particles of a block: a multiple of 4, the words of a Philox block."""
_ONE, _HALF, _BITS = 65536, 32768, 16
"""COUNT_ONE of model/deposits.py, its half, its logarithm."""


@njit(cache=True, nogil=True)
def move(positions, drift, dt, scale, table, first, number, stream, low, high):  # type: ignore[no-untyped-def]
    """Move flat ``positions`` (n * d,) by a given ``drift`` (n * d,); the ``first`` word is a multiple of 4."""
    words = np.empty(_BLOCK, np.uint32)
    noise = np.empty(_BLOCK, np.float32)
    for start in range(0, positions.size, _BLOCK):
        x, f = positions[start : start + _BLOCK], drift[start : start + _BLOCK]
        xi = noise[: x.size]
        fill_normals(xi, words, table, first + np.uint64(start), number, stream, low, high)
        for i in range(x.size):
            x[i] = (x[i] + dt * f[i]) + scale * np.float64(xi[i])


@njit(cache=True, nogil=True)
def step(positions, drift, lower, inverse, dt, scale, table, first, number, stream, low, high, count):  # type: ignore[no-untyped-def]
    """Step flat ``positions`` (n * d,), add their new weights to ``count`` (nodes...), return how many left the mesh.

    ``drift`` (d, nodes...) at the nodes, ``lower`` (d,) lattice index of the first node, ``inverse`` 1 / spacing. The
    mesh must hold the old positions. When some left, the count is incomplete: grow the mesh and deposit anew.
    """
    d = drift.shape[0]
    words, noise = np.empty(_BLOCK * d, np.uint32), np.empty(_BLOCK * d, np.float32)
    cell, upper = np.empty(_BLOCK, np.int64), np.empty((d, _BLOCK), np.int64)
    lost = 0
    for start in range(0, positions.size, _BLOCK * d):
        x = positions[start : start + _BLOCK * d]
        xi = noise[: x.size]
        fill_normals(xi, words, table, first + np.uint64(start), number, stream, low, high)
        if drift.ndim == 2:
            out = _move_1d(x, xi, drift, lower, inverse, dt, scale, cell, upper)
        elif drift.ndim == 3:
            out = _move_2d(x, xi, drift, lower, inverse, dt, scale, cell, upper)
        else:
            out = _move_3d(x, xi, drift, lower, inverse, dt, scale, cell, upper)
        lost += out
        if out == 0:
            if drift.ndim == 2:
                _add_1d(cell[: x.size], upper, count)
            elif drift.ndim == 3:
                _add_2d(cell[: x.size // 2], upper, count)
            else:
                _add_3d(cell[: x.size // 3], upper, count)
    return lost


# --- one dimension ---------------------------------------------------------------------------------------------------


@njit(cache=True)
def _move_1d(x, xi, drift, lower, inverse, dt, scale, cell, upper):  # type: ignore[no-untyped-def]
    """Move a block, note the new ``cell`` and quantised ``upper`` weights, return how many are off the mesh."""
    field, first = drift[0], lower[0]
    low, high = float(first), float(first + field.size - 1)
    out = np.int64(0)
    for i in range(x.size):
        q = x[i] * inverse
        floor = np.floor(q)
        k = np.int64(floor) - first
        x[i] = (x[i] + dt * (field[k] + (q - floor) * (field[k + 1] - field[k]))) + scale * np.float64(xi[i])
        q = x[i] * inverse
        floor = np.floor(q)
        out += np.int64(not (floor >= low and floor < high))
        cell[i] = np.int64(floor) - first
        upper[0, i] = np.int64((q - floor) * _ONE + 0.5)
    return out


@njit(cache=True)
def _add_1d(cell, upper, count):  # type: ignore[no-untyped-def]
    for i in range(cell.size):
        k, w = cell[i], upper[0, i]
        count[k] += _ONE - w
        count[k + 1] += w


# --- two dimensions --------------------------------------------------------------------------------------------------


@njit(cache=True)
def _bilinear(field, k, row, u, v):  # type: ignore[no-untyped-def]
    """Interpolate flat ``field`` in the cell at ``k``: first along the last axis (v), then along the one before (u)."""
    near = field[k] + v * (field[k + 1] - field[k])
    far = field[k + row] + v * (field[k + row + 1] - field[k + row])
    return near + u * (far - near)


@njit(cache=True)
def _move_2d(x, xi, drift, lower, inverse, dt, scale, cell, upper):  # type: ignore[no-untyped-def]
    n0, row = drift.shape[1], drift.shape[2]
    f0, f1 = drift[0].reshape(-1), drift[1].reshape(-1)
    first0, first1 = lower[0], lower[1]
    low0, high0 = float(first0), float(first0 + n0 - 1)
    low1, high1 = float(first1), float(first1 + row - 1)
    out = np.int64(0)
    for i in range(x.size // 2):
        x0, x1 = x[2 * i], x[2 * i + 1]
        q0, q1 = x0 * inverse, x1 * inverse
        floor0, floor1 = np.floor(q0), np.floor(q1)
        k = (np.int64(floor0) - first0) * row + (np.int64(floor1) - first1)
        u, v = q0 - floor0, q1 - floor1
        x0 = (x0 + dt * _bilinear(f0, k, row, u, v)) + scale * np.float64(xi[2 * i])
        x1 = (x1 + dt * _bilinear(f1, k, row, u, v)) + scale * np.float64(xi[2 * i + 1])
        x[2 * i], x[2 * i + 1] = x0, x1
        q0, q1 = x0 * inverse, x1 * inverse
        floor0, floor1 = np.floor(q0), np.floor(q1)
        out += np.int64(not (floor0 >= low0 and floor0 < high0 and floor1 >= low1 and floor1 < high1))
        cell[i] = (np.int64(floor0) - first0) * row + (np.int64(floor1) - first1)
        upper[0, i] = np.int64((q0 - floor0) * _ONE + 0.5)
        upper[1, i] = np.int64((q1 - floor1) * _ONE + 0.5)
    return out


@njit(cache=True)
def _split(weight, upper):  # type: ignore[no-untyped-def]
    """Return the share of ``weight`` that goes to the upper node, half up."""
    return (weight * upper + _HALF) >> _BITS


@njit(cache=True)
def _add_2d(cell, upper, count):  # type: ignore[no-untyped-def]
    row = count.shape[1]
    nodes = count.reshape(-1)
    for i in range(cell.size):
        k, w1, v = cell[i], upper[0, i], upper[1, i]
        w0 = _ONE - w1
        w11, w01 = _split(w1, v), _split(w0, v)
        nodes[k] += w0 - w01
        nodes[k + 1] += w01
        nodes[k + row] += w1 - w11
        nodes[k + row + 1] += w11


# --- three dimensions ------------------------------------------------------------------------------------------------


@njit(cache=True)
def _trilinear(field, k, plane, row, u, v, w):  # type: ignore[no-untyped-def]
    near = _bilinear(field, k, row, v, w)
    return near + u * (_bilinear(field, k + plane, row, v, w) - near)


@njit(cache=True)
def _move_3d(x, xi, drift, lower, inverse, dt, scale, cell, upper):  # type: ignore[no-untyped-def]
    row = drift.shape[3]
    plane = drift.shape[2] * row
    f0, f1, f2 = drift[0].reshape(-1), drift[1].reshape(-1), drift[2].reshape(-1)
    out = np.int64(0)
    for i in range(x.size // 3):
        x0, x1, x2 = x[3 * i], x[3 * i + 1], x[3 * i + 2]
        q0, q1, q2 = x0 * inverse, x1 * inverse, x2 * inverse
        floor0, floor1, floor2 = np.floor(q0), np.floor(q1), np.floor(q2)
        k = (np.int64(floor0) - lower[0]) * plane + (np.int64(floor1) - lower[1]) * row + (np.int64(floor2) - lower[2])
        u, v, w = q0 - floor0, q1 - floor1, q2 - floor2
        x[3 * i] = (x0 + dt * _trilinear(f0, k, plane, row, u, v, w)) + scale * np.float64(xi[3 * i])
        x[3 * i + 1] = (x1 + dt * _trilinear(f1, k, plane, row, u, v, w)) + scale * np.float64(xi[3 * i + 1])
        x[3 * i + 2] = (x2 + dt * _trilinear(f2, k, plane, row, u, v, w)) + scale * np.float64(xi[3 * i + 2])
        index, inside = 0, True
        for a in range(3):
            q = x[3 * i + a] * inverse
            floor = np.floor(q)
            inside &= floor >= lower[a] and floor < lower[a] + drift.shape[a + 1] - 1
            index = index * drift.shape[a + 1] + np.int64(floor) - lower[a]
            upper[a, i] = np.int64((q - floor) * _ONE + 0.5)
        cell[i] = index
        out += np.int64(not inside)
    return out


@njit(cache=True)
def _add_3d(cell, upper, count):  # type: ignore[no-untyped-def]
    row = count.shape[2]
    plane = count.shape[1] * row
    nodes = count.reshape(-1)
    for i in range(cell.size):
        for x in range(2):
            w = upper[0, i] if x else _ONE - upper[0, i]
            for y in range(2):
                high = _split(w, upper[1, i])
                part = high if y else w - high
                k = cell[i] + x * plane + y * row
                last = _split(part, upper[2, i])
                nodes[k] += part - last
                nodes[k + 1] += last
