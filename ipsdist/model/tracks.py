"""Tracks with gaps, births and deaths: the particles present at each time, one block of rows a slice."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["Ragged"]

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Ragged:
    """Rows (particle, position) sorted by (time, particle); slice k is the rows offsets[k] .. offsets[k + 1] - 1."""

    times: Array
    """(T,) increasing."""
    offsets: npt.NDArray[np.int64]
    """(T + 1,) from 0 to the number of rows, never falling."""
    ids: npt.NDArray[np.int32] | None
    """(rows,) particle of a row, increasing within a slice; None for unlabelled snapshots."""
    positions: Array
    """(rows, d)."""

    def __post_init__(self) -> None:
        rows = len(self.positions)
        if self.positions.ndim != 2 or self.offsets.shape != (len(self.times) + 1,):
            raise ValueError("positions must be (rows, d) and offsets (T + 1,)")
        if self.offsets[0] != 0 or self.offsets[-1] != rows or (np.diff(self.offsets) < 0).any():
            raise ValueError(f"offsets must rise from 0 to the number of rows, {rows}")
        if self.ids is not None and self.ids.shape != (rows,):
            raise ValueError(f"ids must be ({rows},), one a row")

    @property
    def dimension(self) -> int:
        """Space axes d."""
        return int(self.positions.shape[1])

    @property
    def present(self) -> npt.NDArray[np.int64]:
        """(T,) number of particles in each slice."""
        return np.diff(self.offsets)

    def slice(self, k: int) -> tuple[npt.NDArray[np.int32] | None, Array]:
        """Return (ids, positions) of slice k: (n,) and (n, d) views; ids are None when unlabelled."""
        rows = slice(int(self.offsets[k]), int(self.offsets[k + 1]))
        return None if self.ids is None else self.ids[rows], self.positions[rows]

    def common(self, k: int, later: int) -> tuple[Array, Array]:
        """Return the positions at slices k and ``later`` of the particles present in both, (n, d) each, in order of id.

        Raises ValueError for unlabelled snapshots, whose particles cannot be followed.
        """
        _, a, b = self.matched(k, later)
        return a, b

    def matched(self, k: int, later: int) -> tuple[npt.NDArray[np.int64], Array, Array]:
        """Return the rows within slice k of the particles present in slice ``later`` too, and both positions."""
        ids, here = self.slice(k)
        later_ids, there = self.slice(later)
        if ids is None or later_ids is None:
            raise ValueError("unlabelled snapshots have no particle in common")
        if not len(ids) or not len(later_ids):
            return np.empty(0, dtype=np.int64), here[:0], there[:0]
        # Both are sorted, so one search finds every partner.
        place = np.minimum(np.searchsorted(later_ids, ids), len(later_ids) - 1)
        rows = np.flatnonzero(later_ids[place] == ids)
        return rows, here[rows], there[place[rows]]

    def window(self, first: int, stop: int) -> Ragged:
        """Return slices first .. stop - 1 as tracks of their own (views)."""
        a, b = int(self.offsets[first]), int(self.offsets[stop])
        return Ragged(
            self.times[first:stop],
            self.offsets[first : stop + 1] - a,
            None if self.ids is None else self.ids[a:b],
            self.positions[a:b],
        )

    @staticmethod
    def of_array(times: Array, positions: Array) -> Ragged:
        """Return positions (T, N, d), absent where any coordinate is not finite, in ragged form."""
        present = np.isfinite(positions).all(axis=2)
        offsets = np.concatenate([[0], np.cumsum(present.sum(axis=1))]).astype(np.int64)
        ids = np.nonzero(present)[1].astype(np.int32)
        return Ragged(np.asarray(times, dtype=np.float64), offsets, ids, np.ascontiguousarray(positions[present]))
