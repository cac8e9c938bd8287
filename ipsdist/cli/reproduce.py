"""`ipsdist reproduce`: every table and figure of the source, in one document."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ipsdist.cli.options import Cluster, PerformanceReport, Quiet, Scheduler, Workers
from ipsdist.cli.output import print_table, printable

__all__ = ["EPILOG", "reproduce"]

EPILOG = """\
Example: ipsdist reproduce --quick

What was done is kept in the directory of --out: the same command goes on where it was stopped."""


def reproduce(
    quick: Annotated[
        bool, typer.Option("--quick", help="One seed of each run: about a quarter of an hour of CPU.")
    ] = False,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Directory of the studies.")] = Path("reproduction"),
    page: Annotated[
        Path | None,
        typer.Option(
            "--page",
            metavar="FILE",
            help="The document; default docs/REPRODUCTION.md, or in --out.",
            show_default=False,
        ),
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option("--only", metavar="STUDY", help="Only this study; may be repeated.", show_default=False),
    ] = None,
    workers: Workers = None,
    cluster: Cluster = None,
    scheduler: Scheduler = None,
    performance_report: PerformanceReport = None,
    quiet: Quiet = False,
) -> None:
    """Run every case and study of the source (Shi, Yang, Hong 2025) and write the page that compares the numbers."""
    from ipsdist.cli.carrying import carrying

    with carrying(quiet, workers, cluster, scheduler, performance_report) as options:
        from ipsdist import studies

        found = studies.reproduce(out, page, quick=quick, only=only, options=options)
    numbers = [
        (f"{part.study}: {f.what}", f"{_text(f.ours)} ([S] {f.published})")
        for part in found.parts
        for f in part.figures
    ]
    print_table([*numbers, ("page", str(found.page))])
    for name in found.failed:
        print(printable(f"failed: {name}"))
    if found.failed:
        raise typer.Exit(1)


def _text(value: float | None) -> str:
    return "not found" if value is None else f"{value:.4g}"
