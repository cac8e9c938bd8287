"""The lock of a run directory: one writer at a time, and free again when that writer dies."""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Callable, Iterator
from pathlib import Path

from ipsdist.model.errors import InputError
from ipsdist.storage.lease import leased
from ipsdist.storage.owner import Owner
from ipsdist.storage.places import Place, RemotePlace, place

__all__ = ["LOCK", "locked"]

LOCK = ".lock"
"""The file, or what lies below that name in a remote place."""


@contextlib.contextmanager
def locked(directory: Path | Place) -> Iterator[Callable[[], None]]:
    """Hold the exclusive lock of an existing run directory, and give a function that makes sure that it still holds.

    On a disk it is the kernel's, on the file ``.lock``, which names its owner but whose existence means nothing: the
    lock is gone with the process however it ends. In a remote place it is a `lease`, which lapses when its owner is
    not heard of. Raises InputError, naming the owner, when another process holds it; the function raises RunError when
    it was lost meanwhile.
    """
    at = place(directory)
    if isinstance(at, RemotePlace):
        with leased(at / LOCK, at) as check:
            yield check
        return
    with (at / LOCK).path.open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            owner = file.read(200).strip() or "another process"
            fix = "wait for it or stop it, or choose another --out"
            raise InputError("DIR", "must not be in use", f"{at}, which {owner} is writing", fix) from None
        file.truncate(0)
        file.write(f"{Owner.here()}\n")
        file.flush()
        try:
            yield lambda: None
        finally:
            file.truncate(0)
