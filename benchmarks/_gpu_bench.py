"""What all parts of gpu.py share: rows of the table, cases that may fail, clocks that wait for the device."""

from __future__ import annotations

import contextlib
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
for _place in (ROOT, ROOT / "benchmarks"):
    if str(_place) not in sys.path:
        sys.path.insert(0, str(_place))

MEMORY_BOUND = 4.3e12
"""Bytes a second that an H200 copies, read and written together."""
SAME_BITS = "the same bits"
DONE, BELOW, FAILED, LEFT_OUT, TOLD = "ok", "below", "FAILED", "left out", ""


@dataclass
class Row:
    """A line of the table."""

    part: str
    what: str
    value: float | None = None
    unit: str = ""
    bar: float | None = None
    most: bool = False
    """The bar is the most that is allowed, not the least."""
    share: float | None = None
    """Of what limits it: memory at 4.3 TB/s, or instructions."""
    copy: float | None = None
    """Of this card's own copy bandwidth."""
    state: str = TOLD
    note: str = ""

    @property
    def of_bar(self) -> float | None:
        """How much of the bar is reached: at least 1 is enough."""
        if self.value is None or not self.bar:
            return None
        if self.most:
            return self.bar / self.value if self.value > 0 else None
        return self.value / self.bar


class Bench:
    """One part of the script at work: its device, its rows, its time."""

    def __init__(
        self,
        part: str,
        rehearse: bool = False,
        tiny: bool = False,
        seconds: float = 60.0,
        sink: Path | None = None,
        copied: float | None = None,
    ) -> None:
        """``sink`` takes the rows as lines of JSON; ``copied`` is the measured copy bandwidth in bytes a second."""
        self.part, self.rehearse, self.tiny = part, rehearse, tiny or rehearse
        self.copied = copied
        self.rows: list[Row] = []
        self._sink, self._end = sink, time.monotonic() + seconds
        self._device: Any = None

    @property
    def folder(self) -> Path:
        """Where the parts of one call leave files for each other."""
        if self._sink is None:
            raise ValueError("this part has no folder")
        return self._sink.parent

    @property
    def device(self) -> Any:
        """The device, opened when it is first asked for. Raises NoDeviceError."""
        if self._device is None:
            self._device = open_device(self.rehearse)
        return self._device

    def row(self, what: str, value: float | None = None, unit: str = "", **rest: Any) -> Row:
        """Add a line; where there is a bar, its state follows from that, except in a rehearsal."""
        row = Row(self.part, what, value, unit, **rest)
        if row.state == TOLD and row.of_bar is not None and not self.rehearse:
            row.state = DONE if row.of_bar >= 1.0 else BELOW
        self.rows.append(row)
        if self._sink is not None:
            with self._sink.open("a", encoding="utf-8") as file:
                file.write(json.dumps(asdict(row)) + "\n")
        return row

    def rate(self, what: str, particles: float, seconds: float, bytes_each: float, **rest: Any) -> Row:
        """Add a line for particle-steps (or particles) a second that move so many bytes each."""
        moved = particles * bytes_each / seconds
        copy = moved / self.copied if self.copied else None
        return self.row(what, particles / seconds, "/s", share=moved / MEMORY_BOUND, copy=copy, **rest)

    @contextlib.contextmanager
    def case(self, what: str) -> Iterator[None]:
        """Do something that may fail: the failure becomes a line, and the part goes on."""
        try:
            yield
        except Exception as error:  # whatever it is, the other cases are still wanted
            package = (getattr(error, "name", None) or "").split(".")[0]
            if isinstance(error, ModuleNotFoundError) and package not in ("ipsdist", "tests", ""):
                self.row(what, state=LEFT_OUT, note=f"{package} is not installed")
                return
            first = str(error).strip().splitlines()[:1]
            self.row(what, state=FAILED, note=f"{type(error).__name__}: {' '.join(first)}"[:300])

    def left(self) -> float:
        """Return the seconds that are left of the part's time."""
        return self._end - time.monotonic()

    def late(self, what: str, needed: float = 0.0) -> bool:
        """Tell whether fewer seconds than ``needed`` are left; then say so in a line."""
        if self.left() > needed:
            return False
        self.row(what, state=LEFT_OUT, note="no time was left for it")
        return True

    def timed(self, action: Callable[[], Any], repeats: int = 7, least: float = 0.05) -> float:
        """Return the median seconds of ``action`` after a warm-up; a measurement covers at least ``least`` seconds.

        Stops early, after three, when the part's time is nearly out.
        """
        action()
        self.device.synchronise()
        batch, found = 1, []
        while len(found) < repeats:
            start = time.perf_counter()
            for _ in range(batch):
                action()
            self.device.synchronise()
            spent = time.perf_counter() - start
            if spent < least and not found and batch < 4096 and not self.rehearse:
                batch = min(4096, max(batch + 1, int(batch * 1.5 * least / max(spent, 1e-6))))
                continue
            found.append(spent / batch)
            if len(found) >= 3 and self.left() < 3 * spent:
                break
        return statistics.median(found)


def open_device(rehearse: bool) -> Any:
    """Return the GPU, or what rehearses it on the host. Raises NoDeviceError."""
    if rehearse:
        from tests.host_device import COMPILER, HostDevice

        if COMPILER is None:
            raise RuntimeError("a rehearsal needs g++")
        return HostDevice()
    from ipsdist.arrays import find_device

    return find_device()


def without_pool(device: Any) -> None:
    """Give every array of a GPU an allocation of its own, so that a sanitizer sees steps beyond its end."""
    if not hasattr(device, "_pool"):
        return
    from cupy.cuda.memory import Memory, MemoryPointer

    class Plain:
        def malloc(self, nbytes: int) -> Any:
            return MemoryPointer(Memory(max(nbytes, 1)), 0)

        def free_bytes(self) -> int:
            return 0

        def free_all_blocks(self) -> None:
            pass

    device._pool = Plain()


def differing(a: Any, b: Any) -> int:
    """Return how many elements of two arrays differ in their bits."""
    a, b = np.ascontiguousarray(a), np.ascontiguousarray(b)
    if a.shape != b.shape or a.dtype.itemsize != b.dtype.itemsize:
        return max(a.size, b.size, 1)
    words = f"u{a.dtype.itemsize}"
    return int((a.view(words) != b.view(words)).sum())


def shortened(rows: list[Row]) -> list[Row]:
    """Return the rows with all those of equal bits as one: a table that can be read."""
    same = [k for k, row in enumerate(rows) if row.state == DONE and row.unit.endswith(SAME_BITS)]
    if not same:
        return rows
    cases = sum(rows[k].value or 0.0 for k in same)
    what, unit = f"{len(same)} kernels and kinds of clouds", f"of {cases:.0f} {SAME_BITS}"
    one = Row(rows[same[0]].part, what, cases, unit, state=DONE)
    return [one if k == same[0] else row for k, row in enumerate(rows) if k not in same[1:]]


def table(rows: list[Row]) -> str:
    """Return the table of the rows."""
    heads = ("part", "what", "measured", "bar", "of bar", "bound", "copy", "")
    lines = [heads]
    for row in rows:
        value = "" if row.value is None else f"{row.value:.4g} {row.unit}".strip()
        bar = "" if row.bar is None else f"{'<' if row.most else '>='} {row.bar:.3g}"
        shares = ("" if s is None else f"{s:.2f}" for s in (row.of_bar, row.share, row.copy))
        lines.append((row.part, row.what, value, bar, *shares, " ".join(t for t in (row.state, row.note) if t)))
    widths = [max(len(line[k]) for line in lines) for k in range(len(heads))]
    widths[-1] = 0
    return "\n".join("  ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)).rstrip() for line in lines)
