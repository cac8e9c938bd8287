"""Whole runs whose particles lie on a device, which the host plays: the bits of the CPU, every array and the answer."""

from __future__ import annotations

import dask
import distributed
import pytest

import ipsdist as ips
from ipsdist.config import resolve
from ipsdist.model.errors import InputError, RunError
from ipsdist.runs import pipeline
from ipsdist.stages import devices
from ipsdist.storage import Store, place
from tests.host_device import COMPILER, HostDevice
from tests.runs.samples import answer, write
from tests.runs.test_bits import arrays, particles_of

pytestmark = pytest.mark.skipif(COMPILER is None, reason="the kernels are compiled for the host by g++")

SPACE = ["system.dimension=3", "system.particles=300", "grid.cells=12", "time.horizon=0.05"]


@pytest.fixture
def card(monkeypatch):
    """Return a function that puts a device of so many bytes of memory into this machine."""

    def put(memory: int | None = None) -> HostDevice:
        device = HostDevice() if memory is None else HostDevice(memory=memory)
        monkeypatch.setattr(devices, "find_device", lambda number=0: device)
        devices._first.cache_clear()
        return device

    yield put
    devices._first.cache_clear()


def same(result: dict) -> dict:
    """Return what no device changes of an answer."""
    return {name: value for name, value in answer(result).items() if name != "device"}


@pytest.mark.parametrize("precision", ["float64", "float32"])
@pytest.mark.parametrize("dimension", [1, 2, 3])
def test_a_device_changes_no_bit(dimension, precision, card, tmp_path):
    """Deposits, fluxes, densities, equations, kernel and report are those of the CPU."""
    source = write(tmp_path, min(dimension, 2))
    sets = [f'run.precision="{precision}"', *(SPACE if dimension == 3 else [])]
    expected = ips.run(source, tmp_path / "cpu", sets=[*sets, 'run.device="cpu"'], draw=False)
    device = card()
    found = ips.run(source, tmp_path / "gpu", sets=[*sets, 'run.device="gpu"'], draw=False)
    assert arrays(tmp_path / "gpu") == arrays(tmp_path / "cpu")
    assert same(found.result) == same(expected.result)
    assert (expected.result["device"], found.result["device"]) == ("cpu", device.name)


@pytest.mark.parametrize(("labelled", "memory"), [("true", 33_000_000), ("false", 26_000_000)])
def test_particles_that_pass_through_the_card_change_no_bit(labelled, memory, card, tmp_path):
    """A card that holds a part of them only."""
    many = ["system.particles=200000", "time.horizon=0.008", f"data.labelled={labelled}", "run.chunk=4096"]
    source, device, told = write(tmp_path, 2), None, []
    for name in ("cpu", "gpu"):
        if name == "gpu":
            device = card(memory)
        config = resolve(source, [*many, f'run.device="{name}"'])
        pipeline.run(config, place(tmp_path / name), pipeline.Options(tell=told.append), upto="particles")
    assert any("streamed from the host, 4096 particles at a time" in line for line in told), told
    assert {name for name, *_ in device.launches} >= {"step", "deposit", "draw_uniform"}
    assert particles_of(arrays(tmp_path / "gpu")) == particles_of(arrays(tmp_path / "cpu"))


def test_a_card_that_is_full_says_so_and_the_work_goes_on_without_it(card, tmp_path):
    """One line with both numbers; the command goes on with the CPU, and ends with the bits of a run without a card."""
    source = write(tmp_path, 1)
    ips.run(source, tmp_path / "cpu", sets=['run.device="cpu"'], draw=False)
    device = card()
    device.free_bytes = lambda: 30_000 - device._used if device._used else 10**9  # others take it in that moment
    words = r"^host has .* kB free, and .* kB more were asked for; another process"
    with pytest.raises(RunError, match=words) as error:
        ips.run(source, tmp_path / "gpu", sets=['run.device="gpu"'], draw=False)
    assert "\n" not in str(error.value)
    ips.run(source, tmp_path / "gpu", sets=['run.device="cpu"'], draw=False)
    assert arrays(tmp_path / "gpu") == arrays(tmp_path / "cpu")


def test_two_workers_share_a_card(card, tmp_path):
    """A gang of two that step on one device, and sum on the host: no bit changes."""
    source = write(tmp_path, 1)
    pipeline.run(resolve(source, ['run.device="cpu"']), place(tmp_path / "cpu"), upto="particles")
    card()
    options = {"processes": False, "threads_per_worker": 1, "dashboard_address": "127.0.0.1:0", "memory_limit": 0}
    with (
        distributed.LocalCluster(n_workers=2, **options) as cluster,
        distributed.Client(cluster, set_as_default=False) as client,
        dask.config.set({"ipsdist.gang.size": 2, "ipsdist.gang.epoch": 0.2}),
    ):
        config = resolve(source, ['run.device="gpu"'])
        pipeline.run(config, place(tmp_path / "gpu"), pipeline.Options(client=client), upto="particles")
    record = Store.open(tmp_path / "gpu" / "store.zarr").record("particles/replica-0")
    assert record["devices"] == [devices.card_here().name]
    assert particles_of(arrays(tmp_path / "gpu")) == particles_of(arrays(tmp_path / "cpu"))


@pytest.mark.parametrize("dimension", [1, 2])
def test_direct_sums_of_a_device_are_those_of_the_cpu(dimension, card, tmp_path):
    """Where the kernel takes only what rounds alike everywhere, to the last bit; and no other exact force."""
    small = ["force.method=direct", "system.particles=400", "time.horizon=0.02", "time.positions_at=[]"]
    source, device = write(tmp_path, dimension), None
    for name in ("cpu", "gpu"):
        device = card() if name == "gpu" else None
        sets = [*small, f'run.device="{name}"', f'force.device="{name}"']
        pipeline.run(resolve(source, sets), place(tmp_path / name), upto="particles")
    assert {launch[0] for launch in device.launches} >= {"pairs", "move", "deposit"}
    assert particles_of(arrays(tmp_path / "gpu")) == particles_of(arrays(tmp_path / "cpu"))
    config, rule = resolve(source, [*small, 'run.device="gpu"']), "must be auto or mesh on a GPU, or direct with force"
    with pytest.raises(InputError, match=rule):
        pipeline.run(config, place(tmp_path / "refused"), upto="particles")
    with pytest.raises(InputError, match=r"`force.device` must be \"cpu\" where there is a potential"):
        resolve(source, [*small, 'run.device="gpu"', 'force.device="gpu"', 'system.potential="x**2"'])
    assert not (tmp_path / "refused").exists()
