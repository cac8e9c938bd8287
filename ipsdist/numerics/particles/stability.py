"""How large a step the force allows: the check that refuses a step before any work is done with it."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from ipsdist.model.mesh import Mesh
from ipsdist.model.system import System
from ipsdist.numerics.densities.deposit import deposit
from ipsdist.numerics.particles.forces.mesh import MeshForce

__all__ = ["largest_step", "lipschitz_constant"]

_LARGEST_PRODUCT = 0.5
"""Step times Lipschitz constant: Euler's step contracts and does not overshoot where the drift pulls back."""
_CELLS_PER_DEVIATION = 16
"""Slopes are taken over this part of a standard deviation: the noise of single pairs blows nothing up."""


def largest_step(system: System, positions: npt.ArrayLike, spacing: float) -> float:
    """Return the largest time step with step * L <= 0.5, one significant digit, rounded down; inf for L = 0.

    L is the Lipschitz constant of the drift at the start, where there are particles. ``positions`` (n, d) is a sample
    of the initial positions or all of them, ``spacing`` that of the force mesh.
    """
    constant = lipschitz_constant(system, positions, spacing)
    if constant == 0:
        return math.inf
    step = _LARGEST_PRODUCT / constant
    exponent = math.floor(math.log10(step))
    return float(f"{max(1, math.floor(step / 10.0**exponent))}e{exponent}")


def lipschitz_constant(system: System, positions: npt.ArrayLike, spacing: float) -> float:
    """Return the largest slope of the drift between occupied nodes (1 / time): the row-sum norm of its Jacobian."""
    x = np.asarray(positions, dtype=np.float64).reshape(-1, system.dimension)
    mesh = Mesh.around(x.min(0), x.max(0), spacing)
    count = deposit(x, mesh).count
    drift = MeshForce(system.kernel, system.potential, len(x)).node_drift(mesh, count)
    stride = max(1, round(float(x.std(axis=0).max()) / (_CELLS_PER_DEVIATION * spacing)))
    occupied = count > 0
    slopes = np.zeros_like(drift)
    for axis, nodes in enumerate(mesh.shape):
        if stride >= nodes:
            continue
        near = tuple(slice(None, -stride) if a == axis else slice(None) for a in range(mesh.dimension))
        far = tuple(slice(stride, None) if a == axis else slice(None) for a in range(mesh.dimension))
        both = occupied[near] & occupied[far]
        slope = np.abs(drift[(slice(None), *far)] - drift[(slice(None), *near)]) / (stride * spacing)
        slopes[(slice(None), *near)] += np.where(both, slope, 0.0)
    return float(slopes.max())
