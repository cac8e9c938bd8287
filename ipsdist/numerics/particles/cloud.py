"""The particles of one part of a replica, wherever they are kept: what stepping and slices ask of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, Self

import numpy as np
import numpy.typing as npt

from ipsdist.arrays import Ring
from ipsdist.model.mesh import Mesh

__all__ = ["Cloud", "Motion", "Noise"]

Array = npt.NDArray[np.float64]
Positions = npt.NDArray[np.float64] | npt.NDArray[np.float32]
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Noise:
    """Which normals the coordinates of a part take: word ``first`` + i of the stream at a step is for coordinate i."""

    first: int
    """A multiple of 4."""
    stream: int
    low: int
    """Low 32 bits of the seed."""
    high: int


@dataclass(frozen=True)
class Motion:
    """One Euler-Maruyama step: X' = (X + dt * drift) + scale * xi(number)."""

    dt: float
    scale: float
    """sqrt(diffusion * dt)."""
    number: int
    """Of the step, which the noise depends on."""


class Cloud(Protocol):
    """Positions (n, d) of a part, float64 or float32.

    All arithmetic is in float64 and rounds once when a position is stored, so that every implementation gives the same
    bits. Integers that it returns lie on the host.
    """

    @property
    def shape(self) -> tuple[int, int]:
        """Particles n and dimension d."""
        ...

    @property
    def dtype(self) -> np.dtype[np.float64] | np.dtype[np.float32]:
        """What the positions are kept in."""
        ...

    def step(
        self, mesh: Mesh, drift: Any, motion: Motion, noise: Noise, count: Integers, ring: Ring | None = None
    ) -> int:
        """Move all by the drift at the nodes, interpolated, and add their new weights to ``count``.

        The drift is (d, nodes...) on the host, or (d, nodes) where the cloud lies, in the type of the positions.

        Returns how many left the mesh; if any did, the count is incomplete. Returns -1 where old positions were off the
        mesh; the positions mean nothing then. With a ``ring``, which only a device takes part in, the weights and the
        answer are those of all its ranks, each of which must step at the same time. Raises what the ring raises.
        """
        ...

    def extent(self) -> tuple[Array, Array]:
        """Return the lowest and the highest corner (d,), (d,); inf and -inf of no particles, NaN where one is NaN."""
        ...

    def broken(self) -> int:
        """Return how many have no finite position."""
        ...

    def off(self, mesh: Mesh) -> int:
        """Return how many are off the mesh."""
        ...

    def deposits(self, mesh: Mesh) -> tuple[Integers, Integers]:
        """Return count (nodes...) and products (offsets, nodes...). Raises ValueError when one is off the mesh."""
        ...

    def moves(self, after: Self, mesh: Mesh, unit: int) -> tuple[Integers, Integers, float]:
        """Return flux (d, nodes...), the sum of squared displacements (2,), low 32 bits and the rest, and the reach.

        Weights are those of this cloud, which the mesh must hold (ValueError); displacements to ``after`` are in
        spacings, rounded to 1 / ``unit``; the reach is the largest along an axis.
        """
        ...

    def squares(self, after: Self, mesh: Mesh) -> tuple[Integers, float]:
        """Return the sum of squared displacements (2,) and the reach alone, in units of 1 / MOVE_ONE."""
        ...

    def copy(self, into: Self | None = None) -> Self:
        """Return a copy, in the memory of ``into``, which is not needed any more, where that is given."""
        ...

    def rows(self, first: int, stop: int) -> Positions:
        """Return positions of particles [first, stop) of this part (rows, d) on the host; perhaps a view."""
        ...
