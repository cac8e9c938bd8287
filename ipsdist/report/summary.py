"""The answer of a run in a few lines of plain text, for the terminal."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ipsdist.report.terms import formulas, with_error
from ipsdist.report.verdict import evidence, judge

__all__ = ["summary_lines"]


def summary_lines(result: Mapping[str, Any]) -> list[str]:
    """Return formula with errors, break points, sigma^2, runner-up and verdict (ASCII unless a name is not)."""
    verdict = judge(result)
    lines = [f"{left} = {right}" for left, right in formulas(result["terms"], plain=True)]
    if verdict.rank == 2 and result["terms"]:
        lines[0] += "   (a candidate: these data do not determine the law)"
    if result.get("breakpoints"):
        lines.append(f"break points: {'; '.join(map(_place, result['breakpoints']))}; 95 % intervals")
    diffusion = result["diffusion"]
    given = "" if diffusion["standard_error"] is not None else " (given)"
    lines.append(f"sigma^2 = {with_error(diffusion['value'], diffusion['standard_error'], plain=True)}{given}")
    if result["alternatives"] and result["alternatives"][0]["score_difference"] is not None:
        best = result["alternatives"][0]
        terms = " + ".join(best["terms"]) or "no term"
        gap = best["score_difference"]
        side = "worse" if gap >= 0 else "better"
        lines.append(f"runner-up: {terms}; score {abs(gap):.3g} {side} ({evidence(result['form'], gap)})")
    errors = result["errors"] or {}
    if errors.get("kernel_relative_l2") is not None:
        right = {True: "; the right terms", False: "; NOT the right terms", None: ""}[errors.get("support_correct")]
        lines.append(
            f"error of phi: {100 * errors['kernel_relative_l2']:.3g} % (relative L2 over the distances seen){right}"
        )
    doubts = [f"  - {doubt}" for doubt in verdict.doubts if not doubt.startswith("The runner-up")]
    return [*lines, f"trust: {verdict.level.lower()}", *doubts]


def _place(found: Mapping[str, Any]) -> str:
    """Return a break point with its interval, as many digits as the interval has a use for."""
    lower, upper = found["interval95"]
    places = max(0, 1 - math.floor(math.log10(upper - lower))) if upper > lower else 6
    return f"{found['place']:.{places}f} ({lower:.{places}f} to {upper:.{places}f})"
