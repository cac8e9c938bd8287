"""Clusters that no test machine has: their classes are replaced by one that checks its arguments and starts threads."""

from __future__ import annotations

import inspect
from typing import Any

import dask
import distributed
import pytest

from ipsdist.model.errors import InputError
from ipsdist.runtime.executor import make_executor
from tests.runtime import tasks


class Recorder:
    """Stands for a class of clusters: binds the arguments to its real signature, and starts a worker of threads."""

    def __init__(self, real: Any, further: Any) -> None:
        self.real, self.further = inspect.signature(real.__init__), inspect.signature(further.__init__)
        self.given: dict[str, Any] = {}
        self.adapted: dict[str, int] | None = None

    def __call__(self, **arguments: Any) -> distributed.LocalCluster:
        """Start."""
        bound = self.real.bind(None, **arguments).arguments
        # What the class does not name itself it passes on to another.
        self.further.bind(None, **bound.get("kwargs", {}))
        self.given = arguments
        cluster = distributed.LocalCluster(
            n_workers=arguments.get("n_workers", 1), processes=False, threads_per_worker=1, host="127.0.0.1", protocol="tcp://",
            dashboard_address="127.0.0.1:0",
        )  # fmt: skip
        cluster.adapt = self.adapt
        return cluster

    def adapt(self, **limits: int) -> None:
        """Take down the limits."""
        self.adapted = limits


@pytest.fixture
def kubernetes(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    operator = pytest.importorskip("dask_kubernetes.operator")
    from distributed.deploy import Cluster

    recorder = Recorder(operator.KubeCluster, Cluster)
    monkeypatch.setattr(operator, "KubeCluster", recorder)
    return recorder


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    module = pytest.importorskip("dask_cuda", reason="dask-cuda fixes another version of Dask")
    recorder = Recorder(module.LocalCUDACluster, distributed.LocalCluster)
    monkeypatch.setattr(module, "LocalCUDACluster", recorder)
    return recorder


def work(**choices: Any) -> None:
    """Do a task there."""
    with make_executor(**choices) as executor:
        assert executor.name == choices["cluster"]
        assert dict(executor.run(tasks.walk, [(2, 0.0)], stage="s", observe=lambda k, done: None)) == {0: 2}


def test_kubernetes_asks_for_the_workers_and_names_its_cluster(kubernetes: Recorder) -> None:
    """Its pods get our settings of Dask; what is configured is passed on and wins."""
    with dask.config.set({"ipsdist.cluster.kubernetes": {"image": "mine:1", "env": {"A": "b"}, "wait": 20}}):
        work(cluster="kubernetes", workers=3)
    given = kubernetes.given
    assert (given["n_workers"], given["image"], given["name"], given["quiet"]) == (3, "mine:1", "ipsdist-{uuid}", True)
    assert given["env"]["A"] == "b"
    assert given["env"]["DASK_DISTRIBUTED__WORKER__MEMORY__PAUSE"] == "False"
    assert given["env"]["DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES"] == "2"
    assert kubernetes.adapted is None


def test_kubernetes_adapts_and_takes_a_list_of_variables(kubernetes: Recorder) -> None:
    """As Kubernetes writes it."""
    section = {"minimum": 1, "maximum": 5, "env": [{"name": "A", "value": "b"}]}
    with dask.config.set({"ipsdist.cluster.kubernetes": section}):
        work(cluster="kubernetes")
    assert kubernetes.given["n_workers"] == 1
    assert kubernetes.adapted == {"minimum": 1, "maximum": 5}
    assert {"name": "A", "value": "b"} in kubernetes.given["env"]
    assert all(set(one) == {"name", "value"} for one in kubernetes.given["env"])


def test_the_name_is_one_that_kubernetes_takes() -> None:
    """As dask-kubernetes checks it after filling it in."""
    validation = pytest.importorskip("dask_kubernetes.operator.validation")
    validation.validate_cluster_name("ipsdist-{uuid}".format(uuid="0123456789"))


def test_no_kubernetes_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    """Without a configuration there is nobody to ask."""
    pytest.importorskip("dask_kubernetes.operator")
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with pytest.raises(InputError, match="`--cluster` must be a cluster that starts; got kubernetes: ") as caught:
        make_executor(cluster="kubernetes", workers=1)
    assert "\n" not in str(caught.value)


def test_cuda_is_a_worker_a_gpu_on_loopback(cuda: Recorder) -> None:
    """As many as asked for, or one for each that is there."""
    work(cluster="cuda", workers=2)
    assert (cuda.given["n_workers"], cuda.given["host"]) == (2, "127.0.0.1")
    with dask.config.set({"ipsdist.cluster.cuda": {"rmm_pool_size": "1 GB"}}):
        work(cluster="cuda")
    assert "n_workers" not in cuda.given
    assert cuda.given["rmm_pool_size"] == "1 GB"
