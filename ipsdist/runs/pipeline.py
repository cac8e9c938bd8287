"""The stages in order: what is missing is done, what is there is kept, and an answer stands at the end."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from ipsdist.config import RunConfig, resolve
from ipsdist.model.errors import InputError, RunError
from ipsdist.model.learned_kernel import LearnedKernel
from ipsdist.report.summary import summary_lines
from ipsdist.runs import directory
from ipsdist.runs.beforehand import foresee, lacking
from ipsdist.runs.checks import check
from ipsdist.runs.fingerprints import fingerprints
from ipsdist.runs.inputs import Inputs, known_digests, read_inputs, write_inputs
from ipsdist.runs.mending import mended
from ipsdist.runs.order import STAGES
from ipsdist.runs.probe import first_missing, probe
from ipsdist.runs.reached import Reached, reached
from ipsdist.runs.refit import by_assembly, by_projection
from ipsdist.runs.report import complete_report, has_report
from ipsdist.runs.setup import prepare, seen_grid, with_grid
from ipsdist.runs.sharing import take_over
from ipsdist.runtime.executor import Executor, make_executor
from ipsdist.runtime.progress import Observer, Progress
from ipsdist.stages.base import complete, setup_of
from ipsdist.stages.kernel import KERNEL, load_kernel
from ipsdist.stages.particles import PARTICLES
from ipsdist.storage import DamagedError, Place, Store, locked, place

__all__ = ["Options", "Outcome", "finished", "redo", "run"]


@dataclass(frozen=True, repr=False)
class Outcome:
    """What a run leaves: its directory, its result (result.json), the learnt kernel, and which stages it found done."""

    out: Path | Place | None
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


def _silent(said: Progress | str) -> None:
    """Hear nothing."""


@dataclass(frozen=True)
class Options:
    """How a run is carried out; none of it changes a bit of its answer."""

    workers: int | None = None
    """Worker processes to start on this machine, or workers of ``cluster``; None works in this process."""
    cluster: str | None = None
    """Name of a cluster to start: local, slurm, mpi, kubernetes, cuda (docs/clusters.md)."""
    scheduler: str | None = None
    """Address or scheduler file of a Dask cluster that runs."""
    client: Any = None
    """The caller's own ``distributed.Client``."""
    performance_report: Path | str | None = None
    """HTML file for Dask's report of what the cluster did."""
    observe: Observer = field(default=_silent)
    """Called with `Progress` events."""
    tell: Callable[[str], None] = field(default=_silent)
    """Called with lines of text for the user, such as where the dashboard is."""
    draw: bool = True
    """Make figures and page."""
    donors: tuple[Path | Place, ...] = ()
    """Directories of other runs; what they have finished of the same fingerprint is taken over, not done again."""

    def executor(self, idle: bool = False) -> Executor:
        """Return what carries out the work; with ``idle``, where nothing is left to do, nothing is started.

        Raises InputError for choices that contradict each other, or a cluster that cannot be used.
        """
        report = None if self.performance_report is None else Path(self.performance_report)
        return make_executor(self.workers, self.scheduler, self.client, self.cluster, report, self.tell, idle)


def run(
    config: RunConfig,
    out: Path | Place | str,
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
    options, out = options or Options(), place(out)
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
    lacks = lacking(store, prints, upto, again)
    found = _found(store, config, prints)
    with options.executor(idle=not lacks) as executor:
        foresee(config, setup, lacks, executor, out, options.tell, report=upto == "report", found=found, again=again)
        missing = first_missing(out)
        directory.make(out)
        with locked(out) as held:
            options = replace(options, observe=_guarded(options.observe, held))
            probe(executor, out, missing)
            store = directory.owned(out, store, setup, prints[STAGES[0].name])
            directory.write_config(out, config)
            if taken is None and inputs is not None:
                write_inputs(store, inputs)
            if again is not None:
                store.discard(again)
            work = partial(_stages, store, config, prints, executor, options, upto, out)
            return mended(work, store, config, [stage.name for stage in STAGES], options.tell)


def _found(store: Store | None, config: RunConfig, prints: dict[str, str]) -> tuple[Reached, ...]:
    """Return how far a run is that goes on; nothing where there is none, or where what is damaged has to be mended."""
    if store is None or not directory.has_run(store):
        return ()
    with contextlib.suppress(DamagedError):
        return reached(store, config, setup_of(store), prints)
    return ()


def _guarded(observe: Observer, held: Callable[[], None]) -> Observer:
    """Stop the work as soon as the lock of its directory is lost."""

    def told(progress: Progress) -> None:
        held()
        observe(progress)

    return told


def _stages(
    store: Store,
    config: RunConfig,
    prints: dict[str, str],
    executor: Executor,
    options: Options,
    upto: str,
    out: Place,
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
            return Outcome(out.given, None, kernel, tuple(reused))
    result, done = complete_report(store, config, prints, executor.workers, out, options.draw, options.observe)
    kernel = load_kernel(store, config)
    return Outcome(out.given, result, kernel, (*reused, "report") if done else tuple(reused))


def finished(config: RunConfig, out: Path | Place | str, draw: bool) -> bool:
    """Tell whether a run has nothing left to do in ``out``. Nothing is written; what cannot be read is not finished."""
    out = place(out)
    try:
        store = directory.existing(out) if directory.has_store(out) else None
        taken = None if store is None else known_digests(store, config)
        if store is None or taken is None:
            return False
        prints = fingerprints(STAGES, config, taken)
        return not lacking(store, prints, "report", None) and has_report(store, config, prints, out, draw)
    except (InputError, RunError, OSError):
        return False


def redo(out: Path | Place | str, stage: str, sets: Sequence[str] = (), options: Options | None = None) -> Outcome:
    """Do one stage of an existing run again, with changed keys of that or later stages where ``sets`` gives some.

    Stages before it are completed when they are missing.
    """
    out = place(out)
    before = directory.configured(out)
    earlier, config = resolve(before), resolve(before, sets)
    config = by_projection(out, earlier, config) if stage == KERNEL.name else by_assembly(earlier, config)
    return run(config, out, options, upto=stage, again=stage)
