"""The sections of report.html: each says one thing about a run, from result.json and the arrays beside it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from ipsdist.report.data import ReportData
from ipsdist.report.figures import Missing, Picture
from ipsdist.report.figures.coefficients import true_coefficient
from ipsdist.report.html import Markup, bullets, details, figure, paragraph, section, table, term
from ipsdist.report.terms import as_factor, formulas, html_name, number, signed, with_error
from ipsdist.report.verdict import evidence, judge

__all__ = ["cost", "errors", "figures", "headline", "repeat", "system", "terms", "verdict"]

_WORDS = {
    "dimension": "dimension d", "particles": "particles N", "replicas": "replicas", "kernel": "true kernel φ(r)",
    "cutoff": "cut-off radius", "potential": "external potential V", "diffusion": "diffusion σ²",
}  # fmt: skip


def headline(result: Mapping[str, Any], names: Sequence[tuple[str, str]]) -> Markup:
    """Return the header: the learnt formula with its errors, sigma^2, and links to the sections."""
    diffusion = result["diffusion"]
    origin = "given" if diffusion["standard_error"] is None else "learnt"
    learnt = [f'<p class="formula">{left} = {right}</p>' for left, right in formulas(result["terms"])]
    if judge(result).rank == 2 and result["terms"]:
        learnt.append('<p class="facts">a candidate: these data do not determine the law</p>')
    seen = "densities" if result["system"].get("source") == "mean_field" else "particles"
    links = "".join(f'<li><a href="#{identity}">{escape(name)}</a></li>' for identity, name in names)
    return Markup(
        f"<header>\n<h1>Interaction law learnt from {seen}: {escape(result['case'])}</h1>\n"
        + "\n".join(learnt)
        + f'\n<p class="facts">with standard errors; positive attracts; <i>σ</i>² = '
        f"{with_error(diffusion['value'], diffusion['standard_error'])} ({origin}); seed {result['seed']}</p>\n"
        f'<nav aria-label="Sections"><ul>{links}</ul></nav>\n</header>'
    )


def verdict(result: Mapping[str, Any]) -> Markup:
    """Return the box that says how far to trust the answer."""
    judged = judge(result, html_name, escape)
    level = Markup(f"<strong>{judged.level}.</strong>")
    return section(
        "trust",
        "How far to trust this",
        [paragraph(level), bullets(Markup(sentence) for sentence in (*judged.doubts, *judged.facts))],
        f"verdict rank{judged.rank}",
    )


def terms(result: Mapping[str, Any], data: ReportData) -> Markup:
    """Return kept terms with errors, dropped ones, and the runners-up."""
    again = (result.get("stability") or {}).get("terms")
    rows = []
    for kept in result["terms"]:
        low, high = kept["interval95"] or (None, None)
        row = [term(kept["name"]), kept["kind"], kept["coefficient"], kept["standard_error"], low, high]
        row += [f"{100 * again[kept['name']]:.0f} %"] if again else []
        rows.append(row if data.truth is None else [*row, true_coefficient(data.truth, kept["name"])])
    columns = ["term", "kind", "coefficient", "standard error", "lower 95 %", "upper 95 %"]
    columns += (["kept in resamples"] if again else []) + (["true"] if data.truth is not None else [])
    dropped = ", ".join(html_name(name) for name in result["dropped"]) or "none"
    parts = [table("Kept terms", columns, rows), paragraph(Markup(f"Dropped: {dropped}."))]
    selection = result["selection"].replace("_", " ")
    reason = str(result["form_reason"]).rstrip(".")
    parts.append(paragraph(f"Form: {result['form']}. {reason[:1].upper()}{reason[1:]}. Selection: {selection}."))
    runners = [
        [
            Markup(_model(other["terms"], other["coefficients"])),
            other["score_difference"],
            evidence(result["form"], other["score_difference"]),
        ]
        for other in result["alternatives"]
    ]
    if runners:
        parts += [
            Markup("<h3>Runners-up</h3>"),
            table(
                "Other choices of terms, best first",
                ["terms", "score difference", "evidence for the chosen terms"],
                runners,
            ),
        ]
    return section("terms", "Terms", parts)


def figures(drawn: Sequence[Picture], missing: Sequence[Missing]) -> Markup:
    """Return the figures, and what was left out with the reasons."""
    parts = [Markup('<div class="figures">\n' + "\n".join(figure(picture) for picture in drawn) + "\n</div>")]
    if missing:
        parts += [Markup("<h3>Figures left out</h3>"), bullets(f"{left.title}: {left.reason}" for left in missing)]
    return section("figures", "Figures", parts)


def errors(result: Mapping[str, Any], data: ReportData) -> Markup:
    """Return the errors against the truth, where it is known, and against the data."""
    found = result["errors"] or {}
    rows: list[list[object]] = []
    if found.get("kernel_relative_l2") is not None:
        rows.append(
            ["relative error of φ over the distances seen, L²(ρ)", f"{number(100 * found['kernel_relative_l2'], 3)} %"]
        )
    if found.get("support_correct") is not None:
        rows.append(["the right terms", "yes" if found["support_correct"] else "no"])
    rows += [
        [Markup(f"learnt less true coefficient of {html_name(n)}"), e]
        for n, e in (found.get("coefficients") or {}).items()
    ]
    rows += [
        [Markup(f"that of {html_name(n)} over its lowest possible standard error (Cramér–Rao)"), e]
        for n, e in (found.get("cramer_rao_ratio") or {}).items()
    ]
    parts = (
        [table("Against the truth", ["error", "value"], rows)]
        if rows
        else [paragraph("The truth is unknown, so nothing is compared with it.")]
    )
    against = []
    if data.wasserstein_values is not None and len(data.wasserstein_values):
        against.append(["W₂ of the predicted density at the last time", float(data.wasserstein_values[-1])])
    if data.wasserstein_solutions is not None:
        worst = float(data.wasserstein_solutions.max())
        against.append(["largest W₂ between the predictions of the true and the learnt kernel", worst])
    if result["data_loss"] is not None:
        against.append(["mean squared difference of the densities", result["data_loss"]])
    if against:
        parts.append(table("Prediction with the learnt kernel", ["error", "value"], against))
    if result["free_energy"]:
        parts.append(_energies(result["free_energy"]))
    return section("errors", "Errors and energies", parts)


def system(result: Mapping[str, Any]) -> Markup:
    """Return the system and how it was observed."""
    units = result.get("units") or {"length": "length", "time": "time"}
    noise = [_noise(result["noise"], units["length"], units["time"])] if result.get("noise") else []
    return section("system", "System and data", [_facts("System", result["system"]), *noise])


def _noise(noise: Mapping[str, Any], length: str, time: str) -> Markup:
    """Return what the displacements of tracks say by themselves."""

    def row(words: str, estimate: Mapping[str, Any], model: str) -> list[object]:
        return [words, with_error(estimate["value"] or 0.0, estimate["standard_error"]), model]

    rows = [
        row(f"σ² from one slice to the next ({length}²/{time})", noise["diffusion"], ""),
        row(f"σ² over long times ({length}²/{time})", noise["lasting"], "the same"),
        row(f"variance of noise in the positions ({length}²)", noise["localisation"], "0"),
        row("correlation of neighbouring displacements", noise["correlation"][0], "0"),
        row("excess kurtosis of displacements", noise["kurtosis"], "0"),
        row("scatter of the scores over what σ² says", noise["overdispersion"], "1"),
        *(row(f"mean drift along {a} ({length}/{time})", d, "") for a, d in zip("xyz", noise["drift"], strict=False)),
    ]
    caption = f"What {noise['displacements']} displacements say by themselves"
    return table(caption, ["quantity", "value", "in the model"], rows)


def cost(result: Mapping[str, Any]) -> Markup:
    """Return seconds of every stage, memory, speed, device, and the versions of what computed."""
    spent = result["cost"]
    wall, cpu = spent["wall_seconds"], spent["cpu_seconds"]
    stages = [[stage, wall.get(stage), cpu.get(stage)] for stage in dict.fromkeys([*wall, *cpu])]
    totals: list[list[object]] = []
    if spent["peak_bytes"] is not None:
        totals.append(["peak memory (MB)", round(spent["peak_bytes"] / 1e6)])
    if spent["particle_steps_per_second"] is not None:
        totals.append(["particle steps a second", float(spent["particle_steps_per_second"])])
    totals += [["device", result["device"]], ["worker processes", result["workers"]]]
    left = table("Time of every stage", ["stage", "wall seconds", "CPU seconds"], stages) + table(
        "Machine", ["quantity", "value"], totals
    )
    right = table("Versions", ["package", "version"], sorted(result["versions"].items()))
    return section(
        "cost", "Cost and versions", [Markup(f'<div class="columns"><div>{left}</div><div>{right}</div></div>')]
    )


def repeat(data: ReportData) -> Markup:
    """Return the command that repeats the run, and its run file."""
    parts = [
        paragraph("Same package versions, same family of processors: the same bits. In the folder of this report:"),
        Markup(f"<pre>{escape(data.command)}</pre>"),
    ]
    if data.config:
        parts.append(details("config.toml, the run file as resolved", Markup(f"<pre>{escape(data.config)}</pre>")))
    parts.append(paragraph("All digits of every number are in result.json."))
    return section("repeat", "How to repeat this run", parts)


def _energies(energy: Mapping[str, Any]) -> Markup:
    """Return the first and last free energies, and those of [S], which counts every pair twice."""
    rows = []
    source = energy["source_normalisation"] or {}
    for key, name in (("data", "data"), ("learnt", "learnt kernel"), ("true", "true kernel")):
        curves = [energy[key], source.get(key)]
        if curves[0]:
            rows.append([name, *(end for c in curves for end in ((c[0], c[-1]) if c else (None, None)))])
    columns = ["density", "F, first time", "F, last time", "without the ½, first", "without the ½, last"]
    return table("Free energy F, and the same without the ½ on the interaction", columns, rows)


def _facts(caption: str, facts: Mapping[str, Any]) -> Markup:
    rows = []
    for key, value in facts.items():
        absent = "unknown" if key in ("kernel", "diffusion") else "none"
        shown = json.dumps(value) if isinstance(value, dict | list | tuple) else absent if value is None else value
        rows.append([_WORDS.get(key, key.replace("_", " ")), shown])
    return table(caption, ["quantity", "value"], rows)


def _model(names: Sequence[str], coefficients: Sequence[float]) -> str:
    text = ""
    for name, value in zip(names, coefficients, strict=True):
        text += signed(text, value, f"{number(abs(value), 4)} {html_name(as_factor(name))}".rstrip())
    return text or "0"
