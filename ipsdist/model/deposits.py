"""Deposits of a slice: the additive fixed-point integers that every form reads instead of positions."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ipsdist.model.mesh import Mesh

__all__ = ["COUNT_ONE", "MOVE_ONE", "PRODUCT_ONE", "Deposits", "move_one", "neighbour_offsets"]

COUNT_ONE = 2**16
"""Fixed-point unit of a weight: one whole particle adds this much to ``count``."""
PRODUCT_ONE = COUNT_ONE**2
"""Fixed-point unit of a product of two weights."""
MOVE_ONE = 2**20
"""Fixed-point unit of a squared displacement in mesh spacings, and of a displacement unless there are very many."""
_MANY = 26
"""Logarithm of the number of particles from which on displacements have coarser units."""


def move_one(particles: int) -> int:
    """Return the fixed-point unit of the displacements of a replica, in mesh spacings: a power of two.

    Halved for every doubling beyond 2**26 particles: their sums at a node fit 64 bits, and rounding stays far below
    what so many displacements scatter.
    """
    return max(1, MOVE_ONE >> max(0, (particles - 1).bit_length() - _MANY))


def neighbour_offsets(dimension: int) -> tuple[tuple[int, ...], ...]:
    """Return the lattice vectors that join two corners of a cell, first non-zero entry positive: 1, 4, 13 of them.

    ``products[k]`` at node a is the sum over particles of w_a * w_(a + offset_k), docs/method.md, section 4.
    """
    vectors = itertools.product((-1, 0, 1), repeat=dimension)
    return tuple(v for v in sorted(vectors, reverse=True) if next((c for c in v if c), 0) > 0)


@dataclass(frozen=True)
class Deposits:
    """What a slice of one replica (or of a chunk of it) leaves on the force mesh. Chunks add exactly, in any order."""

    mesh: Mesh
    particles: int
    """Number of particles deposited."""
    count: npt.NDArray[np.int64]
    """(nodes...) weights of particles at nodes, in units of 1 / COUNT_ONE."""
    products: npt.NDArray[np.int64]
    """(offsets, nodes...) products of neighbouring corner weights, in units of 1 / PRODUCT_ONE."""
    flux: npt.NDArray[np.int64] | None = None
    """(d, nodes...) weight times displacement to the next slice, in units of spacing / ``flux_one``; labelled only."""
    squared_move: int | None = None
    """Sum of |dX|**2 to the next slice, in units of spacing**2 / MOVE_ONE; labelled only."""
    worth: float = 1.0
    """Particles of the system that a deposited one stands for: below 1 for a density, which deposits very many."""
    move_one: int = MOVE_ONE
    """Fixed-point unit of a displacement in ``flux``."""

    @property
    def flux_one(self) -> int:
        """Fixed-point unit of a weight times a displacement in mesh spacings."""
        return COUNT_ONE * self.move_one

    def __add__(self, other: Deposits) -> Deposits:
        kinds = [(one.mesh, one.flux is None, one.worth, one.move_one) for one in (self, other)]
        if kinds[0] != kinds[1]:
            raise ValueError("deposits add only on one mesh and of one kind (both with flux, or both without)")
        moved = self.flux is not None and other.flux is not None
        return replace(
            self,
            particles=self.particles + other.particles,
            count=self.count + other.count,
            products=self.products + other.products,
            flux=self.flux + other.flux if moved else None,  # type: ignore[operator]
            squared_move=self.squared_move + other.squared_move if moved else None,  # type: ignore[operator]
        )

    def moved(self, to: Callable[[npt.NDArray[Any]], Any]) -> Deposits:
        """Return the same deposits with their arrays as ``to`` returns them: on a device, for who computes there."""
        flux = None if self.flux is None else to(self.flux)
        return replace(self, count=to(self.count), products=to(self.products), flux=flux)

    def on(self, mesh: Mesh) -> Deposits:
        """Return the same deposits on a mesh of the same spacing that contains this one."""
        if mesh == self.mesh:
            return self
        start = [a - b for a, b in zip(self.mesh.lower, mesh.lower, strict=True)]
        room = [m - s - n for m, s, n in zip(mesh.shape, start, self.mesh.shape, strict=True)]
        if mesh.spacing != self.mesh.spacing or min(*start, *room, 0) < 0:
            raise ValueError("`mesh` must have the same spacing and contain the mesh of the deposits")
        pad = list(zip(start, room, strict=True))
        return replace(
            self,
            mesh=mesh,
            count=np.pad(self.count, pad),
            products=np.pad(self.products, [(0, 0), *pad]),
            flux=None if self.flux is None else np.pad(self.flux, [(0, 0), *pad]),
        )

    def density_weights(self) -> npt.NDArray[np.float64]:
        """Return the counts as particles per node (nodes...), float64, exact."""
        return self.count / COUNT_ONE
