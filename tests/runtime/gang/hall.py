"""A gang of threads of this process, with doors as on workers but without Dask."""

from __future__ import annotations

import contextlib
import secrets
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import distributed

from ipsdist.runtime.gang.doors import Door, Pass, Seat
from ipsdist.runtime.gang.reduction import Gang, partners


@dataclass
class Hall:
    """Doors by rank, and what ends them."""

    doors: list[Door]
    entry: Pass
    held: list[threading.Event] = field(default_factory=list)

    def seat(self, rank: int) -> Seat:
        """Return the seat of a rank."""
        size = len(self.doors)
        return Seat(self.doors[rank].name, rank, size, {p: self.doors[p].address for p in partners(rank, size)})

    def member(self, rank: int, work: Callable[[Gang], Any]) -> Any:
        """Do something as one member."""
        own, seat = self.doors[rank], self.seat(rank)
        with own.sitting(seat):
            try:
                return work(Gang(rank, seat.size, own.link, own.rings))
            except BaseException:
                own.close()
                raise

    def all(self, work: Callable[[Gang], Any]) -> list[Any]:
        """Do something as all members at once; return their answers, or what they raised."""
        with ThreadPoolExecutor(len(self.doors)) as pool:
            futures = [pool.submit(self.member, rank, work) for rank in range(len(self.doors))]
            return [future.exception() or future.result() for future in futures]


@contextlib.contextmanager
def hall(
    size: int,
    scheme: str = "tcp",
    timeout: float = 30.0,
    security: Any = None,
    host: str = "127.0.0.1",
    nccl: bool | None = None,
) -> Iterator[Hall]:
    """Open doors on loopback, or in memory with scheme ``inproc``."""
    entry = Pass(secrets.token_bytes(32), timeout, "test", nccl)
    address = f"{scheme}://{host}:1"
    worker = SimpleNamespace(address=address, listen_address=address, security=security or distributed.Security())
    held = [threading.Event() for _ in range(size)]
    doors = [Door(worker, entry, lambda event=event: not event.is_set()) for event in held]
    try:
        yield Hall(doors, entry, held)
    finally:
        for found in doors:
            found.close()
