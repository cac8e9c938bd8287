"""Whether every worker sees the directory of a run: asked before anything is spent."""

from __future__ import annotations

import time
import uuid
from pathlib import Path

from ipsdist.model.errors import InputError
from ipsdist.runtime.executor import Executor
from ipsdist.storage.places import LocalPlace, Place, place

__all__ = ["FOLDER", "first_missing", "probe"]

FOLDER = ".probe"
"""Where driver and workers leave marks for each other; gone afterwards."""
_PATIENCE = 5.0
"""Seconds in which a file that was written on one machine appears on another."""
_NAMED = 3


def first_missing(out: Place | Path | str) -> Place:
    """Return the directory to remove if ``out`` shall be as it was: the topmost that is not there yet, or the marks."""
    out = place(out)
    missing = out / FOLDER
    if isinstance(out, LocalPlace):
        for path in (out.path, *out.path.absolute().parents):
            if path.exists():
                break
            missing = LocalPlace(path)
    return missing


def probe(executor: Executor, out: Place | Path | str, missing: Place) -> None:
    """Have every worker read what the driver wrote in the run's directory, and the driver what they wrote.

    Raises InputError, naming the workers that do not see it, and leaves no more than there was: ``missing`` is what
    `first_missing` said before the directory was made. Workers of this machine are not asked.
    """
    out = place(out)
    if executor.workers and not out.is_shared:
        raise InputError("--out", _RULE, f"{out}, which this process alone sees", _FIX)
    if not executor.elsewhere:
        return
    token, marks = uuid.uuid4().hex, out / FOLDER
    try:
        (marks / token).write_whole(token.encode())
        answers = executor.everywhere(_answer, _everywhere(out), token)
        blind = {worker: reason for worker, answer in answers.items() if (reason := _blindness(marks, answer))}
        if blind:
            missing.remove()
            raise InputError("--out", _RULE, _shown(out, blind), _FIX)
    finally:
        marks.remove()


_RULE = "must be a place that every worker sees and writes to"
_FIX = "use a directory that they share, or s3://BUCKET/NAME"


def _everywhere(out: Place) -> str:
    """Return the name of a place that does not depend on the working directory."""
    return str(out.path.absolute()) if out.is_local else str(out)


def _answer(where: str, token: str) -> tuple[bool, str]:
    """On a worker: read the driver's mark and leave one; return (True, its name) or (False, what went wrong)."""
    try:
        marks = place(where) / FOLDER
        if not _appears(marks / token):
            # A directory of the same name that is another one must not be filled.
            return False, "does not see it"
        name = uuid.uuid4().hex
        (marks / name).write_whole(name.encode())
    except Exception as error:  # whatever it is, the user must hear of it, and perhaps only here is its class known
        return False, f"cannot write there ({type(error).__name__}: {' '.join(str(error).split())})"
    return True, name


def _blindness(marks: Place, answer: object) -> str:
    """Return what is wrong with a worker by its answer; empty when nothing is."""
    if isinstance(answer, BaseException):
        return f"does not answer ({type(answer).__name__}: {' '.join(str(answer).split())})"
    assert isinstance(answer, tuple)
    fine, said = answer
    if not fine:
        return str(said)
    return "" if _appears(marks / said) else "writes elsewhere"


def _appears(mark: Place) -> bool:
    """Tell whether a mark is there, now or in a moment: shared disks are not at once the same everywhere."""
    until = time.monotonic() + _PATIENCE
    while True:
        try:
            return mark.read_bytes() == mark.name.encode()
        except FileNotFoundError:
            if time.monotonic() > until:
                return False
        time.sleep(0.2)


def _shown(out: Place, blind: dict[str, str]) -> str:
    told = [f"{worker} {reason}" for worker, reason in blind.items()]
    more = f", and {len(told) - _NAMED} more workers" if len(told) > _NAMED else ""
    return f"{_everywhere(out)}: {', '.join(told[:_NAMED])}{more}"
