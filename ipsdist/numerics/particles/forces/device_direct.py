"""Exact pair sums over all pairs on a device, the twin of direct.py there. O(N**2)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from ipsdist.arrays import Device, DeviceArray
from ipsdist.model.radial import RadialKernel
from ipsdist.numerics.device.cuda import text
from ipsdist.numerics.particles.device_pieces import real

__all__ = ["DeviceDirect", "device_direct_sums", "pairs_text"]

Array = npt.NDArray[np.float64]

_TILE = 512
"""Sources that a block keeps in shared memory at a time: the sum of a tile of floats loses 1e-6 at most."""
_THREADS = 256
_LEAST_THREADS = 32
_MOST_BLOCKS = 2**31 - 1


class DeviceDirect:
    """Pair sums of one kernel over particles of one dimension, positions on the device in ``dtype``.

    ``arithmetic`` is float64, with the bits of the Numba sums where phi takes only + - * / and square roots (and a few
    units in the last place else), or float32: pairs in float32, about 1e-6 of the largest, their sums in float64.
    ``fast``, for float32 alone, takes the approximate functions of the GPU: a few times faster, as good for powers and
    roots, and worse for exp, log, sin and cos of large numbers. float32 also rounds the positions, so it wants
    particles near the origin. Raises ValueError for other types.
    """

    def __init__(
        self,
        device: Device,
        kernel: RadialKernel,
        dimension: int,
        dtype: npt.DTypeLike = np.float64,
        arithmetic: npt.DTypeLike = np.float64,
        fast: bool = False,
    ) -> None:
        self._device, self._dimension = device, dimension
        self._dtype, work = np.dtype(dtype), np.dtype(arithmetic)
        self._shared = dimension * _TILE * work.itemsize
        self._pairs = device.program(pairs_text(kernel, dimension, self._dtype, work, fast), ["pairs"])["pairs"]

    def add(self, targets: DeviceArray, sources: DeviceArray, out: DeviceArray, scale: float = 1.0) -> None:
        """Make ``out`` (n, d), float64, (out + sum_j phi(|z|) z / |z|) * scale, z = targets (n, d) - sources (m, d).

        Sources are added one after the other, so their pieces may be added by one call after the other.
        """
        n, m = targets.shape[0], sources.shape[0]
        self._check(targets, n, self._dtype)
        self._check(sources, m, self._dtype)
        self._check(out, n, np.dtype(np.float64))
        if n == 0:
            return
        threads = _THREADS
        while threads > _LEAST_THREADS and n <= self._device.processors * threads:
            threads //= 2  # few particles are spread over all processors
        arguments: list[Any] = [targets, np.uint64(n), sources, np.uint64(m), np.float64(scale), out]
        self._pairs(min(-(-n // threads), _MOST_BLOCKS), threads, arguments, self._shared)

    def _check(self, array: DeviceArray, rows: int, dtype: np.dtype[Any]) -> None:
        if array.shape != (rows, self._dimension) or array.dtype != dtype:
            expected = f"({rows}, {self._dimension}) {dtype}"
            raise ValueError(f"an array {expected} is needed; got {array.shape} {array.dtype}")

    def drift(self, positions: DeviceArray, out: DeviceArray | None = None) -> DeviceArray:
        """Return -(1/N) sum_j K(x_i - x_j) (N, d), float64, of positions (N, d), in ``out`` where that is given."""
        n = positions.shape[0]
        made = self._device.zeros(positions.shape, np.float64)
        self.add(positions, positions, made, -1.0 / max(n, 1))
        return made if out is None else self._device.copy(made, out)


def device_direct_sums(device: Device, kernel: RadialKernel) -> Callable[[Array], Array]:
    """Return the function from positions (N, d) on the host to sum_j phi(|z|) z / |z| (N, d), as `direct_sums` does."""
    made: dict[int, DeviceDirect] = {}

    def sums(positions: Array) -> Array:
        n, d = positions.shape
        if d not in made:
            made[d] = DeviceDirect(device, kernel, d)
        x, out = device.array(np.ascontiguousarray(positions, dtype=np.float64)), device.zeros((n, d), np.float64)
        made[d].add(x, x, out)
        return device.to_host(out)

    return sums


def pairs_text(
    kernel: RadialKernel, dimension: int, dtype: npt.DTypeLike, arithmetic: npt.DTypeLike, fast: bool = False
) -> str:
    """Return the CUDA text of the pair sums of one kernel. Raises ValueError for types that it cannot have."""
    kept, work = np.dtype(dtype), np.dtype(arithmetic)
    if fast and work == np.float64:
        raise ValueError("`fast` needs arithmetic in float32")
    # What is appended is written from the kernel's own checked tree; never a user's text.
    phi = f"INLINE real phi(real r) {{ return {kernel.cuda_source()}; }}"
    sums = text("pairs", D=dimension, REAL=real(kept), WORK=real(work), FAST=int(fast), TILE=_TILE)
    return f"{sums}\nnamespace formula {{ {phi} }}\n"
