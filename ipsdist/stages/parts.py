"""How a replica is shared out between the members of a gang, and how its positions lie in the store."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ipsdist.config import RunConfig
from ipsdist.model.setup import Setup
from ipsdist.numerics.particles.cloud import Cloud
from ipsdist.numerics.particles.noise import LANES
from ipsdist.stages.initial import precision_of
from ipsdist.storage import Store

__all__ = [
    "CHUNK_BYTES",
    "Parts",
    "Positions",
    "kept_name",
    "kept_rows",
    "kept_slices",
    "parts_of",
    "read_rows",
    "write_rows",
]

Positions = npt.NDArray[np.float64] | npt.NDArray[np.float32]

CHUNK_BYTES = 2**24
"""Largest chunk of positions: whoever writes or reads one holds a copy or two of it."""
_KEPT_CHUNKS, _KEPT_LEAST = 256, 256
"""Kept positions are cut into so many chunks, if these have so many particles: members own whole ones."""


@dataclass(frozen=True)
class Parts:
    """Particles r * rows .. (r + 1) * rows - 1, as far as there are any, belong to member r; ``chunk`` divides rows."""

    particles: int
    rows: int
    chunk: int

    def of(self, rank: int) -> tuple[int, int]:
        """Return the first particle of a member and the one after its last; the same number twice when it has none."""
        return min(rank * self.rows, self.particles), min((rank + 1) * self.rows, self.particles)


def kept_rows(config: RunConfig, setup: Setup) -> int:
    """Return the particles of a chunk of kept positions, a multiple of 4: a function of the run alone."""
    width = precision_of(config).itemsize * setup.dimension
    rows = min(max(_KEPT_LEAST, -(-setup.particles // _KEPT_CHUNKS)), CHUNK_BYTES // width)
    return rows + -rows % LANES


def parts_of(config: RunConfig, setup: Setup, members: int) -> Parts:
    """Return the parts of ``members`` members: as even as whole Philox blocks, or chunks of kept positions, allow."""
    width = precision_of(config).itemsize * setup.dimension
    even = -(-setup.particles // members)
    if not config.time.positions_at:
        pieces = -(-even * width // CHUNK_BYTES)
        chunk = -(-even // (LANES * pieces)) * LANES
        return Parts(setup.particles, chunk * pieces, chunk)
    unit = kept_rows(config, setup)
    rows = -(-even // unit) * unit
    return Parts(setup.particles, rows, rows if rows * width <= CHUNK_BYTES else unit)


def kept_slices(config: RunConfig) -> set[int]:
    """Return the numbers of the slices whose positions the run file wants kept."""
    times = config.times()
    return {round(t / (times.step * times.observe_every)) for t in config.time.positions_at}


def kept_name(replica: int, number: int) -> str:
    """Return the name of the positions that are kept of a slice."""
    return f"particles/replica-{replica}/positions-{number}"


def write_rows(store: Store, name: str, first: int, cloud: Cloud, chunk: int) -> None:
    """Write the particles of a part as the rows from ``first`` on, one chunk at a time."""
    particles = cloud.shape[0]
    for a in range(0, particles, chunk):
        store.write_region(name, first + a, cloud.rows(a, min(a + chunk, particles)))


def read_rows(store: Store, name: str, first: int, out: Positions, chunk: int) -> Positions:
    """Fill ``out`` with the rows from ``first`` on of an array with chunks of ``chunk`` rows, and return it."""
    at, stop = first, first + len(out)
    while at < stop:
        end = min(stop, (at // chunk + 1) * chunk)
        out[at - first : end - first] = store.read(name, slice(at, end))
        at = end
    return out
