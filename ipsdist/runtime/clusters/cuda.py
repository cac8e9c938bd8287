"""A worker for each GPU of this machine, on its loopback interface."""

# mypy: untyped-calls-exclude="distributed"

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from typing import Any

import dask
import distributed

from ipsdist.runtime.clusters import Tell
from ipsdist.runtime.clusters.interrupts import heard_interrupts, held_interrupts
from ipsdist.runtime.clusters.starting import (
    QUIET,
    SCHEDULER,
    SPAWNED,
    WORKER,
    LeaveInterruptsToTheDriver,
    first_worker,
    hush_tracker,
    module,
    size_of,
    starting,
)
from ipsdist.runtime.settings import cluster_arguments, setting

__all__ = ["cuda"]


@contextlib.contextmanager
def cuda(workers: int | None, tell: Tell) -> Iterator[distributed.Client]:
    """Start one process a GPU. Raises InputError where there is no GPU."""
    dask_cuda = module("dask_cuda", "cuda", "cuda")
    size = size_of("cuda", workers)
    arguments: dict[str, Any] = {
        "host": "127.0.0.1",
        "dashboard_address": "127.0.0.1:0",
        "silence_logs": logging.CRITICAL,
        **cluster_arguments("cuda"),
    }
    if size is not None:
        arguments["n_workers"] = size.maximum
    hush_tracker()
    with dask.config.set({**SCHEDULER, **WORKER, **SPAWNED, **QUIET}):
        with held_interrupts(), starting("cuda"):
            cluster = dask_cuda.LocalCUDACluster(**arguments)
        with cluster, heard_interrupts(), distributed.Client(cluster, set_as_default=False) as client:
            client.register_plugin(LeaveInterruptsToTheDriver())
            fix = "see ipsdist.cluster.cuda in docs/cluster-settings.md"
            first_worker(client, "--cluster", setting("cluster.cuda.wait"), tell, fix=fix)
            yield client
