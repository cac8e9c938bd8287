"""Arguments and options that several commands share, each with its help."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

__all__ = ["Device", "Directory", "Json", "Out", "Quiet", "Scheduler", "Seed", "Sets", "Source", "Workers"]


def _text(*names: str, metavar: str, help: str) -> Any:  # noqa: A002
    return typer.Option(*names, metavar=metavar, help=help, show_default=False)


Source = Annotated[
    str, typer.Argument(metavar="CASE|FILE.toml", help="A built-in case (see `ipsdist cases`) or a run file.")
]
Directory = Annotated[Path, typer.Argument(metavar="DIR", help="The directory of a run.", show_default=False)]
Out = Annotated[
    Path | None,
    _text("--out", metavar="DIR", help="Where the run is kept; default runs/NAME. What it has is not redone."),
]
Seed = Annotated[
    int | None, _text("--seed", metavar="N", help="Seed of all random numbers; default that of the run file.")
]
Sets = Annotated[
    list[str] | None,
    _text(
        "--set", metavar="SECTION.KEY=VALUE", help="Change one key of the run file; the value is TOML. May be repeated."
    ),
]
Workers = Annotated[
    int | None, _text("--workers", metavar="N", help="Processes to start on this machine; default: work in this one.")
]
Scheduler = Annotated[
    str | None, _text("--scheduler", metavar="ADDRESS", help="Address or scheduler file of a running Dask cluster.")
]
Device = Annotated[str | None, _text("--device", metavar="auto|cpu|gpu", help="Where the particles are stepped.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress, only the answer.")]
Json = Annotated[bool, typer.Option("--json", help="Print the answer as JSON, and nothing else, to stdout.")]
