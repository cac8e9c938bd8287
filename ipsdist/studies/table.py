"""The table of a study: one row a run, what varies in it, how it ended, and what it learnt."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ipsdist.studies.paths import found

__all__ = ["FIRST", "learnt", "table_columns", "to_csv"]

FIRST = ("run", "seed", "status", "error")
"""Columns that every row has, around those that vary."""

_STANDARD = {
    "support_correct": "errors.support_correct",
    "kernel_relative_l2": "errors.kernel_relative_l2",
    "data_loss": "data_loss",
    "diffusion": "diffusion.value",
    "kernel": "kernel",
}
_OF_TERMS = ("coefficient.", "standard_error.", "error.", "cramer_rao_ratio.")
_STAGES = ("particles", "densities", "equations", "kernel")
_W2 = ("max", "mean", "last")


def learnt(result: Mapping[str, Any], taken_over: Mapping[str, str], columns: Sequence[str]) -> dict[str, Any]:
    """Return the cells of a finished run by column.

    Beside the standard ones: for every term of the dictionary its coefficient (0 where it was dropped), its standard
    error, its error against the truth and that in Cramer-Rao bounds (terms on pieces have other names in every run, and
    no columns); W2, largest, mean and last, between the solutions of the mean-field equation with the true and the
    learnt kernel where the truth is known, else between data and prediction; CPU-seconds as the stages took them,
    whichever run did them; ``columns``, paths in result.json.
    """
    cells: dict[str, Any] = {name: found(result, path) for name, path in _STANDARD.items()}
    cells |= {f"wasserstein2.{how}": found(result, f"wasserstein2.solutions.{how}") for how in _W2}
    cells |= {f"wasserstein2.values.{how}": found(result, f"wasserstein2.values.{how}") for how in _W2}
    if not result["breakpoint_roads"]:
        cells |= _of_terms(result)
    seconds = result["cost"]["cpu_seconds"]
    cells["cpu_seconds"] = sum(seconds.values())
    cells["cpu_seconds.fit"] = seconds["equations"] + seconds["kernel"]
    cells["taken_over"] = " ".join(stage for stage in _STAGES if stage in taken_over) or None
    for path in columns:
        value = found(result, path)
        cells[path] = json.dumps(value) if isinstance(value, list | dict) else value
    return cells


def _of_terms(result: Mapping[str, Any]) -> dict[str, Any]:
    cells: dict[str, Any] = {}
    for term in result["terms"]:
        cells[f"coefficient.{term['name']}"] = term["coefficient"]
        cells[f"standard_error.{term['name']}"] = term["standard_error"]
    cells |= {f"coefficient.{name}": 0.0 for name in result["dropped"]}
    for what, path in (("error", "errors.coefficients"), ("cramer_rao_ratio", "errors.cramer_rao_ratio")):
        cells |= {f"{what}.{name}": value for name, value in (found(result, path) or {}).items()}
    return cells


def table_columns(rows: Iterable[Mapping[str, Any]], varied: Sequence[str]) -> list[str]:
    """Return the columns of a table in order; terms that no run kept, and that are in no truth, have none."""
    rows = list(rows)
    names = dict.fromkeys(name for row in rows for name in row)
    kept = {name.partition(".")[2] for name in names if name.startswith(_OF_TERMS[1:])}
    head = [FIRST[0], *varied, *FIRST[1:]]
    terms = [n for n in names if n.startswith("coefficient.") and n.partition(".")[2] in kept]
    order = [name.partition(".")[2] for name in terms]
    parts = [f"{what}{name}" for name in order for what in _OF_TERMS]
    rest = [n for n in names if n not in head and not n.startswith(_OF_TERMS)]
    return [*head, *(p for p in parts if p in names), *rest]


def to_csv(rows: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> str:
    """Return the table as CSV: numbers with all their digits, nothing for what is not known."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([_cell(row.get(name)) for name in columns] for row in rows)
    return text.getvalue()


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return value
    return repr(value) if isinstance(value, int | float) else json.dumps(value)
