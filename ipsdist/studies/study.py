"""A study from its file to its table: rows to runs, what they share done once, failures kept, figures at the end."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Any

from ipsdist.config import RunConfig, case_names
from ipsdist.config.study import Row, StudyFile, load_study, row_config
from ipsdist.importers.parquet_writer import to_parquet
from ipsdist.model.errors import InputError
from ipsdist.model.words import install
from ipsdist.report.figures.study import draw_study
from ipsdist.report.study_page import study_page
from ipsdist.runs.api import options_of
from ipsdist.runs.devices import refuse_all
from ipsdist.runs.pipeline import Options, finished
from ipsdist.runs.probe import first_missing, probe
from ipsdist.runs.rows import versions
from ipsdist.runtime.executor import Executor
from ipsdist.runtime.progress import Observer, Progress
from ipsdist.storage import Place as Directory
from ipsdist.storage import locked, place, write_whole
from ipsdist.studies.bundles import particles_first
from ipsdist.studies.order import Place, places, run_name
from ipsdist.studies.paths import found
from ipsdist.studies.series import plot_of
from ipsdist.studies.summary import summary_lines, summary_of
from ipsdist.studies.table import table_columns, to_csv
from ipsdist.studies.tasks import Finished, RunTask, do_run

__all__ = ["Study", "given", "study"]

_FILE = "study.toml"
_OURS = {_FILE, "runs", ".lock", ".probe"}
_PACKAGES = ("ipsdist", "numpy", "scipy", "numba", "zarr", "dask", "distributed", "matplotlib", "POT")


@dataclass(frozen=True, repr=False)
class Study:
    """What a study leaves: its directory, its table row by row, and the means over the seeds."""

    out: Path | Directory
    rows: list[dict[str, Any]]
    """One a run: ``run``, the keys that vary, ``seed``, ``status`` (done or failed), ``error``, what was learnt."""
    columns: list[str]
    summary: list[dict[str, Any]]
    rates: dict[str, dict[str, Any]]
    """Fitted rates by plot and series: slope and standard_error."""
    notes: tuple[str, ...] = ()
    varied: tuple[str, ...] = ()

    @property
    def failed(self) -> list[dict[str, Any]]:
        """The rows that failed."""
        return [row for row in self.rows if row["status"] == "failed"]

    @property
    def text(self) -> str:
        """The summary as a table for people."""
        return "\n".join(summary_lines(self.summary))

    def __repr__(self) -> str:
        return f"<Study {len(self.rows)} runs, {len(self.failed)} failed ({self.out})>"


@dataclass
class _Planned:
    """One row on its way."""

    row: Row
    name: str
    config: RunConfig | None
    refusal: InputError | None = None
    place: Place | None = None
    end: Finished = field(default_factory=lambda: Finished(None))


def given() -> list[tuple[str, str]]:
    """Return the studies that come with the package: (name, one line on it), sorted by name."""
    entries = [e for e in resources.files("ipsdist.studies").joinpath("given").iterdir() if e.name.endswith(".toml")]
    told = [(e.name.removesuffix(".toml"), e.read_text(encoding="utf-8").partition("\n")[0]) for e in entries]
    return sorted((name, line.removeprefix("#").strip()) for name, line in told)


def study(
    source: str | Path,
    out: Path | Directory | str | None = None,
    *,
    seeds: Sequence[int] | int | None = None,
    sets: Sequence[str] = (),
    options: Options | None = None,
    **how: Any,
) -> Study:
    """Do all runs of a study that its directory lacks; return its table, which is written as well.

    Parameters
    ----------
    source : name of a given study, or path of a study file (docs/studies.md).
    out : directory of the study, or a URL; ``studies/NAME`` by default. Every run has one of its own in ``runs``.
    seeds : in place of those of the file, or how many, from 0; more seeds add rows, and leave the others as they are.
    sets : ``section.key=value`` texts that change all runs, over ``[set]`` of the file; not keys that vary.
    options, how : `Options`, or its fields as keywords; with ``workers=2``, each does one run at a time.

    Raises InputError for a bad study file before anything is written. A run that fails, or ends its worker again and
    again, is a row that says why.
    """
    options = options_of(options, how)
    path = _path(source)
    seeds = range(seeds) if isinstance(seeds, int) else seeds
    file, base, rows = load_study(path, None if seeds is None else tuple(seeds), sets)
    out = place(Path("studies") / file.name if out is None else out)
    planned = _planned(base, rows)
    if sets:
        _refuse_sets(planned)
    idle = _all_finished(planned, file, out)
    if not idle and options.client is None and options.scheduler is None and options.cluster in (None, "local"):
        refuse_all([one.config for one in planned if one.config is not None])
    with options.executor(idle=idle) as executor:
        missing = first_missing(out)
        _directory(out)
        with locked(out):
            probe(executor, out, missing)
            write_whole(out / _FILE, path.read_bytes())
            _do(planned, file, out, executor, options.observe)
            return _finish(planned, file, out)


def _path(source: str | Path) -> Path:
    """Return the file of a study. Raises InputError for a name that is none."""
    text = str(source)
    if isinstance(source, Path) or text.endswith(".toml") or "/" in text:
        return Path(source)
    names = [name for name, _ in given()]
    if text not in names:
        rule, fix = "must be a study file or one of the given studies", f"given ones are {', '.join(names)}"
        if text in dict(case_names()):
            fix = f"that is a case: ipsdist run {text}"
        raise InputError("STUDY", rule, repr(text), fix)
    return Path(str(resources.files("ipsdist.studies").joinpath("given", f"{text}.toml")))


def _planned(base: Mapping[str, Any], rows: Sequence[Row]) -> list[_Planned]:
    """Return the rows with their names and configurations; a row with a bad value has an error instead."""
    found = []
    for row in rows:
        one = _Planned(row, run_name(row.varied, row.seed), None)
        try:
            one.config = row_config(base, row)
        except InputError as error:
            one.end, one.refusal = Finished(str(error)), error
        found.append(one)
    if len({one.name for one in found}) < len(found):
        raise InputError("vary", "must give every run a name of its own", "two of the same", "use plainer values")
    for one, its in zip(found, places([one.config for one in found]), strict=True):
        one.place = its
    return found


def _refuse_sets(planned: Sequence[_Planned]) -> None:
    """Raise InputError where what the command sets lets no run begin: said once, not once a run."""
    refusals = [one.refusal for one in planned]
    if refusals and refusals[0] is not None and None not in refusals:
        raise refusals[0]


def _all_finished(planned: Sequence[_Planned], file: StudyFile, out: Directory) -> bool:
    """Tell whether no run has anything left to do, so that no worker needs to start."""
    return all(
        one.place is None or finished(one.config, _home(out, one.name), file.figures)
        for one in planned
        if one.config is not None
    )


def _directory(out: Directory) -> None:
    """Make the directory. Raises InputError for one that belongs to something else."""
    if out.is_file():
        raise InputError("--out", "must be a directory", f"{out}, which is a file", "choose another --out")
    others = out.names()
    if others and not (out / _FILE).is_file() and not set(others) <= _OURS:
        rule, fix = "must be empty or the directory of a study", "choose another --out"
        raise InputError("--out", rule, f"{out}, which holds {others[0]}", fix)
    try:
        (out / "runs").make()
    except OSError as error:
        got = f"{out}: {(error.strerror or str(error)).lower()}"
        raise InputError("--out", "must be a directory that can be made", got, "choose another --out") from None


def _do(planned: list[_Planned], file: StudyFile, out: Directory, executor: Executor, observe: Observer) -> None:
    """Do the runs wave by wave, and read each as soon as it is there."""
    shares = dict.fromkeys(range(len(planned)), 0.0)

    def told(number: int, share: float) -> None:
        shares[number] = share
        observe(Progress("runs", sum(shares.values()), len(planned), "runs"))

    for number, one in enumerate(planned):
        if one.config is None:
            told(number, 1.0)
    for wave in sorted({one.place.wave for one in planned if one.place is not None}):
        numbers = [k for k, one in enumerate(planned) if one.place is not None and one.place.wave == wave]
        tasks = [_task(planned, k, file, out) for k in numbers]
        heard = partial(_heard, told, numbers)
        particles_first(tasks, executor, heard)
        for position, end in executor.run(do_run, tasks, stage="study", observe=heard, tolerate=True):
            one = planned[numbers[position]]
            # A RunError where it ended its worker.
            one.end = end if isinstance(end, Finished) else Finished(str(end))
            told(numbers[position], 1.0)


def _heard(told: Callable[[int, float], None], numbers: Sequence[int], position: int, share: float) -> None:
    """Pass on what a task says of itself, by the number of its run."""
    told(numbers[position], share)


def _task(planned: Sequence[_Planned], number: int, file: StudyFile, out: Directory) -> RunTask:
    one = planned[number]
    assert one.config is not None
    assert one.place is not None
    donors = tuple(str(_home(out, planned[d].name)) for d in one.place.donors)
    asked = dict.fromkeys(name for plot in file.plot for name in (plot.x, plot.y, *plot.by) if name is not None)
    return RunTask(str(_home(out, one.name)), one.config, donors, file.figures, tuple(file.columns), tuple(asked))


def _home(out: Directory, name: str) -> Directory:
    return (place(out.path.absolute()) if out.is_local else out) / "runs" / name


def _finish(planned: Sequence[_Planned], file: StudyFile, out: Directory) -> Study:
    """Write table, figures and page."""
    varied = tuple(dict.fromkeys(name for one in planned for name in one.row.varied))
    rows = [_row(one, varied) for one in planned]
    columns = table_columns(rows, varied)
    write_whole(out / "study.csv", to_csv(rows, columns).encode())
    table, notes = to_parquet(rows, columns), []
    if table is None:
        notes.append(f"study.csv only: study.parquet needs {install('tables')}")
    else:
        write_whole(out / "study.parquet", table)
    summary = summary_of(rows, varied, file.columns)
    done = [{**one.end.shown, **row} for one, row in zip(planned, rows, strict=True) if row["status"] == "done"]
    units = next((row["units"] for row in done), {"length": "length", "time": "time"})
    plots = [(plot.name, plot_of(plot, done, units)) for plot in file.plot]
    notes += [f"no run has what plot {name} shows" for name, made in plots if made is None and done]
    made = [plot for _, plot in plots if plot is not None]
    drawn = [draw_study(plot) for plot in made]
    for picture in drawn:
        write_whole(out / f"{picture.name}.png", picture.png)
    rates = {
        plot.name: {s.label: {"slope": s.rate.slope, "standard_error": s.rate.error} for s in plot.series if s.rate}
        for plot in made
        if any(s.rate for s in plot.series)
    }
    whole = {
        "name": file.name, "rows": len(rows), "failed": sum(row["status"] == "failed" for row in rows),
        "varied": varied, "summary": summary, "rates": rates, "versions": versions(_PACKAGES),
    }  # fmt: skip
    write_whole(out / "study.json", json.dumps(whole, indent=2).encode())
    write_whole(out / "study.html", study_page(whole, rows, drawn).encode())
    return Study(out.given, rows, columns, summary, rates, tuple(notes), varied)


def _row(one: _Planned, varied: Sequence[str]) -> dict[str, Any]:
    """Return the row of the table; a key that does not vary in this run has the value that it runs with."""
    row: dict[str, Any] = {"run": one.name}
    for name in varied:
        row[name] = one.row.varied[name] if name in one.row.varied else _resolved(one.config, name)
    row |= {"seed": one.row.seed, "status": "done" if one.end.error is None else "failed"}
    return row | {"error": one.end.error} | one.end.cells


def _resolved(config: RunConfig | None, name: str) -> Any:
    return None if config is None else found(config.values(), name)
