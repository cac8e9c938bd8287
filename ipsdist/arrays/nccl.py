"""Sums over the GPUs of several processes by NCCL, through CuPy's binding: the one home of what is NCCL's own."""

from __future__ import annotations

import os
import socket
import threading
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any

from ipsdist.arrays.device import Ring, RingError

__all__ = ["NcclRing", "Ringing", "stay_on"]

_INTERFACE = "NCCL_SOCKET_IFNAME"
_BOOT = Path("/proc/sys/kernel/random/boot_id")
"""What all containers of one machine have in common, and no two machines."""
_PATIENCE = 1.0
"""Seconds that one thread waits for another which is inside a call of NCCL."""
_FAILED = (RuntimeError, KeyError)
"""What a call of NCCL may raise: KeyError for a status that CuPy has no name for, as those of a newer NCCL."""


def stay_on(interface: str) -> None:
    """Let NCCL of this process listen on one interface of the network alone, unless its user has named others.

    NCCL reads it once, when the first ring of the process is named or made.
    """
    os.environ.setdefault(_INTERFACE, f"={interface}")


class Ringing:
    """What a GPU of CuPy has of rings: a part of `cuda.CudaDevice`, which has the names below."""

    _cupy: Any
    _number: int
    _current: Callable[..., AbstractContextManager[Any]]
    """Makes the GPU current, and yields the stream of its work."""

    @property
    def identity(self) -> str:
        """The machine, and the place of the GPU in it."""
        with self._current():
            place = self._cupy.cuda.runtime.deviceGetPCIBusId(self._number)
        try:
            machine = _BOOT.read_text().strip()
        except OSError:
            machine = socket.gethostname()
        return f"{machine}/{place}"

    @property
    def can_ring(self) -> bool:
        """Whether NCCL is installed."""
        return self._nccl is not None

    def ring_id(self) -> bytes | None:
        """Return a fresh name for a ring; None where there can be none.

        From now on this process listens for those who know it.
        """
        try:
            return None if self._nccl is None else bytes(self._nccl.get_unique_id())
        except _FAILED:
            return None

    def ring(self, name: bytes, rank: int, size: int) -> Ring:
        """Return the ring of this name; see `Device`. Raises RingError."""
        if self._nccl is None:
            raise RingError("NCCL is not installed")
        return NcclRing(self._nccl, self._current, name, rank, size)

    @cached_property
    def _nccl(self) -> Any | None:
        return _library(self._cupy)


class NcclRing:
    """A communicator of NCCL as a `Ring`.

    Another thread may abort it, so what the caller's thread does is done under a lock, and nothing is asked of the
    communicator once it was aborted.
    """

    def __init__(
        self, nccl: Any, current: Callable[[], AbstractContextManager[Any]], name: bytes, rank: int, size: int
    ) -> None:
        """Wait until all ranks have come. ``current`` makes the GPU current and yields the stream of its work.

        Raises RingError.
        """
        self._nccl, self._current = nccl, current
        self._using, self._ending = threading.Lock(), threading.Lock()
        self._over, self._given_back = "", False
        try:
            with current():
                self._communicator = nccl.NcclCommunicator(size, name, rank)
        except _FAILED as error:
            raise RingError(_text(error)) from error

    def add(self, array: Any) -> None:
        """Put the sum over all ranks into ``array``; see `Ring`."""
        if array.dtype.kind not in "iu" or array.dtype.itemsize != 8:
            raise TypeError(f"integers of 64 bits are added; got {array.dtype}")
        words, place = array.nbytes // 8, int(array.data.ptr)
        with self._using, self._current() as stream:
            self._require()
            try:
                self._communicator.allReduce(
                    place, place, words, self._nccl.NCCL_UINT64, self._nccl.NCCL_SUM, stream.ptr
                )
                return
            except _FAILED as error:
                failure = error
        self._end(_text(failure))
        raise RingError(self._over) from failure

    def check(self) -> None:
        """Raise RingError where it has failed or was aborted; a failure aborts it."""
        self._require()
        if not self._using.acquire(timeout=_PATIENCE):
            return  # the thread that is inside hears of it itself, and who looks may look again
        try:
            self._require()
            self._communicator.check_async_error()
            return
        except RingError:
            raise
        except _FAILED as error:
            failure = error
        finally:
            self._using.release()
        self._end(_text(failure))
        raise RingError(self._over) from failure

    def abort(self) -> None:
        """End it from any thread; see `Ring`."""
        self._end("the ring was aborted")

    def close(self) -> None:
        """Give its means back."""
        # Not by `destroy`, which waits for the other ranks: one of them may be gone.
        self._end("the ring was closed")

    def _require(self) -> None:
        if self._over:
            raise RingError(self._over)

    def _end(self, why: str) -> None:
        # First of all: whoever gets through after the abort must not take what it finds for a sum.
        self._over = self._over or why
        with self._ending:
            if self._given_back:
                return
            self._given_back = True
            # A thread that is inside for longer waits for a rank that never comes, and the abort lets it go.
            free = self._using.acquire(timeout=_PATIENCE)
            try:
                with self._current():
                    self._communicator.abort()
            except _FAILED:
                pass  # it has failed before, and nobody uses it any more
            finally:
                if free:
                    self._using.release()


def _text(error: Exception) -> str:
    said = f"status {error}" if isinstance(error, KeyError) else str(error)
    return f"NCCL failed: {said.strip().partition(chr(10))[0]}"


def _library(cupy: Any) -> Any | None:
    """Return CuPy's binding of NCCL; None where the library is not installed."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # CuPy warns where it is missing, and nobody has asked for it
            found = getattr(cupy.cuda, "nccl", None) or import_module("cupy.cuda.nccl")
    except (ImportError, RuntimeError):
        return None
    return found if found.available else None
