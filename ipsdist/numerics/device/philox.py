"""Philox4x32-10 and its normals in Numba; `numerics.particles.noise` is the NumPy twin and explains the numbers.

Every literal is typed: Numba turns ``uint32 + int literal`` into int64, which costs half of the vector width.
"""

from __future__ import annotations

import numpy as np
from numba import njit

__all__ = ["fill_normals"]

_M0, _M1 = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_W0, _W1 = np.uint64(0x9E3779B9), np.uint64(0xBB67AE85)
_MASK = np.uint64(0xFFFFFFFF)
_HALF, _FOUR = np.uint64(32), np.uint64(4)
_FRACTION_BITS, _FIRST_EXPONENT = np.int32(20), np.int32(126 << 3)
_FRACTION, _MAGNITUDE, _SIGN = np.int32(0xFFFFF), np.int32(0x7FFFFFFF), np.int32(-(2**31))
_OFFSET = np.float32(0.5)


@njit(cache=True)
def _words(out, first_block, step, stream, low, high):  # type: ignore[no-untyped-def]
    """Fill ``out`` (multiple of 4, uint32) with the blocks from ``first_block`` on. The blocks are vectorised."""
    for i in range(out.size // 4):
        block = first_block + np.uint64(i)
        c0, c1, c2, c3 = block & _MASK, block >> _HALF, step, stream
        k0, k1 = low, high
        for _ in range(10):
            p0, p1 = c0 * _M0, c2 * _M1
            c0, c1, c2, c3 = (p1 >> _HALF) ^ c1 ^ k0, p1 & _MASK, (p0 >> _HALF) ^ c3 ^ k1, p0 & _MASK
            k0, k1 = (k0 + _W0) & _MASK, (k1 + _W1) & _MASK
        out[4 * i] = np.uint32(c0)
        out[4 * i + 1] = np.uint32(c1)
        out[4 * i + 2] = np.uint32(c2)
        out[4 * i + 3] = np.uint32(c3)


@njit(cache=True)
def fill_normals(out, words, table, first, step, stream, low, high):  # type: ignore[no-untyped-def]
    """Fill ``out`` (n, float32) with the normals of the words ``first ..`` of a stream; ``first`` is a multiple of 4.

    ``words`` (uint32, n rounded up to a multiple of 4) is scratch; ``table`` is `noise.NORMAL_TABLE`. The loops are
    kept apart because each of them then becomes vector instructions.
    """
    n = out.size
    _words(words[: (n + 3) // 4 * 4], first // _FOUR, step, stream, low, high)
    word = words.view(np.int32)
    bits = out.view(np.int32)
    for i in range(n):
        out[i] = np.float32(word[i] & _MAGNITUDE) + _OFFSET
    for i in range(n):
        row = (bits[i] >> _FRACTION_BITS) - _FIRST_EXPONENT
        t = np.float32(bits[i] & _FRACTION)
        out[i] = ((table[3, row] * t + table[2, row]) * t + table[1, row]) * t + table[0, row]
    for i in range(n):
        bits[i] ^= word[i] & _SIGN
