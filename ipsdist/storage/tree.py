"""The groups of a store and what they describe: ``zarr.json`` files below one place, and records among them."""

from __future__ import annotations

import contextlib
import errno
import json
import shutil
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ipsdist.model.errors import RunError
from ipsdist.storage.damage import DamagedError
from ipsdist.storage.layout import RECORDS, checked
from ipsdist.storage.metadata import METADATA, ArrayLayout, group_json, parsed
from ipsdist.storage.places import Place, RemotePlace

__all__ = ["Tree", "plain", "writing"]

_PAYLOAD = "payload"
_TRASH = ".discarded"
_TRIES = 100
_FIRST, _LAST = f"done/{METADATA}", f"begun/{METADATA}"
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@dataclass(frozen=True)
class Tree:
    """What lies below a place, by names that `layout.checked` lets pass."""

    place: Place
    _groups: set[str] = field(default_factory=set, repr=False, compare=False)
    """Groups that are known to be there, so that nobody looks again."""

    def at(self, name: str) -> Place:
        """Return the place of a name."""
        return self.place / name

    def described(self, name: str) -> ArrayLayout | dict[str, Any] | None:
        """Return the layout of an array; its bare description where another program made it; None where there is none.

        Raises RunError for a description that is damaged.
        """
        try:
            value = parsed((self.at(name) / METADATA).read_bytes(), ("array",))
            return None if value is None else ArrayLayout.from_json(value) or value
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (ValueError, KeyError, TypeError) as error:
            raise self.damaged(name, f"{name}/{METADATA}", str(error)) from error

    def describe(self, name: str, content: bytes) -> None:
        """Write the ``zarr.json`` of an array or group; the groups above it are made."""
        self._above(name)
        (self.at(name) / METADATA).write_whole(content)

    def create(self, name: str, content: bytes) -> bool:
        """Write a ``zarr.json`` where there is none, in one request; tell whether there was none."""
        self._above(name)
        return (self.at(name) / METADATA).create(content)

    def _above(self, name: str) -> None:
        parent = name.rpartition("/")[0]
        if not parent or parent in self._groups:
            return
        self._above(parent)
        # A record of that name, written at this moment by another process, must not be lost.
        (self.at(parent) / METADATA).create(group_json({}))
        self._groups.add(parent)

    def commit(self, record: str, payload: Mapping[str, Any]) -> None:
        """Write a record whole; a later one of the same name takes its place."""
        name = f"{RECORDS}/{checked(record)}"
        content = group_json({_PAYLOAD: plain(payload)})
        with writing(self.at(name), len(content)):
            file = self.at(name) / METADATA
            self._above(name)
            # Elsewhere the store itself is asked to put only what is new; whoever comes second says the same or newer.
            if self.place.is_local or not file.create(content):
                file.write_whole(content)

    def record(self, record: str) -> dict[str, Any] | None:
        """Return the payload of a record; None where there is none."""
        name = f"{RECORDS}/{checked(record)}"
        try:
            value = parsed((self.at(name) / METADATA).read_bytes(), ("group",))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except ValueError as error:
            raise self.damaged(record, f"{name}/{METADATA}", str(error)) from error
        # A group without payload is only the parent of other records.
        payload: Any = None if value is None else (value.get("attributes") or {}).get(_PAYLOAD)
        return payload  # type: ignore[no-any-return]

    def delete(self, name: str) -> None:
        """Remove all at and below a name: on a disk at one instant, elsewhere so that no half passes for whole."""
        self._groups.difference_update([g for g in self._groups if g == name or g.startswith(f"{name}/")])
        with writing(self.at(name), 0):
            there = self.at(name)
            if isinstance(there, RemotePlace):
                _removed_in_order(there)
                return
            # A tree is not deleted at one instant but it is renamed at one, and a kill must not leave half the records.
            # By directory and not by group, because a killed writer may have left one without description.
            here, trash = there.path, self.place.path / _TRASH
            # Once more where another thread or process takes the trash away in between.
            for _ in range(_TRIES):
                if not here.exists():
                    break
                with contextlib.suppress(FileNotFoundError, FileExistsError):
                    trash.mkdir(parents=True, exist_ok=True)
                    here.rename(trash / uuid.uuid4().hex)
            if trash.exists():
                shutil.rmtree(trash, ignore_errors=True)

    def damaged(self, name: str, file: str, why: str) -> DamagedError:
        """Return the error for a file that is lost or damaged, of the array or the record ``name``."""
        what = f"the store has lost a part of the {name.partition('/')[0]}: {self.place}/{file} ({why})"
        return DamagedError(name, what, str(self.place.parent))


def _removed_in_order(place: RemotePlace) -> None:
    """Remove objects one step after the other, so that a kill leaves what is true.

    First the record that all is done, then those of the tasks, and what says whose they are when they are all gone.
    """
    names = [name for name, _ in place.files()]
    place.remove_files([name for name in names if name == _FIRST])
    place.remove_files([name for name in names if name not in (_FIRST, _LAST)])
    place.remove_files([name for name in names if name == _LAST])
    place.remove()


@contextlib.contextmanager
def writing(place: Place, size: int) -> Iterator[None]:
    """Turn what the system refuses (a full disk, a quota, missing rights, no connection) into one clear RunError."""
    try:
        yield
    except OSError as error:
        remedy = "make room" if error.errno in _NO_ROOM else "make the directory writable"
        if not place.is_local and not isinstance(error, PermissionError):
            remedy = "see that it can be reached"
        what = f"cannot write {size} bytes to {place}: {error.strerror or error}"
        again = "then give the same command again: what was finished is kept"
        raise RunError(f"{what}; {remedy}, {again}") from error


def plain(value: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy in the types of JSON. Raises TypeError for what JSON cannot hold exactly."""
    # It must fail here and not when the store is read.
    text = json.dumps(dict(value))
    found: dict[str, Any] = json.loads(text)
    return found
