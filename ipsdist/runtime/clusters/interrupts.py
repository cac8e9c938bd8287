"""Ctrl-C and a cluster in this process: it is held back while processes start, and never lost afterwards."""

# mypy: untyped-calls-exclude="distributed"

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

from distributed.gc import disable_gc_diagnosis, enable_gc_diagnosis

__all__ = ["heard_interrupts", "held_interrupts", "kept_handlers"]


@contextlib.contextmanager
def held_interrupts() -> Iterator[None]:
    """Keep Ctrl-C (and SIGTERM where it is handled) back until the block ends, and deliver it then.

    Threads and processes begun inside never hear Ctrl-C, which a terminal sends to all processes: a child that
    starts would die of it with a traceback, and a half-started cluster cannot be closed.
    """
    if threading.current_thread() is not threading.main_thread():  # no other can be interrupted
        yield
        return
    held: list[int] = []

    def hold(number: int, _frame: FrameType | None) -> None:
        held.append(number)

    # What has no handler of Python's either ends the process at once or is ignored: so it shall stay.
    before = {n: h for n in (signal.SIGINT, signal.SIGTERM) if callable(h := signal.getsignal(n))}
    for number in before:
        signal.signal(number, hold)
    # A handler is not inherited by what is spawned, but a mask is, by threads and by their processes.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        for number, handler in before.items():
            signal.signal(number, handler)
    if held:
        signal.raise_signal(held[0])


@contextlib.contextmanager
def kept_handlers() -> Iterator[None]:
    """Undo what an import does to Ctrl-C: dask-jobqueue makes it end the process without a word, with exit code 0."""
    before = signal.getsignal(signal.SIGINT)
    try:
        yield
    finally:
        # None is one that is not of Python; nothing else can have changed it from another thread.
        if before is not None and signal.getsignal(signal.SIGINT) is not before:
            signal.signal(signal.SIGINT, before)


@contextlib.contextmanager
def heard_interrupts() -> Iterator[None]:
    """Take Dask's callback of the garbage collector away while its scheduler is in this process.

    A Ctrl-C that comes during a collection is raised in that callback, where Python prints and forgets it.
    """
    disable_gc_diagnosis()  # users are counted: the scheduler is one
    try:
        yield
    finally:
        enable_gc_diagnosis()
