"""The fused step against its NumPy twin, bit for bit, in one, two and three dimensions."""

import numpy as np
import pytest

from ipsdist.model.mesh import Mesh
from ipsdist.numerics.densities.deposit import deposit
from ipsdist.numerics.device.step import move, step
from ipsdist.numerics.particles.noise import NORMAL_TABLE, normals, seed_words
from tests.references import euler_step

SEED, STREAM, NUMBER, DT, SCALE = 11, 4, 9, 0.01, 0.1


def _setting(dimension, particles=5003):
    rng = np.random.default_rng(dimension)
    positions = rng.normal(0.3, 0.4, (particles, dimension))
    mesh = Mesh.around(positions.min(0) - 1, positions.max(0) + 1, 2.0**-3)
    return positions, mesh, rng.normal(size=(dimension, *mesh.shape))


def _step(positions, drift, mesh, count, first=0):
    noise = NORMAL_TABLE, np.uint64(first), np.uint64(NUMBER), np.uint64(STREAM), *seed_words(SEED)
    return step(positions.reshape(-1), drift, np.array(mesh.lower), 1 / mesh.spacing, DT, SCALE, *noise, count)


@pytest.mark.parametrize("dimension", [1, 2, 3])
def test_step_equals_twin(dimension):
    """Positions and counts are those of NumPy steps with the NumPy noise, to the last bit."""
    positions, mesh, drift = _setting(dimension)
    noise = normals(SEED, STREAM, NUMBER, 0, positions.size).reshape(positions.shape)
    expected = euler_step(positions, drift, mesh, DT, SCALE, noise)
    count = np.zeros(mesh.shape, dtype=np.int64)
    assert _step(positions, drift, mesh, count) == 0
    assert np.array_equal(positions, expected)
    assert np.array_equal(count, deposit(expected, mesh).count)


@pytest.mark.parametrize("dimension", [1, 2, 3])
def test_step_in_chunks(dimension):
    """Chunks of a multiple of four particles move alike and their counts add to the same integers."""
    positions, mesh, drift = _setting(dimension)
    whole, chunked = positions.copy(), positions.copy()
    count, sums = np.zeros(mesh.shape, dtype=np.int64), np.zeros(mesh.shape, dtype=np.int64)
    _step(whole, drift, mesh, count)
    for start in range(0, len(positions), 1236):
        _step(chunked[start : start + 1236], drift, mesh, sums, first=start * dimension)
    assert np.array_equal(whole, chunked)
    assert np.array_equal(count, sums)


@pytest.mark.parametrize("dimension", [1, 2, 3])
@pytest.mark.parametrize("force", [1e6, -1e300, np.nan])
def test_step_counts_who_left(dimension, force):
    """Particles that leave the mesh, or are no longer finite, are counted; all are moved."""
    positions, mesh, _ = _setting(dimension)
    drift = np.zeros((dimension, *mesh.shape))
    drift[-1] = force
    assert _step(positions, drift, mesh, np.zeros(mesh.shape, dtype=np.int64)) == len(positions)
    assert not (np.abs(positions[:, -1]) < 1000).any()


@pytest.mark.parametrize("dimension", [1, 2])
def test_move_equals_twin(dimension):
    """Moves by a given drift are those of NumPy, bit for bit."""
    positions, _, _ = _setting(dimension)
    drift = np.random.default_rng(8).normal(size=positions.shape)
    noise = normals(SEED, STREAM, NUMBER, 0, positions.size).reshape(positions.shape)
    expected = (positions + DT * drift) + SCALE * noise.astype(np.float64)
    key = np.uint64(NUMBER), np.uint64(STREAM), *seed_words(SEED)
    move(positions.reshape(-1), drift.reshape(-1), DT, SCALE, NORMAL_TABLE, np.uint64(0), *key)
    assert np.array_equal(positions, expected)
