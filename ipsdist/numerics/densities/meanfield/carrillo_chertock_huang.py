"""The finite volumes of Carrillo, Chertock and Huang (2015): of second order however small the diffusion.

The density moves with the velocity -grad xi, xi = D ln u + U, D = sigma**2 / 2, differenced across a face; what crosses
the face is the value there of the upwind cell's linear reconstruction. Slopes are centred; where one would leave a
negative value at a face, it is the generalised minmod of the one-sided slopes instead, so that no face value is
negative. In continuous time the scheme keeps sign and mass, and lowers the free energy (learning/energy.py).
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from ipsdist.model.system import Grid
from ipsdist.numerics.densities.meanfield.field import PotentialField
from ipsdist.numerics.device.upwind import move_upwind

__all__ = ["CarrilloChertockHuang"]

Array = npt.NDArray[np.float64]

_FLOOR = 1e-40
"""Share of the largest density at which ln u stops falling: next to an empty cell the velocity would be infinite."""


class CarrilloChertockHuang:
    """Right-hand side of the mean-field equation on the grid; ``constant`` is D = sigma**2 / 2 >= 0."""

    def __init__(self, grid: Grid, field: PotentialField, constant: float) -> None:
        self._inverses = [1.0 / dx for dx in grid.spacing]
        self._field = field
        self._constant = constant
        shape = field.shape
        self._views = [(math.prod(shape[:a]), shape[a], math.prod(shape[a + 1 :])) for a in range(len(shape))]
        self._diffusive = 2.0 * constant * sum(inverse**2 for inverse in self._inverses)
        self._loss = np.empty(shape)

    def change(self, u: Array) -> tuple[Array, float]:
        """Return du/dt (points...) and the rate (1 / time) whose inverse bounds an Euler step.

        It adds the largest share of its mass that a cell gives away, which bounds the sign, and 2 D / dx**2 an axis,
        where the Euler steps of a nearly flat density stop decaying.
        """
        xi = self._field(u)
        change, loss = np.zeros_like(u), self._loss
        loss.fill(0.0)
        if self._constant > 0.0:
            logarithm = np.maximum(u, max(_FLOOR * float(u.max()), np.finfo(np.float64).tiny))
            np.log(logarithm, out=logarithm)
            logarithm *= self._constant
            xi += logarithm
        for view, inverse in zip(self._views, self._inverses, strict=True):
            move_upwind(u.reshape(view), xi.reshape(view), inverse, change.reshape(view), loss.reshape(view))
        return change, float(loss.max()) + self._diffusive
