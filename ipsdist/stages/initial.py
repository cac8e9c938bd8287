"""The positions at the start of a replica: drawn from its law or read from the store, any rows of them alike."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ipsdist.config import RunConfig
from ipsdist.model.system import InitialLaw
from ipsdist.numerics.particles.initial import sample
from ipsdist.numerics.particles.noise import LANES
from ipsdist.storage import Store

__all__ = ["INPUT_INITIAL", "chunk_of", "initial_positions", "precision_of", "start_rows"]

INPUT_INITIAL = "input/initial"
"""Initial positions from a file, (particle, space)."""

Positions = npt.NDArray[np.float64] | npt.NDArray[np.float32]
_CHUNK = 2**20


def chunk_of(config: RunConfig) -> int:
    """Return the particles of a chunk, a multiple of 4."""
    chunk = config.run.chunk
    return _CHUNK if chunk == "auto" else chunk + -chunk % LANES


def precision_of(config: RunConfig) -> np.dtype[np.float64] | np.dtype[np.float32]:
    """Return what positions are kept in."""
    return np.dtype(np.float32) if config.run.precision == "float32" else np.dtype(np.float64)


def initial_positions(
    law: InitialLaw, config: RunConfig, replica: int, count: int | None = None
) -> npt.NDArray[np.float64]:
    """Return the first ``count`` initial positions of a replica (count, d); all of them by default."""
    system = config.system_value()
    n = system.particles if count is None else min(count, system.particles)
    positions, chunk = np.empty((n, system.dimension)), chunk_of(config)
    for first in range(0, n, chunk):
        stop = min(first + chunk, n)
        positions[first:stop] = sample(law, system.dimension, config.run.seed, replica, first, stop - first)
    return positions


def start_rows(store: Store, config: RunConfig, replica: int, first: int, stop: int) -> Positions:
    """Return the initial positions of the particles first .. stop - 1 of a replica, as they are kept (n, d).

    A chunk at a time, so that beside them there is only one chunk in float64.
    """
    d, law, chunk = config.system.dimension, config.initial_law(), chunk_of(config)
    positions: Positions = np.empty((max(0, stop - first), d), dtype=precision_of(config))
    for a in range(first, stop, chunk):
        b = min(a + chunk, stop)
        if law is None:
            positions[a - first : b - first] = store.read(INPUT_INITIAL, slice(a, b))
        else:
            positions[a - first : b - first] = sample(law, d, config.run.seed, replica, a, b - a)
    return positions
