"""A device of the host in the place of the GPU of this process, and what it was asked to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

import pytest

from ipsdist.stages import devices
from tests.host_device import HostDevice

__all__ = ["in_place", "largest_leap"]

D = TypeVar("D", bound=HostDevice)


@contextmanager
def in_place(device: D, monkeypatch: pytest.MonkeyPatch) -> Iterator[D]:
    """Let this process find a device inside, and forget it after."""
    monkeypatch.setattr(devices, "find_device", lambda number=0: device)
    devices._first.cache_clear()
    try:
        yield device
    finally:
        devices._first.cache_clear()


def largest_leap(device: HostDevice) -> int:
    """Return how many replicas the largest leap had."""
    return max((blocks for name, blocks, *_ in device.launches if name == "leap"), default=0)
