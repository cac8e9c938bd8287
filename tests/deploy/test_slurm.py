"""Slurm, really: one node on the loopback address, two jobs, one cancelled in mid-run, the bits of a quiet run."""

from __future__ import annotations

import subprocess
import time
from dataclasses import replace
from pathlib import Path

import pytest

from tests.deploy.conftest import answer_of
from tests.deploy.slurm_node import missing, one_node

DEPLOY = Path(__file__).parents[2] / "deploy" / "slurm"
WAIT = 240.0

pytestmark = [
    pytest.mark.long,
    pytest.mark.timeout(900),
    pytest.mark.skipif(missing() is not None, reason=f"a Slurm of one node {missing()}"),
    pytest.mark.skipif(not DEPLOY.exists(), reason="the folder deploy is not beside the tests"),
]


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    """A Slurm of one node."""
    with one_node(tmp_path_factory.mktemp("slurm")) as slurm:
        yield slurm


@pytest.fixture
def slurm(node, environment, tmp_path):
    """Slurm for a user whose jobs inherit his environment."""
    ours = {"SLURM_CONF": node.environment["SLURM_CONF"], "IPSDIST_JOB_FOLDER": str(tmp_path)}
    return replace(node, environment={**environment, **ours})


def submit(slurm, tmp_path, *words, options=()):
    """Submit the batch script of this project."""
    given = ("--ntasks=2", "--mem-per-cpu=900M", f"--output={tmp_path}/job-%j.out", *options)
    return slurm.submit(DEPLOY / "ipsdist.sbatch", *words, options=given)


def until(true, what, seconds=WAIT):
    """Wait until something holds."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, f"no {what} in {seconds:g} s"
        time.sleep(0.1)


def committed(out):
    """Tell whether an epoch of the run has been committed: it is in the middle of its steps."""
    return any((out / "store.zarr").rglob("*replica-0.epoch*"))


def until_in_the_middle(slurm, job, out, tmp_path):
    """Wait until a job has committed an epoch; fail with what it said if it has ended before."""
    until(lambda: committed(out) or slurm.state(job) not in ("PENDING", "RUNNING"), "epoch")
    assert slurm.state(job) == "RUNNING", (tmp_path / f"job-{job}.out").read_text()


def nothing_runs(word):
    """Tell whether no process has a word on its command line."""
    found = subprocess.run(["pgrep", "-f", word], capture_output=True, text=True, check=False)
    return found.returncode == 1


def test_a_job_that_holds_everything(slurm, tmp_path, long_run):
    """Cancelled in mid-run, submitted again: it goes on, and nothing is left behind by either job."""
    source, wanted = long_run
    out = tmp_path / "out"
    first = submit(slurm, tmp_path, "run", str(source), "--out", str(out))
    until_in_the_middle(slurm, first, out, tmp_path)
    slurm("scancel", str(first))
    assert slurm.wait(first) == "CANCELLED"
    assert not (out / "result.json").exists()
    until(lambda: nothing_runs(f"{tmp_path}/ipsdist-job-"), "end of the first job")
    second = submit(slurm, tmp_path, "run", str(source), "--out", str(out))
    said = tmp_path / f"job-{second}.out"
    assert slurm.wait(second) == "COMPLETED", said.read_text()
    assert answer_of(out) == wanted
    until(lambda: nothing_runs(f"{tmp_path}/ipsdist-job-"), "end of the second job")
    assert not list(tmp_path.glob("ipsdist-job-*"))


def test_a_job_near_its_time_limit_goes_on_in_the_queue(slurm, tmp_path, long_run):
    """At the signal that comes before the limit, the driver stops in order, and the job begins again by itself."""
    source, wanted = long_run
    out = tmp_path / "out"
    job = submit(slurm, tmp_path, "run", str(source), "--out", str(out), options=("--export=ALL,IPSDIST_TLS=1",))
    until_in_the_middle(slurm, job, out, tmp_path)
    slurm("scancel", "--batch", "--signal=USR1", str(job))
    until(lambda: slurm.state(job) == "PENDING" or "stopped" in (tmp_path / f"job-{job}.out").read_text(), "requeue")
    # Slurm holds a job that was put back for a while; a person may let it go at once.
    until(lambda: slurm.state(job) == "PENDING", "job in the queue")
    slurm("scontrol", "update", f"JobId={job}", "StartTime=now")
    assert slurm.wait(job) == "COMPLETED", (tmp_path / f"job-{job}.out").read_text()
    said = (tmp_path / f"job-{job}.out").read_text()
    assert "go on with: ipsdist run" in said
    assert said.count("plan       ") == 2
    assert answer_of(out) == wanted


def test_a_bad_command_fails_the_job(slurm, tmp_path):
    """With the exit code of the driver and its line; nothing is left."""
    job = submit(slurm, tmp_path, "run", "cubik")
    assert slurm.wait(job) == "FAILED"
    assert "did you mean cubic" in (tmp_path / f"job-{job}.out").read_text()
    assert "ExitCode=2:0" in slurm("scontrol", "show", "job", str(job))
    assert not list(tmp_path.glob("ipsdist-job-*"))


def test_jobs_of_one_worker_each_and_one_is_cancelled(slurm, tmp_path, long_run, environment):
    """`--cluster slurm` with the configuration of deploy/: another job takes the place of the cancelled one."""
    source, wanted = long_run
    out, folder = tmp_path / "out", tmp_path / "dask"
    folder.mkdir()
    text = (DEPLOY / "dask.yaml").read_text()
    for old, new in (
        ("workers: 16 ", "workers: 2 "),
        ("cores: 4 ", "cores: 1 "),
        ("memory: 16 GB ", "memory: 900 MB "),
        ("interface: null", "interface: lo"),
        ("shared_temp_directory: null", f"shared_temp_directory: {tmp_path}"),
        ("job_extra_directives: []", f'job_extra_directives: ["--output={tmp_path}/worker-%j.out"]'),
    ):
        assert old in text
        text = text.replace(old, new)
    (folder / "ipsdist.yaml").write_text(text)
    words = ["ipsdist", "run", str(source), "--out", str(out), "--cluster", "slurm"]
    soon = {**slurm.environment, "DASK_DISTRIBUTED__DEPLOY__LOST_WORKER_TIMEOUT": "1 s"}
    driver = subprocess.Popen(words, env=soon, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        until(lambda: committed(out) or driver.poll() is not None, "epoch")
        assert driver.poll() is None, driver.communicate()[1]
        before = slurm.jobs()
        assert len(before) == 2
        slurm("scancel", str(before[0]))
        until(lambda: slurm.state(before[0]) == "CANCELLED", "cancelled job")
        until(lambda: len(slurm.jobs()) == 2 or driver.poll() is not None, "job in its place")
        assert driver.poll() is None, "the run ended before its cancelled job was replaced"
        _, said = driver.communicate(timeout=WAIT)
    finally:
        driver.kill()
        driver.wait()
    assert driver.returncode == 0, said
    assert answer_of(out) == wanted
    until(lambda: not slurm.jobs("RUNNING,PENDING,COMPLETING"), "end of the workers")
