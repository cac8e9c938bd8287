"""Objects of whatever fsspec knows by a URL: memory://, gs://, abfs://, sftp:// ..."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

from ipsdist.storage.places.place import Buffer

__all__ = ["FsspecObjects"]


class FsspecObjects:
    """One file system of fsspec, from the path of a URL on."""

    def __init__(self, root: str) -> None:
        from fsspec.core import url_to_fs

        # Other processes write too: what a listing said before is not asked again.
        self._root = root
        bare = root.endswith("://")  # local:///path has nothing between its slashes
        self._system, base = url_to_fs(f"{root}/" if bare else root, use_listings_cache=False)
        self._base = "" if bare else base.rstrip("/")

    def _path(self, key: str) -> str:
        return f"{self._base}/{key}" if key else self._base or "/"

    def _folder(self, path: str) -> None:
        # Object stores know no directories, and some would make a bucket in place of one.
        if not self._system.async_impl:
            self._system.makedirs(path.rpartition("/")[0], exist_ok=True)

    def has(self, key: str) -> bool:
        """Tell whether there is an object of this key."""
        return bool(self._system.isfile(self._path(key)))

    def get(self, key: str) -> bytes:
        """Return an object."""
        return bytes(self._system.cat_file(self._path(key)))

    def put(self, key: str, content: Buffer) -> None:
        """Write an object."""
        path = self._path(key)
        self._folder(path)
        self._system.pipe_file(path, bytes(content))

    def create(self, key: str, content: bytes) -> bool:
        """Write an object unless there is one; file systems without that condition look first."""
        path = self._path(key)
        self._folder(path)
        try:
            if self._system.async_impl:  # object stores: a conditional put
                self._system.pipe_file(path, content, mode="create")
            else:
                with self._system.open(path, "xb") as file:
                    file.write(content)
        except FileExistsError:
            return False
        except (NotImplementedError, TypeError, ValueError):
            if self.has(key):
                return False
            self._system.pipe_file(path, content)
        return True

    def children(self, key: str) -> list[tuple[str, bool]]:
        """Return what lies right below, and whether it has more below."""
        try:
            found = self._system.ls(self._path(key), detail=True)
        except (FileNotFoundError, NotADirectoryError):
            return []
        own = self._path(key).strip("/")
        rows = [(str(entry["name"]).rstrip("/"), entry["type"] == "directory") for entry in found]
        return [(name.rpartition("/")[2], folder) for name, folder in rows if name.strip("/") != own]

    def below(self, key: str) -> Iterator[tuple[str, int]]:
        """Yield key and size of every object below."""
        try:
            found = self._system.find(self._path(key), detail=True)
        except FileNotFoundError:
            return
        start = len(self._system._strip_protocol(self._path("")).strip("/"))
        own = key.strip("/")
        for name, entry in found.items():
            inner = str(name).strip("/")[start:].strip("/")
            if inner != own:  # the object itself is not below itself
                yield inner, int(entry["size"])

    def delete(self, keys: Sequence[str]) -> None:
        """Delete objects."""
        for key in keys:
            with contextlib.suppress(FileNotFoundError, IsADirectoryError):
                self._system.rm_file(self._path(key))

    def remove(self, key: str) -> None:
        """Delete an object and all below it, and the directories that some file systems keep for it."""
        with contextlib.suppress(FileNotFoundError):
            self._system.rm(self._path(key), recursive=True)

    def copy(self, key: str, target: str) -> None:
        """Copy an object within the file system."""
        self._folder(self._path(target))
        self._system.cp_file(self._path(key), self._path(target))

    def modified(self, key: str) -> float:
        """Return when an object was last written."""
        return float(self._system.modified(self._path(key)).timestamp())

    def zarr_store(self, key: str) -> Any:
        """Return a store of Zarr for what lies below."""
        from zarr.storage import FsspecStore

        return FsspecStore.from_url(f"{self._root}/{key}" if key else self._root, read_only=True)
