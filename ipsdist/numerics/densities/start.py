"""The density from which a mean-field prediction starts: a window estimate without the window's broadening."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from ipsdist.model.mesh import Mesh
from ipsdist.model.system import Grid
from ipsdist.numerics.densities.bandwidth import bandwidths
from ipsdist.numerics.densities.window import density

__all__ = ["starting_density"]

Array = npt.NDArray[np.float64]


def starting_density(weights: Array, mesh: Mesh, particles: int, grid: Grid, factor: float = 0.5) -> Array:
    """Return a density on the grid (points...), not negative, of mass 1, for counts (nodes...) in particles per node.

    A window of bandwidth h adds h**2 to the variance, which is felt at all later times: with Scott's rule it costs few
    snapshots their support, at whatever h. Twice the window less the window of sqrt(2) h leaves a bias of order h**4
    only, and the answer no longer depends on h. What is negative then, far out, is cut (some 1e-5 of the mass).
    """
    h = bandwidths("scott", weights, mesh, particles, factor)
    u = 2.0 * density(weights, mesh, grid, h) - density(weights, mesh, grid, math.sqrt(2.0) * h)
    u = np.maximum(u, 0.0)
    return np.asarray(u / (u.sum() * math.prod(grid.spacing)))
