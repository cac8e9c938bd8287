"""The real SLURMCluster; Slurm's commands are scripts, jobs processes of this machine (tests/deploy has real ones)."""

from __future__ import annotations

import importlib.util
import os
import signal
import stat
import time
from collections.abc import Iterator
from pathlib import Path

import dask
import pytest

from ipsdist.model.errors import InputError
from ipsdist.runtime.executor import make_executor
from tests.runtime import tasks

pytest.importorskip("dask_jobqueue")

SBATCH = """#!/bin/sh
if [ "$1" = --test-only ]; then
    grep -q 'mem=1P' "$2" && { echo "sbatch: error: Memory specification can not be satisfied" >&2; exit 1; }
    exit 0
fi
cp "$1" "$JOBS/script"
setsid sh "$JOBS/run" "$JOBS/script" >"$JOBS/log" 2>&1 &
echo $! >>"$JOBS/numbers"
echo "Submitted batch job $!"
"""
RUN = '. "$1"\n'
SCANCEL = '#!/bin/sh\nfor n in "$@"; do kill -9 -- "-$n"; done 2>/dev/null; true\n'
SQUEUE = """#!/bin/sh
for n in $(echo "${3#--jobs=}" | tr , ' '); do kill -0 "$n" 2>/dev/null && echo "$n"; done; true
"""


@pytest.fixture
def jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with what is submitted, and a PATH with a Slurm of scripts; no job outlives the test."""
    for name, text in {"sbatch": SBATCH, "scancel": SCANCEL, "squeue": SQUEUE}.items():
        file = tmp_path / name
        file.write_text(text)
        file.chmod(file.stat().st_mode | stat.S_IEXEC)
    (tmp_path / "run").write_text(RUN)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("JOBS", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    size = {"cores": 1, "memory": "1 GB", "interface": "lo", "walltime": "00:10:00", "wait": 60.0}
    patience = {"distributed.deploy.lost-worker-timeout": "1s"}
    with dask.config.set({"ipsdist.cluster.slurm": size, **patience}):
        yield tmp_path
    for number in numbers(tmp_path):
        try:
            os.killpg(number, signal.SIGKILL)
        except ProcessLookupError:
            continue


def numbers(jobs: Path) -> list[int]:
    """Return the numbers of all jobs submitted so far."""
    file = jobs / "numbers"
    return [int(line) for line in file.read_text().split()] if file.exists() else []


@pytest.mark.long  # tests/deploy does it on a real Slurm; here a busy machine loses more workers than the one cancelled
def test_workers_are_jobs_and_one_that_is_cancelled_is_replaced(jobs: Path) -> None:
    """The work ends all the same; no job stays."""
    told: list[str] = []
    with make_executor(cluster="slurm", workers=1, tell=told.append) as executor:
        assert (executor.name, executor.workers, executor.elsewhere) == ("slurm", 1, True)
        assert executor.capacity.memory == pytest.approx(10**9, rel=0.01)
        run = executor.run(tasks.walk, [(30, 0.1)], stage="s", observe=lambda k, done: cancel_once(jobs))
        assert dict(run) == {0: 30}
        shown = any(line.startswith("dashboard http://127.0.0.1:") for line in told)
        assert shown == (importlib.util.find_spec("bokeh") is not None)
        assert len(numbers(jobs)) == 2
    script = (jobs / "script").read_text()
    assert "--nthreads 1" in script
    assert " tls://127.0.0.1:" in script  # the port of a scheduler runs what it is sent
    assert "export DASK_DISTRIBUTED__WORKER__MEMORY__PAUSE=False" in script
    until = time.monotonic() + 30
    while any(alive(number) for number in numbers(jobs)):
        assert time.monotonic() < until
        time.sleep(0.1)


def cancel_once(jobs: Path) -> None:
    """Cancel the first job when it is the only one."""
    if len(numbers(jobs)) == 1 and not (jobs / "cancelled").exists():
        (jobs / "cancelled").touch()
        os.killpg(numbers(jobs)[0], signal.SIGKILL)


def alive(number: int) -> bool:
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] != "Z"


def test_jobs_that_end_at_once_are_not_waited_for(jobs: Path) -> None:
    """And not submitted again and again."""
    (jobs / "run").write_text("exit 1\n")
    with pytest.raises(InputError) as caught:
        make_executor(cluster="slurm", workers=1)
    assert "`--cluster` must have workers; got none: Slurm's jobs " in str(caught.value)
    assert "ended before one was there; see the job's slurm-*.out" in str(caught.value)
    assert len(numbers(jobs)) == 1


def test_what_slurm_refuses_is_said_in_its_words(jobs: Path) -> None:
    """Before anything is submitted."""
    with (
        dask.config.set({"ipsdist.cluster.slurm.job_extra_directives": ["--mem=1P"]}),
        pytest.raises(InputError) as caught,
    ):
        make_executor(cluster="slurm", workers=1)
    said = "`--cluster` slurm must take the job; got sbatch: error: Memory specification can not be satisfied; see "
    assert str(caught.value).startswith(said)
    assert numbers(jobs) == []


def test_a_job_needs_a_size_and_slurm(jobs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cores and memory, and the commands."""
    with dask.config.set({"ipsdist.cluster.slurm": {}}), pytest.raises(InputError, match="must know the size of a job"):
        make_executor(cluster="slurm", workers=1)
    with dask.config.set({"ipsdist.cluster.slurm.qeue": "x"}), pytest.raises(InputError, match=r"got slurm: .*qeue"):
        make_executor(cluster="slurm", workers=1)
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(InputError, match="must be given where jobs are submitted; got no sbatch"):
        make_executor(cluster="slurm", workers=1)
