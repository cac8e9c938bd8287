"""The scripts of deploy/: they parse, their settings are known, and those that can run here do."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import dask
import distributed
import pytest
import yaml

import ipsdist as ips
from ipsdist.runtime.settings import check_settings
from tests.deploy.conftest import answer_of
from tests.runs.samples import answer, write

DEPLOY = Path(__file__).parents[2] / "deploy"
SCRIPTS = sorted([*DEPLOY.rglob("*.sh"), *DEPLOY.rglob("*.sbatch")])
SETTINGS = sorted(DEPLOY.rglob("dask.yaml"))
HERE = str(Path(sys.executable).parent)

pytestmark = pytest.mark.skipif(not SCRIPTS, reason="the folder deploy is not beside the tests")


def program(name):
    """Return the path of a program beside this Python, or on the path."""
    return shutil.which(name, path=f"{HERE}{os.pathsep}{os.environ['PATH']}")


def named(path):
    """Return how a test is called."""
    return str(path.relative_to(DEPLOY))


@pytest.mark.parametrize("script", SCRIPTS, ids=named)
def test_scripts_are_shell(script):
    """As bash reads them, and as shellcheck does where it is there; they can be started."""
    subprocess.run(["bash", "-n", script], check=True)
    assert os.access(script, os.X_OK)
    assert script.read_text().startswith("#!/usr/bin/env bash\n")
    assert "set -euo pipefail" in script.read_text()
    if found := program("shellcheck"):
        done = subprocess.run([found, "--severity=warning", script], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("script", [s for s in SCRIPTS if s.suffix == ".sh"], ids=named)
def test_scripts_say_what_they_lack(script):
    """Without words they end at once, with one line."""
    done = subprocess.run([script], capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode != 0
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("file", SETTINGS, ids=named)
def test_settings_are_known(file):
    """Every key and value passes the check that a command makes; it can fail."""
    values = yaml.safe_load(file.read_text())
    with dask.config.set(values):
        check_settings()
    (name,) = values["ipsdist"]["cluster"]
    values["ipsdist"]["cluster"][name]["wait"] = "long"
    with dask.config.set(values), pytest.raises(ips.InputError, match="wait"):
        check_settings()


def test_what_the_jobs_of_slurm_are_told_is_known():
    """dask-jobqueue refuses a word that it does not know; the script it makes has ours."""
    jobqueue = pytest.importorskip("dask_jobqueue")
    given = yaml.safe_load((DEPLOY / "slurm" / "dask.yaml").read_text())["ipsdist"]["cluster"]["slurm"]
    ours = ("workers", "minimum", "maximum", "wait", "security", "shared_temp_directory")
    known = {k: v for k, v in given.items() if k not in ours}
    text = jobqueue.slurm.SLURMJob("tcp://127.0.0.1:1", name="a", config_name="slurm", **known).job_script()
    assert "#SBATCH --mem=15G" in text
    assert "#SBATCH -t 04:00:00" in text


def test_the_local_cluster_serves_runs_until_it_is_stopped(tmp_path, environment):
    """A run on it has the bits of one in this process; stopped, it leaves logs and no process."""
    source, folder = write(tmp_path), tmp_path / "cluster"
    wanted = answer(ips.run(source, tmp_path / "alone", draw=False).result)
    quiet = {k: v for k, v in environment.items() if not k.startswith("DASK_IPSDIST")}
    script = subprocess.Popen([DEPLOY / "local" / "cluster.sh", "2", str(folder)], env=quiet, stderr=subprocess.PIPE)
    try:
        end = time.monotonic() + 100
        while not (folder / "scheduler.json").exists():
            assert time.monotonic() < end, "no scheduler"
            assert script.poll() is None, (folder / "scheduler.log").read_text()
            time.sleep(0.1)
        with distributed.Client(scheduler_file=str(folder / "scheduler.json"), set_as_default=False) as client:
            client.wait_for_workers(2, timeout=100)
        with dask.config.set({"ipsdist.gang.size": "2"}):
            result = ips.run(source, tmp_path / "out", scheduler=str(folder / "scheduler.json"), draw=False).result
        assert answer(result) == wanted
        assert result["workers"] == 2
    finally:
        script.send_signal(signal.SIGTERM)
        script.wait(60)
    assert sorted(p.name for p in folder.iterdir() if p.suffix != "") == ["scheduler.log", "workers.log"]
    left = subprocess.run(["pgrep", "-f", str(folder)], capture_output=True, text=True, check=False)
    assert left.stdout == ""


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.skipif(program("mpirun") is None, reason="needs mpirun (pip install mpich, or Debian's openmpi-bin)")
def test_the_processes_of_one_mpirun(tmp_path, environment, long_run):
    """A scheduler, a driver and two workers; the bits of a run in this process, and nobody is left."""
    pytest.importorskip("mpi4py", reason="needs mpi4py")
    pytest.importorskip("dask_mpi", reason="needs dask-mpi")
    source, wanted = long_run
    mpirun = subprocess.run([program("mpirun"), "--version"], capture_output=True, text=True, check=True).stdout
    root = "--allow-run-as-root --oversubscribe" if "Open MPI" in mpirun else ""
    words = [DEPLOY / "mpi" / "run.sh", "2", "run", str(source), "--out", str(tmp_path / "out")]
    told = {**environment, "IPSDIST_MPIRUN": root}
    done = subprocess.run(words, env=told, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    assert "by 2 workers together" in done.stderr
    assert answer_of(tmp_path / "out") == wanted
    left = subprocess.run(["pgrep", "-f", str(tmp_path)], capture_output=True, text=True, check=False)
    assert left.stdout == ""
