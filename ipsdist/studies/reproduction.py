"""Reproduction of [S], section 4: every table and figure by a given study, beside what was published."""

from __future__ import annotations

import math
import statistics
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any

from ipsdist.model.errors import InputError
from ipsdist.report.reproduction_page import Drawing, Figure, Part, reproduction_page
from ipsdist.runs.pipeline import Options
from ipsdist.runs.rows import versions
from ipsdist.runtime.progress import Progress
from ipsdist.storage import is_url, write_whole
from ipsdist.studies.paths import number
from ipsdist.studies.study import Study, study

__all__ = ["Reproduction", "parts_of_source", "reproduce"]

_PACKAGES = ("ipsdist", "numpy", "scipy", "numba", "jax", "POT")


def parts_of_source() -> list[dict[str, Any]]:
    """Return what is reproduced, in the order of the page: study, heading, text, published numbers, figures."""
    text = resources.files("ipsdist.studies").joinpath("reproduction.toml").read_text(encoding="utf-8")
    return list(tomllib.loads(text)["part"])


@dataclass(frozen=True)
class Reproduction:
    """What a reproduction leaves."""

    page: Path
    parts: tuple[Part, ...]
    failed: tuple[str, ...]
    """Runs that failed, as study/run."""


def reproduce(
    out: Path | str = "reproduction",
    page: Path | str | None = None,
    *,
    quick: bool = False,
    only: Sequence[str] | None = None,
    options: Options | None = None,
) -> Reproduction:
    """Do every study of [S]'s tables and figures that ``out`` lacks, and write the page about them.

    Parameters
    ----------
    out : directory of the studies, one below it each; a reproduction that was stopped goes on there.
    page : the Markdown file, by default docs/REPRODUCTION.md where there is a docs, else REPRODUCTION.md in ``out``;
        its figures go into the directory ``reproduction`` beside it.
    quick : one seed each instead of several; the page says so. More seeds later go on from there.
    only : names of the studies that are done and shown; all by default.

    Raises InputError for unknown names, before anything is written.
    """
    if is_url(out):
        raise InputError("--out", "must be a directory of this machine", out, "its studies alone may be elsewhere")
    out, options = Path(out), options or Options()
    chosen = _chosen(only)
    target = Path(page) if page is not None else _default_page(out)
    told = options.observe
    parts: list[Part] = []
    failed: list[str] = []
    for place, part in enumerate(chosen):
        seeds = range(1 if quick else int(part.get("seeds", 5)))
        observe = _within(told, place, len(chosen), part.get("name", part["study"]))
        name = part.get("name", part["study"])
        done = study(part["study"], out / name, seeds=tuple(seeds), options=replace(options, observe=observe))
        failed += [f"{part['study']}/{row['run']}" for row in done.failed]
        parts.append(_part(part, done))
    text = reproduction_page(parts, versions(_PACKAGES), quick=quick, whole=not only)
    _write(target, text, parts)
    return Reproduction(target, tuple(parts), tuple(failed))


def _chosen(only: Sequence[str] | None) -> list[dict[str, Any]]:
    parts = parts_of_source()
    names = [part["study"] for part in parts]
    for name in only or ():
        if name not in names:
            rule, fix = "must be studies of the reproduction", f"they are {', '.join(names)}"
            raise InputError("--only", rule, repr(name), fix)
    return [part for part in parts if not only or part["study"] in only]


def _default_page(out: Path) -> Path:
    return Path("docs/REPRODUCTION.md") if Path("docs").is_dir() else out / "REPRODUCTION.md"


def _within(observe: Any, place: int, count: int, name: str) -> Any:
    """Show the progress of one study as that of the whole."""

    def told(progress: Progress) -> None:
        share = progress.done / progress.total if progress.total else 1.0
        observe(Progress(f"{name} ({place + 1} of {count})", share * 100.0, 100.0, "%"))

    return told


def _part(part: Mapping[str, Any], done: Study) -> Part:
    """Return the numbers and figures of one study."""
    rows = [row for row in done.rows if row["status"] == "done"]
    return Part(
        study=part.get("name", part["study"]),
        heading=part["heading"],
        text=part["text"],
        seeds=len({row["seed"] for row in rows}),
        runs=len(rows),
        failed=len(done.failed),
        figures=tuple(_number(n, rows, done) for n in part.get("number", ())),
        drawings=tuple(_drawing(d, done) for d in part.get("drawing", ())),
        why=part.get("why", ""),
    )


def _number(asked: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], done: Study) -> Figure:
    """Return one published number beside ours: a column of the table over seeds, or a fitted rate."""
    published, truth = asked["published"], asked.get("truth")
    theirs = None if truth is None or isinstance(published, str) else abs(published - truth)
    own = [row for row in rows if all(row.get(k) == v for k, v in asked.get("where", {}).items())]
    values = [v for row in own if (v := number(row.get(str(asked.get("column", ""))))) is not None]
    errors = [v for row in own if (v := number(row.get(str(asked.get("error", ""))))) is not None]
    ours = statistics.fmean(values) if values else None
    error = statistics.fmean(errors) if errors else None
    if "rate" in asked:
        rate = done.rates.get(asked["rate"], {}).get(asked.get("series", ""))
        ours, error = (None, None) if rate is None else (rate["slope"], rate["standard_error"])
    return Figure(
        what=asked["what"],
        published=published,
        truth=truth,
        published_error=theirs,
        ours=ours,
        standard_error=error,
        rmse=None if truth is None or not values else math.sqrt(statistics.fmean((v - truth) ** 2 for v in values)),
        count=len(rows) if "rate" in asked else len(values),
    )


def _drawing(asked: Mapping[str, Any], done: Study) -> Drawing:
    """Return a figure of the study, or of its first run that fits; None for its file where there is none."""
    folder = Path(str(done.out))
    if "run" in asked:
        fits = [r for r in done.rows if r["status"] == "done" and all(r.get(k) == v for k, v in asked["run"].items())]
        folder = done.out / "runs" / fits[0]["run"] / "figures" if fits else folder / "none"
    source = folder / f"{asked['name']}.png"
    stem = f"{done.out.name}_{asked['name']}"
    suffix = asked.get("as", "")
    return Drawing(
        f"reproduction/{stem}{'_' + suffix if suffix else ''}.png", asked["text"], source if source.exists() else None
    )


def _write(page: Path, text: str, parts: Sequence[Part]) -> None:
    folder = page.parent / "reproduction"
    folder.mkdir(parents=True, exist_ok=True)
    for part in parts:
        for drawing in part.drawings:
            if drawing.source is not None:
                write_whole(page.parent / drawing.file, drawing.source.read_bytes())
    write_whole(page, text.encode())
