"""Members that add their counts on their devices: the bits of the whole, and no exchange at a step."""

import itertools
import threading

import numpy as np
import pytest

from ipsdist.model.radial import RadialKernel
from ipsdist.model.system import System
from ipsdist.numerics.particles.device_cloud import DeviceCloud
from ipsdist.numerics.particles.stepping import Stepper
from tests.gangs import Gang
from tests.host_device import COMPILER
from tests.rings import Nccl, RingDevice

pytestmark = pytest.mark.skipif(COMPILER is None, reason="the kernels are compiled for the host by g++")

N, STEPS = 301, 12


class Rings:
    """Gives every member of a gang a ring of its device."""

    def __init__(self):
        self.nccl, self._lock, self._names = Nccl(), threading.Lock(), {}
        self.made = 0

    def __call__(self, rank, size, device):
        """Return the ring of a member."""
        assert isinstance(device, RingDevice)
        with self._lock:
            self.made += 1
        return device.ring(b"the only one", rank, size)


def system(dimension, wide):
    text, diffusion = ("0*r", 50.0) if wide else ("3*r**2", 2.0)
    return System(dimension, N, 1, RadialKernel.parse(text, None), None, diffusion)


def together(x, given, bounds, spacing, rings, spoil=None):
    """Return the states of the members, and the exchanges that they made."""
    gang = Gang(len(bounds), rings)
    nccl = rings.nccl if rings else Nccl()

    def member(one):
        first, stop = bounds[one.rank]
        stepper = Stepper(given, 0.01, 1, 0, spacing, part=(first, stop))
        resident = one.rank != 1
        device = RingDevice(nccl, threads=2 if one.rank == 0 else 1)
        rows = x[first:stop]
        cloud = DeviceCloud.filled(device, rows.shape, x.dtype, lambda a, b: rows[a:b], 32, resident)
        state = stepper.start(cloud, together=one)
        if spoil is not None:
            spoil(state, one.rank)
        stepper.advance(state, STEPS, one)
        return state

    return gang.all(member), gang.exchanges


@pytest.mark.parametrize("wide", [False, True], ids=["stays", "grows"])
@pytest.mark.parametrize(("size", "dimension"), [(2, 1), (3, 2)])
def test_a_ring_changes_no_bit(size, dimension, wide):
    """Resident and streamed members, one of them without particles, meshes that grow; sockets carry no step."""
    x = np.random.default_rng(1).normal(size=(N, dimension)).astype(np.float32 if size == 2 else np.float64)
    spacing, given = (2.0 if wide else 0.25), system(dimension, wide)
    whole = Stepper(given, 0.01, 1, 0, spacing)
    expected = whole.start(x)
    whole.advance(expected, STEPS)
    cuts = [0, 148, N] if size == 2 else [0, 148, N, N]
    bounds, rings = list(itertools.pairwise(cuts)), Rings()
    states, exchanges = together(x, given, bounds, spacing, rings)
    assert np.concatenate([s.positions for s in states]).tobytes() == expected.positions.tobytes()
    for state in states:
        assert state.mesh == expected.mesh
        np.testing.assert_array_equal(state.count, expected.count)
    assert rings.made == size  # once a state
    assert rings.nccl.adds == STEPS
    plain, others = together(x, given, bounds, spacing, None)
    assert others - exchanges == STEPS
    assert [s.count.tobytes() for s in plain] == [s.count.tobytes() for s in states]


def test_positions_off_the_mesh_of_one_member_are_told_by_all():
    """As without a ring: all members raise, and none is left in a sum."""
    x = np.random.default_rng(1).normal(size=(N, 1))

    def spoil(state, rank):
        if rank == 1:
            far = np.full(state.cloud.shape, 1e6)
            state.cloud = DeviceCloud.filled(state.cloud.device, far.shape, far.dtype, lambda a, b: far[a:b], 32, True)

    rings = Rings()
    with pytest.raises(ValueError, match=r"must lie on `state\.mesh`"):
        together(x, system(1, False), [(0, 148), (148, N)], 0.25, rings, spoil)
    assert rings.nccl.adds == 1


def test_a_member_on_its_host_has_no_ring():
    """A mistake of the program, not of its user."""
    x = np.random.default_rng(1).normal(size=(N, 1))
    stepper = Stepper(system(1, False), 0.01, 1, 0, 0.25)
    state = stepper.start(x)
    state.ring = Rings()(0, 1, RingDevice(Nccl()))
    with pytest.raises(ValueError, match="take no part in a ring"):
        stepper.advance(state, 1)
