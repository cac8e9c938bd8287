"""How a gang is put to Dask: pinned tasks, and answers that may vanish with their worker."""

# mypy: untyped-calls-exclude="distributed"

from __future__ import annotations

import asyncio
import concurrent.futures
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import distributed

from ipsdist.runtime.settings import setting

__all__ = ["LOOK_SECONDS", "Asking", "fetch"]

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
    nccl: bool | None
    """Whether members sum on their cards; see ``Pass``."""

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
            nccl=setting("gang.nccl"),
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


def fetch(client: distributed.Client, futures: Sequence[Any]) -> concurrent.futures.Future[list[Any]]:
    """Begin to fetch results; what a worker held that has died never comes."""
    loop: Any = client.loop
    return asyncio.run_coroutine_threadsafe(client.gather(list(futures), asynchronous=True), loop.asyncio_loop)
