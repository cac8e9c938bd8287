"""A job whose answer shows every step that was lost, done twice or added wrongly; and members that misbehave."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, MutableMapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import distributed
import numpy as np
import numpy.typing as npt

from ipsdist.model.errors import InputError, RunError
from ipsdist.model.together import Together
from ipsdist.runtime.epochs import Epoch

Tick = Callable[[float], None]
State = npt.NDArray[np.int64]
BALLAST = 8 << 20
"""Bytes that the members keep from epoch to epoch, all together."""


@dataclass(frozen=True)
class Share:
    """Rows of the state that a member owns, and what to do with them."""

    rows: State
    first: int
    start: int
    steps: int
    pause: float = 0.0
    trick: str = ""
    marker: str = ""


def advance(rows: State, total: State, step: int) -> State:
    """Return the next state of some rows: a hash of the row, the column sums over all rows, and the step."""
    with np.errstate(over="ignore"):
        mixed = (rows ^ total) * np.int64(6364136223846793005) + np.int64(step)
    return mixed ^ (mixed >> np.int64(29))


def walk(share: Share, gang: Together, memory: MutableMapping[str, Any], tick: Tick) -> tuple[State, int]:
    """Do the steps; return the rows and the number of epochs that the memory has seen."""
    memory["epochs"] = memory.get("epochs", 0) + 1
    if share.trick == "share":
        refuse_to_share(memory)
    memory.setdefault("ballast", np.ones(BALLAST // 8 // gang.size))
    rows = share.rows
    for k in range(share.steps):
        total = gang.add(rows.sum(axis=0))
        lowest = gang.lowest(np.array([share.first, -share.first - len(rows)], dtype=float))
        assert lowest[0] == 0.0
        rows = advance(rows, total + int(-lowest[1]), share.start + k)
        if share.pause:
            time.sleep(share.pause)
        misbehave(share, gang, k)
        tick((k + 1.0) * len(rows))
    return rows, memory["epochs"]


LIVE: dict[str, list[MutableMapping[str, Any]]] = {}


def refuse_to_share(memory: MutableMapping[str, Any]) -> None:
    """Raise when another gang still has a memory on this worker."""
    known = LIVE.setdefault(distributed.get_worker().address, [])
    if not any(other is memory for other in known):
        known.append(memory)
    if any(other and other is not memory for other in known):
        raise AssertionError("two gangs on one worker")


def misbehave(share: Share, gang: Together, step: int) -> None:
    """Do what the share's trick says, the first time only where it has a marker."""
    moment = share.steps - 1 if share.trick == "freeze" else share.steps // 2
    if not share.trick or step != moment or gang.rank != gang.size - 1:
        return
    if share.marker:
        if Path(share.marker).exists():
            return
        Path(share.marker).write_text(str(os.getpid()))
    if share.trick == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif share.trick in {"stop", "freeze"}:
        os.kill(os.getpid(), signal.SIGSTOP)
    elif share.trick == "refuse":
        raise InputError("time.step", "must be small", 3, "use 0.1")
    elif share.trick == "fail":
        raise RunError("the particles blew up at step 7")
    elif share.trick == "stumble":
        raise ZeroDivisionError("by zero")
    elif share.trick == "differ":
        gang.add(np.zeros(3 + gang.rank, dtype=np.int64))
    elif share.trick == "linger":
        time.sleep(3.0)


@dataclass
class Walk:
    """A job: ``steps`` steps of a state of ``rows`` rows."""

    state: State
    steps: int
    members: int = 2
    fewest: int = 1
    pause: float = 0.0
    trick: str = ""
    marker: str = ""
    first_steps: int = 3
    step: int = 0
    sizes: list[int] = field(default_factory=list)
    """Size of the gang, of each epoch that was committed."""
    asked: int = 0
    memories: list[list[int]] = field(default_factory=list)
    after_commit: Callable[[Walk], None] | None = None

    @property
    def done(self) -> float:
        """Rows times steps."""
        return float(self.step * len(self.state))

    def epoch(self, members: int, units: float | None) -> Epoch | None:
        """Share the rows out."""
        if self.step == self.steps:
            return None
        self.asked += 1
        wanted = self.first_steps if units is None else round(units / len(self.state))
        steps = max(1, min(wanted, self.steps - self.step))
        cuts = [len(self.state) * k // members for k in range(members + 1)]
        plain = Share(self.state[:0], 0, self.step, steps, self.pause, self.trick, self.marker)
        shares = [replace(plain, rows=self.state[a:b], first=a) for a, b in pairwise(cuts)]
        self._steps = steps
        return Epoch(walk, shares, float(steps * len(self.state)))

    def commit(self, answers: Sequence[Any]) -> None:
        """Keep the rows."""
        self.state = np.concatenate([rows for rows, _ in answers])
        self.step += self._steps
        self.sizes.append(len(answers))
        self.memories.append([seen for _, seen in answers])
        if self.after_commit is not None:
            self.after_commit(self)


def fresh(rows: int = 12, columns: int = 5) -> State:
    """Return a state to begin with."""
    return np.random.default_rng(7).integers(-(2**62), 2**62, size=(rows, columns))


def twin(state: State, steps: int) -> State:
    """Return the state after so many steps, without a gang."""
    for step in range(steps):
        with np.errstate(over="ignore"):
            state = advance(state, state.sum(axis=0) + len(state), step)
    return state


def census() -> tuple[int, int, int, int]:
    """Return the number of doors or busy members, open files, threads, and bytes of this process."""
    import gc

    import psutil

    from ipsdist.runtime.gang import doors

    gc.collect()
    this = psutil.Process()
    return len(doors._DOORS) + len(doors._BUSY), this.num_fds(), this.num_threads(), this.memory_info().rss


def quiet(client: Any, seconds: float = 20.0) -> dict[str, Any]:
    """Return the census of the workers once they have no door; fail when they keep one."""
    end = time.monotonic() + seconds
    while any(found[0] for found in client.run(census).values()):
        assert time.monotonic() < end
        time.sleep(0.1)
    time.sleep(0.5)
    return client.run(census)
