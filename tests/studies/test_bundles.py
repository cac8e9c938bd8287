"""Small runs of a study whose particles a card steps at the same time: the table of the CPU, run by run."""

from __future__ import annotations

import threading

import pytest

import ipsdist as ips
from ipsdist.model.errors import RunError
from ipsdist.runtime.epochs import Capacity
from ipsdist.stages import particles
from ipsdist.storage import Store
from ipsdist.studies import bundles
from ipsdist.studies.tasks import RunTask
from tests.cards import in_place, largest_leap
from tests.host_device import COMPILER, HostDevice
from tests.runs.test_bits import arrays
from tests.studies.samples import cells, write

pytestmark = pytest.mark.skipif(COMPILER is None, reason="the kernels are compiled for the host by g++")

FOUR = """
name = "four"
case = "small1.toml"
seeds = 2

[set]
system.particles = 600
time.horizon = 0.06
time.positions_at = []
grid.cells = 60

[[vary]]
key = "system.diffusion"
values = [1.0, 2.0]
"""


@pytest.fixture
def card(monkeypatch):
    """A card in this process."""
    with in_place(HostDevice(blocks=64), monkeypatch) as device:
        yield device


@pytest.fixture
def stepped(monkeypatch):
    """Return the runs whose particles were stepped, with their threads; one that is ``broken`` fails."""
    found, step = [], particles.step_alone

    def seen(store, task, tick):
        name = store.place.parent.name
        found.append((name, threading.current_thread()))
        if name in seen.broken:
            raise RunError("this one is broken")
        return step(store, task, tick)

    seen.broken, seen.found = set(), found
    monkeypatch.setattr(particles, "step_alone", seen)
    return seen


def test_four_simulations_at_once(tmp_path, stepped, card):
    """Their particles are stepped once, beside those of the others; every array and every cell are those of the CPU."""
    source, events = write(tmp_path, FOUR), []
    on_card = ips.study(source, tmp_path / "gpu", observe=events.append)
    assert len({name for name, _ in stepped.found}) == len(stepped.found) == 4
    assert threading.current_thread() not in {thread for _, thread in stepped.found}
    assert largest_leap(card) > 1
    done = [event.done for event in events]
    assert done == sorted(done)
    assert done[-1] == 4.0
    on_cpu = ips.study(source, tmp_path / "cpu", sets=['run.device="cpu"'])
    assert len(stepped.found) == 8
    assert cells(on_card.rows) == cells(on_cpu.rows)
    for row in on_card.rows:
        assert arrays(tmp_path / "gpu" / "runs" / row["run"]) == arrays(tmp_path / "cpu" / "runs" / row["run"])
    home = tmp_path / "gpu" / "runs" / on_card.rows[0]["run"]
    assert Store.open(home / "store.zarr").record("particles/done")["devices"] == ["host"]


def test_a_run_that_fails_there_says_why_in_its_row(tmp_path, stepped, card):
    """It is tried once more by itself; the others do not notice, and the next command does it."""
    source = write(tmp_path, FOUR.partition("[[vary]]")[0].replace("seeds = 2", "seeds = 4"))
    stepped.broken.add("seed-2")
    study = ips.study(source, tmp_path / "out")
    assert [(row["run"], row["error"]) for row in study.failed] == [("seed-2", "this one is broken")]
    assert sorted(name for name, _ in stepped.found) == ["seed-0", "seed-1", "seed-2", "seed-2", "seed-3"]
    stepped.broken.clear()
    assert not ips.study(source, tmp_path / "out").failed


def test_which_runs_go_together(tmp_path, card, monkeypatch):
    """Small ones that get their particles from no other, where each worker has more than one of them."""
    from ipsdist.config import resolve
    from tests.runs.samples import write as written

    file = written(tmp_path, 1)

    def task(name, *sets, donors=()):
        return RunTask(str(tmp_path / name), resolve(file, sets), donors, False)

    small = [task(f"s{k}", f"run.seed={k}", "system.replicas=2") for k in range(4)]
    large = task("large", "system.particles=100000")
    taker = task("taker", "run.seed=1", donors=(str(tmp_path / "s1"),))
    off = task("off", 'run.device="cpu"')
    wrong = task("wrong", "time.step=0.05", "time.horizon=0.2")  # a step that does not resolve the force
    mixed = [small[0], large, small[1], taker, off, small[2], wrong, small[3]]
    assert bundles.run_bundles(mixed, Capacity(1, None)) == [[0, 2, 5, 7]]
    assert bundles.run_bundles(mixed, Capacity(2, None)) == [[0, 2], [5, 7]]
    assert bundles.run_bundles(mixed, Capacity(8, None)) == []
    assert bundles.run_bundles([small[0]], Capacity(1, None)) == []
    many = [task(f"m{k}", "system.replicas=30", "force.spacing=0.0625", f"run.seed={k}") for k in range(4)]
    assert bundles.run_bundles(many, Capacity(1, None)) == [[0, 1], [2, 3]]
    monkeypatch.setattr(bundles, "card_here", lambda: "no GPU was found")
    assert bundles.run_bundles(mixed, Capacity(1, None)) == []
