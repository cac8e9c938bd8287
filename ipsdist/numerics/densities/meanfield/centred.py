"""Centred second differences as [S] states them, for Runge-Kutta 4: conservative, but neither positive nor dissipative.

    J = (u_left + u_right) / 2 (U_right - U_left) / dx + D (u_right - u_left) / dx,  D = sigma**2 / 2

runs into the left cell through a face. Where D is small against the force times the spacing, densities oscillate.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ipsdist.model.system import Grid
from ipsdist.numerics.densities.meanfield.field import PotentialField
from ipsdist.numerics.densities.meanfield.time_steps import faces

__all__ = ["Centred"]

Array = npt.NDArray[np.float64]

_WAVES = np.linspace(0.0, np.pi, 65)[1:]
"""Wave numbers times spacing at which the step is judged."""


class Centred:
    """Right-hand side of the mean-field equation on the grid; ``constant`` is D = sigma**2 / 2 >= 0."""

    def __init__(self, grid: Grid, field: PotentialField, constant: float) -> None:
        self._spacing = grid.spacing
        self._field = field
        self._constant = constant
        self._faces = faces(field.shape)
        self._diffusive = 4.0 * constant * sum(dx**-2 for dx in grid.spacing)
        self._decay = self._diffusive * np.sin(0.5 * _WAVES) ** 2
        self._turn = np.sin(_WAVES)

    def change(self, u: Array) -> tuple[Array, float]:
        """Return du/dt (points...) and the rate (1 / time) whose inverse bounds a step of Runge-Kutta 4.

        The bound is von Neumann's, for the largest velocity on each axis.
        """
        potential = self._field(u)
        change = np.zeros_like(u)
        turning = 0.0
        for dx, (left, right, _) in zip(self._spacing, self._faces, strict=True):
            slope = (potential[right] - potential[left]) / dx
            flow = (0.5 * (u[left] + u[right]) * slope + self._constant * (u[right] - u[left]) / dx) / dx
            change[left] += flow
            change[right] -= flow
            turning += float(np.abs(slope).max()) / dx
        return change, self._rate(turning)

    def _rate(self, turning: float) -> float:
        """Return the inverse of the longest stable step; ``turning`` is the sum of velocity / spacing over the axes."""
        eigenvalues = -self._decay + 1j * turning * self._turn
        reach = np.interp(np.angle(eigenvalues), _ANGLES, _REACH)
        return float((np.abs(eigenvalues) / reach).max())


def _reach(angles: Array) -> Array:
    """Return how far from 0 the stability region of Runge-Kutta 4 goes at the angles, in [pi / 2, pi]."""
    radii = np.linspace(0.0, 3.5, 3501)[1:]
    z = radii * np.exp(1j * angles[:, None])
    grows = np.abs(1.0 + z * (1.0 + z / 2.0 * (1.0 + z / 3.0 * (1.0 + z / 4.0)))) > 1.0 + 1e-12
    return np.asarray(radii[grows.argmax(axis=1) - 1])


_ANGLES = np.linspace(0.5 * np.pi, np.pi, 91)
_REACH = _reach(_ANGLES)
