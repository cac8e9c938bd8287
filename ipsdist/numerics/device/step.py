"""The fused Euler-Maruyama step in Numba: noise, drift from the mesh, move and deposit in one pass over the particles.

    X' = (X + dt * f(X)) + s * xi,    f = multilinear interpolation of the node drift,    s = sqrt(diffusion * dt)

A block of particles at a time: its normals and moves are vector code, its deposits a scalar loop, all within the
first-level cache. Additions are ordered and never contracted (no fastmath), so the bits are those of the NumPy twin in
the tests. One particle is one addition to its *cell*: the histogram packs the number of particles (upper bits) and the
sum of their quantised weights (lower bits), and is unfolded to the nodes at the end.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from ipsdist.numerics.device.philox import fill_normals

__all__ = ["STEPS", "move"]

_BLOCK = 2048
_ONE = 65536
"""COUNT_ONE of model/deposits.py."""
_PACK = 40
_PACKED_PARTICLES = 2**23
"""Particles between two unfoldings in 1-D: their weights sum to at most 2**39."""


@njit(cache=True)
def move(positions, drift, dt, scale, table, first, step, stream, low, high):  # type: ignore[no-untyped-def]
    """Move by a given drift: flat ``positions`` and ``drift`` (n * d,), ``first`` the first word, a multiple of 4."""
    words = np.empty(_BLOCK, np.uint32)
    noise = np.empty(_BLOCK, np.float32)
    for start in range(0, positions.size, _BLOCK):
        x, f = positions[start : start + _BLOCK], drift[start : start + _BLOCK]
        xi = noise[: x.size]
        fill_normals(xi, words, table, first + np.uint64(start), step, stream, low, high)
        for i in range(x.size):
            x[i] = (x[i] + dt * f[i]) + scale * np.float64(xi[i])


@njit(cache=True)
def _unfold_1d(cells, count):  # type: ignore[no-untyped-def]
    for k in range(count.size - 1):
        particles, upper = cells[k] >> _PACK, cells[k] & ((1 << _PACK) - 1)
        count[k] += particles * _ONE - upper
        count[k + 1] += upper
        cells[k] = 0


@njit(cache=True)
def _step_1d(positions, drift, lower, inverse, dt, scale, table, first, step, stream, low, high, count):  # type: ignore[no-untyped-def]
    """Step flat ``positions`` (n,), add their new weights to ``count`` (nodes,), return how many left the mesh.

    ``drift`` (1, nodes) at the nodes, ``lower`` (1,) lattice index of the first node, ``inverse`` 1 / spacing. Particles
    off the mesh are moved but not deposited.
    """
    nodes, lowest = count.size, lower[0]
    line = np.zeros((nodes, 2))
    for k in range(nodes - 1):
        line[k, 0], line[k, 1] = drift[0, k], drift[0, k + 1] - drift[0, k]
    first_cell, end_cell = float(lowest), float(lowest + nodes - 1)
    cells = np.zeros(nodes, np.int64)
    words, noise = np.empty(_BLOCK, np.uint32), np.empty(_BLOCK, np.float32)
    cell, packed = np.empty(_BLOCK, np.int64), np.empty(_BLOCK, np.int64)
    lost, held = 0, 0
    for start in range(0, positions.size, _BLOCK):
        x = positions[start : start + _BLOCK]
        xi = noise[: x.size]
        fill_normals(xi, words, table, first + np.uint64(start), step, stream, low, high)
        out = 0
        for i in range(x.size):
            q = x[i] * inverse
            floor = np.floor(q)
            k = np.int64(floor) - lowest
            x[i] = (x[i] + dt * (line[k, 0] + (q - floor) * line[k, 1])) + scale * np.float64(xi[i])
            q = x[i] * inverse
            floor = np.floor(q)
            out += np.int64(not (floor >= first_cell and floor < end_cell))
            cell[i] = np.int64(floor) - lowest
            packed[i] = np.int64((q - floor) * _ONE + 0.5) + (1 << _PACK)
        lost += out
        if out == 0:
            for i in range(x.size):
                cells[cell[i]] += packed[i]
        held += x.size
        if held > _PACKED_PARTICLES:
            _unfold_1d(cells, count)
            held = 0
    _unfold_1d(cells, count)
    return lost


STEPS = {1: _step_1d}
"""The fused step for every dimension d; compiled on first use."""
