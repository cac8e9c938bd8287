"""Processes of this machine, on its loopback interface."""

# mypy: untyped-calls-exclude="distributed"

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from typing import Any

import dask
import distributed
from dask.system import CPU_COUNT

from ipsdist.model.errors import RunError
from ipsdist.runtime.clusters import Tell
from ipsdist.runtime.clusters.interrupts import heard_interrupts, held_interrupts
from ipsdist.runtime.clusters.starting import (
    QUIET,
    SCHEDULER,
    SPAWNED,
    WORKER,
    LeaveInterruptsToTheDriver,
    Size,
    hush_tracker,
    size_of,
    starting,
)
from ipsdist.runtime.memory import memory_here
from ipsdist.runtime.settings import cluster_arguments, setting

__all__ = ["local", "local_memory", "local_size"]

_CONFIGURATION = {"distributed.worker.multiprocessing-method": "spawn", **SCHEDULER, **WORKER, **SPAWNED, **QUIET}


def local_size(workers: int | None) -> Size:
    """Return the number of processes: those asked for, else one a core."""
    cores = max(1, int(CPU_COUNT))
    return size_of("local", workers) or Size(cores, cores)


def local_memory(workers: int) -> int:
    """Return the bytes of each of ``workers`` processes."""
    return int(setting("local.memory") or min(distributed.system.MEMORY_LIMIT, memory_here()) // workers)


@contextlib.contextmanager
def local(workers: int | None, tell: Tell) -> Iterator[distributed.Client]:  # noqa: ARG001  all clusters are called alike
    """Start processes; they go with this one, whatever ends it. Raises RunError when they do not start."""
    size = local_size(workers)
    options = {
        "n_workers": max(1, size.minimum),
        "processes": True,
        "threads_per_worker": 1,
        "host": "127.0.0.1",
        "dashboard_address": "127.0.0.1:0",
        "memory_limit": local_memory(size.maximum),
        "silence_logs": logging.CRITICAL,
    }
    given = cluster_arguments("local")
    hush_tracker()
    # Also for workers that an adaptive cluster starts later.
    with dask.config.set(_CONFIGURATION), contextlib.ExitStack() as own:
        with held_interrupts():
            cluster = own.enter_context(_begun({**options, **given}, bool(given)))
            own.enter_context(heard_interrupts())
            client = own.enter_context(distributed.Client(cluster, set_as_default=False))
            client.register_plugin(LeaveInterruptsToTheDriver())
            # Of a fixed size too: a nanny whose worker is killed while it starts gives up, and only this replaces it.
            cluster.adapt(minimum=max(1, size.minimum), maximum=size.maximum)
        yield client


def _begun(options: dict[str, Any], given: bool) -> Any:
    """Return the cluster; ``given``: some of its options are the user's, who may have been wrong."""
    try:
        with starting("local") if given else contextlib.nullcontext():
            return distributed.LocalCluster(**options)
    except (RuntimeError, OSError) as error:
        # Spawned processes import the main module anew, and a script without that guard would start over in each.
        guard = "a script that asks for workers must do so under `if __name__ == '__main__':`"
        raise RunError(f"the worker processes did not start ({error}); {guard}") from error
