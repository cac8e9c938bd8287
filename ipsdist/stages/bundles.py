"""Bundles: small replicas that one worker steps at the same time, a thread each, so that a card has them together.

Alone such a replica has one multiprocessor of a card. In threads their leaps meet, and go in one launch.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import Generic, TypeVar

from ipsdist.config import RunConfig
from ipsdist.model.setup import Setup
from ipsdist.numerics.particles.forces.mesh import SHORT
from ipsdist.runtime.epochs import Capacity
from ipsdist.runtime.memory import memory_here
from ipsdist.runtime.threads import single_threaded
from ipsdist.stages.base import Payload, Task, Tick
from ipsdist.stages.blocks import expected_nodes
from ipsdist.stages.clock import beside_others
from ipsdist.stages.device_plan import device_plan
from ipsdist.stages.devices import Card, card_here, device_of, uses_device
from ipsdist.stages.gang_size import PROCESS_BYTES, USABLE, member_bytes

__all__ = [
    "do_bundle",
    "grouped",
    "known_card",
    "largest_bundle",
    "leaps",
    "replica_bundles",
    "share_of",
    "side_by_side",
]

R = TypeVar("R")

_MOST = 64
"""Replicas in a bundle: enough for half of a large card, and threads that one process bears."""
_ROUNDING = 1e-9


def leaps(config: RunConfig, setup: Setup) -> bool:
    """Tell whether the replicas of a run surely leap where there is a card."""
    from ipsdist.numerics.particles.device_leap import MOST

    small = setup.dimension == 1 and setup.particles <= MOST and expected_nodes(setup) <= SHORT
    return small and setup.force == "mesh" and uses_device(config)


def known_card(here: Card | str, config: RunConfig) -> Card | bool:
    """Return the card of this process, which stands for those of the workers; without one, whether a run wants one.

    ``here`` is what `card_here` says.
    """
    return here if isinstance(here, Card) else config.run.device == "gpu"


def share_of(config: RunConfig, setup: Setup, capacity: Capacity, card: Card | bool) -> float:
    """Return the part of a bundle that one replica of a run takes: of its number, of the worker's memory, of a card's.

    Workers may share the card.
    """
    memory = memory_here() if capacity.memory is None else capacity.memory
    parts = [1.0 / _MOST, member_bytes(config, setup, 1) / max(1.0, USABLE * memory - PROCESS_BYTES)]
    if isinstance(card, Card):
        parts.append(capacity.workers * device_plan(card.free, config, setup, 1).bytes / max(1.0, USABLE * card.free))
    return min(1.0, max(parts))


def grouped(shares: Sequence[float], workers: int) -> list[list[int]]:
    """Return the places of what goes together, in order: none above 1, about equal, at least as many as workers.

    ``shares`` are parts of a bundle, above 0. What is larger than 1 is alone.
    """
    total = sum(shares)
    number = max(workers, math.ceil(total - _ROUNDING))
    while True:
        found: dict[int, list[int]] = {}
        before = 0.0
        for place, share in enumerate(shares):
            found.setdefault(int((before + share / 2) * number / total), []).append(place)
            before += share
        groups = list(found.values())
        if all(len(own) == 1 or sum(shares[k] for k in own) <= 1.0 + _ROUNDING for own in groups):
            return groups
        number += 1


def replica_bundles(tasks: Sequence[Task], setup: Setup, capacity: Capacity) -> list[list[int]]:
    """Return which replicas of a run one worker steps at the same time; [] where each goes by itself."""
    if len(tasks) <= capacity.workers or not leaps(tasks[0].config, setup):
        return []
    config = tasks[0].config
    card = known_card(card_here(), config)
    return _replicas(len(tasks), config, setup, capacity, card) if card else []


def largest_bundle(config: RunConfig, setup: Setup, capacity: Capacity, card: Card | None) -> int:
    """Return how many replicas of a new run one worker steps at the same time, with a card that is known or wanted."""
    known: Card | bool = config.run.device == "gpu" if card is None else card
    if not known or not leaps(config, setup):
        return 1
    return max(len(group) for group in _replicas(setup.replicas, config, setup, capacity, known))


def _replicas(count: int, config: RunConfig, setup: Setup, capacity: Capacity, card: Card | bool) -> list[list[int]]:
    return grouped([share_of(config, setup, capacity, card)] * count, capacity.workers)


def do_bundle(
    do: Callable[[Task, Tick], Payload], tasks: Sequence[Task], tick: Tick, before: Sequence[float]
) -> list[Payload]:
    """Do several tasks of one run at the same time where this process has a card, else one after the other.

    ``before`` is the work of each that is committed; ``tick`` hears the sum. An error of one is raised as itself, once
    the others have stopped at their next tick; what they have committed stays.
    """
    work = [partial(do, task) for task in tasks]
    # Before there are threads: the first look for a card makes it what this process has.
    if device_of(tasks[0].config) is not None:
        return side_by_side(work, tick, before)
    said, payloads = list(before), []

    def heard(place: int, units: float) -> None:
        said[place] = units
        tick(sum(said))

    for place, one in enumerate(work):
        payloads.append(one(partial(heard, place)))
    return payloads


def side_by_side(work: Sequence[Callable[[Tick], R]], tick: Tick, before: Sequence[float]) -> list[R]:
    """Do all at the same time, a thread each, and return what they return; ``tick`` hears sums, in this thread.

    The first error, of one of them or of ``tick``, stops the others at their next tick and is raised when they have.
    """
    crew = _Crew[R](before)
    threads = [threading.Thread(target=crew.do, args=(k, one), name=f"bundle-{k}") for k, one in enumerate(work)]
    try:
        for thread in threads:
            thread.start()
        while (said := crew.news()) is not None:
            tick(said)
    finally:
        crew.stop()
        for thread in threads:
            if thread.ident is not None:  # it was begun
                thread.join()
    return [crew.answers[k] for k in range(len(work))]


class _StoppedError(Exception):
    """Ends a thread whose answer nobody waits for."""


class _Crew(Generic[R]):
    """What the threads of a bundle and the one that waits for them tell each other."""

    def __init__(self, before: Sequence[float]) -> None:
        self.answers: dict[int, R] = {}
        self._said = list(before)
        self._left = len(self._said)
        self._changed = threading.Condition()
        self._news = self._stopped = False
        self._error: BaseException | None = None

    def do(self, place: int, work: Callable[[Tick], R]) -> None:
        """Do one piece of work, in a thread of its own."""
        error: BaseException | None = None
        try:
            with beside_others(), single_threaded():
                self._go_on()
                self.answers[place] = work(partial(self._hear, place))
        except _StoppedError:
            pass
        except BaseException as raised:
            error = raised
        with self._changed:
            self._left -= 1
            if error is not None and not self._stopped:
                self._error, self._stopped = error, True
            self._changed.notify()

    def news(self) -> float | None:
        """Wait for something new and return the sum of what all said; None when all are done. Raises their error."""
        with self._changed:
            self._changed.wait_for(lambda: self._news or self._stopped or not self._left)
            error, self._error = self._error, None
            if error is not None:
                raise error
            news, self._news = self._news, False
            return sum(self._said) if news else None

    def stop(self) -> None:
        """Stop all at their next tick."""
        with self._changed:
            self._stopped = True

    def _go_on(self) -> None:
        if self._stopped:
            raise _StoppedError

    def _hear(self, place: int, units: float) -> None:
        with self._changed:
            self._go_on()
            self._said[place] = units
            self._news = True
            self._changed.notify()
