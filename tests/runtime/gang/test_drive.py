"""Gangs on Dask: the same bits as without one, whatever happens to the members."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import dask
import distributed
import numpy as np
import psutil
import pytest

from ipsdist.model.errors import InputError, RunError
from ipsdist.runtime.dask_executor import DaskExecutor
from ipsdist.runtime.executor import SerialExecutor, make_executor
from ipsdist.runtime.gang import driver
from tests.runtime.gang.jobs import BALLAST, Walk, fresh, quiet, twin

STEPS = 300


@pytest.fixture(autouse=True)
def short_epochs() -> Iterator[None]:
    with dask.config.set({"ipsdist.gang.epoch": 0.2, "ipsdist.gang.timeout": 20.0}):
        yield


@pytest.fixture(scope="module")
def processes() -> Iterator[DaskExecutor]:
    with DaskExecutor(workers=2) as executor:
        yield executor


@contextlib.contextmanager
def threads(workers: int, **options: Any) -> Iterator[tuple[Any, Any, Any]]:
    """Start workers that are threads of this process; yield their cluster, a client and its executor."""
    default = {"processes": False, "threads_per_worker": 1, "dashboard_address": "127.0.0.1:0", "silence_logs": 50}
    # Each of them takes the memory of the whole process for its own, and would stop at its share of the machine's.
    default["memory_limit"] = 0
    with (
        distributed.LocalCluster(n_workers=workers, **{**default, **options}) as cluster,
        distributed.Client(cluster, set_as_default=False) as client,
        make_executor(client=client) as executor,
    ):
        yield cluster, client, executor


def drive(executor: Any, job: Walk, observe: Callable[[float], None] = lambda units: None) -> Walk:
    """Do the job and compare its answer with the one without a gang."""
    executor.together(job, stage="particles", observe=observe)
    assert job.step == job.steps
    assert np.array_equal(job.state, twin(fresh(len(job.state)), job.steps))
    return job


@pytest.mark.parametrize("pickling", [False, True])
def test_alone_in_this_process(pickling: bool) -> None:
    """The serial executor is a gang of one, whose memory lives as long as the job."""
    job = drive(SerialExecutor(pickling), Walk(fresh(), STEPS, members=4, pause=0.001))
    assert set(job.sizes) == {1}
    assert job.memories == [[k + 1] for k in range(len(job.sizes))]


def test_two_processes(processes: DaskExecutor) -> None:
    """Epochs of the length that was asked for; memory stays from one to the next; a new job begins with none."""
    for _ in range(2):
        job = drive(processes, Walk(fresh(), 1500, pause=0.0005))
        assert set(job.sizes) == {2}
        assert 3 <= len(job.sizes) <= 30
        assert job.memories == [[k + 1] * 2 for k in range(len(job.sizes))]
        assert job.asked == len(job.sizes)


def test_progress_rises_to_all_units(processes: DaskExecutor) -> None:
    """Committed and running units, in the thread of the caller."""
    heard: list[tuple[float, int]] = []
    with dask.config.set({"ipsdist.gang.epoch": 3600.0}):
        job = Walk(fresh(), 100, pause=0.01, first_steps=100)
        drive(processes, job, lambda units: heard.append((units, threading.get_ident())))
    units = [value for value, _ in heard]
    assert {thread for _, thread in heard} == {threading.get_ident()}
    assert units == sorted(units)
    assert units[-1] == 100 * 12
    assert len(set(units)) > 3


def test_sixty_four_workers_that_are_threads() -> None:
    """No port is opened; more members than rows do no harm."""
    this = psutil.Process()
    ports: list[int] = []

    def count(job: Walk | None = None) -> None:
        ports.append(len([c for c in this.net_connections() if c.status == psutil.CONN_LISTEN]))

    with (
        threads(64) as (_, _, executor),
        dask.config.set({"ipsdist.gang.epoch": 5.0}),
    ):
        count()
        for rows in (130, 12):
            assert set(drive(executor, Walk(fresh(rows), 20, members=64, after_commit=count)).sizes) == {64}
    assert len(set(ports)) == 1


@pytest.mark.parametrize("workers", [3, 5, 6])
def test_workers_of_several_threads_have_one_member_each(workers: int) -> None:
    """For gangs whose size is no power of two."""
    with threads(workers, threads_per_worker=2) as (_, _, executor):
        assert set(drive(executor, Walk(fresh(), 60, members=9)).sizes) == {workers}
        assert set(drive(executor, Walk(fresh(), 60, members=2)).sizes) == {2}


@pytest.mark.parametrize("members", [1, 2])
def test_a_killed_worker_costs_one_epoch(
    processes: DaskExecutor, tmp_path: Path, members: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The epoch in which it died is done again, also where no peer can tell; the gang is whole again later.

    The user hears of it in one line.
    """
    told: list[str] = []
    processes._started()
    monkeypatch.setattr(processes, "_tell", told.append)
    marker = tmp_path / "died"
    job = Walk(fresh(), 400, members=members, pause=0.002, trick="kill", marker=str(marker))
    job.after_commit = until_whole(marker.exists, members)
    drive(processes, job)
    assert marker.exists()
    assert job.asked == len(job.sizes) + 1
    assert job.sizes[-1] == members
    assert len(told) == 1
    assert re.fullmatch(r"particles: .+; what was done since the last commit is done again by \d workers?.*", told[0])


def until_whole(begun: Callable[[], bool], size: int = 2) -> Callable[[Walk], None]:
    """Return what makes a job longer, for a minute at most, until its gang has a size after something has begun."""
    end = time.monotonic() + 60

    def lengthen(job: Walk) -> None:
        if not (begun() and job.sizes[-1] == size) and time.monotonic() < end:
            job.steps = max(job.steps, job.step + 50)

    return lengthen


def test_a_member_that_always_dies_ends_in_one_line(processes: DaskExecutor) -> None:
    """After the attempts that are set."""
    with dask.config.set({"ipsdist.gang.attempts": 2}), pytest.raises(RunError) as caught:
        processes.together(Walk(fresh(), STEPS, trick="kill"), stage="particles", observe=lambda units: None)
    told = str(caught.value)
    assert told.startswith("the gang of particles failed 2 times in a row, the last time because ")
    assert told.endswith("give the same command again: what was finished is kept")
    assert "\n" not in told
    drive(processes, Walk(fresh(), 20))


@pytest.mark.parametrize(
    ("trick", "kind", "message"),
    [
        ("refuse", InputError, "`time.step` must be small; got 3; use 0.1"),
        ("fail", RunError, "the particles blew up at step 7"),
        ("stumble", ZeroDivisionError, "by zero"),
        ("differ", RuntimeError, "members did unlike things"),
    ],
)
def test_what_a_member_raises_is_raised_here(
    processes: DaskExecutor, trick: str, kind: type[Exception], message: str
) -> None:
    """And not what its peers say when it is gone; the same workers work on."""
    job = Walk(fresh(), STEPS, trick=trick)
    with pytest.raises(kind, match=message):
        processes.together(job, stage="particles", observe=lambda units: None)
    assert job.asked == 1
    drive(processes, Walk(fresh(), 20))


@pytest.mark.parametrize("trick", ["stop", "freeze"])
def test_a_stopped_process_is_done_without_and_does_no_harm_when_it_wakes(
    processes: DaskExecutor, tmp_path: Path, trick: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It hangs with its port open, in mid-epoch or when its peers are done; when it wakes it can serve again."""
    marker = tmp_path / "stopped"
    wake = threading.Event()
    lengthen = until_whole(wake.is_set)

    def wake_later(job: Walk) -> None:
        if job.sizes.count(1) == 2 and not wake.is_set():
            os.kill(int(marker.read_text()), signal.SIGCONT)
            wake.set()
        lengthen(job)

    monkeypatch.setattr(driver, "_HEARTLESS_SECONDS", 4.0)
    settings = {"ipsdist.gang.timeout": 1.0, "ipsdist.connect-timeout": 1.0}
    with dask.config.set(settings):
        job = Walk(fresh(), 200, pause=0.002, trick=trick, marker=str(marker), after_commit=wake_later)
        drive(processes, job)
    assert wake.is_set()
    assert 1 in job.sizes
    assert job.sizes[-1] == 2
    assert job.asked == len(job.sizes) + 1


def test_workers_that_come_and_go_change_the_gang() -> None:
    """Between epochs; nothing is done again for those that come."""
    with threads(1) as (cluster, client, executor):
        lengthen = until_whole(lambda: 3 in job.sizes)

        def scale(job: Walk) -> None:
            if job.sizes == [1, 1]:
                cluster.scale(3)
                client.wait_for_workers(3, timeout=30)
            elif job.sizes.count(3) == 2:
                cluster.scale(2)
            lengthen(job)

        job = Walk(fresh(), 300, members=8, pause=0.002, after_commit=scale)
        drive(executor, job)
    assert set(job.sizes) == {1, 2, 3}
    assert job.sizes[:2] == [1, 1]
    assert job.sizes[-1] == 2
    assert job.asked <= len(job.sizes) + 1


def test_a_busy_worker_joins_when_it_is_free() -> None:
    """The caller's own long task keeps it; the others begin without, after the time to connect."""
    with (
        threads(2) as (_, client, executor),
        dask.config.set({"ipsdist.connect-timeout": 0.5}),
    ):
        address = sorted(client.nthreads())[0]
        other = client.submit(wait_for_it, workers=[address], pure=False)

        FREE.clear()
        lengthen = until_whole(FREE.is_set)

        def let_go(job: Walk) -> None:
            if len(job.sizes) == 3:
                FREE.set()
            lengthen(job)

        job = drive(executor, Walk(fresh(), 300, pause=0.002, after_commit=let_go))
        assert other.result() == "free"
    assert job.sizes[:3] == [1, 1, 1]
    assert job.sizes[-1] == 2
    assert job.asked == len(job.sizes)


FREE = threading.Event()


def wait_for_it() -> str:
    """Keep a worker of this process busy."""
    FREE.wait(60)
    return "free"


def test_only_workers_with_the_resources_take_part() -> None:
    """And a gang that needs more of them than there are says so."""
    settings = {"ipsdist.resources": {"seat": 1}, "ipsdist.workerless-timeout": 1.0}
    with threads(1, resources={"seat": 1}) as (_, _, executor), dask.config.set(settings):
        assert set(drive(executor, Walk(fresh(), 20)).sizes) == {1}
    message = "no Dask worker with the resources seat: 1 for 1 s; start workers, then give the same command"
    with threads(2) as (_, _, executor), dask.config.set(settings), pytest.raises(RunError, match=message):
        drive(executor, Walk(fresh(), 20))


def test_too_few_workers_for_its_memory_is_said() -> None:
    """A gang is not formed below the fewest members."""
    message = "1 Dask worker for 1 s, where 2 are needed; start workers, then give the same command again"
    with threads(1) as (_, _, executor), dask.config.set({"ipsdist.workerless-timeout": 1.0}):
        job = Walk(fresh(), 20, fewest=2)
        with pytest.raises(RunError, match=message):
            drive(executor, job)
        assert job.asked == 0


def test_two_drivers_share_the_workers_out() -> None:
    """Each worker is in one gang at a time; those that need all of them take turns."""
    with (
        threads(2) as (cluster, _, one),
        distributed.Client(cluster, set_as_default=False) as client,
        make_executor(client=client) as other,
        dask.config.set({"ipsdist.connect-timeout": 0.5}),
    ):
        for fewest in (1, 2):
            jobs = [Walk(fresh(), 300, fewest=fewest, pause=0.002, trick="share") for _ in range(2)]
            with ThreadPoolExecutor(2) as pool:
                list(pool.map(drive, (one, other), jobs))
            assert all(job.asked == len(job.sizes) for job in jobs)
            assert all(min(job.sizes) >= fewest for job in jobs)


def test_nothing_is_left_on_the_workers(processes: DaskExecutor) -> None:
    """Doors, threads, open files and memory are as before after many gangs, also those that failed."""
    client = processes._started()  # it may be the first test of its process
    drive(processes, Walk(fresh(), 20))
    before = quiet(client)
    for _ in range(6):
        drive(processes, Walk(fresh(), 20))
        with pytest.raises(ZeroDivisionError):
            drive(processes, Walk(fresh(), 20, trick="stumble"))
    after = quiet(client)
    for address, (doors, files, threads_, size) in after.items():
        assert doors == 0
        assert files <= before[address][1]
        assert threads_ <= before[address][2]
        assert size - before[address][3] < 3 * BALLAST


def test_an_interrupt_ends_the_members(processes: DaskExecutor) -> None:
    """Within about a second, though no epoch ends for an hour."""
    client = processes._started()  # it may be the first test of its process
    job = Walk(fresh(), 10**6, pause=0.01, first_steps=10**6)

    def interrupt(units: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        processes.together(job, stage="particles", observe=interrupt)
    began = time.monotonic()
    quiet(client)
    assert time.monotonic() - began < 5.0
    drive(processes, Walk(fresh(), 20))


def test_two_jobs_of_one_client_side_by_side() -> None:
    """They share out the workers, and neither ends the other's gang."""
    with threads(2) as (_, client, _), ThreadPoolExecutor(2) as pool:

        def go(job: Walk) -> Walk:
            with make_executor(client=client) as executor:
                return drive(executor, job)

        for job in pool.map(go, [Walk(fresh(), 60, pause=0.01, first_steps=30) for _ in range(2)]):
            assert job.asked <= len(job.sizes) + 1
