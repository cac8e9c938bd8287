"""A device that holds arrays and runs CUDA text: what the numerics ask of it, whoever provides it.

`arrays.cuda` is the one with a GPU. The tests have another that compiles the same text for the host, so that all but
speed is tested without a GPU.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

__all__ = ["Device", "DeviceArray", "DeviceMemoryError", "Kernel", "NoDeviceError", "Ring", "RingError"]


class NoDeviceError(Exception):
    """There is no GPU that could be used; the text says why, in a few words."""


class DeviceMemoryError(MemoryError):
    """The memory of the device is used up; ``wanted`` bytes were asked for, ``free`` bytes were there."""

    def __init__(self, wanted: int, free: int) -> None:
        super().__init__(f"{wanted} bytes of device memory wanted, {free} free")
        self.wanted, self.free = wanted, free


class RingError(RuntimeError):
    """A ring could not be made, has failed, or was aborted; the text says why, in a few words."""


class DeviceArray(Protocol):
    """An array in the memory of a device, C-contiguous. NumPy cannot read it: `Device.to_host` does."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Lengths of its axes."""
        ...

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of its elements."""
        ...

    @property
    def nbytes(self) -> int:
        """Its bytes."""
        ...

    def __getitem__(self, rows: slice) -> DeviceArray:
        """Return a view of rows ``[a:b]`` of the first axis."""
        ...


class Kernel(Protocol):
    """A function of CUDA text, ready to be launched on a grid of one axis."""

    def __call__(self, blocks: int, threads: int, arguments: Sequence[Any], shared: int = 0) -> None:
        """Launch it, and do not wait: ``arguments`` are device arrays and NumPy scalars, ``shared`` is in bytes."""
        ...


class Ring(Protocol):
    """What adds arrays over the devices of several processes, each a rank of it.

    All ranks must add arrays of one length in the same order. While one does not come, the others wait on their
    devices: who copies to the host then waits too, until somebody aborts the ring.
    """

    def add(self, array: DeviceArray) -> None:
        """Put the sum over all ranks, modulo 2^64, into ``array`` (uint64 or int64), in order with other work.

        Raises RingError; what the array holds after an abort means nothing.
        """
        ...

    def check(self) -> None:
        """Raise RingError where the ring has failed or was aborted: what came to the host before then counts."""
        ...

    def abort(self) -> None:
        """End it from any thread: work that waits for other ranks ends at once, and `check` raises from then on."""
        ...

    def close(self) -> None:
        """Give its means back, once every rank has what it added last."""
        ...


class Device(Protocol):
    """What numerics ask of a device. Work is done in the order in which it is asked for.

    ``empty``, ``zeros`` and ``array`` raise DeviceMemoryError when the memory is used up.
    """

    @property
    def name(self) -> str:
        """What people call it, as NVIDIA H200."""
        ...

    @property
    def identity(self) -> str:
        """Which one it is: the name of its host, a slash, and what no other device has."""
        ...

    @property
    def can_ring(self) -> bool:
        """Whether `ring_id` and `ring` may be asked for here."""
        ...

    @property
    def processors(self) -> int:
        """Number of its multiprocessors."""
        ...

    @property
    def shared_bytes(self) -> int:
        """Largest dynamic shared memory of a block, in bytes."""
        ...

    def computing(self) -> AbstractContextManager[None]:
        """Return a block inside which `array` gives what numerics compute with (`namespace`), in the memory of others.

        It raises DeviceMemoryError when that is used up.
        """
        ...

    def free_bytes(self) -> int:
        """Return how many bytes of its memory are free now, those kept by the pool included."""
        ...

    def empty(self, shape: Sequence[int], dtype: npt.DTypeLike) -> DeviceArray:
        """Return an array whose content means nothing."""
        ...

    def zeros(self, shape: Sequence[int], dtype: npt.DTypeLike) -> DeviceArray:
        """Return an array of zeros."""
        ...

    def array(self, values: npt.NDArray[Any], out: DeviceArray | None = None) -> DeviceArray:
        """Return a copy on the device of an array of the host, in ``out`` where that is given."""
        ...

    def copy(self, array: DeviceArray, out: DeviceArray | None = None) -> DeviceArray:
        """Return a copy on the device of an array of the device, in ``out`` where that is given."""
        ...

    def to_host(self, array: DeviceArray, out: npt.NDArray[Any] | None = None) -> npt.NDArray[Any]:
        """Return a copy on the host, in ``out`` where that is given; waits for the work before it."""
        ...

    def address(self, array: DeviceArray) -> int:
        """Return where an array begins in the memory of the device, for kernels that follow addresses.

        Whoever passes it on keeps the array until that work is done.
        """
        ...

    def program(self, text: str, names: Sequence[str]) -> Mapping[str, Kernel]:
        """Compile CUDA text, once for every text, and return its functions of these names (``extern "C"``)."""
        ...

    def synchronise(self) -> None:
        """Wait for all work."""
        ...

    def release(self) -> None:
        """Give the memory that nobody uses back to the system."""
        ...

    def ring_id(self) -> bytes | None:
        """Return a fresh name for a ring, 128 bytes, whose rank 0 is this device; None where there can be none."""
        ...

    def ring(self, name: bytes, rank: int, size: int) -> Ring:
        """Return the ring of this name, once all its ranks, each on a device of its own, ask for it.

        It waits for them without limit: ask in a thread that can be left behind. Raises RingError.
        """
        ...
