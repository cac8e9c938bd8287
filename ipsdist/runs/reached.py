"""How far a run has come: what its stages have committed, for who goes on with it and for who looks at it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ipsdist.config import RunConfig
from ipsdist.model.setup import Setup
from ipsdist.runs.order import STAGES
from ipsdist.stages.base import Stage, Task, committed
from ipsdist.stages.particles import PARTICLES
from ipsdist.storage import Store

__all__ = ["Reached", "line", "reached"]


@dataclass(frozen=True)
class Reached:
    """One stage: whether it is done, how many of its tasks are, and how much of its work."""

    stage: str
    state: str
    """done, begun or missing."""
    tasks_done: int
    tasks: int
    """0 for what the driver does by itself."""
    share: float
    """Share of the work that is committed, from 0 to 1."""
    replica_steps: tuple[int, ...] = ()
    """Committed steps of every replica; empty where nothing is stepped."""
    steps: int = 0
    """Steps of a replica in all."""

    @property
    def text(self) -> str:
        """How far the stage is, in a few words; empty where it is done, or nothing of it."""
        if self.state != "begun":
            return ""
        if not self.replica_steps:
            return f"{self.tasks_done} of {self.tasks} tasks" if self.tasks else ""
        under_way = [step for step in self.replica_steps if 0 < step < self.steps]
        done = sum(step == self.steps for step in self.replica_steps)
        count = len(self.replica_steps)
        parts = [f"{done} of {count} replicas done"] if count > 1 else []
        if count == 1:
            parts.append(f"at step {self.replica_steps[0]} of {self.steps}")
        elif under_way:
            low, high = min(under_way), max(under_way)
            at = f"step {low}" if low == high else f"steps {low} to {high}"
            parts.append(f"{len(under_way)} at {at} of {self.steps}")
        return ", ".join(parts)


def reached(
    store: Store, config: RunConfig, setup: Setup, prints: Mapping[str, str] | None = None
) -> tuple[Reached, ...]:
    """Return how far every stage before the report is, in their order.

    ``prints`` are the fingerprints that stages must have to count; None takes what there is.
    """
    return tuple(_stage(s, store, config, setup, None if prints is None else prints[s.name]) for s in STAGES)


def line(found: Sequence[Reached], again: str | None = None) -> str:
    """Say in a line where a run goes on; empty for a new one, one that is done, and where ``again`` comes next."""
    done = [one.stage for one in found if one.state == "done"]
    begun = [f"{one.stage} {one.text}" for one in found if one.text and one.share > 0.0 and one.stage != again]
    if len(done) == len(found) or (again is not None and not begun):
        return ""
    kept = f"{', '.join(done)} done" if done else ""
    return "; ".join(part for part in (kept, *begun) if part)


def _stage(stage: Stage, store: Store, config: RunConfig, setup: Setup, wanted: str | None) -> Reached:
    done, begun = store.record(f"{stage.name}/done"), store.record(f"{stage.name}/begun")
    tasks = stage.tasks(config, setup, store.address, "")
    if done is not None and wanted in (None, done["fingerprint"]):
        return Reached(stage.name, "done", len(tasks), len(tasks), 1.0, *_all_steps(stage, config, len(tasks)))
    if done is not None or begun is None or wanted not in (None, begun["fingerprint"]):
        return Reached(stage.name, "missing", 0, len(tasks), 0.0)
    tasks = stage.tasks(config, setup, store.address, begun["fingerprint"])
    finished = [committed(store, task.record, task.fingerprint) is not None for task in tasks]
    work = [t.work if end else stage.started(store, t) for t, end in zip(tasks, finished, strict=True)]
    whole = sum(task.work for task in tasks)
    steps = _steps(config, tasks, work) if _stepped(stage, config) else ()
    last = _last_step(config) if steps else 0
    ended = sum(finished)
    return Reached(stage.name, "begun", ended, len(tasks), sum(work) / whole if whole > 0 else 0.0, steps, last)


def _stepped(stage: Stage, config: RunConfig) -> bool:
    return stage is PARTICLES and config.data.source == "simulate"


def _all_steps(stage: Stage, config: RunConfig, replicas: int) -> tuple[tuple[int, ...], int]:
    return ((_last_step(config),) * replicas, _last_step(config)) if _stepped(stage, config) else ((), 0)


def _steps(config: RunConfig, tasks: Sequence[Task], work: Sequence[float]) -> tuple[int, ...]:
    last = _last_step(config)
    return tuple(round(last * done / task.work) for task, done in zip(tasks, work, strict=True))


def _last_step(config: RunConfig) -> int:
    return int(config.times().slice_steps()[-1])
