"""The particles of a member's part: drawn or read, into the memory of the process or onto its device."""

from __future__ import annotations

import numpy as np

from ipsdist.config import RunConfig
from ipsdist.model.setup import Setup
from ipsdist.numerics.particles.cloud import Cloud
from ipsdist.numerics.particles.host_cloud import HostCloud
from ipsdist.stages.initial import chunk_of, precision_of, start_rows
from ipsdist.stages.parts import Positions, read_rows
from ipsdist.storage import Store

__all__ = ["Clouds"]


class Clouds:
    """Makes the clouds of the particles first .. stop - 1 of a replica, for one of ``members``."""

    def __init__(self, store: Store, config: RunConfig, setup: Setup, first: int, stop: int, members: int) -> None:
        self._store, self._config = store, config
        self._first, self._shape = first, (stop - first, setup.dimension)

    def drawn(self, replica: int) -> Cloud:
        """Return the particles at the start."""
        return HostCloud(self._start(replica, 0, self._shape[0]), chunk_of(self._config), copy=False)

    def stored(self, name: str, chunk: int) -> Cloud:
        """Return the particles of an array of a checkpoint, which has chunks of ``chunk`` rows."""
        return HostCloud(self._read(name, chunk, 0, self._shape[0]), chunk_of(self._config), copy=False)

    def _start(self, replica: int, a: int, b: int) -> Positions:
        return start_rows(self._store, self._config, replica, self._first + a, self._first + b)

    def _read(self, name: str, chunk: int, a: int, b: int) -> Positions:
        out: Positions = np.empty((b - a, self._shape[1]), dtype=precision_of(self._config))
        return read_rows(self._store, name, self._first + a, out, chunk)
