"""Zarr groups that others wrote, read by name: numbers only, so that nothing is ever unpickled."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ipsdist.model.errors import InputError

__all__ = ["ForeignArray", "foreign_arrays"]


@dataclass(frozen=True)
class ForeignArray:
    """One array of numbers in a foreign store; rows are read when they are asked for."""

    name: str
    shape: tuple[int, ...]
    dims: tuple[str, ...] | None
    """Names of the axes, where the store has them."""
    attributes: dict[str, Any]
    handle: Any

    def read(self, first: int, stop: int) -> npt.NDArray[Any]:
        """Return rows first .. stop - 1."""
        return np.asarray(self.handle[first:stop])


def foreign_arrays(path: Path) -> dict[str, ForeignArray]:
    """Return the arrays of numbers of a Zarr group (format 2 or 3). Raises InputError for what is none."""
    import zarr
    from zarr.errors import GroupNotFoundError

    try:
        group = zarr.open_group(str(path), mode="r")
        arrays = [array for _, array in group.members(max_depth=None) if isinstance(array, zarr.Array)]
    except (GroupNotFoundError, FileNotFoundError, KeyError, ValueError) as error:
        fix = "give the directory of a Zarr group"
        raise InputError("SOURCE", "must be a Zarr group", f"{path}: {error}", fix) from None
    numbers = [array for array in arrays if array.dtype.kind in "fiu"]
    return {array.path: _foreign(array) for array in numbers}


def _foreign(array: Any) -> ForeignArray:
    attributes = dict(array.attrs)
    # Format 2 has no names of axes; xarray keeps them in an attribute.
    dims = getattr(array.metadata, "dimension_names", None) or attributes.get("_ARRAY_DIMENSIONS")
    named = tuple(str(name) for name in dims) if dims and all(dims) else None
    return ForeignArray(array.path, tuple(array.shape), named, attributes, array)
