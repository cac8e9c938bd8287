"""Positions in the store, as the direct sums read them: imported, complete or not, or kept while stepping."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ipsdist.config import RunConfig
from ipsdist.model.setup import Setup
from ipsdist.model.tracks import Ragged
from ipsdist.stages.base import setup_of
from ipsdist.stages.blocks import block_group, slice_blocks
from ipsdist.storage import Store

__all__ = [
    "IMPORTED",
    "POSITIONS",
    "RAGGED",
    "TIMES",
    "few",
    "keeps_positions",
    "read_ragged",
    "slice_positions",
    "sums_directly",
    "units_of",
]

POSITIONS = "input/positions"
"""(time, particle, space): every particle at every time."""
TIMES = "input/times"
RAGGED = "input/ragged"
"""The group of positions (row, space), particle (row,), offset (time + 1,): with gaps, births and deaths."""
IMPORTED = "imported"
"""The attribute of the store that tells what was imported."""
_FEW = 300
"""Particles up to which pairs are summed directly: a slice then costs 2 ms, and no mean-field limit is assumed."""


def units_of(store: Store) -> dict[str, str]:
    """Return the units of length and time that an import was told or found; the bare words where there are none."""
    told = store.attributes.get(IMPORTED) or {}
    return {"length": "length", "time": "time", **told.get("units", {})}


def few(setup: Setup) -> bool:
    """Tell whether so few particles are there that their pairs are summed directly."""
    return setup.particles <= _FEW


def sums_directly(config: RunConfig, setup: Setup) -> bool:
    """Tell whether the equations sum over pairs particle by particle instead of on the force mesh."""
    if config.form not in ("action", "likelihood") or config.data.source == "mean_field":
        return False
    return setup.ragged or config.fit.sums == "direct" or (config.fit.sums == "auto" and few(setup))


def keeps_positions(config: RunConfig, setup: Setup) -> bool:
    """Tell whether a simulation leaves the positions of all slices in the store."""
    return config.data.source != "mean_field" and (few(setup) or config.fit.sums == "direct")


def slice_positions(store: Store, config: RunConfig, replica: int, first: int, stop: int) -> npt.NDArray[np.float64]:
    """Return the positions of slices first .. stop - 1 of a replica (slices, N, d)."""
    if config.data.source == "import":
        return np.asarray(store.read(POSITIONS, slice(first, stop)))
    setup = setup_of(store)
    parts: list[npt.NDArray[Any]] = []
    for block in slice_blocks(setup.slices, setup.dimension):
        if block.first < stop and block.stop > first:
            whole = store.read(f"{block_group(replica, block)}/positions")
            parts.append(whole[max(0, first - block.first) : stop - block.first].astype(np.float64, copy=False))
    return np.concatenate(parts)


def read_ragged(store: Store, first: int = 0, stop: int | None = None) -> Ragged:
    """Read slices first .. stop - 1 (all by default) of an import, in whichever layout it lies."""
    times = store.read(TIMES)
    stop = len(times) if stop is None else stop
    if store.exists(POSITIONS):
        positions = store.read(POSITIONS, slice(first, stop))
        t, n, d = positions.shape
        labelled = store.attributes[IMPORTED]["labelled"]
        ids = np.tile(np.arange(n, dtype=np.int32), t) if labelled else None
        return Ragged(times[first:stop], np.arange(t + 1, dtype=np.int64) * n, ids, positions.reshape(t * n, d))
    offsets = store.read(f"{RAGGED}/offset")
    rows = slice(int(offsets[first]), int(offsets[stop]))
    ids = store.read(f"{RAGGED}/particle", rows) if store.exists(f"{RAGGED}/particle") else None
    positions = store.read(f"{RAGGED}/positions", rows)
    return Ragged(times[first:stop], offsets[first : stop + 1] - offsets[first], ids, positions)
