"""Philox and normals: known answers, a scalar twin, and Numba against NumPy bit for bit."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipsdist.numerics.device.philox import fill_normals
from ipsdist.numerics.particles.noise import NORMAL_TABLE, normals, philox, seed_words, words
from tests.references import philox_scalar

KNOWN = [
    ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
]


def _hex(text):
    return [int(word, 16) for word in text.split()]


@pytest.mark.parametrize(("counter", "key", "answer"), KNOWN)
def test_known_answers(counter, key, answer):
    """The vectors of Random123 for philox4x32-10."""
    assert philox(_hex(counter), _hex(key)).tolist() == _hex(answer)
    assert philox_scalar(_hex(counter), _hex(key)) == _hex(answer)


@given(seed=st.integers(0, 2**64 - 1), stream=st.integers(0, 2**32 - 1), step=st.integers(0, 2**32 - 1),
       first=st.integers(0, 2**40), count=st.integers(1, 9))  # fmt: skip
def test_words_are_lanes_of_blocks(seed, stream, step, first, count):
    """Word q is lane q & 3 of the block with counter (q >> 2, step, stream), whatever the first word asked for."""
    key = seed & 0xFFFFFFFF, seed >> 32
    expected = [
        philox_scalar((q >> 2 & 0xFFFFFFFF, q >> 34, step, stream), key)[q & 3] for q in range(first, first + count)
    ]
    assert words(seed, stream, step, first, count).tolist() == expected


@given(seed=st.integers(0, 2**64 - 1), stream=st.integers(0, 2**32 - 1), step=st.integers(0, 2**32 - 1),
       block=st.integers(0, 2**38), count=st.integers(1, 300))  # fmt: skip
def test_numba_normals_equal_numpy(seed, stream, step, block, count):
    """Device normals are those of the NumPy twin, bit for bit."""
    out, scratch = np.empty(count, np.float32), np.empty(count + 3, np.uint32)
    fill_normals(
        out, scratch, NORMAL_TABLE, np.uint64(4 * block), np.uint64(step), np.uint64(stream), *seed_words(seed)
    )
    expected = normals(seed, stream, step, 4 * block, count)
    assert np.array_equal(out.view(np.uint32), expected.view(np.uint32))


def test_numba_normals_cover_the_table():
    """Bits agree also in the far tails: four million words meet 19 octaves of the table."""
    n = 2**22
    out = np.empty(n, np.float32)
    fill_normals(out, np.empty(n, np.uint32), NORMAL_TABLE, np.uint64(0), np.uint64(3), np.uint64(8), *seed_words(7))
    expected = normals(7, 8, 3, 0, n)
    assert np.array_equal(out.view(np.uint32), expected.view(np.uint32))
    assert np.abs(expected).max() > 4.5
