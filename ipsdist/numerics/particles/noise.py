"""Counter-based noise: Philox4x32-10 words and their normals, a pure function of (seed, stream, step, index).

The NumPy twin of ``numerics/device/philox.py``, equal to it bit for bit. Word ``q`` of a stream is lane ``q & 3`` of
the block with counter ``(q >> 2, step, stream)`` and key ``seed``; particle i uses the words ``i*d .. i*d + d - 1``, so
that its noise depends neither on its chunk nor on its neighbours. Philox is that of Salmon et al. 2011 (Random123).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri

__all__ = [
    "INITIAL_NORMALS",
    "INITIAL_UNIFORMS",
    "LANES",
    "NORMAL_TABLE",
    "STEPPING",
    "normals",
    "philox",
    "seed_words",
    "stream_of",
    "to_normals",
    "uniforms",
    "words",
]

STEPPING, INITIAL_NORMALS, INITIAL_UNIFORMS = range(3)
"""What a stream is used for."""
_PURPOSES = 4

LANES = 4
"""Words of a Philox block: chunks, parts and pieces begin at a whole one."""

_MASK = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)
_MULTIPLIERS = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_WEYL = np.uint64(0x9E3779B9), np.uint64(0xBB67AE85)
_ROUNDS = 10

_FIRST_EXPONENT = 126 << 3
"""Row 0 of the table: the float32 bits of 0.5, shifted right by 20."""


def _normal_table() -> npt.NDArray[np.float32]:
    """Return the cubics of -ndtri(f / 2**32) on 8 parts of every octave of f in [1/2, 2**31] (4, 257), in powers of t.

    t is the integer in the low 20 bits of the mantissa of f. The last column belongs to f = 2**31, the median.
    """
    rows = np.arange(32 * 8)
    octave = np.ldexp(1.0, rows // 8 - 1)
    nodes = (np.cos((2 * np.arange(4) + 1) * np.pi / 8) + 1) / 2
    f = octave[:, None] * (1 + (rows[:, None] % 8 + nodes) / 8)
    cubics = np.linalg.solve(np.vander(nodes, 4, increasing=True), -ndtri(f * 2.0**-32).T)
    table = np.zeros((4, rows.size + 1), dtype=np.float32)
    table[:, :-1] = cubics * np.ldexp(1.0, -20 * np.arange(4))[:, None]
    return table


NORMAL_TABLE = _normal_table()
"""(4, 257) float32, 4 kB: coefficients of t**0 .. t**3 of the inverse normal distribution function."""


def stream_of(replica: int, purpose: int) -> int:
    """Return the stream number of a replica (0 <= replica < 2**30) and a purpose."""
    return replica * _PURPOSES + purpose


def seed_words(seed: int) -> tuple[np.uint64, np.uint64]:
    """Return the low and the high 32 bits of a seed (taken modulo 2**64)."""
    return np.uint64(seed & 0xFFFFFFFF), np.uint64(seed >> 32 & 0xFFFFFFFF)


def philox(counter: npt.ArrayLike, key: npt.ArrayLike) -> npt.NDArray[np.uint64]:
    """Return Philox4x32-10 of counters (4, ...) and keys (2, ...): 32-bit words in uint64 (4, ...)."""
    c0, c1, c2, c3 = np.asarray(counter, dtype=np.uint64)
    k0, k1 = np.asarray(key, dtype=np.uint64)
    for _ in range(_ROUNDS):
        p0, p1 = c0 * _MULTIPLIERS[0], c2 * _MULTIPLIERS[1]
        c0, c1, c2, c3 = (p1 >> _HALF) ^ c1 ^ k0, p1 & _MASK, (p0 >> _HALF) ^ c3 ^ k1, p0 & _MASK
        k0, k1 = (k0 + _WEYL[0]) & _MASK, (k1 + _WEYL[1]) & _MASK
    return np.stack([c0, c1, c2, c3])


def words(seed: int, stream: int, step: int, first: int, count: int) -> npt.NDArray[np.uint32]:
    """Return the words ``first .. first + count - 1`` of a stream at a step (count,)."""
    blocks = np.arange(first >> 2, (first + count + 3) >> 2, dtype=np.uint64)
    rest = np.broadcast_to(np.array([[step], [stream]], dtype=np.uint64), (2, blocks.size))
    counter = np.concatenate([[blocks & _MASK, blocks >> _HALF], rest])
    lanes = philox(counter, np.array(seed_words(seed))[:, None])
    skipped = first & 3
    return lanes.T.ravel()[skipped : skipped + count].astype(np.uint32)


def normals(seed: int, stream: int, step: int, first: int, count: int) -> npt.NDArray[np.float32]:
    """Return standard normals (count,), those of the words ``first ..`` of a stream at a step."""
    return to_normals(words(seed, stream, step, first, count))


def to_normals(word: npt.NDArray[np.uint32]) -> npt.NDArray[np.float32]:
    """Return the normal of every word: the quantile of (low 31 bits + 1/2) / 2**32, turned round by the top bit.

    The 31 bits plus a half become a float32 whose exponent and leading mantissa bits name the cubic. Only adds and
    multiplies of float32 follow, so every IEEE machine gives the same bits. Error below 6e-7.
    """
    f = (word & np.uint32(0x7FFFFFFF)).astype(np.float32) + np.float32(0.5)
    bits = f.view(np.uint32)
    row = (bits >> np.uint32(20)) - np.uint32(_FIRST_EXPONENT)
    t = (bits & np.uint32(0xFFFFF)).astype(np.float32)
    c0, c1, c2, c3 = NORMAL_TABLE[:, row]
    magnitude = ((c3 * t + c2) * t + c1) * t + c0
    signed: npt.NDArray[np.uint32] = magnitude.view(np.uint32) ^ (word & np.uint32(0x80000000))
    return signed.view(np.float32)


def uniforms(seed: int, stream: int, step: int, first: int, count: int) -> npt.NDArray[np.float64]:
    """Return uniforms in (0, 1), midpoints of 2**32 equal parts (count,), one a word."""
    return (words(seed, stream, step, first, count).astype(np.float64) + 0.5) * 2.0**-32
