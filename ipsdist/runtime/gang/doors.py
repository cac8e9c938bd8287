"""What a worker keeps for a gang: a door that peers call at, the links to them, and the memory of its member.

A door lives as long as the driver holds the Dask task that opened it. Whatever ends that task (the driver begins a
new gang, ends, or dies) ends the door within a second: its thread looks.
"""

from __future__ import annotations

import contextlib
import select
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ipsdist.runtime.gang import inprocess
from ipsdist.runtime.gang.greeting import ASK, JOIN, greet, welcome
from ipsdist.runtime.gang.links import BrokenError, Link
from ipsdist.runtime.gang.places import Address, contexts, listen
from ipsdist.runtime.gang.rings import Rings
from ipsdist.runtime.gang.sockets import SocketLink

__all__ = ["Door", "Pass", "Seat", "busy", "door", "taken"]

_LOOK_SECONDS = 0.5
_STRANGERS = 64
"""Callers that may be proving themselves at the same time."""
_PROOF_SECONDS = 5.0
_RETRY_SECONDS = 0.2

_DOORS: dict[str, Door] = {}
_BUSY: set[Door] = set()
"""Those whose member works now, also after they have been closed."""


@dataclass(frozen=True)
class Pass:
    """What the members of one gang know in common."""

    secret: bytes = field(repr=False)
    timeout: float
    """Seconds of silence after which a member that is waited for is lost."""
    driver: str
    """Who drives the gang: a driver has one at a time."""
    nccl: bool | None = None
    """Whether members whose arrays lie on cards add them there; None: unless that would leave TLS."""


@dataclass(frozen=True)
class Seat:
    """A member's place in its gang."""

    door: str
    rank: int
    size: int
    peers: Mapping[int, Address]
    """Where those are that it exchanges arrays with."""


class Door:
    """One member of one gang, in the process of its worker."""

    def __init__(self, worker: Any, entry: Pass, held: Callable[[], bool]) -> None:
        """Open it for a Dask worker, for as long as ``held`` says so. Raises OSError when no port can be opened."""
        self.name = uuid.uuid4().hex
        self.place = worker.address
        self.driver = entry.driver
        self.memory: dict[str, Any] = {}
        self._entry = entry
        self._held = held
        self._seat: Seat | None = None
        self._links: dict[int, Link] = {}
        self._called: dict[int, int] = {}
        self._change = threading.Condition()
        self._closed = False
        self._strangers = threading.Semaphore(_STRANGERS)
        self._hears, self._calls = contexts(worker)
        self.rings = Rings(entry.nccl, self._hears is not None, worker.address)
        opened = listen(worker)
        self._port: socket.socket | None
        self.address: Address
        self._port, self.address = opened if opened else (None, (self.name, 0))
        _DOORS[self.name] = self
        threading.Thread(target=self._watch, name="ipsdist-gang", daemon=True).start()

    @property
    def closed(self) -> bool:
        """Whether the gang has ended."""
        return self._closed

    @contextlib.contextmanager
    def sitting(self, seat: Seat) -> Iterator[None]:
        """Let the member work in its seat; its means are given back at the end if the gang ended meanwhile."""
        with self._change:
            self._require_open()
            self._seat = seat
            for rank in [rank for rank, called in self._called.items() if called != seat.rank]:
                link = self._links.pop(rank)
                link.shut()
                link.close()
                del self._called[rank]
            _BUSY.add(self)
        try:
            yield
        finally:
            with self._change:
                _BUSY.discard(self)
                if self._closed:
                    self._give_back()

    def link(self, rank: int) -> Link:
        """Return the link to a peer; the higher rank calls. Raises BrokenError when the peer is not there."""
        found = self._links.get(rank)
        if found is not None and not self._closed:
            return found
        assert self._seat is not None
        if self._port is None:
            self._keep(rank, self._join(rank))
        elif rank < self._seat.rank:
            self._keep(rank, self._link_over(self._call(rank, JOIN, self._entry.timeout), rank))
        with self._change:
            while rank not in self._links:
                self._require_open()
                if not self._change.wait(self._patience):
                    self.ask(rank)
            self._require_open()
            return self._links[rank]

    def ask(self, rank: int) -> None:
        """Raise BrokenError unless a silent peer still answers at its door."""
        assert self._seat is not None
        if self._closed:
            raise BrokenError("the gang was ended")
        if self._port is None:
            if self._seat.peers[rank][0] not in _DOORS:
                raise BrokenError(f"lost {self._peer(rank)}")
            return
        self._call(rank, ASK, self._entry.timeout - self._patience).close()

    def close(self) -> None:
        """End the gang here: whoever waits, here or at a peer, raises BrokenError."""
        with self._change:
            if self._closed:
                return
            self._closed = True
            _DOORS.pop(self.name, None)
            for link in self._links.values():
                link.shut()
            self._change.notify_all()
            if self not in _BUSY:
                self._give_back()
        self.rings.end()

    @property
    def _patience(self) -> float:
        """Seconds of silence before a peer is asked; it has the rest of the time-out to answer."""
        return self._entry.timeout / 2 if self._port is not None else min(_LOOK_SECONDS, self._entry.timeout)

    def _peer(self, rank: int) -> str:
        assert self._seat is not None
        host, port = self._seat.peers[rank]
        return f"member {rank} at {host}:{port}" if port else f"member {rank}"

    def _require_open(self) -> None:
        if self._closed:
            raise BrokenError("the gang was ended")

    def _give_back(self) -> None:
        for link in self._links.values():
            link.close()
        self._links.clear()
        self.memory.clear()

    def _keep(self, rank: int, link: Link, called: int | None = None) -> None:
        """Keep a link to a peer, unless the peer ``called`` for another member than this one."""
        with self._change:
            # A peer may call before this member has been told its own rank; ``sitting`` looks then.
            astray = called is not None and self._seat is not None and called != self._seat.rank
            if self._closed or rank in self._links or astray:
                link.shut()
                link.close()
            else:
                self._links[rank] = link
                if called is not None:
                    self._called[rank] = called
                self._change.notify_all()

    def _join(self, rank: int) -> Link:
        assert self._seat is not None
        ranks = (self._seat.rank, rank)
        return inprocess.join(self._entry.secret, ranks, self._peer(rank), self._patience, lambda: self.ask(rank))

    def _link_over(self, connection: socket.socket, rank: int) -> Link:
        return SocketLink(connection, f"member {rank}", self._patience, lambda: self.ask(rank))

    def _call(self, rank: int, purpose: int, seconds: float) -> socket.socket:
        """Call a peer until it answers or the time is over."""
        assert self._seat is not None
        end = time.monotonic() + seconds
        while True:
            try:
                return greet(
                    self._seat.peers[rank],
                    secret=self._entry.secret,
                    purpose=purpose,
                    ranks=(self._seat.rank, rank),
                    tls=self._calls,
                    timeout=min(max(end - time.monotonic(), 0.01), _PROOF_SECONDS),
                )
            except OSError as error:
                # A port that nobody listens on is a member that has gone; a road that is down may come back.
                if isinstance(error, ConnectionError) or time.monotonic() >= end or self._closed:
                    why = "did not answer" if isinstance(error, TimeoutError) else type(error).__name__
                    raise BrokenError(f"lost {self._peer(rank)} ({why})") from error
                time.sleep(_RETRY_SECONDS)

    def _watch(self) -> None:
        """Answer callers, and close when the driver no longer holds the door."""
        with contextlib.ExitStack() as own:
            own.callback(self.close)
            poll = select.poll()
            if self._port is not None:
                own.enter_context(self._port)
                self._port.settimeout(0.0)
                poll.register(self._port, select.POLLIN)
            while not self._closed and self._held() and self.rings.sound():
                if self._port is None:
                    with self._change:
                        self._change.wait_for(lambda: self._closed, _LOOK_SECONDS)
                elif poll.poll(1e3 * _LOOK_SECONDS):
                    self._hear(self._port)

    def _hear(self, port: socket.socket) -> None:
        # Callers beyond the limit wait in the port's own queue.
        if not self._strangers.acquire(timeout=_LOOK_SECONDS):
            return
        try:
            connection = port.accept()[0]
        except OSError:
            self._strangers.release()
            return
        threading.Thread(target=self._admit, args=(connection,), name="ipsdist-gang-caller", daemon=True).start()

    def _admit(self, connection: socket.socket) -> None:
        """Let a caller prove itself; keep its connection when it joins."""
        try:
            connection.settimeout(min(_PROOF_SECONDS, self._entry.timeout))
            connection, purpose, rank, called = welcome(connection, secret=self._entry.secret, tls=self._hears)
            if purpose == JOIN:
                self._keep(rank, self._link_over(connection, rank), called)
            else:
                connection.close()
        except OSError:
            pass  # It has been closed, and there is nobody to tell.
        finally:
            self._strangers.release()


def door(name: str) -> Door:
    """Return a door of this process. Raises BrokenError when it is closed."""
    found = _DOORS.get(name)
    if found is None:
        raise BrokenError("the gang has ended here")
    return found


def taken(place: str, driver: str) -> bool:
    """Tell whether another driver's gang has a door on the worker at an address; close what this driver had there."""
    found = [one for one in {*_DOORS.values(), *_BUSY} if one.place == place]
    for one in found:
        if one.driver == driver:
            one.close()
    return any(one.driver != driver for one in found)


def busy(place: str) -> bool:
    """Tell whether a member still works on the worker at an address, for a gang that has ended or not."""
    return any(one.place == place for one in list(_BUSY))
