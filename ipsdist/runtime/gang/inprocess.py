"""A link between two members that are threads of one process."""

from __future__ import annotations

import queue
import threading
import weakref
from collections.abc import Callable

import numpy as np

from ipsdist.runtime.gang.links import BrokenError, Values

__all__ = ["QueueLink", "join"]

Box = queue.SimpleQueue[Values | None]


class _Road:
    """Two one-way boxes, for the lower and for the higher rank to read; None ends them."""

    def __init__(self) -> None:
        self.boxes: tuple[Box, Box] = (queue.SimpleQueue(), queue.SimpleQueue())


_GUARD = threading.Lock()
_ROADS: weakref.WeakValueDictionary[tuple[bytes, int, int], _Road] = weakref.WeakValueDictionary()


class QueueLink:
    """One end of a road through memory."""

    def __init__(self, road: _Road, higher: bool, peer: str, patience: float, alive: Callable[[], None]) -> None:
        """Take one end; ``patience`` and ``alive`` as for ``SocketLink``."""
        self._road = road
        self._own, self._other = road.boxes[:: -1 if higher else 1]
        self._peer = peer
        self._patience = patience
        self._alive = alive
        self._shut = False

    def swap(self, send: Values | None, receive: Values | None) -> None:
        """Send and receive; see ``Link``."""
        if send is not None:
            self._other.put(send.copy())
        if receive is not None:
            found = self._take()
            if self._shut or found is None:
                raise BrokenError("the gang was ended" if self._shut else f"lost {self._peer}")
            if found.nbytes != receive.nbytes:
                text = f"{self._peer} sent {found.nbytes} bytes where {receive.nbytes} were due"
                raise RuntimeError(f"{text}: members did unlike things")
            np.copyto(receive, found.view(receive.dtype))

    def shut(self) -> None:
        """End both directions."""
        self._shut = True
        self._own.put(None)
        self._other.put(None)

    def close(self) -> None:
        """Nothing to give back."""

    def _take(self) -> Values | None:
        while True:
            try:
                return self._own.get(timeout=self._patience)
            except queue.Empty:
                self._alive()


def join(secret: bytes, ranks: tuple[int, int], peer: str, patience: float, alive: Callable[[], None]) -> QueueLink:
    """Return this end (the first of ``ranks``) of the road to the second; whoever comes first makes it."""
    low, high = sorted(ranks)
    with _GUARD:
        # It lives as long as one end does: a member that comes after the other has left waits, and asks.
        road = _ROADS.setdefault((secret, low, high), _Road())
    return QueueLink(road, ranks[0] == high, peer, patience, alive)
