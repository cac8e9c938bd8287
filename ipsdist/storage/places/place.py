"""The contract of a place: what runs, studies and the store ask of wherever their files are kept."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from pathlib import Path
from typing import Self

__all__ = ["Buffer", "Place"]

Buffer = bytes | bytearray | memoryview


class Place(ABC):
    """A file or directory by name, there or not yet; ``str`` of it is what the user typed, and it pickles.

    Every file appears whole or not at all. A directory exists while something lies in it (on a local disk: since
    `make`). Raises OSError for what the system refuses, FileNotFoundError for what is not there.
    """

    is_local: bool
    """Whether `path` is a path of this machine, with a file system's locks, links and renames."""

    is_shared: bool = True
    """Whether other processes of this machine see it too."""

    @property
    @abstractmethod
    def name(self) -> str:
        """The last part."""

    @property
    @abstractmethod
    def parent(self) -> Self:
        """The directory that it lies in."""

    @property
    @abstractmethod
    def path(self) -> Path:
        """The path of a local place. Raises ValueError for others."""

    @property
    def given(self) -> Path | Place:
        """What the caller of a public function gets back: a Path for a local place, else the place."""
        return self.path if self.is_local else self

    @abstractmethod
    def __truediv__(self, name: str) -> Self: ...

    @abstractmethod
    def __str__(self) -> str: ...

    @abstractmethod
    def same(self) -> str:
        """Return one text for all names of the same place."""

    @abstractmethod
    def exists(self) -> bool:
        """Tell whether there is a file or a directory of this name."""

    @abstractmethod
    def is_file(self) -> bool:
        """Tell whether there is a file of this name."""

    @abstractmethod
    def read_bytes(self) -> bytes:
        """Return the file."""

    def read_text(self) -> str:
        """Return the file as UTF-8."""
        return self.read_bytes().decode("utf-8")

    @abstractmethod
    def write_whole(self, *parts: Buffer) -> None:
        """Write a file, the parts one after the other; directories above it are made."""

    @abstractmethod
    def create(self, content: bytes) -> bool:
        """Write a file where there is none, which of all who try at once only one does; tell whether this one did.

        Stores that know no such condition look first and then write.
        """

    @abstractmethod
    def names(self, *, folders: bool = False) -> list[str]:
        """Return what lies right below, sorted, or its directories only; [] where there is nothing."""

    @abstractmethod
    def files(self) -> Iterable[tuple[str, int]]:
        """Yield every file below, as its name from here (parts joined by /) and its size in bytes."""

    @abstractmethod
    def make(self) -> None:
        """Make the directory, where directories are made."""

    @abstractmethod
    def remove(self) -> None:
        """Remove the file, or the directory with all below it; nothing there is fine."""

    @abstractmethod
    def modified(self) -> float:
        """Return when the file was last written, in seconds by the clock of the place."""

    def size(self) -> int:
        """Return the bytes of all files below."""
        return sum(size for _, size in self.files())
