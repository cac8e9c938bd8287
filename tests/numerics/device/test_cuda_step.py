"""The CUDA text of step and move against Numba, bit for bit, in every dimension, type and place of the counters."""

import numpy as np
import pytest

from ipsdist.model.mesh import Mesh
from ipsdist.numerics.densities.deposit import deposit
from ipsdist.numerics.device.step import move, step
from ipsdist.numerics.particles.noise import NORMAL_TABLE
from tests.host_device import COMPILER
from tests.numerics.device.cuda_launches import DTYPES, Particles

pytestmark = pytest.mark.skipif(COMPILER is None, reason="no g++ to compile CUDA text for the host")

DT, SCALE = 0.01, 0.1
NOISE = 4 * (2**40 + 3), 2**32 - 5, 77, 0x9E3779B9, 0xDEADBEEF
"""First word beyond 2**32 blocks, number, stream, low, high."""


def numba_noise(noise):
    return NORMAL_TABLE, *map(np.uint64, noise)


def numba_step(x, drift, mesh, noise, count, dt=DT, scale=SCALE):
    """The Numba step of positions (n, d)."""
    return step(
        x.reshape(-1), drift, np.array(mesh.lower), 1 / mesh.spacing, dt, scale, *numba_noise(noise), count
    )  # fmt: skip


def setting(dimension, dtype, particles):
    """Positions on both sides of 0, with some next to nodes and to 0, a mesh around them, a drift at its nodes."""
    rng, spacing = np.random.default_rng(dimension), 0.5 if dimension == 3 else 0.125
    x = rng.normal(0.05, 0.4, (particles, dimension)).astype(dtype)
    x[::7] = np.round(x[::7] / spacing) * spacing + dtype(1e-9) * rng.normal(size=x[::7].shape)
    x[3::11] *= dtype(1e-12)
    x[5::13] = 0
    mesh = Mesh.around(x.min(0, initial=-1) - 1, x.max(0, initial=1) + 1, spacing)
    return x.astype(dtype), mesh, rng.normal(size=(dimension, *mesh.shape)).astype(dtype)


@pytest.mark.parametrize(("nodes", "field", "packed"), [(1, 1, 0), (1, 0, 0), (0, 0, 0), (0, 0, 1)])
@pytest.mark.parametrize("real", ["float", "double"])
@pytest.mark.parametrize("dimension", [1, 2, 3])
def test_equals_numba(dimension, real, nodes, field, packed):
    """Positions and counts of any number of particles have Numba's bits, step after step."""
    kernels = Particles(dimension, real, nodes, field, packed)
    for particles in (1, 2, 3, 5, 1003):
        x, mesh, drift = setting(dimension, DTYPES[real], particles)
        expected = x.copy()
        for number in range(3):
            noise = NOISE[0], number, *NOISE[2:]
            count, right = np.full(mesh.shape, 5, np.int64), np.full(mesh.shape, 5, np.int64)
            assert numba_step(expected, drift, mesh, noise, right) == 0
            assert kernels.step(x, drift, mesh, DT, SCALE, noise, count) == (0, 0)
            assert np.array_equal(x, expected)
            assert np.array_equal(count, right)


@pytest.mark.parametrize("real", ["float", "double"])
@pytest.mark.parametrize("dimension", [1, 2, 3])
def test_threads(dimension, real):
    """Threads that run at the same time, with their barriers and atomics, do the same."""
    x, mesh, drift = setting(dimension, DTYPES[real], 4001)
    expected, right, count = x.copy(), np.zeros(mesh.shape, np.int64), np.zeros(mesh.shape, np.int64)
    numba_step(expected, drift, mesh, NOISE, right)
    assert Particles(dimension, real, threads=3).step(x, drift, mesh, DT, SCALE, NOISE, count) == (0, 0)
    assert np.array_equal(x, expected)
    assert np.array_equal(count, right)


@pytest.mark.parametrize("real", ["float", "double"])
@pytest.mark.parametrize("dimension", [1, 2, 3])
def test_chunks(dimension, real):
    """Chunks move alike and their counts add up, also where a chunk does not begin at a multiple of 16 bytes."""
    kernels = Particles(dimension, real)
    x, mesh, drift = setting(dimension, DTYPES[real], 603)
    expected, right, count = x.copy(), np.zeros(mesh.shape, np.int64), np.zeros(mesh.shape, np.int64)
    numba_step(expected, drift, mesh, NOISE, right)
    for start in range(0, len(x), 100):
        part = x[start : start + 100]
        noise = NOISE[0] + start * dimension, *NOISE[1:]
        assert kernels.step(part, drift, mesh, DT, SCALE, noise, count) == (0, 0)
    assert np.array_equal(x, expected)
    assert np.array_equal(count, right)


@pytest.mark.parametrize("real", ["float", "double"])
@pytest.mark.parametrize("dimension", [1, 2, 3])
def test_those_who_leave(dimension, real):
    """Who leaves the mesh is moved and counted as Numba does; the others' weights are there."""
    x, mesh, drift = setting(dimension, DTYPES[real], 1001)
    edge = (np.array(mesh.lower) + np.array(mesh.shape) - 1) * mesh.spacing
    x[::10] = edge - 1e-3
    x[1::10, -1] = np.array(mesh.lower)[-1] * mesh.spacing
    expected, count = x.copy(), np.zeros(mesh.shape, np.int64)
    left = numba_step(expected, drift, mesh, NOISE, np.zeros(mesh.shape, np.int64))
    assert Particles(dimension, real).step(x, drift, mesh, DT, SCALE, NOISE, count) == (left, 0)
    assert left > 50
    assert np.array_equal(x, expected)
    cell = np.floor(x / mesh.spacing) - mesh.lower
    inside = ((cell >= 0) & (cell < np.array(mesh.shape) - 1)).all(axis=1)
    assert np.array_equal(count, deposit(x[inside], mesh).count)


@pytest.mark.parametrize("real", ["float", "double"])
@pytest.mark.parametrize("dimension", [1, 2, 3])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30, -1e30, 2.0**33, -(2.0**33)])
def test_those_off_before(dimension, real, value):
    """Positions off the mesh, however far, are counted and stay; also those on its upper end. The others move."""
    x, mesh, drift = setting(dimension, DTYPES[real], 43)
    whole, old = x.copy(), x.copy()
    noise_of_all = np.zeros(mesh.shape, np.int64)
    numba_step(whole, drift, mesh, NOISE, noise_of_all)
    old[[0, 8, 42], -1] = value
    old[21, 0] = (mesh.lower[0] + mesh.shape[0] - 1) * mesh.spacing
    old[22, 0] = np.nextafter(DTYPES[real](mesh.lower[0] * mesh.spacing), DTYPES[real](-np.inf))
    x, gone = old.copy(), [0, 8, 21, 22, 42]
    count = np.zeros(mesh.shape, np.int64)
    assert Particles(dimension, real).step(x, drift, mesh, DT, SCALE, NOISE, count) == (0, 5)
    assert np.array_equal(x[gone], old[gone], equal_nan=True)
    stayed = np.delete(np.arange(43), gone)
    assert np.array_equal(x[stayed], whole[stayed])
    assert np.array_equal(count, deposit(x[stayed], mesh).count)


@pytest.mark.parametrize("real", ["float", "double"])
@pytest.mark.parametrize(("lower", "spacing"), [
    (-3, 2.0**-40), (2**19 - 20, 2.0**-10), (-(2**19) - 8, 1.0), (2**21, 2.0**-5), (-(2**33), 2.0**-3), (-4, 2.0**80),
    (-5, 4.0),
])  # fmt: skip
def test_far_and_fine_meshes(real, lower, spacing):
    """Meshes far from 0 in spacings, and very fine or coarse ones, where the cheap weights do not serve, are right."""
    dtype = DTYPES[real]
    mesh = Mesh(spacing, (lower,), (16,))
    rng = np.random.default_rng(3)
    x = ((lower + rng.uniform(4, 11, (501, 1))) * spacing).astype(dtype)
    drift = (rng.normal(size=(1, 16)) * spacing).astype(dtype)
    expected, right, count = x.copy(), np.zeros(16, np.int64), np.zeros(16, np.int64)
    assert numba_step(expected, drift, mesh, NOISE, right, 0.25, 0.5 * spacing) == 0
    assert Particles(1, real).step(x, drift, mesh, 0.25, 0.5 * spacing, NOISE, count) == (0, 0)
    assert np.array_equal(x, expected)
    assert np.array_equal(count, right)


@pytest.mark.parametrize("nodes", [0, 1])
def test_more_than_a_counter_holds(nodes):
    """A node that more than 65535 particles meet is counted in full: a counter of 32 bits would overflow."""
    n = 250_001
    mesh = Mesh(1.0, (-2,), (5,))
    x = np.zeros((n, 1), np.float32)
    count = np.zeros(5, np.int64)
    assert Particles(1, "float", nodes, nodes).step(
        x, np.zeros((1, 5), np.float32), mesh, 0.1, 0.0, NOISE, count
    ) == (0, 0)  # fmt: skip
    assert count.tolist() == [0, 0, n << 16, 0, 0]


@pytest.mark.parametrize("real", ["float", "double"])
@pytest.mark.parametrize("dimension", [1, 2, 3])
def test_end_of_the_mesh(dimension, real):
    """Next to its upper end all weight is that of the last node, and nothing is added beyond the counters."""
    mesh, dtype = Mesh(1.0, (-2,) * dimension, (5,) * dimension), DTYPES[real]
    drift = np.zeros((dimension, *mesh.shape), dtype)
    x = np.full((9, dimension), np.nextafter(dtype(2), dtype(0)))
    count = np.zeros(mesh.shape, np.int64)
    assert Particles(dimension, real).step(x, drift, mesh, 0.1, 0.0, NOISE, count) == (0, 0)
    assert count[(-1,) * dimension] == 9 << 16 == count.sum()


def test_weights_of_special_shares():
    """Shares next to halves of a weight's unit, on both sides of 0, give Numba's weights in both types."""
    half = (np.arange(-65600, 65600) + 0.5) / 65536
    mesh = Mesh(1.0, (-3,), (7,))
    for real, dtype in DTYPES.items():
        here = half.astype(dtype)
        tiny = np.array([0.0, -0.0, 1e-30, -1e-30, 2.0**-18, -(2.0**-17), -(2.0**-25), -(2.0**-54), 2.0**-17])
        last = np.array([(0.5 - 2.0**-54) / 65536, -(1 - 2.0**-53), -(2.0**-17) - 2.0**-60])
        below, above = np.nextafter(here, dtype(-9)), np.nextafter(here, dtype(9))
        x = np.concatenate([here, below, above, tiny.astype(dtype), last.astype(dtype)])[:, None]
        kernels, drift = Particles(1, real), np.zeros((1, 7), dtype)
        for some in np.array_split(x, 40):
            count, right, given = np.zeros(7, np.int64), np.zeros(7, np.int64), some.copy()
            assert numba_step(given, drift, mesh, NOISE, right, 0.1, 0.0) == 0
            assert kernels.step(some.copy(), drift, mesh, 0.1, 0.0, NOISE, count) == (0, 0)
            assert np.array_equal(count, right)
        for one in (*tiny, *last):
            count, right = np.zeros(7, np.int64), np.zeros(7, np.int64)
            numba_step(np.full((1, 1), one, dtype), drift, mesh, NOISE, right, 0.1, 0.0)
            kernels.step(np.full((1, 1), one, dtype), drift, mesh, 0.1, 0.0, NOISE, count)
            assert np.array_equal(count, right)


@pytest.mark.parametrize("real", ["float", "double"])
@pytest.mark.parametrize(("dimension", "particles"), [(1, 1), (1, 1003), (2, 333), (3, 335)])
def test_move_equals_numba(dimension, particles, real):
    """Moves by given drifts have Numba's bits; NaN stays NaN."""
    rng = np.random.default_rng(5)
    x = rng.normal(size=(particles, dimension)).astype(DTYPES[real])
    drift = rng.normal(size=(particles, dimension))
    x[-1, 0] = np.nan
    expected = x.copy()
    move(expected.reshape(-1), drift.reshape(-1), DT, SCALE, *numba_noise(NOISE))
    kernels = Particles(dimension, real, threads=2)
    kernels.launch(
        "move", x, np.uint64(particles), drift, np.float64(DT), np.float64(SCALE), NORMAL_TABLE.copy(),
        np.uint64(NOISE[0]), *map(np.uint32, NOISE[1:]),
    )  # fmt: skip
    assert np.array_equal(x, expected, equal_nan=True)
