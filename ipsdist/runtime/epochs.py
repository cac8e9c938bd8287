"""Work that a gang of workers does together in epochs: what the driver asks of a job, and a job of its workers."""

from __future__ import annotations

from collections.abc import Callable, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from ipsdist.model.together import Together

__all__ = ["Capacity", "Epoch", "Job", "Member"]

Tick = Callable[[float], None]
Member = Callable[[Any, Together, MutableMapping[str, Any], Tick], Any]
"""(share, gang, memory, tick) to an answer: what one worker does in one epoch; importable. ``memory`` is a mapping of
its own that lives from epoch to epoch as long as the gang does, and is empty in a new one; ``tick`` hears units."""


@dataclass(frozen=True)
class Capacity:
    """What an executor can give: known before anything is spent, for a plan."""

    workers: int
    """Workers that can take a task at the same time; at least 1."""
    memory: int | None
    """Bytes that one worker may use, of the one that has least; None when nobody limits it."""


@dataclass(frozen=True)
class Epoch:
    """What the gang is asked to do until its next commit."""

    do: Member
    shares: Sequence[Any]
    """One small picklable value for each member, by rank."""
    units: float
    """Units of work in it, of all members together."""


class Job(Protocol):
    """One piece of work for a gang, on the driver. What is committed is never lost; an epoch that failed is repeated.

    The driver calls ``epoch``, has every share done by one member at the same time, and calls ``commit`` with the
    answers in the order of the ranks. If any member fails or vanishes, the answers of the others are thrown away and
    ``epoch`` is called again, perhaps with another number of members. Doing an epoch twice must leave the same bits.
    """

    @property
    def members(self) -> int:
        """Number of members wanted; ``epoch`` is called with 1 .. members."""
        ...

    @property
    def fewest(self) -> int:
        """Number of members below which it does not fit their memory; the driver waits for so many."""
        ...

    @property
    def done(self) -> float:
        """Units of work that are committed."""
        ...

    def epoch(self, members: int, units: float | None) -> Epoch | None:
        """Return the next epoch, of about ``units`` (None: not measured yet); None when all is committed."""
        ...

    def commit(self, answers: Sequence[Any]) -> None:
        """Make what the members did last, and only that, count."""
        ...
