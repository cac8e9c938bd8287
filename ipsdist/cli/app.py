"""The commands of `ipsdist`. What is heavy is imported when a command runs, so that help costs nothing."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from ipsdist.cli.exits import exit_code
from ipsdist.cli.import_options import (
    DropNan,
    LengthUnit,
    NewDirectory,
    Particle,
    Position,
    Time,
    TimeUnit,
    Tracks,
    Unlabelled,
)
from ipsdist.cli.options import (
    Cluster,
    Device,
    Directory,
    Json,
    Out,
    PerformanceReport,
    Quiet,
    Scheduler,
    Seed,
    Sets,
    Source,
    WorkerMemory,
    Workers,
    lasting,
)
from ipsdist.cli.output import info_rows, print_json, print_outcome, print_table
from ipsdist.cli.planning import EPILOG as PLAN_EPILOG
from ipsdist.cli.reproduce import EPILOG as REPRODUCE_EPILOG
from ipsdist.cli.reproduce import reproduce
from ipsdist.cli.study import EPILOG, studies, study

__all__ = ["app", "main"]

_STAGE = "Do one stage of a run again"
_LOOK = "Look"
_EXAMPLES = """\
Examples:

ipsdist run cubic

ipsdist run cubic --seed 1 --workers 2 --out runs/cubic-1

ipsdist run mine.toml --set system.particles=100000 --set 'dictionary.terms=["1", "r", "r**2"]'

ipsdist fit runs/cubic --set fit.criterion=bic

A run that was stopped goes on where it was when the same command is given again."""

app = typer.Typer(
    name="ipsdist",
    help="Learn the interaction law phi(r) of a many-particle system from what its particles did, with error bars.",
    epilog=_EXAMPLES,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def main(words: Sequence[str] | None = None) -> int:
    """Run the command line ``words`` (those of the process by default) and return its exit code."""
    given = list(sys.argv[1:] if words is None else words)
    return exit_code(lambda: _call(given), given)


def _call(words: list[str]) -> None:
    # Not app(words): that has exit codes and messages of its own.
    command = typer.main.get_command(app)
    with command.make_context("ipsdist", words) as context:
        command.invoke(context)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"ipsdist {version('ipsdist')}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context,
    version: Annotated[  # noqa: ARG001  the callback answers it
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    if context.invoked_subcommand is None:
        print(context.get_help())


@app.command(epilog="Example: ipsdist run cubic --seed 1 --workers 2")
def run(
    source: Source,
    out: Out = None,
    seed: Seed = None,
    sets: Sets = None,
    workers: Workers = None,
    cluster: Cluster = None,
    scheduler: Scheduler = None,
    performance_report: PerformanceReport = None,
    device: Device = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Do everything, from particles to the report, and print what was learnt."""
    from ipsdist.cli.carrying import carrying

    with carrying(quiet, workers, cluster, scheduler, performance_report) as options:
        from ipsdist import runs
        from ipsdist.config import resolve

        config = resolve(source, sets or (), seed, device)
        outcome = runs.run(config, out or Path("runs") / config.name, options)
    print_json(outcome.result) if as_json else print_outcome(outcome, "report", quiet=quiet)


def _stage_command(name: str, stage: str, what: str, example: str) -> None:
    """Add a command that does one stage of a run directory again."""

    def command(
        directory: Directory,
        sets: Sets = None,
        workers: Workers = None,
        cluster: Cluster = None,
        scheduler: Scheduler = None,
        performance_report: PerformanceReport = None,
        quiet: Quiet = False,
    ) -> None:
        from ipsdist.cli.carrying import carrying

        with carrying(quiet, workers, cluster, scheduler, performance_report) as options:
            from ipsdist import runs

            outcome = runs.redo(directory, stage, sets or (), options)
        print_outcome(outcome, stage, quiet=quiet)

    command.__doc__ = what
    app.command(name, rich_help_panel=_STAGE, epilog=f"Example: ipsdist {name} runs/cubic{example}")(command)


for _words in (
    ("simulate", "particles", "Step the particles and deposit them.", ""),
    ("estimate", "densities", "Estimate the densities from the deposits.", " --set density.bandwidth=isj"),
    ("assemble", "equations", "Assemble the normal equations of the dictionary.", " --set fit.form=likelihood"),
    ("fit", "kernel", "Select the terms of the kernel and find their coefficients.", " --set fit.selection=two_phase"),
    ("report", "report", "Complete what is missing, draw the figures, write result.json and report.html.", ""),
):
    _stage_command(*_words)


@app.command(epilog="Example: ipsdist pool runs/first runs/second --out runs/both")
def pool(
    directories: Annotated[
        list[str], typer.Argument(metavar="DIR DIR...", help="Directories of finished runs.", show_default=False)
    ],
    out: Annotated[
        str,
        typer.Option(
            "--out", metavar="DIR", help="Where pooled.json and its page go.", show_default=False, callback=lasting
        ),
    ],
    sets: Sets = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Learn one law from several finished runs: their equations add, each weighted by its own noise."""
    from ipsdist.cli.progress import observer
    from ipsdist.report.pooled import summary_rows
    from ipsdist.runs import pooled
    from ipsdist.storage import place

    with observer(quiet) as observe:
        found = pooled.pool(directories, out, sets or (), observe)
    if as_json:
        print_json(found.result)
    else:
        print_table([*summary_rows(found.result), ("report", str(place(out) / "pooled.html"))])


app.command(epilog=EPILOG)(study)
app.command(epilog=REPRODUCE_EPILOG)(reproduce)


@app.command("import", epilog="Example: ipsdist import tracks.csv runs/cells --position x,y --length-unit um")
def import_(
    source: Tracks,
    directory: NewDirectory,
    particle: Particle = None,
    time: Time = None,
    position: Position = None,
    unlabelled: Unlabelled = False,
    drop_nan: DropNan = False,
    length_unit: LengthUnit = None,
    time_unit: TimeUnit = None,
    sets: Sets = None,
    as_json: Json = False,
) -> None:
    """Read tracks that others made (CSV, Parquet, NPZ, NPY, HDF5, NetCDF, Zarr) into the directory of a run."""
    from ipsdist.importers.convert import Choices, import_tracks

    axes = None if position is None else tuple(name.strip() for name in position.split(","))
    choices = Choices(particle, time, axes, not unlabelled, drop_nan, length_unit, time_unit, tuple(sets or ()))
    imported = import_tracks(source, directory, choices)
    print_json(imported.values()) if as_json else print_table(imported.lines())


@app.command(rich_help_panel=_LOOK, epilog=PLAN_EPILOG)
def plan(
    source: Source,
    out: Out = None,
    seed: Seed = None,
    sets: Sets = None,
    workers: Workers = None,
    cluster: Cluster = None,
    scheduler: Scheduler = None,
    worker_memory: WorkerMemory = None,
    device: Device = None,
) -> None:
    """Show what a run takes before it is started: tasks, memory, store, time; and whether it fits these workers."""
    from ipsdist.cli.planning import show

    show(source, out, seed, sets or (), device, (workers, cluster, scheduler, worker_memory))


@app.command(rich_help_panel=_LOOK, epilog="Example: ipsdist info runs/cubic")
def info(directory: Directory, as_json: Json = False) -> None:
    """Show what a run directory has, and how far a run is that was stopped or is still at work."""
    from ipsdist import runs

    found = runs.info(directory)
    print_json(found) if as_json else print_table(info_rows(found, directory))


@app.command(rich_help_panel=_LOOK)
def keys() -> None:
    """Explain every key of a run file: default, meaning, rule."""
    from ipsdist.config.document import document

    print(document())


@app.command(rich_help_panel=_LOOK)
def cases() -> None:
    """List the built-in cases."""
    from ipsdist.config import case_names

    print_table(case_names())


app.command(rich_help_panel=_LOOK)(studies)
