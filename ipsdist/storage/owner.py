"""Who holds a lock: a process, on a host, since when; and whether it is known to be dead."""

from __future__ import annotations

import os
import socket
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

__all__ = ["Owner"]


@dataclass(frozen=True)
class Owner:
    """A process by its number and host, and what tells it from another of the same number."""

    process: int
    host: str
    machine: str
    """Boot and process namespace; "" where the system does not tell."""
    begun: str
    """When the process began, in ticks of its machine; "" where the system does not tell."""

    def __str__(self) -> str:
        return f"process {self.process} on {self.host}"

    @classmethod
    def here(cls) -> Owner:
        """Return this process."""
        return cls(os.getpid(), socket.gethostname(), _machine(), _begun(os.getpid()))

    def to_json(self) -> dict[str, Any]:
        """Return the owner for JSON."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Owner:
        """Return an owner that `to_json` gave. Raises KeyError, TypeError and ValueError for anything else."""
        return cls(int(value["process"]), str(value["host"]), str(value["machine"]), str(value["begun"]))

    def is_dead(self) -> bool:
        """Tell whether the process is known to have ended: only a process of this very machine can be asked."""
        if not self.machine or self.machine != _machine():
            return False
        return _begun(self.process) != self.begun


def _machine() -> str:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return ""


def _begun(process: int) -> str:
    """Return when a process began; "" when there is none of that number, or it has ended and is not yet buried."""
    try:
        after = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if after[0] in "ZX" else after[19]
