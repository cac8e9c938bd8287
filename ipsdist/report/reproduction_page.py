"""docs/REPRODUCTION.md: the published numbers beside ours, and the figures with what they show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Drawing", "Figure", "Part", "reproduction_page"]

_HEAD = """\
# Reproduction of Shi, Yang, Hong 2025, section 4

Written by `{command}`; every number of it comes from the runs below, none was typed in but those published.
Made with {versions}.

*ours* is the mean over the seeds; *standard error* is what a run states for itself (a mean over the runs; of a rate,
that of the fit); *RMSE* is the root mean square error over the seeds; *ratio* is the published error over our RMSE:
above 1, ours is smaller.
A published value is one draw, so its error is one draw too, and may be small by luck.
"""
_QUICK = """
This is the quick form: one seed of each run. RMSE is then one error. `ipsdist reproduce` does all seeds.
"""


@dataclass(frozen=True)
class Figure:
    """One number: published, and ours over ``count`` runs."""

    what: str
    published: float | str
    truth: float | None
    published_error: float | None
    ours: float | None
    standard_error: float | None
    rmse: float | None
    count: int

    @property
    def ratio(self) -> float | None:
        """The published error over ours; None where there is no truth."""
        if self.published_error is None or not self.rmse:
            return None
        return self.published_error / self.rmse


@dataclass(frozen=True)
class Drawing:
    """One figure: its file beside the page, what it shows, and where it was drawn."""

    file: str
    text: str
    source: Path | None
    """None where no run drew it."""


@dataclass(frozen=True)
class Part:
    """One table or figure of [S], done by one study."""

    study: str
    heading: str
    text: str
    seeds: int
    runs: int
    failed: int
    figures: tuple[Figure, ...]
    drawings: tuple[Drawing, ...]
    why: str
    """Where we differ, and why; empty for nowhere."""


def reproduction_page(parts: Sequence[Part], versions: Mapping[str, str], *, quick: bool, whole: bool) -> str:
    """Return the page in Markdown."""
    command = "ipsdist reproduce" + (" --quick" if quick else "") + ("" if whole else " --only ...")
    told = ", ".join(f"{name} {version}" for name, version in versions.items())
    text = [_HEAD.format(command=command, versions=told)]
    if quick:
        text.append(_QUICK)
    text += [_section(part) for part in parts]
    return "\n".join(text)


def _section(part: Part) -> str:
    seeds = f"{part.seeds} seed{'' if part.seeds == 1 else 's'}"
    failed = f", {part.failed} failed" if part.failed else ""
    lines = [f"## {part.heading}", "", part.text.strip(), ""]
    lines += [f"Study `{part.study}`: {part.runs} run{'' if part.runs == 1 else 's'}, {seeds}{failed}.", ""]
    if part.figures:
        lines += [_row("", "truth", "[S]", "ours", "standard error", "runs", "error of [S]", "our RMSE", "ratio")]
        lines += [_row(*["---"] * 9)]
        lines += [_number_row(figure) for figure in part.figures] + [""]
    for drawing in part.drawings:
        if drawing.source is None:
            lines += [f"({drawing.text} Not drawn: no run has it.)", ""]
        else:
            lines += [f"![{drawing.text}]({drawing.file})", "", drawing.text, ""]
    if part.why:
        lines += [f"**Where we differ.** {part.why.strip()}", ""]
    return "\n".join(lines)


def _number_row(figure: Figure) -> str:
    return _row(
        figure.what,
        _short(figure.truth),
        figure.published if isinstance(figure.published, str) else f"{figure.published:g}",
        _long(figure.ours, figure.standard_error),
        _short(figure.standard_error),
        str(figure.count),
        _short(figure.published_error),
        _short(figure.rmse),
        _short(figure.ratio),
    )


def _row(*cells: str) -> str:
    return "| " + " | ".join(cells) + " |"


def _short(value: float | None) -> str:
    return "" if value is None else f"{value:.2g}" if value and abs(value) < 100 else f"{value:g}"


def _long(value: float | None, error: float | None) -> str:
    """Return the value with a digit beyond those of its error."""
    if value is None:
        return ""
    return f"{value:.4g}" if error is None or abs(value) < 10 * error else f"{value:.5g}"
