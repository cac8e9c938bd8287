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
    """Step flat ``positions`` (n * d,), add their new weights to ``count`` (nodes...).

    ``drift`` (d, nodes...) at the nodes, ``lower`` (d,) lattice index of the first node, ``inverse`` 1 / spacing.
    Returns how many particles left the mesh; if any did, the count is incomplete: grow the mesh and deposit anew.
    Returns -1 at the first block whose old positions the mesh does not hold.
    """
    d = drift.ndim - 1  # a constant to the compiler: inner loops over axes unroll, outer ones become vector code
    origin, sides = lower.astype(np.float64), np.empty(d)
    for a in range(d):
        sides[a] = drift.shape[a + 1]
    words, noise = np.empty(_BLOCK * d, np.uint32), np.empty(_BLOCK * d, np.float32)
    force, share = np.empty(_BLOCK * d), np.empty((d, _BLOCK))
    cell, upper = np.empty(_BLOCK, np.int64), np.empty((d, _BLOCK), np.int64)
    lost = 0
    for start in range(0, positions.size, _BLOCK * d):
        x = positions[start : start + _BLOCK * d]
        xi, cells = noise[: x.size], cell[: x.size // d]
        fill_normals(xi, words, table, first + np.uint64(start), number, stream, low, high)
        if _locate(x, d, inverse, origin, sides, cells, share) > 0:
            return -1
        if drift.ndim == 2:
            _interpolate_1d(drift, cells, share, force)
        elif drift.ndim == 3:
            _interpolate_2d(drift, cells, share, force)
        else:
            _interpolate_3d(drift, cells, share, force)
        for i in range(x.size):
            x[i] = (x[i] + dt * force[i]) + scale * np.float64(xi[i])
        out = _locate(x, d, inverse, origin, sides, cells, share)
        lost += out
        if out == 0:
            _quantise(share, cells.size, upper)
            if drift.ndim == 2:
                _add_1d(cells, upper, count)
            elif drift.ndim == 3:
                _add_2d(cells, upper, count)
            else:
                _add_3d(cells, upper, count)
    return lost


@njit(cache=True, inline="always")
def _locate(x, d, inverse, origin, sides, cell, share):  # type: ignore[no-untyped-def]
    """Write the flat index of every particle's ``cell`` (n,) and its ``share`` (d, n) of the upper node of each axis.

    ``origin`` and ``sides`` (d,) are the lattice index of the first node and the number of nodes, in float64: exact,
    and vector code on any machine. Returns how many particles are off the mesh; their cells mean nothing.
    """
    out = np.int64(0)
    for i in range(cell.size):
        index, inside = 0.0, True
        for a in range(d):
            q = x[i * d + a] * inverse
            floor = np.floor(q)
            share[a, i] = q - floor
            offset = floor - origin[a]
            index = index * sides[a] + offset
            inside &= (offset >= 0.0) & (offset < sides[a] - 1.0)
        cell[i] = np.int64(index)
        out += np.int64(not inside)
    return out


@njit(cache=True)
def _quantise(share, size, upper):  # type: ignore[no-untyped-def]
    for a in range(share.shape[0]):
        line, quanta = share[a], upper[a]
        for i in range(size):
            quanta[i] = np.int64(line[i] * _ONE + 0.5)


# --- gather: the force of a cell's corners, linear along the last axis first ----------------------------------------


@njit(cache=True)
def _linear(field, k, u):  # type: ignore[no-untyped-def]
    return field[k] + u * (field[k + 1] - field[k])


@njit(cache=True)
def _bilinear(field, k, row, u, v):  # type: ignore[no-untyped-def]
    near = _linear(field, k, v)
    return near + u * (_linear(field, k + row, v) - near)


@njit(cache=True)
def _trilinear(field, k, plane, row, u, v, w):  # type: ignore[no-untyped-def]
    near = _bilinear(field, k, row, v, w)
    return near + u * (_bilinear(field, k + plane, row, v, w) - near)


@njit(cache=True)
def _interpolate_1d(drift, cell, share, force):  # type: ignore[no-untyped-def]
    field = drift[0]
    for i in range(cell.size):
        force[i] = _linear(field, cell[i], share[0, i])


@njit(cache=True)
def _interpolate_2d(drift, cell, share, force):  # type: ignore[no-untyped-def]
    row = drift.shape[2]
    f0, f1 = drift[0].reshape(-1), drift[1].reshape(-1)
    for i in range(cell.size):
        k, u, v = cell[i], share[0, i], share[1, i]
        force[2 * i] = _bilinear(f0, k, row, u, v)
        force[2 * i + 1] = _bilinear(f1, k, row, u, v)


@njit(cache=True)
def _interpolate_3d(drift, cell, share, force):  # type: ignore[no-untyped-def]
    row = drift.shape[3]
    plane = drift.shape[2] * row
    f0, f1, f2 = drift[0].reshape(-1), drift[1].reshape(-1), drift[2].reshape(-1)
    for i in range(cell.size):
        k, u, v, w = cell[i], share[0, i], share[1, i], share[2, i]
        force[3 * i] = _trilinear(f0, k, plane, row, u, v, w)
        force[3 * i + 1] = _trilinear(f1, k, plane, row, u, v, w)
        force[3 * i + 2] = _trilinear(f2, k, plane, row, u, v, w)


# --- deposit: integers that sum to _ONE a particle ------------------------------------------------------------------


@njit(cache=True)
def _split(weight, upper):  # type: ignore[no-untyped-def]
    """Return the share of ``weight`` that goes to the upper node, half up."""
    return (weight * upper + _HALF) >> _BITS


@njit(cache=True)
def _add_1d(cell, upper, count):  # type: ignore[no-untyped-def]
    for i in range(cell.size):
        k, w = cell[i], upper[0, i]
        count[k] += _ONE - w
        count[k + 1] += w


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
