"""The executor that works on Dask: processes of this machine, a running cluster, or the caller's own client."""

# mypy: untyped-calls-exclude="distributed"

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import platform
import queue
import signal
import time
import uuid
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Self, TypeVar

import dask
import distributed
from distributed.comm.core import connect
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
            self.workers = _greet(self._client, "client" if scheduler is None else "--scheduler")

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
    # Each of its loggers has a level of its own.
    loggers = [logging.getLogger(name) for name in [*logging.root.manager.loggerDict] if name.startswith("distributed")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


@contextlib.contextmanager
def _local(workers: int) -> Iterator[distributed.Client]:
    options = {
        "n_workers": workers,
        "processes": True,
        "threads_per_worker": 1,
        "host": "127.0.0.1",
        "dashboard_address": "127.0.0.1:0",
        "memory_limit": distributed.system.MEMORY_LIMIT // workers,
        "silence_logs": logging.CRITICAL,
    }
    try:
        with dask.config.set(_LOCAL):
            cluster = distributed.LocalCluster(**options)
    except (RuntimeError, OSError) as error:
        # Spawned processes import the main module anew, and a script without that guard would start over in each.
        guard = "a script that asks for workers must do so under `if __name__ == '__main__':`"
        raise RunError(f"the worker processes did not start ({error}); {guard}") from error
    with cluster, distributed.Client(cluster, set_as_default=False) as client:
        client.register_plugin(_LeaveInterruptsToTheDriver())
        yield client


class _LeaveInterruptsToTheDriver(distributed.WorkerPlugin):
    """A Ctrl-C reaches every process of the terminal; workers that died of it would be started anew while closing."""

    name = "ipsdist-interrupts"

    def setup(self, worker: distributed.Worker) -> None:  # noqa: ARG002
        signal.signal(signal.SIGINT, signal.SIG_IGN)


@contextlib.contextmanager
def _connect(scheduler: str) -> Iterator[distributed.Client]:
    try:
        address = json.loads(Path(scheduler).read_text())["address"] if Path(scheduler).is_file() else scheduler
        # A client that cannot connect takes a minute to give up and says so at length; a bare connection does not.
        with ThreadPoolExecutor(1) as thread:
            thread.submit(asyncio.run, _call_at(address)).result()
    except (OSError, ValueError, KeyError, TypeError) as error:
        rule = "must be the address or the file of a running Dask scheduler"
        fix = "start one with `dask scheduler` and give the address it prints or its scheduler file"
        raise InputError("--scheduler", rule, f"{scheduler} ({type(error).__name__})", fix) from error
    with warnings.catch_warnings():
        # It warns of other versions there; those that matter are refused below.
        warnings.simplefilter("ignore")
        client = distributed.Client(address, timeout=_CONNECT_SECONDS, set_as_default=False)
    with client:
        yield client


async def _call_at(address: str) -> None:
    security = distributed.Security().get_connection_args("client")
    comm = await connect(address, timeout=_CONNECT_SECONDS, **security)
    await comm.close()


def _greet(client: distributed.Client, argument: str) -> int:
    """Return the number of workers; raise InputError when there are none or when they are not like this process."""
    try:
        client.wait_for_workers(1, timeout=_WORKERLESS_SECONDS)
    except TimeoutError as error:
        fix = "start some with `dask worker ADDRESS`"
        raise InputError(argument, "must have workers", f"none in {_WORKERLESS_SECONDS} s", fix) from error
    fix = "install the same version there and here"
    rule = "must have the versions of this process on its scheduler and workers"
    here = _versions()
    try:
        there = {"scheduler": client.run_on_scheduler(_versions), **client.run(_versions)}
    except Exception as error:
        raise InputError(argument, rule, f"{type(error).__name__}: {str(error).splitlines()[0]}", fix) from error
    for place, found in there.items():
        if found != here:
            raise InputError(argument, rule, f"{found} on {place} and {here} here", fix)
    return len(there) - 1


def _versions() -> str:
    """Versions that must agree for a pickle to mean the same and an answer to have the same bits."""
    found = [f"Python {platform.python_version().rpartition('.')[0]}"]
    for package in ("ipsdist", "numpy", "scipy", "numba"):
        with contextlib.suppress(PackageNotFoundError):
            found.append(f"{package} {version(package)}")
    return ", ".join(found)


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
