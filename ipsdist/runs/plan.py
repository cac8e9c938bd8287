"""What a run will cost before it is started, and what a directory has."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ipsdist.config import RunConfig, resolve
from ipsdist.model.errors import InputError
from ipsdist.model.setup import Setup
from ipsdist.numerics.equations.block_rule import gram_slices
from ipsdist.report.result_json import load
from ipsdist.report.summary import summary_lines
from ipsdist.runs.directory import CONFIG, STORE
from ipsdist.runs.inputs import read_inputs
from ipsdist.runs.pipeline import STAGES
from ipsdist.runs.setup import prepare
from ipsdist.stages.base import setup_of
from ipsdist.stages.blocks import slice_bytes
from ipsdist.stages.continuum import solving_bytes
from ipsdist.stages.equations import FUNCTIONS
from ipsdist.stages.radial import has_radial
from ipsdist.stages.tracks import keeps_positions
from ipsdist.storage import Store

__all__ = ["Plan", "PlanRow", "info", "plan"]

_NANOSECONDS = {1: 7.0, 2: 20.0, 3: 60.0}
"""A particle-step on one core of 2025 (benchmarks/step.py), force mesh and deposits included."""
_STEP_SECONDS = 1e-4
_SLICE_SECONDS = {1: 2e-3, 2: 2e-2, 3: 0.5}
_FIXED_SECONDS = 5.0
_SOLVING_SECONDS = {1: 2.0, 2: 15.0}
"""To solve the mean-field equation, on cells that are usual."""


@dataclass(frozen=True)
class PlanRow:
    """One stage: its tasks, the memory of the largest one, and what it leaves in the store."""

    stage: str
    tasks: int
    bytes_per_task: int
    store_bytes: int


@dataclass(frozen=True)
class Plan:
    """The tasks of a run with their bytes, and a rough number of seconds on one core."""

    rows: tuple[PlanRow, ...]
    seconds: float

    def text(self) -> str:
        """Return a table for people."""
        lines = [f"{'stage':12} {'tasks':>6} {'memory a task':>14} {'in the store':>13}"]
        lines += [
            f"{row.stage:12} {row.tasks:6} {_size(row.bytes_per_task):>14} {_size(row.store_bytes):>13}"
            for row in self.rows
        ]
        total = sum(row.store_bytes for row in self.rows)
        return "\n".join([*lines, f"store about {_size(total)}; about {_duration(self.seconds)} on one core"])


def plan(config: RunConfig) -> Plan:
    """Return the plan of a run; raises InputError for what the run itself would refuse. Nothing is written."""
    setup = prepare(config, read_inputs(config))
    sizes = _store_bytes(config, setup)
    rows = []
    for stage in STAGES:
        tasks = stage.tasks(config, setup, "", "")
        rows.append(
            PlanRow(stage.name, max(1, len(tasks)), max((t.bytes for t in tasks), default=0), sizes[stage.name])
        )
    return Plan(tuple(rows), _seconds(config, setup))


def _store_bytes(config: RunConfig, setup: Setup) -> dict[str, int]:
    """Upper bounds: integers on the mesh compress to a fraction."""
    d, slices, replicas = setup.dimension, setup.slices, setup.replicas
    grid, per_slice = setup.grid, slice_bytes(setup)
    kept = 2 + len(config.time.positions_at)
    terms = len(config.assembled()) + len(config.unknowns().fields)
    functions = FUNCTIONS if has_radial(config, setup) else 0
    radial = len(gram_slices(slices)) * functions**2 + 3 * slices * functions
    positions = (kept + (slices if keeps_positions(config, setup) else 0)) * 8 * d * setup.particles
    if config.data.source == "mean_field":
        positions = solving_bytes(setup)
    return {
        "particles": replicas * (slices * per_slice + positions),
        "densities": 8 * slices * math.prod(n + 1 for n in grid.cells),
        "equations": 8 * replicas * (slices * (terms * terms + 3 * terms) + radial),
        "kernel": 8 * terms * terms,
    }


def _seconds(config: RunConfig, setup: Setup) -> float:
    d, slices = setup.dimension, setup.replicas * setup.slices
    seconds = _FIXED_SECONDS + slices * _SLICE_SECONDS[d]
    if config.data.source == "import":
        return seconds
    if config.data.source == "mean_field":
        return seconds + _SOLVING_SECONDS[d]
    steps = config.times().steps * setup.replicas
    return seconds + steps * (_STEP_SECONDS + 1e-9 * _NANOSECONDS[d] * setup.particles)


def info(out: Path | str) -> dict[str, Any]:
    """Return what a run directory has: its stages, sizes and answer. Raises InputError when it is no run."""
    out = Path(out)
    if not (out / CONFIG).exists():
        raise InputError("DIR", "must be the directory of a run", out, "start one with `ipsdist run CASE --out DIR`")
    config, store = resolve(out / CONFIG), Store.open(out / STORE)
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
        "bytes": sum(f.stat().st_size for f in (out / STORE).rglob("*") if f.is_file()),
        "answer": _answer(out, store),
    }


def _answer(out: Path, store: Store) -> list[str] | None:
    """Return the summary of result.json, or say that it is not of the present fit."""
    made, fit = store.record("report/done"), store.record("kernel/done")
    if fit is None or made is None or not (out / "result.json").exists():
        return None
    if made["kernel"] != fit["fingerprint"]:
        return [f"result.json is of an earlier fit; next: ipsdist report {out}"]
    return summary_lines(load(out / "result.json"))


def _size(count: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
