"""Clouds on a device: where positions are kept, how they are drawn, and a whole replica."""

import numpy as np
import pytest

from ipsdist.arrays import DeviceMemoryError
from ipsdist.model.errors import InputError
from ipsdist.model.mesh import Mesh
from ipsdist.model.radial import RadialKernel
from ipsdist.model.system import FromArray, Mixture, Ring, System, Uniform
from ipsdist.numerics.particles.device_cloud import DeviceCloud
from ipsdist.numerics.particles.host_cloud import HostCloud
from ipsdist.numerics.particles.initial import sample
from ipsdist.numerics.particles.noise import NORMAL_TABLE
from ipsdist.numerics.particles.stepping import Stepper
from tests.host_device import COMPILER, HostDevice
from tests.numerics.particles.clouds import CHUNK, KEPT, KINDS, MOTION, NOISE, N, cloud_of, same, setting

pytestmark = pytest.mark.skipif(COMPILER is None, reason="no g++ to compile the text of the kernels")


@KEPT
def test_copies_are_their_own(resident):
    """A copy keeps its positions while the other steps; into another it has that one's memory."""
    x, mesh, drift = setting(2, "float32")
    device = HostDevice()
    cloud = cloud_of(x, device, resident)
    before = cloud.copy()
    cloud.step(mesh, drift, MOTION, NOISE, np.zeros(mesh.shape, dtype=np.int64))
    same(before, HostCloud(x))
    free = device.free_bytes()
    again = cloud.copy(into=before)
    assert again is before
    assert device.free_bytes() == free
    same(again, cloud)
    for other in (cloud_of(x[1:], device, resident), cloud_of(x, device, not resident)):
        with pytest.raises(ValueError, match="`into` must be"):
            cloud.copy(into=other)


def test_copy_into_memory_that_is_not_needed_any_more():
    """Where the device has no room for a third cloud, there is room for a copy into the second."""
    x, _, _ = setting(1, "float64")
    device = HostDevice(memory=2 * (x.nbytes + NORMAL_TABLE.nbytes) + 100)
    cloud, second = cloud_of(x, device), cloud_of(x - 1, device)
    with pytest.raises(DeviceMemoryError):
        cloud.copy()
    same(cloud.copy(into=second), HostCloud(x))


def test_memory_that_does_not_do():
    """Resident they must fit; streamed the pieces shrink, with the same bits, until not even two blocks fit."""
    x, mesh = setting(2, "float32")[0], Mesh(1.0, (-4, -4), (8, 8))
    drift, table = np.ones((2, 8, 8), dtype=np.float32), NORMAL_TABLE.nbytes
    with pytest.raises(DeviceMemoryError) as refused:
        cloud_of(x, HostDevice(table + x.nbytes // 2))
    assert refused.value.wanted == x.nbytes > refused.value.free
    device = HostDevice(table + x.nbytes // 2)
    host, cloud = HostCloud(x), cloud_of(x, device, resident=False, chunk=2**20)
    expected, count = np.zeros(mesh.shape, dtype=np.int64), np.zeros(mesh.shape, dtype=np.int64)
    host.step(mesh, drift, MOTION, NOISE, expected)
    cloud.step(mesh, drift, MOTION, NOISE, count)
    assert np.array_equal(count, expected)
    same(cloud, host)
    assert sum(name == "step" for name, *_ in device.launches) > 2
    with pytest.raises(DeviceMemoryError):
        cloud.deposits(Mesh(1.0, (-4, -4), (200, 200)))
    with pytest.raises(DeviceMemoryError, match="128 bytes of device memory wanted, 100 free"):
        cloud_of(x, HostDevice(table + 100), resident=False)


@KEPT
def test_rows(resident):
    """Any rows, over the borders of pieces."""
    x, _, _ = setting(2, "float32")
    cloud = cloud_of(x, resident=resident)
    for first, stop in ((0, 1), (235, 237), (7, 1003), (1003, 1003)):
        got = cloud.rows(first, stop)
        assert isinstance(got, np.ndarray)
        assert np.array_equal(got, x[first:stop])
        assert got.dtype == np.float32


def test_positions_are_on_the_device():
    """Those of a resident cloud can be had there; those of a streamed one are not there."""
    x, _, _ = setting(2, "float32")
    device = HostDevice()
    assert np.array_equal(device.to_host(cloud_of(x, device).positions), x)
    with pytest.raises(ValueError, match="streamed"):
        _ = cloud_of(x, device, resident=False).positions


@pytest.mark.parametrize("chunk", [0, -4, 6])
def test_chunks_are_whole_blocks(chunk):
    """A chunk that is not is refused."""
    with pytest.raises(ValueError, match="multiple of 4"):
        cloud_of(np.zeros((8, 1)), chunk=chunk)


def test_types_other_than_floats_are_refused():
    """Positions are float32 or float64."""
    with pytest.raises(ValueError, match="float32 or float64"):
        cloud_of(np.zeros((8, 1), dtype=np.int32))


# --- initial positions ----------------------------------------------------------------------------------------------

LAWS = {
    1: [Mixture((0.3, 0.7), ((-1.0,), (2.0,)), (0.04, 0.5)), Uniform((-1.0,), (2.0,))],
    2: [
        Mixture((0.2, 0.3, 0.5), ((0.0, 1.0), (2.0, -1.0), (5.0, 5.0)), (0.1, 0.2, 1.0)),
        Uniform((-1.0, 0.0), (2.0, 0.1)),
        Ring(1.0, 0.01),
        FromArray(np.random.default_rng(2).normal(size=(2000, 2))),
    ],
    3: [Mixture((1.0,), ((0.0, 1.0, 2.0),), (0.3,)), Uniform((-1.0, 0.0, 3.0), (2.0, 0.1, 3.5))],
}


@KINDS
@KEPT
@pytest.mark.parametrize(("dimension", "law"), [(d, law) for d, laws in LAWS.items() for law in laws])
def test_drawn(dimension, law, kind, resident):
    """Positions are those of `sample` rounded once, of a part that begins anywhere."""
    first = 400 if isinstance(law, FromArray) else 2**33 + 40
    for n in (N, 0):
        cloud = DeviceCloud.drawn(HostDevice(), law, (n, dimension), kind, first, 2**40 + 7, 3, CHUNK, resident)
        expected = sample(law, dimension, 2**40 + 7, 3, first, n).astype(kind)
        assert cloud.rows(0, n).tobytes() == expected.tobytes()
        assert cloud.resident is resident


def test_drawn_refuses():
    """A law of another dimension, and a part that begins within a Philox block."""
    with pytest.raises(InputError, match=r"system\.dimension = 2"):
        DeviceCloud.drawn(HostDevice(), LAWS[1][0], (8, 2), "float32", 0, 1, 0, 4, True)
    with pytest.raises(ValueError, match="multiple of 4"):
        DeviceCloud.drawn(HostDevice(), LAWS[1][0], (8, 1), "float32", 2, 1, 0, 4, True)


# --- a replica ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "resident"), [("float32", True), ("float64", False)])
def test_replica(kind, resident):
    """Steps of a replica whose mesh grows: positions, meshes and counts are those of the host."""
    system = System(2, 501, 1, RadialKernel.parse("0*r", None), None, 50.0)
    x = np.random.default_rng(0).normal(size=(501, 2)).astype(kind)
    stepper = [Stepper(system, 0.01, 1, 0, 2.0) for _ in range(2)]
    states = [stepper[0].start(x), stepper[1].start(cloud_of(x, resident=resident))]
    first = states[0].mesh
    for one, state in zip(stepper, states, strict=True):
        one.advance(state, 12)
    assert states[0].mesh == states[1].mesh != first
    assert np.array_equal(states[0].count, states[1].count)
    assert states[0].positions.tobytes() == states[1].positions.tobytes()
