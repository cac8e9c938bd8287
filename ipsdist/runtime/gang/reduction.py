"""Reductions over a gang: recursive doubling for short arrays, halving and doubling for long ones, for any size."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from ipsdist.arrays import Device, Ring
from ipsdist.runtime.gang.links import Link, Values

__all__ = ["Gang", "Meeting", "partners"]

_SHORT = 1 << 16
"""Bytes up to which fewer messages are worth more than fewer bytes."""


def partners(rank: int, size: int) -> list[int]:
    """Return the ranks that this one ever exchanges arrays with."""
    even = _power(size)
    if rank >= even:
        return [rank - even]
    found = [rank ^ (1 << bit) for bit in range(even.bit_length() - 1)]
    return [*found, rank + even] if rank + even < size else found


class Meeting(Protocol):
    """Where members make a ring; see ``ipsdist.runtime.gang.rings.Rings``."""

    def meet(self, gang: Gang, device: Device | None) -> Ring | None:
        """Return the ring of all members, or None on every one."""
        ...


class Gang:
    """One member's view of its gang; see ``ipsdist.model.together.Together``."""

    def __init__(self, rank: int, size: int, link: Callable[[int], Link], rings: Meeting | None = None) -> None:
        """Give this member's rank, the number of members, and what yields the link to another rank.

        Without ``rings``, which all members have or none, the devices of the members have no ring.
        """
        self.rank = rank
        self.size = size
        self._link = link
        self._rings = rings
        self._even = _power(size)
        self._scratch = np.empty(0, dtype=np.uint8)

    def add(self, values: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Return the sum of the members' integers, elementwise, in ``values`` where it can be."""
        return self._reduce(np.require(values, np.int64, ["C", "W"]), np.add)

    def lowest(self, values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return the smallest of the members' numbers, elementwise; NaN where a member has NaN."""
        # One zero and one NaN, or the bits would depend on who came first.
        own = np.array(values, dtype=np.float64, order="C") + 0.0
        own[np.isnan(own)] = np.nan
        return self._reduce(own, np.minimum)

    def ring(self, device: Device | None) -> Ring | None:
        """Return what adds arrays where they lie, or None on every member."""
        return None if self.size == 1 or self._rings is None else self._rings.meet(self, device)

    def _reduce(self, values: Values, join: Callable[..., Any]) -> Values:
        if self.size == 1 or values.size == 0:
            return values
        flat = values.reshape(-1)
        beyond = self.rank + self._even
        if self.rank >= self._even:
            # Whoever is beyond the last power of two gives its part to another and hears the result.
            link = self._link(self.rank - self._even)
            link.swap(flat, None)
            link.swap(None, flat)
            return values
        if beyond < self.size:
            self._take(beyond, None, flat, join)
        if flat.nbytes <= _SHORT or flat.size < self._even:
            self._double(flat, join)
        else:
            self._halve(flat, join)
        if beyond < self.size:
            self._link(beyond).swap(flat, None)
        return values

    def _double(self, flat: Values, join: Callable[..., Any]) -> None:
        """Swap everything with partners 1, 2, 4, ... ranks away."""
        step = 1
        while step < self._even:
            self._take(self.rank ^ step, flat, flat, join)
            step *= 2

    def _halve(self, flat: Values, join: Callable[..., Any]) -> None:
        """Reduce one part of the array here, half as long with each partner; then gather the parts."""
        low, high = 0, flat.size
        step = self._even // 2
        ranges = []
        while step:
            middle = (low + high) // 2
            kept, given = ((low, middle), (middle, high))[:: -1 if self.rank & step else 1]
            self._take(self.rank ^ step, flat[slice(*given)], flat[slice(*kept)], join)
            ranges.append((step, kept, given))
            low, high = kept
            step //= 2
        for step, kept, given in reversed(ranges):
            self._link(self.rank ^ step).swap(flat[slice(*kept)], flat[slice(*given)])

    def _take(self, rank: int, send: Values | None, own: Values, join: Callable[..., Any]) -> None:
        """Join what another member sends into ``own``, while it gets ``send``."""
        if self._scratch.size < own.nbytes:
            self._scratch = np.empty(own.nbytes, dtype=np.uint8)
        other = self._scratch[: own.nbytes].view(own.dtype)
        self._link(rank).swap(send, other)
        join(own, other, out=own)


def _power(size: int) -> int:
    """Return the largest power of two that is not above ``size``."""
    return 1 << (size.bit_length() - 1)
