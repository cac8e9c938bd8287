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
from ipsdist.runtime import dask_executor
from ipsdist.runtime.clusters import local
from ipsdist.runtime.dask_executor import DaskExecutor
from ipsdist.runtime.epochs import Capacity
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


def test_a_killed_worker_is_replaced_and_its_task_done(
    cluster: DaskExecutor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kill -9 of a worker loses nothing, and is said once."""
    told: list[str] = []
    monkeypatch.setattr(cluster, "_tell", told.append)
    (tmp_path / "b").touch()  # the second does not die
    found = collect(cluster, tasks.die_once, [str(tmp_path / "a"), str(tmp_path / "b")])
    assert os.getpid() not in found.values()
    assert len(told) == 1
    assert told[0].startswith("particles: the worker at tcp://127.0.0.1:")
    assert told[0].endswith(" was lost; what it did is done again by another")


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


def test_workers_keep_the_memory_that_they_freed(cluster: DaskExecutor) -> None:
    """Dask's own choice, 64 KB, has every array of more than 128 KB taken from the system page by page."""
    names = ["MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_"]
    if not any(name in os.environ for name in names):  # what the user exports wins
        assert collect(cluster, tasks.of_environment, names) == {0: str(2**26), 1: str(2**25)}


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


def test_a_client_is_one_of_dask() -> None:
    """An address in its place is refused, with where it belongs."""
    with pytest.raises(InputError, match=r"`client` must be a distributed.Client; got 'tcp://a:1'; .* scheduler="):
        make_executor(client="tcp://a:1")


@pytest.mark.parametrize("idle", [True, False])
def test_no_performance_report_of_no_work_is_said(idle: bool, tmp_path: Path) -> None:
    """Whether that was known beforehand or not."""
    pytest.importorskip("bokeh")
    told: list[str] = []
    with make_executor(workers=1, performance_report=tmp_path / "a.html", tell=told.append, idle=idle):
        pass
    assert told == ["no performance report: there was nothing left for workers to do"]


def test_a_dashboard_without_bokeh_is_not_told(cluster: DaskExecutor, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its page would only say that bokeh is missing; and it is told with the first work, after the plan."""
    for there in (True, False):
        monkeypatch.setattr(dask_executor, "has_dashboard", lambda there=there: there)
        told: list[str] = []
        with make_executor(client=cluster._started(), tell=told.append) as executor:
            assert told == []
            collect(executor, tasks.walk, [(1, 0.0)])
        assert told == [f"dashboard {cluster.dashboard}"] * there


def test_local_processes_start_with_the_first_task_only() -> None:
    """A run with nothing left to do starts no cluster."""
    before = len(psutil.Process().children(recursive=True))
    with make_executor(workers=3) as executor:
        assert (executor.name, executor.workers) == ("local", 3)
        assert collect(executor, tasks.walk, []) == {}
        assert len(psutil.Process().children(recursive=True)) == before


def test_a_package_that_a_worker_lacks_is_one_line(cluster: DaskExecutor) -> None:
    """It is named, with what to do."""
    with pytest.raises(RunError) as caught:
        collect(cluster, tasks.lack, ["cupy"])
    said = "a worker lacks the package cupy; install it there, then give the same command again: what was finished is"
    assert str(caught.value).startswith(said)


def test_a_task_that_ends_its_workers_is_tolerated_and_takes_no_other_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that stood beside it when it killed are done again; with one death allowed, all of them are suspect."""
    monkeypatch.setitem(local._CONFIGURATION, "distributed.scheduler.allowed-failures", 0)
    with make_executor(workers=1) as executor:
        run = executor.run(tasks.die_if, [False, True, False], stage="study", observe=silent, tolerate=True)
        found = dict(run)
        assert isinstance(found.pop(1), RunError)
        assert {type(answer) for answer in found.values()} == {int}
        assert len(found) == 2


def test_capacity_is_known_before_anything_starts() -> None:
    """One worker without a limit here; so many with an equal share of the memory there."""
    assert SerialExecutor().capacity == Capacity(1, None)
    with make_executor(workers=2) as executor:
        before = executor.capacity
        assert before.workers == 2
        assert before.memory is not None
        assert 0 < before.memory <= psutil.virtual_memory().total // 2


def test_a_performance_report_needs_workers_a_place_and_is_written(cluster: DaskExecutor, tmp_path: Path) -> None:
    """Also when the work ends badly; the dashboard is told once, and where the report is."""
    pytest.importorskip("bokeh")
    with pytest.raises(InputError, match="`--performance-report` is a report of Dask workers; got none of them; add"):
        make_executor(performance_report=tmp_path / "a.html")
    with pytest.raises(InputError, match="`--performance-report` must be a file in a directory that exists"):
        make_executor(client=cluster._client, performance_report=tmp_path / "none" / "a.html")
    told: list[str] = []
    place = tmp_path / "report.html"
    with (
        pytest.raises(RunError, match="blew up"),
        make_executor(client=cluster._started(), performance_report=place, tell=told.append) as executor,
    ):
        collect(executor, tasks.refuse, [2])
    assert "refuse" in place.read_text() or "particles" in place.read_text()
    assert told == [f"dashboard {cluster.dashboard}", f"performance report {place}"]


def test_every_worker_elsewhere_is_asked_once(cluster: DaskExecutor) -> None:
    """Local ones are not; an error of one is its answer."""
    assert cluster.everywhere(os.getpid) == {}
    with make_executor(client=cluster._started()) as executor:
        answers = executor.everywhere(os.getpid)
        assert len(answers) == len(set(answers.values())) == 2
        assert all(name.startswith("worker tcp://127.0.0.1:") for name in answers)
        failed = executor.everywhere(int, "x")
        assert {type(error) for error in failed.values()} == {ValueError}
