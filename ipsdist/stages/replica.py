"""A replica as a job in epochs: what the driver asks of the members, what counts as done, and what can be forgotten."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from ipsdist.model.errors import RunError
from ipsdist.model.together import ALONE
from ipsdist.runtime.epochs import Epoch
from ipsdist.runtime.gang.pace import Pace
from ipsdist.stages.base import Payload, Task, Tick, check_owner, committed, setup_of
from ipsdist.stages.blocks import slice_blocks
from ipsdist.stages.device_plan import device_plan
from ipsdist.stages.devices import Card, card_here, uses_device
from ipsdist.stages.initial import precision_of
from ipsdist.stages.member import POSITIONS, Reached, Share, step_epoch
from ipsdist.stages.observed import EARLIER, LAST
from ipsdist.stages.parts import Parts, kept_name, kept_rows, kept_slices, parts_of
from ipsdist.storage import Store

__all__ = ["ReplicaJob", "step_alone", "stepped", "stepping_on"]

_SECONDS = 5.0
"""Length of an epoch where one process steps a whole replica."""
_FIRST_SECONDS = 1.0
"""Length of an epoch before anything is measured, at the nominal pace."""
_PACE = {1: 1.5e8, 2: 5e7, 3: 1.5e7}
"""Particle-steps a second of one member, nominally."""
_CARD_PACE = {1: 2e10, 2: 1e10, 3: 1e9}
"""Those of one member whose particles lie on a GPU: a tenth of what a fast one should do."""
_STORE_PACE = 1e9
"""Bytes a second of a checkpoint, nominally."""
_STEP_SECONDS = 2e-4
_SHORTEST = 0.4
"""Part of the wished length below which an epoch is not cut: the first one also drew its particles."""
_SAVING, _LONGEST = 0.1, 12.0
"""An epoch is longer than wished where less would spend more than this share on checkpoints; at most so many times."""
_DIMS = ("particle", "space")


class ReplicaJob:
    """Steps one replica in epochs; see ``runtime.epochs.Job``. Every epoch ends with a checkpoint, then its record.

    A checkpoint has the step and the rows of a member in its name, so that whoever writes it, a member that was thought
    dead included, writes the same bytes to the same places.
    """

    def __init__(
        self,
        store: Store,
        task: Task,
        members: int = 1,
        fewest: int = 1,
        seconds: float = 0.0,
        card: Card | None = None,
    ) -> None:
        """Go on from what the store has; ``seconds`` is the length that epochs should have, 0 whatever is asked for.

        ``card`` is a GPU such as every member surely steps on.
        """
        self.members = members
        self._card = card
        self.fewest = fewest
        self._store, self._task, self._setup = store, task, setup_of(store)
        self._config, (self._replica,) = task.config, task.index
        self._steps = self._config.times().slice_steps()
        blocks = slice_blocks(len(self._steps), self._setup.dimension)
        self._firsts = np.array([b.first for b in blocks])
        self._record = f"particles/replica-{self._replica}.epoch"
        self._group = f"particles/replica-{self._replica}"
        found = committed(store, self._record, task.fingerprint)
        self._at = Reached() if found is None else _reached(found["reached"])
        self._wanted: Reached | None = None
        self._seconds = seconds
        self._step_seconds = self._saving_seconds = 0.0
        self._old = self._checkpoints()
        self._costs: list[dict[str, Any]] = []
        self._devices: set[str] = set() if found is None else set(found.get("devices", ["cpu"]))
        if found is None:
            self._make_kept()

    @property
    def done(self) -> float:
        """Particle-steps that are committed."""
        return float(self._setup.particles) * self._at.step

    def epoch(self, members: int, units: float | None) -> Epoch | None:
        """Return the next epoch for so many members, of about ``units`` particle-steps; None at the end."""
        if self._at.step == self._steps[-1]:
            self._forget()
            return None
        check_owner(self._store, self._task)
        step = self._stop(self._nominal(members) if units is None else units, members)
        parts = parts_of(self._config, self._setup, members)
        group, arrays = self._checkpoint(step, parts)
        self._wanted = Reached(step, group=group, chunk=parts.chunk, arrays=arrays)
        share = Share(self._task, parts, self._at, step, group, arrays)
        work = float(self._setup.particles) * (step - self._at.step)
        return Epoch(step_epoch, [share] * members, work)

    def commit(self, answers: Sequence[dict[str, Any]]) -> None:
        """Commit the epoch asked for last, and forget what is older. Raises RunError where members disagree."""
        assert self._wanted is not None
        places = {(a["step"], tuple(a["lower"]), tuple(a["shape"])) for a in answers}
        if len(places) != 1 or answers[0]["step"] != self._wanted.step:
            found = ", ".join(str(p) for p in sorted(places))
            raise RunError(f"the members of a gang disagree on step and mesh ({found}); this should be reported")
        ((step, lower, shape),) = places
        wanted, steps = self._wanted, step - self._at.step
        self._step_seconds = len(answers) * max(a["stepping_seconds"] for a in answers) / steps
        self._saving_seconds = max(a["saving_seconds"] for a in answers)
        reached = Reached(step, lower, shape, wanted.group, wanted.chunk, wanted.arrays)
        check_owner(self._store, self._task)
        self._devices.update(a["device"] for a in answers)
        record = {"fingerprint": self._task.fingerprint, "reached": asdict(reached), **self.devices()}
        self._store.commit(self._record, record)
        self._at = reached
        self._costs += answers
        self._forget()

    def payload(self) -> Payload:
        """Return the costs of the members since this object was made, as a task's payload has them."""
        others = [a for a in self._costs if a["process"] != os.getpid()]
        cost = {
            "cpu_seconds": sum(a["cpu_seconds"] for a in others),
            "peak_bytes": max((a["peak_bytes"] for a in self._costs), default=0),
            "process": 0,
        }
        return {"cost": cost, "processors": sorted({a["processor"] for a in self._costs}), **self.devices()}

    def devices(self) -> Payload:
        """Return what has stepped the particles so far: cpu, or names of GPUs."""
        return {"devices": sorted(self._devices)}

    def _checkpoint(self, step: int, parts: Parts) -> tuple[str | None, tuple[str, ...]]:
        """Make the arrays of a checkpoint, which members fill; return its group and their names. None at the end."""
        if step == self._steps[-1]:
            return None, ()
        group, arrays = f"{self._group}/checkpoint-{step}-{parts.rows}", self._arrays(step)
        self._old.add(group)
        shape, chunks = (self._setup.particles, self._setup.dimension), (parts.chunk, self._setup.dimension)
        for name in arrays:
            place = f"{group}/{name}"
            self._store.create_array(place, shape, precision_of(self._config), _DIMS, chunks, "length", compress=False)
        return group, arrays

    def _make_kept(self) -> None:
        """Make the arrays of the positions that the run file wants kept; members fill them."""
        shape, kind = (self._setup.particles, self._setup.dimension), precision_of(self._config)
        chunks = kept_rows(self._config, self._setup), self._setup.dimension
        for number in sorted(kept_slices(self._config)):
            name = kept_name(self._replica, number)
            self._store.create_array(name, shape, kind, _DIMS, chunks, "length", compress=False)

    def _checkpoints(self) -> set[str]:
        """Return the groups of all checkpoints that there are."""
        return {f"{self._group}/{n}" for n in self._store.names(self._group) if n.startswith("checkpoint-")}

    def _forget(self) -> None:
        """Discard checkpoints but the one that counts; at the end also what a dead driver's members made since."""
        if self._at.step == self._steps[-1]:
            self._old |= self._checkpoints()
        for group in sorted(self._old - {self._at.group}):
            self._store.discard(group)
            self._old.discard(group)

    def _nominal(self, members: int) -> float:
        """Return the particle-steps of an epoch before anything is measured."""
        n, d = self._setup.particles, self._setup.dimension
        pace, seconds = _PACE, min(_FIRST_SECONDS, self._seconds)
        if self._card is not None and device_plan(self._card.free, self._config, self._setup, members).resident:
            # So fast that a checkpoint may cost more than all steps.
            kept = n * d * precision_of(self._config).itemsize * (3 if self._setup.labelled else 1)
            pace = _CARD_PACE
            seconds = min(_LONGEST * self._seconds, max(seconds, (1.0 / _SAVING - 1.0) * kept / _STORE_PACE))
        return n * max(1.0, seconds / (n / members / pace[d] + _STEP_SECONDS))

    def _least_steps(self, members: int) -> int:
        """Return the steps that an epoch should have by what the last ones took, whatever the driver believes."""
        if self._step_seconds == 0.0:
            return 1
        kept = self._saving_seconds * (1.0 / _SAVING - 1.0)
        seconds = max(_SHORTEST * self._seconds, min(kept, _LONGEST * self._seconds))
        return int(seconds * members / self._step_seconds)

    def _stop(self, units: float, members: int) -> int:
        """Return the step at which the epoch ends: where little has to be kept, if one is near."""
        at, last = self._at.step, int(self._steps[-1])
        steps = max(1, round(units / self._setup.particles), self._least_steps(members))
        end = at + steps
        if end + steps // 4 >= last:
            return last
        for places in (self._steps[self._firsts], self._steps):
            near = int(places[np.searchsorted(places, end, side="right") - 1])
            if near - at > steps // 2:
                return near
        return end

    def _arrays(self, step: int) -> tuple[str, ...]:
        """Return the names of the positions that a checkpoint at a step has to hold."""
        if not self._setup.labelled:
            return (POSITIONS,)
        number = int(np.searchsorted(self._steps, step, side="right")) - 1
        last = () if int(self._steps[number]) == step else (LAST,)
        earlier = () if number in self._firsts else (EARLIER,)
        return (POSITIONS, *last, *earlier)


def stepped(store: Store, task: Task) -> float:
    """Return the particle-steps of a replica that are committed."""
    found = committed(store, f"particles/replica-{task.index[0]}.epoch", task.fingerprint)
    return 0.0 if found is None else float(setup_of(store).particles) * found["reached"]["step"]


def stepping_on(store: Store, replicas: int) -> str | None:
    """Return what has stepped the replicas so far, cpu or names of GPUs; None before anything is committed."""
    records = (store.record(f"particles/replica-{r}.epoch") or {} for r in range(replicas))
    return ", ".join(sorted({name for record in records for name in record.get("devices", ())})) or None


def step_alone(store: Store, task: Task, tick: Tick) -> Payload:
    """Step a whole replica in this process, by the same epochs as a gang."""
    card = card_here() if uses_device(task.config) else None
    own = card if isinstance(card, Card) else None
    job, memory, pace = ReplicaJob(store, task, seconds=_SECONDS, card=own), dict[str, Any](), Pace(_SECONDS)

    def heard(done: float) -> None:
        tick(job.done + done)

    while (epoch := job.epoch(1, pace.units(1))) is not None:
        begun = time.perf_counter()
        answer = epoch.do(epoch.shares[0], ALONE, memory, heard)
        pace.note(epoch.units, 1, time.perf_counter() - begun)
        job.commit([answer])
    return job.devices()


def _reached(values: dict[str, Any]) -> Reached:
    lists = {name: tuple(values[name]) for name in ("lower", "shape", "arrays")}
    return Reached(**{**values, **lists})
