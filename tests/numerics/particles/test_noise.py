"""Normals and uniforms: accuracy of the inverse distribution function, moments, independence of chunks."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import ndtri
from scipy.stats import kstest

from ipsdist.numerics.particles.noise import NORMAL_TABLE, normals, stream_of, to_normals, uniforms


def _quantile(word):
    """Return what the words should give, in float64."""
    magnitude = -ndtri(((word & 0x7FFFFFFF).astype(np.float64) + 0.5) / 2**32)
    return np.where(word >> 31, -magnitude, magnitude)


def test_inverse_distribution_function():
    """Error below 6e-7 on an even lattice of words, around every power of two, and at the ends."""
    octaves = np.array([2**k + j for k in range(31) for j in (-2, -1, 0, 1, 2) if 0 <= 2**k + j < 2**31])
    word = np.concatenate([np.arange(0, 2**32, 4099), octaves, octaves + 2**31, [0, 2**31 - 1, 2**31, 2**32 - 1]])
    word = word.astype(np.uint32)
    assert np.abs(to_normals(word) - _quantile(word)).max() < 6e-7


def test_table_is_small_and_monotone_between_parts():
    """Four kilobytes, and values never rise by more than rounding as the word grows."""
    assert NORMAL_TABLE.nbytes < 4200
    word = np.unique(np.geomspace(1, 2**31 - 1, 400_000).astype(np.uint32))
    assert np.diff(to_normals(word)).max() < 1e-6


def test_normals_are_normal():
    """Moments up to the fourth within four standard errors, Kolmogorov-Smirnov, and no correlation of neighbours."""
    n = 2**20
    x = normals(1, 2, 3, 0, n).astype(np.float64)
    for power, moment, variance in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)):
        assert abs((x**power).mean() - moment) < 4 * np.sqrt(variance / n)
    assert kstest(x, "norm").pvalue > 1e-3
    for lag in (1, 2, 3, 4, 8):
        assert abs((x[lag:] * x[:-lag]).mean()) < 4 / np.sqrt(n)


def test_uniforms_are_uniform():
    """Inside (0, 1), Kolmogorov-Smirnov."""
    u = uniforms(5, 6, 7, 0, 2**18)
    assert 0 < u.min() < u.max() < 1
    assert kstest(u, "uniform").pvalue > 1e-3


@given(first=st.integers(0, 1000), count=st.integers(1, 200))
def test_any_part_of_a_stream(first, count):
    """Words first .. first + count - 1 are those of the whole stream, at any alignment."""
    assert np.array_equal(normals(3, 1, 4, first, count), normals(3, 1, 4, 0, 1200)[first : first + count])


@pytest.mark.parametrize("change", ["seed", "high half of the seed", "stream", "step"])
def test_streams_differ(change):
    """Another seed, stream or step shares no value and is uncorrelated."""
    n = 2**16
    other = {"seed": (2, 0, 0), "high half of the seed": (1 + 2**32, 0, 0), "stream": (1, 1, 0), "step": (1, 0, 1)}
    x, y = normals(1, 0, 0, 0, n), normals(*other[change], 0, n)
    assert abs(float((x * y).mean())) < 4 / np.sqrt(n)
    assert (x != y).mean() > 0.999


def test_streams_of_replicas_are_distinct():
    """No two (replica, purpose) share a stream."""
    assert len({stream_of(replica, purpose) for replica in range(100) for purpose in range(3)}) == 300
