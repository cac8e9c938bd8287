"""How a gang is put to Dask: pinned tasks, and answers that may vanish with their worker."""

# mypy: untyped-calls-exclude="distributed"

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import distributed

from ipsdist.model.errors import RunError
from ipsdist.runtime.settings import setting

__all__ = ["AGAIN", "LOOK_SECONDS", "Asking", "check_scheduler", "fetch", "of_scheduler"]

AGAIN = "give the same command again: what was finished is kept"
_LOST = f"lost the connection to the Dask scheduler; {AGAIN}"
LOOK_SECONDS = 1.0
"""How often the driver asks the scheduler who is there."""


@dataclass(frozen=True)
class Asking:
    """What every task of a gang asks for, and how long is waited for what."""

    resources: Mapping[str, float]
    priority: int
    timeout: float
    """Seconds of silence of a member that is waited for."""
    grace: float
    """Seconds in which a worker takes a task, if it is not busy."""
    workerless: float
    """Seconds without enough workers."""
    attempts: int
    """Epochs in a row that may fail."""

    @classmethod
    def configured(cls) -> Asking:
        """Return what is set. Raises InputError for a bad value."""
        return cls(
            resources=setting("resources"),
            priority=setting("priority"),
            timeout=setting("gang.timeout"),
            grace=setting("connect-timeout"),
            workerless=setting("workerless-timeout"),
            attempts=setting("gang.attempts"),
        )

    def submit(self, client: distributed.Client, worker: str, name: str, function: Any, *given: Any) -> Any:
        """Pin a task to a worker, before whatever else waits there; return its future."""
        return client.submit(
            function,
            *given,
            key=f"{name}-{uuid.uuid4().hex}",
            workers=[worker],
            allow_other_workers=False,
            pure=False,
            priority=self.priority + 1,
            resources=dict(self.resources) or None,
        )


def check_scheduler(client: distributed.Client) -> None:
    """Raise RunError when the client has lost its scheduler."""
    if client.status != "running":
        raise RunError(_LOST)


@contextlib.contextmanager
def of_scheduler(client: distributed.Client) -> Iterator[None]:
    """Turn what fails for want of the scheduler into RunError."""
    check_scheduler(client)
    try:
        yield
    except (OSError, TimeoutError) as error:
        raise RunError(_LOST) from error


def fetch(client: distributed.Client, futures: Sequence[Any]) -> concurrent.futures.Future[list[Any]]:
    """Begin to fetch results; what a worker held that has died never comes."""
    loop: Any = client.loop
    return asyncio.run_coroutine_threadsafe(client.gather(list(futures), asynchronous=True), loop.asyncio_loop)
