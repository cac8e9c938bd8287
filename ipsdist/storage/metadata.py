"""What stands in a ``zarr.json``: the description of a group or an array, as Zarr v3 defines it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ipsdist.storage.layout import DTYPES, checked, fill_value

__all__ = ["METADATA", "ArrayLayout", "group_json", "parsed"]

METADATA = "zarr.json"

_BYTES = {"name": "bytes", "configuration": {"endian": "little"}}
_CRC = {"name": "crc32c"}
_NAMES = {dtype.name: dtype for dtype in DTYPES}


def _blosc(itemsize: int) -> dict[str, Any]:
    keys = {"typesize": itemsize, "cname": "lz4", "clevel": 5, "shuffle": "shuffle", "blocksize": 0}
    return {"name": "blosc", "configuration": keys}


@dataclass(frozen=True)
class ArrayLayout:
    """Shape and kind of an array, how it is cut into chunks, and how a chunk becomes bytes."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    chunks: tuple[int, ...]
    dims: tuple[str, ...]
    compress: bool
    """Blosc with lz4 and shuffle."""
    checked: bool
    """A crc32c at the end of every chunk; stores of earlier versions have none."""
    attributes: Mapping[str, Any]
    separator: str = "."
    """Between the numbers in the name of a chunk; earlier versions had a slash, and with it directories to be made."""

    @classmethod
    def new(
        cls,
        name: str,
        shape: tuple[int, ...],
        dtype: np.dtype[Any],
        dims: Sequence[str],
        chunks: tuple[int, ...],
        attributes: Mapping[str, Any],
        compress: bool,
    ) -> ArrayLayout:
        """Return the layout of a new array. Raises TypeError and ValueError for what the store does not hold."""
        checked(name)
        if dtype not in DTYPES:
            raise TypeError(f"the store holds numbers, not {dtype} ({name})")
        if len(dims) != len(shape):
            raise ValueError(f"`dims` of {name} must name {len(shape)} axes, got {tuple(dims)}")
        plain: dict[str, Any] = json.loads(json.dumps(dict(attributes)))  # what JSON cannot hold fails here
        return cls(shape, dtype, chunks, tuple(dims), compress, True, plain)

    def to_json(self) -> bytes:
        """Return the file ``zarr.json`` of the array, as Zarr itself would write it."""
        fill: Any = fill_value(self.dtype)
        if self.dtype.kind in "fc":
            fill = "NaN" if self.dtype.kind == "f" else ["NaN", 0.0]
        value = {
            "shape": self.shape,
            "data_type": self.dtype.name,
            "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": self.chunks}},
            "chunk_key_encoding": _keys(self.separator),
            "fill_value": fill,
            "codecs": _codecs(self.dtype.itemsize, self.compress, self.checked),
            "attributes": dict(self.attributes),
            "dimension_names": self.dims,
            "zarr_format": 3,
            "node_type": "array",
            "storage_transformers": [],
        }
        return json.dumps(value).encode()

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> ArrayLayout | None:
        """Return the layout of an array that a version of this program wrote; None for any other.

        Raises KeyError, TypeError or ValueError for what is no description of an array.
        """
        dtype, codecs = _NAMES.get(value["data_type"]), value["codecs"]
        separator = next((mark for mark in "./" if value["chunk_key_encoding"] == _keys(mark)), None)
        if dtype is None or separator is None or value["chunk_grid"]["name"] != "regular":
            return None
        for compress in (False, True):
            for crc in (True, False):
                if codecs == _codecs(dtype.itemsize, compress, crc):
                    shape, chunks = value["shape"], value["chunk_grid"]["configuration"]["chunk_shape"]
                    dims = tuple(value.get("dimension_names") or ())
                    attributes = value.get("attributes") or {}
                    return cls(tuple(shape), dtype, tuple(chunks), dims, compress, crc, attributes, separator)
        return None


def _keys(separator: str) -> dict[str, Any]:
    return {"name": "default", "configuration": {"separator": separator}}


def _codecs(itemsize: int, compress: bool, crc: bool) -> list[dict[str, Any]]:
    # A single byte has no order.
    first = _BYTES if itemsize > 1 else {"name": "bytes"}
    # The checksum comes last, over the bytes as they lie on the disk.
    return [first, *([_blosc(itemsize)] if compress else []), *([_CRC] if crc else [])]


def group_json(attributes: Mapping[str, Any]) -> bytes:
    """Return the file ``zarr.json`` of a group."""
    return json.dumps({"attributes": dict(attributes), "zarr_format": 3, "node_type": "group"}).encode()


def parsed(content: bytes, kind: Sequence[str]) -> dict[str, Any] | None:
    """Return a ``zarr.json`` of one of the kinds (``group``, ``array``); None for the other kind.

    Raises ValueError for what is no description of Zarr v3.
    """
    value = json.loads(content)
    if not isinstance(value, dict) or value.get("zarr_format") != 3:
        raise ValueError("it is no description of Zarr v3")
    return value if value.get("node_type") in kind else None
