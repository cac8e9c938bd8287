"""A piece of a track table as compact rows: codes for times and particles, and what cannot be used."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["MISSING", "Codes", "Part", "make_part", "row_dtype"]

MISSING = -1
"""Time code of a row that cannot be used; it keeps its place, so that rows keep their numbers."""

Array = npt.NDArray[np.float64]


def row_dtype(dimension: int) -> np.dtype[Any]:
    """Return the layout of a row: codes of its time and particle, and its position."""
    return np.dtype([("time", "<i4"), ("particle", "<i4"), ("position", "<f8", (dimension,))])


@dataclass(frozen=True)
class Part:
    """Consecutive rows of a table. Codes count from 0 within the part."""

    rows: npt.NDArray[np.void]
    """(n,) of `row_dtype`."""
    times: Array
    """Distinct times, by code."""
    ids: Any
    """Distinct particles by code: int64, float64 or a list of str; None when unlabelled."""
    lower: Array
    upper: Array
    """(d,) corners of the box of the rows that can be used; (inf, -inf) for none."""
    bad: npt.NDArray[np.int64]
    """Rows of the part with a value that is missing or not finite."""
    bad_columns: tuple[int, ...]
    """For the first of them, which columns: 0 the time, 1 .. d the axes, -1 the particle."""


def make_part(time: pa.Array, particle: pa.Array | None, position: Sequence[pa.Array]) -> Part:
    """Code one piece of a table; numbers are float64 arrays, ``particle`` int64, float64 or string."""
    import pyarrow as pa
    import pyarrow.compute as pc

    numbers = [_numbers(time), *(_numbers(axis) for axis in position)]
    rows = np.empty(len(numbers[0]), dtype=row_dtype(len(position)))
    for axis, values in enumerate(numbers[1:]):
        rows["position"][:, axis] = values
    good = _usable(numbers, particle)
    # Adding 0 makes -0 and 0 one time. Rows that cannot be used must not bring times or particles into being.
    when = pa.array((numbers[0] if good is None else numbers[0][good]) + 0.0)
    rows["time"], times = _coded(when, good)
    ids: Any = None
    rows["particle"] = 0
    if particle is not None:
        who = particle if good is None else particle.filter(pa.array(good))
        if pa.types.is_floating(who.type):
            who = pc.add(who, 0.0)
        rows["particle"], ids = _coded(who, good)
        ids = ids.to_pylist() if pa.types.is_string(who.type) else ids.to_numpy()
    usable = [values if good is None else values[good] for values in numbers[1:]]
    lower = np.array([values.min(initial=np.inf) for values in usable])
    upper = np.array([values.max(initial=-np.inf) for values in usable])
    bad = np.empty(0, dtype=np.int64) if good is None else np.flatnonzero(~good)
    return Part(rows, times.to_numpy(), ids, lower, upper, bad, _columns_of(bad, numbers, particle))


def _numbers(values: pa.Array) -> Array:
    array: Array = values.to_numpy(zero_copy_only=False)
    return array


def _usable(numbers: Sequence[Array], particle: pa.Array | None) -> npt.NDArray[np.bool_] | None:
    """Return which rows can be used; None for all of them."""
    import pyarrow as pa

    named = None
    if particle is not None:
        if pa.types.is_floating(particle.type):
            numbers = [*numbers, _numbers(particle)]
        elif particle.null_count:
            named = particle.is_valid().to_numpy(zero_copy_only=False)
    finite = [np.isfinite(values) for values in numbers]
    if named is None and all(each.all() for each in finite):
        return None
    return np.logical_and.reduce([*finite, *([] if named is None else [named])])  # type: ignore[no-any-return]


def _coded(values: pa.Array, good: npt.NDArray[np.bool_] | None) -> tuple[npt.NDArray[np.int32], pa.Array]:
    """Return the code of every row (MISSING where it is not good) and the distinct values."""
    encoded = values.dictionary_encode()
    codes: npt.NDArray[np.int32] = encoded.indices.to_numpy()
    if good is None:
        return codes, encoded.dictionary
    all_codes = np.full(len(good), MISSING, dtype=np.int32)
    all_codes[good] = codes
    return all_codes, encoded.dictionary


def _columns_of(bad: npt.NDArray[np.int64], numbers: Sequence[Array], particle: pa.Array | None) -> tuple[int, ...]:
    if not len(bad):
        return ()
    k = int(bad[0])
    found = [place for place, values in enumerate(numbers) if not np.isfinite(values[k])]
    return tuple(found) if found or particle is None else (-1,)


class Codes:
    """Distinct values of a whole table, numbered as they come."""

    def __init__(self) -> None:
        self._sorted: npt.NDArray[Any] | None = None
        self._codes = np.empty(0, dtype=np.int32)
        self._texts: dict[str, int] = {}

    def __len__(self) -> int:
        return max(len(self._codes), len(self._texts))

    def add(self, values: Any) -> npt.NDArray[np.int32]:
        """Return the codes of distinct values, new ones included."""
        if isinstance(values, list):
            numbers = [self._texts.setdefault(text, len(self._texts)) for text in values]
            return np.array(numbers, dtype=np.int32)
        if self._sorted is None:
            self._sorted = values[:0]
        known, n = self._sorted, len(self._sorted)
        place = np.searchsorted(known, values)
        codes = np.full(len(values), MISSING, dtype=np.int32)
        if n:
            inside = np.minimum(place, n - 1)
            codes = np.where(known[inside] == values, self._codes[inside], MISSING)
        new = np.flatnonzero(codes == MISSING)
        if len(new):
            codes[new] = np.arange(n, n + len(new), dtype=np.int32)
            self._merge(values[new], codes[new])
        return codes

    def _merge(self, values: npt.NDArray[Any], codes: npt.NDArray[np.int32]) -> None:
        together = np.concatenate([np.asarray(self._sorted), values])
        # The stable sort is linear in the long run that is sorted already.
        order = np.argsort(together, kind="stable")
        self._sorted = together[order]
        self._codes = np.concatenate([self._codes, codes])[order]

    def ordered(self) -> tuple[Any, npt.NDArray[np.int32]]:
        """Return the values in increasing order, and the rank of every code in that order."""
        if self._texts:
            texts = sorted(self._texts)
            codes = np.array([self._texts[text] for text in texts], dtype=np.int32)
            values: Any = texts
        else:
            values, codes = (np.empty(0) if self._sorted is None else self._sorted), self._codes
        rank = np.empty(len(codes), dtype=np.int32)
        rank[codes] = np.arange(len(codes), dtype=np.int32)
        return values, rank
