"""The particles of one replica by several roads, timed alike. Not a benchmark itself."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import psutil

from ipsdist.config import resolve
from ipsdist.runs import Options, run
from ipsdist.runtime.epochs import Capacity, Job
from ipsdist.runtime.executor import SerialExecutor
from ipsdist.stages.replica import ReplicaJob

RUN = """
[system]
particles = 1000000
kernel = "3*r**2"
diffusion = 2.0
[time]
step = 1e-4
horizon = 0.01
[data]
labelled = false
[initial]
mixture = [{weight = 0.5, mean = 1.0, variance = 0.25}, {weight = 0.5, mean = -1.0, variance = 0.25}]
[grid]
lower = -6.0
upper = 6.0
cells = 120
[dictionary]
terms = ["r", "r**2"]
"""


class Threads(SerialExecutor):
    """Members are threads of this process that meet at a barrier: the least that doing it together can cost."""

    def __init__(self, members: int) -> None:
        super().__init__()
        self.capacity = Capacity(members, None)

    def together(self, job: Job, *, stage: str, observe: Callable[[float], None]) -> None:  # noqa: ARG002
        """Do all epochs, each member in its thread."""
        size = self.capacity.workers
        meeting = Meeting(size)
        memories: list[dict[str, Any]] = [{} for _ in range(size)]
        units: float | None = None
        with ThreadPoolExecutor(size) as pool:
            while (epoch := job.epoch(size, units)) is not None:
                begun = time.monotonic()
                given = zip(range(size), epoch.shares, memories, strict=True)
                parts = [pool.submit(epoch.do, s, Beside(meeting, r), m, lambda _: None) for r, s, m in given]
                job.commit([part.result() for part in parts])
                units = epoch.units * float(os.environ["DASK_IPSDIST__GANG__EPOCH"]) / (time.monotonic() - begun)


class Meeting:
    """Where threads lay down what they add."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.laid: list[Any] = [None] * size
        self.barrier = threading.Barrier(size)


class Beside:
    """One thread's view of the others (``ipsdist.model.together.Together``)."""

    def __init__(self, meeting: Meeting, rank: int) -> None:
        self.rank, self.size, self._meeting = rank, meeting.size, meeting

    def add(self, values: Any) -> Any:
        """Return the sum of the integers of all."""
        return self._met(values, np.add)

    def lowest(self, values: Any) -> Any:
        """Return the smallest of the numbers of all."""
        return self._met(values, np.minimum)

    def ring(self, device: Any) -> None:
        """Return None: they add on the host."""

    def _met(self, values: Any, join: Any) -> Any:
        self._meeting.laid[self.rank] = values
        self._meeting.barrier.wait()
        found = join.reduce(np.stack(self._meeting.laid))
        self._meeting.barrier.wait()
        return found


@dataclass
class Times:
    """When epochs were begun and committed, and the CPU seconds of all processes at those moments."""

    begun: list[tuple[float, float]] = field(default_factory=list)
    committed: list[tuple[float, float, float]] = field(default_factory=list)
    """(time, CPU seconds, units committed)."""

    def rate(self) -> tuple[float, float]:
        """Return seconds and CPU seconds of a unit, all of it after the first commit: no start is in it."""
        (t, c, u), (end, cpu, units) = self.committed[0], self.committed[-1]
        return (end - t) / (units - u), (cpu - c) / (units - u)


def cpu_seconds() -> float:
    """Return what this process and all below it have used."""
    total = 0.0
    own = psutil.Process()
    for process in (own, *own.children(recursive=True)):
        with contextlib.suppress(psutil.Error):
            used = process.cpu_times()
            total += used.user + used.system
    return total


@contextlib.contextmanager
def timed() -> Iterator[Times]:
    """Note when the epochs of a replica begin and are committed."""
    times = Times()
    epoch, commit = ReplicaJob.epoch, ReplicaJob.commit

    def asked(self: ReplicaJob, members: int, units: float | None) -> Any:
        times.begun.append((time.perf_counter(), cpu_seconds()))
        return epoch(self, members, units)

    def committed(self: ReplicaJob, answers: Any) -> None:
        commit(self, answers)
        times.committed.append((time.perf_counter(), cpu_seconds(), self.done))

    with mock.patch.object(ReplicaJob, "epoch", asked), mock.patch.object(ReplicaJob, "commit", committed):
        yield times


def particles(road: str, members: int, sets: Sequence[str], epoch: float = 2.0, **settings: str) -> Times:
    """Do the particles by ``threads`` of this process or a ``gang`` of worker processes; return the times."""
    own = {"DASK_IPSDIST__GANG__SIZE": str(members), "DASK_IPSDIST__GANG__EPOCH": str(epoch), **settings}
    folder = Path(tempfile.mkdtemp(prefix="ipsdist-"))
    (folder / "run.toml").write_text(RUN)
    config = resolve(folder / "run.toml", sets)
    try:
        with contextlib.ExitStack() as stack:
            stack.enter_context(mock.patch.dict(os.environ, own))
            _configure()
            if road == "threads":
                stack.enter_context(mock.patch.object(Options, "executor", return_value=Threads(members)))
            times = stack.enter_context(timed())
            run(config, folder / "out", Options(workers=members if road == "gang" else None), upto="particles")
        return times
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        _configure()


def _configure() -> None:
    import dask

    dask.config.refresh()
