"""A device that makes one bit other than the host is found, whichever kernel makes it; so is one that fails."""

import gc
import re

import numpy as np
import pytest

from ipsdist.arrays import DeviceMemoryError
from ipsdist.numerics.particles.device_check import check
from tests.host_device import COMPILER, HostDevice
from tests.sabotage import Sabotaged

pytestmark = pytest.mark.skipif(COMPILER is None, reason="no g++ to compile the text of the kernels")


@pytest.mark.parametrize(("dimension", "kind"), [(1, np.float32), (2, np.float32)])
def test_the_text_is_that_of_the_host(dimension, kind):
    """Nothing is wrong with it, on any mesh: in shared memory with its drift, without it, and in global memory.

    Runs in one, two and three dimensions and both types pass it too, in tests/runs/test_device_bits.py.
    """
    device = HostDevice()
    assert check(device, dimension, kind) is None
    shared = {launch[3] for launch in device.launches if launch[0] == "step"}
    assert len(shared) == 3
    assert min(shared) == 0
    assert ("leap" in {launch[0] for launch in device.launches}) == (dimension == 1)
    gc.collect()
    assert device.free_bytes() == device._memory


def test_a_bit_of_any_kernel_is_seen():
    """One bit of one array that it has written, for every kernel that takes part; what is said says where."""
    sound = Sabotaged()
    assert check(sound, 1, np.float32) is None
    assert set(sound.touched) >= {"draw_mixture", "draw_uniform", "extent", "step", "move", "deposit", "flux", "leap"}
    assert min(sound.touched[name] for name in ("step", "deposit", "flux")) >= 2
    for name, arrays in sound.touched.items():
        for which in range(arrays):
            found = check(Sabotaged(name, which), 1, np.float32)
            assert found is not None, (name, which)
            assert found.startswith("the bits of host differ from the CPU's (first: "), found
    found = check(Sabotaged("move"), 1, np.float32)
    what = r"\(first: the positions after a move, line of 100 nodes, float32: (\S+) for (\S+) at 0, 1 of 4099 differ\)"
    (said,) = re.findall(what, found)
    assert np.float32(said[0]) == pytest.approx(np.float32(said[1]), rel=1e-5)
    assert said[0] != said[1]


class OtherText(HostDevice):
    """A device whose weights are one off."""

    def program(self, text, names):
        """Compile another text than it was asked for."""
        other = text.replace("(double)COUNT_ONE), 0.5)", "(double)COUNT_ONE), 1.5)")
        assert other != text
        return super().program(other, names)


def test_a_weight_that_is_one_off_is_seen():
    """The upper node of a cell gets one unit more, the lower one less: the sum is right, the count is not."""
    found = check(OtherText(), 1, np.float32)
    assert "(first: the count of " in found


def test_a_launch_that_fails_is_an_answer():
    """In one line, with what went well before."""
    error = RuntimeError("CUDA_ERROR_ILLEGAL_ADDRESS:\n an illegal memory access")
    said = check(Sabotaged("move", error=error), 1, np.float32)
    place = "line of 100 nodes, float32, after the reach of moves alone"
    reason = "RuntimeError: CUDA_ERROR_ILLEGAL_ADDRESS: an illegal memory access"
    assert said == f"host cannot step particles ({place}: {reason})"
    first = check(Sabotaged("draw_mixture", error=error), 1, np.float32)
    assert first == f"host cannot step particles (line of 100 nodes, float32: {reason})"


def test_a_full_card_has_shown_nothing():
    """Neither good nor bad: the error says what is missing."""
    with pytest.raises(DeviceMemoryError):
        check(HostDevice(memory=100_000), 1, np.float32)
