"""How a command ends: 0 done, 1 failed, 2 bad input, 130 stopped; each but the first with one line on stderr."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import sys
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any, NoReturn, TextIO

import typer

from ipsdist.cli.output import printable
from ipsdist.model.errors import InputError, RunError

__all__ = ["exit_code"]

_Usage: Any = typer.BadParameter.__base__
"""What is wrong with the words of a command; typer has the class but exports only this child of it."""
_WITH_OUT = ("run", "plan", "study", "reproduce")
_WITH_DIR = ("simulate", "estimate", "assemble", "fit", "report", "info", "import")
"""Commands by how they name the directory; pool has both."""


def exit_code(command: Callable[[], Any], words: Sequence[str]) -> int:
    """Call ``command``, say in one line why it ended if it did not end well, and return the exit code.

    ``words`` is what the user typed, to say how to go on after Ctrl-C (or SIGTERM, which ends like it). Any other
    exception is a defect of this program and passes with its traceback.
    """
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        command()
        sys.stdout.flush()
    except InputError as error:
        return _say(2, f"error: {_as_typed(error, words)}")
    except _Usage as error:
        return _say(2, f"error: {_usage(error, words)}")
    except typer.Exit as error:
        return error.exit_code
    except RunError as error:
        return _say(1, f"error: {error}")
    except MemoryError:
        return _say(
            1, "error: not enough memory; use a smaller run.chunk or fewer --workers; what was finished is kept"
        )
    except (KeyboardInterrupt, typer.Abort):
        return _say(130, f"stopped; what was finished is kept, go on with: {shlex.join(['ipsdist', *words])}")
    except BrokenPipeError:
        # The reader of the answer left early, as `head` does: nothing went wrong here.
        for stream in (sys.stdout, sys.stderr):
            _to_nowhere(stream)
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        return _say(1, f"error: {place}{error.strerror or error}; what was finished is kept")
    return 0


def _as_typed(error: InputError, words: Sequence[str]) -> str:
    """Return what is wrong, with the name that this command has for where a run is kept: --out or DIR."""
    text, command = str(error), next((w for w in words if not w.startswith("-")), "")
    if command not in _WITH_OUT + _WITH_DIR:
        return text
    name = "--out" if command in _WITH_OUT else "DIR"
    if error.argument in ("out", "--out", "DIR"):
        text = f"`{name}`{text.removeprefix(f'`{error.argument}`')}"
    return text.replace("choose another --out", f"choose another {name}")


def _usage(error: Any, words: Sequence[str]) -> str:
    """Return one line for words that make no command: the argument, the rule, what came, where to look."""
    known = next((w for w in words if not w.startswith("-")), "")
    help_of = (
        f"`ipsdist {known} --help`" if error.ctx is not None and error.ctx.info_name == known else "`ipsdist --help`"
    )
    option: str = next(iter(getattr(getattr(error, "param", None), "opts", [])), "")
    if "valid integer" in error.format_message() and option in words:
        came = words[list(words).index(option) + 1]
        return f"`{option}` must be a whole number; got {came}; see {help_of}"
    return f"{error.format_message().rstrip('.')}; see {help_of}"


def _say(code: int, message: str) -> int:
    with contextlib.suppress(BrokenPipeError):
        print(printable(" ".join(message.split())), file=sys.stderr, flush=True)
    return code


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def _to_nowhere(stream: TextIO) -> None:
    # The interpreter flushes the stream once more when it ends, which must not fail.
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
