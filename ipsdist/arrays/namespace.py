"""One code for arrays of the host (NumPy) and of a device (CuPy, or any library with the array API).

On the host SciPy's transforms and BLAS over whole rows are kept, whose bits are promised; a device gets few, large
calls. Nothing here moves an array by itself: `like` and `host` do, where they are written.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from importlib import import_module
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import scipy.fft

from ipsdist.arrays.hosting import to_host

__all__ = [
    "batches",
    "contracted",
    "for_columns",
    "forget",
    "host",
    "irfftn",
    "is_host",
    "like",
    "moved",
    "namespace",
    "rfftn",
    "scaled",
    "zeros",
]

T = TypeVar("T")

_BATCH = 2**29
"""Bytes of an array that a device works on at once: far more than a launch costs, far less than its memory."""
_KEPT: list[dict[str, Any]] = []
"""What `moved` keeps with tables."""


def is_host(array: Any) -> bool:
    """Tell whether it is an array of NumPy."""
    return isinstance(array, np.ndarray)


def namespace(array: Any) -> Any:
    """Return the functions of the library of an array, by their names in the array API; numpy itself for NumPy."""
    if is_host(array):
        return np
    from array_api_compat import array_namespace

    return array_namespace(array)


def like(values: npt.NDArray[Any], array: Any) -> Any:
    """Return values of the host where ``array`` lies; themselves for NumPy."""
    if is_host(array):
        return values
    from array_api_compat import device

    return namespace(array).asarray(values, device=device(array))


def moved(tables: T, names: Sequence[str], array: Any) -> T:
    """Return a frozen dataclass with its fields of these names where ``array`` lies; itself for NumPy.

    What was moved is kept with the tables on the host, so that a device gets them once. A field may be an array, a
    tuple of arrays or None.
    """
    if is_host(array):
        return tables
    from array_api_compat import device

    kept = vars(tables).setdefault("_moved", {})
    if not kept:
        _KEPT.append(kept)
    where = f"{namespace(array).__name__} {device(array)}"
    if where not in kept:
        kept[where] = replace(tables, **{n: _carried(getattr(tables, n), array) for n in names})  # type: ignore[type-var]
    return kept[where]  # type: ignore[no-any-return]


def forget() -> None:
    """Let go of all that `moved` has kept on devices."""
    while _KEPT:
        _KEPT.pop().clear()


def _carried(value: Any, array: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(_carried(v, array) for v in value)
    return None if value is None else like(value, array)


def host(array: Any) -> npt.NDArray[Any]:
    """Return an array on the host; NumPy's are returned themselves."""
    if is_host(array) or _on_gpu(array):
        return to_host(array)
    found: npt.NDArray[Any] = np.from_dlpack(array)
    return found


def zeros(shape: Sequence[int], array: Any) -> Any:
    """Return zeros of the type of ``array`` where it lies."""
    if is_host(array):
        return np.zeros(shape, array.dtype)
    from array_api_compat import device

    return namespace(array).zeros(tuple(shape), dtype=array.dtype, device=device(array))


def scaled(integers: Any, unit: float) -> Any:
    """Return integers times ``unit``, float64. A power of two for a unit is exact, as its division is."""
    if is_host(integers):
        return integers * unit  # in one pass
    xp = namespace(integers)
    return xp.astype(integers, xp.float64) * unit


def rfftn(values: Any, lengths: Sequence[int]) -> Any:
    """Return the real FFT over the last axes, as many as there are lengths, padded by zeros to these."""
    return _transforms(values).rfftn(values, s=tuple(lengths), axes=_last(lengths))


def irfftn(spectra: Any, lengths: Sequence[int], norm: str = "backward") -> Any:
    """Return the inverse of `rfftn`, of these lengths, without its factor for "forward"; may destroy ``spectra``."""
    free = {"overwrite_x": True} if _on_gpu(spectra) else {}  # without it CuPy makes a copy
    return _transforms(spectra).irfftn(spectra, s=tuple(lengths), axes=_last(lengths), norm=norm, **free)


def _last(lengths: Sequence[int]) -> tuple[int, ...]:
    return tuple(range(-len(lengths), 0))


def _transforms(array: Any) -> Any:
    if is_host(array):
        return scipy.fft
    return import_module("cupyx.scipy.fft") if _on_gpu(array) else namespace(array).fft


def _on_gpu(array: Any) -> bool:
    return hasattr(array, "__cuda_array_interface__")


def for_columns(values: Any, dimension: int) -> Any:
    """Return (..., points...) as (..., 1, 1, points...), ``dimension`` axes last: for all columns and directions."""
    shape = values.shape
    return namespace(values).reshape(values, (*shape[:-dimension], 1, 1, *shape[-dimension:]))


def contracted(a: Any, b: Any) -> Any:
    """Return a b', summed over parts and k: (..., A, parts, k) and (..., B, parts, k) to (..., A, B).

    On the host one product of long rows. A device would give that, with so few entries, to few of its processors: there
    every part is a product of its own.
    """
    xp = namespace(a)
    if not is_host(a) and b.shape[-3] <= b.shape[-1]:
        return xp.sum(xp.matmul(xp.moveaxis(a, -3, -2), xp.moveaxis(b, -3, -1)), axis=-3)
    flat = [xp.reshape(x, (*x.shape[:-2], -1)) for x in (a, b)]
    return xp.matmul(flat[0], xp.matrix_transpose(flat[1]))


def batches(count: int, size: int) -> Iterator[slice]:
    """Yield the groups in which a device works on ``count`` things of ``size`` bytes: always the same ones."""
    each = max(1, _BATCH // size)
    for begin in range(0, count, each):
        yield slice(begin, min(begin + each, count))
