"""Positions to deposits: what a slice leaves on the force mesh (docs/method.md, section 3)."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import cast

import numpy as np
import numpy.typing as npt

from ipsdist.model.deposits import COUNT_ONE, MOVE_ONE, Deposits, move_one, neighbour_offsets
from ipsdist.model.errors import RunError
from ipsdist.model.mesh import Mesh

__all__ = [
    "check_moves",
    "deposit",
    "deposit_flux",
    "moves_of",
    "refuse_lost",
    "squared_moves",
    "squares_of",
    "total_of",
    "weights_of",
]

Positions = npt.NDArray[np.float64] | npt.NDArray[np.float32]
Integers = npt.NDArray[np.int64]

_ROOM = 2.0**63
"""What an integer of a deposit cannot reach."""
_FARTHEST = 2.0**20
"""Spacings whose square, of three axes, is an integer still in units of 1 / MOVE_ONE."""


def _layout(mesh: Mesh) -> tuple[float, Integers, Integers, Integers, Integers]:
    """Return 1 / spacing, lower, shape, strides (d,) and the flat step to every corner (2**d,)."""
    strides = np.array([math.prod(mesh.shape[a + 1 :]) for a in range(mesh.dimension)], dtype=np.int64)
    corners = np.arange(2**mesh.dimension)
    steps = sum((corners >> a & 1) * strides[a] for a in range(mesh.dimension))
    return 1.0 / mesh.spacing, np.array(mesh.lower), np.array(mesh.shape), strides, np.asarray(steps, dtype=np.int64)


@lru_cache
def _pairs(dimension: int) -> Integers:
    """Return (K, 3): first corner, second corner and offset number of every pair of corners of a cell."""
    offsets = {offset: k for k, offset in enumerate(neighbour_offsets(dimension))}
    corners = range(2**dimension)
    found = []
    for a in corners:
        for b in corners:
            offset = tuple((b >> axis & 1) - (a >> axis & 1) for axis in range(dimension))
            if offset in offsets:
                found.append((a, b, offsets[offset]))
    return np.array(found, dtype=np.int64)


def _checked(positions: npt.ArrayLike, mesh: Mesh) -> Positions:
    given = np.asarray(positions)
    # Those in float32 stay what they are: a copy of them would take twice their memory.
    kind: type[np.float32 | np.float64] = np.float32 if given.dtype == np.float32 else np.float64
    x = cast(Positions, np.ascontiguousarray(given, dtype=kind))
    if x.ndim != 2 or x.shape[1] != mesh.dimension:
        raise ValueError(f"`positions` must be (N, {mesh.dimension}); got {x.shape}")
    return x


def refuse_lost(lost: int, particles: int) -> None:
    """Raise ValueError where particles are off the mesh."""
    if lost:
        raise ValueError(f"`mesh` must hold every particle; {lost} of {particles} are off it; grow it with Mesh.grown")


def deposit(positions: npt.ArrayLike, mesh: Mesh) -> Deposits:
    """Return count and products of ``positions`` (N, d); chunks of them add to exactly the same integers.

    Raises ValueError when a position is off the mesh or not finite.
    """
    x = _checked(positions, mesh)
    return Deposits(mesh, len(x), *weights_of(x, mesh))


def weights_of(x: Positions, mesh: Mesh) -> tuple[Integers, Integers]:
    """Return count (nodes...) and products (offsets, nodes...) of contiguous positions (N, d); raises as `deposit`."""
    from ipsdist.numerics.device import deposit as device

    count = np.zeros(math.prod(mesh.shape), dtype=np.int64)
    products = np.zeros((len(neighbour_offsets(mesh.dimension)), count.size), dtype=np.int64)
    if mesh.dimension == 1:
        lost = device.deposit_products_1d(x.reshape(-1), 1.0 / mesh.spacing, mesh.lower[0], count, products[0])
    else:
        lost = device.deposit_products(x, *_layout(mesh), _pairs(mesh.dimension), count, products)
    refuse_lost(lost, len(x))
    return count.reshape(mesh.shape), products.reshape(-1, *mesh.shape)


def deposit_flux(
    before: npt.ArrayLike, after: npt.ArrayLike, mesh: Mesh, most: int | None = None, unit: int | None = None
) -> tuple[Integers, int]:
    """Return the flux (d, nodes...) and the squared move from ``before`` to ``after`` (N, d), units as in `Deposits`.

    The weights are those of ``before``, which the mesh must hold (ValueError); ``after`` may lie anywhere. ``most`` is
    the largest count of a node where ``before`` are a part of the particles only; ``unit`` is that of displacements,
    `move_one` of N by default. Raises RunError as `check_moves` does.
    """
    x, y = _pair(before, after, mesh)
    unit = move_one(len(x)) if unit is None else unit
    flux, squares, reach = moves_of(x, y, mesh, unit)
    if most is None:
        # Cheap to tell for most; else the nodes are looked at.
        most = len(x) * COUNT_ONE
        if most * _amount(reach, unit) >= _ROOM:
            most = int(weights_of(x, mesh)[0].max())
    check_moves(reach, most, unit)
    return flux, total_of(squares)


def moves_of(x: Positions, y: Positions, mesh: Mesh, unit: int) -> tuple[Integers, Integers, float]:
    """Return flux (d, nodes...), sum of squares (2,) and reach of contiguous positions; sums may have wrapped around.

    Raises ValueError where the mesh does not hold the positions before.
    """
    from ipsdist.numerics.device import deposit as device

    flux = np.zeros((mesh.dimension, math.prod(mesh.shape)), dtype=np.int64)
    squares, reach = np.zeros(2, dtype=np.int64), np.zeros(1)
    if mesh.dimension == 1:
        flat = x.reshape(-1), y.reshape(-1)
        lost = device.deposit_flux_1d(*flat, 1.0 / mesh.spacing, mesh.lower[0], float(unit), flux[0], squares, reach)
    else:
        lost = device.deposit_flux(x, y, *_layout(mesh), float(unit), flux, squares, reach)
    refuse_lost(lost, len(x))
    return flux.reshape(mesh.dimension, *mesh.shape), squares, float(reach[0])


def check_moves(reach: float, most: int = 0, unit: int = MOVE_ONE) -> None:
    """Raise RunError where displacements of ``reach`` spacings may not fit 64 bits.

    Those are the sums of a node with the count ``most``, in units of 1 / ``unit``: 2**27 particles times spacings; and
    from 2**20 spacings on the squares.
    """
    if not (reach <= _FARTHEST and most * _amount(reach, unit) < _ROOM):
        raise RunError(
            f"particles move by up to {reach:.3g} mesh spacings between two slices, too far for exact sums of so many; "
            "observe more often (time.observe_every, data.slices), or set data.labelled = false"
        )


def _amount(reach: float, unit: int) -> float:
    return reach * unit + 1.0


def squared_moves(before: npt.ArrayLike, after: npt.ArrayLike, mesh: Mesh) -> int:
    """Return the sum of |after - before|**2 of positions (N, d), in units of spacing**2 / MOVE_ONE.

    Each square is rounded to an integer, so that chunks add exactly in any order. Raises RunError where it would
    overflow: beyond 2**20 spacings.
    """
    squares, reach = squares_of(*_pair(before, after, mesh), mesh)
    check_moves(reach)
    return total_of(squares)


def squares_of(x: Positions, y: Positions, mesh: Mesh) -> tuple[Integers, float]:
    """Return sum of squares (2,), low 32 bits and the rest, and reach of contiguous positions (N, d)."""
    from ipsdist.numerics.device import deposit as device

    squares, reach = np.zeros(2, dtype=np.int64), np.zeros(1)
    device.add_squares(x, y, 1.0 / mesh.spacing, squares, reach)
    return squares, float(reach[0])


def total_of(squares: Integers) -> int:
    """Return the integer whose low 32 bits and whose rest were added apart (2,)."""
    return int(squares[0]) + (int(squares[1]) << 32)


def _pair(before: npt.ArrayLike, after: npt.ArrayLike, mesh: Mesh) -> tuple[Positions, Positions]:
    x, y = _checked(before, mesh), _checked(after, mesh)
    if x.shape != y.shape:
        raise ValueError(f"`before` and `after` must be the same particles; got {x.shape} and {y.shape}")
    return x, y
