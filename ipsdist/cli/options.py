"""Arguments and options that several commands share, each with its help."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ipsdist.model.errors import InputError

__all__ = [
    "Cluster", "Device", "Directory", "Json", "Out", "PerformanceReport", "Quiet", "Scheduler", "Seed", "Sets",
    "Source", "WorkerMemory", "Workers", "lasting",
]  # fmt: skip


def _text(*names: str, metavar: str, help: str, callback: Any = None) -> Any:  # noqa: A002
    return typer.Option(*names, metavar=metavar, help=help, show_default=False, callback=callback)


def lasting(where: str | None) -> str | None:
    """Return where something shall be kept. Raises InputError for what ends with this process."""
    if where is not None and where.lower().startswith("memory://"):
        fix = "choose a directory or another URL; in Python, ips.run(out=...) takes it"
        raise InputError("out", "must outlast the command", where, fix)
    return where


Source = Annotated[
    str, typer.Argument(metavar="CASE|FILE.toml", help="A built-in case (see `ipsdist cases`) or a run file.")
]
Directory = Annotated[
    str, typer.Argument(metavar="DIR", help="The directory of a run, or its URL (s3://bucket/run).", show_default=False)
]
Out = Annotated[
    str | None,
    _text(
        "--out",
        metavar="DIR|URL",
        help="Where the run is kept: a directory (default runs/NAME), s3://BUCKET/NAME, or what fsspec knows. What it "
        "has is not redone.",
        callback=lasting,
    ),
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
    int | None,
    _text("--workers", metavar="N", help="Processes to start on this machine, or workers of --cluster; default: none."),
]
Cluster = Annotated[
    str | None,
    _text(
        "--cluster",
        metavar="local|slurm|mpi|kubernetes|cuda",
        help="Start this cluster and stop it at the end. Its size and jobs are set in Dask's configuration, section "
        "`ipsdist.cluster` (docs/clusters.md); `mpirun -n 4 ipsdist run cubic --cluster mpi`.",
    ),
]
Scheduler = Annotated[
    str | None, _text("--scheduler", metavar="ADDRESS", help="Address or scheduler file of a running Dask cluster.")
]
PerformanceReport = Annotated[
    Path | None,
    _text("--performance-report", metavar="FILE.html", help="Keep Dask's own report of what the workers did."),
]
WorkerMemory = Annotated[
    str | None,
    _text("--worker-memory", metavar="BYTES", help='Memory of each worker, e.g. "4 GB"; default: what there is.'),
]
Device = Annotated[
    str | None,
    _text("--device", metavar="auto|cpu|gpu", help="Where the particles are stepped; auto is a GPU, if there is one."),
]
Quiet = Annotated[
    bool, typer.Option("--quiet", "-q", help="Only the answer and where it is: no plan, no progress, no remarks.")
]
Json = Annotated[bool, typer.Option("--json", help="Print the answer as JSON, and nothing else, to stdout.")]
