"""The stages in order: what is missing is done, what is there is kept, and an answer stands at the end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ipsdist.config import RunConfig, resolve
from ipsdist.model.errors import InputError
from ipsdist.model.learned_kernel import LearnedKernel
from ipsdist.runs.directory import CONFIG, STORE, open_run, write_config
from ipsdist.runs.fingerprints import fingerprints
from ipsdist.runs.report import report_stage
from ipsdist.runs.setup import Inputs, prepare, read_inputs, with_grid, write_inputs
from ipsdist.runtime.executor import Executor, make_executor
from ipsdist.runtime.progress import Observer, Progress
from ipsdist.stages.base import complete
from ipsdist.stages.densities import DENSITIES
from ipsdist.stages.equations import EQUATIONS
from ipsdist.stages.kernel import KERNEL, load_fit
from ipsdist.stages.particles import PARTICLES
from ipsdist.storage import Store, locked

__all__ = ["Outcome", "redo", "run"]

STAGES = (PARTICLES, DENSITIES, EQUATIONS, KERNEL)
"""What a run does before its report, in order."""


@dataclass(frozen=True)
class Outcome:
    """What a run leaves: its directory, its result (result.json), the learnt kernel, and which stages it found done."""

    out: Path
    result: dict[str, Any] | None
    """None when the run stopped before the report."""
    kernel: LearnedKernel | None
    reused: tuple[str, ...]


def run(
    config: RunConfig,
    out: Path | str,
    *,
    workers: int | None = None,
    scheduler: str | None = None,
    client: Any = None,
    observe: Observer | None = None,
    upto: str = "report",
    inputs: Inputs | None = None,
    draw: bool = True,
) -> Outcome:
    """Do every stage up to ``upto`` that the directory ``out`` lacks.

    ``inputs`` are arrays given instead of files; without ``draw`` no figures and no page are made.
    Raises InputError before anything is written, RunError when work fails; what was committed is kept.
    """
    out, observe = Path(out), observe or _silent
    inputs = inputs or read_inputs(config)
    prints = fingerprints(STAGES, config, dict(inputs.digests))
    store = open_run(out, config, STAGES[0], prints[STAGES[0].name])
    setup = prepare(config, inputs) if store is None else with_grid(store.attributes["setup"], config)
    with make_executor(workers, scheduler, client) as executor:
        out.mkdir(parents=True, exist_ok=True)
        with locked(out):
            store = store or Store.create(out / STORE, {"setup": setup})
            write_config(out, config)
            if setup != store.attributes["setup"]:
                store.set_attributes(setup=setup)
            if store.record("input/done") is None:
                write_inputs(store, inputs)
                store.commit("input/done", dict(inputs.digests))
            return _stages(store, config, prints, executor, observe, upto, out, draw)


def _stages(
    store: Store,
    config: RunConfig,
    prints: dict[str, str],
    executor: Executor,
    observe: Observer,
    upto: str,
    out: Path,
    draw: bool,
) -> Outcome:
    reused = []
    for stage in STAGES:
        if not complete(stage, store, config, prints[stage.name], executor, observe):
            reused.append(stage.name)
        if stage.name == upto:
            kernel = LearnedKernel.from_fit(load_fit(store), config.terms()) if upto == "kernel" else None
            return Outcome(out, None, kernel, tuple(reused))
    observe(Progress("report", 0, 1, "pages"))
    result, kernel = report_stage(store, config, executor.workers, out, draw)
    observe(Progress("report", 1, 1, "pages"))
    return Outcome(out, result, kernel, tuple(reused))


def redo(out: Path | str, stage: str, sets: Sequence[str] = (), **options: Any) -> Outcome:
    """Do one stage of an existing run again, with changed keys of that or later stages where ``sets`` gives some.

    Stages before it are completed when they are missing; ``options`` are those of `run`.
    """
    out = Path(out)
    if not (out / CONFIG).exists():
        raise InputError("DIR", "must be the directory of a run", out, "start one with `ipsdist run CASE --out DIR`")
    config = resolve(out / CONFIG, sets)
    if stage != "report":
        store = open_run(
            out, config, STAGES[0], fingerprints(STAGES, config, dict(read_inputs(config).digests))[STAGES[0].name]
        )
        if store is not None:
            with locked(out):
                store.discard(stage)
    return run(config, out, upto=stage, **options)


def _silent(progress: Progress) -> None:
    """Hear nothing."""
