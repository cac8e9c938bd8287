"""How many units an epoch of a wanted length has, from what the last one took."""

from __future__ import annotations

__all__ = ["Pace"]

_GROWTH = 8.0
"""Most that an epoch is made longer than the last: a first one may be too short to tell."""


class Pace:
    """Seconds of a member for a unit; nothing at first."""

    def __init__(self, seconds: float) -> None:
        """Give the length of an epoch in seconds."""
        self._seconds = seconds
        self._cost: float | None = None
        self._last = 0.0

    def note(self, units: float, members: int, seconds: float) -> None:
        """Hear that so many members did so many units in so many seconds."""
        if units > 0:
            self._cost = max(seconds, 1e-6) * members / units
            self._last = units

    def units(self, members: int) -> float | None:
        """Return the units of the next epoch; None as long as nothing was measured."""
        if self._cost is None:
            return None
        return min(self._seconds * members / self._cost, _GROWTH * self._last)
