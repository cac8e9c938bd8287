"""What joins two members of a gang: they swap arrays, and learn at once when the other is gone."""

from __future__ import annotations

from typing import Any, Protocol

import numpy.typing as npt

__all__ = ["BrokenError", "Link"]

Values = npt.NDArray[Any]


class BrokenError(Exception):
    """The gang has lost a member or the driver; what it did since its last commit is done again by another.

    It is not an OSError, so that nobody who writes files takes it for trouble with a disk.
    """


class Link(Protocol):
    """A road between two members, for one thread at each end."""

    def swap(self, send: Values | None, receive: Values | None) -> None:
        """Send one array to the other while the other's is received into ``receive``; None for nothing.

        Both ends must agree on what is sent, in order and size. Raises BrokenError when the other is gone.
        """
        ...

    def shut(self) -> None:
        """End the road from any thread: whoever waits at either end raises BrokenError."""
        ...

    def close(self) -> None:
        """Give its means back; only when nobody uses it any more."""
        ...
