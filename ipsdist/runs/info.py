"""What the directory of a run has: its stages, sizes and answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ipsdist.config import resolve
from ipsdist.report.result_json import load
from ipsdist.report.summary import summary_lines
from ipsdist.runs.directory import STORE, configured, has_run
from ipsdist.runs.reached import Reached, reached
from ipsdist.runs.setup import prepare
from ipsdist.stages.base import setup_of
from ipsdist.stages.devices import stepped_on
from ipsdist.stages.replica import stepping_on
from ipsdist.storage import Place, Store, place

__all__ = ["info"]


def info(out: Path | Place | str) -> dict[str, Any]:
    """Return what a run directory has: its stages, sizes and answer. Raises InputError when it is no run."""
    out = place(out)
    config, store = resolve(configured(out)), Store.open(out / STORE)
    # After an import nothing is known yet but the tracks.
    setup = setup_of(store) if has_run(store) else prepare(config, store)
    found = reached(store, config, setup)
    return {
        "name": config.name,
        "seed": config.run.seed,
        "stages": {one.stage: one.state for one in found},
        "progress": {one.stage: _progress(store, one) for one in found},
        "particles": setup.particles,
        "replicas": setup.replicas,
        "dimension": setup.dimension,
        "slices": setup.slices,
        "mesh_spacing": setup.spacing,
        "device": stepped_on(store) or stepping_on(store, setup.replicas),
        "bytes": store.place.size(),
        "answer": _answer(out, store),
    }


def _progress(store: Store, one: Reached) -> dict[str, Any]:
    """Return how far a stage is, and what it has in the store."""
    found: dict[str, Any] = {"tasks_done": one.tasks_done, "tasks": one.tasks, "reached": one.text}
    if one.replica_steps:
        found |= {"replica_steps": list(one.replica_steps), "steps": one.steps}
    return {**found, "bytes": (store.place / one.stage).size()}


def _answer(out: Place, store: Store) -> list[str] | None:
    """Return the summary of result.json, or say that it is not of the present fit."""
    made, fit = store.record("report/done"), store.record("kernel/done")
    if fit is None or made is None or not (out / "result.json").is_file():
        return None
    if made["kernel"] != fit["fingerprint"]:
        return [f"result.json is of an earlier fit; next: ipsdist report {out}"]
    return summary_lines(load(out / "result.json"))
