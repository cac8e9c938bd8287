"""A GPU is used for the particles of a run only after it has shown the bits of the CPU, once a process."""

from __future__ import annotations

import threading
import warnings
from dataclasses import dataclass, field

from ipsdist.arrays import Device, DeviceMemoryError
from ipsdist.config import RunConfig
from ipsdist.stages.initial import precision_of

__all__ = ["REPORT", "disproved", "told", "warn_once", "was_disproved"]

REPORT = "report it with the table of benchmarks/gpu.py"
"""What to do about a card that fails."""


@dataclass
class _Found:
    """What the checks of a device have shown so far."""

    device: Device
    """Kept, so that no other device gets its id."""
    passed: set[tuple[int, str]] = field(default_factory=set)
    """Dimensions and types of positions."""
    wrong: str | None = None


_FOUND: dict[int, _Found] = {}
_CHECKING = threading.Lock()
"""Threads that come to a device together wait for one check."""
_TOLD: set[str] = set()


def disproved(device: Device, config: RunConfig) -> str | None:
    """Return what speaks against a device for the particles of a run, in words; None where it has the bits of the CPU.

    A device that failed once is not asked again, whatever the run.
    """
    kind = precision_of(config)
    key = config.system.dimension, kind.name
    with _CHECKING:
        found = _FOUND.setdefault(id(device), _Found(device))
        if found.wrong is None and key not in found.passed:
            from ipsdist.numerics.particles.device_check import check

            try:
                found.wrong = check(device, *key)
            except DeviceMemoryError:
                return None  # so full that the run says so itself; the next one checks it
            if found.wrong is None:
                found.passed.add(key)
        return found.wrong


def was_disproved(device: Device) -> str | None:
    """Return what `disproved` has found against a device in this process; None where nothing, or no run asked."""
    found = _FOUND.get(id(device))
    return None if found is None else found.wrong


def told(wrong: str) -> None:
    """Note that the user of this process hears what was found: then nobody warns of it."""
    _TOLD.add(wrong)


def warn_once(wrong: str) -> None:
    """Warn that particles are stepped on the CPU for what `disproved` has found, unless this process has told it."""
    if wrong not in _TOLD:
        _TOLD.add(wrong)
        warnings.warn(f"the particles are stepped on the CPU: {wrong}; please {REPORT}", RuntimeWarning, stacklevel=2)
