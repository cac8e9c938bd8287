"""report.html and figures/: the whole report of a run as files that open anywhere, without a network."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ipsdist.report import sections
from ipsdist.report.data import ReportData
from ipsdist.report.figures import FIGURE_NAMES, Missing, Picture, draw
from ipsdist.report.html import document
from ipsdist.storage import Place, place

__all__ = ["page", "write_report"]

_SECTIONS = (
    ("terms", "Terms"),
    ("figures", "Figures"),
    ("errors", "Errors and energies"),
    ("system", "System and data"),
    ("cost", "Cost and versions"),
    ("repeat", "How to repeat"),
)


def write_report(result: Mapping[str, Any], data: ReportData, out: Path | Place) -> list[Path | Place]:
    """Draw the figures of a run and write them with report.html into ``out``; return their places, the page last.

    Every file appears whole or not at all, the page after its figures. A figure of an earlier report that this one
    leaves out is removed. Raises OSError when the disk refuses.
    """
    drawn, missing = draw(result, data)
    out = place(out)
    folder, paths = out / "figures", []
    for picture in drawn:
        paths.append(folder / f"{picture.name}.png")
        paths[-1].write_whole(picture.png)
    for name in sorted(set(FIGURE_NAMES) - {picture.name for picture in drawn}):
        (folder / f"{name}.png").remove()
    paths.append(out / "report.html")
    # A file name may hold bytes that are no UTF-8; they become question marks rather than an error.
    paths[-1].write_whole(page(result, data, drawn, missing).encode("utf-8", errors="replace"))
    return [path.given for path in paths]


def page(result: Mapping[str, Any], data: ReportData, drawn: list[Picture], missing: list[Missing]) -> str:
    """Return report.html."""
    main = [
        sections.verdict(result),
        sections.terms(result, data),
        sections.figures(drawn, missing),
        sections.errors(result, data),
        sections.system(result),
        sections.cost(result),
        sections.repeat(data),
    ]
    return document(f"{result['case']}: learnt interaction law", sections.headline(result, _SECTIONS), main, result)
