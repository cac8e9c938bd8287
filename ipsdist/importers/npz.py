"""Reading arrays that others made: tracks in an NPZ file, initial positions in an NPY file. Nothing is unpickled."""

from __future__ import annotations

import hashlib
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ipsdist.model.errors import InputError

__all__ = ["Tracks", "check_tracks", "digest", "read_initial", "read_tracks"]

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Tracks:
    """Positions of N particles in d dimensions at T times; labelled when row i is the same particle at all times."""

    times: Array
    """(T,) increasing."""
    positions: Array
    """(T, N, d)."""


def digest(path: Path) -> str:
    """Return the SHA-256 of a file: what a fingerprint knows of it."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_tracks(path: Path, argument: str = "data.file") -> Tracks:
    """Read ``times`` (T,) and ``positions`` (T, N, d), or (T, N) in one dimension, from an NPZ file.

    Raises InputError when the file is missing, is no NPZ, lacks an array, holds objects, or `check_tracks` refuses it.
    """
    archive = _load(path, argument, "an NPZ file with arrays times (T,) and positions (T, N, d)")
    if not isinstance(archive, np.lib.npyio.NpzFile):
        raise InputError(
            argument,
            "must be an NPZ file",
            f"a single array in {path}",
            "save it with np.savez(file, times=..., positions=...)",
        )
    with archive:
        missing = [name for name in ("times", "positions") if name not in archive.files]
        if missing:
            have = ", ".join(archive.files) or "no arrays"
            raise InputError(
                argument,
                f"must hold the array `{missing[0]}`",
                f"{have} in {path}",
                "np.savez(file, times=..., positions=...)",
            )
        times, positions = (_entry(archive, name, argument) for name in ("times", "positions"))
    return check_tracks(times, positions, argument)


def check_tracks(times: npt.ArrayLike, positions: npt.ArrayLike, argument: str) -> Tracks:
    """Check arrays of tracks and return them as float64; (T, N) counts as (T, N, 1). Raises InputError."""
    t = _real(times, f"{argument}: times")
    x = _real(positions, f"{argument}: positions")
    x = x[..., None] if x.ndim == 2 else x
    if t.ndim != 1 or x.ndim != 3 or len(t) != len(x) or x.shape[2] not in (1, 2, 3):
        shapes = f"times {t.shape} and positions {np.shape(positions)}"
        raise InputError(
            argument,
            "must hold times (T,) and positions (T, N, d) with d = 1, 2 or 3",
            shapes,
            "reorder the axes to time, particle, space",
        )
    if len(t) < 2:
        raise InputError(argument, "must hold at least two slices", len(t), "one snapshot says nothing about motion")
    if x.shape[1] < 2:
        raise InputError(argument, "must hold at least two particles", x.shape[1], "an interaction needs a pair")
    if not (np.isfinite(t).all() and (np.diff(t) > 0).all()):
        raise InputError(
            argument,
            "must have finite, increasing times",
            _first_bad_time(t),
            "sort the slices by time and drop repeats",
        )
    bad = ~np.isfinite(x).all(axis=(1, 2))
    if bad.any():
        k = int(np.argmax(bad))
        count = int((~np.isfinite(x[k])).any(axis=1).sum())
        raise InputError(
            argument,
            "must hold finite positions",
            f"{count} particles that are NaN or infinite in slice {k}",
            "drop them before saving",
        )
    if np.ptp(x, axis=(0, 1)).max() == 0:
        raise InputError(
            argument,
            "must hold positions that differ",
            "the same position everywhere",
            "check the units and the columns",
        )
    return Tracks(t, np.ascontiguousarray(x))


def read_initial(path: Path, particles: int, dimension: int) -> Array:
    """Read initial positions (N, d), or (N,) in one dimension, from an NPY file. Raises InputError."""
    argument = "initial.file"
    values = _load(path, argument, "an NPY file with an array (N, d)")
    if not isinstance(values, np.ndarray):
        raise InputError(
            argument,
            "must be an NPY file with one array",
            f"an archive in {path}",
            "save it with np.save(file, positions)",
        )
    x = _real(values, argument)
    x = x[:, None] if x.ndim == 1 else x
    if x.shape != (particles, dimension):
        rule = f"must hold system.particles x system.dimension = {(particles, dimension)} numbers"
        raise InputError(argument, rule, x.shape, "change system.particles or the file")
    bad = ~np.isfinite(x).all(axis=1)
    if bad.any():
        raise InputError(
            argument,
            "must hold finite positions",
            f"{int(bad.sum())} particles that are NaN or infinite, first row {int(np.argmax(bad))}",
            "drop them",
        )
    return np.ascontiguousarray(x)


def _load(path: Path, argument: str, what: str) -> Any:
    if path.is_file():
        with path.open("rb") as file:
            start = file.read(6)
        if not start.startswith((b"PK", b"\x93NUMPY")):
            raise InputError(argument, f"must be {what}", f"{path}, which NumPy did not write", "save it with NumPy")
    try:
        return np.load(path, allow_pickle=False)
    except FileNotFoundError:
        raise InputError(argument, f"must name {what}", f"{path}, which does not exist", "check the path") from None
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        if "pickle" in str(error) or "Object arrays" in str(error):
            raise InputError(
                argument, "must hold numbers, not Python objects", path, "save plain arrays: objects would be unpickled"
            ) from None
        raise InputError(argument, f"must be {what}", f"{path}: {error}", "save it with NumPy") from None


def _entry(archive: Any, name: str, argument: str) -> npt.NDArray[Any]:
    try:
        return np.asarray(archive[name])
    except ValueError as error:
        if "Object arrays" in str(error):
            raise InputError(
                argument,
                "must hold numbers, not Python objects",
                f"objects in {name}",
                "save plain arrays: objects would be unpickled",
            ) from None
        raise InputError(argument, f"must hold a readable array {name}", error, "save it again with NumPy") from None
    except (OSError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(
            argument, f"must hold a readable array {name}", error, "the file is damaged; save it again"
        ) from None


def _real(values: npt.ArrayLike, argument: str) -> Array:
    array = np.asarray(values)
    if array.dtype.kind not in "fiu":
        raise InputError(argument, "must hold real numbers", f"dtype {array.dtype}", "convert with .astype(float)")
    return array.astype(np.float64, copy=False)


def _first_bad_time(times: Array) -> str:
    if not np.isfinite(times).all():
        return f"times[{int(np.argmin(np.isfinite(times)))}] that is not finite"
    k = int(np.argmax(np.diff(times) <= 0))
    return f"times[{k}] = {times[k]}, times[{k + 1}] = {times[k + 1]}"
