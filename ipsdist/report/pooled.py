"""The pages of a pool: pooled.json, pooled.html with its figure, and the answer in a few lines of text."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any

from ipsdist.report import sections
from ipsdist.report.figures.pooled import Curves, pooled_kernel
from ipsdist.report.figures.style import Picture, styled
from ipsdist.report.html import Markup, document, paragraph, section, table, term
from ipsdist.report.terms import formulas, html_name, html_number, in_sum, with_error
from ipsdist.report.verdict import evidence, judge
from ipsdist.storage import Place, place

__all__ = ["FILES", "Curves", "page", "schema", "summary_rows", "write_pooled"]

FILES = ("pooled.json", "pooled.html", "figures")
"""What a pool leaves in its directory."""


def schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of pooled.json, which ships with the package."""
    text = files("ipsdist.report").joinpath("schema/pooled.schema.json").read_text(encoding="utf-8")
    loaded: dict[str, Any] = json.loads(text)
    return loaded


def summary_rows(result: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return (label, text) of the learnt formula, the experiments, the runner-up, their agreement and the verdict."""
    rows = [(f"{left} =", right) for left, right in formulas(result["terms"], plain=True)]
    rows.append(("experiments", f"{len(result['experiments'])}, {result['particles']} particles in all"))
    if result["alternatives"] and result["alternatives"][0]["score_difference"] is not None:
        best = result["alternatives"][0]
        gap = best["score_difference"]
        words = f"score {abs(gap):.3g} {'worse' if gap >= 0 else 'better'} ({evidence(result['form'], gap)})"
        rows.append(("runner-up", f"{' + '.join(best['terms']) or 'no term'}; {words}"))
    test = result["consistency"]
    if test["p_value"] is not None:
        degrees = test["degrees_of_freedom"]
        rows.append(("agreement", f"chi^2 = {test['chi2']:.3g} on {degrees}, p = {test['p_value']:.2g}"))
    verdict = judge(result)
    if verdict.rank == 2 and result["terms"]:
        rows[0] = (rows[0][0], f"{rows[0][1]}   (a candidate: these data do not determine the law)")
    doubts = [("", f"  - {doubt}") for doubt in verdict.doubts if not doubt.startswith("The runner-up")]
    return [*rows, ("trust", verdict.level.lower()), *doubts]


def write_pooled(text: str, curves: Curves, out: Path | Place) -> None:
    """Write the text of pooled.json, its figure and its page into ``out``; every file appears whole or not at all."""
    result = json.loads(text)
    with styled():
        drawn = pooled_kernel(curves, [one["name"] for one in result["experiments"]])
    out = place(out)
    (out / "figures" / f"{drawn.name}.png").write_whole(drawn.png)
    # A directory's name may hold bytes that are no UTF-8; they become question marks rather than an error.
    (out / "pooled.html").write_whole(page(result, drawn).encode("utf-8", errors="replace"))
    (out / "pooled.json").write_whole(text.encode("utf-8", errors="replace"))


def page(result: Mapping[str, Any], drawn: Picture) -> str:
    """Return pooled.html."""
    main = [
        sections.verdict(result),
        _experiments(result),
        sections.figures([drawn], []),
        _terms(result),
        _repeat(result),
    ]
    title = f"One interaction law from {len(result['experiments'])} experiments"
    return document(title, _headline(result), main, result)


def _headline(result: Mapping[str, Any]) -> Markup:
    learnt = [f'<p class="formula">{left} = {right}</p>' for left, right in formulas(result["terms"])]
    if judge(result).rank == 2 and result["terms"]:
        learnt.append('<p class="facts">a candidate: these data do not determine the law</p>')
    return Markup(
        f"<header>\n<h1>One interaction law from {len(result['experiments'])} experiments</h1>\n"
        + "\n".join(learnt)
        + f'\n<p class="facts">with standard errors; positive attracts; {html_number(result["particles"])} particles '
        f"in all; {escape(result['form'])} form</p>\n</header>"
    )


def _experiments(result: Mapping[str, Any]) -> Markup:
    """Return what every experiment is and says alone, beside the pool, and whether they agree."""
    kept = result["terms"]
    columns = [
        "experiment", "particles", "replicas", "slices", Markup("<i>σ</i>²"), Markup("its own <i>φ</i>(<i>r</i>)"),
        *(Markup(f"coefficient of {html_name(t['name'])}") for t in kept), "χ²", "degrees of freedom", "p",
    ]  # fmt: skip
    rows: list[list[object]] = []
    for one in result["experiments"]:
        sigma = with_error(one["diffusion"]["value"], one["diffusion"]["standard_error"])
        kernel, own = Markup(in_sum(one["terms"], "kernel")), map(_with_error, one["pooled_terms"])
        sizes = (one["particles"], one["replicas"], one["slices"])
        rows.append([one["name"], *sizes, sigma, kernel, *own, *_test(one["consistency"])])
    whole, test = Markup(in_sum(kept, "kernel")), _test(result["consistency"])
    rows.append(["pooled", result["particles"], None, None, "", whole, *map(_with_error, kept), *test])
    parts = [table("What every experiment finds alone, and all together", columns, rows)]
    parts.append(
        paragraph(
            "The coefficients are those of the terms that the pool keeps, fitted to each experiment alone. χ² compares "
            "them with the pooled ones; p is the probability of a larger one if the law is the same in all."
        )
    )
    return section("experiments", "Experiments", parts)


def _terms(result: Mapping[str, Any]) -> Markup:
    """Return kept terms with errors, dropped ones, and the runners-up."""
    rows = [
        [term(t["name"]), t["kind"], t["coefficient"], t["standard_error"], *(t["interval95"] or (None, None))]
        for t in result["terms"]
    ]
    dropped = ", ".join(html_name(name) for name in result["dropped"]) or "none"
    columns = ["term", "kind", "coefficient", "standard error", "lower 95 %", "upper 95 %"]
    parts = [
        table("Kept terms", columns, rows),
        paragraph(Markup(f"Dropped: {dropped}.")),
        paragraph(f"Selection: best subset by {result['criterion']} on the equations of all experiments."),
    ]
    runners = [
        [
            Markup(" + ".join(html_name(name) for name in other["terms"]) or "no term"),
            other["score_difference"],
            evidence(result["form"], other["score_difference"]),
        ]
        for other in result["alternatives"]
    ]
    if runners:
        head = ["terms", "score difference", "evidence for the chosen terms"]
        parts += [Markup("<h3>Runners-up</h3>"), table("Other choices of terms, best first", head, runners)]
    return section("terms", "Terms", parts)


def _repeat(result: Mapping[str, Any]) -> Markup:
    words = ["ipsdist", "pool", *(one["directory"] for one in result["experiments"]), "--out", "again"]
    parts = [
        Markup(f"<pre>{escape(shlex.join(words))}</pre>"),
        paragraph("All digits of every number are in pooled.json."),
        table("Versions", ["package", "version"], sorted(result["versions"].items())),
    ]
    return section("repeat", "How to repeat this", parts)


def _with_error(item: Mapping[str, Any]) -> str:
    """Return a coefficient with its error; a dash where the data do not determine it."""
    return "–" if item["coefficient"] is None else with_error(item["coefficient"], item["standard_error"])


def _test(test: Mapping[str, Any]) -> list[float | int | None]:
    """Return chi^2, degrees of freedom and p as a table shows them."""
    if test["p_value"] is None:
        return [None, 0, None]
    return [float(f"{test['chi2']:.3g}"), test["degrees_of_freedom"], float(f"{test['p_value']:.2g}")]
