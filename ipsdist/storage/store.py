"""The store of a run: one Zarr v3 directory of named arrays, and the records that say which of them are complete."""

from __future__ import annotations

import contextlib
import errno
import json
import math
import shutil
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from ipsdist.model.errors import InputError, RunError
from ipsdist.storage.layout import DTYPES, RECORDS, checked, chunk_keys, fill_value, whole_chunks

if TYPE_CHECKING:
    import zarr

__all__ = ["FORMAT", "Store"]

FORMAT = 1
"""Layout version of the stores that this program writes; every older one is read, a newer one is refused."""

_FORMAT_KEY = "ipsdist_format"
_PAYLOAD = "payload"
_TRASH = ".discarded"
# A small chunk costs as much as a large one, and on a local disk many requests at a time are slower than one or two.
_IO = {"async.concurrency": 2}
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@dataclass(frozen=True)
class Store:
    """Named arrays with dimensions and units, and records.

    The rule that makes a run survive a kill at any moment: data first, record last. An array may be half
    written; it counts only when the record of its task exists, and a record is one file that appears whole.
    Whoever rewrites arrays discards their record first. Processes may write at the same time as long as
    no two of them own the same array (``write``) or the same chunk (``write_region``).
    """

    path: Path
    group: zarr.Group

    @classmethod
    def create(cls, path: str | Path, attributes: Mapping[str, Any]) -> Store:
        """Make an empty store at ``path`` whose root carries the JSON ``attributes``.

        Raises InputError when there is a store already, RunError when the disk refuses.
        """
        import zarr

        path = Path(path)
        if (path / "zarr.json").exists():
            raise InputError("DIR", "must not hold a store yet", path, "choose another --out or remove that directory")
        root = {_FORMAT_KEY: FORMAT, **_json(attributes)}
        with _writing(path, len(json.dumps(root))):
            return cls(path, zarr.create_group(str(path), attributes=root))

    @classmethod
    def open(cls, path: str | Path, mode: Literal["r", "r+"] = "r") -> Store:
        """Open the store at ``path`` to read, or with ``"r+"`` to write too.

        Raises InputError when there is none, or when a newer program wrote it.
        """
        import zarr

        path = Path(path)
        try:
            group = zarr.open_group(str(path), mode=mode, zarr_format=3)
            version = group.attrs[_FORMAT_KEY]
        except (FileNotFoundError, KeyError, ValueError):
            fix = "give the directory of a run, or start one with `ipsdist run CASE --out DIR`"
            raise InputError("DIR", "must hold a store of ipsdist", f"{path}, which is none", fix) from None
        if not isinstance(version, int) or version > FORMAT:
            raise InputError(
                "DIR",
                f"must hold a store of format {FORMAT} or older",
                f"format {version} in {path}, written by a newer ipsdist",
                "upgrade with `pip install --upgrade ipsdist`, or choose another --out",
            )
        return cls(path, group)

    @property
    def attributes(self) -> dict[str, Any]:
        """Attributes of the root, a copy; ``ipsdist_format`` among them."""
        return dict(self.group.attrs)

    def set_attributes(self, **attributes: Any) -> None:
        """Add to the attributes of the root, or replace some; one process at a time."""
        if _FORMAT_KEY in attributes:
            raise ValueError(f"{_FORMAT_KEY} is not an attribute to set")
        with _writing(self.path, len(json.dumps(_json(attributes)))):
            self.group.attrs.update(_json(attributes))

    def write(
        self,
        name: str,
        values: npt.ArrayLike,
        dims: Sequence[str],
        units: str | None = None,
        attributes: Mapping[str, Any] | None = None,
        compress: bool = True,
    ) -> None:
        """Write a whole array, in place of an older one of that name.

        ``dims`` names every axis (xarray reads them), ``units`` goes into the attribute of that name. The same
        content written twice is safe even while others read it: each file is replaced whole.

        Raises RunError when the disk refuses, TypeError for objects and other dtypes without a fixed size.
        """
        data = np.asarray(values)
        data = np.ascontiguousarray(data, dtype=data.dtype.newbyteorder("=")).reshape(data.shape)
        extra = {**(attributes or {}), **({} if units is None else {"units": units})}
        chunks = whole_chunks(data.shape, data.itemsize)
        array = self._new(name, data.shape, data.dtype, dims, chunks, extra, compress, fresh=False)
        self._put(name, array, ..., data)

    def create_array(
        self,
        name: str,
        shape: Sequence[int],
        dtype: npt.DTypeLike,
        dims: Sequence[str],
        chunks: Sequence[int],
        units: str | None = None,
        compress: bool = True,
    ) -> None:
        """Make an array that ``write_region`` fills, in place of an older one of that name.

        What was never written is NaN for floats, -1 for signed integers, 0 for unsigned ones and booleans to
        other readers of the store; ``read`` refuses it.
        """
        if len(chunks) != len(shape):
            raise ValueError(f"`chunks` of {name} needs {len(shape)} entries, got {tuple(chunks)}")
        extra = {} if units is None else {"units": units}
        self._new(name, tuple(shape), np.dtype(dtype), dims, tuple(chunks), extra, compress, fresh=True)

    def write_region(self, name: str, start_index: int, values: npt.ArrayLike) -> None:
        """Write ``values`` from ``start_index`` on along the first axis: whole chunks, or up to the end.

        Two writers that shared a chunk would lose each other's rows without a word, so a region that cuts
        through a chunk is a ValueError.
        """
        array = self._array(name)
        data = np.asarray(values)
        stop, rows, end = start_index + len(data), array.chunks[0], array.shape[0]
        kind = data.dtype, data.shape[1:]
        if kind != (array.dtype, array.shape[1:]) or not 0 <= start_index <= stop <= end:
            raise ValueError(f"rows [{start_index}, {stop}) of {kind} do not fit {name}: {array.dtype} {array.shape}")
        if start_index % rows or (stop % rows and stop != end):
            raise ValueError(f"rows [{start_index}, {stop}) of {name} cut through its chunks of {rows} rows")
        self._put(name, array, slice(start_index, stop), data)

    def read(self, name: str, region: slice | tuple[slice, ...] | None = None) -> npt.NDArray[Any]:
        """Read an array, or the region that one slice an axis cuts out of it.

        Raises KeyError when there is no such array, RunError when a part of it was never written or is damaged.
        """
        import zarr

        array = self._array(name)
        cut = region if isinstance(region, tuple) else (() if region is None else (region,))
        for key in chunk_keys(array, cut):
            part = self.path / name / key
            if not part.exists():
                raise RunError(f"the store has lost a part of an array: {part}; remove the run and repeat it")
        try:
            with zarr.config.set(_IO):
                return np.asarray(array[cut or ...])
        except (OSError, RuntimeError, ValueError) as error:
            raise RunError(f"cannot read {self.path / name}: {error}; remove the run and repeat it") from error

    def exists(self, name: str) -> bool:
        """Tell whether there is an array of this name; complete or not is for its record to say."""
        return _is_array(self.group.get(checked(name)))

    def commit(self, record: str, payload: Mapping[str, Any]) -> None:
        """Mark work as done: write its record, ``stage`` or ``stage/task``, with a JSON ``payload``: one atomic file.

        Records below it stay. One process commits a record; others may commit other ones at the same time.
        """
        from zarr.errors import ContainsGroupError

        name = f"{RECORDS}/{checked(record)}"
        attributes: dict[str, Any] = {_PAYLOAD: _json(payload)}
        with _writing(self.path / name, len(json.dumps(attributes))):
            try:
                self.group.create_group(name, attributes=attributes)
            except ContainsGroupError:
                self.group[name].attrs.put(attributes)

    def record(self, record: str) -> dict[str, Any] | None:
        """Return the payload of a record; None when the work is not done."""
        found = self.group.get(f"{RECORDS}/{checked(record)}")
        # A group without payload is only the parent of other records.
        payload: Any = None if found is None else found.attrs.get(_PAYLOAD)
        return payload  # type: ignore[no-any-return]

    def discard(self, prefix: str) -> None:
        """Forget everything at and below ``prefix``: first the records, all at one instant, then the arrays."""
        self._delete(f"{RECORDS}/{checked(prefix)}")
        self._delete(prefix)

    def _delete(self, name: str) -> None:
        # A tree is not deleted at one instant but it is renamed at one: a kill must not leave a half of the records.
        # By directory and not by group, because a killed writer may have left one without metadata.
        trash = self.path / _TRASH
        with _writing(self.path / name, 0):
            with contextlib.suppress(FileNotFoundError):
                trash.mkdir(parents=True, exist_ok=True)
                (self.path / name).rename(trash / uuid.uuid4().hex)
            shutil.rmtree(trash, ignore_errors=True)

    def _array(self, name: str) -> zarr.Array[Any]:
        found = self.group.get(checked(name))
        if not _is_array(found):
            raise KeyError(f"the store {self.path} has no array {name}")
        return found  # type: ignore[return-value]

    def _new(
        self,
        name: str,
        shape: tuple[int, ...],
        dtype: np.dtype[Any],
        dims: Sequence[str],
        chunks: tuple[int, ...],
        attributes: Mapping[str, Any],
        compress: bool,
        fresh: bool,
    ) -> zarr.Array[Any]:
        from zarr.codecs import BloscCodec
        from zarr.errors import ContainsArrayError

        extra = _json(attributes)
        if dtype not in DTYPES:
            raise TypeError(f"the store holds numbers, not {dtype} ({name})")
        if len(dims) != len(shape):
            raise ValueError(f"`dims` of {name} must name {len(shape)} axes, got {tuple(dims)}")

        def create(overwrite: bool) -> zarr.Array[Any]:
            return self.group.create_array(
                checked(name),
                shape=shape,
                dtype=dtype,
                chunks=chunks,
                dimension_names=tuple(dims),
                attributes=extra,
                fill_value=fill_value(dtype),
                compressors=BloscCodec(cname="lz4", shuffle="shuffle") if compress else None,
                overwrite=overwrite,
            )

        with _writing(self.path / name, math.prod(shape) * dtype.itemsize):
            try:
                return create(overwrite=fresh)
            except ContainsArrayError:
                old = self._array(name)
            # The same layout is filled again chunk by chunk, so that a reader never finds a hole.
            layout = (old.shape, old.dtype, old.chunks, bool(old.compressors), old.metadata.dimension_names)  # type: ignore[union-attr]
            if layout == (shape, dtype, chunks, compress, tuple(dims)) and dict(old.attrs) == extra:
                return old
            return create(overwrite=True)

    def _put(self, name: str, array: zarr.Array[Any], where: Any, data: npt.NDArray[Any]) -> None:
        import zarr

        # Chunks full of the fill value are written too: a chunk that is not there is a chunk that was lost.
        with _writing(self.path / name, data.nbytes), zarr.config.set(_IO):
            array.with_config({"write_empty_chunks": True})[where] = data


@contextlib.contextmanager
def _writing(path: Path, size: int) -> Iterator[None]:
    """Turn what the operating system refuses (a full disk, a quota, missing rights) into one clear RunError."""
    try:
        yield
    except OSError as error:
        remedy = "make room" if error.errno in _NO_ROOM else "make the directory writable"
        what = f"cannot write {size} bytes to {path}: {error.strerror or error}"
        again = "then give the same command again: what was finished is kept"
        raise RunError(f"{what}; {remedy}, {again}") from error


def _is_array(node: object) -> bool:
    import zarr

    return isinstance(node, zarr.Array)


def _json(value: Mapping[str, Any]) -> dict[str, Any]:
    # A value that JSON cannot hold exactly must fail here and not when the store is read.
    text = json.dumps(dict(value))
    plain: dict[str, Any] = json.loads(text)
    return plain
