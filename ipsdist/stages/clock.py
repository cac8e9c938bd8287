"""What work costs: wall seconds, CPU seconds of the process or of one thread beside others, peak memory."""

from __future__ import annotations

import os
import resource
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

__all__ = ["Clock", "beside_others", "peak_bytes"]

_BESIDE: ContextVar[bool] = ContextVar("beside", default=False)
"""Whether other threads of this process do work that is counted by itself."""


def peak_bytes() -> int:
    """Return the peak memory of this process."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


@contextmanager
def beside_others() -> Iterator[None]:
    """Count CPU seconds of work inside by its thread: other threads of this process work too, and count their own."""
    token = _BESIDE.set(True)
    try:
        yield
    finally:
        _BESIDE.reset(token)


class Clock:
    """Wall and CPU seconds since the start, of this process or of this thread beside others, and peak memory."""

    def __init__(self) -> None:
        self._thread = threading.get_native_id() if _BESIDE.get() else None
        self._time = time.process_time if self._thread is None else time.thread_time
        self._wall, self._cpu = time.perf_counter(), self._time()

    def cost(self) -> dict[str, float]:
        """Return ``wall_seconds``, ``cpu_seconds`` and ``peak_bytes``."""
        return {
            "wall_seconds": time.perf_counter() - self._wall,
            "cpu_seconds": self._time() - self._cpu,
            "peak_bytes": peak_bytes(),
        }

    def place(self) -> dict[str, int]:
        """Return whose CPU seconds they are."""
        return {"process": os.getpid(), **({} if self._thread is None else {"thread": self._thread})}

    def counts(self, cost: Mapping[str, Any]) -> bool:
        """Tell whether the CPU seconds of a task are among those of this clock."""
        return cost["process"] == os.getpid() and self._thread in (None, cost.get("thread"))
