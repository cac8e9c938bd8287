"""Initial positions, a pure function of (law, seed, replica, particle): any chunk of them has the same bits."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ipsdist.model.errors import InputError
from ipsdist.model.system import FromArray, InitialLaw, Mixture, Ring, Uniform
from ipsdist.numerics.particles.noise import INITIAL_NORMALS, INITIAL_UNIFORMS, normals, stream_of, uniforms

__all__ = ["sample"]

Array = npt.NDArray[np.float64]

_BLOCK = 2**16
_POSITION, _CHOICE = 0, 1
"""The counter's step: uniforms that place a particle, and the uniform that chooses its mode or radius."""
_RING_POINTS = 2**14


def sample(law: InitialLaw, dimension: int, seed: int, replica: int, first: int, count: int) -> Array:
    """Return the initial positions of the particles ``first .. first + count - 1`` (count, d).

    Every coordinate has the resolution of its 32-bit word: 2**-32 of a box side, 6e-7 standard deviations.
    """
    _check(law, dimension)
    positions = np.empty((count, dimension))
    for start in range(0, count, _BLOCK):
        size = min(_BLOCK, count - start)
        positions[start : start + size] = _block(law, dimension, seed, replica, first + start, size)
    return positions


def _check(law: InitialLaw, dimension: int) -> None:
    if isinstance(law, Ring) and dimension < 2:
        raise InputError("initial.ring", "needs dimension 2 or 3", f"dimension {dimension}", "use initial.mixture")
    match law:
        case Mixture():
            sizes = {len(mean) for mean in law.means}
        case Uniform():
            sizes = {len(law.lower), len(law.upper)}
        case FromArray():
            sizes = {law.positions.shape[1]}
        case _:
            sizes = {dimension}
    for size in sizes - {dimension}:
        raise InputError("initial", f"must have system.dimension = {dimension} coordinates", size)


def _block(law: InitialLaw, d: int, seed: int, replica: int, first: int, count: int) -> Array:
    if isinstance(law, FromArray):
        return law.positions[first : first + count]
    stream = stream_of(replica, INITIAL_UNIFORMS)
    if isinstance(law, Uniform):
        u = uniforms(seed, stream, _POSITION, first * d, count * d).reshape(count, d)
        lower, upper = np.array(law.lower), np.array(law.upper)
        box: Array = lower + (upper - lower) * u
        return box
    xi = normals(seed, stream_of(replica, INITIAL_NORMALS), _POSITION, first * d, count * d).reshape(count, d)
    choice = uniforms(seed, stream, _CHOICE, first, count)
    if isinstance(law, Mixture):
        edges = np.cumsum(law.weights) / np.sum(law.weights)
        mode = np.minimum(np.searchsorted(edges, choice, side="right"), len(edges) - 1)
        mixed: Array = np.array(law.means)[mode] + np.sqrt(law.variances)[mode, None] * xi
        return mixed
    return _ring_radii(law, d, choice)[:, None] * _directions(xi)


def _directions(xi: npt.NDArray[np.float32]) -> Array:
    """Return unit vectors along normals (n, d); the sum of squares runs in the order of the axes."""
    x = xi.astype(np.float64)
    square = x[:, 0] * x[:, 0]
    for a in range(1, x.shape[1]):
        square = square + x[:, a] * x[:, a]
    return x / np.sqrt(square)[:, None]


def _ring_radii(law: Ring, d: int, u: Array) -> Array:
    """Return radii with density r**(d-1) exp(-(r - R)**2 / (2 variance)), by inverting a fine table of its integral."""
    reach = 8 * np.sqrt(law.variance)
    r = np.linspace(max(0.0, law.radius - reach), law.radius + reach, _RING_POINTS + 1)
    density = r ** (d - 1) * np.exp(-((r - law.radius) ** 2) / (2 * law.variance))
    integral = np.concatenate([[0.0], np.cumsum((density[1:] + density[:-1]) / 2)])
    return np.interp(u, integral / integral[-1], r)
