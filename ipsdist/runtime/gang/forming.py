"""Which workers make a gang: those that are there, may take the task, and answer."""

# mypy: untyped-calls-exclude="distributed"

from __future__ import annotations

import contextlib
import secrets
import threading
import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import distributed

from ipsdist.model.errors import RunError
from ipsdist.runtime.epochs import Job
from ipsdist.runtime.gang.doors import Pass, Seat
from ipsdist.runtime.gang.member import Lost, open_door
from ipsdist.runtime.gang.places import Address
from ipsdist.runtime.gang.reduction import partners

__all__ = ["Asking", "Crew", "Former"]

_LOOK_SECONDS = 1.0
_AGAIN = "give the same command again: what was finished is kept"


@dataclass(frozen=True)
class Asking:
    """How every task of a gang is put to Dask, and how long is waited for what."""

    resources: Mapping[str, float]
    priority: int
    timeout: float
    """Seconds of silence of a member that is waited for."""
    grace: float
    """Seconds in which a worker takes a task, if it is not busy."""
    workerless: float
    """Seconds without enough workers."""

    def submit(self, client: distributed.Client, worker: str, name: str, function: Any, *given: Any) -> Any:
        """Pin a task to a worker, before whatever else waits there; return its future."""
        return client.submit(
            function,
            *given,
            key=f"{name}-{uuid.uuid4().hex}",
            workers=[worker],
            allow_other_workers=False,
            pure=False,
            priority=self.priority + 1,
            resources=dict(self.resources) or None,
        )


@dataclass(frozen=True)
class Crew:
    """A gang that was formed: its workers, by rank, and their seats."""

    workers: tuple[str, ...]
    seats: tuple[Seat, ...]

    @property
    def size(self) -> int:
        """Number of members."""
        return len(self.workers)


class Former:
    """Asks workers to open their doors, and forms gangs of those that did. One gang lives at a time."""

    def __init__(self, client: distributed.Client, asking: Asking, job: Job, stage: str) -> None:
        """Form gangs for a job of a stage."""
        self._client = client
        self._asking = asking
        self._job = job
        self._name = f"{stage}-door"
        self._doors: dict[str, Any] = {}
        self._found: dict[str, tuple[str, Address] | Lost] = {}
        self._entry = Pass(b"", asking.timeout)
        self._answered = threading.Event()
        self._looked = 0.0

    def form(self) -> Crew:
        """End the last gang and return a new one; wait for as many workers as the job needs.

        Raises RunError when there have not been so many for the time that is set.
        """
        self.end()
        self._entry = Pass(secrets.token_bytes(32), self._asking.timeout)
        began = enough = time.monotonic()
        while True:
            self._answered.clear()
            listed = self._look()
            ready = self._ready()
            now = time.monotonic()
            if len(listed) >= self._job.fewest:
                enough = now
            waited = now - began >= self._asking.grace
            if len(ready) >= max(self._job.fewest, 1 if waited else min(self._job.members, len(listed))):
                return self._crew(ready[: self._job.members])
            if now - enough >= self._asking.workerless:
                raise RunError(self._too_few(len(listed)))
            self._answered.wait(0.25)

    def better(self, crew: Crew) -> bool:
        """Tell, at most once a second, whether a gang formed now would have another size."""
        if time.monotonic() - self._looked < _LOOK_SECONDS:
            return False
        listed = self._look()
        return not set(crew.workers) <= set(listed) or min(len(self._ready()), self._job.members) > crew.size

    def end(self) -> None:
        """Let all doors go: the members' means are given back."""
        held = list(self._doors.values())
        self._doors.clear()
        self._found.clear()
        self._looked = 0.0
        if held:
            # A client that lost its scheduler holds nothing any more.
            with contextlib.suppress(Exception):
                self._client.cancel(held, force=True)

    def _look(self) -> list[str]:
        """Return the workers that may take part, and ask those that are new."""
        if self._looked and time.monotonic() - self._looked < _LOOK_SECONDS:
            return [name for name in self._doors if not isinstance(self._found.get(name), Lost)]
        self._looked = time.monotonic()
        there = set(_fit(self._client, self._asking.resources))
        self._forget(name for name in list(self._doors) if name not in there or self._doors[name].status in _ENDED)
        for name in sorted(there - set(self._doors)):
            future = self._asking.submit(self._client, name, self._name, open_door, self._entry)
            future.add_done_callback(lambda _: self._answered.set())
            self._doors[name] = future
        return [name for name in self._doors if not isinstance(self._found.get(name), Lost)]

    def _forget(self, names: Iterable[str]) -> None:
        for name in names:
            future = self._doors.pop(name)
            self._found.pop(name, None)
            with contextlib.suppress(Exception):
                future.cancel(force=True)

    def _ready(self) -> list[str]:
        """Return the workers whose door is open, those that answered first in front."""
        for name, future in self._doors.items():
            if name not in self._found and future.status in {"finished", "error"}:
                self._found[name] = _outcome(future)
        return [name for name, found in self._found.items() if not isinstance(found, Lost)]

    def _crew(self, names: Sequence[str]) -> Crew:
        """Seat the workers in the order of their addresses, and let those go that answered for nothing."""
        self._forget(name for name in list(self._found) if name not in names)
        chosen = sorted(names)
        doors = [self._found[name] for name in chosen]
        places = {rank: door[1] for rank, door in enumerate(doors) if not isinstance(door, Lost)}
        size = len(chosen)
        seats = tuple(
            Seat(door[0], rank, size, {peer: places[peer] for peer in partners(rank, size)})
            for rank, door in enumerate(doors)
            if not isinstance(door, Lost)
        )
        return Crew(tuple(chosen), seats)

    def _too_few(self, listed: int) -> str:
        refused = [found.why for found in self._found.values() if isinstance(found, Lost)]
        seconds = f"{self._asking.workerless:g} s"
        few = f"no Dask worker for {seconds}" if not listed else f"{listed} of {self._job.fewest} workers for {seconds}"
        return "; ".join([few, *refused[:1], "start workers, then " + _AGAIN])


_ENDED = {"cancelled", "lost"}


def _outcome(future: Any) -> tuple[str, Address] | Lost:
    try:
        found: tuple[str, Address] | Lost = future.result(timeout=_LOOK_SECONDS)
    except Exception as error:
        return Lost(f"a worker could not open its door ({type(error).__name__}: {str(error).splitlines()[:1]})")
    return found


def _fit(client: distributed.Client, resources: Mapping[str, float]) -> list[str]:
    """Return the addresses of the workers that run and have the resources."""
    workers = client.scheduler_info(n_workers=-1)["workers"]
    return [
        address
        for address, about in workers.items()
        if about["status"] == "running"
        and all(about["resources"].get(name, 0.0) >= amount for name, amount in resources.items())
    ]
