"""Pods that the operator of dask-kubernetes starts; scheduler and workers are there, the driver here."""

# mypy: untyped-calls-exclude="distributed"

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import distributed

from ipsdist.model.errors import InputError
from ipsdist.runtime.clusters import Tell
from ipsdist.runtime.clusters.starting import ALLOCATOR, SCHEDULER, first_worker, module, size_of, starting, variables
from ipsdist.runtime.settings import cluster_arguments, setting

__all__ = ["kubernetes"]


@contextlib.contextmanager
def kubernetes(workers: int | None, tell: Tell) -> Iterator[distributed.Client]:
    """Ask the operator for a cluster; it is deleted at the end. Raises InputError where there is none."""
    operator = module("dask_kubernetes.operator", "kubernetes", "kubernetes")
    size = size_of("kubernetes", workers)
    arguments = _arguments()
    if size is not None:
        arguments["n_workers"] = max(1, size.minimum)
    elif "custom_cluster_spec" not in arguments:
        fix = "give --workers N or set ipsdist.cluster.kubernetes.workers"
        raise InputError("--cluster", "kubernetes must know how many workers to ask for", None, fix)
    with starting("kubernetes"):
        cluster = operator.KubeCluster(**arguments)
    with cluster, distributed.Client(cluster, set_as_default=False) as client:
        wanted = arguments.get("n_workers", 1)
        wait = setting("cluster.kubernetes.wait")
        fix = "look at `kubectl get pods`: the image must have ipsdist and fit the nodes"
        first_worker(client, "--cluster", wait, tell, wanted=wanted, fix=fix)
        if size is not None and size.adaptive:
            cluster.adapt(minimum=max(1, size.minimum), maximum=size.maximum)
        yield client


def _arguments() -> dict[str, Any]:
    """Return what KubeCluster is given: a name, what is configured, and our settings of Dask in the pods."""
    given = cluster_arguments("kubernetes")
    environment = given.get("env") or {}
    ours = variables() | variables(SCHEDULER) | ALLOCATOR
    if isinstance(environment, dict):
        environment = {**ours, **environment}
    else:
        environment = [*({"name": name, "value": value} for name, value in ours.items()), *environment]
    return {"name": "ipsdist-{uuid}", "quiet": True, **given, "env": environment}
