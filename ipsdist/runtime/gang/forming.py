"""Which workers make a gang: those that are there, may take the task, and answer."""

# mypy: untyped-calls-exclude="distributed"

from __future__ import annotations

import concurrent.futures
import contextlib
import random
import secrets
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import distributed

from ipsdist.model.errors import RunError
from ipsdist.runtime.connection import AGAIN, check_scheduler, of_scheduler
from ipsdist.runtime.epochs import Job
from ipsdist.runtime.gang.asking import LOOK_SECONDS, Asking, fetch
from ipsdist.runtime.gang.doors import Pass, Seat
from ipsdist.runtime.gang.member import Lost, Opened, open_door
from ipsdist.runtime.gang.reduction import partners

__all__ = ["Crew", "Former"]


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
        self._asked: dict[str, Any] = {}
        self._doors: dict[str, Opened] = {}
        self._refused: dict[str, Lost] = {}
        # Jobs of one client that run side by side are drivers of their own.
        self._driver = f"{client.id}-{threading.get_ident()}"
        self._entry = Pass(b"", asking.timeout, self._driver, asking.nccl)
        self._answered = threading.Event()
        self._looked = 0.0
        self._paused = 0

    def form(self) -> Crew:
        """End the last gang and return a new one; wait for as many workers as the job needs.

        Raises RunError when there have not been so many for the time that is set.
        """
        self._begin()
        began = enough = time.monotonic()
        while True:
            self._answered.clear()
            self._look(ask=True)
            self._hear()
            now = time.monotonic()
            present = len(self._asked) - sum(not lost.taken for lost in self._refused.values())
            if present >= self._job.fewest:
                enough = now
            late = now - began >= self._asking.grace
            if len(self._doors) >= max(1, self._job.fewest, 0 if late else min(self._job.members, present)):
                return self._crew([*self._doors][: self._job.members])
            if now - enough >= self._asking.workerless:
                raise RunError(self._too_few(present))
            if late and any(lost.taken for lost in self._refused.values()):
                # Another driver holds workers that this one waits for, and may itself wait for those held here.
                self.end()
                time.sleep(random.uniform(0.5, 1.5) * LOOK_SECONDS)
                self._begin()
                began = time.monotonic()
            self._answered.wait(0.25)

    def better(self, crew: Crew) -> bool:
        """Tell, at most once a second, whether a gang formed now would have another size."""
        if time.monotonic() - self._looked < LOOK_SECONDS:
            return False
        short = crew.size < self._job.members
        self._look(ask=short)
        self._hear()
        return not set(crew.workers) <= set(self._asked) or (short and len(self._doors) > crew.size)

    def end(self) -> None:
        """Let all doors go: the members' means are given back."""
        held = list(self._asked.values())
        self._asked.clear()
        self._doors.clear()
        self._refused.clear()
        if held:
            # A client that lost its scheduler holds nothing any more.
            with contextlib.suppress(Exception):
                self._client.cancel(held, force=True)

    def _begin(self) -> None:
        self.end()
        self._entry = Pass(secrets.token_bytes(32), self._asking.timeout, self._driver, self._asking.nccl)
        self._looked = 0.0

    def _look(self, ask: bool) -> None:
        """Once a second: forget workers that have left, and ask those that are new, or that were taken."""
        check_scheduler(self._client)
        if self._looked and time.monotonic() - self._looked < LOOK_SECONDS:
            return
        self._looked = time.monotonic()
        there, self._paused = _fit(self._client, self._asking.resources)
        taken = {name for name, lost in self._refused.items() if lost.taken}
        self._forget(
            name
            for name, future in list(self._asked.items())
            if name not in there or name in taken or future.status in {"cancelled", "lost"}
        )
        for name in sorted(there - set(self._asked)) if ask else ():
            future = self._asking.submit(self._client, name, self._name, open_door, self._entry)
            future.add_done_callback(lambda _: self._answered.set())
            self._asked[name] = future

    def _forget(self, names: Iterable[str]) -> None:
        for name in names:
            future = self._asked.pop(name)
            self._doors.pop(name, None)
            self._refused.pop(name, None)
            with contextlib.suppress(Exception):
                future.cancel(force=True)

    def _hear(self) -> None:
        """Take in the answers that have come."""
        new = {name: future for name, future in self._asked.items() if name not in {*self._doors, *self._refused}}
        done = [name for name, future in new.items() if future.status == "finished"]
        if not new:
            return
        fetched = fetch(self._client, [new[name] for name in done])
        try:
            answers = fetched.result(timeout=LOOK_SECONDS)
        except (concurrent.futures.CancelledError, OSError, TimeoutError):
            # One of them has died since, or the scheduler: the next look shows which.
            fetched.cancel()
            return
        for name, answer in zip(done, answers, strict=True):
            if isinstance(answer, Lost):
                self._refused[name] = answer
            else:
                self._doors[name] = answer
        for name, future in new.items():
            if future.status == "error":
                why = future.exception(timeout=LOOK_SECONDS)
                self._refused[name] = Lost(f"the worker at {name} failed ({type(why).__name__}: {why})")

    def _crew(self, names: Sequence[str]) -> Crew:
        """Seat the workers in the order of their addresses; those that are not needed are let go."""
        if len(names) >= self._job.members:
            self._forget(name for name in list(self._asked) if name not in names)
        chosen = sorted(names)
        doors = [self._doors[name] for name in chosen]
        size = len(doors)
        seats = (
            Seat(door.name, rank, size, {peer: doors[peer].address for peer in partners(rank, size)})
            for rank, door in enumerate(doors)
        )
        return Crew(tuple(chosen), tuple(seats))

    def _too_few(self, present: int) -> str:
        named = ", ".join(f"{name}: {amount:g}" for name, amount in self._asking.resources.items())
        worker = f"Dask worker{'s' if present > 1 else ''}{' with the resources ' * bool(named)}{named}"
        few = f"{present or 'no'} {worker} for {self._asking.workerless:g} s"
        if present:
            few += f", where {self._job.fewest} are needed"
        why = [lost.why for lost in [*self._refused.values()][:1]]
        if self._paused:
            why.append(f"{self._paused} more paused for want of memory (distributed.worker.memory.pause)")
        return "; ".join([few, *why, f"start workers, then {AGAIN}"])


def _fit(client: distributed.Client, resources: Mapping[str, float]) -> tuple[set[str], int]:
    """Return the addresses of the workers that run and have the resources, and how many are paused."""
    with of_scheduler(client):
        workers = client.scheduler_info(n_workers=-1)["workers"]
    fit = {
        address
        for address, about in workers.items()
        if about["status"] == "running"
        and all(about["resources"].get(name, 0.0) >= amount for name, amount in resources.items())
    }
    return fit, sum(about["status"] == "paused" for about in workers.values())
