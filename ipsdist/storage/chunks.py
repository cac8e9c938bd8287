"""Chunks of an array to bytes and back: little-endian, blosc where asked, a crc32c at the end."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from ipsdist.storage.layout import fill_value
from ipsdist.storage.metadata import ArrayLayout
from ipsdist.storage.places import Buffer

__all__ = ["Piece", "decoded", "encoded", "pieces"]

_CRC_BYTES = 4


@dataclass(frozen=True)
class Piece:
    """The part of a region that lies in one chunk."""

    key: str
    """Name of the chunk below its array."""
    inside: tuple[slice, ...]
    """Where it lies in the chunk."""
    outside: tuple[slice, ...]
    """Where it lies in the region."""


def pieces(layout: ArrayLayout, region: Sequence[slice]) -> Iterator[Piece]:
    """Yield the chunks that a region (a slice an axis, fewer for the first axes) touches, in order.

    Raises ValueError for a step other than one.
    """
    axes = []
    for axis, (n, chunk) in enumerate(zip(layout.shape, layout.chunks, strict=True)):
        start, stop, step = (region[axis] if axis < len(region) else slice(None)).indices(n)
        if step != 1:
            raise ValueError("a region of the store has steps of one")
        cuts = range(start // chunk, -(-stop // chunk)) if stop > start else range(0)
        axes.append([_cut(k, chunk, start, stop) for k in cuts])
    for index in np.ndindex(*(len(cuts) for cuts in axes)):
        chosen = [cuts[i] for cuts, i in zip(axes, index, strict=True)]
        yield Piece(
            layout.separator.join(["c", *(str(k) for k, _, _ in chosen)]),
            tuple(inside for _, inside, _ in chosen),
            tuple(outside for _, _, outside in chosen),
        )


def _cut(k: int, chunk: int, start: int, stop: int) -> tuple[int, slice, slice]:
    low, high = max(start, k * chunk), min(stop, (k + 1) * chunk)
    return k, slice(low - k * chunk, high - k * chunk), slice(low - start, high - start)


def encoded(layout: ArrayLayout, values: npt.NDArray[Any]) -> tuple[Buffer, ...]:
    """Return the bytes of a chunk, in parts so that nothing large is copied; one at an edge is filled up."""
    if values.shape != layout.chunks:
        whole = np.full(layout.chunks, fill_value(layout.dtype), layout.dtype)
        whole[tuple(map(slice, values.shape))] = values
        values = whole
    plain = np.ascontiguousarray(values, dtype=layout.dtype.newbyteorder("<"))
    content: Buffer = plain.reshape(-1).view(np.uint8).data
    if layout.compress:
        content = _blosc(layout.dtype.itemsize).encode(plain)
    return (content, _crc(content)) if layout.checked else (content,)


def decoded(layout: ArrayLayout, content: bytes) -> npt.NDArray[Any]:
    """Return the values of a chunk, read only. Raises ValueError, saying why, for bytes that are not as written."""
    view = memoryview(content)
    if layout.checked:
        if len(view) < _CRC_BYTES or _crc(view[:-_CRC_BYTES]) != view[-_CRC_BYTES:]:
            raise ValueError("its checksum is wrong")
        view = view[:-_CRC_BYTES]
    size = layout.dtype.itemsize * int(np.prod(layout.chunks, dtype=np.int64))
    if layout.compress:
        if int.from_bytes(view[4:8], "little") != size:  # the header of blosc, before it asks for that much memory
            raise ValueError(f"it does not hold {size} bytes")
        try:
            view = memoryview(_blosc(layout.dtype.itemsize).decode(view))
        except RuntimeError as error:
            raise ValueError(str(error)) from error
    if len(view) != size:
        raise ValueError(f"it has {len(view)} bytes in place of {size}")
    return np.frombuffer(view, layout.dtype.newbyteorder("<")).reshape(layout.chunks)


def _crc(content: Buffer) -> bytes:
    import google_crc32c

    return int(google_crc32c.value(np.frombuffer(content, np.uint8))).to_bytes(_CRC_BYTES, "little")


@lru_cache(maxsize=16)
def _blosc(itemsize: int) -> Any:
    from numcodecs import blosc

    blosc.use_threads = False  # as Zarr does: threads would put the parts of a chunk in any order
    return blosc.Blosc(cname="lz4", clevel=5, shuffle=blosc.SHUFFLE, blocksize=0, typesize=itemsize)
