"""A cluster that is not like this process is refused, by name: other versions, missing packages, missing resources."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import dask
import distributed
import pytest

from ipsdist.model.errors import InputError
from ipsdist.runtime.batch import asked
from ipsdist.runtime.executor import make_executor
from tests.runtime import tasks
from tests.runtime.clusters.test_address import cluster_of

WORKER = """
import distributed.versions as versions
real = versions._version_cached
versions._version_cached = lambda name: {"numba": None, "numpy": "1.2.3"}.get(name, real(name))
from distributed.cli.dask_worker import main
main()
"""

SCHEDULER = {"cls": distributed.Scheduler, "options": {"dashboard_address": "127.0.0.1:0"}}


@pytest.fixture
def odd() -> Iterator[distributed.Client]:
    """A client of a cluster with a good worker and one, a process, that has another NumPy and no Numba."""
    with cluster_of(1) as cluster, distributed.Client(cluster, set_as_default=False) as client:
        words = [cluster.scheduler_address, "--host", "127.0.0.1", "--nthreads", "1", "--name", "odd"]
        quiet = {**os.environ, "DASK_LOGGING__DISTRIBUTED": "critical"}
        command = [sys.executable, "-c", WORKER, *words, "--no-nanny", "--no-dashboard"]
        worker = subprocess.Popen(command, env=quiet)
        try:
            client.wait_for_workers(2, timeout=120)
            yield client
        finally:
            worker.terminate()
            worker.wait(30)


def test_what_differs_is_named_with_its_worker(odd: distributed.Client) -> None:
    """Packages that agree are not listed, workers that agree neither."""
    with pytest.raises(InputError) as caught:
        make_executor(client=odd)
    rule = "`client` must have the versions of this process on its scheduler and workers; got numpy 1.2.3 (here "
    said = str(caught.value)
    assert said.startswith(rule)
    assert ", numba missing (here " in said
    assert " on worker tcp://127.0.0.1:" in said
    assert said.endswith(" (odd); install the same there and here")
    assert "scipy" not in said


def test_another_python_is_found_without_running_code(monkeypatch: pytest.MonkeyPatch) -> None:
    """By Dask's own message, so that it works where no function of this Python could."""
    with cluster_of(1) as cluster, distributed.Client(cluster, set_as_default=False) as client:
        found = client.get_versions()
        found["scheduler"]["packages"]["python"] = "2.7.18.final.0"
        monkeypatch.setattr(client, "get_versions", lambda packages: found)
        with pytest.raises(InputError, match=r"got Python 2\.7 \(here 3\.\d+\) on the scheduler"):
            make_executor(client=client)


def test_resources_and_priority_are_asked_for() -> None:
    """Tasks go where the resources are, and only such workers count."""
    worker = {"cls": distributed.Worker, "options": {"nthreads": 1}}
    workers = {"plain": worker, "rich": {**worker, "options": {"nthreads": 1, "resources": {"GPU": 1}}}}
    wish = {"ipsdist.resources": {"GPU": 1}, "ipsdist.priority": 7}
    with (
        dask.config.set(wish),
        distributed.SpecCluster(workers, SCHEDULER) as cluster,
        distributed.Client(cluster, set_as_default=False) as client,
        make_executor(client=client) as executor,
    ):
        assert asked() == {"resources": {"GPU": 1.0}, "priority": 7}
        assert executor.capacity.workers == executor.workers == 1
        names = dict(executor.run(tasks.worker_name, [0, 1, 2, 3], stage="s", observe=lambda k, done: None))
        assert set(names.values()) == {"rich"}
        with dask.config.set({"ipsdist.resources": {"GPU": 2}}), pytest.raises(InputError) as caught:
            make_executor(client=client)
    assert str(caught.value).startswith("`ipsdist.resources` must be those of a worker; got {'GPU': 2.0}, which none")


def test_the_callers_own_annotations_are_left_to_work() -> None:
    """What the settings do not ask for is not overruled."""
    assert asked() == {}
    workers = {name: {"cls": distributed.Worker, "options": {"nthreads": 1}} for name in ("a", "b")}
    with (
        distributed.SpecCluster(workers, SCHEDULER) as cluster,
        distributed.Client(cluster, set_as_default=False) as client,
        make_executor(client=client) as executor,
        dask.annotate(workers=["b"]),
    ):
        names = dict(executor.run(tasks.worker_name, [0, 1, 2], stage="s", observe=lambda k, done: None))
    assert set(names.values()) == {"b"}
