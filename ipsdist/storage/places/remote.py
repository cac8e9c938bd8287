"""A place in an object store: a key, and the objects that begin with it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ipsdist.storage.places.objects import Objects, objects_of
from ipsdist.storage.places.place import Buffer, Place

__all__ = ["RemotePlace"]


@dataclass(frozen=True)
class RemotePlace(Place):
    """An object or the objects below it; the connection is one a process, made when it is needed."""

    root: str
    """URL of what is connected to: scheme and bucket."""
    key: str
    """Name within, parts joined by ``/``; "" is all of it."""
    is_local = False

    @property
    def objects(self) -> Objects:
        """The connection."""
        return objects_of(self.root)

    @property
    def is_shared(self) -> bool:  # type: ignore[override]
        """Whether other processes see it: what is in memory they do not."""
        return not self.root.startswith("memory:")

    @property
    def name(self) -> str:
        """The last part."""
        return self.key.rpartition("/")[2] or self.root.rpartition("/")[2]

    @property
    def parent(self) -> RemotePlace:
        """The place above."""
        return RemotePlace(self.root, self.key.rpartition("/")[0])

    @property
    def path(self) -> Path:
        """No path: ValueError."""
        raise ValueError(f"{self} is not on this machine")

    def __truediv__(self, name: str) -> RemotePlace:
        return RemotePlace(self.root, f"{self.key}/{name}" if self.key else name)

    def __str__(self) -> str:
        return f"{self.root}/{self.key}" if self.key else self.root

    def same(self) -> str:
        """Return the URL."""
        return str(self)

    def exists(self) -> bool:
        """Tell whether there is an object of this name or below it."""
        return bool(self.is_file() or self.objects.children(self.key))

    def is_file(self) -> bool:
        """Tell whether there is an object of this name."""
        return bool(self.key) and self.objects.has(self.key)

    def read_bytes(self) -> bytes:
        """Return the object."""
        return self.objects.get(self.key)

    def write_whole(self, *parts: Buffer) -> None:
        """Write the object in one request, or in several that count as one."""
        self.objects.put(self.key, parts[0] if len(parts) == 1 else b"".join(parts))

    def create(self, content: bytes) -> bool:
        """Write the object where there is none; tell whether this call did."""
        return self.objects.create(self.key, content)

    def names(self, *, folders: bool = False) -> list[str]:
        """Return what lies right below, sorted, or what has objects below it only."""
        return sorted({name for name, folder in self.objects.children(self.key) if folder or not folders})

    def files(self) -> Iterable[tuple[str, int]]:
        """Yield every object below, as its name from here and its size in bytes."""
        start = len(self.key) + 1 if self.key else 0
        for key, size in self.objects.below(self.key):
            yield key[start:], size

    def make(self) -> None:
        """Do nothing: an object needs no directory."""

    def remove(self) -> None:
        """Remove the object and all below it."""
        self.objects.remove(self.key)

    def remove_files(self, names: Sequence[str]) -> None:
        """Remove objects below, in one request where the store can."""
        if names:
            self.objects.delete([(self / name).key for name in names])

    def modified(self) -> float:
        """Return when the object was last written, by the clock of the store."""
        return self.objects.modified(self.key)
