"""Free energy of a density on the grid, the Lyapunov functional of the mean-field equation (docs/method.md, section 1).

Sums run over grid points with the volume of a cell, as in the mean-field solver, whose solutions therefore lower them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from ipsdist.model.system import Grid
from ipsdist.numerics.densities.meanfield import PotentialField

__all__ = ["entropy_integral", "free_energies", "free_energy", "source_normalisation"]

Array = npt.NDArray[np.float64]
Function = Callable[..., npt.NDArray[Any]]


def free_energy(
    density: Array, grid: Grid, diffusion: float, potential: Function, external: Function | None = None
) -> float:
    """Return F = (sigma**2 / 2) int u ln u + 1/2 int u (Phi * u) + int u V of one density (points...).

    ``diffusion`` is sigma**2, ``potential`` Phi(r) with Phi(0) = 0, ``external`` V(x, ...), both vectorised.
    """
    return float(free_energies(density[None], grid, diffusion, potential, external)[0])


def free_energies(
    densities: Array, grid: Grid, diffusion: float, potential: Function, external: Function | None = None
) -> Array:
    """Return `free_energy` of every density (T, points...) as (T,)."""
    field = PotentialField(grid, potential, external)
    parts = [(entropy_integral(u, grid), np.sum(u * (0.5 * field.interaction(u) + field.external))) for u in densities]
    return np.array([0.5 * diffusion * entropy + field.volume * rest for entropy, rest in parts])


def source_normalisation(densities: Array, grid: Grid, potential: Function) -> Array:
    """Return 1/2 int u ln u + int u (Phi * u) of every density (T, points...).

    This normalisation matches the values that [S] prints. It is no Lyapunov functional (unless sigma**2 = 1/2) and
    stands beside `free_energies` for comparison only.
    """
    field = PotentialField(grid, potential)
    parts = [(entropy_integral(u, grid), np.sum(u * field.interaction(u))) for u in densities]
    return np.array([0.5 * entropy + field.volume * interaction for entropy, interaction in parts])


def entropy_integral(density: Array, grid: Grid) -> float:
    """Return int u ln u of a density (points...); where u <= 0 (empty cells, negative lobes) it adds nothing."""
    positive = density[density > 0.0]
    return float(np.sum(positive * np.log(positive)) * np.prod(grid.spacing))
