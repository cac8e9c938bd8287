"""Arrays of other libraries, brought to NumPy on the host: the one place that knows their differences."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["to_host"]


def to_host(array: Any) -> npt.NDArray[Any]:
    """Return a NumPy array of what is a NumPy, CuPy, Dask or xarray array, or a nested list.

    xarray is asked for its data, Dask computes, CuPy copies from the device; nothing else is imported for it.
    """
    array = getattr(array, "data", array) if hasattr(array, "dims") else array
    if hasattr(array, "compute"):
        array = array.compute()
    if hasattr(array, "__cuda_array_interface__"):
        array = array.get()
    return np.asarray(array)
