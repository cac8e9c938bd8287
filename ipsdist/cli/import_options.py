"""Arguments and options of ``ipsdist import``, each with its help."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ipsdist.cli.options import lasting

__all__ = [
    "DropNan", "LengthUnit", "NewDirectory", "Particle", "Position", "Time", "TimeUnit", "Tracks", "Unlabelled",
]  # fmt: skip

Tracks = Annotated[
    Path,
    typer.Argument(
        metavar="SOURCE",
        help="A table (CSV, Parquet) with a row a particle and time, or arrays times (T,) and positions (T, N, d).",
        show_default=False,
    ),
]
NewDirectory = Annotated[
    str,
    typer.Argument(
        metavar="DIR", help="The directory to make, or a URL; new or empty.", show_default=False, callback=lasting
    ),
]
Particle = Annotated[
    str | None,
    typer.Option(
        "--particle",
        metavar="COLUMN",
        help="Column of the particles; default a common name: particle, track_id, track, id ...",
        show_default=False,
    ),
]
Time = Annotated[
    str | None,
    typer.Option(
        "--time",
        metavar="COLUMN",
        help="Column or array of the times (for an NPY file, another one); default t, time, frame ...",
        show_default=False,
    ),
]
Position = Annotated[
    str | None,
    typer.Option(
        "--position",
        metavar="X[,Y[,Z]]",
        help="Columns or arrays of the positions; default x, y, z or those of them that there are.",
        show_default=False,
    ),
]
Unlabelled = Annotated[bool, typer.Option("--unlabelled", help="Snapshots: no particle is followed in time.")]
DropNan = Annotated[bool, typer.Option("--drop-nan", help="Leave out rows with a value that is missing or not finite.")]
LengthUnit = Annotated[
    str | None,
    typer.Option(
        "--length-unit", metavar="UNIT", help="Unit of the positions; default what the source says.", show_default=False
    ),
]
TimeUnit = Annotated[
    str | None,
    typer.Option(
        "--time-unit", metavar="UNIT", help="Unit of the times; default what the source says.", show_default=False
    ),
]
