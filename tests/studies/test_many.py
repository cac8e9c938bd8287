"""Many runs on workers that die: a run that ends its workers is a row that failed, and the others do not notice."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import ipsdist as ips
from ipsdist.model.errors import RunError
from ipsdist.runs import Options
from ipsdist.runtime.executor import SerialExecutor
from tests.studies.samples import SMALL, cells, write

ROOT = Path(__file__).parents[2]
SEEDS = SMALL.partition("[[vary]]")[0].replace("seeds = 2", "seeds = 5")


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The study of five seeds in this process."""
    folder = tmp_path_factory.mktemp("alone")
    return ips.study(write(folder, SEEDS), folder / "out")


class Dying(SerialExecutor):
    """Ends its worker at one seed, again and again."""

    def run(self, function, tasks, *, stage, observe, tolerate=False):
        """Answer with an error where a worker would have ended."""
        assert tolerate
        for index, task in enumerate(tasks):
            ends = task.config.run.seed == 2
            yield index, RunError("a task of study ended its worker") if ends else function(task, lambda done: None)


def test_a_run_that_ends_its_worker_is_a_row_that_failed(tmp_path, monkeypatch, alone):
    """And says why; the others are done, and the next command does it."""
    source, out, real = write(tmp_path, SEEDS), tmp_path / "out", Options.executor
    monkeypatch.setattr(Options, "executor", lambda own, **k: Dying() if own.workers == 7 else real(own, **k))
    study = ips.study(source, out, workers=7)
    assert [(row["run"], row["error"]) for row in study.failed] == [("seed-2", "a task of study ended its worker")]
    assert [row for row in cells(study.rows) if row["seed"] != 2] == [r for r in cells(alone.rows) if r["seed"] != 2]
    assert cells(ips.study(source, out).rows) == cells(alone.rows)


def kill_whoever_does(run: Path, stop: threading.Event, killed: set[int], most: int) -> None:
    """Kill the first processes that take the lock of a run, as soon as they have it."""
    while len(killed) < most and not stop.wait(0.002):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            owner = re.match(r"process (\d+)", (run / ".lock").read_text())
            if owner is not None and int(owner[1]) not in killed:
                os.kill(int(owner[1]), signal.SIGKILL)
                killed.add(int(owner[1]))


def test_a_run_whose_workers_die_is_done_in_the_end_and_harms_no_other(tmp_path, alone):
    """kill -9 of the first three workers that begin with one of the runs."""
    source, out, stop, killed = write(tmp_path, SEEDS), tmp_path / "out", threading.Event(), set()
    killer = threading.Thread(target=kill_whoever_does, args=(out / "runs" / "seed-2", stop, killed, 3))
    killer.start()
    try:
        study = ips.study(source, out, workers=2)
    finally:
        stop.set()
        killer.join()
    assert len(killed) == 3
    assert cells(study.rows) == cells(alone.rows)


def test_a_study_on_workers_that_is_killed_twice_goes_on(tmp_path, alone):
    """kill -9 of the command; what was finished is not done again, and there is one table in the end."""
    source, out = write(tmp_path, SEEDS), tmp_path / "out"
    words = [sys.executable, "-m", "ipsdist", "study", str(source), "--out", str(out), "--workers", "2", "--quiet"]
    for finished in (1, 3):
        process = subprocess.Popen(words, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while len(list(out.glob("runs/*/result.json"))) < finished and process.poll() is None:
            time.sleep(0.01)
        process.kill()
        process.wait()
    committed = {p: p.stat().st_mtime_ns for p in out.glob("runs/*/store.zarr/records/report/done/zarr.json")}
    assert not (out / "study.csv").exists()
    study = ips.study(source, out)
    assert {p: p.stat().st_mtime_ns for p in committed} == committed
    assert cells(study.rows) == cells(alone.rows)
    assert len((out / "study.csv").read_text().splitlines()) == 6
