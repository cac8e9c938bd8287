"""What a run fixes before its first step and every task needs: sizes, times, mesh spacing, grid."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from ipsdist.model.system import Grid

__all__ = ["Setup"]


@dataclass(frozen=True)
class Setup:
    """The setup of a run; it stands in the root attributes of its store."""

    dimension: int
    particles: int
    """Particles of a replica."""
    replicas: int
    times: tuple[float, ...]
    """Times of the slices."""
    labelled: bool
    force: str | None
    """Force method; None for particles that others stepped."""
    spacing: float
    """Spacing of the force mesh, a power of two."""
    grid: Grid
    """Grid of densities and figures: the configured one, else one chosen from the particles."""
    ragged: bool = False
    """Whether particles come and go; ``particles`` is then the largest number at once."""

    @property
    def slices(self) -> int:
        """Number of slices S."""
        return len(self.times)

    @cached_property
    def slice_times(self) -> npt.NDArray[np.float64]:
        """Times of the slices (S,)."""
        return np.array(self.times)

    def to_json(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Setup:
        """Return the setup of plain values; every float as it was."""
        grid = {key: tuple(value) for key, value in values["grid"].items()}
        return cls(**{**values, "times": tuple(values["times"]), "grid": Grid(**grid)})
