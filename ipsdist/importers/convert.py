"""From a file of tracks to a directory that a run goes on from: it appears whole, or not at all."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from ipsdist.config import RunConfig, resolve
from ipsdist.importers.arrays import open_arrays
from ipsdist.importers.columns import Columns, choose_columns, unit_of
from ipsdist.importers.csv_table import CsvTable, WiderKindError, open_csv
from ipsdist.importers.layout import write_rows
from ipsdist.importers.parquet_table import ParquetTable, open_parquet
from ipsdist.importers.report import Imported
from ipsdist.importers.scales import with_lengths
from ipsdist.importers.slices import rows_of_arrays, survey_arrays
from ipsdist.importers.sorting import Spool
from ipsdist.importers.survey import Survey, check
from ipsdist.model.errors import InputError
from ipsdist.model.words import install
from ipsdist.storage import Place, Store, place

__all__ = ["Choices", "import_tracks"]

_CSV = (".csv", ".tsv", ".txt", ".csv.gz", ".csv.bz2", ".csv.zst", ".tsv.gz", ".txt.gz")
_PARQUET = (".parquet", ".pq")
_ARRAYS = (".npz", ".npy", ".h5", ".hdf5", ".hdf", ".nc", ".nc4", ".zarr")
_FORMATS = "CSV (.csv .tsv .txt, also .gz), Parquet, NPZ, NPY, HDF5 (.h5 .hdf5), NetCDF (.nc) and Zarr (.zarr)"
_NEEDS = f"install it with {install('tables')}"
STORE, CONFIG = "store.zarr", "config.toml"


@dataclass(frozen=True)
class Choices:
    """What the user said about the source; None for what is to be guessed from common names."""

    particle: str | None = None
    time: str | None = None
    position: tuple[str, ...] | None = None
    labelled: bool = True
    drop_nan: bool = False
    """Leave rows with missing or not finite values out."""
    length_unit: str | None = None
    time_unit: str | None = None
    sets: tuple[str, ...] = ()
    """``section.key=value`` texts for the run file."""


def import_tracks(source: Path | str, out: Path | Place | str, choices: Choices | None = None) -> Imported:
    """Read tracks and write ``out``: config.toml and store.zarr with the positions, ready for ``ipsdist run``.

    The source is streamed. Memory: about 500 MB at most for a table, whatever its length, but for one slice and 100
    bytes a particle; for arrays, one block of slices. Room on disk: twice what is written.

    Raises InputError for a source that cannot be used (see the modules that read it), for ``out`` that is not empty,
    and for a format whose library is not installed. Nothing is left at ``out`` then.
    """
    there = place(out)
    if not there.is_local:
        return _sent(source, there, choices)
    source, out, choices = Path(source), there.path, choices or Choices()
    if not source.exists():
        raise InputError("SOURCE", "must be a file of tracks", f"{source}, which does not exist", "check the path")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError("DIR", "must be a new or empty directory", out, "choose another one")
    kind = _kind_of(source)
    if kind == "arrays" and choices.particle is not None:
        fix = "leave it out: particles are an axis of the positions (T, N, d)"
        raise InputError("--particle", "must name a column of a table", f"{choices.particle!r} for arrays", fix)
    with _appearing(out) as folder:
        try:
            convert = _from_arrays if kind == "arrays" else _from_table
            return convert(source, out, folder, choices)
        except ModuleNotFoundError as error:
            raise InputError("SOURCE", f"needs {error.name} to be read", source, _NEEDS) from None


def _sent(source: Path | str, out: Place, choices: Choices | None) -> Imported:
    """Import into a directory of this machine, and copy that; what makes it the directory of a run comes last."""
    try:
        there = out.names()
    except OSError as error:
        got, fix = f"{out}: {error.strerror or error}", "check its name and your access"
        raise InputError("DIR", "must be a place that can be reached", got, fix) from None
    if there:
        raise InputError("DIR", "must be a new or empty directory", out, "choose another one")
    with tempfile.TemporaryDirectory(prefix="ipsdist-") as folder:
        imported = import_tracks(source, Path(folder) / out.name, choices)
        here = place(imported.out)
        last = (CONFIG, f"{STORE}/zarr.json")
        files = sorted((name for name, _ in here.files()), key=lambda name: (name in last, "/records/" in name))
        for name in files:
            (out / name).write_whole((here / name).read_bytes())
    return replace(imported, out=out)


def _kind_of(source: Path) -> str:
    name = source.name.lower()
    for kind, endings in (("csv", _CSV), ("parquet", _PARQUET), ("arrays", _ARRAYS)):
        if name.endswith(endings):
            if source.is_dir() and not name.endswith(".zarr"):
                raise InputError("SOURCE", "must be one file", f"the directory {source}", "give one file")
            return kind
    raise InputError("SOURCE", "must have an ending that says its format", source.name, f"formats are {_FORMATS}")


def _from_table(source: Path, out: Path, folder: Path, choices: Choices) -> Imported:
    parquet = _kind_of(source) == "parquet"
    table = open_parquet(source) if parquet else open_csv(source)
    columns = choose_columns(table.names, choices.particle, choices.time, choices.position, labelled=choices.labelled)
    axes = [table.names[place] for place in columns.position]
    config = _config(out, len(axes), choices)
    work = folder / "work"
    spool, survey = _spooled(table, columns, work, drop=choices.drop_nan)
    check(survey, axes, spool.row_of)
    config, lengths = with_lengths(config, survey)
    time = table.names[columns.time]
    units = _units(choices, unit_of(axes[0]), unit_of(time))
    store = Store.create(folder / STORE, {})
    lives = write_rows(store, survey, spool.sorted(survey), units)
    shutil.rmtree(work)
    (folder / CONFIG).write_text(config.to_toml(), encoding="utf-8")
    who = () if columns.particle is None else (("particle", table.names[columns.particle]),)
    named = (*who, ("time", time), *zip("xyz", axes, strict=False))
    return Imported(out, source, named, survey, lives, units, lengths)


def _spooled(table: CsvTable | ParquetTable, columns: Columns, work: Path, *, drop: bool) -> tuple[Spool, Survey]:
    """Read the table once; twice when its particles turn out to be of another kind than the first rows say."""
    kind = "int64" if columns.particle is None else table.kind(columns.particle)
    while True:
        work.mkdir(exist_ok=True)
        spool = Spool(work, columns)
        try:
            for part in table.parts(columns, kind):
                spool.add(part)
        except WiderKindError as other:
            kind = other.kind
            continue
        return spool, spool.close(drop=drop)


def _from_arrays(source: Path, out: Path, folder: Path, choices: Choices) -> Imported:
    work = folder / "work"
    work.mkdir()
    with open_arrays(source, choices.time, choices.position, work) as arrays:
        config = _config(out, arrays.shape[2], choices)
        survey = survey_arrays(arrays, labelled=choices.labelled, drop=choices.drop_nan)
        check(survey, ("x", "y", "z")[: survey.dimension])
        config, lengths = with_lengths(config, survey)
        units = _units(choices, *arrays.units)
        store = Store.create(folder / STORE, {})
        lives = write_rows(store, survey, rows_of_arrays(arrays, survey), units)
    shutil.rmtree(work)
    (folder / CONFIG).write_text(config.to_toml(), encoding="utf-8")
    return Imported(out, source, arrays.columns, survey, lives, units, lengths)


def _units(choices: Choices, length: str | None, time: str | None) -> tuple[str, str]:
    return choices.length_unit or length or "length", choices.time_unit or time or "time"


def _config(out: Path, dimension: int, choices: Choices) -> RunConfig:
    """Return the run file of an import. Raises InputError for bad ``sets``, before anything is read."""
    name = re.sub(r"[^A-Za-z0-9_.-]+", "-", out.absolute().name).strip("-.")[:64] or "imported"
    labelled = "true" if choices.labelled else "false"
    draft = (
        f'name = "{name}"\n[system]\ndimension = {dimension}\n'
        f'[data]\nsource = "import"\nfile = "{STORE}"\nlabelled = {labelled}\n'
    )
    with tempfile.TemporaryDirectory(prefix="ipsdist-") as folder:
        path = Path(folder) / CONFIG
        path.write_text(draft, encoding="utf-8")
        config = resolve(path, choices.sets)
    # A name alone counts from the directory of the run file, so that the directory can be moved.
    return config.model_copy(update={"data": config.data.model_copy(update={"file": STORE})})


@contextlib.contextmanager
def _appearing(out: Path) -> Iterator[Path]:
    """Give a directory that takes the name ``out`` when all went well, and is removed when not."""
    missing = [parent for parent in out.absolute().parents if not parent.exists()]
    out.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    try:
        yield folder
        folder.chmod(0o777 & ~_umask())
        folder.rename(out)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        for parent in missing:
            with contextlib.suppress(OSError):
                parent.rmdir()
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
