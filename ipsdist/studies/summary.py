"""The summary of a study: what varies, and the mean of every number over the seeds with its standard error."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ipsdist.report.terms import with_error
from ipsdist.studies.paths import number
from ipsdist.studies.series import mean_and_error

__all__ = ["summary_lines", "summary_of"]

_SHOWN = (
    "support_correct",
    "kernel_relative_l2",
    "wasserstein2.max",
    "wasserstein2.values.max",
    "data_loss",
)


def summary_of(
    rows: Sequence[Mapping[str, Any]], varied: Sequence[str], columns: Sequence[str]
) -> list[dict[str, Any]]:
    """Return an entry for all runs that differ in their seed alone, in the order of the rows.

    Each holds the values that vary, the runs done and failed, and {mean, standard_error} (None for a single run) of
    the terms that at least half of the runs kept, of the errors, and of the study's own ``columns``.
    """
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        groups.setdefault(repr([row.get(name) for name in varied]), []).append(row)
    return [_entry(own, varied, columns) for own in groups.values()]


def _entry(rows: Sequence[Mapping[str, Any]], varied: Sequence[str], columns: Sequence[str]) -> dict[str, Any]:
    done = [row for row in rows if row["status"] == "done"]
    found: dict[str, Any] = {name: rows[0].get(name) for name in varied}
    found |= {"done": len(done), "failed": len(rows) - len(done)}
    coefficients = dict.fromkeys(name for row in done for name in row if name.startswith("coefficient."))
    kept = [n for n in coefficients if 2 * sum(bool(row.get(n)) for row in done) >= len(done)]
    for name in (*kept, *_SHOWN, *columns):
        values = [v for row in done if (v := number(row.get(name))) is not None]
        if values:
            mean, error = mean_and_error(values)
            found[name] = {"mean": mean, "standard_error": error}
    return found


def summary_lines(summary: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the summary as the lines of an aligned table."""
    names = dict.fromkeys(name for entry in summary for name in entry)
    table = [list(names)]
    table += [[_cell(entry.get(name)) for name in names] for entry in summary]
    if not any(entry["failed"] for entry in summary):
        place = table[0].index("failed")
        table = [line[:place] + line[place + 1 :] for line in table]
    widths = [max(len(line[k]) for line in table) for k in range(len(table[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in table]


def _cell(value: Any) -> str:
    if isinstance(value, Mapping) and set(value) == {"mean", "standard_error"}:
        error = value["standard_error"]
        return with_error(value["mean"], error, plain=True) if error else f"{value['mean']:.4g}"
    return "-" if value is None else str(value)
