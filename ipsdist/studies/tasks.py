"""What one worker is asked to do for a study: a whole run, serial, in its own directory."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from ipsdist.config import RunConfig
from ipsdist.model.errors import InputError
from ipsdist.runs import pipeline
from ipsdist.runtime.progress import Progress
from ipsdist.storage import place

__all__ = ["RunTask", "do_run"]

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


def do_run(task: RunTask, tick: Callable[[float], None]) -> str | None:
    """Do what the run lacks; return why it failed in one line, None when it did not. ``tick`` hears parts of a run."""

    def observe(progress: Progress) -> None:
        share = progress.done / progress.total if progress.total else 1.0
        tick((_STAGES.index(progress.stage) + share) / len(_STAGES))

    donors = tuple(place(donor) for donor in task.donors)
    options = pipeline.Options(observe=observe, draw=task.draw, donors=donors)
    begun = time.monotonic()
    while True:
        try:
            pipeline.run(task.config, place(task.out), options)
        except InputError as error:
            if _IN_USE not in str(error) or time.monotonic() - begun > _WAIT_SECONDS:
                return _line(error)
            time.sleep(0.5)
        except Exception as error:  # a study of many runs goes on without one of them
            return _line(error)
        else:
            return None


def _line(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    known = type(error).__module__.startswith("ipsdist.")
    return text if known else f"{type(error).__name__}: {text}"
