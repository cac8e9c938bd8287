"""A cloud in the memory of this process, stepped and deposited by Numba."""

from __future__ import annotations

from typing import cast

import numpy as np
import numpy.typing as npt

from ipsdist.arrays import Ring
from ipsdist.model.mesh import Mesh
from ipsdist.numerics.densities.deposit import moves_of, squares_of, weights_of
from ipsdist.numerics.particles.cloud import Motion, Noise
from ipsdist.numerics.particles.noise import NORMAL_TABLE

__all__ = ["HostCloud"]

Array = npt.NDArray[np.float64]
Positions = npt.NDArray[np.float64] | npt.NDArray[np.float32]
Integers = npt.NDArray[np.int64]

_LOOK = 2**20
"""Particles looked at together: what is made of them takes no memory to speak of."""


class HostCloud:
    """Positions (n, d) as a NumPy array; see `cloud.Cloud`."""

    def __init__(self, positions: npt.ArrayLike, chunk: int | None = None, copy: bool = True) -> None:
        """Float32 stays what it is, anything else becomes float64; copied unless ``copy`` is false and it can be kept.

        ``chunk`` particles (a multiple of 4) are stepped at a time; it changes no bit.
        """
        given = np.asarray(positions)
        kind: type[np.float32 | np.float64] = np.float32 if given.dtype == np.float32 else np.float64
        self.positions = cast(Positions, np.array(given, dtype=kind, order="C", ndmin=2, copy=copy or None))
        self._chunk = chunk

    @property
    def shape(self) -> tuple[int, int]:
        """Particles n and dimension d."""
        n, d = self.positions.shape
        return n, d

    @property
    def dtype(self) -> np.dtype[np.float64] | np.dtype[np.float32]:
        """What the positions are kept in."""
        return self.positions.dtype

    def step(
        self, mesh: Mesh, drift: Array, motion: Motion, noise: Noise, count: Integers, ring: Ring | None = None
    ) -> int:
        """Move all by the drift at the nodes, add their new weights to ``count``; see `cloud.Cloud`."""
        from ipsdist.numerics.device.step import step

        if ring is not None:
            raise ValueError("particles on the host take no part in a ring")
        flat, words = self.positions.reshape(-1), self._words
        lower, inverse, lost = np.array(mesh.lower), 1.0 / mesh.spacing, 0
        for q in range(0, flat.size, words):
            x = flat[q : q + words]
            numbers = _numbers(motion, noise, q)
            out = step(x, drift, lower, inverse, motion.dt, motion.scale, NORMAL_TABLE, *numbers, count)
            if out < 0:
                return -1
            lost += int(out)
        return lost

    def move(self, drift: Array, motion: Motion, noise: Noise) -> None:
        """Move all by a drift of their own (n, d)."""
        from ipsdist.numerics.device.step import move

        flat, given, words = self.positions.reshape(-1), drift.reshape(-1), self._words
        for q in range(0, flat.size, words):
            x, f = flat[q : q + words], given[q : q + words]
            move(x, f, motion.dt, motion.scale, NORMAL_TABLE, *_numbers(motion, noise, q))

    def extent(self) -> tuple[Array, Array]:
        """Return the lowest and the highest corner; see `cloud.Cloud`."""
        x = self.positions
        lowest, highest = x.min(axis=0, initial=np.inf), x.max(axis=0, initial=-np.inf)
        return lowest.astype(np.float64), highest.astype(np.float64)

    def broken(self) -> int:
        """Return how many have no finite position."""
        return sum(int((~np.isfinite(x)).any(axis=1).sum()) for x in self._pieces())

    def off(self, mesh: Mesh) -> int:
        """Return how many are off the mesh."""
        return sum(_off(x, mesh) for x in self._pieces())

    def deposits(self, mesh: Mesh) -> tuple[Integers, Integers]:
        """Return count and products; see `cloud.Cloud`."""
        return weights_of(self.positions, mesh)

    def moves(self, after: HostCloud, mesh: Mesh, unit: int) -> tuple[Integers, Integers, float]:
        """Return flux, sum of squares and reach; see `cloud.Cloud`."""
        return moves_of(self.positions, after.positions, mesh, unit)

    def squares(self, after: HostCloud, mesh: Mesh) -> tuple[Integers, float]:
        """Return sum of squares and reach; see `cloud.Cloud`."""
        return squares_of(self.positions, after.positions, mesh)

    def copy(self, into: HostCloud | None = None) -> HostCloud:
        """Return a copy, in the memory of ``into`` where that is given."""
        if into is None:
            return HostCloud(self.positions, self._chunk)
        np.copyto(into.positions, self.positions)
        return into

    def rows(self, first: int, stop: int) -> Positions:
        """Return positions [first, stop), a view."""
        return self.positions[first:stop]

    @property
    def _words(self) -> int:
        n, d = self.shape
        return (self._chunk or max(4, n + -n % 4)) * d

    def _pieces(self) -> list[Positions]:
        x = self.positions
        return [x[q : q + _LOOK] for q in range(0, len(x), _LOOK)]


def _numbers(motion: Motion, noise: Noise, word: int) -> tuple[np.uint64, np.uint64, np.uint64, np.uint64, np.uint64]:
    """Return what the Numba functions take of the noise behind the table."""
    first, number = np.uint64(noise.first + word), np.uint64(motion.number)
    return first, number, np.uint64(noise.stream), np.uint64(noise.low), np.uint64(noise.high)


def _off(positions: Positions, mesh: Mesh) -> int:
    cell = np.floor(positions / mesh.spacing) - mesh.lower
    return int((~((cell >= 0) & (cell < np.array(mesh.shape) - 1))).any(axis=1).sum())
