"""The stages in order: what is missing is done, what is there is kept, and an answer stands at the end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ipsdist.config import RunConfig, resolve
from ipsdist.model.learned_kernel import LearnedKernel
from ipsdist.report.summary import summary_lines
from ipsdist.runs import directory
from ipsdist.runs.checks import check
from ipsdist.runs.fingerprints import fingerprints
from ipsdist.runs.inputs import Inputs, known_digests, read_inputs, write_inputs
from ipsdist.runs.refit import by_assembly, by_projection
from ipsdist.runs.report import complete_report
from ipsdist.runs.setup import prepare, seen_grid, with_grid
from ipsdist.runs.sharing import take_over
from ipsdist.runtime.executor import Executor, make_executor
from ipsdist.runtime.progress import Observer, Progress
from ipsdist.stages.base import Stage, complete, setup_of
from ipsdist.stages.densities import DENSITIES
from ipsdist.stages.equations import EQUATIONS
from ipsdist.stages.kernel import KERNEL, load_kernel
from ipsdist.stages.particles import PARTICLES
from ipsdist.storage import Store, locked

__all__ = ["STAGES", "Options", "Outcome", "redo", "run"]

STAGES: tuple[Stage, ...] = (PARTICLES, DENSITIES, EQUATIONS, KERNEL)
"""What a run does before its report, in order."""


@dataclass(frozen=True, repr=False)
class Outcome:
    """What a run leaves: its directory, its result (result.json), the learnt kernel, and which stages it found done."""

    out: Path | None
    """None when nothing was kept."""
    result: dict[str, Any] | None
    """None when the run stopped before the report."""
    kernel: LearnedKernel | None
    reused: tuple[str, ...]

    @property
    def summary(self) -> str:
        """What was learnt and how far to trust it, as the terminal prints it; empty before the report."""
        return "" if self.result is None else "\n".join(summary_lines(self.result))

    def __repr__(self) -> str:
        where = "nothing kept" if self.out is None else str(self.out)
        return f"<Outcome {self.kernel or 'without a kernel yet'} ({where})>"


def _silent(progress: Progress) -> None:
    """Hear nothing."""


@dataclass(frozen=True)
class Options:
    """How a run is carried out; none of it changes a bit of its answer."""

    workers: int | None = None
    """Worker processes to start on this machine; None works in this process."""
    scheduler: str | None = None
    """Address or scheduler file of a Dask cluster that runs."""
    client: Any = None
    """The caller's own ``distributed.Client``."""
    observe: Observer = field(default=_silent)
    """Called with `Progress` events."""
    draw: bool = True
    """Make figures and page."""
    donors: tuple[Path, ...] = ()
    """Directories of other runs; what they have finished of the same fingerprint is taken over, not done again."""


def run(
    config: RunConfig,
    out: Path,
    options: Options | None = None,
    *,
    upto: str = "report",
    again: str | None = None,
    inputs: Inputs | None = None,
) -> Outcome:
    """Do every stage up to ``upto`` that the directory ``out`` lacks, and the stage ``again`` even if it is there.

    ``inputs`` are arrays given instead of files.
    Raises InputError before anything is written, RunError when work fails; what was committed is kept.
    """
    options = options or Options()
    store = directory.existing(out)
    taken = None if store is None else known_digests(store, config)
    if taken is None and inputs is None:
        inputs = read_inputs(config)
    digests = taken or {} if inputs is None else inputs.digests
    prints = fingerprints(STAGES, config, digests)
    if store is None or not directory.has_run(store):
        source = inputs or store
        assert source is not None
        setup = prepare(config, source)
    else:
        directory.refuse_another(out, store, config, STAGES[0], prints[STAGES[0].name])
        setup = with_grid(store, config, inputs)
    check(config, setup)
    with make_executor(options.workers, options.scheduler, options.client) as executor:
        directory.make(out)
        with locked(out):
            store = directory.owned(out, store, setup, prints[STAGES[0].name])
            directory.write_config(out, config)
            if taken is None and inputs is not None:
                write_inputs(store, inputs)
            if again is not None:
                store.discard(again)
            return _stages(store, config, prints, executor, options, upto, out)


def _stages(
    store: Store,
    config: RunConfig,
    prints: dict[str, str],
    executor: Executor,
    options: Options,
    upto: str,
    out: Path,
) -> Outcome:
    reused = []
    for stage in STAGES:
        take_over(stage.name, store, prints[stage.name], options.donors)
        if not complete(stage, store, config, prints[stage.name], executor, options.observe):
            reused.append(stage.name)
        if stage is PARTICLES and config.grid is None:
            store.set_attributes(setup=replace(setup_of(store), grid=seen_grid(store)).to_json())
        if stage.name == upto:
            kernel = load_kernel(store, config) if upto == "kernel" else None
            return Outcome(out, None, kernel, tuple(reused))
    result, done = complete_report(store, config, prints, executor.workers, out, options.draw, options.observe)
    kernel = load_kernel(store, config)
    return Outcome(out, result, kernel, (*reused, "report") if done else tuple(reused))


def redo(out: Path, stage: str, sets: Sequence[str] = (), options: Options | None = None) -> Outcome:
    """Do one stage of an existing run again, with changed keys of that or later stages where ``sets`` gives some.

    Stages before it are completed when they are missing.
    """
    before = directory.configured(out)
    earlier, config = resolve(before), resolve(before, sets)
    config = by_projection(out, earlier, config) if stage == KERNEL.name else by_assembly(earlier, config)
    return run(config, out, options, upto=stage, again=stage)
