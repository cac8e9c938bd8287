"""A cloud on a device: kept there, or, where it does not fit, on the host and passed through in pieces."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, Self, cast

import numpy as np
import numpy.typing as npt

from ipsdist.arrays import Device, DeviceArray, Ring
from ipsdist.model.deposits import neighbour_offsets
from ipsdist.model.mesh import Mesh
from ipsdist.model.system import InitialLaw, Mixture, Uniform
from ipsdist.numerics.densities.deposit import refuse_lost
from ipsdist.numerics.particles.cloud import Motion, Noise
from ipsdist.numerics.particles.device_pieces import Launcher, mesh_arguments, noise_arguments, piece_rows
from ipsdist.numerics.particles.device_sums import NodeSums
from ipsdist.numerics.particles.initial import sample
from ipsdist.numerics.particles.noise import LANES

__all__ = ["DeviceCloud"]

Array = npt.NDArray[np.float64]
Positions = npt.NDArray[np.float64] | npt.NDArray[np.float32]
Integers = npt.NDArray[np.int64]

_SIGN = np.uint64(2**63)
_LOOK = 2**20
"""Particles that are looked at together on the host."""


class DeviceCloud:
    """Positions (n, d) on a device; see `cloud.Cloud`. Made by `filled` or `drawn`.

    Resident, they lie there as one array. Streamed, they lie on the host, and every pass takes them through two buffers
    of the device, piece after piece; the bits are the same.
    """

    def __init__(self, launcher: Launcher, kept: DeviceArray | Positions, buffers: tuple[DeviceArray, ...]) -> None:
        """Keep positions (n, d) where they are: ``buffers`` are two (rows, d) for those of the host, else none."""
        self.launcher = launcher
        self._kept, self._buffers = kept, buffers

    @classmethod
    def filled(
        cls,
        device: Device,
        shape: tuple[int, int],
        dtype: npt.DTypeLike,
        rows: Callable[[int, int], Positions],
        chunk: int,
        resident: bool,
    ) -> Self:
        """Return a cloud of (n, d) positions that ``rows(first, stop)`` gives, at most ``chunk`` of them at a time.

        ``chunk``, a multiple of 4, is the size of the pieces too where they fit. Raises DeviceMemoryError, ValueError.
        """
        cloud = cls._made(device, shape, dtype, chunk, resident)
        for first in range(0, shape[0], chunk):
            cloud._put(first, rows(first, min(first + chunk, shape[0])))
        return cloud

    @classmethod
    def drawn(
        cls,
        device: Device,
        law: InitialLaw,
        shape: tuple[int, int],
        dtype: npt.DTypeLike,
        first: int,
        seed: int,
        replica: int,
        chunk: int,
        resident: bool,
    ) -> Self:
        """Return a cloud of the particles ``first ..`` of a replica, as `initial.sample` draws them.

        Mixture and Uniform are drawn on the device, others on the host. Raises InputError as `sample` does,
        DeviceMemoryError, and ValueError where ``first`` is not a multiple of 4.
        """
        n, d = shape
        sample(law, d, seed, replica, first, 0)  # refuses what does not fit the dimension
        if not isinstance(law, Mixture | Uniform):
            return cls.filled(
                device, shape, dtype, lambda a, b: sample(law, d, seed, replica, first + a, b - a), chunk, resident
            )
        if first % LANES and n:
            raise ValueError(f"a part must begin at a multiple of {LANES}; got {first}")
        cloud = cls._made(device, shape, dtype, chunk, resident)
        name, given = cloud.launcher.law(law, seed, replica)
        for start, x in cloud._pieces(load=False, store=True):
            size = x.shape[0]
            cloud.launcher.launch(name, size, (x, np.uint64(size), np.uint64(first + start), *given))
        return cloud

    @property
    def shape(self) -> tuple[int, int]:
        """Particles n and dimension d."""
        n, d = self._kept.shape
        return n, d

    @property
    def dtype(self) -> np.dtype[np.float64] | np.dtype[np.float32]:
        """What the positions are kept in."""
        return self._kept.dtype

    @property
    def device(self) -> Device:
        """The device."""
        return self.launcher.device

    @property
    def resident(self) -> bool:
        """Whether the positions lie on the device."""
        return not isinstance(self._kept, np.ndarray)

    @property
    def positions(self) -> DeviceArray:
        """Positions (n, d) on the device, of a resident cloud. Raises ValueError of another."""
        if isinstance(self._kept, np.ndarray):
            raise ValueError("the positions of a streamed cloud are not on the device")
        return self._kept

    def step(
        self, mesh: Mesh, drift: Array | DeviceArray, motion: Motion, noise: Noise, count: Integers,
        ring: Ring | None = None,
    ) -> int:  # fmt: skip
        """Move all by the drift at the nodes, add their new weights to ``count``; see `cloud.Cloud`."""
        launcher, d = self.launcher, self.shape[1]
        if not self.shape[0] and ring is None:
            return 0
        nodes = launcher.begin(mesh, drift)
        for start, x in self._pieces(store=True):
            launcher.step(nodes, x, motion, noise, start * d)
        left, before = launcher.end(nodes, count, ring)
        return -1 if before else left

    def move(self, drift: Array | DeviceArray, motion: Motion, noise: Noise) -> None:
        """Move all by a drift of their own (n, d), float64, that lies on the host or on the device."""
        launcher, d = self.launcher, self.shape[1]
        moved = np.float64(motion.dt), np.float64(motion.scale)
        for start, x in self._pieces(store=True):
            size = x.shape[0]
            part: Any = drift[start : start + size]
            if isinstance(part, np.ndarray):
                part = launcher.device.array(np.ascontiguousarray(part, dtype=np.float64))
            noises = noise_arguments(motion, noise, launcher.table, start * d)
            launcher.launch("move", size, (x, np.uint64(size), part, *moved, *noises))

    def extent(self) -> tuple[Array, Array]:
        """Return the lowest and the highest corner; see `cloud.Cloud`."""
        keys = self._keys()
        d = self.shape[1]
        if keys[-1] or not self.shape[0]:
            return self._extent_of_rows()
        # The kernel compares floats as integers: it turns round those below zero.
        bits = np.where(keys[:-1] & _SIGN, keys[:-1] ^ _SIGN, ~keys[:-1]).view(np.float64)
        return bits[:d], bits[d:]

    def broken(self) -> int:
        """Return how many have no finite position."""
        return int(self._keys()[-1])

    def off(self, mesh: Mesh) -> int:
        """Return how many are off the mesh."""
        off, place = self.launcher.device.zeros((1,), np.uint64), mesh_arguments(mesh)
        for _, x in self._pieces():
            self.launcher.launch("off", x.shape[0], (x, np.uint64(x.shape[0]), *place, off))
        return int(self.launcher.device.to_host(off)[0])

    def deposits(self, mesh: Mesh) -> tuple[Integers, Integers]:
        """Return count and products; see `cloud.Cloud`. Raises DeviceMemoryError."""
        device, place, nodes = self.launcher.device, mesh_arguments(mesh), math.prod(mesh.shape)
        sums = device.zeros((nodes + 1,), np.uint64)
        products = device.zeros((len(neighbour_offsets(mesh.dimension)), nodes), np.int64)
        lines = NodeSums(self.launcher, "deposit", nodes, 1 + products.shape[0], 1)
        for _, x in self._pieces():
            lines.add((x, np.uint64(x.shape[0]), *place), (sums[:nodes], products, sums[nodes:]))
        count = device.to_host(sums)
        refuse_lost(int(count[-1]), self.shape[0])
        return count[:-1].view(np.int64).reshape(mesh.shape), device.to_host(products).reshape(-1, *mesh.shape)

    def moves(self, after: Self, mesh: Mesh, unit: int) -> tuple[Integers, Integers, float]:
        """Return flux, sum of squares and reach; see `cloud.Cloud`. Raises DeviceMemoryError."""
        device, place, nodes = self.launcher.device, mesh_arguments(mesh), math.prod(mesh.shape)
        flux = device.zeros((mesh.dimension, nodes), np.int64)
        squares, ends = device.zeros((2,), np.int64), device.zeros((2,), np.uint64)
        sums = NodeSums(self.launcher, "flux", nodes, mesh.dimension, 2)
        for x, y in self._pairs(after):
            given = (x, y, np.uint64(x.shape[0]), *place, np.float64(unit))
            sums.add(given, (flux, squares, ends[:1], ends[1:]))
        reach, lost = device.to_host(ends)
        refuse_lost(int(lost), self.shape[0])
        flat = device.to_host(flux)
        return flat.reshape(-1, *mesh.shape), device.to_host(squares), float(reach.view(np.float64))

    def squares(self, after: Self, mesh: Mesh) -> tuple[Integers, float]:
        """Return sum of squares and reach; see `cloud.Cloud`."""
        device, inverse = self.launcher.device, np.float64(1.0 / mesh.spacing)
        squares, reach = device.zeros((2,), np.int64), device.zeros((1,), np.uint64)
        for x, y in self._pairs(after):
            self.launcher.launch("squares", x.shape[0], (x, y, np.uint64(x.shape[0]), inverse, squares, reach))
        return device.to_host(squares), float(device.to_host(reach).view(np.float64)[0])

    def copy(self, into: Self | None = None) -> Self:
        """Return a copy, in the memory of ``into`` where that is given. Raises DeviceMemoryError.

        ``into`` is kept where this one is, and has its shape and type (ValueError).
        """
        if into is not None and (into.shape, into.dtype, into.resident) != (self.shape, self.dtype, self.resident):
            raise ValueError("`into` must be a cloud of the same shape and type, kept in the same way")
        kept: DeviceArray | Positions
        if isinstance(self._kept, np.ndarray):
            kept = cast(Positions, np.empty_like(self._kept) if into is None else into._kept)
            np.copyto(kept, self._kept)
        else:
            kept = self.launcher.device.copy(self._kept, out=None if into is None else cast(DeviceArray, into._kept))
        return into if into is not None else type(self)(self.launcher, kept, self._buffers)

    def rows(self, first: int, stop: int) -> Positions:
        """Return positions [first, stop) on the host: a view of a streamed cloud, a copy of a resident one."""
        part = self._kept[first:stop]
        return part if isinstance(part, np.ndarray) else self.launcher.device.to_host(part)

    # --- pieces -----------------------------------------------------------------------------------------------------

    @classmethod
    def _made(cls, device: Device, shape: tuple[int, int], dtype: npt.DTypeLike, chunk: int, resident: bool) -> Self:
        """Return a cloud whose positions mean nothing."""
        n, d = shape
        if chunk < LANES or chunk % LANES:
            raise ValueError(f"`chunk` must be a positive multiple of {LANES}; got {chunk}")
        launcher = Launcher(device, d, dtype)
        if resident:
            return cls(launcher, device.empty(shape, dtype), ())
        rows = piece_rows(device, d * np.dtype(dtype).itemsize, min(chunk, max(LANES, n + -n % LANES)))
        buffers = device.empty((rows, d), dtype), device.empty((rows, d), dtype)
        return cls(launcher, np.empty(shape, dtype=dtype), buffers)

    def _put(self, first: int, given: Positions) -> None:
        """Write positions from ``first`` on."""
        part = self._kept[first : first + len(given)]
        if isinstance(part, np.ndarray):
            part[...] = given
        else:
            self.launcher.device.array(np.ascontiguousarray(given, dtype=self.dtype), out=part)

    @property
    def _rows(self) -> int:
        return self._buffers[0].shape[0] if self._buffers else max(1, self.shape[0])

    def _on_device(self, first: int, stop: int, slot: int, load: bool = True) -> DeviceArray:
        """Return positions [first, stop) on the device: of a streamed cloud in a buffer."""
        part = self._kept[first:stop]
        if not isinstance(part, np.ndarray):
            return part
        piece = self._buffers[slot][: stop - first]
        return self.launcher.device.array(part, out=piece) if load else piece

    def _pieces(self, load: bool = True, store: bool = False) -> Iterator[tuple[int, DeviceArray]]:
        """Yield first particle and positions of every piece; ``store`` brings them back once the caller goes on."""
        n, rows = self.shape[0], self._rows
        for first in range(0, n, rows):
            stop = min(first + rows, n)
            x = self._on_device(first, stop, 0, load)
            yield first, x
            if store and isinstance(self._kept, np.ndarray):
                self.launcher.device.to_host(x, out=self._kept[first:stop])

    def _pairs(self, after: Self) -> Iterator[tuple[DeviceArray, DeviceArray]]:
        """Yield the pieces of this cloud and of the one after."""
        if after.shape != self.shape or after.dtype != self.dtype:
            raise ValueError(f"`before` and `after` must be the same particles; got {self.shape} and {after.shape}")
        n, rows = self.shape[0], min(self._rows, after._rows)
        for first in range(0, n, rows):
            stop = min(first + rows, n)
            yield self._on_device(first, stop, 0), after._on_device(first, stop, 1)

    def _keys(self) -> npt.NDArray[np.uint64]:
        """Return keys of the lowest and highest finite coordinates (2 d), and how many are not finite: (2 d + 1,)."""
        device, d = self.launcher.device, self.shape[1]
        start = np.zeros(2 * d + 1, dtype=np.uint64)
        start[:d] = np.iinfo(np.uint64).max
        keys = device.array(start)
        for _, x in self._pieces():
            self.launcher.launch("extent", x.shape[0], (x, np.uint64(x.shape[0]), keys[: 2 * d], keys[2 * d :]))
        return device.to_host(keys)

    def _extent_of_rows(self) -> tuple[Array, Array]:
        """Return the extent as NumPy finds it, infinities and NaN with it: particles blew up, and time is no matter."""
        n, d = self.shape
        lowest, highest = np.full(d, np.inf), np.full(d, -np.inf)
        for first in range(0, n, _LOOK):
            x = self.rows(first, min(first + _LOOK, n))
            lowest, highest = np.minimum(lowest, x.min(axis=0)), np.maximum(highest, x.max(axis=0))
        return lowest, highest
