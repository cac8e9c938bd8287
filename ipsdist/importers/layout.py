"""Where imported particles lie in the store, how they get there and how they are read again."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from ipsdist.importers.survey import Lives, Rows, Survey
from ipsdist.stages.tracks import IMPORTED, POSITIONS, RAGGED, TIMES
from ipsdist.storage import Store

__all__ = ["DONE", "PARTICLES", "write_rows"]

PARTICLES = "input/particles"
"""(particle,) what the source called each particle, where that was a number."""
DONE = "input/done"
"""The record that says that the input is whole; its payload is the digest of the input."""
_CHUNK = 2**20
"""Bytes of a chunk, but at least one slice: a chunk of a few kB costs as much as one of this size."""
_WRITTEN = 2**24
"""Bytes that are written at a time, which are in memory twice meanwhile."""


def write_rows(store: Store, survey: Survey, blocks: Iterable[Rows], units: tuple[str, str]) -> dict[str, int]:
    """Write sorted rows, commit them, and return the lives of the particles (empty when unlabelled).

    Units are those of length and time. Memory: one block and one chunk.
    """
    length, time = units
    # One digest an array: what it is must not depend on how the rows come in blocks.
    digests = [hashlib.sha256(np.ascontiguousarray(a).data) for a in (survey.times, survey.offsets)]
    where, who = hashlib.sha256(), hashlib.sha256()
    store.write(TIMES, survey.times, dims=("time",), units=time)
    if survey.labelled and not isinstance(survey.names, list):
        store.write(PARTICLES, survey.names, dims=("particle",))
    positions = _positions(store, survey, length)
    ids = None if survey.complete or not survey.labelled else _ids(store, survey)
    lives = Lives(0 if ids is None else survey.particles, len(survey.times))
    for rows in blocks:
        where.update(np.ascontiguousarray(rows.positions).data)
        shape = (rows.stop - rows.first, -1, survey.dimension)
        positions.append(rows.positions.reshape(shape) if survey.complete else rows.positions)
        if ids is not None and rows.ids is not None:
            who.update(np.ascontiguousarray(rows.ids).data)
            numbers = np.arange(rows.first, rows.stop, dtype=np.int32)
            lives.add(rows.ids, np.repeat(numbers, survey.counts[rows.first : rows.stop]))
            ids.append(rows.ids)
    positions.close()
    if ids is not None:
        ids.close()
    whole = hashlib.sha256(b"".join(d.digest() for d in (*digests, where, who))).hexdigest()
    told = {"labelled": survey.labelled, "complete": survey.complete, "digest": whole}
    store.set_attributes(**{IMPORTED: {**told, "units": {"length": length, "time": time}}})
    store.commit(DONE, {"data.file": whole})
    if not survey.labelled:
        return {}
    return dict.fromkeys(("births", "deaths", "gap_rows", "gap_particles"), 0) if ids is None else lives.counts()


class _Appender:
    """Writes an array from its start on, in whole chunks."""

    def __init__(self, store: Store, name: str, chunk: int) -> None:
        self._store, self._name = store, name
        self._rows = 0
        self._rest: list[npt.NDArray[Any]] = []
        self._waiting = 0
        self._chunk = chunk

    def append(self, values: npt.NDArray[Any]) -> None:
        """Add rows; what does not fill a chunk waits."""
        self._rest.append(values)
        self._waiting += len(values)
        if self._waiting >= self._chunk:
            self._write(self._waiting - self._waiting % self._chunk)

    def close(self) -> None:
        """Write what waits, the end of the array."""
        if self._waiting:
            self._write(self._waiting)

    def _write(self, count: int) -> None:
        values = self._rest[0] if len(self._rest) == 1 else np.concatenate(self._rest)
        step = self._chunk * max(1, _WRITTEN // max(1, values[: self._chunk].nbytes))
        for start in range(0, count, step):
            part = values[start : min(start + step, count)]
            self._store.write_region(self._name, self._rows + start, part)
        self._rows += count
        self._waiting -= count
        self._rest = [values[count:].copy()] if self._waiting else []


def _positions(store: Store, survey: Survey, unit: str) -> _Appender:
    d = survey.dimension
    if survey.complete:
        shape, dims = (len(survey.times), survey.particles, d), ("time", "particle", "space")
        chunks = (_slices_a_chunk(survey), survey.particles, d)
        store.create_array(POSITIONS, shape, np.float64, dims, chunks, unit, compress=False)
        return _Appender(store, POSITIONS, chunks[0])
    name = f"{RAGGED}/positions"
    store.write(f"{RAGGED}/offset", survey.offsets, dims=("boundary",))
    rows = max(1, min(survey.rows, _CHUNK // (8 * d)))
    store.create_array(name, (survey.rows, d), np.float64, ("row", "space"), (rows, d), unit, compress=False)
    return _Appender(store, name, rows)


def _ids(store: Store, survey: Survey) -> _Appender:
    name = f"{RAGGED}/particle"
    chunk = max(1, min(survey.rows, _CHUNK // 4))
    store.create_array(name, (survey.rows,), np.int32, ("row",), (chunk,))
    return _Appender(store, name, chunk)


def _slices_a_chunk(survey: Survey) -> int:
    return int(np.clip(_CHUNK // (8 * survey.particles * survey.dimension), 1, len(survey.times)))
