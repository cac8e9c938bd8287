"""Tracks that the tests of imports read, and the slow obvious way to sort them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ipsdist.importers.convert import Choices, import_tracks
from ipsdist.importers.report import Imported
from ipsdist.model.tracks import Ragged
from ipsdist.stages.tracks import read_ragged
from ipsdist.storage import Store


def wanderers(particles: int, slices: int, dimension: int = 2, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return uneven times (T,) and random walks (T, N, d)."""
    rng = np.random.default_rng(seed)
    times = np.cumsum(rng.uniform(0.05, 0.15, slices)).round(4)
    return times, np.cumsum(rng.normal(size=(slices, particles, dimension)), axis=0)


def rows_of(times: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """Return the table (T N, 2 + d) of particle, time, position, particle after particle."""
    slices, particles, _ = positions.shape
    who = np.repeat(np.arange(particles), slices)
    return np.column_stack([who, np.tile(times, particles), positions.transpose(1, 0, 2).reshape(who.size, -1)])


def write_csv(path: Path, rows: np.ndarray, header: str = "particle,time,x,y", integer: bool = True) -> Path:
    """Write a table with every digit of its numbers."""
    lines = [header]
    for row in rows:
        who = str(int(row[0])) if integer else repr(float(row[0]))
        lines.append(",".join([who, *(repr(float(value)) for value in row[1:])]))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def twin(rows: np.ndarray) -> dict[str, Any]:
    """Sort rows of (particle, time, position) whole, in memory."""
    order = np.lexsort((rows[:, 0], rows[:, 1]))
    rows = rows[order]
    times, counts = np.unique(rows[:, 1], return_counts=True)
    _, ids = np.unique(rows[:, 0], return_inverse=True)
    return {"times": times, "offsets": np.concatenate([[0], np.cumsum(counts)]), "ids": ids, "positions": rows[:, 2:]}


def assert_is(tracks: Ragged, expected: dict[str, Any], labelled: bool = True) -> None:
    """Compare every number exactly."""
    np.testing.assert_array_equal(tracks.times, expected["times"])
    np.testing.assert_array_equal(tracks.offsets, expected["offsets"])
    np.testing.assert_array_equal(tracks.positions, expected["positions"])
    if labelled:
        np.testing.assert_array_equal(tracks.ids, expected["ids"])
    else:
        assert tracks.ids is None


def imported(source: Path, out: Path, **choices: Any) -> tuple[Imported, Store]:
    """Import and open the store."""
    answer = import_tracks(source, out, Choices(**choices))
    return answer, Store.open(out / "store.zarr")


def ragged(source: Path, out: Path, **choices: Any) -> Ragged:
    """Import and read everything back."""
    return read_ragged(imported(source, out, **choices)[1])


def births_and_deaths(seed: int = 1, particles: int = 12, slices: int = 15) -> np.ndarray:
    """Return rows of particles that come late, go early and are missing in between, in random order."""
    rng = np.random.default_rng(seed)
    rows = rows_of(*wanderers(particles, slices, seed=seed))
    slot = np.tile(np.arange(slices), particles)
    birth, death = rng.integers(0, 5, particles), rng.integers(9, slices + 1, particles)
    who = rows[:, 0].astype(int)
    keep = (slot >= birth[who]) & (slot < death[who]) & (rng.random(len(rows)) < 0.9)
    return rng.permutation(rows[keep], axis=0)


def names(values: Sequence[tuple[str, str]]) -> dict[str, str]:
    """Return the lines of a report by label."""
    return dict(values)
