"""What Dask asks of a worker in a gang: to open a door, and to do its share of an epoch."""

# mypy: untyped-calls-exclude="distributed"

from __future__ import annotations

import pickle
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import distributed

from ipsdist.runtime.gang.doors import Door, Pass, Seat, busy, door, taken
from ipsdist.runtime.gang.links import BrokenError
from ipsdist.runtime.gang.places import Address
from ipsdist.runtime.gang.reduction import Gang
from ipsdist.runtime.threads import single_threaded

__all__ = ["Answer", "Lost", "Opened", "Report", "do_share", "open_door"]

_HELD = {"executing", "long-running", "memory"}
_GONE = {"closing", "closed", "failed"}


@dataclass(frozen=True)
class Report:
    """How a member tells the driver at once of what happens: events (epoch, rank, what).

    The first is None, progress is a number of units, and a text says why the gang has ended.
    """

    topic: str
    epoch: int
    pause: float
    """Seconds between two words on progress."""


@dataclass(frozen=True)
class Answer:
    """What a member returns of an epoch."""

    value: Any
    units: float | None
    """The last that it said of its progress."""


@dataclass(frozen=True)
class Lost:
    """Instead of an answer: the gang has ended under the member, or a worker takes no part in one."""

    why: str
    taken: bool = False
    """Whether it is another gang that has the worker, for now."""


@dataclass(frozen=True)
class Opened:
    """A door that was opened: its name, and where it is."""

    name: str
    address: Address


def open_door(entry: Pass) -> Opened | Lost:
    """Open a door on this worker for as long as this task is held."""
    worker = distributed.get_worker()
    held = _held(worker)
    if taken(worker.address, entry.driver):
        return Lost("another gang is at work there", taken=True)
    # A worker of several threads may still step for a gang that has ended: two of them need twice the memory.
    while busy(worker.address):
        if not held():
            return Lost("cancelled")
        time.sleep(0.05)
    try:
        opened = Door(worker, entry, held)
    except OSError as error:
        return Lost(f"the worker at {worker.address} cannot open a port for its peers ({error})")
    return Opened(opened.name, opened.address)


def do_share(work: bytes, seat: Seat, report: Report) -> Answer | Lost:
    """Do one member's share of an epoch: ``work`` is a pickle of its function and its share."""
    worker = distributed.get_worker()

    def say(what: float | str | None) -> None:
        worker.log_event(report.topic, (report.epoch, seat.rank, what))

    say(None)
    try:
        own = door(seat.door)
        with own.sitting(seat):
            tick = _Ticker(own, _held(worker), say, report.pause)
            try:
                # Only now, as what it imports may take longer than the driver waits for a sign of life.
                do, share = pickle.loads(work)
                with single_threaded():
                    value = do(share, Gang(seat.rank, seat.size, own.link, own.rings), own.memory, tick)
            except BaseException:
                # The peers hear of it now and not after their time-out.
                own.close()
                raise
    except BrokenError as error:
        say(str(error))
        return Lost(str(error))
    return Answer(value, tick.said)


class _Ticker:
    """What a member calls with its units done; raises BrokenError once the gang has ended."""

    def __init__(self, own: Door, held: Callable[[], bool], send: Callable[[float], None], pause: float) -> None:
        self.said: float | None = None
        self._own = own
        self._held = held
        self._send = send
        self._pause = pause
        self._sent = time.monotonic()

    def __call__(self, done: float) -> None:
        self.said = float(done)
        now = time.monotonic()
        if self._own.closed:
            raise BrokenError("the gang was ended")
        if now - self._sent < self._pause:
            return
        self._sent = now
        if not self._held():
            raise BrokenError("cancelled")
        self._send(self.said)


def _held(worker: Any) -> Callable[[], bool]:
    """Return what tells whether the driver still wants the task that asks now."""
    key = worker.get_current_task()

    def held() -> bool:
        task = worker.state.tasks.get(key)
        return task is not None and task.state in _HELD and worker.status.name not in _GONE

    return held
