"""The few pieces of HTML that a report is made of; every text goes through `html.escape` here."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from importlib.resources import files
from string import Template
from typing import Any

from ipsdist.report.figures.style import Picture
from ipsdist.report.terms import html_name, html_number

__all__ = ["Markup", "bullets", "details", "document", "figure", "paragraph", "section", "table", "term"]


class Markup(str):
    """Text that is HTML already; any other str is escaped where it is placed."""

    __slots__ = ()


def document(title: str, header: Markup, main: Iterable[Markup], result: Mapping[str, Any]) -> str:
    """Return a page: one file with everything in it, no script, nothing loaded from elsewhere."""
    body = header + "\n<main>\n" + "\n".join(main) + "\n</main>\n"
    body += f"<footer>Written by ipsdist {escape(str(result['versions'].get('ipsdist', '')))}.</footer>"
    template = Template(files("ipsdist.report").joinpath("template/page.html").read_text(encoding="utf-8"))
    return template.substitute(title=escape(title), body=body)


def text(value: object) -> str:
    """Return a value as HTML: markup as it is, numbers in words of the report, everything else escaped."""
    return value if isinstance(value, Markup) else html_number(value)


def term(name: str) -> Markup:
    """Return the name of a term with superscripts."""
    return Markup(html_name(name))


def paragraph(content: object, kind: str = "") -> Markup:
    """Return a paragraph."""
    return Markup(f"<p{_class(kind)}>{text(content)}</p>")


def bullets(items: Iterable[object]) -> Markup:
    """Return a list of items."""
    return Markup("<ul>" + "".join(f"<li>{text(item)}</li>" for item in items) + "</ul>")


def section(identity: str, heading: str, parts: Iterable[Markup], kind: str = "") -> Markup:
    """Return a section that its heading names."""
    return Markup(
        f'<section id="{identity}"{_class(kind)} aria-labelledby="{identity}-h">\n'
        f'<h2 id="{identity}-h">{escape(heading)}</h2>\n' + "\n".join(parts) + "\n</section>"
    )


def details(summary: str, content: Markup) -> Markup:
    """Return a part that opens on demand, without a script."""
    return Markup(f"<details><summary>{escape(summary)}</summary>\n{content}\n</details>")


def table(caption: str, columns: Sequence[object], rows: Iterable[Sequence[object]]) -> Markup:
    """Return a table whose first column heads its rows; it scrolls sideways on a narrow screen.

    A column is set flush right when every cell of it is a number or missing.
    """
    cells = [list(row) for row in rows]
    right = [bool(cells) and all(_is_number(row[k]) for row in cells) for k in range(len(columns))]
    head = "".join(
        f'<th scope="col"{_class("n" if r else "")}>{text(c)}</th>' for c, r in zip(columns, right, strict=True)
    )
    body = "\n".join(
        "<tr>"
        + "".join(
            f'<th scope="row"{_class("n" if r else "")}>{text(c)}</th>'
            if k == 0
            else f"<td{_class('n' if r else '')}>{text(c)}</td>"
            for k, (c, r) in enumerate(zip(row, right, strict=True))
        )
        + "</tr>"
        for row in cells
    )
    return Markup(
        f'<div class="scroll" role="region" aria-label="{escape(caption)}" tabindex="0">\n'
        f"<table><caption>{escape(caption)}</caption>\n"
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div>"
    )


def figure(picture: Picture) -> Markup:
    """Return a figure with its image inside the page, its description and the table of its numbers."""
    image = base64.b64encode(picture.png).decode("ascii")
    width, height = (int.from_bytes(picture.png[k : k + 4], "big") for k in (16, 20))
    numbers = details("Numbers of this figure", table(picture.title, picture.columns, picture.rows))
    return Markup(
        f'<figure id="{picture.name}">\n<h3>{escape(picture.title)}</h3>\n'
        f'<img src="data:image/png;base64,{image}" width="{width}" height="{height}" alt="{escape(picture.alt)}">\n'
        f"<figcaption>{escape(picture.caption)}\n{numbers}</figcaption>\n</figure>"
    )


def _class(kind: str) -> str:
    return f' class="{kind}"' if kind else ""


def _is_number(cell: object) -> bool:
    return cell is None or (isinstance(cell, int | float) and not isinstance(cell, bool))
