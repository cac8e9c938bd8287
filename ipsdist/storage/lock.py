"""The lock of a run directory: one writer at a time, and the kernel lets go when that writer dies."""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from ipsdist.model.errors import InputError

__all__ = ["locked"]


@contextlib.contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Hold the exclusive lock of an existing run directory, the file ``.lock`` in it.

    The file names its owner but its existence means nothing: only the kernel's lock counts, and that is gone
    with the process however it ends. Raises InputError, naming the owner, when another process holds it.
    """
    path = directory / ".lock"
    with path.open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            owner = file.read(200).strip() or "another process"
            fix = "wait for it or stop it, or choose another --out"
            raise InputError("DIR", "must not be in use", f"{directory}, which {owner} is writing", fix) from None
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
        file.flush()
        try:
            yield
        finally:
            file.truncate(0)
