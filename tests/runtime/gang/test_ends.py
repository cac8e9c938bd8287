"""How gangs end with what they stand on: TLS, the driver's process, the scheduler."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import dask
import distributed
import numpy as np
import psutil
import pytest

from ipsdist.model.errors import RunError
from ipsdist.runtime.executor import make_executor
from tests.runtime.gang.jobs import Walk, fresh, quiet, twin

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
DRIVER = """
import sys
from ipsdist.runtime.executor import make_executor
from tests.runtime.gang.jobs import Walk, fresh
with make_executor(scheduler=sys.argv[1]) as executor:
    job = Walk(fresh(), 10**6, pause=0.01, first_steps=10**6)
    executor.together(job, stage="particles", observe=lambda units: print("tick", flush=True))
"""


def test_a_cluster_with_tls() -> None:
    """Members speak TLS with their workers' certificates, and every port that is open is on loopback."""
    pytest.importorskip("cryptography", reason="makes the certificates")
    with (
        distributed.LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            security=distributed.Security.temporary(),
            host="tls://127.0.0.1",
            dashboard_address="127.0.0.1:0",
            silence_logs=50,
        ) as cluster,
        distributed.Client(cluster, set_as_default=False) as client,
        make_executor(client=client) as executor,
    ):
        job = Walk(fresh(), 200)
        executor.together(job, stage="particles", observe=lambda units: None)
        assert set(job.sizes) == {2}
        assert np.array_equal(job.state, twin(fresh(), 200))


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[tuple[str, list[subprocess.Popen[bytes]]]]:
    """A scheduler and two workers as processes of their own; yields the scheduler's file and all three."""
    file = tmp_path / "scheduler.json"
    here = ["--host", "127.0.0.1", "--scheduler-file", str(file)]
    silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "env": ENVIRONMENT, "cwd": tmp_path}
    scheduler = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--port", "0", "--no-dashboard", *here]
    worker = [sys.executable, "-m", "distributed.cli.dask_worker", "--nthreads", "1", "--no-nanny", "--no-dashboard"]
    started = [subprocess.Popen(scheduler, **silent)]
    try:
        started += [subprocess.Popen([*worker, *here], **silent) for _ in range(2)]
        end = time.monotonic() + 60
        while not file.exists() and time.monotonic() < end:
            time.sleep(0.1)
        yield str(file), started
    finally:
        for process in started:
            process.kill()
            process.wait()


def test_members_end_when_their_driver_is_killed(cluster: tuple[str, list[subprocess.Popen[bytes]]]) -> None:
    """Doors, memory and members go within seconds; the workers serve the next driver."""
    with distributed.Client(scheduler_file=cluster[0], set_as_default=False) as client:
        client.wait_for_workers(2, timeout=60)
        command = [sys.executable, "-c", DRIVER, cluster[0]]
        driver = subprocess.Popen(command, stdout=subprocess.PIPE, env=ENVIRONMENT)
        assert driver.stdout is not None
        assert driver.stdout.readline() == b"tick\n"
        driver.kill()
        driver.wait()
        driver.stdout.close()
        quiet(client)
        with make_executor(client=client) as executor:
            job = Walk(fresh(), 50)
            executor.together(job, stage="particles", observe=lambda units: None)
            assert set(job.sizes) == {2}


def test_a_killed_scheduler_is_said_in_one_line(cluster: tuple[str, list[subprocess.Popen[bytes]]]) -> None:
    """Within seconds; workers that were left alone end by themselves."""
    file, (scheduler, *workers) = cluster
    killed: list[float] = []

    def kill(units: float) -> None:
        if not killed:
            scheduler.send_signal(signal.SIGKILL)
            killed.append(time.monotonic())

    with dask.config.set({"ipsdist.gang.timeout": 20.0}), make_executor(scheduler=file) as executor:
        job = Walk(fresh(), 10**6, pause=0.01, first_steps=10**6)
        message = "^lost the connection to the Dask scheduler; give the same command again: what was finished is kept$"
        with pytest.raises(RunError, match=message):
            executor.together(job, stage="particles", observe=kill)
        assert time.monotonic() - killed[0] < 20
    gone = psutil.wait_procs([psutil.Process(worker.pid) for worker in workers if worker.poll() is None], timeout=90)
    assert not gone[1]
