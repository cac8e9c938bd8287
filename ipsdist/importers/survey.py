"""What an import found: slices, particles, rows, box; what of it cannot be used; and the lives of the particles."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ipsdist.model.errors import InputError

__all__ = ["Lives", "Rows", "Survey", "check"]

Array = npt.NDArray[np.float64]

_SAME_TIME = 1e-13
"""Times closer than this, relative to the largest, are one time that was rounded twice."""


@dataclass(frozen=True)
class Survey:
    """What a first pass over the source saw; every row counted can be used."""

    times: Array
    """(T,) in increasing order."""
    counts: npt.NDArray[np.int64]
    """(T,) rows of each slice."""
    lower: Array
    upper: Array
    """(d,) corners of the box."""
    rows: int
    dropped: int
    """Rows left out because a value was missing or not finite."""
    names: Any
    """Particles of the source by their new number, an array or a list of str; None when unlabelled."""

    @property
    def labelled(self) -> bool:
        """A particle can be followed from slice to slice."""
        return self.names is not None

    @property
    def dimension(self) -> int:
        """Space axes d."""
        return len(self.lower)

    @property
    def particles(self) -> int:
        """Number of particles; of unlabelled snapshots, the most in a slice."""
        return int(self.counts.max(initial=0)) if self.names is None else len(self.names)

    @property
    def complete(self) -> bool:
        """Every particle is there at every time."""
        return self.rows == len(self.times) * self.particles

    @property
    def offsets(self) -> npt.NDArray[np.int64]:
        """(T + 1,) first row of each slice among the sorted rows."""
        return np.concatenate([[0], np.cumsum(self.counts)]).astype(np.int64)


@dataclass(frozen=True)
class Rows:
    """Sorted rows of whole slices, first .. stop - 1."""

    first: int
    stop: int
    ids: npt.NDArray[np.int32] | None
    """(n,) new numbers of the particles; None when unlabelled, and may be when every particle is in every slice."""
    positions: Array
    """(n, d)."""


class Lives:
    """First and last slice of every particle, gathered from sorted rows."""

    def __init__(self, particles: int, slices: int) -> None:
        self._slices = slices
        self._first = np.full(particles, -1, dtype=np.int32)
        self._last = np.full(particles, -1, dtype=np.int32)
        self._rows = np.zeros(particles, dtype=np.int64)

    def add(self, ids: npt.NDArray[np.int32], slices: npt.NDArray[np.int32]) -> None:
        """See sorted rows; blocks come in order of time."""
        self._last[ids] = slices
        # Of repeated indices the last one stays, so the rows are taken from the last to the first.
        first = np.full(len(self._first), -1, dtype=np.int32)
        first[ids[::-1]] = slices[::-1]
        self._first = np.where(self._first < 0, first, self._first)
        self._rows += np.bincount(ids, minlength=len(self._rows))

    def counts(self) -> dict[str, int]:
        """Return births (after the first slice), deaths (before the last), and rows and particles of gaps between."""
        missing = self._last - self._first + 1 - self._rows
        return {
            "births": int((self._first > 0).sum()),
            "deaths": int((self._last < self._slices - 1).sum()),
            "gap_rows": int(missing.sum()),
            "gap_particles": int((missing > 0).sum()),
        }


def check(survey: Survey, axes: Sequence[str], row_of: Callable[[int], int] | None = None) -> None:
    """Refuse what no form can use. ``row_of`` gives the first row of a slice, where the source has rows.

    Raises InputError for one slice, times that are one but for rounding, fewer than two particles (in all, or at any
    time), positions that are constant along an axis (``axes`` are their names).
    """
    if len(survey.times) < 2:
        got = f"one time, {survey.times[0]:g}" if len(survey.times) else "no row that can be used"
        raise InputError("SOURCE", "must hold at least two slices", got, "one snapshot says nothing about motion")
    if survey.particles < 2:
        raise InputError("SOURCE", "must hold at least two particles", survey.particles, "an interaction needs a pair")
    if survey.counts.max() < 2:
        got, fix = f"{survey.rows} rows at {len(survey.times)} different times", "round the times to common slices"
        raise InputError("SOURCE", "must have two particles at one time somewhere", got, fix)
    close = np.flatnonzero(np.diff(survey.times) <= _SAME_TIME * np.abs(survey.times).max())
    if len(close):
        k = int(close[0])
        where = f", row {row_of(k)} and row {row_of(k + 1)}" if row_of else ""
        got = f"{float(survey.times[k])} and {float(survey.times[k + 1])}{where}"
        raise InputError("SOURCE", "must have times that differ by more than rounding", got, "round the times")
    still = np.flatnonzero(survey.lower == survey.upper)
    if len(still):
        name = axes[int(still[0])]
        got = f"{name} = {survey.lower[still[0]]:g} in every row"
        fix = "leave that axis out with --position" if len(still) < survey.dimension else "check the columns"
        raise InputError("SOURCE", "must hold positions that differ along every axis", got, fix)
