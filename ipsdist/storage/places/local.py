"""A place on the disk of this machine."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ipsdist.storage.places.place import Buffer, Place

__all__ = ["PARTIAL", "LocalPlace"]

PARTIAL = ".partial"
"""The ending of a file whose writing is not over."""
_SMALL = 2**16
_PROCESS = uuid.uuid4().hex[:12]
"""Processes of two hosts may have one number."""
_count = itertools.count()


@dataclass(frozen=True)
class LocalPlace(Place):
    """A path. Files are written beside their place and renamed."""

    where: Path
    is_local = True

    @property
    def name(self) -> str:
        """The last part."""
        return self.where.name

    @property
    def parent(self) -> LocalPlace:
        """The directory that it lies in."""
        return LocalPlace(self.where.parent)

    @property
    def path(self) -> Path:
        """The path."""
        return self.where

    def __truediv__(self, name: str) -> LocalPlace:
        return LocalPlace(self.where / name)

    def __str__(self) -> str:
        return str(self.where)

    def __fspath__(self) -> str:
        return str(self.where)

    def same(self) -> str:
        """Return the path without links."""
        return str(self.where.resolve())

    def exists(self) -> bool:
        """Tell whether there is a file or a directory of this name."""
        return self.where.exists()

    def is_file(self) -> bool:
        """Tell whether there is a file of this name."""
        return self.where.is_file()

    def read_bytes(self) -> bytes:
        """Return the file."""
        return self.where.read_bytes()

    def write_whole(self, *parts: Buffer) -> None:
        """Write a file, the parts one after the other; nothing is left of it where that fails."""
        with self._beside(parts) as temporary:
            os.replace(temporary, self.where)

    def create(self, content: bytes) -> bool:
        """Write a file where there is none; tell whether this call did."""
        # File systems are slow to give new files where many were just removed, so none is written in vain.
        if os.path.lexists(self.where):
            return False
        with self._beside((content,)) as temporary:
            try:
                os.link(temporary, self.where)
            except FileExistsError:
                return False
            finally:
                Path(temporary).unlink(missing_ok=True)
        return True

    @contextlib.contextmanager
    def _beside(self, parts: Sequence[Buffer]) -> Iterator[str]:
        """Write a file of another name beside the place; nothing is left of it where the block fails."""
        if len(parts) > 1 and sum(map(len, parts)) < _SMALL:
            parts = (b"".join(parts),)
        # No two writers may share the file that is not whole yet: neither processes nor threads.
        temporary = self._temporary()
        try:
            try:
                file = open(temporary, "wb", buffering=0)  # noqa: SIM115  a second try follows
            except FileNotFoundError:
                self.where.parent.mkdir(parents=True, exist_ok=True)
                file = open(temporary, "wb", buffering=0)  # noqa: SIM115
            with file:
                for part in parts:
                    view = memoryview(part).cast("B") if len(part) else b""
                    done = 0
                    while done < len(view):  # a write may be a part of what was asked
                        done += file.write(view[done:])
            yield temporary
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise

    def _temporary(self) -> str:
        return os.path.join(self.where.parent, f".{self.where.name}.{os.getpid()}-{_PROCESS}-{next(_count)}{PARTIAL}")

    def names(self, *, folders: bool = False) -> list[str]:
        """Return what lies right below, sorted, or its directories only; [] where there is nothing."""
        try:
            with os.scandir(self.where) as entries:
                return sorted(entry.name for entry in entries if not folders or entry.is_dir())
        except (FileNotFoundError, NotADirectoryError):
            return []

    def files(self) -> Iterable[tuple[str, int]]:
        """Yield every file below, as its name from here and its size in bytes."""
        for folder, _, names in os.walk(self.where):
            for name in names:
                file = Path(folder) / name
                with contextlib.suppress(FileNotFoundError):  # another process may remove what is over
                    yield file.relative_to(self.where).as_posix(), file.stat().st_size

    def make(self) -> None:
        """Make the directory."""
        self.where.mkdir(parents=True, exist_ok=True)

    def remove(self) -> None:
        """Remove the file, or the directory with all below it."""
        if self.where.is_dir() and not self.where.is_symlink():
            shutil.rmtree(self.where, ignore_errors=True)
        else:
            self.where.unlink(missing_ok=True)

    def modified(self) -> float:
        """Return when the file was last written."""
        return self.where.stat().st_mtime
