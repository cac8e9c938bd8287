"""Progress as plain events: what long work says about itself, for whoever listens."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["Observer", "Progress"]


@dataclass(frozen=True)
class Progress:
    """How far a stage is: ``done`` of ``total`` in ``unit`` (particle-steps, slices, ...)."""

    stage: str
    done: float
    total: float
    unit: str


Observer = Callable[[Progress], None]
