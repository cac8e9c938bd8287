"""Numbers and commands written for people."""

from __future__ import annotations

__all__ = ["install", "size"]


def size(count: float) -> str:
    """Write a number of bytes for people."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"


def install(*extras: str) -> str:
    """Return the command that brings the packages of some extras: ipsdist is in no package index, so from a clone."""
    return f'pip install ".[{",".join(extras)}]" in a clone of ipsdist'
