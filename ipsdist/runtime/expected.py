"""What workers a plan may count on, before anything of them is started."""

from __future__ import annotations

from typing import Any

from ipsdist.model.errors import InputError
from ipsdist.runtime.epochs import Capacity
from ipsdist.runtime.executor import check_choices, make_executor

__all__ = ["cores_here", "expected_capacity"]


def expected_capacity(
    workers: int | None, cluster: str | None, scheduler: str | None, memory: str | None
) -> tuple[Capacity, bool]:
    """Return the workers that a command with these options would have, and whether they share this machine's memory.

    ``memory`` (text such as "4 GB") is that of each worker; without it, what is configured, or what a scheduler says.
    No cluster is started; a scheduler is asked. Raises InputError as the command itself would.
    """
    each = None if memory is None else _bytes(memory)
    if not check_choices(workers, scheduler, None, cluster):
        return Capacity(1, each), each is None
    if cluster in (None, "local"):
        with make_executor(workers, scheduler, None, cluster) as executor:
            found = executor.capacity
            here = not executor.elsewhere and each is None
    else:
        found, here = _named(str(cluster), workers), False
    return Capacity(found.workers, each or found.memory), here


def cores_here() -> int:
    """Return how many cores this process and its children may use."""
    from dask.system import CPU_COUNT

    return max(1, int(CPU_COUNT))


def _named(cluster: str, workers: int | None) -> Capacity:
    """Return what is configured of a cluster that would be started."""
    from ipsdist.runtime.clusters.starting import size_of
    from ipsdist.runtime.settings import check_settings, cluster_arguments

    check_settings()
    arguments = cluster_arguments(cluster)
    size = None if cluster == "mpi" else size_of(cluster, workers)
    count = workers if size is None else size.maximum
    if count is None and cluster == "cuda":
        count = 1
    if count is None:
        rule, fix = "must have a number of workers to plan for", "give --workers N"
        raise InputError("--cluster", rule, cluster, fix)
    return Capacity(count, _memory(cluster, arguments))


def _memory(cluster: str, arguments: dict[str, Any]) -> int | None:
    """Return the memory of one worker where the configuration tells it: of a job, shared by its processes."""
    import dask.config

    if cluster == "slurm":
        theirs = dask.config.get("jobqueue.slurm", {}) or {}
        known = {**theirs, **arguments}
        if known.get("memory") is None:
            return None
        processes = known.get("processes") or known.get("cores") or 1
        return _bytes(str(known["memory"])) // int(processes)
    limits = ((arguments.get("resources") or {}).get("limits") or {}) if cluster == "kubernetes" else {}
    return _bytes(str(limits["memory"])) if "memory" in limits else None


def _bytes(text: str) -> int:
    import dask.utils

    try:
        found = int(dask.utils.parse_bytes(text))
    except ValueError:
        found = 0
    if found < 1:
        raise InputError("--worker-memory", "must be a number of bytes", text, 'for example "4 GB"') from None
    return found
