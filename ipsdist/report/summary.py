"""The answer of a run in a few lines of plain text, for the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ipsdist.report.terms import formulas, with_error
from ipsdist.report.verdict import evidence, judge

__all__ = ["summary_lines"]


def summary_lines(result: Mapping[str, Any]) -> list[str]:
    """Return the learnt formula with errors, sigma^2, the runner-up and the verdict (ASCII unless a name is not)."""
    verdict = judge(result)
    lines = [f"{left} = {right}" for left, right in formulas(result["terms"], plain=True)]
    if verdict.rank == 2 and result["terms"]:
        lines[0] += "   (a candidate: these data do not determine the law)"
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
