"""Clouds on a device against those that Numba steps, bit for bit: kept there, and passed through in pieces."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ipsdist.model.mesh import Mesh
from ipsdist.numerics.particles.cloud import Motion, Noise
from ipsdist.numerics.particles.device_pieces import STATIC_BYTES
from ipsdist.numerics.particles.host_cloud import HostCloud
from tests.host_device import COMPILER, HostDevice
from tests.numerics.particles.clouds import CHUNK, DIMENSIONS, KEPT, KINDS, MOTION, NOISE, N, cloud_of, same, setting

pytestmark = pytest.mark.skipif(COMPILER is None, reason="no g++ to compile the text of the kernels")


@KINDS
@DIMENSIONS
@KEPT
def test_steps(dimension, kind, resident):
    """Positions and counts of three steps are those of Numba; counts are added to what is there."""
    x, mesh, drift = setting(dimension, kind)
    host, cloud = HostCloud(x), cloud_of(x, resident=resident)
    for number in range(3):
        expected, count = np.full(mesh.shape, 7), np.full(mesh.shape, 7)
        motion = Motion(0.01, 0.1, number)
        assert host.step(mesh, drift * (number - 1), motion, NOISE, expected) == 0
        assert cloud.step(mesh, drift * (number - 1), motion, NOISE, count) == 0
        assert np.array_equal(count, expected)
    same(cloud, host)
    assert not np.array_equal(cloud.rows(0, N), x)


@DIMENSIONS
@settings(max_examples=15, deadline=None)
@given(n=st.integers(0, 70), chunk=st.integers(1, 9), first=st.integers(0, 2**40), data=st.data())
def test_any_size(dimension, n, chunk, first, data):
    """Any number of particles in any pieces, from any word of the stream on."""
    kind, resident = data.draw(st.sampled_from(["float32", "float64"])), data.draw(st.booleans())
    x, mesh, drift = setting(dimension, kind, n)
    host, cloud = HostCloud(x), cloud_of(x, resident=resident, chunk=4 * chunk)
    noise = Noise(4 * first, 4, 11, 5)
    expected, count = np.zeros(mesh.shape, dtype=np.int64), np.zeros(mesh.shape, dtype=np.int64)
    assert cloud.step(mesh, drift, MOTION, noise, count) == host.step(mesh, drift, MOTION, noise, expected) == 0
    assert np.array_equal(count, expected)
    same(cloud, host)


def test_drift_takes_the_type_of_the_positions():
    """A drift in float64 is rounded where positions are float32, as the caller does it for Numba."""
    x, mesh, _ = setting(2, "float32")
    drift = np.random.default_rng(3).normal(size=(2, *mesh.shape))
    host, cloud = HostCloud(x), cloud_of(x)
    for one, field in ((host, drift.astype(np.float32)), (cloud, drift)):
        one.step(mesh, field, MOTION, NOISE, np.zeros(mesh.shape, dtype=np.int64))
    same(cloud, host)
    with pytest.raises(ValueError, match="`drift` must be"):
        cloud.step(mesh, drift[:1], MOTION, NOISE, np.zeros(mesh.shape, dtype=np.int64))


@DIMENSIONS
@KEPT
def test_step_tells_who_left_and_who_was_off(dimension, resident):
    """Particles that leave are counted, all of them are moved; -1 where one was off before."""
    x, mesh, drift = setting(dimension, "float64")
    count = np.zeros(mesh.shape, dtype=np.int64)
    host, cloud = HostCloud(x), cloud_of(x, resident=resident)
    wide = Motion(0.01, 1.0, 3)
    left = host.step(mesh, drift, wide, NOISE, count.copy())
    assert 0 < left < N
    assert cloud.step(mesh, drift, wide, NOISE, count.copy()) == left
    same(cloud, host)
    assert cloud.off(mesh) == host.off(mesh) == left
    assert cloud.step(mesh, drift, MOTION, NOISE, count.copy()) == -1
    assert host.step(mesh, drift, MOTION, NOISE, count.copy()) == -1


@pytest.mark.parametrize(("shared_bytes", "what"), [(2**17, (1, 1)), (2**13, (1, 0)), (5000, (0, 0))])
def test_counters_and_field_lie_where_they_fit(shared_bytes, what):
    """In shared memory as far as that goes; nowhere are the bits others. 20 by 20 nodes in float32."""
    rng = np.random.default_rng(1)
    x, mesh = rng.uniform(0.3, 0.7, (N, 2)).astype(np.float32), Mesh(1 / 16, (-2, -2), (20, 20))
    drift = rng.normal(size=(2, *mesh.shape)).astype(np.float32)
    device, host = HostDevice(shared_bytes=shared_bytes), HostCloud(x)
    cloud = cloud_of(x, device)
    expected, count = np.zeros(mesh.shape, dtype=np.int64), np.zeros(mesh.shape, dtype=np.int64)
    host.step(mesh, drift, MOTION, NOISE, expected)
    assert cloud.step(mesh, drift, MOTION, NOISE, count) == 0
    assert np.array_equal(count, expected)
    same(cloud, host)
    counters, field = what
    assert device.launches[-1][0] == "step"
    assert device.launches[-1][3] == counters * 400 * 4 + field * 2 * 400 * 4


@KINDS
@pytest.mark.parametrize(("shared_bytes", "counters"), [(9000, 1), (6000, 0)])
@pytest.mark.parametrize("by_device", [False, True])
def test_drift_node_by_node(kind, shared_bytes, counters, by_device):
    """In space a drift that does not lie in shared memory is packed, whether it comes from the host or not."""
    rng = np.random.default_rng(4)
    x, mesh = rng.uniform(0.3, 0.7, (N, 3)).astype(kind), Mesh(1 / 8, (-1, -2, 0), (10, 12, 9))
    drift = rng.normal(size=(3, *mesh.shape)).astype(kind)
    device, host = HostDevice(shared_bytes=shared_bytes), HostCloud(x)
    cloud, given = cloud_of(x, device), device.array(drift.reshape(3, -1)) if by_device else drift
    expected, count = np.zeros(mesh.shape, dtype=np.int64), np.zeros(mesh.shape, dtype=np.int64)
    host.step(mesh, drift, MOTION, NOISE, expected)
    assert cloud.step(mesh, given, MOTION, NOISE, count) == 0
    assert np.array_equal(count, expected)
    same(cloud, host)
    assert [launch[0] for launch in device.launches] == ["pack", "step"]
    assert device.launches[-1][2:] == ((512, 4 * 1080) if counters else (256, 0))


def test_arrays_of_a_step_stay():
    """They are made once for a mesh, and those of a smaller one are given back before those of a larger one."""
    x, mesh, drift = setting(2, "float64")
    wide = Mesh(mesh.spacing, tuple(i - 3 for i in mesh.lower), tuple(n + 5 for n in mesh.shape))
    moved = Mesh(mesh.spacing, tuple(i - 1 for i in mesh.lower), mesh.shape)
    fields = {mesh: drift, moved: drift, wide: np.ones((2, *wide.shape))}
    device = HostDevice()
    host, cloud = HostCloud(x), cloud_of(x, device)
    free = []
    for one in (mesh, mesh, moved, wide, mesh):
        expected, count = np.zeros(one.shape, dtype=np.int64), np.zeros(one.shape, dtype=np.int64)
        motion = Motion(0.001, 0.001, len(free))
        assert cloud.step(one, fields[one], motion, NOISE, count) == host.step(
            one, fields[one], motion, NOISE, expected
        )
        assert np.array_equal(count, expected)
        free.append(device.free_bytes())
    same(cloud, host)
    assert free[0] == free[1] == free[2] == free[4] > free[3]


@pytest.mark.parametrize("shared_bytes", [2**16, 0])
def test_very_many_on_one_node(shared_bytes):
    """Counters of 32 bits are emptied before they overflow: a block takes 150 001 particles, 2**16 each."""
    device = HostDevice(blocks=1, shared_bytes=shared_bytes)
    x, mesh = np.full((150_001, 1), 0.5, dtype=np.float32), Mesh(0.25, (0,), (6,))
    cloud, count = cloud_of(x, device, chunk=2**20), np.zeros(6, dtype=np.int64)
    assert cloud.step(mesh, np.zeros((1, 6), dtype=np.float32), Motion(0.01, 0.0, 1), NOISE, count) == 0
    assert count.tolist() == [0, 0, 150_001 * 2**16, 0, 0, 0]


@KINDS
@DIMENSIONS
@KEPT
def test_moves_by_a_given_drift(dimension, kind, resident):
    """A drift a particle, on the host or on the device."""
    x, _, _ = setting(dimension, kind)
    drift = np.random.default_rng(8).normal(size=x.shape)
    device, host = HostDevice(), HostCloud(x)
    cloud = cloud_of(x, device, resident)
    for given_drift in (drift, device.array(drift)):
        host.move(drift, MOTION, NOISE)
        cloud.move(given_drift, MOTION, NOISE)
    same(cloud, host)


@KINDS
@DIMENSIONS
@KEPT
def test_deposits_moves_squares(dimension, kind, resident):
    """All integers are those of Numba, in the units asked for; so is the reach."""
    x, mesh, _ = setting(dimension, kind)
    y = (x + np.random.default_rng(5).normal(0, 3, x.shape)).astype(kind)
    device, hosts = HostDevice(), (HostCloud(x), HostCloud(y))
    clouds = cloud_of(x, device, resident), cloud_of(y, device, resident, chunk=312)
    for got, expected in zip(clouds[0].deposits(mesh), hosts[0].deposits(mesh), strict=True):
        assert got.dtype == np.int64
        assert got.shape == expected.shape
        assert np.array_equal(got, expected)
    for unit in (2**20, 2**13):
        flux, squares, reach = clouds[0].moves(clouds[1], mesh, unit)
        expected_flux, expected_squares, expected_reach = hosts[0].moves(hosts[1], mesh, unit)
        assert flux.shape == expected_flux.shape
        assert np.array_equal(flux, expected_flux)
        assert np.array_equal(squares, expected_squares)
        assert reach == expected_reach > 0
    squares, reach = clouds[0].squares(clouds[1], mesh)
    expected_squares, expected_reach = hosts[0].squares(hosts[1], mesh)
    assert np.array_equal(squares, expected_squares)
    assert reach == expected_reach


@pytest.mark.parametrize(
    ("lines", "passes"), [(0, (0, 0)), (1, (5, 0)), (2, (3, 2)), (3, (2, 2)), (4, (2, 1)), (5, (1, 1))]
)
def test_sums_lie_where_they_fit(lines, passes):
    """As many passes as it takes with room for so many words a node; nowhere are the bits others. 20 by 20 nodes."""
    rng = np.random.default_rng(2)
    x, mesh = rng.uniform(-1.2, 1.1, (N, 2)).astype(np.float32), Mesh(1 / 8, (-10, -10), (20, 20))
    y = (x + rng.normal(0, 0.2, x.shape)).astype(np.float32)
    device, hosts = HostDevice(shared_bytes=STATIC_BYTES + 1600 * lines + 9), (HostCloud(x), HostCloud(y))
    clouds = cloud_of(x, device, False), cloud_of(y, device, False)
    for got, expected in zip(clouds[0].deposits(mesh), hosts[0].deposits(mesh), strict=True):
        assert np.array_equal(got, expected)
    for got, expected in zip(clouds[0].moves(clouds[1], mesh, 2**9), hosts[0].moves(hosts[1], mesh, 2**9), strict=True):
        assert np.array_equal(got, expected)
    names, pieces = [launch[0] for launch in device.launches], -(-N // CHUNK)
    assert [names.count(f"{name}_near") for name in ("deposit", "flux")] == [pieces * number for number in passes]
    assert [names.count(name) for name in ("deposit", "flux")] == [pieces * (not number) for number in passes]


@KEPT
def test_deposits_refuse_who_is_off_the_mesh(resident):
    """With the words of `deposit`, for weights and for moves."""
    x, mesh, _ = setting(2, "float64")
    x[[3, 700], 1] = 1e9, np.nan
    host, cloud = HostCloud(x), cloud_of(x, resident=resident)
    for call in (lambda c: c.deposits(mesh), lambda c: c.moves(c, mesh, 2**20)):
        with pytest.raises(ValueError, match="2 of 1003 are off it") as expected:
            call(host)
        with pytest.raises(ValueError, match="2 of 1003") as got:
            call(cloud)
        assert str(got.value) == str(expected.value)


@KINDS
@KEPT
@pytest.mark.parametrize("bad", [[], [np.nan], [np.inf, -np.inf], [np.inf, np.nan, -np.inf]])
def test_extent_and_the_broken(kind, resident, bad):
    """The extent is that of NumPy, whatever is in it; the broken are counted once each."""
    x, mesh, _ = setting(3, kind)
    x[[2, 500, 1002][: len(bad)], 1] = bad
    x[2, 0] = bad[0] if bad else x[2, 0]
    host, cloud = HostCloud(x), cloud_of(x, resident=resident)
    for got, expected in zip(cloud.extent(), host.extent(), strict=True):
        assert got.dtype == np.float64
        np.testing.assert_array_equal(got, expected)
    assert cloud.broken() == host.broken() == len(bad)
    assert cloud.off(mesh) == host.off(mesh) == len(bad)


@DIMENSIONS
@KEPT
def test_no_particles(dimension, resident):
    """A part may have none: it says so everywhere, and steps."""
    empty, mesh = np.empty((0, dimension)), Mesh(0.5, (-3,) * dimension, (6,) * dimension)
    host, cloud = HostCloud(empty), cloud_of(empty, resident=resident)
    count = np.zeros(mesh.shape, dtype=np.int64)
    assert cloud.step(mesh, np.zeros((dimension, *mesh.shape)), MOTION, NOISE, count) == 0
    cloud.move(empty, MOTION, NOISE)
    assert not count.any()
    assert np.array_equal(cloud.extent(), host.extent())
    assert (cloud.broken(), cloud.off(mesh), cloud.rows(0, 0).shape) == (0, 0, (0, dimension))
    for got, expected in zip(cloud.deposits(mesh), host.deposits(mesh), strict=True):
        assert np.array_equal(got, expected)
        assert got.shape == expected.shape
    flux, squares, reach = cloud.moves(cloud.copy(), mesh, 2**20)
    assert (flux.shape, flux.any(), squares.tolist(), reach) == ((dimension, *mesh.shape), False, [0, 0], 0.0)
    assert cloud.squares(cloud, mesh)[1] == 0.0
