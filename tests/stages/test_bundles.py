"""Which replicas one worker steps at the same time, and what the threads of a bundle do to each other."""

from __future__ import annotations

import threading
import time
from functools import partial

import pytest

from ipsdist.config import resolve
from ipsdist.model.words import size
from ipsdist.runs.inputs import read_inputs
from ipsdist.runs.plan import planned
from ipsdist.runs.setup import prepare
from ipsdist.runtime.epochs import Capacity
from ipsdist.stages import bundles
from ipsdist.stages.base import Task
from ipsdist.stages.blocks import expected_nodes
from ipsdist.stages.bundles import do_bundle, grouped, replica_bundles, side_by_side
from ipsdist.stages.clock import Clock, beside_others
from ipsdist.stages.device_plan import device_plan
from ipsdist.stages.devices import Card
from ipsdist.stages.gang_size import PROCESS_BYTES, USABLE, member_bytes

CARD = Card("a card", 10**11)
ONE = Capacity(1, None)
COARSE = "force.spacing=0.03125"  # many replicas ask for a finer mesh


@pytest.fixture
def card(monkeypatch):
    """A card in this process, in words."""
    monkeypatch.setattr(bundles, "card_here", lambda: CARD)


def tasks_of(*sets, source="cubic"):
    """Return the tasks of a run's replicas and its setup."""
    config = resolve(source, sets)
    setup = prepare(config, read_inputs(config))
    return [Task("s", "particles", f"replica-{r}", "f", config, (r,), 1.0, 1) for r in range(setup.replicas)], setup


# Which


@pytest.mark.parametrize("workers", [1, 2, 3, 7])
@pytest.mark.parametrize(
    "shares", [[1 / 64] * 6, [1 / 64] * 100, [1 / 64] * 64, [0.3] * 10, [1.0, 0.01, 0.5, 0.4, 3.0]]
)
def test_groups_are_whole_in_order_and_hold_no_more_than_fits(shares, workers):
    """Every place once; as many as workers, if there are so many tasks; equal tasks are parted evenly."""
    groups = grouped(shares, workers)
    assert [place for group in groups for place in group] == list(range(len(shares)))
    assert all(len(group) == 1 or sum(shares[k] for k in group) < 1.0 + 1e-6 for group in groups)
    if len(set(shares)) == 1:
        assert len(groups) >= min(workers, len(shares))
        assert max(map(len, groups)) - min(map(len, groups)) <= 1


def test_64_replicas_are_the_most(card):
    """On one worker; with two, each has half of a hundred."""
    tasks, setup = tasks_of("system.replicas=100", COARSE)
    assert [len(group) for group in replica_bundles(tasks, setup, ONE)] == [50, 50]
    assert [len(group) for group in replica_bundles(tasks[:64], setup, ONE)] == [64]
    assert [len(group) for group in replica_bundles(tasks[:65], setup, Capacity(3, None))] == [22, 21, 22]
    assert replica_bundles(tasks[:3], setup, Capacity(3, None)) == []


@pytest.mark.parametrize(
    ("sets", "source"),
    [
        (("run.device=cpu", COARSE), "cubic"),
        (("system.particles=65536", COARSE), "cubic"),
        (("force.method=prefix", COARSE), "cubic"),
        ((), "radial_2d"),
        (("force.spacing=0.015625",), "cubic"),
    ],
)
def test_what_cannot_leap_goes_by_itself(sets, source, card):
    """Off the card, too many, exact forces, a plane, a long mesh; beside the largest that can."""
    tasks, setup = tasks_of("system.replicas=4", *sets, source=source)
    assert replica_bundles(tasks, setup, ONE) == []
    tasks, setup = tasks_of("system.replicas=4", "system.particles=65535", COARSE)
    assert expected_nodes(setup) <= 400
    assert len(replica_bundles(tasks, setup, ONE)) == 1


def test_where_no_card_is_known_only_those_who_want_one_go_together(monkeypatch):
    """Workers elsewhere may have what this process has not."""
    monkeypatch.setattr(bundles, "card_here", lambda: "no GPU was found")
    assert replica_bundles(*tasks_of("system.replicas=4", COARSE), ONE) == []
    assert replica_bundles(*tasks_of("system.replicas=4", COARSE, "run.device=gpu"), ONE) == [[0, 1, 2, 3]]


def test_a_bundle_fits_the_memory_of_its_worker_and_of_the_card(monkeypatch):
    """Five replicas by five thirds of the bytes of three; a card that two workers share has half for each."""
    tasks, setup = tasks_of("system.replicas=40", "run.device=gpu", COARSE)
    config = tasks[0].config
    monkeypatch.setattr(bundles, "card_here", lambda: "none")
    memory = round((PROCESS_BYTES + 5.01 * member_bytes(config, setup, 1)) / USABLE)
    assert {len(group) for group in replica_bundles(tasks, setup, Capacity(1, memory))} == {5}
    needed = device_plan(10**12, config, setup, 1).bytes
    monkeypatch.setattr(bundles, "card_here", lambda: Card("small", round(8.2 * needed / USABLE)))
    assert {len(group) for group in replica_bundles(tasks, setup, ONE)} == {8}
    assert {len(group) for group in replica_bundles(tasks, setup, Capacity(2, None))} == {4}


def test_the_plan_counts_them_all():
    """Memory and disk of six at the same time, on a card that is known."""
    config = resolve("cubic", ["system.replicas=6", COARSE])
    setup = prepare(config, read_inputs(config))
    plan, alone = planned(config, setup, ONE, card=CARD), planned(config, setup, ONE)
    assert (plan.bundle, alone.bundle) == (6, 1)
    assert plan.worker_bytes - PROCESS_BYTES == 6 * plan.rows[0].bytes_per_task
    assert plan.disk_bytes - plan.store_bytes == 6 * (alone.disk_bytes - alone.store_bytes)
    on_worker = planned(config, setup, Capacity(1, 10**10), card=CARD).text()
    assert f"({size(6 * plan.rows[0].bytes_per_task)} for 6 replicas at the same time, " in on_worker


# At the same time


def test_all_are_done_at_once_and_told_of_in_one_thread():
    """Each waits for the others; answers keep their order, and what was done before counts."""
    meet, said, heard_by = threading.Barrier(5), [], set()

    def work(number, tick):
        tick(number + 1.0)
        meet.wait(5)
        return number

    def tick(done):
        said.append(done)
        heard_by.add(threading.current_thread())

    assert side_by_side([partial(work, k) for k in range(5)], tick, [10.0, 0.0, 0.0, 0.0, 0.0]) == list(range(5))
    assert said[-1] == 15.0
    assert heard_by == {threading.current_thread()}


def endless(begun, ended, tick):
    """Tick until somebody stops it."""
    begun.set()
    try:
        while True:
            tick(1.0)
            time.sleep(0.001)
    finally:
        ended.append(threading.current_thread())


class Failure(Exception):
    """What goes wrong."""


def test_an_error_of_one_is_raised_as_itself_and_stops_the_others():
    """None of them works on when it is raised."""
    begun, ended, error = threading.Event(), [], Failure("of one")

    def fails(tick):
        begun.wait(5)
        raise error

    with pytest.raises(Failure) as raised:
        side_by_side([partial(endless, begun, ended), fails], lambda done: None, [0.0, 0.0])
    assert raised.value is error
    assert len(ended) == 1
    assert not ended[0].is_alive()


@pytest.mark.parametrize("kind", [Failure, KeyboardInterrupt])
def test_who_waits_can_stop_all(kind):
    """A driver that has gone, a lock that was lost, Ctrl-C."""
    ended = []

    def tick(done):
        raise kind

    with pytest.raises(kind):
        side_by_side([partial(endless, threading.Event(), ended)] * 3, tick, [0.0] * 3)
    assert not any(thread.is_alive() for thread in ended)


def test_without_a_card_one_follows_the_other():
    """In this thread; the sum of what they say grows."""
    tasks, _ = tasks_of("system.replicas=3")
    said, threads = [], []

    def do(task, tick):
        threads.append(threading.current_thread())
        tick(10.0 * task.index[0] + 1.0)
        return {"replica": task.index[0]}

    payloads = do_bundle(do, tasks, said.append, [5.0, 0.0, 7.0])
    assert [payload["replica"] for payload in payloads] == [0, 1, 2]
    assert set(threads) == {threading.current_thread()}
    assert said == [8.0, 19.0, 33.0]


# What it costs


def spin(seconds):
    """Take so much CPU time of this thread."""
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


def test_cpu_seconds_of_threads_are_counted_once():
    """Each counts its own; a clock of the process has them all, one of a thread beside others its own only."""

    def work(tick):
        clock = Clock()
        spin(0.05)
        return clock.cost() | clock.place()

    whole = Clock()
    with beside_others():
        outer = Clock()
    costs = side_by_side([work] * 4, lambda done: None, [0.0] * 4)
    spent = sum(cost["cpu_seconds"] for cost in costs)
    assert 0.2 <= spent <= whole.cost()["cpu_seconds"]
    assert outer.cost()["cpu_seconds"] < 0.1
    assert all(whole.counts(cost) and not outer.counts(cost) for cost in costs)
    assert not whole.counts({**costs[0], "process": -1})
