"""How tasks are carried out: the contract of an executor, and the one that works in this process."""

from __future__ import annotations

import pickle
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol, Self, TypeVar

from ipsdist.model.errors import InputError
from ipsdist.model.together import ALONE
from ipsdist.runtime.epochs import Capacity, Job
from ipsdist.runtime.gang.pace import Pace
from ipsdist.runtime.settings import setting
from ipsdist.runtime.threads import single_threaded

__all__ = ["Executor", "SerialExecutor", "Tick", "check_choices", "make_executor"]

T = TypeVar("T")
R = TypeVar("R")
Tick = Callable[[float], None]
"""What a task calls to say how far it is: cumulative, in the unit of its stage."""


class Executor(Protocol):
    """Carries out the tasks of a stage; a context manager that leaves nothing running behind it.

    ``run`` calls ``function(task, tick)`` for every task, wherever it likes, and yields (index of the task, result)
    as they finish. ``function`` is importable and a task is small and pickles: paths and indices, no arrays. The same
    task may be done twice (a worker that died), so it must do the same thing each time. ``observe(index, done)``
    hears of progress, in the thread of the caller; the last word of a task comes before its result. An error in a
    task is raised here as itself, and the remaining tasks are cancelled; so are they when the iterator is closed.
    With ``tolerate``, a task that ended its worker again and again, or was lost, has a RunError as its result instead,
    and the others go on.
    """

    name: str
    """How the result names it: ``serial``, the name of a cluster, or ``scheduler``."""

    @property
    def workers(self) -> int:
        """Number of workers; 0 stands for this process."""
        ...

    @property
    def elsewhere(self) -> bool:
        """Whether its workers may be on other machines, and see other files."""
        ...

    @property
    def capacity(self) -> Capacity:
        """What it can give to tasks; known without starting anything."""
        ...

    def run(
        self,
        function: Callable[[T, Tick], R],
        tasks: Sequence[T],
        *,
        stage: str,
        observe: Callable[[int, float], None],
        tolerate: bool = False,
    ) -> Iterator[tuple[int, R]]:
        """Yield (index, result) of every task as it finishes."""
        ...

    def together(self, job: Job, *, stage: str, observe: Callable[[float], None]) -> None:
        """Do all epochs of a job, each by its members at the same time; return when all is committed.

        ``observe`` hears the units done, those of the running epoch included, in the thread of the caller; after a
        failure they fall back to what was committed. What a member raises of its own is raised here; a gang that
        lost a member is formed anew and its epoch done again, and RunError says that this happened too often.
        """
        ...

    def everywhere(self, function: Callable[..., Any], *arguments: Any) -> dict[str, Any]:
        """Call an importable function once on each worker that is elsewhere; return its answers by worker.

        An exception there is the answer of its worker. Nothing is started for it, and this process is not asked.
        """
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *exception: object) -> None: ...


class SerialExecutor:
    """Does the tasks in this process, one after the other, in their order."""

    name = "serial"
    workers = 0
    elsewhere = False
    capacity = Capacity(1, None)

    def __init__(self, pickle_tasks: bool = False) -> None:
        """With ``pickle_tasks`` everything crosses pickle as on a cluster, so that tests see what would break there."""
        self._copy: Callable[[Any], Any] = _through_pickle if pickle_tasks else _as_is

    def run(
        self,
        function: Callable[[T, Tick], R],
        tasks: Sequence[T],
        *,
        stage: str,  # noqa: ARG002  part of the contract; names the tasks on a dashboard
        observe: Callable[[int, float], None],
        tolerate: bool = False,  # noqa: ARG002  what ends this process cannot be tolerated by it
    ) -> Iterator[tuple[int, R]]:
        """Yield (index, result) in the order of the tasks."""
        for index, task in enumerate(tasks):
            work, own = self._copy((function, task))
            with single_threaded():
                result = work(own, lambda done, index=index: observe(index, done))
            yield index, self._copy(result)

    def together(self, job: Job, *, stage: str, observe: Callable[[float], None]) -> None:  # noqa: ARG002
        """Do all epochs as a gang of one, in this process."""
        pace = Pace(setting("gang.epoch"))
        memory: dict[str, Any] = {}
        while (epoch := job.epoch(1, pace.units(1))) is not None:
            do, (share,) = self._copy((epoch.do, tuple(epoch.shares)))
            done = job.done
            began = time.monotonic()
            with single_threaded():
                answer = do(share, ALONE, memory, lambda units, done=done: observe(done + units))
            pace.note(epoch.units, 1, time.monotonic() - began)
            job.commit([self._copy(answer)])
            observe(job.done)

    def everywhere(self, function: Callable[..., Any], *arguments: Any) -> dict[str, Any]:  # noqa: ARG002
        """Return nothing: there is no worker."""
        return {}

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *exception: object) -> None:
        """Nothing to close."""


def make_executor(
    workers: int | None = None,
    scheduler: str | None = None,
    client: Any = None,
    cluster: str | None = None,
    performance_report: Path | None = None,
    tell: Callable[[str], None] | None = None,
    idle: bool = False,
) -> Executor:
    """Choose the executor: this process without arguments, else Dask.

    Parameters
    ----------
    workers : number of worker processes to start on this machine, or of workers of the cluster.
    scheduler : address (``tcp://host:port``) or scheduler file of a running Dask cluster.
    client : the caller's own ``distributed.Client``; it stays open.
    cluster : name of a cluster to start: local, slurm, mpi, kubernetes, cuda.
    performance_report : HTML file that Dask writes about the work of the cluster.
    tell : hears lines of text for the user; None for nobody.
    idle : nothing is left to do: check the choices and start nothing.

    Raises InputError for contradicting or unusable choices, and when the scheduler does not answer.
    """
    if not check_choices(workers, scheduler, client, cluster):
        if performance_report is not None:
            fix = "add --workers N, --cluster or --scheduler"
            raise InputError("--performance-report", "is a report of Dask workers", "none of them", fix)
        return SerialExecutor()
    if idle:
        if performance_report is not None and tell is not None:
            from ipsdist.runtime.clusters.report import NO_REPORT

            tell(NO_REPORT)
        return SerialExecutor()
    from ipsdist.runtime.dask_executor import DaskExecutor

    return DaskExecutor(workers, scheduler, client, cluster, performance_report, tell)


def check_choices(workers: int | None, scheduler: str | None, client: Any, cluster: str | None) -> bool:
    """Tell whether anything but this process was chosen. Raises InputError for what contradicts itself or cannot be."""
    choices = {"--workers": workers, "--cluster": cluster, "--scheduler": scheduler, "client": client}
    given = [name for name, value in choices.items() if value is not None]
    if given[:2] == ["--workers", "--cluster"]:
        del given[0]
    if len(given) > 1:
        raise InputError(given[0], f"cannot be combined with `{given[1]}`", fix="give one of them")
    if workers is not None and workers < 1:
        raise InputError("--workers", "must be at least 1", workers, "leave it out to work in this process")
    if cluster is not None:
        from ipsdist.runtime.clusters import check_name

        check_name(cluster)
    return bool(given)


def _through_pickle(value: Any) -> Any:
    return pickle.loads(pickle.dumps(value))


def _as_is(value: Any) -> Any:
    return value
