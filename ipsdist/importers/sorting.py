"""Rows in any order to rows by (time, particle), on disk: spooled, dealt into buckets of slices, sorted there."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from ipsdist.importers.columns import Columns
from ipsdist.importers.parts import MISSING, Codes, Part, row_dtype
from ipsdist.importers.survey import Rows, Survey
from ipsdist.model.errors import InputError

__all__ = ["Spool"]

_BUCKET = 64 * 2**20
"""Bytes of rows sorted at a time, but at least one slice."""
_PLACES = 256 * 2**20
"""Bytes of places for rows that are put where they belong, which takes no other memory."""
_DENSE = 2
"""Rows have places of their own when there are at most this many places, particles times slices, a row."""
_READ = 2**18
"""Rows read at a time."""
_BUCKETS = 256
"""Most buckets, each of which is an open file; a larger table has larger buckets."""


@dataclass(frozen=True)
class _Bucket:
    """Slices first .. stop - 1, and the rows of a file that hold them."""

    first: int
    stop: int
    path: Path
    start: int
    rows: int

    @property
    def slices(self) -> int:
        return self.stop - self.first


class Spool:
    """Rows on disk as they come, 8 + 8 d bytes each, and what was seen of them."""

    def __init__(self, folder: Path, columns: Columns) -> None:
        self._columns = columns
        self._dtype = row_dtype(len(columns.position))
        self._folder, self._path = folder, folder / "rows"
        self._file: BinaryIO = self._path.open("wb")
        self._times, self._ids = Codes(), Codes()
        self._counts = np.zeros(0, dtype=np.int64)
        self._in_order, self._last = True, 0
        self._lower, self._upper = np.full(len(columns.position), np.inf), np.full(len(columns.position), -np.inf)
        self.rows = self.bad = 0
        self._first_bad = ""

    def add(self, part: Part) -> None:
        """Append the rows of a part, with the codes of the whole table."""
        if len(part.bad):
            if not self.bad:
                self._first_bad = f"row {self.rows + int(part.bad[0]) + 1}, {self._names(part.bad_columns)}"
            self.bad += len(part.bad)
        rows, good = part.rows, None
        if len(part.bad):
            good = rows["time"] != MISSING
        times = _recoded(self._times, part.times, rows["time"], good)
        rows["time"] = times
        if part.ids is not None:
            rows["particle"] = _recoded(self._ids, part.ids, rows["particle"], good)
        seen = times if good is None else times[good]
        counts = np.bincount(seen, minlength=len(self._times))
        counts[: len(self._counts)] += self._counts
        self._counts = counts
        if len(seen):
            self._in_order = self._in_order and seen[0] >= self._last and bool((np.diff(seen) >= 0).all())
            self._last = int(seen[-1])
        self._lower, self._upper = np.minimum(self._lower, part.lower), np.maximum(self._upper, part.upper)
        rows.tofile(self._file)
        self.rows += len(rows)

    def close(self, *, drop: bool) -> Survey:
        """End the rows and return what they are. Raises InputError for no rows, and for NaN rows unless ``drop``."""
        self._file.close()
        if self.rows == 0:
            raise InputError("SOURCE", "must hold rows", "a header alone", "check the file")
        if self.bad and not drop:
            got = f"{self.bad} of {self.rows} rows with a missing or not finite value, first {self._first_bad}"
            raise InputError("SOURCE", "must hold finite numbers", got, "leave them out with --drop-nan")
        times, self._time_rank = self._times.ordered()
        names, self._id_rank = self._ids.ordered()
        counts = np.empty_like(self._counts)
        counts[self._time_rank] = self._counts
        # New times got rising codes as they came: the file is in order when the codes and the times both rise.
        self._in_order = self._in_order and bool((np.diff(self._time_rank) > 0).all())
        labelled = self._columns.particle is not None
        return Survey(
            times=times,
            counts=counts,
            lower=self._lower,
            upper=self._upper,
            rows=self.rows - self.bad,
            dropped=self.bad,
            names=names if labelled else None,
        )

    def sorted(self, survey: Survey) -> Iterator[Rows]:
        """Yield all rows by (time, particle), in blocks of whole slices. Raises InputError for a repeated row."""
        for bucket in self._buckets(survey):
            if not survey.labelled:
                yield self._by_time(bucket)
            elif _dense(survey):
                yield from self._by_place(bucket, survey)
            else:
                yield self._by_key(bucket, survey)

    def row_of(self, rank: int) -> int:
        """Return the number of the first row at a time, given by its place among the sorted times."""
        code = int(np.flatnonzero(self._time_rank == rank)[0])
        start = 1
        for rows in _read(self._path, self._dtype, 0, self.rows):
            found = np.flatnonzero(rows["time"] == code)
            if len(found):
                return start + int(found[0])
            start += len(rows)
        raise ValueError(f"no row has time {rank}")

    def _buckets(self, survey: Survey) -> list[_Bucket]:
        """Deal the rows into files of consecutive slices; rows that are in order stay where they are."""
        cuts = _cuts(survey, self._dtype.itemsize)
        ends = survey.offsets
        pairs = list(itertools.pairwise(cuts))
        if len(pairs) == 1:
            return [_Bucket(0, len(survey.counts), self._path, 0, self.rows)]
        if self._in_order and not self.bad:
            return [_Bucket(a, b, self._path, int(ends[a]), int(ends[b] - ends[a])) for a, b in pairs]
        paths = self._deal(cuts)
        return [_Bucket(a, b, path, 0, int(ends[b] - ends[a])) for (a, b), path in zip(pairs, paths, strict=True)]

    def _deal(self, cuts: list[int]) -> list[Path]:
        paths = [self._folder / f"bucket-{k}" for k in range(len(cuts) - 1)]
        bucket_of_rank = np.repeat(np.arange(len(paths), dtype=np.uint16), np.diff(cuts))
        bucket_of_code = bucket_of_rank[self._time_rank]
        files = [path.open("wb") for path in paths]
        try:
            for rows in self._usable(_Bucket(0, cuts[-1], self._path, 0, self.rows)):
                bucket = bucket_of_code[rows["time"]]
                order = np.argsort(bucket, kind="stable")
                rows = rows.take(order)
                ends = np.cumsum(np.bincount(bucket, minlength=len(paths)))
                for file, start, stop in zip(files, [0, *ends[:-1]], ends, strict=True):
                    rows[start:stop].tofile(file)
        finally:
            for file in files:
                file.close()
        return paths

    def _by_place(self, bucket: _Bucket, survey: Survey) -> Iterator[Rows]:
        """Put every row where it belongs: most particles are there at most times."""
        particles = survey.particles
        positions = np.empty((bucket.slices * particles, survey.dimension))
        taken, count = np.zeros(len(positions), dtype=np.bool_), 0
        for rows in self._usable(bucket):
            key = self._key(bucket, rows, survey)
            positions[key] = rows["position"]
            taken[key] = True
            count += len(rows)
        if np.count_nonzero(taken) < count:
            raise self._repeated(bucket, survey)
        if survey.complete:
            yield Rows(bucket.first, bucket.stop, None, positions)
            return
        step = max(1, _READ // particles)
        for first in range(0, bucket.slices, step):
            stop = min(first + step, bucket.slices)
            found = np.flatnonzero(taken[first * particles : stop * particles])
            there = positions[first * particles : stop * particles].take(found, axis=0)
            ids = (found % particles).astype(np.int32)
            yield Rows(bucket.first + first, bucket.first + stop, ids, there)

    def _by_key(self, bucket: _Bucket, survey: Survey) -> Rows:
        """Sort rows of particles that come and go."""
        rows = np.concatenate(list(self._usable(bucket)))
        key = self._key(bucket, rows, survey)
        order = np.argsort(key)
        key = key[order]
        if (key[1:] == key[:-1]).any():
            raise self._repeated(bucket, survey)
        ids = (key % survey.particles).astype(np.int32)
        return Rows(bucket.first, bucket.stop, ids, np.ascontiguousarray(rows.take(order)["position"]))

    def _by_time(self, bucket: _Bucket) -> Rows:
        """Sort unlabelled rows by time; within a slice they stay as they came."""
        rows = np.concatenate(list(self._usable(bucket)))
        time = self._time_rank[rows["time"]] - np.int32(bucket.first)
        # Sixteen bits are sorted by their digits, which is quicker.
        order = np.argsort(time.astype(np.uint16) if bucket.slices <= 2**16 else time, kind="stable")
        return Rows(bucket.first, bucket.stop, None, np.ascontiguousarray(rows.take(order)["position"]))

    def _key(self, bucket: _Bucket, rows: npt.NDArray[np.void], survey: Survey) -> npt.NDArray[np.int64]:
        time = self._time_rank[rows["time"]].astype(np.int64) - bucket.first
        key: npt.NDArray[np.int64] = time * survey.particles + self._id_rank[rows["particle"]]
        return key

    def _repeated(self, bucket: _Bucket, survey: Survey) -> InputError:
        """Say which rows give one particle twice at one time."""
        key = np.concatenate([self._key(bucket, rows, survey) for rows in self._usable(bucket)])
        key.sort()
        again = key[1:][key[1:] == key[:-1]]
        k, p = bucket.first + int(again[0]) // survey.particles, int(again[0]) % survey.particles
        numbers, start = [], 1
        for rows in _read(self._path, self._dtype, 0, self.rows):
            # Rows that cannot be used have codes that wrap to some other rank: they are left out by their code.
            same = (self._time_rank[rows["time"]] == k) & (self._id_rank[rows["particle"]] == p)
            numbers += (start + np.flatnonzero(same & (rows["time"] != MISSING))).tolist()
            start += len(rows)
        got = f"rows {numbers[0]} and {numbers[1]} with particle {survey.names[p]} at time {survey.times[k]:g}"
        more = f", and {len(again) - 1} more in these slices" if len(again) > 1 else ""
        rule, fix = "must hold a particle once at a time", "remove one of each, or give --unlabelled"
        return InputError("SOURCE", rule, got + more, fix)

    def _usable(self, bucket: _Bucket) -> Iterator[npt.NDArray[np.void]]:
        for rows in _read(bucket.path, self._dtype, bucket.start, bucket.rows):
            yield rows[rows["time"] != MISSING] if self.bad else rows

    def _names(self, places: tuple[int, ...]) -> str:
        columns = [self._columns.particle, self._columns.time, *self._columns.position]
        found = [columns[place + 1] for place in places]
        return "column " + ", ".join(self._columns.name(place) for place in found if place is not None)


def _recoded(
    codes: Codes, values: Any, local: npt.NDArray[np.int32], good: npt.NDArray[np.bool_] | None
) -> npt.NDArray[np.int32]:
    """Return codes of the whole table for those of a part."""
    table = codes.add(values)
    if good is None:
        return table[local]
    found = np.full(len(local), MISSING, dtype=np.int32)
    found[good] = table[local[good]]
    return found


def _dense(survey: Survey) -> bool:
    return len(survey.times) * survey.particles <= _DENSE * survey.rows


def _cuts(survey: Survey, row_bytes: int) -> list[int]:
    """Return the first slices of the buckets, and the number of slices."""
    slices = len(survey.times)
    if survey.labelled and _dense(survey):
        step = max(1, _PLACES // (8 * survey.dimension * survey.particles), -(-slices // _BUCKETS))
        return [*range(0, slices, step), slices]
    ends, size = survey.offsets, max(_BUCKET // row_bytes, -(-survey.rows // _BUCKETS))
    cuts = [0]
    while cuts[-1] < slices:
        stop = int(np.searchsorted(ends, ends[cuts[-1]] + size, side="right")) - 1
        cuts.append(max(cuts[-1] + 1, stop))
    return cuts


def _read(path: Path, dtype: np.dtype[Any], start: int, rows: int) -> Iterator[npt.NDArray[np.void]]:
    with path.open("rb") as file:
        file.seek(start * dtype.itemsize)
        for done in range(0, rows, _READ):
            yield np.fromfile(file, dtype, min(_READ, rows - done))
