"""Dask's performance report of a run, in one HTML file."""

# mypy: untyped-calls-exclude="distributed"

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import Iterator
from pathlib import Path

import distributed

from ipsdist.model.errors import InputError
from ipsdist.runtime.clusters import Tell

__all__ = ["BOKEH", "check_report", "reported"]

BOKEH = 'pip install "ipsdist[dashboard]"'
"""What is to be done where Dask cannot draw its report."""


def check_report(file: Path) -> None:
    """Raise InputError for a performance report that cannot be written."""
    if importlib.util.find_spec("bokeh") is None:
        raise InputError("--performance-report", "needs bokeh", None, BOKEH)
    if not file.absolute().parent.is_dir() or file.is_dir():
        raise InputError("--performance-report", "must be a file in a directory that exists", file, "choose another")


@contextlib.contextmanager
def reported(client: distributed.Client, file: Path, tell: Tell) -> Iterator[None]:
    """Write the report of what the cluster does inside the block, also when that ends badly."""
    report = distributed.performance_report(filename=str(file))
    with client.as_current():
        report.__enter__()
    try:
        yield
    finally:
        try:
            with client.as_current():
                report.__exit__(None, None, None)
            tell(f"performance report {file}")
        except Exception as error:  # the scheduler has gone, or the disk is full: the run itself is what counts
            tell(f"no performance report: {' '.join(str(error).split()) or type(error).__name__}")
