"""The store of a run: one Zarr v3 group of named arrays, and the records that say which of them are complete."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from ipsdist.model.errors import InputError, RunError
from ipsdist.storage.chunks import Piece, decoded, encoded, pieces
from ipsdist.storage.damage import DamagedError
from ipsdist.storage.layout import RECORDS, checked, whole_chunks
from ipsdist.storage.metadata import METADATA, ArrayLayout, group_json, parsed
from ipsdist.storage.places import Place, RemotePlace, place
from ipsdist.storage.tree import Tree, plain, writing

if TYPE_CHECKING:
    import zarr

__all__ = ["FORMAT", "Store"]

FORMAT = 1
"""Layout version of the stores that this program writes; every older one is read, a newer one is refused."""

_FORMAT_KEY = "ipsdist_format"
_AT_ONCE = 4
"""Chunks on their way to or from a remote store: each takes memory."""


@dataclass(frozen=True)
class Store:
    """Named arrays with dimensions and units, and records.

    The rule that makes a run survive a kill at any moment: data first, record last. An array may be half
    written; it counts only when the record of its task exists, and a record is one file that appears whole.
    Whoever rewrites arrays discards their record first. Processes may write at the same time as long as
    no two of them own the same array (``write``) or the same chunk (``write_region``).

    What lies there is plain Zarr, which any reader of it opens; this class writes and reads its own files, because
    Zarr's general machinery costs milliseconds a call and copies a chunk for its checksum.
    """

    place: Place
    _root: dict[str, Any] = field(repr=False, compare=False)
    _tree: Tree = field(repr=False, compare=False)
    _read_only: bool = field(default=False, repr=False, compare=False)

    @classmethod
    def create(cls, where: str | Path | Place, attributes: Mapping[str, Any]) -> Store:
        """Make an empty store whose root carries the JSON ``attributes``, at a path, a URL or a `Place`.

        Raises InputError when there is a store already, RunError when the disk refuses.
        """
        at = place(where)
        if (at / METADATA).is_file():
            raise InputError("DIR", "must not hold a store yet", at, "choose another --out or remove that directory")
        root = {_FORMAT_KEY: FORMAT, **plain(attributes)}
        content = group_json(root)
        with writing(at, len(content)):
            (at / METADATA).write_whole(content)
        return cls(at, root, Tree(at))

    @classmethod
    def open(cls, where: str | Path | Place, mode: Literal["r", "r+"] = "r") -> Store:
        """Open the store at a path, a URL or a `Place`, to read, or with ``"r+"`` to write too.

        Raises InputError when there is none, or when a newer program wrote it.
        """
        at = place(where)
        try:
            group = parsed((at / METADATA).read_bytes(), ("group",))
            root = dict(group["attributes"] if group else {})
            version = root[_FORMAT_KEY]
        except (FileNotFoundError, NotADirectoryError, KeyError, TypeError, ValueError):
            fix = "give the directory of a run, or start one with `ipsdist run CASE --out DIR`"
            raise InputError("DIR", "must hold a store of ipsdist", f"{at}, which is none", fix) from None
        if not isinstance(version, int) or version > FORMAT:
            raise InputError(
                "DIR",
                f"must hold a store of format {FORMAT} or older",
                f"format {version} in {at}, written by a newer ipsdist",
                "use that ipsdist or a newer one, or choose another --out",
            )
        return cls(at, root, Tree(at), mode == "r")

    @property
    def path(self) -> Path | Place:
        """Where the store is: a path of this machine, else its place; ``str`` of it opens it again."""
        return self.place.given

    @property
    def address(self) -> str:
        """Text that opens it from whatever working directory: workers have their own."""
        return str(self.place.path.absolute()) if self.place.is_local else str(self.place)

    @cached_property
    def group(self) -> zarr.Group:
        """The same store as a group of Zarr, for whoever wants more than this class reads."""
        import zarr

        at = self.place
        if isinstance(at, RemotePlace):
            return zarr.open_group(at.objects.zarr_store(at.key), mode="r", zarr_format=3)
        return zarr.open_group(str(at), mode="r+", zarr_format=3)

    @property
    def attributes(self) -> dict[str, Any]:
        """Attributes of the root, a copy; ``ipsdist_format`` among them."""
        return dict(self._root)

    def set_attributes(self, **attributes: Any) -> None:
        """Add to the attributes of the root, or replace some; one process at a time."""
        self._written()
        if _FORMAT_KEY in attributes:
            raise ValueError(f"{_FORMAT_KEY} is not an attribute to set")
        root = {**self._root, **plain(attributes)}
        content = group_json(root)
        with writing(self.place, len(content)):
            (self.place / METADATA).write_whole(content)
        self._root.update(root)

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
        dtype = data.dtype.newbyteorder("=")
        extra = {**(attributes or {}), **({} if units is None else {"units": units})}
        layout = ArrayLayout.new(
            name, data.shape, dtype, dims, whole_chunks(data.shape, data.itemsize), extra, compress
        )
        self._describe(name, layout, fresh=False)
        self._put(name, layout, (), data)

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
        layout = ArrayLayout.new(name, tuple(shape), np.dtype(dtype), dims, tuple(chunks), extra, compress)
        self._describe(name, layout, fresh=True)

    def write_region(self, name: str, start_index: int, values: npt.ArrayLike) -> None:
        """Write ``values`` from ``start_index`` on along the first axis: whole chunks, or up to the end.

        Two writers that shared a chunk would lose each other's rows without a word, so a region that cuts
        through a chunk is a ValueError.
        """
        layout = self._layout_of(name)
        if not isinstance(layout, ArrayLayout):
            raise ValueError(f"{name} is not an array of this program; only those are written")
        data = np.asarray(values)
        stop, rows, end = start_index + len(data), layout.chunks[0], layout.shape[0]
        kind = data.dtype, data.shape[1:]
        if kind != (layout.dtype, layout.shape[1:]) or not 0 <= start_index <= stop <= end:
            raise ValueError(f"rows [{start_index}, {stop}) of {kind} do not fit {name}: {layout.dtype} {layout.shape}")
        if start_index % rows or (stop % rows and stop != end):
            raise ValueError(f"rows [{start_index}, {stop}) of {name} cut through its chunks of {rows} rows")
        self._put(name, layout, (slice(start_index, stop),), data)

    def read(self, name: str, region: slice | tuple[slice, ...] | None = None) -> npt.NDArray[Any]:
        """Read an array, or the region that one slice an axis cuts out of it.

        Raises `DamagedError`, a RunError, when it or a part of it is not there or is damaged: the error names the
        file, and the command that makes it again.
        """
        layout = self._layout_of(name)
        cut = region if isinstance(region, tuple) else (() if region is None else (region,))
        if not isinstance(layout, ArrayLayout):
            return np.asarray(self.group[name][cut or ...])  # type: ignore[index]
        spans = [
            range(*(cut[axis] if axis < len(cut) else slice(None)).indices(n)) for axis, n in enumerate(layout.shape)
        ]
        found = np.empty([len(span) for span in spans], layout.dtype)

        def take(piece: Piece) -> None:
            found[piece.outside] = self._chunk(name, layout, piece.key)[piece.inside]

        self._each(take, pieces(layout, cut))
        return found

    def exists(self, name: str) -> bool:
        """Tell whether there is an array of this name; complete or not is for its record to say."""
        return self._tree.described(checked(name)) is not None

    def names(self, prefix: str = "") -> list[str]:
        """Return the names of what lies right below a group, arrays and groups alike, sorted; [] when it is not there.

        ``prefix`` "" is the root. What a killed writer left half made is named too, so that it can be discarded.
        """
        found = (self.place / checked(prefix) if prefix else self.place).names(folders=True)
        return [name for name in found if name[0] != "." and (prefix or name != RECORDS)]

    def records(self, prefix: str) -> list[str]:
        """Return the names of the records right below ``prefix``, sorted; a parent of records counts as one."""
        return (self.place / RECORDS / checked(prefix)).names(folders=True)

    def commit(self, record: str, payload: Mapping[str, Any]) -> None:
        """Mark work as done: write its record, ``stage`` or ``stage/task``, with a JSON ``payload``: one atomic file.

        Records below it stay. One process commits a record; others may commit other ones at the same time.
        """
        self._written()
        self._tree.commit(record, payload)

    def record(self, record: str) -> dict[str, Any] | None:
        """Return the payload of a record; None when the work is not done."""
        return self._tree.record(record)

    def discard(self, prefix: str) -> None:
        """Forget everything at and below ``prefix``: first the records, all at one instant, then the arrays.

        In a remote store they go one after the other: the one that says done first, the one that says begun last.
        """
        self._written()
        self._tree.delete(f"{RECORDS}/{checked(prefix)}")
        self._tree.delete(prefix)

    def _written(self) -> None:
        if self._read_only:
            raise ValueError(f"the store {self.place} was opened to be read")

    def _layout_of(self, name: str) -> ArrayLayout | dict[str, Any]:
        found = self._tree.described(checked(name))
        if found is None:
            raise self._tree.damaged(name, f"{name}/{METADATA}", "it is not there")
        return found

    def _describe(self, name: str, layout: ArrayLayout, *, fresh: bool) -> None:
        """Make the array, or keep one of the same layout, which is then filled again so that no reader finds a hole."""
        self._written()
        with writing(self.place / name, math.prod(layout.shape) * layout.dtype.itemsize):
            if not self.place.is_local and self._tree.create(name, layout.to_json()):
                return
            try:
                old: object = self._tree.described(checked(name))
            except DamagedError as error:
                old = error
            if old == layout and not fresh:
                return
            if old is not None:
                self._tree.delete(name)
            self._tree.describe(name, layout.to_json())

    def _put(self, name: str, layout: ArrayLayout, region: tuple[slice, ...], data: npt.NDArray[Any]) -> None:
        self._written()
        at = self.place / name

        def give(piece: Piece) -> None:
            # Chunks full of the fill value are written too: a chunk that is not there is a chunk that was lost.
            (at / piece.key).write_whole(*encoded(layout, data[piece.outside]))

        with writing(at, data.nbytes):
            self._each(give, pieces(layout, region))

    def _chunk(self, name: str, layout: ArrayLayout, key: str) -> npt.NDArray[Any]:
        try:
            return decoded(layout, (self.place / name / key).read_bytes())
        except FileNotFoundError:
            raise self._tree.damaged(name, f"{name}/{key}", "it is not there") from None
        except ValueError as error:
            raise self._tree.damaged(name, f"{name}/{key}", str(error)) from error
        except OSError as error:
            raise RunError(f"cannot read {self.place / name / key}: {error.strerror or error}") from error

    def _each(self, work: Callable[[Piece], None], parts: Iterable[Piece]) -> None:
        """Do the chunks one by one, which on a disk is quickest; of a remote store some at a time."""
        if self.place.is_local:
            for part in parts:
                work(part)
            return
        with ThreadPoolExecutor(_AT_ONCE) as pool:  # it starts no more threads than there are chunks
            list(pool.map(work, parts))
