"""Dask's performance report of a run, in one HTML file."""

# mypy: untyped-calls-exclude="distributed"

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import Iterator
from pathlib import Path

import distributed

from ipsdist.model.errors import InputError
from ipsdist.model.words import install
from ipsdist.runtime.clusters import Tell

__all__ = ["BOKEH", "NO_REPORT", "check_report", "has_dashboard", "reported"]

BOKEH = install("dashboard")
"""What is to be done where Dask cannot draw its report."""
NO_REPORT = "no performance report: there was nothing left for workers to do"


def has_dashboard() -> bool:
    """Tell whether Dask's pages show anything: without bokeh they only say that it is missing."""
    return importlib.util.find_spec("bokeh") is not None


def check_report(file: Path) -> None:
    """Raise InputError for a performance report that cannot be written."""
    if not has_dashboard():
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
