"""Executors: the same answers in this process, through pickle and on two processes; errors, deaths, progress, doors."""

from __future__ import annotations

import os
import pickle
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from ipsdist.model.errors import InputError, RunError
from ipsdist.runtime.dask_executor import DaskExecutor
from ipsdist.runtime.executor import Executor, SerialExecutor, make_executor
from ipsdist.runtime.threads import single_threaded
from tests.runtime import tasks


@pytest.fixture(scope="module")
def cluster() -> Iterator[DaskExecutor]:
    with DaskExecutor(workers=2) as executor:
        yield executor


@pytest.fixture(params=["serial", "pickling", "processes"])
def executor(request: pytest.FixtureRequest) -> Executor:
    if request.param == "processes":
        return request.getfixturevalue("cluster")
    return SerialExecutor(pickle_tasks=request.param == "pickling")


def silent(index: int, done: float) -> None:
    """Observe nothing."""


def collect(executor: Executor, function: Any, arguments: list[Any]) -> dict[int, Any]:
    """Return the results by index; every task has exactly one."""
    found = list(executor.run(function, arguments, stage="particles", observe=silent))
    assert len(found) == len(dict(found)) == len(arguments)
    return dict(found)


def test_answers_are_the_same_bits_everywhere(executor: Executor) -> None:
    """Sums of 200 x 200 products: as in this process on one thread."""
    arguments = [(seed, 200) for seed in range(6)]
    with single_threaded():
        expected = {k: tasks.square_sum(a, lambda done: None) for k, a in enumerate(arguments)}
    assert collect(executor, tasks.square_sum, arguments) == expected


def test_no_tasks_are_no_work(executor: Executor) -> None:
    """An empty stage ends at once."""
    assert collect(executor, tasks.walk, []) == {}


def test_progress_arrives_and_ends_complete(executor: Executor) -> None:
    """Each task's progress never falls and its last word comes before its result."""
    heard: dict[int, list[float]] = {0: [], 1: []}
    run = executor.run(tasks.walk, [(20, 0.05), (10, 0.1)], stage="s", observe=lambda k, done: heard[k].append(done))
    for index, steps in run:
        assert heard[index][-1] == steps
        assert heard[index] == sorted(heard[index])
        assert len(heard[index]) >= 3


def test_ticks_over_the_network_are_few(cluster: DaskExecutor) -> None:
    """A thousand ticks a second become a few."""
    heard: list[float] = []
    list(cluster.run(tasks.walk, [(1000, 0.001)], stage="s", observe=lambda k, done: heard.append(done)))
    assert 2 <= len(heard) <= 12


@pytest.mark.parametrize(
    ("bad", "kind", "message"),
    [
        (1, InputError, "`time.step` must be small; got 3; use 0.1"),
        (2, RunError, "the particles blew up at step 7"),
        (3, ZeroDivisionError, "by zero"),
    ],
)
def test_an_error_arrives_as_itself(executor: Executor, bad: int, kind: type[Exception], message: str) -> None:
    """Type and wording survive the way from the worker, and the executor works on."""
    with pytest.raises(kind, match=message):
        collect(executor, tasks.refuse, [0, bad])
    assert collect(executor, tasks.refuse, [0, 4]) == {0: 0, 1: 4}


def test_blas_has_one_thread_in_tasks(executor: Executor) -> None:
    """NumPy's and SciPy's."""
    counts = collect(executor, tasks.blas_threads, [0])[0]
    assert len(counts) >= 1
    assert set(counts) == {1}


def test_only_importable_functions_pass_the_pickling_executor() -> None:
    """What a cluster could not import is found without one."""
    with pytest.raises((pickle.PicklingError, AttributeError)):
        collect(SerialExecutor(pickle_tasks=True), lambda task, tick: task, [1])


def test_a_killed_worker_is_replaced_and_its_task_done(cluster: DaskExecutor, tmp_path: Path) -> None:
    """Kill -9 of a worker loses nothing."""
    found = collect(cluster, tasks.die_once, [str(tmp_path / "a"), str(tmp_path / "b")])
    assert os.getpid() not in found.values()


def test_closing_the_iterator_stops_the_tasks(cluster: DaskExecutor, tmp_path: Path) -> None:
    """Tasks that were begun stop at their next tick: nothing writes after its driver has left."""
    marks = [tmp_path / name for name in "abc"]

    def stop(index: int, done: float) -> None:
        raise KeyboardInterrupt

    run = cluster.run(tasks.mark_when_done, [str(m) for m in marks], stage="s", observe=stop)
    with pytest.raises(KeyboardInterrupt):
        list(run)
    time.sleep(3.5)
    assert not any(m.exists() for m in marks)


def test_everything_listens_on_loopback_only(cluster: DaskExecutor) -> None:
    """Scheduler, workers and dashboard, by the sockets of the whole process tree."""
    collect(cluster, tasks.walk, [(1, 0.0)])
    this = psutil.Process()
    listening = [
        connection.laddr.ip
        for process in (this, *this.children(recursive=True))
        for connection in process.net_connections()
        if connection.status == psutil.CONN_LISTEN
    ]
    assert len(listening) >= 4
    assert set(listening) == {"127.0.0.1"}
    assert cluster.dashboard is not None
    assert cluster.dashboard.startswith("http://127.0.0.1:")


def test_the_callers_client_is_used_and_left_open(cluster: DaskExecutor) -> None:
    """A client that somebody else made survives the executor."""
    client = cluster._client
    with make_executor(client=client) as executor:
        assert (executor.name, executor.workers) == ("scheduler", 2)
        assert collect(executor, tasks.walk, [(3, 0.0)]) == {0: 3}
    assert client is not None
    assert client.status == "running"


def test_a_scheduler_is_reached_by_address_and_by_file(cluster: DaskExecutor, tmp_path: Path) -> None:
    """Both ways of --scheduler do the same work."""
    assert cluster._client is not None
    address = cluster._client.cluster.scheduler_address
    file = tmp_path / "scheduler.json"
    file.write_text(f'{{"address": "{address}"}}')
    for place in (address, str(file)):
        with make_executor(scheduler=place) as executor:
            assert collect(executor, tasks.walk, [(2, 0.0), (1, 0.0)]) == {0: 2, 1: 1}


@pytest.mark.parametrize("place", ["tcp://127.0.0.1:9", "nothing://here", "no-such-file.json"])
def test_a_scheduler_that_does_not_answer_is_bad_input(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line that names --scheduler, within the time-out."""
    monkeypatch.setenv("X","1")
    rule = "`--scheduler` must be the address or the file of a running Dask scheduler; got " + place
    with pytest.raises(InputError, match=rule + r" \(\w+\); start one with `dask scheduler`"):
        make_executor(scheduler=place)


def test_a_cluster_of_other_versions_is_refused(cluster: DaskExecutor, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both lists of versions are named."""
    monkeypatch.setattr("ipsdist.runtime.dask_executor.platform.python_version", lambda: "2.7.18")
    with pytest.raises(
        InputError, match=r"`client` must have the versions .*; got Python 3.* on .* and Python 2\.7, .* here"
    ):
        make_executor(client=cluster._client)


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"workers": 0}, "`--workers` must be at least 1; got 0; leave it out to work in this process"),
        ({"workers": 2, "scheduler": "a:1"}, "`--workers` cannot be combined with `--scheduler`; give one of them"),
    ],
)
def test_contradicting_choices_are_refused(choices: dict[str, Any], message: str) -> None:
    """Before anything is started."""
    with pytest.raises(InputError) as caught:
        make_executor(**choices)
    assert str(caught.value) == message


def test_local_processes_start_with_the_first_task_only() -> None:
    """A run with nothing left to do starts no cluster."""
    before = len(psutil.Process().children(recursive=True))
    with make_executor(workers=3) as executor:
        assert (executor.name, executor.workers) == ("local", 3)
        assert collect(executor, tasks.walk, []) == {}
        assert len(psutil.Process().children(recursive=True)) == before
