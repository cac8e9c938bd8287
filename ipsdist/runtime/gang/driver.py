"""The driver of a gang: epoch after epoch, each done by all members or by nobody."""

# mypy: untyped-calls-exclude="distributed"

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import logging
import pickle
import queue
import time
import uuid
from collections.abc import Callable
from typing import Any

import distributed
from distributed.scheduler import KilledWorker, NoValidWorkerError

from ipsdist.model.errors import RunError
from ipsdist.runtime.clusters import Tell
from ipsdist.runtime.connection import AGAIN, check_scheduler, of_scheduler
from ipsdist.runtime.epochs import Epoch, Job
from ipsdist.runtime.gang.asking import LOOK_SECONDS, Asking, fetch
from ipsdist.runtime.gang.forming import Crew, Former
from ipsdist.runtime.gang.links import BrokenError
from ipsdist.runtime.gang.member import Answer, Lost, Report, do_share
from ipsdist.runtime.gang.pace import Pace
from ipsdist.runtime.settings import setting

__all__ = ["drive"]

_log = logging.getLogger(__name__)
Event = tuple[int, int, Any] | distributed.Future[Any]
"""(epoch, rank, what) from a member (see ``Report``), or a share that has ended."""

_WAIT_SECONDS = 0.25
_SETTLE_SECONDS = 2.0
_TICK_SECONDS = 0.25
_TICKS_PER_SECOND = 100
_REST_SECONDS, _LONGEST_REST = 0.5, 8.0
_HEART_SECONDS, _HEARTLESS_SECONDS = 2.0, 10.0
_LOST = (KilledWorker, NoValidWorkerError, concurrent.futures.CancelledError, asyncio.CancelledError)


def drive(client: distributed.Client, job: Job, *, stage: str, observe: Callable[[float], None], tell: Tell) -> None:
    """Do all epochs of a job on the workers of a client; ``observe`` hears the units done, ``tell`` of what was lost.

    Raises what a member's function raises of its own, and RunError when no gang lasts for an epoch, again and again.
    """
    asking = Asking.configured()
    pace = Pace(setting("gang.epoch"))
    driver = _Driver(client, asking, stage, observe)
    former = Former(client, asking, job, stage)
    crew: Crew | None = None
    failures, broken = 0, ""
    try:
        while True:
            if crew is None or former.better(crew):
                crew = former.form()
            if broken:
                tell(_again(stage, broken, crew.size))
                broken = ""
            epoch = job.epoch(crew.size, pace.units(crew.size))
            if epoch is None:
                return
            began = time.monotonic()
            try:
                answers = driver.do(crew, epoch, job.done)
            except BrokenError as error:
                check_scheduler(client)
                failures += 1
                _log.info("an epoch of %s is done again: %s", stage, error)
                if failures >= asking.attempts:
                    raise RunError(_gave_up(stage, failures, str(error))) from error
                crew, broken = None, str(error)
                observe(job.done)
                # A host that comes and goes must not use up all attempts in a moment.
                time.sleep(min(_REST_SECONDS * (2 ** (failures - 1) - 1), _LONGEST_REST))
                continue
            pace.note(epoch.units, crew.size, time.monotonic() - began)
            failures = 0
            # Whoever listens may know that this driver must not commit any more.
            observe(job.done + epoch.units)
            job.commit(answers)
            observe(job.done)
    finally:
        former.end()
        driver.close()


class _Driver:
    """Has epochs done by a crew, and listens to it."""

    def __init__(
        self, client: distributed.Client, asking: Asking, stage: str, observe: Callable[[float], None]
    ) -> None:
        self._client = client
        self._asking = asking
        self._stage = stage
        self._observe = observe
        self._topic = f"{stage}-gang-{uuid.uuid4().hex}"
        self._events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self._epochs = 0
        self._hearts: dict[str, tuple[float, float]] = {}
        client.subscribe_topic(self._topic, lambda event: self._events.put(tuple(event[1])))

    def close(self) -> None:
        """Listen no more."""
        with contextlib.suppress(Exception):
            self._client.unsubscribe_topic(self._topic)

    def do(self, crew: Crew, epoch: Epoch, done: float) -> list[Any]:
        """Return the members' answers by rank; raise BrokenError when one was lost, or what one raised."""
        self._epochs += 1
        self._hearts.clear()
        report = Report(self._topic, self._epochs, max(_TICK_SECONDS, crew.size / _TICKS_PER_SECOND))
        futures: list[Any] = []
        try:
            for worker, share, seat in zip(crew.workers, epoch.shares, crew.seats, strict=True):
                given = (pickle.dumps((epoch.do, share)), seat, report)
                futures.append(self._asking.submit(self._client, worker, f"{self._stage}-gang", do_share, *given))
            for future in futures:
                future.add_done_callback(self._events.put)
            self._listen(crew, futures, epoch.units, done)
            return self._answers(crew, futures)
        finally:
            with contextlib.suppress(Exception):
                self._client.cancel(futures, force=True)

    def _listen(self, crew: Crew, futures: list[Any], units: float, done: float) -> None:
        """Wait until all shares are done; raise as soon as one will not be."""
        waiting = {future.key for future in futures}
        said = [0.0] * crew.size
        silent = set(range(crew.size))
        began = looked = time.monotonic()
        while waiting:
            with contextlib.suppress(queue.Empty):
                event = self._events.get(timeout=_WAIT_SECONDS)
                if not isinstance(event, tuple):
                    # Those of earlier epochs are heard of when they are cancelled.
                    if event.key in waiting:
                        waiting.remove(event.key)
                        self._check(event, futures)
                elif event[0] == self._epochs:
                    silent.discard(event[1])
                    if isinstance(event[2], str):
                        self._settle(futures)
                        raise BrokenError(event[2])
                    if event[2] is not None:
                        said[event[1]] = event[2]
                        self._observe(done + min(sum(said), units))
            now = time.monotonic()
            if now - looked >= LOOK_SECONDS:
                looked = now
                self._look(crew)
                if silent and now - began >= self._asking.timeout:
                    worker = crew.workers[min(silent)]
                    raise BrokenError(f"the worker at {worker} did not begin in {self._asking.timeout:g} s")

    def _look(self, crew: Crew) -> None:
        """Raise when a worker of the crew has left, or the scheduler has."""
        with of_scheduler(self._client):
            there = self._client.nthreads(workers=list(crew.workers))
        for worker in crew.workers:
            if worker not in there:
                raise BrokenError(f"the worker at {worker} left")
        self._feel(crew)

    def _feel(self, crew: Crew) -> None:
        """Raise when a worker no longer greets the scheduler: its peers may be done and wait for it no more."""
        now = time.monotonic()
        if now - max((felt for _, felt in self._hearts.values()), default=-_HEART_SECONDS) < _HEART_SECONDS:
            return
        with of_scheduler(self._client):
            about = self._client.scheduler_info(n_workers=-1)["workers"]
        for worker in crew.workers:
            beat, since = self._hearts.get(worker, (0.0, now))
            last = about.get(worker, {}).get("last_seen", beat)
            if last != beat:
                self._hearts[worker] = last, now
            elif now - since >= max(self._asking.timeout, _HEARTLESS_SECONDS):
                raise BrokenError(f"the worker at {worker} has been silent for {now - since:.0f} s")

    def _check(self, future: Any, futures: list[Any]) -> None:
        """Raise what a share raised."""
        if future.status == "finished":
            return
        error = future.exception(timeout=_SETTLE_SECONDS) if future.status == "error" else None
        if error is not None and not isinstance(error, _LOST):
            raise error
        self._settle(futures)
        raise BrokenError(f"a worker was lost ({future.status if error is None else type(error).__name__})")

    def _settle(self, futures: list[Any]) -> None:
        """Give the others a moment, and raise the error of one's own that a member may have broken the gang with."""
        end = time.monotonic() + _SETTLE_SECONDS
        while time.monotonic() < end:
            found = {future.status for future in futures}
            if "error" in found or "pending" not in found:
                break
            time.sleep(0.02)
        for future in futures:
            if future.status == "error":
                error = future.exception(timeout=_SETTLE_SECONDS)
                if not isinstance(error, _LOST):
                    raise error

    def _answers(self, crew: Crew, futures: list[Any]) -> list[Any]:
        """Fetch the answers, which may vanish with their worker even now."""
        fetched = fetch(self._client, futures)
        while True:
            try:
                found: list[Answer | Lost] = fetched.result(timeout=LOOK_SECONDS)
                break
            except TimeoutError:
                try:
                    self._look(crew)
                except BaseException:
                    fetched.cancel()
                    raise
            except (*_LOST, OSError) as error:
                raise BrokenError(f"an answer was lost ({type(error).__name__})") from error
        for answer in found:
            if isinstance(answer, Lost):
                raise BrokenError(answer.why)
        return [answer.value for answer in found if isinstance(answer, Answer)]


def _again(stage: str, why: str, workers: int) -> str:
    by = "1 worker" if workers == 1 else f"{workers} workers together"
    return f"{stage}: {why}; what was done since the last commit is done again by {by}"


def _gave_up(stage: str, failures: int, why: str) -> str:
    times = "once" if failures == 1 else f"{failures} times in a row"
    return f"the gang of {stage} failed {times}, the last time because {why}; {AGAIN}"
