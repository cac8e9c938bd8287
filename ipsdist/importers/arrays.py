"""Arrays of positions (time, particle, space) in NPZ, NPY, HDF5, NetCDF and Zarr, read a few slices at a time."""

from __future__ import annotations

import contextlib
import shutil
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ipsdist.importers.columns import AXES, TIME, one_of, plain
from ipsdist.model.errors import InputError
from ipsdist.storage.foreign import foreign_arrays

__all__ = ["ArraySource", "open_arrays"]

Array = npt.NDArray[np.float64]

POSITIONS = ("positions", "position", "pos", "coordinates", "trajectories", "tracks")
_FIX = "axes are time, particle, space"


@dataclass(frozen=True)
class _Variable:
    """An array in a file: rows first .. stop - 1 are read when they are asked for."""

    shape: tuple[int, ...]
    raw: Callable[[int, int], npt.NDArray[Any]]
    dims: tuple[str, ...] | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)

    @property
    def units(self) -> str | None:
        """The unit in the attributes, a span where it is one since a date."""
        value = self.attributes.get("units")
        value = value.decode(errors="replace") if isinstance(value, bytes) else value
        return value.split(" since ")[0] if isinstance(value, str) else None

    def read(self, first: int, stop: int) -> Array:
        """Return rows in float64, NaN where the file says that there is nothing, packed numbers unpacked (CF)."""
        raw = np.asarray(self.raw(first, stop))
        values = raw.astype(np.float64)
        for name in ("_FillValue", "missing_value"):
            if name in self.attributes:
                values[raw == np.ravel(self.attributes[name])[0]] = np.nan
        if "scale_factor" in self.attributes:
            values *= np.ravel(self.attributes["scale_factor"])[0]
        if "add_offset" in self.attributes:
            values += np.ravel(self.attributes["add_offset"])[0]
        return values


@dataclass(frozen=True)
class ArraySource:
    """Times, and positions that are read by slices."""

    times: Array
    """(T,)."""
    shape: tuple[int, int, int]
    """(T, N, d)."""
    columns: tuple[tuple[str, str], ...]
    """(role, name in the source)."""
    units: tuple[str | None, str | None]
    """Of length and time, where the source has them."""
    variables: tuple[_Variable, ...]
    """One (T, N, d) or (T, N), or d of (T, N)."""

    def read(self, first: int, stop: int) -> Array:
        """Return the positions of slices first .. stop - 1, (n, N, d) in float64."""
        parts = [variable.read(first, stop) for variable in self.variables]
        if len(parts) > 1:
            return np.stack(parts, axis=2)
        return parts[0].reshape(stop - first, *self.shape[1:])


@contextlib.contextmanager
def open_arrays(path: Path, time: str | None, position: Sequence[str] | None, folder: Path) -> Iterator[ArraySource]:
    """Open a file of arrays; ``folder`` is for what has to be unpacked to be read by slices.

    ``time`` and ``position`` name arrays (for an NPY file, ``time`` is another file); None to go by common names.
    Raises InputError for a file that cannot be read, names that are missing (nearest given) and shapes that do not fit.
    """
    with contextlib.ExitStack() as stack:
        variables = _OPEN[_kind(path)](path, time, folder, stack)
        yield _source(variables, time if path.suffix != ".npy" else None, position)


def _kind(path: Path) -> str:
    suffix = path.suffix.lower()
    if suffix == ".nc":
        # The classic NetCDF formats are not HDF5.
        with path.open("rb") as file:
            return "classic" if file.read(3) == b"CDF" else "hdf5"
    return {".npz": "npz", ".npy": "npy", ".zarr": "zarr"}.get(suffix, "hdf5")


def _source(variables: Mapping[str, _Variable], time: str | None, position: Sequence[str] | None) -> ArraySource:
    names = list(variables)
    when = names[one_of(names, time, ("times", *TIME), "--time", "the times", "give --time NAME")]
    where = [names[k] for k in _positions(variables, position)]
    found = [variables[name] for name in where]
    times = variables[when]
    if len(times.shape) != 1:
        raise InputError("--time", "must be an array (T,)", f"{when} {times.shape}", "name another with --time")
    shape = _shape(where, found, times.shape[0])
    dims = found[0].dims
    if dims and times.dims and dims[0] != times.dims[0]:
        raise InputError("SOURCE", "must have time as its first axis", ", ".join(dims), f"reorder: {_FIX}")
    if len(where) == 1 and len(found[0].shape) == 2 and dims and dims[-1] == "space":
        raise InputError("SOURCE", "must have an axis of particles", ", ".join(dims), _FIX)
    columns = (("time", when), *(("position", name) for name in where))
    return ArraySource(times.read(0, times.shape[0]), shape, columns, (found[0].units, times.units), tuple(found))


def _positions(variables: Mapping[str, _Variable], given: Sequence[str] | None) -> list[int]:
    names = list(variables)
    if given is not None:
        return [one_of(names, name, (), "--position", "the positions", "") for name in given]
    low = [plain(name) for name in names]
    if not any(name in low for name in POSITIONS):
        axes = [next((low.index(name) for name in axis if name in low), None) for axis in AXES]
        if axes[0] is not None:
            return [place for place in axes if place is not None]
    return [one_of(names, None, POSITIONS, "--position", "the positions", "give --position NAME")]


def _shape(names: Sequence[str], found: Sequence[_Variable], slices: int) -> tuple[int, int, int]:
    shapes = {v.shape for v in found}
    one = found[0].shape
    if len(shapes) > 1 or len(one) not in ((2,) if len(found) > 1 else (2, 3)) or one[0] != slices:
        what = ", ".join(f"{name} {v.shape}" for name, v in zip(names, found, strict=True))
        rule = "must hold times (T,) and positions (T, N, d), or (T, N) for each axis"
        raise InputError("SOURCE", rule, f"times ({slices},) and {what}", _FIX)
    d = one[2] if len(one) == 3 else len(found)
    if not 1 <= d <= 3:
        raise InputError("SOURCE", "must have one, two or three space axes", f"{d} in {one}", _FIX)
    return slices, one[1], d


def _npz(path: Path, _time: str | None, folder: Path, stack: contextlib.ExitStack) -> dict[str, _Variable]:
    try:
        archive = stack.enter_context(zipfile.ZipFile(path))
        names = [name for name in archive.namelist() if name.endswith(".npy")]
        unpacked = [folder / f"array-{k}.npy" for k in range(len(names))]
        return {n.removesuffix(".npy"): _member(archive, n, to) for n, to in zip(names, unpacked, strict=True)}
    except (zipfile.BadZipFile, OSError, EOFError) as error:
        raise _unreadable(path, "an NPZ file", error) from None


def _member(archive: zipfile.ZipFile, name: str, unpacked: Path) -> _Variable:
    """Return an array of an archive: unpacked to disk when first read, as a zip is read from its start only."""
    with archive.open(name) as stream:
        shape = _npy_header(stream, name)

    def read(first: int, stop: int) -> npt.NDArray[Any]:
        if not unpacked.exists():
            with archive.open(name) as stream, unpacked.open("wb") as file:
                shutil.copyfileobj(stream, file, 2**20)
        return _slices(np.load(unpacked, mmap_mode="r", allow_pickle=False), first, stop)

    return _Variable(shape, read)


def _npy_header(stream: Any, name: str) -> tuple[int, ...]:
    from numpy.lib import format as npy

    try:
        version = npy.read_magic(stream)
        header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, _, dtype = header(stream)
    except ValueError as error:
        raise _unreadable(name, "a NumPy array", error) from None
    if dtype.kind not in "fiu":
        fix = "save plain numbers: objects would be unpickled"
        raise InputError("SOURCE", "must hold numbers", f"dtype {dtype} in {name}", fix)
    return tuple(shape)


def _npy(path: Path, time: str | None, _folder: Path, _stack: contextlib.ExitStack) -> dict[str, _Variable]:
    if time is None:
        fix = "give --time times.npy, an array (T,), or save both with np.savez(file, times=..., positions=...)"
        raise InputError("--time", "is needed: an NPY file of positions has no times", None, fix)
    return {"positions": _mapped(path, "SOURCE"), "times": _mapped(Path(time), "--time")}


def _mapped(path: Path, argument: str) -> _Variable:
    try:
        with path.open("rb") as stream:
            shape = _npy_header(stream, str(path))
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, EOFError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise _unreadable(path, "an NPY file", error, argument) from None
    return _Variable(shape, lambda first, stop: _slices(array, first, stop))


def _slices(array: npt.NDArray[Any], first: int, stop: int) -> npt.NDArray[Any]:
    # A copy in memory: mapped pages would count as ours for as long as the map lives.
    return np.array(array[first:stop])


def _hdf5(path: Path, _time: str | None, _folder: Path, stack: contextlib.ExitStack) -> dict[str, _Variable]:
    import h5py

    try:
        file = stack.enter_context(h5py.File(path, "r"))
        found: dict[str, _Variable] = {}

        def visit(name: str, item: Any) -> None:
            # No external data: a file must not make us read another one.
            own = isinstance(item, h5py.Dataset) and not item.external and not item.is_virtual
            if own and item.dtype.kind in "fiu":
                found[name] = _Variable(item.shape, lambda a, b: item[a:b], _dims(item), dict(item.attrs))

        file.visititems(visit)
    except OSError as error:
        raise _unreadable(path, "an HDF5 or NetCDF file", error) from None
    return found


def _dims(item: Any) -> tuple[str, ...] | None:
    scales = [dim[0].name.rsplit("/", 1)[-1] if len(dim) else "" for dim in item.dims]
    return tuple(scales) if scales and all(scales) else None


def _classic(path: Path, _time: str | None, _folder: Path, stack: contextlib.ExitStack) -> dict[str, _Variable]:
    from scipy.io import netcdf_file

    try:
        file = stack.enter_context(netcdf_file(path, "r", mmap=True))
    except (OSError, ValueError, TypeError) as error:
        raise _unreadable(path, "a NetCDF file", error) from None

    def variable(name: str) -> _Variable:
        item = file.variables[name]
        attributes = {key: value for key, value in vars(item).items() if not key.startswith("_") or key == "_FillValue"}
        # By name and copied: the map cannot be closed while anything refers to it.
        return _Variable(
            tuple(item.data.shape),
            lambda first, stop: _slices(file.variables[name].data, first, stop),
            tuple(item.dimensions),
            {key: value for key, value in attributes.items() if key != "data"},
        )

    return {name: variable(name) for name in file.variables if file.variables[name].data.dtype.kind in "fiu"}


def _zarr(path: Path, _time: str | None, _folder: Path, _stack: contextlib.ExitStack) -> dict[str, _Variable]:
    return {a.name: _Variable(a.shape, a.read, a.dims, a.attributes) for a in foreign_arrays(path).values()}


def _unreadable(path: object, what: str, error: Exception, argument: str = "SOURCE") -> InputError:
    return InputError(argument, f"must be {what} that can be read", f"{path}: {error}", "if it is cut, copy it again")


_OPEN: Mapping[str, Callable[[Path, str | None, Path, contextlib.ExitStack], dict[str, _Variable]]] = {
    "npz": _npz,
    "npy": _npy,
    "hdf5": _hdf5,
    "classic": _classic,
    "zarr": _zarr,
}
