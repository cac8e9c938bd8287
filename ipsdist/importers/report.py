"""What was read, in a small table for people and as plain values for programs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ipsdist.importers.survey import Survey
from ipsdist.storage import Place

__all__ = ["Imported"]

_EVEN = 1e-6
"""Spacings that differ by less than this, relatively, are even."""


@dataclass(frozen=True)
class Imported:
    """The answer of an import: where it is, what it read and from which columns."""

    out: Path | Place
    source: Path
    columns: tuple[tuple[str, str], ...]
    """(role, name in the source)."""
    survey: Survey
    lives: Mapping[str, int]
    """Births, deaths, gap_rows, gap_particles; empty when unlabelled."""
    units: tuple[str, str]
    """Of length and time."""
    lengths: tuple[float, ...] = ()
    """Lengths in which the terms of the dictionary are scaled; empty for the default ones."""

    def values(self) -> dict[str, Any]:
        """Return everything as plain values."""
        survey = self.survey
        spacing = np.diff(survey.times)
        return {
            "source": str(self.source),
            "out": str(self.out),
            "columns": dict(self.columns),
            "layout": "complete" if survey.complete else "ragged",
            "labelled": survey.labelled,
            "dimension": survey.dimension,
            "particles": survey.particles,
            "particles_per_slice": {"least": int(survey.counts.min()), "most": int(survey.counts.max())},
            "slices": len(survey.times),
            "rows": survey.rows,
            "dropped": survey.dropped,
            "times": {"first": float(survey.times[0]), "last": float(survey.times[-1]), "even": _even(spacing)},
            "spacing": {
                "least": float(spacing.min()),
                "median": float(np.median(spacing)),
                "most": float(spacing.max()),
            },
            "box": {"lower": survey.lower.tolist(), "upper": survey.upper.tolist()},
            "lives": dict(self.lives),
            "units": {"length": self.units[0], "time": self.units[1]},
            "dictionary_lengths": list(self.lengths),
        }

    def lines(self) -> list[tuple[str, str]]:
        """Return the table for people: (label, text)."""
        survey, (length, time) = self.survey, self.units
        dropped = f", {survey.dropped} left out (not finite)" if survey.dropped else ""
        lines = [
            ("read", f"{self.source} ({', '.join(f'{role} = {name}' for role, name in self.columns)})"),
            ("rows", f"{survey.rows}{dropped}"),
            ("slices", f"{len(survey.times)} from {survey.times[0]:g} to {survey.times[-1]:g} {time}"),
            ("spacing", self._spacing()),
            ("particles", self._particles()),
        ]
        if self.lives:
            gaps = f"{self.lives['gap_rows']} rows missing in {self.lives['gap_particles']} particles"
            lines += [
                ("gaps", gaps if self.lives["gap_rows"] else "none"),
                ("births", f"{self.lives['births']} particles come after the first slice"),
                ("deaths", f"{self.lives['deaths']} particles go before the last slice"),
            ]
        box = " x ".join(f"[{a:.6g}, {b:.6g}]" for a, b in zip(survey.lower, survey.upper, strict=True))
        lines.append(("box", f"{box} {length}"))
        if self.lengths:
            sizes = ", ".join(f"{value:g}" for value in self.lengths)
            lines.append(("terms", f"scaled by {sizes} {length} (dictionary.terms in config.toml)"))
        return [*lines, ("written", f"{self.out} ({self._layout()})")]

    def _spacing(self) -> str:
        spacing, unit = np.diff(self.survey.times), self.units[1]
        if _even(spacing):
            return f"{np.median(spacing):.6g} {unit}, even"
        return f"{spacing.min():.6g} to {spacing.max():.6g} {unit}, median {np.median(spacing):.6g}, uneven"

    def _particles(self) -> str:
        survey = self.survey
        least, most = int(survey.counts.min()), int(survey.counts.max())
        if survey.complete:
            return f"{survey.particles}{'' if survey.labelled else ' a slice, unlabelled'}"
        total = f"{survey.particles}, " if survey.labelled else "unlabelled, "
        return f"{total}{least} to {most} a slice"

    def _layout(self) -> str:
        if self.survey.complete:
            return "every particle at every time"
        return "ragged: the particles present at each time"


def _even(spacing: np.ndarray[Any, np.dtype[np.float64]]) -> bool:
    return bool(np.ptp(spacing) <= _EVEN * np.median(spacing))
