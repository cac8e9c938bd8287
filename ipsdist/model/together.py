"""What the members of a gang do together while they step one replica: exact reductions, the same on every member."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt

from ipsdist.arrays import Device, Ring

__all__ = ["ALONE", "Alone", "Together"]


class Together(Protocol):
    """The gang as one of its members sees it. All members call the same methods in the same order with equal shapes.

    Both reductions are exact in any order, so that no bit depends on the size of the gang.
    """

    @property
    def rank(self) -> int:
        """Number of this member, 0 .. size - 1."""
        ...

    @property
    def size(self) -> int:
        """Number of members."""
        ...

    def add(self, values: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Return the sum of the members' integers, elementwise; ``values`` may be overwritten by it."""
        ...

    def lowest(self, values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return the smallest of the members' numbers, elementwise; NaN where a member has NaN."""
        ...

    def ring(self, device: Device | None) -> Ring | None:
        """Return what adds arrays of the members' devices where they lie, or None on every member: `add` does then.

        ``device`` is what this member's arrays lie on, None for the host. It lives as long as the gang does, or until
        the next one is asked for; where it breaks it raises what `add` would.
        """
        ...


class Alone:
    """A gang of one: nothing to exchange."""

    rank = 0
    size = 1

    def add(self, values: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Return ``values`` themselves."""
        return values

    def lowest(self, values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return ``values`` themselves."""
        return values

    def ring(self, device: Device | None) -> Ring | None:  # noqa: ARG002
        """Return None: there is nobody to add to."""
        return None


ALONE: Together = Alone()
