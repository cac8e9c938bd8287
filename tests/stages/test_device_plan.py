"""How particles lie on a device: all of them or in pieces, an upper bound of what they take, and no room."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from ipsdist.arrays import DeviceMemoryError
from ipsdist.config import resolve
from ipsdist.model.deposits import MOVE_ONE
from ipsdist.model.errors import RunError
from ipsdist.model.mesh import Mesh
from ipsdist.numerics.particles.cloud import Motion, Noise
from ipsdist.numerics.particles.device_cloud import DeviceCloud
from ipsdist.runs.inputs import read_inputs
from ipsdist.runs.setup import prepare
from ipsdist.stages.device_plan import device_plan, fits, host_bytes, largest_chunk, stepping_remedy
from ipsdist.stages.devices import device_memory
from ipsdist.stages.gang_size import member_bytes
from ipsdist.stages.initial import precision_of
from tests.host_device import HostDevice

GB = 10**9


def made(*sets, source="cubic"):
    config = resolve(source, sets)
    return config, prepare(config, read_inputs(config))


def on(memory):
    """Return a device without any but this much memory."""
    return SimpleNamespace(name="card", free_bytes=lambda: memory)


# How they lie there


@pytest.mark.parametrize(
    ("sets", "width", "copies"),
    [
        ((), 8, 3),
        (("run.precision=float32",), 4, 3),
        (("data.labelled=false",), 8, 1),
        (("run.precision=float32", "data.labelled=false"), 4, 1),
    ],
)
def test_a_billion_particles_of_a_line_are_resident(sets, width, copies):
    """Positions, with labels also those of two slices, and little beside: the mesh."""
    config, setup = made("system.particles=1000000000", *sets)
    plan = device_plan(139 * GB, config, setup, 1)
    assert plan.resident
    assert copies * width * GB <= plan.bytes < copies * width * GB + 10**7


def test_members_have_their_parts():
    """Four members take a quarter each, a little more than that for the mesh."""
    config, setup = made("system.particles=1000000000")
    one, four = (device_plan(139 * GB, config, setup, n).bytes for n in (1, 4))
    assert 4 * four == pytest.approx(one, rel=1e-2)
    assert not device_plan(12 * GB, config, setup, 1).resident
    assert device_plan(12 * GB, config, setup, 4).resident


@pytest.mark.parametrize("source", ["cubic", "radial_2d", "radial_3d"])
def test_resident_as_long_as_there_is_room(source):
    """With 5 % to spare; with a byte less they pass through, in pieces of whole Philox blocks that fit."""
    config, setup = made("system.particles=30000000", source=source)
    needed = device_plan(10**15, config, setup, 1).bytes
    enough = -(-needed * 100 // 95)
    assert device_plan(enough, config, setup, 1).resident
    for free in (enough - 2, enough // 3):
        plan = device_plan(free, config, setup, 1)
        assert not plan.resident
        assert plan.chunk % 4 == 0
        assert 0 < plan.bytes <= 0.95 * free
        assert plan.suits(free)


def test_a_chunk_that_is_asked_for_is_kept():
    """Rounded up to whole Philox blocks, and no larger than the part."""
    config, setup = made("system.particles=1000000", "run.chunk=1001")
    assert device_plan(139 * GB, config, setup, 1).chunk == 1004
    config, setup = made("system.particles=999", "run.chunk=5000")
    assert device_plan(139 * GB, config, setup, 1).chunk == 1000


def test_the_host_is_relieved_of_what_is_resident():
    """Of all positions but a piece; of a streamed part it keeps everything."""
    config, setup = made("system.particles=100000000")
    whole = member_bytes(config, setup, 1)
    resident, streamed = (device_plan(free, config, setup, 1) for free in (139 * GB, GB))
    assert (resident.resident, streamed.resident) == (True, False)
    assert host_bytes(config, setup, 1, streamed) == whole
    assert whole - host_bytes(config, setup, 1, resident) == 3 * 8 * 10**8 - resident.chunk * 16
    assert host_bytes(config, setup, 1, resident) < GB


class Meter(HostDevice):
    """A device whose kernels do nothing, and which knows how much of its memory was taken at most."""

    peak = 0

    def empty(self, shape, dtype):
        """Return an array."""
        array = super().empty(shape, dtype)
        self.peak = max(self.peak, self._memory - self.free_bytes())
        return array

    def program(self, text, names):
        """Return functions that do nothing."""
        return {name: lambda blocks, threads, arguments, shared=0: None for name in names}


@pytest.mark.parametrize(("source", "particles"), [("cubic", 300_000), ("radial_2d", 300_000), ("radial_3d", 30_000)])
@pytest.mark.parametrize("precision", ["float64", "float32"])
@pytest.mark.parametrize("resident", [True, False])
def test_what_is_planned_is_an_upper_bound(source, particles, precision, resident):
    """A step, its deposits, and the slices before it, on a mesh half as long again as expected: measured."""
    config, setup = made(f"system.particles={particles}", f"run.precision={precision}", source=source)
    needed = device_plan(10**12, config, setup, 1)
    plan = needed if resident else device_plan(needed.bytes, config, setup, 1)
    if not resident:
        assert not plan.resident
    device, law, d = Meter(10**12), config.initial_law(), setup.dimension
    shape, kind = (setup.particles, d), precision_of(config)
    cloud = DeviceCloud.drawn(device, law, shape, kind, 0, 0, 0, plan.chunk, plan.resident)
    last, earlier = cloud.copy(), cloud.copy()
    sides = [round(1.5 * (b - a) / setup.spacing) for a, b in zip(setup.grid.lower, setup.grid.upper, strict=True)]
    mesh = Mesh(setup.spacing, (0,) * d, tuple(sides))
    drift, count = np.zeros((d, *sides), dtype=kind), np.zeros(sides, dtype=np.int64)
    cloud.step(mesh, drift, Motion(1e-4, 1e-2, 0), Noise(0, 0, 0, 0), count)
    cloud.deposits(mesh)
    last.moves(cloud, mesh, MOVE_ONE)
    earlier.squares(cloud, mesh)
    assert device.peak <= plan.bytes
    if resident and d == 1:
        assert device.peak > 0.9 * plan.bytes


def test_two_on_one_card():
    """The second plans with what the first has left: resident if it can, else streamed."""
    config, setup = made("system.particles=300000")
    device = Meter(10**8)
    first = fits(device, config, setup, 1)
    assert first.resident
    taken = device.empty((3, setup.particles, 1), np.float64)
    assert fits(device, config, setup, 1).resident
    more = device.empty((device.free_bytes() - 2 * 10**6,), np.uint8)
    assert not fits(device, config, setup, 1).resident
    del taken, more
    assert fits(device, config, setup, 1).resident


# No room


def test_a_chunk_too_large_for_the_card():
    """One line with both numbers, and the chunk that would fit: it does, and a little more does not."""
    sets = "system.particles=1000000000", "run.chunk=200000000"
    config, setup = made(*sets)
    with pytest.raises(RunError) as error:
        fits(on(4 * GB), config, setup, 1)
    chunk = largest_chunk(4 * GB, config, setup)
    text = "9.6 GB are needed on card to step the particles, and 4 GB are free; run.chunk = "
    assert str(error.value) == f"{text}{chunk} would fit"
    for number, suits in ((chunk, True), (chunk + 64, False)):
        config, setup = made(*sets[:1], f"run.chunk={number}")
        assert device_plan(4 * GB, config, setup, 1).suits(4 * GB) == suits


def test_a_card_too_small_for_the_mesh():
    """No chunk helps then."""
    config, setup = made(source="radial_3d")
    with pytest.raises(RunError, match=r'MB are needed on card .* 50 MB are free; run\.device = "cpu" needs none$'):
        fits(on(5 * 10**7), config, setup, 1)
    assert largest_chunk(5 * 10**7, config, setup) == 0


def test_memory_that_runs_out_on_the_way():
    """One line with both numbers; other errors stay what they are."""
    config, setup = made()
    with pytest.raises(RunError) as error, device_memory(on(0), stepping_remedy(config, setup)):
        raise DeviceMemoryError(3 * GB, 2 * GB)
    said = "card has 2 GB free, and 3 GB more were asked for; another process may use it: the same command goes on "
    chunk = largest_chunk(2 * GB, config, setup)
    assert str(error.value) == f"{said}with what is free then, or run.chunk = {chunk} would fit"
    with pytest.raises(ZeroDivisionError), device_memory(None, stepping_remedy(config, setup)):
        raise ZeroDivisionError
