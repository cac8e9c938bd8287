"""What a plan may count on: a scheduler is asked, a cluster by name is read from its settings, nothing is started."""

from __future__ import annotations

import dask
import distributed
import pytest

from ipsdist.model.errors import InputError
from ipsdist.runtime.epochs import Capacity
from ipsdist.runtime.expected import cores_here, expected_capacity

GB = 1_000_000_000
ASKED = (None, None, None, None)


def test_nothing_is_this_process():
    """One worker, limited by the machine alone."""
    assert expected_capacity(*ASKED) == (Capacity(1, None), True)
    assert cores_here() >= 1


def test_processes_of_this_machine():
    """As many as asked for; their memory as configured; told another one, they are no longer of this machine."""
    with dask.config.set({"ipsdist.local.memory": "3 GB"}):
        assert expected_capacity(4, None, None, None) == (Capacity(4, 3 * GB), True)
        assert expected_capacity(4, "local", None, None) == (Capacity(4, 3 * GB), True)
        assert expected_capacity(64, None, None, "2 GB") == (Capacity(64, 2 * GB), False)
        assert expected_capacity(None, "local", None, None) == (Capacity(cores_here(), 3 * GB), True)


def test_a_scheduler_that_runs_is_asked():
    """Four fifths of the memory of the worker that has least: at that Dask pauses a worker."""
    options = {"host": "127.0.0.1", "dashboard_address": None, "worker_dashboard_address": None, "protocol": "tcp"}
    sizes = {"n_workers": 2, "threads_per_worker": 1, "memory_limit": GB, "processes": False}
    with distributed.LocalCluster(**sizes, **options) as cluster:
        found, local = expected_capacity(None, None, cluster.scheduler_address, None)
    assert found == Capacity(2, 4 * GB // 5)
    assert not local


@pytest.mark.parametrize(
    ("cluster", "settings", "workers", "wanted"),
    [
        ("slurm", {"cores": 4, "memory": "8 GB"}, 6, Capacity(6, 2 * GB)),
        ("slurm", {"cores": 4, "processes": 2, "memory": "8 GB", "workers": 3}, None, Capacity(3, 4 * GB)),
        ("slurm", {"minimum": 2, "maximum": 12}, None, Capacity(12, None)),
        ("kubernetes", {"workers": 5, "resources": {"limits": {"memory": "4Gi"}}}, None, Capacity(5, 4 * 2**30)),
        ("mpi", {}, 14, Capacity(14, None)),
        ("cuda", {}, None, Capacity(1, None)),
    ],
)
def test_clusters_by_name_are_read_from_their_settings(cluster, settings, workers, wanted):
    """Workers and the memory of each; None where nothing tells it."""
    with dask.config.set({f"ipsdist.cluster.{cluster}": settings, "jobqueue.slurm": None}):
        assert expected_capacity(workers, cluster, None, None) == (wanted, False)


def test_what_cannot_be_is_refused():
    """As the command that would run refuses it."""
    for asked, rule in (
        ((None, "mpi", None, None), "`--cluster` must have a number of workers to plan for; got mpi"),
        ((None, "slurm", "tcp://127.0.0.1:1", None), "`--cluster` cannot be combined with `--scheduler`"),
        ((0, None, None, None), "`--workers` must be at least 1"),
        ((2, None, None, "lots"), "`--worker-memory` must be a number of bytes"),
    ):
        with pytest.raises(InputError, match=rule):
            expected_capacity(*asked)
