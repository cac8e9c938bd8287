"""A stage as a value, and the one loop that completes any of them: what is missing is done, what is done is kept."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from ipsdist.config import RunConfig
from ipsdist.model.errors import RunError
from ipsdist.model.setup import Setup
from ipsdist.runtime.epochs import Capacity, Job
from ipsdist.runtime.executor import Executor
from ipsdist.runtime.progress import Observer, Progress
from ipsdist.stages.clock import Clock
from ipsdist.storage import Store

__all__ = [
    "Bundles", "Stage", "Task", "TaskJob", "check_owner", "committed", "complete", "fitted_times", "measured",
    "no_answer", "nothing_shared", "processor", "setup_of",
]  # fmt: skip

Tick = Callable[[float], None]
Payload = dict[str, Any]


@dataclass(frozen=True)
class Task:
    """What one worker is asked to do: small enough to send, idempotent, committed by its own record."""

    store: str
    """Path of the store."""
    stage: str
    name: str
    """Name of the task's record within the stage."""
    fingerprint: str
    config: RunConfig = field(repr=False)
    index: tuple[int, ...]
    """Which replica, which block: what the stage's ``do`` needs."""
    work: float
    """Units of work, for progress and plan."""
    bytes: int
    """Upper bound of the memory that the task's arrays take."""
    unit: str | None = None
    """What the work is counted in, where that is not the unit of the stage."""

    @property
    def record(self) -> str:
        """Name of the commit record."""
        return f"{self.stage}/{self.name}"


class TaskJob(Job, Protocol):
    """A task that several workers do together, in epochs."""

    def payload(self) -> Payload:
        """Return the payload of the task, which is done: ``cost`` and ``processors`` of its members."""
        ...


@dataclass(frozen=True)
class Bundles:
    """How one worker does several tasks at the same time."""

    groups: Callable[[Sequence[Task], Setup, Capacity], Sequence[Sequence[int]]]
    """Tasks to the places of those that go together, each in one group; () where every task goes by itself."""
    do: Callable[[Sequence[Task], Tick], Sequence[Payload]]
    """Importable function that does a group on a worker: every task as ``Stage.do`` does it, with its own record."""


def _nothing(store: Store, task: Task) -> float:
    return 0.0


@dataclass(frozen=True)
class Stage:
    """One of the five words, as a value over which planning, resuming, progress and commit are written once."""

    name: str
    unit: str
    """What its work is counted in."""
    needs: Callable[[RunConfig], tuple[str, ...]]
    """Stages that it reads; their fingerprints go into its own."""
    keys: Callable[[RunConfig], Mapping[str, Any]]
    """The configuration that decides its answer, JSON-able: goes into the fingerprint."""
    tasks: Callable[[RunConfig, Setup, str, str], Sequence[Task]]
    """(config, setup, store path, fingerprint) to the tasks, in the order in which their answers count."""
    prepare: Callable[[Store, RunConfig], None]
    """What the driver makes before the first task: the arrays that tasks share."""
    do: Callable[[Task, Tick], Payload]
    """Importable function that does one task on a worker, writes its arrays and returns its payload."""
    finish: Callable[[Store, RunConfig, Sequence[Payload]], Payload]
    """What the driver does when all tasks are done; its return is part of the stage's record."""
    job: Callable[[Store, Task, Capacity], TaskJob | None] | None = None
    """Returns how a task is done by several workers together; None where one worker does it by ``do``."""
    started: Callable[[Store, Task], float] = _nothing
    """Returns the work of a task that an earlier command has done and committed, though the task has no record yet."""
    bundles: Bundles | None = None
    """How tasks that no gang does are done several at a time; None where each goes by itself."""
    revision: int = 1
    """Raised when the stage's answer changes for the same configuration; goes into the fingerprint."""


def setup_of(store: Store) -> Setup:
    """Return the setup that a store was made with."""
    return Setup.from_json(store.attributes["setup"])


def fitted_times(config: RunConfig, setup: Setup) -> npt.NDArray[np.float64]:
    """Return the times of the slices that are fitted, every ``fit.every``-th one."""
    return setup.slice_times[:: config.fit.every]


def complete(
    stage: Stage, store: Store, config: RunConfig, fingerprint: str, executor: Executor, observe: Observer
) -> bool:
    """Complete a stage; return False when the store already had it.

    Tasks that a stopped run committed are not done again. Arrays of another fingerprint are discarded first.
    """
    done = store.record(f"{stage.name}/done")
    if done is not None and done["fingerprint"] == fingerprint:
        return False
    begun = store.record(f"{stage.name}/begun")
    if done is not None or (begun is not None and begun["fingerprint"] != fingerprint):
        store.discard(stage.name)
        begun = None
    clock = Clock()
    if begun is None:
        stage.prepare(store, config)
        store.commit(f"{stage.name}/begun", {"fingerprint": fingerprint})
    tasks = list(stage.tasks(config, setup_of(store), store.address, fingerprint))
    if not tasks:  # all is done in the end, and takes its time
        observe(Progress(stage.name, 0.0, 1.0, stage.unit))
    payloads, before = _run_tasks(stage, store, tasks, executor, observe) if tasks else ([], 0.0)
    answer = stage.finish(store, config, payloads)
    if not tasks:
        observe(Progress(stage.name, 1.0, 1.0, stage.unit))
    cost = clock.cost()
    cost["cpu_seconds"] += sum(p["cost"]["cpu_seconds"] for p in payloads if not clock.counts(p["cost"]))
    cost["peak_bytes"] = max([cost["peak_bytes"], *(p["cost"]["peak_bytes"] for p in payloads)])
    work = sum(t.work for t in tasks)
    cost["work"] = work - before
    processors = sorted({processor(), *(name for p in payloads for name in _processors(p))})
    record = {"fingerprint": fingerprint, "cost": cost, "work": work, "processors": processors, **answer}
    store.commit(f"{stage.name}/done", record)
    return True


def _run_tasks(
    stage: Stage, store: Store, tasks: list[Task], executor: Executor, observe: Observer
) -> tuple[list[Payload], float]:
    """Run the tasks that have no record yet; return the payloads of all in their order, and the work done before."""
    payloads = {k: p for k, t in enumerate(tasks) if (p := committed(store, t.record, t.fingerprint)) is not None}
    pending = [k for k in range(len(tasks)) if k not in payloads]
    total = sum(t.work for t in tasks)
    share = {k: t.work if k in payloads else stage.started(store, t) for k, t in enumerate(tasks)}
    before = sum(share.values())
    unit = next((t.unit for t in tasks if t.unit is not None), stage.unit)

    def told(group: Sequence[int], units: float) -> None:
        share.update(dict.fromkeys(group, units / len(group)))
        observe(Progress(stage.name, sum(share.values()), total, unit))

    def done(index: int, payload: Payload) -> None:
        payloads[index] = payload
        told([index], tasks[index].work)

    observe(Progress(stage.name, sum(share.values()), total, unit))
    alone = []
    for k in pending:
        job = None if stage.job is None else stage.job(store, tasks[k], executor.capacity)
        if job is None:
            alone.append(k)
        else:
            done(k, _by_gang(job, store, tasks[k], executor, partial(told, [k])))

    def heard(group: Sequence[int], units: float) -> None:
        told([alone[position] for position in group], units)

    for group, answers in _by_workers(stage, store, [tasks[k] for k in alone], executor, heard):
        for position, payload in zip(group, answers, strict=True):
            done(alone[position], payload)
    return [payloads[k] for k in range(len(tasks))], before


def _by_workers(
    stage: Stage,
    store: Store,
    tasks: Sequence[Task],
    executor: Executor,
    told: Callable[[Sequence[int], float], None],
) -> Iterator[tuple[Sequence[int], Sequence[Payload]]]:
    """Have every task done by one worker, several at the same time or alone; yield their places and payloads."""
    groups = () if stage.bundles is None else stage.bundles.groups(tasks, setup_of(store), executor.capacity)
    if stage.bundles is not None and groups:
        bundles = [[tasks[k] for k in group] for group in groups]
        together = executor.run(
            stage.bundles.do, bundles, stage=stage.name, observe=lambda number, units: told(groups[number], units)
        )
        yield from ((groups[number], answers) for number, answers in together)
        return
    alone = executor.run(stage.do, tasks, stage=stage.name, observe=lambda place, units: told([place], units))
    yield from (([place], [payload]) for place, payload in alone)


def _by_gang(job: TaskJob, store: Store, task: Task, executor: Executor, told: Tick) -> Payload:
    """Have a task done by several workers together; its record, committed here, says the same as that of one worker."""
    executor.together(job, stage=task.stage, observe=told)
    payload = {**job.payload(), "fingerprint": task.fingerprint}
    store.commit(task.record, payload)
    return payload


def _processors(payload: Payload) -> list[str]:
    """Return the CPU families of who did a task: one worker, or the members of a gang."""
    return list(payload["processors"]) if "processors" in payload else [payload["processor"]]


def measured(do: Callable[[Store, Task, Tick], Payload]) -> Callable[[Task, Tick], Payload]:
    """Turn a function of an open store into a task function: open, do, measure, commit the record last."""

    def task_function(task: Task, tick: Tick) -> Payload:
        clock = Clock()
        store = Store.open(task.store, "r+")
        check_owner(store, task)
        payload = do(store, task, tick)
        check_owner(store, task)
        measure = {"cost": clock.cost() | clock.place(), "processor": processor()}
        payload = {**payload, **measure, "fingerprint": task.fingerprint}
        store.commit(task.record, payload)
        return payload

    task_function.__name__ = task_function.__qualname__ = do.__name__.removeprefix("_")
    task_function.__module__ = do.__module__
    task_function.__doc__ = do.__doc__
    return task_function


def committed(store: Store, record: str, fingerprint: str) -> Payload | None:
    """Return the payload of a task's record; None when it is not there or stands for another configuration."""
    payload = store.record(record)
    return payload if payload is not None and payload["fingerprint"] == fingerprint else None


def check_owner(store: Store, task: Task) -> None:
    """Refuse to write for a stage begun anew since: a worker that was thought dead may still be at work."""
    begun = store.record(f"{task.stage}/begun")
    if begun is None or begun["fingerprint"] != task.fingerprint:
        raise RunError(f"the {task.stage} of this run have been begun anew by another command; this task has stopped")


def processor() -> str:
    """Name the CPU family: the same bits are promised within one only."""
    try:
        with Path("/proc/cpuinfo").open(encoding="utf-8") as file:
            model = next((line.partition(":")[2].strip() for line in file if line.startswith("model name")), "")
    except OSError:
        model = platform.processor()
    return f"{platform.machine()} {model}".strip()


def no_answer(store: Store, config: RunConfig, payloads: Sequence[Payload]) -> Payload:
    """Finish a stage whose tasks have written everything."""
    return {}


def nothing_shared(store: Store, config: RunConfig) -> None:
    """Prepare a stage whose tasks own all that they write."""
