"""Equations on the arrays of a device: whole stages on array-api-strict, whose device refuses to mix with NumPy."""

from __future__ import annotations

import contextlib

import array_api_strict as strict
import numpy as np
import pytest

from ipsdist.config import resolve
from ipsdist.model.errors import InputError
from ipsdist.runs import pipeline
from ipsdist.storage import Store, place
from tests.cards import in_place
from tests.host_device import COMPILER, HostDevice
from tests.runs.samples import write

pytestmark = pytest.mark.skipif(COMPILER is None, reason="the kernels are compiled for the host by g++")


class StrictDevice(HostDevice):
    """Its kernels run on the host; inside ``computing`` its arrays are those of array-api-strict."""

    def __init__(self) -> None:
        super().__init__()
        self.taken = 0
        self._inside = False

    @contextlib.contextmanager
    def computing(self):
        """Let arrays be those of array-api-strict inside."""
        self._inside = True
        try:
            yield
        finally:
            self._inside = False

    def array(self, values, out=None):
        """Copy an array of the host."""
        if not self._inside:
            return super().array(values, out)
        self.taken += 1
        return strict.asarray(values, device=strict.Device("device1"))

    def copy(self, array, out=None):
        """Copy an array of the device, or one that was computed there."""
        if isinstance(array, type(strict.asarray(0))):
            return super().array(np.asarray(np.from_dlpack(array)), out)
        return super().copy(array, out)


@pytest.fixture
def card(monkeypatch):
    with in_place(StrictDevice(), monkeypatch) as device:
        yield device


@pytest.mark.parametrize("form", ["action", "likelihood", "weak", "strong"])
@pytest.mark.parametrize("dimension", [1, 2])
def test_equations_of_a_device_are_those_of_the_host(form, dimension, card, tmp_path):
    """To rounding, every array of the stage; the particles have the same bits."""
    small = [f'fit.form="{form}"', "time.horizon=0.04", "time.positions_at=[]", "system.particles=600"]
    found = {}
    for name in ("cpu", "gpu"):
        config = resolve(write(tmp_path, dimension), [*small, f'fit.device="{name}"'])
        pipeline.run(config, place(tmp_path / name), upto="equations")
        found[name] = Store.open(tmp_path / name / "store.zarr")
    assert card.taken > 0
    seen = 0
    for group in ("equations/replica-0/block-0", "equations/radial/replica-0/block-0"):
        for name in found["cpu"].names(group):
            expected, got = (found[k].read(f"{group}/{name}") for k in ("cpu", "gpu"))
            size = np.nanmax(np.abs(expected), initial=1e-300)
            np.testing.assert_allclose(got, expected, atol=1e-10 * size, rtol=0, err_msg=f"{group}/{name}")
            seen += 1
    assert seen >= 2
    assert np.array_equal(*(s.read("particles/replica-0/block-0/count") for s in found.values()))


def test_equations_stay_on_the_host_unless_asked(card, tmp_path):
    """So that no bit of a run depends on whether its particles were stepped on a GPU."""
    for name in ("cpu", "gpu"):
        config = resolve(write(tmp_path, 1), [f'run.device="{name}"', "time.horizon=0.1"])
        pipeline.run(config, place(tmp_path / name), upto="kernel")
    assert {launch[0] for launch in card.launches} >= {"deposit"}
    assert card.taken == 0
    one, other = (Store.open(tmp_path / name / "store.zarr").read("kernel/coefficients") for name in ("cpu", "gpu"))
    assert one.tobytes() == other.tobytes()


@pytest.mark.parametrize("precision", ["float64", "float32"])
def test_the_force_of_a_device_is_that_of_the_host(precision, card, tmp_path):
    """Its transforms round differently: steps differ by rounding, in counts by a few units; it has its fingerprint."""
    small = [
        "time.horizon=0.01",
        "system.particles=800",
        'system.potential="x**2/2+y**2"',
        f'run.precision="{precision}"',
    ]
    found = {}
    for name in ("cpu", "gpu"):
        sets = [*small, 'run.device="gpu"', f'force.device="{name}"']
        pipeline.run(resolve(write(tmp_path, 2), sets), place(tmp_path / name), upto="particles")
        found[name] = Store.open(tmp_path / name / "store.zarr")
        assert (card.taken > 0) == (name == "gpu")
    count, other = (s.read("particles/replica-1/block-0/count") for s in found.values())
    assert np.abs(count - other).max() <= 40
    assert other.sum() == count.sum() == 800 * 2**16 * len(count)
    prints = [s.record("particles/done")["fingerprint"] for s in found.values()]
    assert prints[0] != prints[1]


def test_a_force_on_the_gpu_needs_particles_there():
    """Else its answer would depend on whether there was one."""
    rule = r'`force\.device` must be "cpu" unless run\.device is "gpu"; got "gpu" with run\.device = "auto"'
    with pytest.raises(InputError, match=rule):
        resolve("cubic", ["force.device=gpu"])
