"""Sums on the cards of a gang: all members agree on whether there is a ring of their devices, and end it together.

Whatever is said before there is one, and whether there is one, goes over the links that the members have proved to be
theirs. A member that waits in a ring for one that never comes hears of nothing: its door, which the driver closes,
aborts the ring.
"""

from __future__ import annotations

import hashlib
import threading
import time
from typing import Protocol

import numpy as np
import numpy.typing as npt

from ipsdist.arrays import Device, DeviceArray, Ring, RingError
from ipsdist.arrays.nccl import stay_on
from ipsdist.runtime.gang.links import BrokenError
from ipsdist.runtime.gang.places import interface

__all__ = ["Rings"]

Integers = npt.NDArray[np.int64]

_CREATION_SECONDS = 60.0
"""Time for a ring to be made; then all members go on without."""
_ASK_SECONDS = 0.05
"""Between two words of the members on whether theirs is made."""
_TRIED = (1, 2**15)
"""Lengths that are added before it is used: roads between devices are opened when they are first needed."""
_FAILURES = 2
"""After so many, of rings that were made or not, a process makes no more."""
_ID_BYTES = 128
_WORDS = 4
"""What a member says of itself: ready, card, host, whether it keeps to TLS."""

_failed = [0]
"""Rings that have failed in this process."""


class _Adds(Protocol):
    rank: int
    size: int

    def add(self, values: Integers) -> Integers: ...


class Rings:
    """The rings of one door, one at a time."""

    def __init__(self, wanted: bool | None, encrypted: bool, address: str) -> None:
        """Say whether rings are wanted (see ``Pass``), whether the links have TLS, and where the worker is."""
        self._wanted, self._encrypted, self._address = wanted, encrypted, address
        self._guard = threading.Lock()
        self._ring: Ring | None = None
        self._ended = False

    def meet(self, gang: _Adds, device: Device | None) -> Ring | None:
        """Return the ring of all members' devices, or None on every member; the last one is closed.

        Raises BrokenError where the gang has ended.
        """
        table = np.zeros((gang.size, _WORDS), dtype=np.int64)
        table[gang.rank] = self._words(device)
        table = gang.add(table)
        self._close()  # all members have come here, so nobody waits for what it still has to send
        if device is None or not _agree(table):
            return None
        if (name := interface(self._address)) is not None:
            stay_on(name)
        said = np.zeros(1 + _ID_BYTES // 8, dtype=np.int64)
        if gang.rank == 0 and (found := device.ring_id()) is not None:
            said[0], said[1:] = 1, np.frombuffer(found, dtype=np.int64)
        said = gang.add(said)
        return self._made(gang, _Making(device, said[1:].tobytes(), gang.rank, gang.size)) if said[0] else None

    def sound(self) -> bool:
        """Tell whether nothing is known to have failed, for the thread that looks after the door."""
        with self._guard:
            ring = self._ring
        try:
            if ring is not None:
                ring.check()
        except RingError:
            return not self._drop(ring)
        return True

    def broken(self, ring: Ring, error: RingError) -> BrokenError:
        """Return what a failure of a ring is to a member."""
        self._drop(ring)
        return BrokenError(f"the cards of the gang no longer add ({error})")

    def end(self) -> None:
        """End the ring, from any thread: a member that waits in it raises BrokenError. There will be no other."""
        with self._guard:
            self._ended = True
            ring, self._ring = self._ring, None
        _abort(ring)

    def _words(self, device: Device | None) -> list[int]:
        """Return what this member says of itself: 64-bit integers."""
        if self._wanted is False or device is None or _failed[0] >= _FAILURES or not device.can_ring:
            return [0] * _WORDS
        card, keeps = device.identity, self._wanted is None and self._encrypted
        return [1, _hash(card), _hash(card.rpartition("/")[0]), keeps]

    def _made(self, gang: _Adds, making: _Making) -> Ring | None:
        """Return the ring that all members make now; None on all where one has failed, or the time is over."""
        end, pause = time.monotonic() + _CREATION_SECONDS, _ASK_SECONDS / 10
        try:
            making.start()
            while True:
                making.ended.wait(pause)
                pause = _ASK_SECONDS
                over = making.ended.is_set()
                ring = making.ring if over else None
                bad = ring is None and (over or time.monotonic() >= end)
                ready, failed = (int(n) for n in gang.add(np.array([ring is not None, bad], dtype=np.int64)))
                if failed:
                    _failed[0] += 1
                    return None
                if ready == gang.size and ring is not None:
                    return _Kept(self, self._adopt(making, ring))
        finally:
            making.leave()

    def _drop(self, ring: Ring | None) -> bool:
        """Keep in mind that the ring has failed; False where it was ended, closed or dropped before."""
        with self._guard:
            if ring is None or ring is not self._ring:
                return False
            self._ring = None
            _failed[0] += 1
        _abort(ring)
        return True

    def _adopt(self, making: _Making, ring: Ring) -> Ring:
        with self._guard:
            if self._ended:
                raise BrokenError("the gang was ended")
            making.kept = True
            self._ring = ring
        return ring

    def _close(self) -> None:
        with self._guard:
            ring, self._ring = self._ring, None
        if ring is not None:
            ring.close()


class _Making(threading.Thread):
    """Makes a ring, and tries it; whoever asked for it need not wait for its end."""

    def __init__(self, device: Device, name: bytes, rank: int, size: int) -> None:
        super().__init__(name="ipsdist-ring", daemon=True)
        self.ended = threading.Event()
        self.ring: Ring | None = None
        """The ring, once it was made and has added rightly; None after ``ended`` where it failed."""
        self.kept = False
        self._device, self._given = device, (name, rank, size)
        self._guard = threading.Lock()
        self._tried: Ring | None = None
        self._left = False

    def run(self) -> None:
        """Make it."""
        try:
            ring = self._device.ring(*self._given)
            with self._guard:
                self._tried, left = ring, self._left
            if left:
                ring.abort()
            elif self._right(ring):
                self.ring = ring
        except Exception:
            pass  # of whatever kind, the members do without: the device will say what is wrong with it
        finally:
            self.ended.set()

    def leave(self) -> None:
        """End it, made or not, unless it is kept."""
        if self.kept:
            return
        with self._guard:
            self._left, ring = True, self._tried
        _abort(ring)

    def _right(self, ring: Ring) -> bool:
        """Tell whether it adds what its ranks give: 1, 2, ... and the places in the array."""
        _, rank, size = self._given
        for length in _TRIED:
            places = np.arange(length, dtype=np.uint64)
            there = self._device.array(places + np.uint64(rank + 1))
            ring.add(there)
            found = self._device.to_host(there)
            ring.check()
            expected = np.uint64(size) * places + np.uint64(size * (size + 1) // 2)
            if not np.array_equal(found, expected):
                return False
        return True


class _Kept:
    """A ring as numerics have it: where it breaks, the gang is broken."""

    def __init__(self, rings: Rings, ring: Ring) -> None:
        self._rings, self._ring = rings, ring

    def add(self, array: DeviceArray) -> None:
        """Add; see ``Ring``. Raises BrokenError."""
        try:
            self._ring.add(array)
        except RingError as error:
            raise self._rings.broken(self._ring, error) from error

    def check(self) -> None:
        """Raise BrokenError where it has failed or was aborted."""
        try:
            self._ring.check()
        except RingError as error:
            raise self._rings.broken(self._ring, error) from error

    def abort(self) -> None:
        """End it; see ``Ring``."""
        self._ring.abort()

    def close(self) -> None:
        """Give its means back; see ``Ring``."""
        self._ring.close()


def _abort(ring: Ring | None) -> None:
    """Abort a ring in a thread of its own: a library that does not come back from it must hold nobody."""
    if ring is not None:
        threading.Thread(target=ring.abort, name="ipsdist-ring-end", daemon=True).start()


def _agree(table: Integers) -> bool:
    """Tell, the same on every member, whether there can be a ring by what the members said (members, words)."""
    ready, cards, hosts, keeps = table.T
    if not ready.all() or len(np.unique(cards)) < len(cards):
        return False  # NCCL takes no card twice
    return not keeps.any() or len(np.unique(hosts)) == 1


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little", signed=True)
