"""What a remote place asks of an object store, and the two that answer: obstore for S3, fsspec for the rest."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any, Protocol

from ipsdist.model.errors import InputError
from ipsdist.model.words import install
from ipsdist.storage.places.place import Buffer

__all__ = ["Objects", "objects_of"]

_KNOWN = "for example runs/cubic or s3://bucket/cubic"


class Objects(Protocol):
    """Objects by key. Methods raise OSError for what the store refuses, FileNotFoundError for what is not there."""

    def has(self, key: str) -> bool:
        """Tell whether there is an object of this key."""
        ...

    def get(self, key: str) -> bytes:
        """Return an object."""
        ...

    def put(self, key: str, content: Buffer) -> None:
        """Write an object, over an older one."""
        ...

    def create(self, key: str, content: bytes) -> bool:
        """Write an object unless there is one; tell whether it was written."""
        ...

    def children(self, key: str) -> Sequence[tuple[str, bool]]:
        """Return what lies right below: the last part of its name, and whether it has more below."""
        ...

    def below(self, key: str) -> Iterable[tuple[str, int]]:
        """Yield key and size of every object below."""
        ...

    def delete(self, keys: Sequence[str]) -> None:
        """Delete objects, in no order that is promised; those that are not there are no error."""
        ...

    def remove(self, key: str) -> None:
        """Delete an object and all below it."""
        ...

    def copy(self, key: str, target: str) -> None:
        """Copy an object within the store."""
        ...

    def modified(self, key: str) -> float:
        """Return when an object was last written, by the clock of the store."""
        ...

    def zarr_store(self, key: str) -> Any:
        """Return a store of Zarr for what lies below, to read."""
        ...


@lru_cache(maxsize=32)
def objects_of(root: str) -> Objects:
    """Connect to a store by its URL, once a process. Raises InputError where its library is missing or refuses."""
    try:
        if root.startswith("s3://"):
            from ipsdist.storage.places.s3 import S3Objects

            return S3Objects(root)
        from ipsdist.storage.places.other import FsspecObjects

        return FsspecObjects(root)
    except ImportError as error:
        needs = install("s3") if root.startswith("s3://") else str(error)
        raise InputError("DIR", "needs a package that is not installed", root, needs) from None
    except ValueError as error:
        raise InputError("DIR", "must be a directory or a URL that is known", f"{root}: {error}", _KNOWN) from None
