"""What carries out the work of a command: its options become one value, with progress and remarks for the terminal."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from ipsdist.cli.output import printable

if TYPE_CHECKING:
    from ipsdist.runs import Options

__all__ = ["carrying"]


@contextlib.contextmanager
def carrying(
    quiet: bool,
    workers: int | None,
    cluster: str | None,
    scheduler: str | None,
    performance_report: Path | None,
) -> Iterator[Options]:
    """Give the options of a run. Must come before anything else a command does.

    Of the processes of one ``mpirun`` only the driver goes on from here.
    """
    if cluster == "mpi":
        from ipsdist.runtime.clusters.mpi import take_part

        take_part()
    from ipsdist.cli.progress import observer
    from ipsdist.runs import Options

    with observer(quiet) as observe:
        yield Options(
            workers=workers,
            cluster=cluster,
            scheduler=scheduler,
            performance_report=performance_report,
            observe=observe,
            tell=_hear_nothing if quiet else _say,
        )


def _say(line: str) -> None:
    with contextlib.suppress(BrokenPipeError):
        print(printable(line), file=sys.stderr, flush=True)


def _hear_nothing(line: str) -> None:
    """Say nothing."""
