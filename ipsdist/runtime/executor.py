"""How tasks are carried out: the contract of an executor, and the one that works in this process."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol, Self, TypeVar

from ipsdist.model.errors import InputError
from ipsdist.runtime.threads import single_threaded

__all__ = ["Executor", "SerialExecutor", "Tick", "make_executor"]

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
    """

    name: str
    """How the result names it: ``serial``, ``local`` or ``scheduler``."""

    @property
    def workers(self) -> int:
        """Number of workers; 0 stands for this process."""
        ...

    def run(
        self, function: Callable[[T, Tick], R], tasks: Sequence[T], *, stage: str, observe: Callable[[int, float], None]
    ) -> Iterator[tuple[int, R]]:
        """Yield (index, result) of every task as it finishes."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *exception: object) -> None: ...


class SerialExecutor:
    """Does the tasks in this process, one after the other, in their order."""

    name = "serial"
    workers = 0

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
    ) -> Iterator[tuple[int, R]]:
        """Yield (index, result) in the order of the tasks."""
        for index, task in enumerate(tasks):
            work, own = self._copy((function, task))
            with single_threaded():
                result = work(own, lambda done, index=index: observe(index, done))
            yield index, self._copy(result)

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *exception: object) -> None:
        """Nothing to close."""


def make_executor(workers: int | None = None, scheduler: str | None = None, client: Any = None) -> Executor:
    """Choose the executor: this process without arguments, else Dask.

    Parameters
    ----------
    workers : number of worker processes to start on this machine.
    scheduler : address (``tcp://host:port``) or scheduler file of a running Dask cluster.
    client : the caller's own ``distributed.Client``; it stays open.

    Raises InputError for contradicting or unusable choices, and when the scheduler does not answer.
    """
    choices = {"--workers": workers, "--scheduler": scheduler, "client": client}
    given = [name for name, value in choices.items() if value is not None]
    if len(given) > 1:
        raise InputError(given[0], f"cannot be combined with `{given[1]}`", fix="give one of them")
    if not given:
        return SerialExecutor()
    if workers is not None and workers < 1:
        raise InputError("--workers", "must be at least 1", workers, "leave it out to work in this process")
    from ipsdist.runtime.dask_executor import DaskExecutor

    return DaskExecutor(workers=workers, scheduler=scheduler, client=client)


def _through_pickle(value: Any) -> Any:
    return pickle.loads(pickle.dumps(value))


def _as_is(value: Any) -> Any:
    return value
