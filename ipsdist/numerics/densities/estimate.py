"""Density of one slice, by the rule that the run file names, from deposits, counts or positions."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ipsdist.model.deposits import COUNT_ONE, Deposits
from ipsdist.model.errors import InputError
from ipsdist.model.mesh import Mesh
from ipsdist.model.system import Grid
from ipsdist.numerics.densities.bandwidth import bandwidths
from ipsdist.numerics.densities.binning import bin_positions
from ipsdist.numerics.densities.self_consistent import self_consistent_density
from ipsdist.numerics.densities.window import density

__all__ = ["density_of_counts", "density_of_positions", "estimate_density"]

Array = npt.NDArray[np.float64]


def estimate_density(deposits: Deposits, grid: Grid, rule: str | float = "scott", factor: float = 1.0) -> Array:
    """Return the density estimate of a slice (points...), integral 1 over R^d (docs/method.md, section 3).

    ``rule`` is scott, silverman, isj, self_consistent or a bandwidth in length units; ``factor`` multiplies the
    bandwidth and means nothing to self_consistent, which has none. Raises InputError as the rules do.
    """
    return density_of_counts(deposits.density_weights(), deposits.mesh, deposits.particles, grid, rule, factor)


def density_of_positions(
    positions: npt.ArrayLike, grid: Grid, rule: str | float = "scott", factor: float = 1.0
) -> Array:
    """Return the density estimate (points...) of positions (N, d), binned on their own mesh; see `estimate_density`."""
    x = np.asarray(positions, dtype=np.float64)
    if x.ndim != 2 or x.shape[1] != len(grid.cells) or not len(x):
        raise InputError("positions", f"must be (N, {len(grid.cells)}) with N > 0", got=x.shape)
    mesh, count = bin_positions(x)
    return density_of_counts(count / COUNT_ONE, mesh, len(x), grid, rule, factor)


def density_of_counts(
    weights: Array, mesh: Mesh, particles: int, grid: Grid, rule: str | float = "scott", factor: float = 1.0
) -> Array:
    """Return the density estimate (points...) of counts (nodes...) in particles per node; see `estimate_density`."""
    if rule == "self_consistent":
        return self_consistent_density(weights, mesh, grid, particles)
    return density(weights, mesh, grid, bandwidths(rule, weights, mesh, particles, factor))
