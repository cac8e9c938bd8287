"""Density of one slice: deposits in, values on the regular grid out, by the rule the run file names."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ipsdist.model.deposits import Deposits
from ipsdist.model.system import Grid
from ipsdist.numerics.densities.bandwidth import bandwidths
from ipsdist.numerics.densities.self_consistent import self_consistent_density
from ipsdist.numerics.densities.window import density

__all__ = ["estimate_density"]


def estimate_density(
    deposits: Deposits, grid: Grid, rule: str | float = "scott", factor: float = 1.0
) -> npt.NDArray[np.float64]:
    """Return the density estimate (points...), integral 1 over R^d (docs/method.md, section 3).

    ``rule`` is one of scott, silverman, isj, self_consistent, or a bandwidth in length units; ``factor`` multiplies the
    bandwidth and means nothing to self_consistent, which has none. Raises InputError as the rules do.
    """
    weights = deposits.density_weights()
    if rule == "self_consistent":
        return self_consistent_density(weights, deposits.mesh, grid, deposits.particles)
    h = bandwidths(rule, weights, deposits.mesh, deposits.particles, factor)
    return density(weights, deposits.mesh, grid, h)
