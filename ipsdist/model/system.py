"""The system that is simulated or observed, its times, its density grid and its initial law: frozen values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from ipsdist.model.expression import Expression
    from ipsdist.model.radial import RadialKernel

__all__ = ["FromArray", "Grid", "InitialLaw", "Mixture", "Ring", "System", "Times", "Uniform"]


@dataclass(frozen=True)
class System:
    """N particles in d dimensions (docs/method.md, section 1)."""

    dimension: int
    particles: int
    replicas: int
    kernel: RadialKernel | None
    """The interaction law phi(r); None when it is unknown (data that others made)."""
    potential: Expression | None
    """External potential V(x, y, z); None for none."""
    diffusion: float
    """sigma**2, length**2 / time."""


@dataclass(frozen=True)
class Times:
    """Observation every ``observe_every`` steps of length ``step`` up to ``horizon``, or at ``chosen`` steps."""

    horizon: float
    step: float
    observe_every: int
    chosen: tuple[int, ...] | None = None
    """Steps of the slices, increasing, from 0 to the last; None for even slices."""

    @property
    def steps(self) -> int:
        """Number of steps of the whole run."""
        return round(self.horizon / self.step)

    @property
    def slices(self) -> int:
        """Number of observed times, the first included."""
        return self.steps // self.observe_every + 1 if self.chosen is None else len(self.chosen)

    def slice_steps(self) -> npt.NDArray[np.int64]:
        """Return the steps of the slices (slices,)."""
        if self.chosen is None:
            return np.arange(self.slices, dtype=np.int64) * self.observe_every
        return np.array(self.chosen, dtype=np.int64)

    def slice_times(self) -> npt.NDArray[np.float64]:
        """Return the observed times (slices,)."""
        if self.chosen is None:
            return np.arange(self.slices, dtype=np.float64) * (self.observe_every * self.step)
        return self.slice_steps().astype(np.float64) * self.step


@dataclass(frozen=True)
class Grid:
    """The regular grid of densities and figures: ``cells[a]`` intervals, lower to upper, so ``cells[a] + 1`` points."""

    lower: tuple[float, ...]
    upper: tuple[float, ...]
    cells: tuple[int, ...]

    def axes(self) -> list[npt.NDArray[np.float64]]:
        """Grid points, one array (cells + 1,) an axis."""
        return [np.linspace(a, b, n + 1) for a, b, n in zip(self.lower, self.upper, self.cells, strict=True)]

    @property
    def spacing(self) -> tuple[float, ...]:
        """Distance between neighbouring points of every axis."""
        return tuple((b - a) / n for a, b, n in zip(self.lower, self.upper, self.cells, strict=True))


@dataclass(frozen=True)
class Mixture:
    """Mixture of isotropic normals."""

    weights: tuple[float, ...]
    """(K,) positive, sum 1."""
    means: tuple[tuple[float, ...], ...]
    """(K, d)."""
    variances: tuple[float, ...]
    """(K,) variance of every coordinate."""


@dataclass(frozen=True)
class Uniform:
    """Uniform in a box."""

    lower: tuple[float, ...]
    upper: tuple[float, ...]


@dataclass(frozen=True)
class Ring:
    """Density proportional to exp(-(|x| - radius)**2 / (2 variance)) in R^d, d >= 2."""

    radius: float
    variance: float


@dataclass(frozen=True)
class FromArray:
    """Positions that the user gives, (N, d); every replica starts from them."""

    positions: npt.NDArray[np.float64]


InitialLaw = Mixture | Uniform | Ring | FromArray
