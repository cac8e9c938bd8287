"""The tasks of one stage on a Dask cluster: submitted together, heard of while they work, answered one by one."""

# mypy: untyped-calls-exclude="distributed"

from __future__ import annotations

import contextlib
import queue
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError
from typing import Any

import distributed
from distributed.scheduler import KilledWorker

from ipsdist.model.errors import RunError
from ipsdist.runtime.clusters import Tell
from ipsdist.runtime.connection import AGAIN, LOST, check_scheduler
from ipsdist.runtime.settings import setting
from ipsdist.runtime.threads import single_threaded

__all__ = ["Batch", "asked"]

_GONE = ("scheduler-connection-lost", "scheduler-restart")
_TICK_SECONDS = 0.25
_Event = tuple[int, float | str] | distributed.Future[Any]
"""(index, progress) of a task, (index, worker) of one that begins, or a task that has finished."""


class Batch:
    """Yields (index, result) from ``results``; ``close`` cancels what has not finished."""

    def __init__(
        self,
        client: distributed.Client,
        function: Callable[[Any, Callable[[float], None]], Any],
        tasks: Sequence[Any],
        stage: str,
        patience: float,
        tell: Tell,
    ) -> None:
        """Submit all tasks. ``patience`` is how many seconds there may be no worker; ``tell`` hears of lost ones."""
        self._client, self._function, self._tasks = client, function, tasks
        self._stage, self._patience, self._tell = stage, patience, tell
        self._label = f"{stage}-{uuid.uuid4().hex}"
        self._events: queue.SimpleQueue[_Event] = queue.SimpleQueue()
        self._waiting: dict[str, tuple[int, distributed.Future[Any]]] = {}
        self._running: set[int] = set()
        self._tried: set[int] = set()
        self._begun: dict[int, str] = {}
        self._lost: set[str] = set()
        client.subscribe_topic(self._label, lambda event: self._events.put(tuple(event[1])))
        self._submit(range(len(tasks)), "")

    def results(self, observe: Callable[[int, float], None], tolerate: bool) -> Iterator[tuple[int, Any]]:
        """Yield the results as they come. Raises what a task raised, or RunError when it or the cluster was lost.

        With ``tolerate`` a lost task has a RunError as its result. Those whose worker died are done once more at the
        end, one at a time: the others may only have stood beside the one that ends workers.
        """
        suspects: list[int] = []
        while self._waiting:
            event = self._next_event()
            if isinstance(event, tuple):
                self._hear(*event, observe)
                continue
            index, _ = self._waiting.pop(str(event.key))
            self._running.discard(index)
            try:
                result, said = _result(event, self._stage)
            except RunError as error:
                if not tolerate or not isinstance(error.__cause__, KilledWorker | CancelledError):
                    raise
                if isinstance(error.__cause__, KilledWorker) and index not in suspects:
                    suspects.append(index)
                else:
                    yield index, error
            else:
                if said is not None:
                    observe(index, said)
                yield index, result
            if not self._waiting:
                self._try_again(suspects)

    def close(self) -> None:
        """Cancel what has not finished."""
        # A client that lost its scheduler has nothing left to cancel.
        with contextlib.suppress(Exception):
            self._client.cancel([future for _, future in self._waiting.values()], force=True)
            self._client.unsubscribe_topic(self._label)

    def _hear(self, index: int, said: float | str, observe: Callable[[int, float], None]) -> None:
        """Pass progress on; say that a worker was lost when a task of its begins elsewhere."""
        if index not in self._running:
            return
        if not isinstance(said, str):
            observe(index, said)
            return
        former = self._begun.get(index)
        self._begun[index] = said
        # Dask moves tasks that wait, but one that has begun is begun anew for this reason only.
        if former is not None and former not in self._lost:
            self._lost.add(former)
            self._tell(f"{self._stage}: the worker at {former} was lost; what it did is done again by another")

    def _try_again(self, suspects: list[int]) -> None:
        for index in suspects:
            if index not in self._tried:
                self._tried.add(index)
                self._submit([index], "-alone")
                return

    def _submit(self, indices: Sequence[int], suffix: str) -> None:
        keys = [f"{self._label}-{k}{suffix}" for k in indices]
        futures = self._client.map(
            _work,
            [self._tasks[k] for k in indices],
            list(indices),
            key=keys,
            function=self._function,
            topic=self._label,
            pure=False,
            **asked(),
        )
        self._running.update(indices)
        self._waiting.update({key: (k, future) for key, k, future in zip(keys, indices, futures, strict=True)})
        for future in futures:
            future.add_done_callback(self._events.put)

    def _next_event(self) -> _Event:
        """Wait for the next event; raise RunError when none can come any more."""
        worked = time.monotonic()
        while True:
            with contextlib.suppress(queue.Empty):
                return self._events.get(timeout=2.0)
            # A task that no worker can take waits without end and without an event.
            check_scheduler(self._client)
            if self._client.nthreads():
                worked = time.monotonic()
            elif time.monotonic() - worked > self._patience:
                raise RunError(f"no Dask worker for {self._patience:g} s; start workers, then {AGAIN}")


def asked() -> dict[str, Any]:
    """Return what tasks ask of Dask by the settings: what is not set is left to the caller's ``dask.annotate``."""
    wanted = {"resources": setting("resources"), "priority": setting("priority")}
    return {name: value for name, value in wanted.items() if value}


def _result(future: distributed.Future[Any], stage: str) -> tuple[Any, float | None]:
    try:
        answer: tuple[Any, float | None] = future.result()
    except KilledWorker as error:
        raise RunError(
            f"a task of {stage} ended its worker again and again, mostly for want of memory; "
            "use fewer --workers or a smaller run.chunk"
        ) from error
    except CancelledError as error:
        if getattr(error, "reason", None) in _GONE:
            raise RunError(LOST) from None
        raise RunError(f"Dask cancelled a task; {AGAIN}") from error
    except ImportError as error:
        package = (error.name or str(error)).partition(".")[0]
        raise RunError(f"a worker lacks the package {package}; install it there, then {AGAIN}") from error
    return answer


def _work(task: Any, index: int, function: Callable[[Any, Callable[[float], None]], Any], topic: str) -> Any:
    """Do one task on a worker; return its result and the last that it said of its progress."""
    worker = distributed.get_worker()
    key = worker.get_current_task()
    said: float | None = None
    sent = time.monotonic()

    worker.log_event(topic, (index, worker.address))

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
