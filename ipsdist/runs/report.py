"""The last stage: assess, write result.json, draw the figures and the page."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ipsdist.config import RunConfig
from ipsdist.model.learned_kernel import LearnedKernel
from ipsdist.report.page import write_report
from ipsdist.report.result_json import to_json
from ipsdist.runs.assess import assess
from ipsdist.runs.result import report_data, result_of
from ipsdist.runtime.threads import single_threaded
from ipsdist.stages.equations import load_diffusion, load_equations
from ipsdist.stages.kernel import load_fit
from ipsdist.storage import Store

__all__ = ["report_stage"]


def report_stage(
    store: Store, config: RunConfig, workers: int, out: Path, draw: bool = True
) -> tuple[dict[str, Any], LearnedKernel]:
    """Write result.json, and with ``draw`` figures and report.html, into ``out``; return the result and the kernel."""
    fit, equations, diffusion = load_fit(store), load_equations(store), load_diffusion(store)
    learnt = LearnedKernel.from_fit(fit, config.terms())
    with single_threaded():
        assessment = assess(store, config, fit, learnt, equations, diffusion.value)
    text = to_json(result_of(store, config, fit, learnt, diffusion, assessment, workers))
    result: dict[str, Any] = json.loads(text)
    temporary = out / ".result.json.part"
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(out / "result.json")
    if draw:
        write_report(result, report_data(store, config, fit, assessment), out)
    return result, learnt
