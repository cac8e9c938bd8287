"""What the clusters have in common when they start: their packages, their sizes, their settings, their first worker."""

# mypy: untyped-calls-exclude="distributed"

from __future__ import annotations

import contextlib
import importlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from multiprocessing import resource_tracker
from typing import Any

import distributed

from ipsdist.model.errors import InputError
from ipsdist.model.words import install
from ipsdist.runtime.clusters import Tell
from ipsdist.runtime.clusters.interrupts import kept_handlers
from ipsdist.runtime.settings import ADAPTIVE, setting

__all__ = [
    "ALLOCATOR", "QUIET", "SCHEDULER", "SPAWNED", "WORKER", "LeaveInterruptsToTheDriver", "Size", "first_worker",
    "hush_tracker", "module", "size_of", "starting", "variables",
]  # fmt: skip

SCHEDULER = {
    # One death more, and the task is given up.
    "distributed.scheduler.allowed-failures": 2,
    # Our tasks are long: an adaptive cluster grows for each of them, before the first has ended.
    "distributed.scheduler.unknown-task-duration": "60s",
}
WORKER = {
    # Workers hold no data of Dask, so there is nothing to spill, and a paused worker would never wake again.
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
    # Looking at what a worker does every 10 ms costs a study of short runs a twelfth of its time.
    "distributed.worker.profile.interval": "100ms",
}
ALLOCATOR = {"MALLOC_TRIM_THRESHOLD_": str(2**26), "MALLOC_MMAP_THRESHOLD_": str(2**25)}
"""The environment of workers. Dask has them give memory back at once, so that every array of more than 128 KB is taken
from the system anew, page by page: a sixth of the time of a study of short runs."""
SPAWNED = {f"distributed.nanny.pre-spawn-environ.{name}": value for name, value in ALLOCATOR.items()}
QUIET = {"distributed.nanny.pre-spawn-environ.DASK_LOGGING__DISTRIBUTED": "critical"}
"""Processes that this one starts have nothing to say on its terminal: what matters is raised."""
_TOLD_AFTER = 2.0
_LOOK_EVERY = 2.0
_REST_SECONDS = 10.0


@dataclass(frozen=True)
class Size:
    """How many workers a cluster shall have."""

    minimum: int
    maximum: int

    @property
    def adaptive(self) -> bool:
        """Whether workers come and go with the work."""
        return self.minimum < self.maximum


def size_of(name: str, workers: int | None) -> Size | None:
    """Return the size asked for, by ``--workers`` or the settings; None where nothing says it. Raises InputError."""
    if workers is not None:
        return Size(workers, workers)
    adapts = name in ADAPTIVE
    minimum, maximum = (setting(f"cluster.{name}.{which}") if adapts else None for which in ("minimum", "maximum"))
    if maximum is not None:
        size = Size(minimum or 0, maximum)
        if size.minimum > size.maximum:
            rule = f"must not be above ipsdist.cluster.{name}.maximum"
            raise InputError(f"ipsdist.cluster.{name}.minimum", rule, f"{minimum} and {maximum}", "lower it")
        return size
    if minimum is not None:
        raise InputError(
            f"ipsdist.cluster.{name}.minimum", f"needs ipsdist.cluster.{name}.maximum", "none", "set both, or neither"
        )
    fixed = setting(f"cluster.{name}.workers")
    return None if fixed is None else Size(fixed, fixed)


def module(name: str, cluster: str, extra: str) -> Any:
    """Import a package that only one cluster needs. Raises InputError that names the extra to install."""
    try:
        with kept_handlers():
            return importlib.import_module(name)
    except ImportError as error:
        package = (error.name or name).partition(".")[0].replace("_", "-")
        got = f"{cluster}, and {package} is not there" if error.name else f"{cluster} ({error})"
        raise InputError("--cluster", "needs the packages of its cluster", got, install(extra)) from error


@contextlib.contextmanager
def starting(cluster: str) -> Iterator[None]:
    """Turn whatever a cluster's class says when it does not start into one InputError."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        reason: BaseException = error
        while reason.__cause__ is not None:  # a class of Dask says "failed to start" of whatever happened
            reason = reason.__cause__
        got = f"{cluster}: {type(reason).__name__}: {' '.join(str(reason).split())}"
        fix = f"see ipsdist.cluster.{cluster} in docs/cluster-settings.md"
        raise InputError("--cluster", "must be a cluster that starts", got, fix) from error


def first_worker(
    client: distributed.Client,
    argument: str,
    seconds: float,
    tell: Tell,
    *,
    wanted: int = 1,
    ended: Callable[[], str | None] = lambda: None,
    fix: str = "start some with `dask worker ADDRESS`",
) -> None:
    """Wait for a worker, and a moment for the others that are wanted.

    ``ended`` says, every few seconds, why none will come any more, or None. Raises InputError when none comes.
    """
    begun, told = time.monotonic(), False
    while True:
        waited = time.monotonic() - begun
        with contextlib.suppress(TimeoutError):
            client.wait_for_workers(1, timeout=max(0.1, min(_LOOK_EVERY, seconds - waited)))
            break
        reason = ended()
        if reason is not None:
            raise InputError(argument, "must have workers", reason, fix)
        if time.monotonic() - begun >= seconds:
            raise InputError(argument, "must have workers", f"none in {seconds:g} s", fix)
        if not told and time.monotonic() - begun > _TOLD_AFTER:
            tell(f"waiting for a worker, {seconds:g} s at most")
            told = True
    if wanted > 1:
        with contextlib.suppress(TimeoutError):
            client.wait_for_workers(wanted, timeout=_REST_SECONDS)


def variables(configuration: Mapping[str, Any] = WORKER) -> dict[str, str]:
    """Return the environment that sets these keys of Dask, for processes of other machines."""
    return {
        "DASK_" + key.upper().replace(".", "__").replace("-", "_"): str(value) for key, value in configuration.items()
    }


class LeaveInterruptsToTheDriver(distributed.WorkerPlugin):
    """A Ctrl-C reaches every process of the terminal; workers that died of it would be started anew while closing."""

    name = "ipsdist-interrupts"

    def setup(self, worker: distributed.Worker) -> None:  # noqa: ARG002
        """Let a worker ignore it."""
        if threading.current_thread() is threading.main_thread():  # else it is no process of its own
            signal.signal(signal.SIGINT, signal.SIG_IGN)


def hush_tracker() -> None:
    """Start the process that cleans up what killed processes leave behind, so that it does not warn of it.

    Numba has a semaphore in every worker; that of one that was killed is removed when this process ends.
    """
    before = os.environ.get("PYTHONWARNINGS")
    os.environ["PYTHONWARNINGS"] = ",".join(filter(None, [before, "ignore:resource_tracker:UserWarning"]))
    try:
        resource_tracker.ensure_running()
    finally:
        if before is None:
            del os.environ["PYTHONWARNINGS"]
        else:
            os.environ["PYTHONWARNINGS"] = before
