"""`ipsdist study` and `ipsdist studies`: tables of runs."""

from __future__ import annotations

from typing import Annotated

import typer

from ipsdist.cli.options import Cluster, Json, PerformanceReport, Quiet, Scheduler, Sets, Workers, lasting
from ipsdist.cli.output import print_json, print_table, printable
from ipsdist.model.errors import InputError
from ipsdist.report.terms import with_error

__all__ = ["EPILOG", "seed_list", "studies", "study"]

EPILOG = """\
Example: ipsdist study fig3_particles --workers 2

A study that was stopped goes on where it was when the same command is given again; runs that failed are tried again."""

Source = Annotated[
    str, typer.Argument(metavar="STUDY|FILE.toml", help="A given study (see `ipsdist studies`) or a study file.")
]
Out = Annotated[
    str | None,
    typer.Option(
        "--out",
        metavar="DIR|URL",
        help="Where the study is kept; default studies/NAME. What it has is not redone.",
        show_default=False,
        callback=lasting,
    ),
]
Seeds = Annotated[
    str | None,
    typer.Option(
        "--seeds", metavar="N|A-B|A,B", help="Number of seeds, or which; default: the file's.", show_default=False
    ),
]


def study(
    source: Source,
    out: Out = None,
    seeds: Seeds = None,
    sets: Sets = None,
    workers: Workers = None,
    cluster: Cluster = None,
    scheduler: Scheduler = None,
    performance_report: PerformanceReport = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Do a table of runs over keys and seeds; write study.csv, study.parquet, study.html and its figures."""
    from ipsdist import studies as floor
    from ipsdist.cli.carrying import carrying

    chosen = None if seeds is None else seed_list(seeds)
    with carrying(quiet, workers, cluster, scheduler, performance_report) as options:
        found = floor.study(source, out, seeds=chosen, sets=sets or (), options=options)
    if as_json:
        print_json({"summary": found.summary, "rates": found.rates, "rows": found.rows})
    else:
        print(found.text)
        rates = [
            (f"rate, {plot}" + (f", {label}" if label else ""), _with_error(rate["slope"], rate["standard_error"]))
            for plot, each in found.rates.items()
            for label, rate in each.items()
        ]
        print_table([*rates, *(("note", note) for note in found.notes), ("table", str(found.out / "study.csv"))])
        for row in found.failed:
            print(printable(f"failed: {row['run']}: {row['error']}"))
    if found.failed:
        raise typer.Exit(1)


def studies() -> None:
    """List the given studies."""
    from ipsdist.studies import given

    print_table(given())


def seed_list(text: str) -> list[int]:
    """Return the seeds of ``N`` (that many, from 0), ``A-B`` (both ends) or ``A,B,C``. Raises InputError."""
    parts = [part.strip() for part in text.split(",")]
    found: list[int] = []
    for part in parts:
        first, dash, last = part.partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            rule, fix = "must be a number of seeds, a range or a list", "for example --seeds 5, 0-4 or 0,3"
            raise InputError("--seeds", rule, repr(text), fix)
        found += range(int(first), int(last) + 1) if dash else [int(first)]
    if len(parts) == 1 and "-" not in text:
        found = list(range(found[0]))
    if not found:
        raise InputError("--seeds", "must give at least one seed", repr(text), "for example --seeds 5")
    return found


def _with_error(value: float, error: float | None) -> str:
    return with_error(value, error, plain=True) if error else f"{value:.3g}"
