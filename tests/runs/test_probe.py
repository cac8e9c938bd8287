"""The probe: workers that do not see the directory of a run are named before anything is spent, and nothing is left."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import distributed
import pytest

from ipsdist.config import resolve
from ipsdist.model.errors import InputError
from ipsdist.runs import pipeline, probe
from ipsdist.runtime.executor import SerialExecutor, make_executor
from ipsdist.storage import place

SMALL = ("system.particles=400", "time.horizon=0.01")


class Elsewhere(SerialExecutor):
    """An executor whose workers answer by a function of (directory, token); they may see another disk."""

    name = "slurm"
    workers = 2
    elsewhere = True

    def __init__(self, *answers: Callable[[str, str], Any]) -> None:
        super().__init__()
        self.answers = answers

    def everywhere(self, function: Callable[..., Any], *arguments: Any) -> dict[str, Any]:
        """Ask each."""
        return {f"worker {chr(97 + k)}": answer(*arguments) for k, answer in enumerate(self.answers)}


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "_PATIENCE", 0.3)


def probed(out: Path, *answers: Callable[[str, str], Any]) -> str:
    """Return the line of a probe of a directory that is made for it; empty when all see it."""
    missing = probe.first_missing(out)
    out.mkdir(parents=True, exist_ok=True)
    try:
        probe.probe(Elsewhere(*answers), out, missing)
    except InputError as error:
        return str(error)
    return ""


def test_workers_that_see_it_are_no_trouble(tmp_path: Path) -> None:
    """The marks are gone afterwards."""
    out = tmp_path / "a" / "b"
    assert probed(out, probe._answer, probe._answer) == ""
    assert list(out.iterdir()) == []


def test_a_worker_that_does_not_see_it_is_named(tmp_path: Path) -> None:
    """It reads nothing, or a directory of the same name that is another; what was made for the run is gone."""
    out, other = tmp_path / "a" / "b", tmp_path / "other"
    other.mkdir()
    said = probed(out, probe._answer, lambda where, token: probe._answer(str(other), token))
    rule = "`--out` must be a place that every worker sees and writes to; got "
    assert said == f"{rule}{out}: worker b does not see it; use a directory that they share, or s3://BUCKET/NAME"
    assert not (tmp_path / "a").exists()
    assert list(other.iterdir()) == []


def test_what_was_there_before_stays(tmp_path: Path) -> None:
    """A directory with a run is left as it was."""
    (tmp_path / "mine").touch()
    assert "worker a does not see it" in probed(tmp_path, lambda where, token: (False, "does not see it"))
    assert [p.name for p in tmp_path.iterdir()] == ["mine"]


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (lambda where, token: (True, "0" * 32), "worker a writes elsewhere"),
        (lambda where, token: OSError("stale file handle"), "worker a does not answer (OSError: stale file handle)"),
        (lambda where, token: probe._answer("s4://bucket/x", token), "worker a cannot write there ("),
    ],
)
def test_other_reasons(answer: Callable[[str, str], Any], reason: str, tmp_path: Path) -> None:
    """A copy of the disk, an error of the system, a place that the worker cannot open."""
    assert f"{tmp_path / 'a'}: {reason}" in probed(tmp_path / "a", answer)
    assert not (tmp_path / "a").exists()


def test_many_blind_workers_are_counted(tmp_path: Path) -> None:
    """Three by name, the others by number."""
    said = probed(tmp_path / "a", *[lambda where, token: (False, "does not see it")] * 9)
    assert "worker c does not see it, and 6 more workers; use" in said
    assert "worker d" not in said


def test_this_process_is_not_asked(tmp_path: Path) -> None:
    """Serial and local work sees what the driver sees."""
    probe.probe(SerialExecutor(), tmp_path, place(tmp_path))
    with make_executor(workers=2) as executor:
        probe.probe(executor, tmp_path, place(tmp_path))
        assert executor._client is None


def test_a_relative_directory_is_the_drivers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers have a working directory of their own."""
    monkeypatch.chdir(tmp_path)
    with make_executor(workers=1) as executor:
        client = executor._started()
        client.run(os.chdir, "/")
        outcome = pipeline.run(resolve("cubic", SMALL), Path("a"), pipeline.Options(client=client), upto="densities")
    assert outcome.out == Path("a")
    assert (tmp_path / "a" / "store.zarr").is_dir()


HIDDEN = (
    'mount -t tmpfs none "$1" && exec "$2" -m distributed.cli.dask_worker "$3" --host 127.0.0.1 --no-nanny --name blind'
)


@pytest.fixture
def blind(tmp_path: Path) -> Iterator[distributed.Client]:
    """A client of a cluster with a worker of threads and one, a process, on whose disk ``tmp_path`` is another."""
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        pytest.skip("another disk for a worker needs root and unshare")
    if subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("this system has no mount namespaces")
    options = {"n_workers": 1, "processes": False, "threads_per_worker": 1, "protocol": "tcp://", "host": "127.0.0.1"}
    with distributed.LocalCluster(**options, dashboard_address="127.0.0.1:0") as cluster:
        words = [
            "unshare",
            "--mount",
            "sh",
            "-c",
            HIDDEN,
            "sh",
            str(tmp_path),
            sys.executable,
            cluster.scheduler_address,
        ]
        quiet = {**os.environ, "DASK_LOGGING__DISTRIBUTED": "critical"}
        worker = subprocess.Popen([*words, "--no-dashboard", "--nthreads", "1"], env=quiet)
        try:
            with distributed.Client(cluster, set_as_default=False) as client:
                client.wait_for_workers(2, timeout=120)
                yield client
        finally:
            worker.terminate()
            worker.wait(30)


def test_a_run_on_a_cluster_with_a_blind_worker(blind: distributed.Client, tmp_path: Path) -> None:
    """Refused with exit-code-2 manners: its address, and nothing left."""
    out = tmp_path / "runs" / "a"
    with pytest.raises(InputError) as caught:
        pipeline.run(resolve("cubic", SMALL), out, pipeline.Options(client=blind))
    assert f"got {out}: worker tcp://127.0.0.1:" in str(caught.value)
    assert "(blind) does not see it; use a directory" in str(caught.value)
    assert list(tmp_path.iterdir()) == []
