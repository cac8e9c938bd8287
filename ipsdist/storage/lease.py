"""The lock of a remote place: an object that its owner writes again and again, and that lapses when nobody does.

Leases are numbered. Whoever wants the lock reads the one of the highest number; when it is over (given back, or not
written for `LAPSES` seconds, or its process is dead) the next number is put on the condition that it is not there yet,
which of several that try one can. Only its owner ever writes a lease, so that none can undo another's.
"""

from __future__ import annotations

import contextlib
import json
import threading
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ipsdist.model.errors import InputError, RunError
from ipsdist.storage.owner import Owner
from ipsdist.storage.places import Place

__all__ = ["BEATS", "LAPSES", "leased"]

BEATS = 5.0
"""Seconds from one writing of the lease to the next."""
LAPSES = 30.0
"""Seconds after which a lease that was not written is over."""

_FREE = "free"


@dataclass(frozen=True)
class _Lease:
    number: int
    owner: Owner | None
    """None when it was given back, or cannot be read."""
    token: str

    def content(self) -> bytes:
        value = {"owner": _FREE if self.owner is None else self.owner.to_json(), "token": self.token}
        return json.dumps(value).encode()


@contextlib.contextmanager
def leased(folder: Place, named: Place) -> Iterator[Callable[[], None]]:
    """Hold the lease that lies in ``folder``; errors name the place ``named``. See `locked`."""
    try:
        mine = _taken(folder, named)
    except OSError as error:
        got = f"{named}: {error.strerror or error}"
        raise InputError("DIR", "must be a place that can be written to", got, "choose another one") from error
    fresh = False
    over, lost = threading.Event(), threading.Event()
    beat = threading.Thread(target=_beat, args=(folder, mine, over, lost), name="ipsdist-lease", daemon=True)
    beat.start()

    def check() -> None:
        if lost.is_set():
            who = _highest(folder)
            by = "another process" if who is None or who.owner is None else str(who.owner)
            raise RunError(
                f"{named} was taken over by {by}, because nothing was heard of this process for {LAPSES:.0f} s; "
                "what was finished is kept, give the same command again when that one is done"
            )

    try:
        yield check
        check()
    except InputError:
        fresh = mine.number == 1  # refused before anything was written: nothing is left
        raise
    finally:
        over.set()
        beat.join()
        if not lost.is_set():
            with contextlib.suppress(OSError):  # it lapses by itself
                at = folder / str(mine.number)
                at.remove() if fresh else at.write_whole(_Lease(mine.number, None, mine.token).content())


def _taken(folder: Place, named: Place) -> _Lease:
    """Put the next lease. Raises InputError while another holds."""
    while True:
        last = _highest(folder)
        if last is not None and last.owner is not None:
            silent = _silence(folder, last)
            if not last.owner.is_dead() and silent < LAPSES:
                got = f"{named}, which {last.owner} is writing (last heard of {silent:.0f} s ago)"
                fix = f"wait for it or stop it, or choose another --out; if it is dead, wait {LAPSES - silent:.0f} s"
                raise InputError("DIR", "must not be in use", got, fix)
        mine = _Lease(1 if last is None else last.number + 1, Owner.here(), uuid.uuid4().hex)
        at = folder / str(mine.number)
        at.create(mine.content())
        # What stands there counts: a put whose answer was lost, and that was tried again, says it was not the first;
        # and a store that knows no conditions may let two put it, of which one reads the other's.
        if _content(at) == mine.content():
            for number in _numbers(folder):
                if number < mine.number:
                    (folder / str(number)).remove()
            return mine


def _content(at: Place) -> bytes:
    try:
        return at.read_bytes()
    except FileNotFoundError:  # the winner has already moved on
        return b""


def _beat(folder: Place, mine: _Lease, over: threading.Event, lost: threading.Event) -> None:
    while not over.wait(BEATS):
        try:
            if max(_numbers(folder), default=0) > mine.number:
                lost.set()
                return
            (folder / str(mine.number)).write_whole(mine.content())
        except OSError:
            continue  # the connection may come back; else the work itself fails


def _numbers(folder: Place) -> list[int]:
    return [int(name) for name in folder.names() if name.isdecimal()]


def _highest(folder: Place) -> _Lease | None:
    """Return the lease that counts; None where there is none."""
    number = max(_numbers(folder), default=0)
    if not number:
        return None
    try:
        value = json.loads((folder / str(number)).read_bytes())
        owner = None if value["owner"] == _FREE else Owner.from_json(value["owner"])
        return _Lease(number, owner, str(value["token"]))
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return _Lease(number, None, "")


def _silence(folder: Place, lease: _Lease) -> float:
    """Return the seconds since a lease was written, by the clock of the store: those of hosts may differ."""
    clock = folder / f"clock-{uuid.uuid4().hex}"
    clock.write_whole(b"")
    try:
        return max(0.0, clock.modified() - (folder / str(lease.number)).modified())
    finally:
        clock.remove()
