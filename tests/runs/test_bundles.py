"""Runs of many small replicas that a card, played by the host, steps at the same time: the bits of the CPU."""

from __future__ import annotations

import time

import dask
import distributed
import pytest

import ipsdist as ips
from ipsdist.config import resolve
from ipsdist.model.errors import RunError
from ipsdist.runs import pipeline
from ipsdist.runtime.executor import SerialExecutor
from ipsdist.stages import particles
from ipsdist.storage import Store, place
from tests.cards import in_place, largest_leap
from tests.host_device import COMPILER, HostDevice
from tests.runs.samples import answer, write
from tests.runs.test_bits import arrays, particles_of

pytestmark = pytest.mark.skipif(COMPILER is None, reason="the kernels are compiled for the host by g++")

SIX = ["system.replicas=6", "system.particles=600", "time.horizon=0.06", "time.positions_at=[]", "grid.cells=60"]
CPU = [*SIX, 'run.device="cpu"']


@pytest.fixture
def card(monkeypatch):
    """A card in this process."""
    with in_place(HostDevice(blocks=64), monkeypatch) as device:
        yield device


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The run on the CPU: its file, its arrays, its answer."""
    folder = tmp_path_factory.mktemp("alone")
    source = write(folder, 1)
    outcome = ips.run(source, folder / "cpu", sets=CPU, draw=False)
    return source, arrays(folder / "cpu"), answer(outcome.result)


def test_six_replicas_at_once_leave_every_bit(alone, card, tmp_path, monkeypatch):
    """Every array and the answer, through pickle; several were in one launch; the progress grows to the end."""
    source, expected, result = alone
    real, events = pipeline.Options.executor, []
    monkeypatch.setattr(
        pipeline.Options, "executor", lambda own, idle=False: real(own, idle) and SerialExecutor(pickle_tasks=True)
    )
    outcome = ips.run(source, tmp_path / "gpu", sets=SIX, draw=False, observe=events.append)
    assert arrays(tmp_path / "gpu") == expected
    assert {**answer(outcome.result), "device": "cpu"} == result
    assert largest_leap(card) > 1
    done = [event.done for event in events if event.stage == "particles"]
    assert done == sorted(done)
    assert done[-1] == events[0].total == 6 * 600 * 60
    cost = Store.open(tmp_path / "gpu" / "store.zarr").record("particles/done")["cost"]
    payloads = [Store.open(tmp_path / "gpu" / "store.zarr").record(f"particles/replica-{r}") for r in range(6)]
    assert sum(payload["cost"]["cpu_seconds"] for payload in payloads) <= cost["cpu_seconds"]


def test_a_replica_that_fails_ends_the_run_and_the_next_command_does_what_is_left(alone, card, tmp_path, monkeypatch):
    """What others have committed stays; the same bits in the end."""
    source, expected, _ = alone
    config, out, begun, step = resolve(source, SIX), tmp_path / "gpu", [], particles.step_alone

    def failing(store, task, tick):
        begun.append(task.index[0])
        while task.index == (3,) and store.record("particles/replica-0") is None:
            time.sleep(0.002)
        if task.index == (3,) and len(begun) == 6:
            raise RunError("the third has had enough")
        if task.index != (0,):  # the others are still at work
            while store.record("particles/replica-0") is None or begun.count(3) == 1:
                tick(0.0)
                time.sleep(0.002)
        return step(store, task, tick)

    with monkeypatch.context() as patch:
        patch.setattr(particles, "step_alone", failing)
        with pytest.raises(RunError, match=r"^the third has had enough$"):
            pipeline.run(config, place(out), upto="particles")
    assert sorted(begun) == [0, 1, 2, 3, 4, 5]
    first = Store.open(out / "store.zarr").record("particles/replica-0")
    again = []
    monkeypatch.setattr(particles, "step_alone", lambda *given: (again.append(given[1].index[0]), step(*given))[1])
    pipeline.run(config, place(out), upto="particles")
    assert sorted(again) == [1, 2, 3, 4, 5]
    assert Store.open(out / "store.zarr").record("particles/replica-0") == first
    assert particles_of(arrays(out)) == particles_of(expected)


def test_two_workers_have_a_bundle_each(alone, card, tmp_path):
    """Threads of this process that share its card: three replicas each."""
    source, expected, _ = alone
    options = {"processes": False, "threads_per_worker": 1, "dashboard_address": "127.0.0.1:0", "memory_limit": 0}
    with (
        distributed.LocalCluster(n_workers=2, **options) as cluster,
        distributed.Client(cluster, set_as_default=False) as client,
        dask.config.set({"ipsdist.gang.size": 1}),
    ):
        config = resolve(source, [*SIX, 'run.device="gpu"'])
        pipeline.run(config, place(tmp_path / "gpu"), pipeline.Options(client=client), upto="particles")
    assert particles_of(arrays(tmp_path / "gpu")) == particles_of(expected)
    assert largest_leap(card) > 1
