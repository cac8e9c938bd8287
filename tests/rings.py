"""Devices of the host that have rings: a stand-in for NCCL, between threads of one process."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np

from ipsdist.arrays import RingError
from tests.host_device import HostDevice

__all__ = ["Nccl", "RingDevice"]


class Nccl:
    """The rings of this process, by name. A rank that does not come is waited for, as NCCL does, until an abort."""

    def __init__(self) -> None:
        self.adds = 0
        """Sums that were made, one for all ranks."""
        self.rings: list[Ring] = []
        self.change = threading.Condition()
        self._come: dict[bytes, set[int]] = {}
        self._given: dict[tuple[bytes, int], dict[int, np.ndarray]] = {}

    def meet(self, name: bytes, rank: int, size: int) -> None:
        """Wait until all ranks have come."""
        with self.change:
            self._come.setdefault(name, set()).add(rank)
            self.change.notify_all()
            self.change.wait_for(lambda: len(self._come[name]) == size)

    def sum(self, ring: Ring, number: int, values: np.ndarray) -> np.ndarray | None:
        """Return the sum number so and so of a ring; None where this rank was aborted meanwhile."""
        with self.change:
            given = self._given.setdefault((ring.name, number), {})
            given[ring.rank] = values.copy()
            self.adds += len(given) == ring.size
            self.change.notify_all()
            self.change.wait_for(lambda: ring.over or len(given) == ring.size)
            if ring.over:
                return None
            assert len({part.shape for part in given.values()}) == 1
            return np.sum(list(given.values()), axis=0, dtype=values.dtype)


class Ring:
    """One rank of a ring."""

    def __init__(self, device: RingDevice, name: bytes, rank: int, size: int) -> None:
        self.name, self.rank, self.size, self.over = name, rank, size, False
        self.added = 0
        self._device = device

    def add(self, array: Any) -> None:
        """Add; an abort leaves garbage, and is not an error of its own."""
        if self.over:
            raise RingError("the ring was aborted")
        assert array.dtype.itemsize == 8
        self.added += 1
        self._device.before_add(self)
        found = self._device.nccl.sum(self, self.added, array._values)
        array._values[...] = 0xA5 if found is None else found + self._device.wrong

    def check(self) -> None:
        """Raise where it was aborted, or the device says that it failed."""
        if self.over or self._device.failed(self):
            raise RingError("the ring was aborted" if self.over else "it has failed")

    def abort(self) -> None:
        """End it here; the other ranks hear nothing of it."""
        with self._device.nccl.change:
            self.over = True
            self._device.nccl.change.notify_all()

    close = abort


class RingDevice(HostDevice):
    """A device that has rings with others of one ``nccl``."""

    can_ring = True
    wrong = 0
    """What its sums are wrong by."""

    def __init__(self, nccl: Nccl, **given: Any) -> None:
        super().__init__(**given)
        self.nccl = nccl

    def ring_id(self) -> bytes | None:
        """Return a fresh name."""
        return np.random.default_rng().bytes(128)

    def ring(self, name: bytes, rank: int, size: int) -> Ring:
        """Return a ring once all have come."""
        self.nccl.meet(name, rank, size)
        made = Ring(self, name, rank, size)
        self.nccl.rings.append(made)
        return made

    def before_add(self, ring: Ring) -> None:
        """Do nothing: tests die here."""

    def failed(self, ring: Ring) -> bool:
        """Tell whether a ring has failed."""
        return False
