"""The connection of a client to its scheduler, and what is said when it is lost."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ipsdist.model.errors import RunError

if TYPE_CHECKING:
    import distributed

__all__ = ["AGAIN", "LOST", "check_scheduler", "of_scheduler"]

AGAIN = "give the same command again: what was finished is kept"
LOST = f"lost the connection to the Dask scheduler; {AGAIN}"


def check_scheduler(client: distributed.Client) -> None:
    """Raise RunError when the client has lost its scheduler."""
    if client.status != "running":
        raise RunError(LOST)


@contextlib.contextmanager
def of_scheduler(client: distributed.Client) -> Iterator[None]:
    """Turn what fails for want of the scheduler into RunError."""
    check_scheduler(client)
    try:
        yield
    except (OSError, TimeoutError) as error:
        raise RunError(LOST) from error
