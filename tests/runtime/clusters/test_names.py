"""Clusters by name: unknown ones, contradictions, missing packages and sizes are one line before anything starts."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
from pathlib import Path
from typing import Any

import dask
import numpy as np
import pytest

from ipsdist.model.errors import InputError
from ipsdist.runtime.clusters.starting import Size, size_of
from ipsdist.runtime.executor import make_executor
from ipsdist.runtime.settings import CLUSTERS
from tests.runtime import tasks
from tests.runtime.gang import jobs


def refused(**choices: Any) -> str:
    """Return the line with which choices are refused."""
    with pytest.raises(InputError) as caught:
        make_executor(**choices)
    return str(caught.value)


def test_an_unknown_cluster_names_the_nearest() -> None:
    """With all that there are."""
    said = "`--cluster` must be one of local, slurm, mpi, kubernetes, cuda; got 'slrum'; did you mean slurm?"
    assert refused(cluster="slrum") == said


@pytest.mark.parametrize(
    ("choices", "first", "second"),
    [
        ({"cluster": "local", "scheduler": "tcp://a:1"}, "--cluster", "--scheduler"),
        ({"cluster": "local", "client": object()}, "--cluster", "client"),
        ({"workers": 2, "scheduler": "tcp://a:1"}, "--workers", "--scheduler"),
        ({"workers": 2, "cluster": "slurm", "scheduler": "tcp://a:1"}, "--cluster", "--scheduler"),
        ({"workers": 2, "client": object()}, "--workers", "client"),
    ],
)
def test_contradictions(choices: dict[str, Any], first: str, second: str) -> None:
    """The two that contradict each other are named."""
    assert refused(**choices) == f"`{first}` cannot be combined with `{second}`; give one of them"


@pytest.mark.parametrize(
    ("cluster", "blocked", "package", "extra"),
    [
        ("slurm", "dask_jobqueue", "dask-jobqueue", "cluster"),
        ("mpi", "mpi4py", "mpi4py", "cluster"),
        ("kubernetes", "dask_kubernetes", "dask-kubernetes", "kubernetes"),
        ("cuda", "dask_cuda", "dask-cuda", "cuda"),
    ],
)
def test_a_missing_package_names_the_extra(
    cluster: str, blocked: str, package: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the extra exists, and has that package."""
    for name in [name for name in sys.modules if name.partition(".")[0] == blocked]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, blocked, None)
    workers = None if cluster == "mpi" else 2
    said = refused(cluster=cluster, workers=workers)
    assert said.startswith(f"`--cluster` needs the packages of its cluster; got {cluster}, and {package} is not there")
    assert said.endswith(f'; pip install ".[{extra}]" in a clone of ipsdist')
    needed = importlib.metadata.requires("ipsdist") or []
    assert any(line.startswith(package) and f"extra == '{extra}'" in line for line in needed)


def test_a_size_comes_from_workers_or_the_settings() -> None:
    """``--workers`` wins; a maximum makes it adaptive; half a range, or one the wrong way round, is refused."""
    assert size_of("slurm", 3) == Size(3, 3)
    assert size_of("slurm", None) is None
    with dask.config.set({"ipsdist.cluster.slurm.workers": 4}):
        assert size_of("slurm", None) == Size(4, 4)
    with dask.config.set({"ipsdist.cluster.slurm": {"minimum": 1, "maximum": 9}}):
        assert size_of("slurm", None) == Size(1, 9)
        assert size_of("slurm", 3) == Size(3, 3)
    for section in ({"minimum": 2}, {"minimum": 3, "maximum": 2}):
        with dask.config.set({"ipsdist.cluster.slurm": section}), pytest.raises(InputError, match=r"ipsdist\.cluster"):
            size_of("slurm", None)


@pytest.mark.parametrize("cluster", ["slurm", "kubernetes"])
def test_a_cluster_of_no_known_size_is_not_started(cluster: str) -> None:
    """Nobody wants a default number of other people's machines."""
    pytest.importorskip({"slurm": "dask_jobqueue", "kubernetes": "dask_kubernetes"}[cluster])
    said = f"`--cluster` {cluster} must know how many workers to ask for; give --workers N or set"
    assert refused(cluster=cluster).startswith(said)


def test_local_is_like_workers_and_can_adapt() -> None:
    """A range of processes grows with the tasks; nothing starts before the first."""
    limits = {"ipsdist.cluster.local": {"minimum": 1, "maximum": 2}}
    with dask.config.set(limits), make_executor(cluster="local") as executor:
        assert (executor.name, executor.workers, executor.capacity.workers) == ("local", 2, 2)
        names = dict(executor.run(tasks.process_id, [2.5] * 3, stage="s", observe=lambda k, done: None))
    assert len(set(names.values())) == 2


def test_an_adaptive_cluster_grows_for_a_gang() -> None:
    """Between epochs: it begins with who is there, and has as many members as it wants soon."""
    job = jobs.Walk(np.arange(60, dtype=np.int64).reshape(20, 3), steps=1200, pause=0.01)
    limits = {"ipsdist.cluster.local": {"minimum": 1, "maximum": 2}, "ipsdist.gang.epoch": 0.3}
    with dask.config.set(limits), make_executor(cluster="local") as executor:
        executor.together(job, stage="particles", observe=lambda units: None)
        assert executor._client.cluster._adaptive.minimum == 1
    assert job.sizes[-1] == 2


def test_memory_of_local_workers_is_a_setting() -> None:
    """Known before they start."""
    with dask.config.set({"ipsdist.local.memory": "1 GB"}), make_executor(workers=3) as executor:
        assert (executor.capacity.workers, executor.capacity.memory) == (3, 10**9)


def test_a_setting_that_the_class_does_not_know_is_one_line() -> None:
    """It is named as its class names it."""
    with (
        dask.config.set({"ipsdist.cluster.local.colour": "red"}),
        pytest.raises(InputError, match=r"`--cluster` must be a cluster that starts; got local: .*'colour'"),
        make_executor(cluster="local", workers=1) as executor,
    ):
        list(executor.run(tasks.walk, [(1, 0.0)], stage="s", observe=lambda k, done: None))


def test_an_idle_run_starts_nothing_but_is_checked() -> None:
    """What is done already needs no queue."""
    with make_executor(cluster="slurm", workers=2, idle=True) as executor:
        assert executor.name == "serial"
    assert "did you mean" in refused(cluster="slrum", idle=True)


def test_no_cluster_is_imported_before_it_is_asked_for() -> None:
    """Help and serial runs must not pay for clusters."""
    say = "import sys, ipsdist.runtime.executor, ipsdist.cli.app; print([m for m in sys.modules if 'dask' in m])"
    assert subprocess.run([sys.executable, "-c", say], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_every_cluster_has_its_module() -> None:
    """A function of its own name."""
    for name in CLUSTERS:
        module = __import__(f"ipsdist.runtime.clusters.{name}", fromlist=[name])
        assert callable(getattr(module, name))


def test_mpi_outside_of_mpirun_is_one_line(tmp_path: Path) -> None:
    """With a command to copy (tests/deploy runs it really)."""
    pytest.importorskip("dask_mpi")
    words = [sys.executable, "-m", "ipsdist", "run", "cubic", "--cluster", "mpi"]
    done = subprocess.run(words, capture_output=True, text=True, cwd=tmp_path)
    if "needs an MPI library" in done.stderr:
        pytest.skip("mpi4py is here, a library of MPI is not")
    assert done.returncode == 2
    assert done.stderr.startswith(
        "error: `--cluster` mpi must be given under mpirun with at least 3 processes; got 1; "
    )
    assert "`mpirun -n 4 ipsdist run cubic --cluster mpi`" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []
