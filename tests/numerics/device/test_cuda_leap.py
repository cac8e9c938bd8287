"""The CUDA text of many steps in one launch against the same steps in NumPy and Numba, bit for bit."""

import numpy as np
import pytest

from ipsdist.model.mesh import Mesh
from ipsdist.numerics.densities.deposit import deposit
from ipsdist.numerics.device.cuda import leap_bytes, text
from ipsdist.numerics.device.step import step
from ipsdist.numerics.particles.cloud import Motion, Noise
from ipsdist.numerics.particles.device_leap import job_words
from ipsdist.numerics.particles.noise import NORMAL_TABLE
from tests.host_device import COMPILER, HostDevice
from tests.numerics.device.cuda_launches import DTYPES

pytestmark = pytest.mark.skipif(COMPILER is None, reason="no g++ to compile CUDA text for the host")

DT, SCALE, LOW, HIGH, NUMBER = 0.02, 0.05, 17, 2**32 - 3, 2**32 - 2
STREAMS = np.array([4, 8, 4092, 12, 16], np.uint32)


def setting(dtype, particles, replicas=5):
    """Replicas that contract, their mesh, a table of forces between nodes and an external drift."""
    rng = np.random.default_rng(particles)
    x = rng.normal(0.1, 0.4, (replicas, particles)).astype(dtype)
    mesh = Mesh.around([-2.5], [2.5], 2.0**-4)
    nodes = mesh.shape[0]
    lags = np.arange(1 - nodes, nodes) * mesh.spacing
    table = -(3 * lags * np.abs(lags) + np.sin(lags)) / (65536 * particles)
    return x, mesh, table, rng.normal(0, 0.3, nodes)


def slow_step(x, drift_of, mesh, number, stream, count):
    """One step of a replica (n,) with the drift of its counts in the type of its positions."""
    drift = drift_of(count).astype(x.dtype)
    noise = NORMAL_TABLE, *map(np.uint64, (0, number, stream, LOW, HIGH))
    count[:] = 0
    return step(x, drift[None], np.array(mesh.lower), 1 / mesh.spacing, DT, SCALE, *noise, count)


def slow_leap(x, mesh, table, external, steps):
    """Positions, counts, steps done and lost particles of every replica, in NumPy but for Numba's step."""
    nodes, x = mesh.shape[0], x.copy()

    def drift_of(count):
        total = np.zeros(nodes)
        for b in range(nodes):
            total += table[nodes - 1 - b : 2 * nodes - 1 - b] * float(count[b])
        return total + external

    counts, done, lost = [], [], []
    for replica, stream in zip(x, STREAMS, strict=True):
        count, left, made = deposit(replica[:, None], mesh).count, 0, 0
        while made < steps and not left:
            left = slow_step(replica, drift_of, mesh, (NUMBER + made) % 2**32, stream, count)
            made += 1
        counts.append(count)
        done.append(made)
        lost.append(left)
    return x, np.array(counts), done, lost


def leap(x, mesh, table, external, steps, real, threads=1):
    """What the kernel makes of the same: a job a replica."""
    device = HostDevice(threads=threads)
    function = device.program(text("leap", D=1, REAL=real), ["leap"])["leap"]
    replicas, n = x.shape
    nodes = mesh.shape[0]
    counts = np.stack([deposit(replica[:, None], mesh).count for replica in x])
    positions, tables = device.array(x), [device.array(table), device.array(external)]
    motion, noises = Motion(DT, SCALE, NUMBER), [Noise(0, int(stream), LOW, HIGH) for stream in STREAMS]
    jobs = [
        job_words(
            (device.address(positions[i : i + 1]), *map(device.address, tables)), n, mesh, motion, noises[i], steps,
            i * (nodes + 2),
        )
        for i in range(replicas)
    ]  # fmt: skip
    back = device.array(np.pad(counts, [(0, 0), (2, 0)], constant_values=99).astype(np.uint64))
    arguments = [device.array(np.stack(jobs)), np.uint32(replicas), device.array(NORMAL_TABLE), back]
    function(replicas, 1024, arguments, shared=leap_bytes(nodes, x.itemsize))
    found = device.to_host(back).view(np.int64)
    return device.to_host(positions), found[:, 2:], found[:, 0].tolist(), found[:, 1].tolist()


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("real", ["float", "double"])
@pytest.mark.parametrize("particles", [1, 403])
def test_leap(real, particles, threads):
    """Positions and counts of five replicas after several steps, over a step number that wraps around."""
    x, mesh, table, external = setting(DTYPES[real], particles)
    expected = slow_leap(x, mesh, table, external, 7)
    found = leap(x, mesh, table, external, 7, real, threads)
    assert np.array_equal(found[0], expected[0])
    assert np.array_equal(found[1], expected[1])
    assert found[2:] == ([7] * 5, [0] * 5)


@pytest.mark.parametrize("real", ["float", "double"])
def test_leap_stops_at_losses(real):
    """A replica stops after the step in which it loses particles; the others go on."""
    x, mesh, table, external = setting(DTYPES[real], 202)
    end = (mesh.lower[0] + mesh.shape[0] - 1) * mesh.spacing
    x[1, 7], x[3, 100:103] = end - 0.45, end - 0.001
    external[-8:] = 45
    expected = slow_leap(x, mesh, table, external, 5)
    found = leap(x, mesh, table, external, 5, real, threads=2)
    assert np.array_equal(found[0], expected[0])
    assert found[2:] == expected[2:]
    assert found[2][0] == 5
    assert 1 < found[2][1] < 5
    assert found[3][3] == 3
    whole = np.array(found[3]) == 0
    assert np.array_equal(found[1][whole], expected[1][whole])


def test_no_steps():
    """Nothing is done in no steps, and it is said so."""
    x, mesh, table, external = setting(np.float32, 20)
    found = leap(x, mesh, table, external, 0, "float")
    assert np.array_equal(found[0], x)
    assert np.array_equal(found[1], slow_leap(x, mesh, table, external, 0)[1])
    assert found[2:] == ([0] * 5, [0] * 5)


def test_most_particles():
    """A node holds all of 65535 particles."""
    n = 65535
    x, mesh = np.zeros((5, n), np.float32), Mesh(1.0, (-2,), (5,))
    found = leap(x, mesh, np.zeros(9), np.zeros(5), 0, "float")
    assert found[1][0].tolist() == [0, 0, n << 16, 0, 0]
