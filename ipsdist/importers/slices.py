"""Arrays (time, particle, space) as a survey and sorted rows: a block of slices at a time, twice over the source."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from ipsdist.importers.arrays import ArraySource
from ipsdist.importers.survey import Rows, Survey
from ipsdist.model.errors import InputError

__all__ = ["rows_of_arrays", "survey_arrays"]

_READ = 32 * 2**20
"""Bytes of positions read at a time, but at least one slice."""

Array = npt.NDArray[np.float64]


def survey_arrays(source: ArraySource, *, labelled: bool, drop: bool) -> Survey:
    """Look at every position once; a position that is not finite is a particle that is absent.

    Raises InputError for times that are not finite or do not increase, and for absent particles unless ``drop``.
    """
    _check_times(source.times)
    slices, particles, d = source.shape
    counts, present = np.zeros(slices, dtype=np.int64), np.zeros(particles, dtype=np.bool_)
    lower, upper, first_bad = np.full(d, np.inf), np.full(d, -np.inf), ""
    for first, x in _blocks(source):
        there = _there(x)
        if not there.all() and not first_bad:
            k, i = np.argwhere(~there)[0]
            first_bad = f"slice {first + k}, particle {i}"
        counts[first : first + len(x)] = there.sum(axis=1)
        present |= there.any(axis=0)
        lower = np.minimum(lower, x.min(axis=(0, 1), where=there[..., None], initial=np.inf))
        upper = np.maximum(upper, x.max(axis=(0, 1), where=there[..., None], initial=-np.inf))
    rows = int(counts.sum())
    dropped = slices * particles - rows
    if dropped and not drop:
        got = f"{dropped} of {slices * particles} positions that are not, first {first_bad} (counted from 0)"
        raise InputError("SOURCE", "must hold finite numbers", got, "leave them out with --drop-nan")
    kept = counts > 0
    names = np.flatnonzero(present) if labelled else None
    return Survey(source.times[kept], counts[kept], lower, upper, rows, dropped, names)


def rows_of_arrays(source: ArraySource, survey: Survey) -> Iterator[Rows]:
    """Yield the positions that are there as rows sorted by (time, particle)."""
    number = np.full(source.shape[1], -1, dtype=np.int32)
    if survey.names is not None:
        number[survey.names] = np.arange(len(survey.names), dtype=np.int32)
    done = 0
    for _, x in _blocks(source):
        there = _there(x)
        slices = int(there.any(axis=1).sum())
        ids = None if survey.names is None else number[np.nonzero(there)[1]]
        yield Rows(done, done + slices, ids, x.reshape(-1, x.shape[2]) if there.all() else x[there])
        done += slices


def _blocks(source: ArraySource) -> Iterator[tuple[int, Array]]:
    slices, particles, d = source.shape
    step = max(1, _READ // max(1, 8 * particles * d))
    for first in range(0, slices, step):
        yield first, source.read(first, min(first + step, slices))


def _there(positions: Array) -> npt.NDArray[np.bool_]:
    """Return (n, N): which particles have a position, all of whose coordinates are finite."""
    there: npt.NDArray[np.bool_] = np.logical_and.reduce(np.isfinite(positions), axis=2)
    return there


def _check_times(times: Array) -> None:
    fix = "sort the slices by time and drop repeats"
    if not np.isfinite(times).all():
        got = f"times[{int(np.argmin(np.isfinite(times)))}] that is not finite"
        raise InputError("SOURCE", "must have finite, increasing times", got, fix)
    falls = np.flatnonzero(np.diff(times) <= 0)
    if len(falls):
        k = int(falls[0])
        got = f"times[{k}] = {times[k]:g}, times[{k + 1}] = {times[k + 1]:g}"
        raise InputError("SOURCE", "must have finite, increasing times", got, fix)
