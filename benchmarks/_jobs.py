"""Jobs of a gang that do little, and a look at memory. Not a benchmark itself."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Self

import numpy as np
import psutil


def summed(share: tuple[int, int], gang: Any, *_: Any) -> float:
    """Return the seconds of one sum (``runtime.epochs.Member``)."""
    numbers, rounds = share
    values = np.ones(numbers, dtype=np.int64)
    for _ in range(10):
        gang.add(values.copy())
    begun = time.perf_counter()
    for _ in range(rounds):
        gang.add(values)
    return (time.perf_counter() - begun) / rounds


def nothing(*_: Any) -> None:
    """Do an epoch without work."""


class Trivial:
    """A job of so many epochs of one function (``runtime.epochs.Job``)."""

    def __init__(self, members: int, epochs: int, do: Callable[..., Any], share: Any) -> None:
        self.members = self.fewest = members
        self.done, self.answers, self.times = 0.0, [], [time.perf_counter()]
        self._epochs, self._do, self._share = epochs, do, share

    def epoch(self, members: int, _units: float | None) -> Any:
        """Return the next epoch."""
        from ipsdist.runtime.epochs import Epoch

        return Epoch(self._do, [self._share] * members, 1.0) if self.done < self._epochs else None

    def commit(self, answers: Sequence[Any]) -> None:
        """Keep the answers."""
        self.answers.append(list(answers))
        self.times.append(time.perf_counter())
        self.done += 1.0


def on(workers: int, how: str, job: Trivial) -> None:
    """Do a job on so many workers of a cluster of this machine."""
    import distributed

    from ipsdist.runtime.executor import make_executor

    options = {"processes": how == "processes", "threads_per_worker": 1, "silence_logs": 50}
    if how == "threads":
        options["memory_limit"] = 0  # each would take the memory of the whole process for its own, and pause
    if how == "processes":
        options["host"] = "127.0.0.1"
    with (
        distributed.LocalCluster(n_workers=workers, dashboard_address="127.0.0.1:0", **options) as cluster,
        distributed.Client(cluster) as client,
        make_executor(client=client) as executor,
    ):
        executor.together(job, stage="benchmark", observe=lambda _: None)


class Peak:
    """Looks at the processes below this one: ``bytes`` is the most that one of them held."""

    def __init__(self) -> None:
        self.bytes = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Self:
        """Begin to look."""
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        """Look no more."""
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._over.wait(0.05):
            for process in psutil.Process().children(recursive=True):
                with contextlib.suppress(psutil.Error):
                    self.bytes = max(self.bytes, process.memory_info().rss)
