"""Names, dtypes and chunks: what an array in the store may be."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np

__all__ = ["DTYPES", "RECORDS", "checked", "fill_value", "whole_chunks"]

RECORDS = "records"
"""The group of the records; no array has a name in it."""
DTYPES = frozenset(
    np.dtype(t) for t in ("?", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8", "c8", "c16")
)
"""What an array may hold: numbers of a fixed size, so that nothing is ever unpickled."""

_CHUNK_BYTES = 16 * 2**20
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*(/[A-Za-z0-9_][A-Za-z0-9_.+-]*)*")


def checked(name: str) -> str:
    """Return a name that stays inside the store; anything else is a ValueError."""
    if not _NAME.fullmatch(name) or name.split("/")[0] == RECORDS:
        raise ValueError(f"not a name of the store: {name!r}")
    return name


def fill_value(dtype: np.dtype[Any]) -> float | int | bool:
    """Return what readers find where nothing was written: NaN, -1 for signed integers, 0 for unsigned, False."""
    return {"f": math.nan, "c": math.nan, "i": -1, "u": 0, "b": False}[dtype.kind]


def whole_chunks(shape: tuple[int, ...], itemsize: int) -> tuple[int, ...]:
    """Chunks for an array that is written in one call: the array itself, cut along the first axes when it is large."""
    chunks = [max(1, n) for n in shape]
    for axis in range(len(chunks)):
        size = math.prod(chunks) * itemsize
        if size > _CHUNK_BYTES:
            chunks[axis] = max(1, chunks[axis] * _CHUNK_BYTES // size)
    return tuple(chunks)
