"""What the directory of a run has: its stages, sizes and answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ipsdist.config import resolve
from ipsdist.report.result_json import load
from ipsdist.report.summary import summary_lines
from ipsdist.runs.directory import STORE, configured
from ipsdist.runs.order import STAGES
from ipsdist.stages.base import setup_of
from ipsdist.stages.devices import stepped_on
from ipsdist.storage import Place, Store, place

__all__ = ["info"]


def info(out: Path | Place | str) -> dict[str, Any]:
    """Return what a run directory has: its stages, sizes and answer. Raises InputError when it is no run."""
    out = place(out)
    config, store = resolve(configured(out)), Store.open(out / STORE)
    stages = {}
    for stage in STAGES:
        record = store.record(f"{stage.name}/done")
        begun = store.record(f"{stage.name}/begun")
        stages[stage.name] = "done" if record else ("begun" if begun else "missing")
    setup = setup_of(store)
    return {
        "name": config.name,
        "seed": config.run.seed,
        "stages": stages,
        "particles": setup.particles,
        "replicas": setup.replicas,
        "dimension": setup.dimension,
        "slices": setup.slices,
        "mesh_spacing": setup.spacing,
        "device": stepped_on(store),
        "bytes": store.place.size(),
        "answer": _answer(out, store),
    }


def _answer(out: Place, store: Store) -> list[str] | None:
    """Return the summary of result.json, or say that it is not of the present fit."""
    made, fit = store.record("report/done"), store.record("kernel/done")
    if fit is None or made is None or not (out / "result.json").is_file():
        return None
    if made["kernel"] != fit["fingerprint"]:
        return [f"result.json is of an earlier fit; next: ipsdist report {out}"]
    return summary_lines(load(out / "result.json"))
