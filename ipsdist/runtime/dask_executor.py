"""The executor that works on Dask: processes of this machine, a running cluster, or the caller's own client."""

# mypy: untyped-calls-exclude="distributed"

from __future__ import annotations

import contextlib
import logging
import queue
import time
import uuid
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError
from pathlib import Path
from typing import Any, Self, TypeVar

import dask
import distributed
from distributed.scheduler import KilledWorker

from ipsdist.model.errors import InputError, RunError
from ipsdist.runtime.executor import Tick
from ipsdist.runtime.threads import single_threaded

__all__ = ["DaskExecutor"]

T = TypeVar("T")
R = TypeVar("R")
Event = tuple[int, float] | distributed.Future[Any]
"""(index, progress) of a task, or a task that has finished."""

_CONNECT_SECONDS = 10
_WORKERLESS_SECONDS = 60
_TICK_SECONDS = 0.25
_DEATHS = 2
_AGAIN = "give the same command again: what was finished is kept"
_LOCAL = {
    "distributed.worker.multiprocessing-method": "spawn",
    "distributed.scheduler.allowed-failures": _DEATHS,
    # Workers hold no data of Dask, so there is nothing to spill, and a paused worker would never wake again.
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
}


class DaskExecutor:
    """Carries tasks to workers of Dask; see ``Executor`` for the contract.

    Processes of this machine are started by the first task, so that a run that has nothing left to do costs
    nothing; they listen on the loopback interface only. A running cluster must answer when the executor is made.
    """

    def __init__(
        self, workers: int | None = None, scheduler: str | None = None, client: distributed.Client | None = None
    ) -> None:
        """Give exactly one of: a number of processes, a scheduler's address or file, a client (left open by ``close``).

        Raises InputError when the scheduler does not answer or has no workers.
        """
        self.name = "local" if workers is not None else "scheduler"
        self.workers = workers or 0
        self._client: distributed.Client | None = client
        self._own = contextlib.ExitStack()
        self._own.enter_context(_silence())
        if scheduler is not None:
            self._client = self._own.enter_context(_connect(scheduler))
        if self._client is not None:
            self.workers = _count_workers(self._client, scheduler)

    @property
    def dashboard(self) -> str | None:
        """Address of the cluster's dashboard; None before the first task of local processes."""
        return None if self._client is None else str(self._client.dashboard_link)

    def run(
        self, function: Callable[[T, Tick], R], tasks: Sequence[T], *, stage: str, observe: Callable[[int, float], None]
    ) -> Iterator[tuple[int, R]]:
        """Yield (index, result) as the tasks finish; see ``Executor``."""
        if not tasks:
            return
        client = self._started()
        label = f"{stage}-{uuid.uuid4().hex}"
        events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        client.subscribe_topic(label, lambda event: events.put(tuple(event[1])))
        indices = range(len(tasks))
        keys = [f"{label}-{k}" for k in indices]
        futures = client.map(_work, tasks, indices, key=keys, function=function, topic=label, pure=False)
        waiting = dict(zip(keys, indices, strict=True))
        try:
            for future in futures:
                future.add_done_callback(events.put)
            while waiting:
                event = _next_event(events, client)
                if isinstance(event, tuple):
                    if keys[event[0]] in waiting:
                        observe(*event)
                    continue
                result, said = _result(event, stage)
                index = waiting.pop(str(event.key))
                if said is not None:
                    observe(index, said)
                yield index, result
        finally:
            # A client that lost its scheduler has nothing left to cancel.
            with contextlib.suppress(Exception):
                client.cancel([f for f in futures if f.key in waiting], force=True)
                client.unsubscribe_topic(label)

    def close(self) -> None:
        """Disconnect; stop the processes that were started here."""
        self._own.close()
        self._client = None

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *exception: object) -> None:
        """Close."""
        self.close()

    def _started(self) -> distributed.Client:
        if self._client is None:
            self._client = self._own.enter_context(_local(self.workers))
        return self._client


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Keep Dask's own talk about workers that come and go from the user; what matters is raised."""
    logger = logging.getLogger("distributed")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)


@contextlib.contextmanager
def _local(workers: int) -> Iterator[distributed.Client]:
    with dask.config.set(_LOCAL), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cluster = distributed.LocalCluster(
            n_workers=workers,
            processes=True,
            threads_per_worker=1,
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",
            memory_limit=distributed.system.MEMORY_LIMIT // workers,
            silence_logs=logging.CRITICAL,
        )
        with cluster, distributed.Client(cluster, set_as_default=False) as client:
            yield client


@contextlib.contextmanager
def _connect(scheduler: str) -> Iterator[distributed.Client]:
    fix = "start one with `dask scheduler` and give the address it prints or its scheduler file"
    rule = "must be the address or the file of a running Dask scheduler"
    try:
        place = {"scheduler_file": scheduler} if Path(scheduler).is_file() else {"address": scheduler}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            client = distributed.Client(**place, timeout=_CONNECT_SECONDS, set_as_default=False)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError("--scheduler", rule, f"{scheduler} ({type(error).__name__})", fix) from error
    with client:
        yield client


def _count_workers(client: distributed.Client, scheduler: str | None) -> int:
    try:
        client.wait_for_workers(1, timeout=_WORKERLESS_SECONDS)
    except TimeoutError as error:
        argument = "client" if scheduler is None else "--scheduler"
        got = f"none in {_WORKERLESS_SECONDS} s{'' if scheduler is None else f' at {scheduler}'}"
        raise InputError(argument, "must have workers", got, "start some with `dask worker ADDRESS`") from error
    return len(client.nthreads())


def _next_event(events: queue.SimpleQueue[Event], client: distributed.Client) -> Event:
    """Wait for the next event; raise RunError when none can come any more."""
    worked = time.monotonic()
    while True:
        with contextlib.suppress(queue.Empty):
            return events.get(timeout=2.0)
        # A task that no worker can take waits without end and without an event.
        if client.status != "running":
            raise RunError(f"lost the connection to the Dask scheduler; {_AGAIN}")
        if client.nthreads():
            worked = time.monotonic()
        elif time.monotonic() - worked > _WORKERLESS_SECONDS:
            raise RunError(f"no Dask worker for {_WORKERLESS_SECONDS} s; start workers, then {_AGAIN}")


def _result(future: distributed.Future[Any], stage: str) -> tuple[Any, float | None]:
    try:
        answer: tuple[Any, float | None] = future.result()
    except KilledWorker as error:
        raise RunError(
            f"a task of {stage} ended its worker again and again, mostly for want of memory; "
            "use fewer --workers or a smaller run.chunk"
        ) from error
    except CancelledError as error:
        raise RunError(f"Dask cancelled a task; {_AGAIN}") from error
    return answer


def _work(task: Any, index: int, function: Callable[[Any, Tick], Any], topic: str) -> tuple[Any, float | None]:
    """Do one task on a worker; return its result and the last that it said of its progress."""
    worker = distributed.get_worker()
    key = worker.get_current_task()
    said: float | None = None
    sent = time.monotonic()

    def tick(done: float) -> None:
        nonlocal said, sent
        said = float(done)
        now = time.monotonic()
        if now - sent < _TICK_SECONDS:
            return
        sent = now
        state = worker.state.tasks.get(key)
        if state is None or state.state == "cancelled":
            # The driver has gone: stop now, before its successor does the same task.
            raise RunError("cancelled")
        worker.log_event(topic, (index, said))

    with single_threaded():
        return function(task, tick), said
