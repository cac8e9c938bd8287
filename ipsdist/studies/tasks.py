"""What one worker is asked to do for a study: a whole run, serial, in its own directory, and its row of the table."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ipsdist.config import RunConfig
from ipsdist.model.errors import InputError
from ipsdist.runs import pipeline
from ipsdist.runs.sharing import taken_over
from ipsdist.runtime.progress import Progress
from ipsdist.storage import Place, place
from ipsdist.studies.paths import found
from ipsdist.studies.table import learnt

__all__ = ["Finished", "RunTask", "do_run", "part_of_run"]

_STAGES = ("particles", "densities", "equations", "kernel", "report")
_WAIT_SECONDS = 45
"""For the lock of a directory: a worker whose driver was killed needs a moment to notice, a lease one to lapse."""
_IN_USE = "must not be in use"


@dataclass(frozen=True)
class RunTask:
    """One run of a study."""

    out: str
    config: RunConfig = field(repr=False)
    donors: tuple[str, ...]
    """Directories of runs that have stages in common with this one, done before it."""
    draw: bool
    columns: tuple[str, ...] = ()
    """Paths into its result that are columns of the table beside those of every study."""
    asked: tuple[str, ...] = ()
    """What the plots show of it."""


@dataclass(frozen=True)
class Finished:
    """What a run leaves for the study; read where it was done, for the driver of many short runs has no time to."""

    error: str | None
    """Why it failed, in one line."""
    cells: dict[str, Any] = field(default_factory=dict)
    shown: dict[str, Any] = field(default_factory=dict)
    """What the plots ask of it, and ``units``."""


def do_run(task: RunTask, tick: Callable[[float], None]) -> Finished:
    """Do what the run lacks; return what the table needs of it. ``tick`` hears parts of a run."""

    def observe(progress: Progress) -> None:
        tick(part_of_run(progress))

    donors = tuple(place(donor) for donor in task.donors)
    options = pipeline.Options(observe=observe, draw=task.draw, donors=donors)
    begun = time.monotonic()
    while True:
        try:
            pipeline.run(task.config, place(task.out), options)
        except InputError as error:
            if _IN_USE not in str(error) or time.monotonic() - begun > _WAIT_SECONDS:
                return Finished(_line(error))
            time.sleep(0.5)
        except Exception as error:  # a study of many runs goes on without one of them
            return Finished(_line(error))
        else:
            return _read(task, place(task.out))


def part_of_run(progress: Progress) -> float:
    """Return what part of a run is done, by what it says of one of its stages."""
    share = progress.done / progress.total if progress.total else 1.0
    return (_STAGES.index(progress.stage) + share) / len(_STAGES)


def _read(task: RunTask, home: Place) -> Finished:
    """Take from a finished run what table and plots need of it."""
    result = json.loads((home / "result.json").read_text())
    cells = learnt(result, taken_over(home), task.columns)
    shown = {name: found(result, name) for name in task.asked if name not in cells}
    return Finished(None, cells, {**shown, "units": result["units"]})


def _line(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    known = type(error).__module__.startswith("ipsdist.")
    return text if known else f"{type(error).__name__}: {text}"
