"""The particles of a member's part: drawn or read, into the memory of the process or onto its device."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

import numpy as np

from ipsdist.config import RunConfig
from ipsdist.model.setup import Setup
from ipsdist.numerics.particles.cloud import Cloud
from ipsdist.numerics.particles.host_cloud import HostCloud
from ipsdist.stages.device_plan import fits, stepping_remedy
from ipsdist.stages.devices import device_memory, device_of, leaps_of
from ipsdist.stages.initial import chunk_of, precision_of, start_rows
from ipsdist.stages.parts import Positions, read_rows
from ipsdist.storage import Store

if TYPE_CHECKING:
    from ipsdist.numerics.particles.device_leap import Leaps

__all__ = ["Clouds"]


class Clouds:
    """Makes the clouds of the particles first .. stop - 1 of a replica, for one of ``members``.

    Raises RunError where the run wants a device and there is none, or where they do not fit it.
    """

    def __init__(self, store: Store, config: RunConfig, setup: Setup, first: int, stop: int, members: int) -> None:
        self._store, self._config, self._setup = store, config, setup
        self._first, self._shape = first, (stop - first, setup.dimension)
        self._device = device_of(config)
        self._plan = None if self._device is None else fits(self._device, config, setup, members)

    @property
    def device(self) -> str:
        """What steps them: cpu, or the name of a GPU."""
        return "cpu" if self._device is None else self._device.name

    @property
    def leaps(self) -> Leaps | None:
        """Where their leaps meet those of the other threads of this process; None on the CPU."""
        return None if self._device is None else leaps_of(self._device)

    def guarded(self) -> AbstractContextManager[None]:
        """Say it in one line where the memory of the device is used up inside."""
        return device_memory(self._device, stepping_remedy(self._config, self._setup))

    def release(self) -> None:
        """Give the memory of the device that nobody uses back to the system."""
        if self._device is not None:
            self._device.release()

    def drawn(self, replica: int) -> Cloud:
        """Return the particles at the start."""
        law = self._config.initial_law()
        if self._device is None or self._plan is None or law is None:
            return self._filled(lambda a, b: start_rows(self._store, self._config, replica, *self._rows(a, b)))
        from ipsdist.numerics.particles.device_cloud import DeviceCloud

        seed, precision = self._config.run.seed, precision_of(self._config)
        of = self._first, seed, replica
        return DeviceCloud.drawn(self._device, law, self._shape, precision, *of, self._plan.chunk, self._plan.resident)

    def stored(self, name: str, chunk: int) -> Cloud:
        """Return the particles of an array of a checkpoint, which has chunks of ``chunk`` rows."""

        def rows(a: int, b: int) -> Positions:
            out: Positions = np.empty((b - a, self._shape[1]), dtype=precision_of(self._config))
            return read_rows(self._store, name, self._first + a, out, chunk)

        return self._filled(rows)

    def _filled(self, rows: Callable[[int, int], Positions]) -> Cloud:
        """Return the particles that ``rows`` gives."""
        if self._device is None or self._plan is None:
            return HostCloud(rows(0, self._shape[0]), chunk_of(self._config), copy=False)
        from ipsdist.numerics.particles.device_cloud import DeviceCloud

        precision = precision_of(self._config)
        return DeviceCloud.filled(self._device, self._shape, precision, rows, self._plan.chunk, self._plan.resident)

    def _rows(self, a: int, b: int) -> tuple[int, int]:
        return self._first + a, self._first + b
