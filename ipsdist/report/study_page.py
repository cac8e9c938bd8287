"""study.html: the table of a study, its figures and its failures, in one file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ipsdist.report.figures.style import Picture
from ipsdist.report.html import Markup, document, figure, paragraph, section, table

__all__ = ["study_page"]


def study_page(study: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], drawn: Sequence[Picture]) -> str:
    """Return the page of a study; ``study`` is study.json, ``rows`` are those of the table."""
    failed = [row for row in rows if row["status"] != "done"]
    header = Markup(
        "<header>"
        + section(
            "study",
            f"Study {study['name']}",
            [paragraph(f"{len(rows)} runs, {len(failed)} failed.", "facts")],
        )
        + "</header>"
    )
    main = [section("summary", _title(study["summary"]), [_summary(study["summary"])])]
    if drawn:
        main.append(section("figures", "Figures", [figure(picture) for picture in drawn]))
    if failed:
        told = [(row["run"], row["error"]) for row in failed]
        main.append(section("failed", "Failed runs", [table("Why runs failed", ("run", "error"), told)]))
    return document(f"Study {study['name']}", header, main, study)


def _with_errors(entries: Sequence[Mapping[str, Any]]) -> set[str]:
    """Return what has a standard error in some entry: nothing has where every run is the only one of its kind."""
    cells = [(name, value) for entry in entries for name, value in entry.items() if isinstance(value, Mapping)]
    return {name for name, value in cells if value.get("standard_error") is not None}


def _title(entries: Sequence[Mapping[str, Any]]) -> str:
    return "Means over the seeds" if _with_errors(entries) else "Of one seed each"


def _summary(entries: Sequence[Mapping[str, Any]]) -> Markup:
    names = list(dict.fromkeys(name for entry in entries for name in entry))
    means = [n for n in names if any(isinstance(e.get(n), Mapping) and "mean" in e[n] for e in entries)]
    known = _with_errors(entries)
    columns = [c for name in names for c in ((name, "standard error") if name in known else (name,))]
    rows = []
    for entry in entries:
        cells: list[object] = []
        for name in names:
            value = entry.get(name)
            if name in means:
                both = [value["mean"], value["standard_error"]] if value else [None, None]
                cells += both if name in known else both[:1]
            else:
                cells.append(value if value is None or isinstance(value, bool | int | float | str) else str(value))
        rows.append(cells)
    return table("Mean and standard error over the seeds" if known else "One run each", columns, rows)
