"""The last stage: assess, write result.json, draw the figures and the page."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ipsdist.config import RunConfig
from ipsdist.report.page import write_report
from ipsdist.report.result_json import load, to_json
from ipsdist.runs.assess import assess
from ipsdist.runs.fingerprints import text_of
from ipsdist.runs.result import report_data, result_of
from ipsdist.runtime.progress import Observer, Progress
from ipsdist.runtime.threads import single_threaded
from ipsdist.stages.kernel import load_diffusion, load_fit, load_kernel, load_used_equations
from ipsdist.storage import Place, Store

__all__ = ["complete_report", "has_report"]

_REVISION = 2
_RECORD = "report/done"


def complete_report(
    store: Store,
    config: RunConfig,
    prints: Mapping[str, str],
    workers: int,
    out: Place,
    draw: bool,
    observe: Observer,
) -> tuple[dict[str, Any], bool]:
    """Write result.json and, with ``draw``, figures and report.html; return the result and whether it was there."""
    if has_report(store, config, prints, out, draw):
        return load(out / "result.json"), True
    observe(Progress("report", 0, 1, "pages"))
    result = _write(store, config, workers, out, draw)
    store.commit(_RECORD, {"fingerprint": _fingerprint(config, prints), "kernel": prints["kernel"], "drawn": draw})
    observe(Progress("report", 1, 1, "pages"))
    return result, False


def has_report(store: Store, config: RunConfig, prints: Mapping[str, str], out: Place, draw: bool) -> bool:
    """Tell whether the report is there, with its page where ``draw`` asks for it."""
    made = store.record(_RECORD)
    files = [out / "result.json", *([out / "report.html"] if draw else [])]
    return (
        made is not None
        and made["fingerprint"] == _fingerprint(config, prints)
        and (made["drawn"] or not draw)
        and all(f.is_file() for f in files)
    )


def _fingerprint(config: RunConfig, prints: Mapping[str, str]) -> str:
    values = config.values("name", "system.kernel", "system.pieces", "system.cutoff")
    needs = {name: prints[name] for name in ("densities", "kernel")}
    return text_of({"revision": _REVISION, "keys": values, "needs": needs})


def _write(store: Store, config: RunConfig, workers: int, out: Place, draw: bool) -> dict[str, Any]:
    fit, equations, diffusion = load_fit(store), load_used_equations(store), load_diffusion(store)
    learnt = load_kernel(store, config)
    with single_threaded():
        assessment = assess(store, config, fit, learnt, equations, diffusion.value)
    text = to_json(result_of(store, config, fit, learnt, diffusion, assessment, workers))
    result: dict[str, Any] = json.loads(text)
    (out / "result.json").write_whole(text.encode())
    if draw:
        write_report(result, report_data(store, config, fit, assessment), out)
    return result
