"""Many steps of small replicas in one launch against as many steps on the host, bit for bit."""

import numpy as np
import pytest

from ipsdist.model.expression import Expression
from ipsdist.model.mesh import Mesh
from ipsdist.model.radial import RadialKernel
from ipsdist.numerics.particles.cloud import Motion, Noise
from ipsdist.numerics.particles.device_cloud import DeviceCloud
from ipsdist.numerics.particles.device_leap import can_leap, leap
from ipsdist.numerics.particles.forces.mesh import MeshForce
from ipsdist.numerics.particles.host_cloud import HostCloud
from tests.host_device import COMPILER, HostDevice

pytestmark = pytest.mark.skipif(COMPILER is None, reason="no g++ to compile the text of the kernels")

N, STEPS = 203, 20
MESH = Mesh(1 / 8, (-24,), (48,))
KERNEL, POTENTIAL = RadialKernel.parse("3*r**2", None), Expression.parse("cos(x)", ("x",))


def _setting(kind, replicas, potential=POTENTIAL):
    """Return positions, the force, counts before, and noises of replicas."""
    rng = np.random.default_rng(replicas)
    positions = [rng.normal(0.2, 0.4, (N, 1)).astype(kind) for _ in range(replicas)]
    counts = np.stack([HostCloud(x).deposits(MESH)[0] for x in positions])
    return positions, MeshForce(KERNEL, potential, N), counts, [Noise(0, 4 * r, 7, 9) for r in range(replicas)]


def _stepped(x, force, motion, noise, count):
    """Return the cloud of the host after the steps, its count, how many they were and who was lost in the last one."""
    cloud, lost = HostCloud(x), 0
    for done in range(1, STEPS + 1):
        drift = force.node_drift(MESH, count).astype(x.dtype)
        count = np.zeros_like(count)
        lost = cloud.step(MESH, drift, Motion(motion.dt, motion.scale, motion.number + done - 1), noise, count)
        if lost:
            break
    return cloud, count, done, lost


def _there(positions, device):
    return [DeviceCloud.filled(device, x.shape, x.dtype, lambda a, b, x=x: x[a:b], 2**20, True) for x in positions]


@pytest.mark.parametrize("kind", ["float32", "float64"])
@pytest.mark.parametrize("replicas", [1, 4])
@pytest.mark.parametrize("potential", [None, POTENTIAL])
def test_leaps_are_steps(kind, replicas, potential):
    """Positions and counts after a leap, and after another from there, are those of steps one after the other."""
    positions, force, counts, noises = _setting(kind, replicas, potential)
    device = HostDevice()
    clouds, before = _there(positions, device), counts.copy()
    for number in (5, 5 + STEPS):
        motion = Motion(0.01, 0.1, number)
        hosts = [_stepped(x, force, motion, noise, c) for x, noise, c in zip(positions, noises, counts, strict=True)]
        done, lost = leap(clouds, MESH, force.lag_table(MESH), motion, noises, STEPS, before)
        assert (done.tolist(), lost.tolist()) == ([STEPS] * replicas, [0] * replicas)
        counts = np.stack([count for _, count, _, _ in hosts])
        positions = [host.positions for host, *_ in hosts]
        assert np.array_equal(before, counts)
        for cloud, x in zip(clouds, positions, strict=True):
            assert cloud.rows(0, N).tobytes() == x.tobytes()
    assert device.launches[-1][:3] == ("leap", replicas, 1024)


@pytest.mark.parametrize("replicas", [1, 3])
def test_a_replica_stops_where_it_loses_particles(replicas):
    """Each for itself, after the step in which it did; its positions are those after that step."""
    positions, force, counts, noises = _setting("float32", replicas)
    positions = [x * np.float32(1 + r / 2) for r, x in enumerate(positions)]
    counts = np.stack([HostCloud(x).deposits(MESH)[0] for x in positions])
    clouds, motion = _there(positions, HostDevice()), Motion(0.01, 0.55, 3)
    hosts = [_stepped(x, force, motion, noise, c) for x, noise, c in zip(positions, noises, counts, strict=True)]
    done, lost = leap(clouds, MESH, force.lag_table(MESH), motion, noises, STEPS, counts)
    assert done.tolist() == [made for _, _, made, _ in hosts]
    assert lost.tolist() == [gone for *_, gone in hosts]
    assert len(set(done.tolist())) == replicas
    assert 1 < max(done) < STEPS
    for cloud, (host, *_) in zip(clouds, hosts, strict=True):
        assert cloud.rows(0, N).tobytes() == host.positions.tobytes()


def test_what_can_leap():
    """What fits: an H200 takes the lines whose drift is found by sums over lags; counters have 32 bits."""
    device = HostDevice()
    assert all(can_leap(device, 400, 65535, kind) for kind in ("float32", "float64"))
    assert not can_leap(device, 400, 65536, "float32")
    assert not can_leap(device, 8000, 100, "float32")
    assert not can_leap(HostDevice(shared_bytes=2**12), 48, 100, "float32")


def test_refusals():
    """Replicas that differ, parts of a replica, streamed clouds, and what does not fit."""
    positions, force, counts, noises = _setting("float32", 2)
    device, lags, motion = HostDevice(), force.lag_table(MESH), Motion(0.01, 0.1, 0)
    clouds = _there(positions, device)

    def refused(match, clouds=clouds, noises=noises, counts=counts):
        with pytest.raises(ValueError, match=match):
            leap(clouds, MESH, lags, motion, noises, 2, counts)

    refused("one device", clouds=[clouds[0], *_there([positions[1][1:]], device)])
    refused("one device", clouds=[clouds[0], *_there([positions[1]], HostDevice())])
    refused("whole replicas", noises=[noises[0], Noise(4, 4, 7, 9)])
    refused("whole replicas", noises=[noises[0], Noise(0, 4, 8, 9)])
    refused("`counts` must be", counts=counts[:1])
    refused("a noise a cloud", noises=noises[:1])
    x = positions[0]
    streamed = DeviceCloud.filled(device, x.shape, x.dtype, lambda a, b: x[a:b], 64, False)
    refused("streamed", clouds=[streamed, clouds[1]])
    refused("cannot leap", clouds=_there([np.zeros((2, 2))], device))
