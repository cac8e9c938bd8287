"""Which device steps the particles, and what is remembered of it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest

from ipsdist.arrays import NoDeviceError
from ipsdist.config import resolve
from ipsdist.model.errors import RunError
from ipsdist.numerics.particles import device_check
from ipsdist.stages import devices
from ipsdist.stages.devices import Card, device_of
from tests.host_device import HostDevice

GB = 10**9
CARD = SimpleNamespace(name="NVIDIA H200", free_bytes=lambda: 139 * GB)


@pytest.fixture(autouse=True)
def forgotten(monkeypatch):
    """What was found stays with its test. Cards that are but names have nothing to show (see test_proving.py)."""
    monkeypatch.setattr(device_check, "check", lambda device, dimension, dtype: None)
    devices._first.cache_clear()
    yield
    devices._first.cache_clear()


@pytest.fixture
def card(monkeypatch):
    """A GPU in this process; the list has the arguments with which it was looked for."""
    looked = []

    def find(*arguments, **named):
        looked.append((arguments, named))
        return CARD

    monkeypatch.setattr(devices, "find_device", find)
    return looked


@pytest.fixture
def none(monkeypatch):
    """No GPU in this process."""

    def find():
        raise NoDeviceError("no GPU was found")

    monkeypatch.setattr(devices, "find_device", find)


# Which


def test_cpu_does_not_look(card):
    """Nor is a GPU used by what steps nothing, or by forces that it has not."""
    assert device_of(resolve("cubic", ["run.device=cpu"])) is None
    assert device_of(resolve("cubic", ["data.source=mean_field"])) is None
    assert device_of(resolve("cubic", ["force.method=prefix"])) is None
    assert card == []


@pytest.mark.parametrize("device", ["auto", "gpu"])
def test_the_first_one_that_the_process_sees(device, card):
    """No number is asked for: CUDA_VISIBLE_DEVICES has put the worker's own first. It is looked for once."""
    config = resolve("cubic", [f"run.device={device}"])
    assert device_of(config) is CARD
    assert device_of(config) is CARD
    assert card == [((), {})]


def test_without_a_gpu(none):
    """Auto is the CPU then; gpu is an error of the work, for the driver has looked before."""
    assert device_of(resolve("cubic")) is None
    with pytest.raises(RunError) as error:
        device_of(resolve("cubic", ["run.device=gpu"]))
    said = 'run.device is "gpu", but in the process at work no GPU was found; '
    assert str(error.value) == said + 'give the command again with run.device = "auto"'


def test_what_a_worker_answers(none, monkeypatch):
    """The card, or why there is none."""
    assert devices.card_here() == "no GPU was found"
    monkeypatch.setattr(devices, "find_device", lambda: CARD)
    assert devices.card_here() == Card("NVIDIA H200", 139 * GB)


def test_leaps_of_all_threads_meet():
    """One place a device, whoever asks; another device has another."""
    device, other = HostDevice(), HostDevice()
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: devices.leaps_of(device), range(50)))
    assert len({id(leaps) for leaps in found}) == 1
    assert devices.leaps_of(other) is not found[0]


# What is remembered


def test_what_stepped_is_in_the_record(store):
    """The names of all devices, sorted; cpu where nothing is said."""
    assert devices.stepped_on(store) is None
    payloads = [{"devices": ["cpu", "NVIDIA H200"]}, {"devices": ["NVIDIA H200"]}]
    answer = devices.name_devices(store, resolve("cubic"), payloads)
    store.commit("particles/done", {"fingerprint": "f", **answer})
    assert devices.stepped_on(store) == "NVIDIA H200, cpu"
    assert devices.name_devices(store, resolve("cubic"), [{}]) == {"devices": ["cpu"]}
    store.commit("particles/done", {"fingerprint": "f"})
    assert devices.stepped_on(store) == "cpu"
