"""The answer of a command: small aligned tables of plain text, or JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ipsdist.runs import Outcome

__all__ = ["flat", "info_rows", "print_json", "print_outcome", "print_table", "printable"]


def print_outcome(outcome: Outcome, stage: str, *, quiet: bool = False) -> None:
    """Say what a run, or one of its stages, learnt and where it is; unless ``quiet``, what was kept and comes next."""
    rows: list[tuple[str, str]] = []
    if outcome.result is not None:
        from ipsdist.report.summary import summary_lines

        rows += [_split(line) for line in summary_lines(outcome.result)]
        if outcome.out is not None:
            rows.append(("report", str(outcome.out / "report.html")))
    else:
        if outcome.kernel is not None:
            rows.append(("phi(r) =", str(outcome.kernel)))
        rows.append((stage, f"done in {outcome.out}"))
        if not quiet:
            rows.append(("next", f"ipsdist report {outcome.out}"))
    if outcome.reused and not quiet:
        rows.append(("kept", f"{', '.join(outcome.reused)} (done before)"))
    print_table(rows)


def print_table(rows: Iterable[tuple[str, str]]) -> None:
    """Print label and text in two columns; a text without label as a line of its own."""
    rows = [(printable(label), printable(text)) for label, text in rows]
    width = max((len(label) for label, _ in rows), default=0)
    for label, text in rows:
        print(f"{label:<{width}}  {text}" if label else text)


def print_json(value: object) -> None:
    """Print a value as JSON, nothing rounded."""
    json.dump(value, sys.stdout, indent=2, default=_plain)
    print()


def info_rows(found: Mapping[str, Any], directory: str) -> Iterator[tuple[str, str]]:
    """Yield what `ipsdist info` found as (label, text): how far every stage is; nothing of what is not known."""
    from ipsdist.model.words import size

    for key, value in found.items():
        if key == "stages":
            for stage, state in value.items():
                own = found["progress"][stage]
                held = size(own["bytes"]) if own["bytes"] else ""
                yield f"stages.{stage}", ", ".join(part for part in (state, own["reached"], held) if part)
        elif key != "progress" and value is not None:
            yield from flat({key: value})
    if any(state != "done" for state in found["stages"].values()):
        yield "next", f"ipsdist report {directory} (does what is missing)"


def flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield the leaves of nested tables as (dotted key, text); a list of texts as lines under its key."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{key}.")
        elif isinstance(value, list) and value and all(isinstance(line, str) for line in value):
            yield f"{prefix}{key}", value[0]
            yield from ((" ", line) for line in value[1:])
        else:
            yield f"{prefix}{key}", value if isinstance(value, str) else json.dumps(value, default=_plain)


def printable(text: str) -> str:
    """Return one line without control characters: texts come from files, and a terminal obeys."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def _split(line: str) -> tuple[str, str]:
    """Part a line of the summary at its first ``=`` or colon; remarks (indented) stay whole."""
    if line.startswith(" "):
        return "", line
    equals, colon = line.find(" = "), line.find(": ")
    if equals >= 0 and not 0 <= colon < equals:
        return line[: equals + 2], line[equals + 3 :]
    return (line[:colon], line[colon + 2 :]) if colon >= 0 else ("", line)


def _plain(value: object) -> Any:
    if isinstance(value, Path):
        return str(value)
    tolist = getattr(value, "tolist", None)
    if tolist is None:
        raise TypeError(f"no JSON for {type(value).__name__}")
    return tolist()
