"""A card is asked once a process whether it has the bits of the CPU; where it has not, the CPU steps, or nobody."""

from __future__ import annotations

import threading
import time
import warnings
from types import SimpleNamespace

import pytest

from ipsdist.arrays import DeviceMemoryError
from ipsdist.config import resolve
from ipsdist.model.errors import RunError
from ipsdist.numerics.particles import device_check
from ipsdist.stages import devices, proving
from ipsdist.stages.devices import Card, card_here, device_of, refuted
from tests.host_device import COMPILER
from tests.sabotage import Sabotaged

WRONG = "the bits of NVIDIA H200 differ from the CPU's (first: the count)"


@pytest.fixture
def card(monkeypatch):
    """A card in this process: what its checks say, one after the other (None when there is no more), and which were."""
    found = SimpleNamespace(says=[], asked=[], slow=0.0)

    def check(device, dimension, dtype):
        found.asked.append((dimension, dtype))
        time.sleep(found.slow)
        said = found.says.pop(0) if found.says else None
        if isinstance(said, Exception):
            raise said
        return said

    device = SimpleNamespace(name="NVIDIA H200", free_bytes=lambda: 10**9)
    monkeypatch.setattr(devices, "find_device", lambda: device)
    monkeypatch.setattr(device_check, "check", check)
    _forget(monkeypatch)
    yield found
    devices._first.cache_clear()


def _forget(monkeypatch):
    monkeypatch.setattr(proving, "_FOUND", {})
    monkeypatch.setattr(proving, "_TOLD", set())
    devices._first.cache_clear()


def test_once_for_each_dimension_and_type(card):
    """Not for each run, and not for what steps on the CPU."""
    for sets in (["run.device=cpu"], ["force.method=prefix"], [], ["run.device=gpu"], [], ["run.precision=float32"]):
        device_of(resolve("cubic", sets))
    for source in ("radial_2d", "cubic", "radial_2d"):
        assert device_of(resolve(source)).name == "NVIDIA H200"
    assert card.asked == [(1, "float64"), (1, "float32"), (2, "float64")]
    assert card_here() == Card("NVIDIA H200", 10**9)


def test_threads_wait_for_one_check(card):
    """Whoever comes while it is made."""
    card.slow, found = 0.05, []
    config = resolve("cubic")
    threads = [threading.Thread(target=lambda: found.append(device_of(config).name)) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (found, card.asked) == (["NVIDIA H200"] * 5, [(1, "float64")])


def test_auto_goes_on_on_the_cpu(card):
    """And warns, once; the card is not asked again, nor used by any other run of this process."""
    card.says = [WRONG]
    said = f"the particles are stepped on the CPU: {WRONG}; please report it with the table of benchmarks/gpu.py"
    with pytest.warns(RuntimeWarning) as caught:
        assert device_of(resolve("cubic")) is None
    assert [str(one.message) for one in caught] == [said]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert device_of(resolve("cubic")) is None
        assert device_of(resolve("radial_2d")) is None
    assert card.asked == [(1, "float64")]
    assert card_here() == WRONG


def test_gpu_is_refused(card):
    """By the work, where the driver could not ask before."""
    card.says = [WRONG]
    with pytest.raises(RunError) as error:
        device_of(resolve("cubic", ["run.device=gpu"]))
    told = (
        f'run.device is "gpu", but in the process at work {WRONG}; use run.device = "cpu" and report it with the table'
    )
    assert str(error.value) == f"{told} of benchmarks/gpu.py"


def test_who_asked_before_tells_it(card):
    """No warning comes after the line that a plan has."""
    card.says = [WRONG]
    assert refuted(resolve("cubic")) == WRONG
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert device_of(resolve("cubic")) is None


def test_a_full_card_is_asked_again(card):
    """It has shown nothing: the run will say what is missing, and the next one asks."""
    card.says = [DeviceMemoryError(3, 2)]
    config = resolve("cubic")
    for _ in range(3):
        assert device_of(config).name == "NVIDIA H200"
    assert card.asked == [(1, "float64")] * 2


def test_another_card_is_another(card, monkeypatch):
    """What was found belongs to its device."""
    card.says = [WRONG]
    assert refuted(resolve("cubic")) == WRONG
    other = SimpleNamespace(name="other", free_bytes=lambda: 1)
    monkeypatch.setattr(devices, "find_device", lambda: other)
    devices._first.cache_clear()
    assert refuted(resolve("cubic")) is None
    assert device_of(resolve("cubic")) is other


def test_no_card_is_not_refuted(monkeypatch):
    """There is nothing to ask."""

    def find():
        raise devices.NoDeviceError("no GPU was found")

    monkeypatch.setattr(devices, "find_device", find)
    devices._first.cache_clear()
    assert refuted(resolve("cubic")) is None
    devices._first.cache_clear()


@pytest.mark.skipif(COMPILER is None, reason="there is no g++")
def test_a_card_that_is_wrong_in_truth(monkeypatch):
    """The check itself, on a device whose steps are off by a bit."""
    device = Sabotaged("step")
    monkeypatch.setattr(devices, "find_device", lambda: device)
    _forget(monkeypatch)
    found = refuted(resolve("cubic", ["run.precision=float32"]))
    devices._first.cache_clear()
    assert found.startswith(
        "the bits of host differ from the CPU's (first: the positions after step 1, line of 100 nodes"
    )
