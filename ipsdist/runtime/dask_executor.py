"""The executor that works on Dask: processes of this machine, a cluster by name or address, the caller's own client."""

# mypy: untyped-calls-exclude="distributed"

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Self, TypeVar

import distributed

from ipsdist.model.errors import InputError
from ipsdist.runtime.batch import Batch
from ipsdist.runtime.clusters import Tell, open_cluster
from ipsdist.runtime.clusters.address import address
from ipsdist.runtime.clusters.likeness import check_likeness, named, suitable
from ipsdist.runtime.clusters.local import local, local_memory, local_size
from ipsdist.runtime.clusters.report import NO_REPORT, check_report, has_dashboard, reported
from ipsdist.runtime.clusters.starting import first_worker, size_of
from ipsdist.runtime.epochs import Capacity, Job
from ipsdist.runtime.executor import Tick
from ipsdist.runtime.gang.driver import drive
from ipsdist.runtime.settings import ADAPTIVE, check_settings, setting

__all__ = ["DaskExecutor"]

T = TypeVar("T")
R = TypeVar("R")
_EVERYWHERE_SECONDS = 30.0
_HERE = ("local", "cuda")
"""Clusters of this machine."""


def _unheard(line: str) -> None:
    """Tell nobody."""


class DaskExecutor:
    """Carries tasks to workers of Dask; see ``Executor`` for the contract.

    Processes of this machine are started by the first task, so that a run that has nothing left to do costs
    nothing; they listen on the loopback interface only. Any other cluster must be there when the executor is made.
    """

    def __init__(
        self,
        workers: int | None = None,
        scheduler: str | None = None,
        client: distributed.Client | None = None,
        cluster: str | None = None,
        performance_report: Path | None = None,
        tell: Tell | None = None,
    ) -> None:
        """Give a number of processes or a cluster's name (or both), a scheduler's address or file, or a client.

        The client is left open by ``close``. ``tell`` hears lines for the user: where the dashboard is.
        Raises InputError when the cluster does not answer, is not like this process, or has no workers.
        """
        check_settings()
        if performance_report is not None:
            check_report(performance_report)
        named_cluster = cluster or ("local" if workers is not None else None)
        self.name = named_cluster or "scheduler"
        self._patience = setting("workerless-timeout")
        self._report, self._tell = performance_report, tell or _unheard
        self._client: distributed.Client | None = None
        self._used = False
        self._own = contextlib.ExitStack()
        self._asked = workers
        self.workers = local_size(workers).maximum if self.name == "local" else 0
        try:
            self._own.enter_context(_silence())
            if self.name != "local":
                self._connect(client, scheduler, named_cluster)
        except BaseException:
            self._own.close()
            raise

    @property
    def dashboard(self) -> str | None:
        """Address of the cluster's dashboard; None before the first task of local processes."""
        return None if self._client is None else str(self._client.dashboard_link)

    @property
    def elsewhere(self) -> bool:
        """Whether workers may be on other machines."""
        return self.name not in _HERE

    @property
    def capacity(self) -> Capacity:
        """Workers that can take a task, and the memory of the one that has least; nothing is started for it."""
        if self.name == "local":
            return Capacity(self.workers, local_memory(self.workers))
        assert self._client is not None
        found = suitable(self._client)
        # Threads of one process have one memory, and nobody parts it.
        alone = [worker for name, worker in found.items() if not name.startswith("inproc://")]
        limits = [worker["memory_limit"] // max(1, worker["nthreads"]) for worker in alone]
        if self.name == "scheduler":  # those of others are paused at four fifths, unless they are set otherwise
            limits = [4 * limit // 5 for limit in limits]
        return Capacity(max(1, self.workers, len(found)), min(limits, default=0) or None)

    def run(
        self,
        function: Callable[[T, Tick], R],
        tasks: Sequence[T],
        *,
        stage: str,
        observe: Callable[[int, float], None],
        tolerate: bool = False,
    ) -> Iterator[tuple[int, R]]:
        """Yield (index, result) as the tasks finish; see ``Executor``."""
        if not tasks:
            return
        with contextlib.closing(Batch(self._started(), function, tasks, stage, self._patience, self._tell)) as batch:
            yield from batch.results(observe, tolerate)

    def everywhere(self, function: Callable[..., Any], *arguments: Any) -> dict[str, Any]:
        """Return the answer of every worker, or its exception, by its address and name; nothing from local ones."""
        client = self._client
        if client is None or not self.elsewhere:
            return {}
        answers = client.run(_aside, function, arguments, on_error="return")
        names = named(client, answers)
        return {names[worker]: answer for worker, answer in answers.items()}

    def together(self, job: Job, *, stage: str, observe: Callable[[float], None]) -> None:
        """Do all epochs of a job on a gang of workers; see ``Executor``."""
        client = self._started()
        with self._grown(client, job.members):
            drive(client, job, stage=stage, observe=observe, tell=self._tell)

    def close(self) -> None:
        """Disconnect; stop what was started here."""
        self._own.close()
        self._client = None

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *exception: object) -> None:
        """Close."""
        self.close()
        if self._report is not None and not self._used and exception[0] is None:
            self._tell(NO_REPORT)

    def _connect(self, client: distributed.Client | None, scheduler: str | None, cluster: str | None) -> None:
        """Reach or start the cluster and look whether it can do our work."""
        if client is not None:
            argument = "client"
            if not isinstance(client, distributed.Client):
                fix = 'give an address as scheduler="tcp://...", the name of a cluster as cluster='
                raise InputError(argument, "must be a distributed.Client", repr(client), fix)
            first_worker(client, argument, self._patience, self._tell)
        elif scheduler is not None:
            argument = "--scheduler"
            client = self._own.enter_context(address(scheduler, self._tell))
        else:
            assert cluster is not None
            argument = "--cluster"
            self._patience = setting(f"cluster.{cluster}.wait")
            client = self._own.enter_context(open_cluster(cluster, self._asked, self._tell))
            size = None if cluster == "mpi" else size_of(cluster, self._asked)
            self.workers = 0 if size is None else size.maximum
        check_likeness(client, argument, self._report is not None)
        self.workers = max(self.workers, len(suitable(client)))
        self._client = client

    @contextlib.contextmanager
    def _grown(self, client: distributed.Client, members: int) -> Iterator[None]:
        """Let an adaptive cluster have as many workers as a gang wants: it grows by tasks, and a gang has few."""
        size = size_of(self.name, self._asked) if self.name in ADAPTIVE else None
        if size is None or not size.adaptive:
            yield
            return
        cluster: Any = client.cluster
        fewest = max(1, size.minimum)
        cluster.adapt(minimum=max(fewest, min(members, size.maximum)), maximum=size.maximum)
        try:
            yield
        finally:
            cluster.adapt(minimum=fewest, maximum=size.maximum)

    def _started(self) -> distributed.Client:
        """Return the client, told of and watched from the first work on."""
        if self._client is None:
            self._client = self._own.enter_context(local(self._asked, self._tell))
        if not self._used:
            self._used = True
            if has_dashboard():
                self._tell(f"dashboard {self._client.dashboard_link}")
            if self._report is not None:
                self._own.enter_context(reported(self._client, self._report, self._tell))
        return self._client


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Keep Dask's own talk about workers that come and go from the user; what matters is raised."""
    # Each of its loggers has a level of its own.
    loggers = [logging.getLogger(name) for name in [*logging.root.manager.loggerDict] if name.startswith("distributed")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL + 1)
    loop = logging.getLogger("asyncio")
    loop.addFilter(_worth_saying)
    try:
        yield
    finally:
        loop.removeFilter(_worth_saying)
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _worth_saying(record: logging.LogRecord) -> bool:
    """Tell whether the event loop reports something else than how Dask gives up a result that was lost."""
    return "exception=AllExit()" not in record.getMessage()


async def _aside(function: Callable[..., Any], arguments: Sequence[Any]) -> Any:
    """Call a function on a worker without holding up what it says to the scheduler."""
    return await asyncio.wait_for(asyncio.to_thread(function, *arguments), _EVERYWHERE_SECONDS)
