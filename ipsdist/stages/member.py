"""What one member of a gang does in one epoch: steps its part of a replica, and writes its rows of the checkpoint."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ipsdist.model.mesh import Mesh
from ipsdist.model.together import Together
from ipsdist.numerics.particles.stepping import State, Stepper
from ipsdist.stages.base import Task, check_owner, processor, setup_of
from ipsdist.stages.clock import peak_bytes
from ipsdist.stages.clouds import Clouds
from ipsdist.stages.observed import LAST, Observed
from ipsdist.stages.parts import Parts, kept_name, kept_rows, kept_slices, write_rows
from ipsdist.storage import Store

__all__ = ["POSITIONS", "Reached", "Share", "step_epoch"]

POSITIONS = "positions"
_HELD = "member"
_TICK_STEPS = 2**22
"""Particle-steps between two words of progress, where slices are far apart."""


@dataclass(frozen=True)
class Reached:
    """How far a replica is: the step, the mesh there, and the checkpoint from which anyone can go on."""

    step: int = 0
    lower: tuple[int, ...] = ()
    shape: tuple[int, ...] = ()
    group: str | None = None
    """Group of the checkpoint; None at the start and at the end."""
    chunk: int = 0
    """Rows of a chunk of its positions."""
    arrays: tuple[str, ...] = ()
    """Its arrays of positions."""


@dataclass(frozen=True)
class Share:
    """What a member is asked to do in an epoch; its rank says which part."""

    task: Task
    parts: Parts
    start: Reached
    step: int
    """The step to reach."""
    group: str | None
    """Group of the checkpoint to write there; None at the end of the run."""
    arrays: tuple[str, ...]


def step_epoch(
    share: Share, gang: Together, memory: MutableMapping[str, Any], tick: Callable[[float], None]
) -> dict[str, Any]:
    """Do one epoch (``runtime.epochs.Member``); return where the replica is now, the same on every member, and costs.

    The state stays in ``memory`` for the next epoch; without it, it is read from the checkpoint or drawn anew.
    """
    cpu = time.thread_time()
    held: _Part | None = memory.pop(_HELD, None)
    fits = held is not None and held.continues(share, gang)
    # All members go on, or none: reading back takes exchanges.
    if int(gang.add(np.array([fits], dtype=np.int64))[0]) < gang.size:
        held = None  # frees its memory before another takes its place
    part = held or _Part(share, gang)
    check_owner(part.store, share.task)
    begun = time.perf_counter()
    part.advance(share.step, gang, tick)
    stepped = time.perf_counter()
    if share.group is not None:
        part.save(share, gang)
        memory[_HELD] = part
    reached = part.reached()
    if share.group is None:
        part.release()
    return {
        **reached,
        "stepping_seconds": stepped - begun,
        "saving_seconds": time.perf_counter() - stepped,
        "cpu_seconds": time.thread_time() - cpu,
        "peak_bytes": peak_bytes(),
        "process": os.getpid(),
        "processor": processor(),
    }


class _Part:
    """One member's particles, its stepper and its slices, at some step."""

    def __init__(self, share: Share, gang: Together) -> None:
        """Begin the replica, or go on from a checkpoint."""
        task, start = share.task, share.start
        config, (replica,) = task.config, task.index
        self.store = Store.open(task.store, "r+")
        setup = setup_of(self.store)
        self._first, self._stop = share.parts.of(gang.rank)
        self._place = share.parts, gang.rank, gang.size
        self._task, self._setup, times = task, setup, config.times()
        self._steps = times.slice_steps()
        self._clouds = Clouds(self.store, config, setup, self._first, self._stop, gang.size)
        self._stepper = Stepper(
            config.system_value(),
            times.step,
            config.run.seed,
            replica,
            setup.spacing,
            setup.force or "mesh",
            part=(self._first, self._stop),
            force_on_device=config.force.device == "gpu",
            leaps=self._clouds.leaps,
        )
        self._kept = kept_slices(config)
        number = int(np.searchsorted(self._steps, start.step, side="right")) if start.group else 0
        self._slices = Observed(self.store, task, setup, number)
        if start.group is None:
            with self._clouds.guarded():
                self.state = self._stepper.start(self._clouds.drawn(replica), together=gang)
                self._see(gang)
        else:
            with self._clouds.guarded():
                self.state = self._restored(start, gang)

    def continues(self, share: Share, gang: Together) -> bool:
        """Tell whether this is the state from which the epoch starts."""
        here = self.state.step, self.state.mesh.lower, self.state.mesh.shape
        start = share.start
        return here == (start.step, start.lower, start.shape) and self._place == (share.parts, gang.rank, gang.size)

    def reached(self) -> dict[str, Any]:
        """Return where the replica is now, the same on every member, and what steps this part."""
        mesh = self.state.mesh
        place = {"step": self.state.step, "lower": list(mesh.lower), "shape": list(mesh.shape)}
        return {**place, "device": self._clouds.device}

    def release(self) -> None:
        """Give back the memory of the device; this part is over."""
        del self.state, self._slices
        self._clouds.release()

    def advance(self, step: int, gang: Together, tick: Callable[[float], None]) -> None:
        """Step and see slices up to a step; tick particle-steps of this part."""
        with self._clouds.guarded():
            self._advance(step, gang, tick)

    def _advance(self, step: int, gang: Together, tick: Callable[[float], None]) -> None:
        state, own = self.state, self._stop - self._first
        begun, piece = state.step, max(1, _TICK_STEPS // max(1, own))
        while state.step < step:
            ahead = int(self._steps[self._slices.number])
            self._stepper.advance(state, min(step, ahead, state.step + piece) - state.step, gang)
            if state.step == ahead:
                self._see(gang)
            tick(float(own * (state.step - begun)))

    def save(self, share: Share, gang: Together) -> None:
        """Write this part's rows of a checkpoint; the first member also what is there of the block at hand."""
        self._slices.settle(gang)
        check_owner(self.store, self._task)
        held = {POSITIONS: self.state.cloud, **self._slices.held}
        for name in share.arrays:
            cloud = held[name]
            assert cloud is not None
            write_rows(self.store, f"{share.group}/{name}", self._first, cloud, share.parts.chunk)
        if gang.rank == 0:
            self._slices.save(f"{share.group}/block")

    def _restored(self, start: Reached, gang: Together) -> State:
        mesh = Mesh(self._setup.spacing, start.lower, start.shape)
        held = {name: self._clouds.stored(f"{start.group}/{name}", start.chunk) for name in start.arrays}
        state = self._stepper.start(held.pop(POSITIONS), start.step, mesh, gang)
        at_slice = start.step == int(self._steps[self._slices.number - 1])
        if self._setup.labelled and at_slice:
            held[LAST] = state.cloud.copy()
        self._slices.load(f"{start.group}/block", held)
        return state

    def _see(self, gang: Together) -> None:
        number = self._slices.number
        if number in self._kept:
            check_owner(self.store, self._task)
            rows = kept_rows(self._task.config, self._setup)
            write_rows(self.store, kept_name(self._task.index[0], number), self._first, self.state.cloud, rows)
        self._slices.see(self.state, gang)
