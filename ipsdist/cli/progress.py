"""Progress for people, on stderr: a bar a stage on a terminal, a line a stage elsewhere."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterator

from rich.console import Console
from rich.progress import BarColumn, ProgressColumn, Task, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bars
from rich.text import Text

from ipsdist.runtime.progress import Observer, Progress

__all__ = ["observer", "with_prefix"]


@contextlib.contextmanager
def observer(quiet: bool) -> Iterator[Observer]:
    """Give the observer that suits the terminal; bars are cleared away from a run that ends early."""
    if quiet:
        yield _hear_nothing
    elif _bars_suit():
        console = Console(stderr=True)
        with Bars(*_columns(), console=console) as bars:
            yield _BarObserver(bars)
    else:
        yield _LineObserver()


def with_prefix(number: float) -> str:
    """Write a number with three digits and a prefix, ready for its unit: ``12.3 M ``."""
    for size, prefix in ((1e12, " T "), (1e9, " G "), (1e6, " M "), (1e3, " k ")):
        if abs(number) >= 0.9995 * size:
            return f"{number / size:.3g}{prefix}"
    return f"{number:.3g} "


class _BarObserver:
    """One bar for every stage that does something."""

    def __init__(self, bars: Bars) -> None:
        self._bars = bars
        self._ids: dict[str, TaskID] = {}

    def __call__(self, progress: Progress) -> None:
        if progress.stage not in self._ids:
            self._ids[progress.stage] = self._bars.add_task(progress.stage, total=progress.total, unit=progress.unit)
        self._bars.update(self._ids[progress.stage], completed=progress.done)


class _LineObserver:
    """One line for every stage when it is complete, with its seconds."""

    def __init__(self) -> None:
        self._stage: str | None = None
        self._begun = 0.0
        self._first = 0.0
        self._silent = False

    def __call__(self, progress: Progress) -> None:
        if progress.stage != self._stage:
            self._stage, self._begun, self._first = progress.stage, time.perf_counter(), progress.done
        if progress.done < progress.total or self._begun < 0 or self._silent:
            return
        seconds, done = time.perf_counter() - self._begun, progress.done - self._first
        told = done > 1 and seconds > 0 and progress.unit != "%"
        rate = f"  {with_prefix(done / seconds)}{progress.unit}/s" if told else ""
        self._begun = -1.0  # said
        try:
            print(f"{progress.stage:<10} {seconds:7.1f} s{rate}", file=sys.stderr, flush=True)
        except BrokenPipeError:
            # Nobody listens any more; that is no reason to stop the work.
            self._silent = True


class _Rate(ProgressColumn):
    """Units per second."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        shown = speed and task.total != 1 and task.fields["unit"] != "%"
        text = f"{with_prefix(speed)}{task.fields['unit']}/s" if speed and shown else ""
        return Text(text, style="progress.data.speed")


class _Count(ProgressColumn):
    """How many of how many runs of a study; nothing for what is not counted by hand."""

    def render(self, task: Task) -> Text:
        return Text(f"{int(task.completed)}/{task.total:.0f}" if task.fields["unit"] == "runs" else "")


def _columns() -> list[ProgressColumn]:
    return [
        TextColumn("{task.description:<10}"),
        BarColumn(bar_width=16),
        TextColumn("{task.percentage:>3.0f} %"),
        _Count(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        _Rate(),
    ]


def _bars_suit() -> bool:
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return sys.stdout.isatty() and sys.stderr.isatty() and not plain


def _hear_nothing(progress: Progress) -> None:
    """Show nothing."""
