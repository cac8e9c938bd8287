"""Fluxes of Scharfetter and Gummel: conservative, positive, energy-decreasing.

    J = D (B(-p) u_right - B(p) u_left) / dx,  p = (U_right - U_left) / D,  B(p) = p / (exp(p) - 1),  D = sigma**2 / 2

is the flux through a face, exact for a constant force between two centres, so that exp(-U / D) is stationary and the
discrete free energy (learning/energy.py) decays; for D -> 0 it is the upwind flux, of first order.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ipsdist.model.system import Grid
from ipsdist.numerics.densities.meanfield.field import PotentialField
from ipsdist.numerics.densities.meanfield.time_steps import faces

__all__ = ["ScharfetterGummel"]

Array = npt.NDArray[np.float64]

_EXPONENT_LIMIT = 700.0


class ScharfetterGummel:
    """Right-hand side of the mean-field equation on the grid; ``constant`` is D = sigma**2 / 2 >= 0."""

    def __init__(self, grid: Grid, field: PotentialField, constant: float) -> None:
        self._spacing = grid.spacing
        self._field = field
        self._constant = constant
        self._faces = faces(field.shape)
        self._work = [tuple(np.empty(shape) for _ in range(3)) for _, _, shape in self._faces]
        self._rate = np.empty(field.shape)

    def change(self, u: Array) -> tuple[Array, float]:
        """Return du/dt (points...) and the largest rate at which a cell gives mass away (1 / time)."""
        potential = self._field(u)
        change, rate = np.zeros_like(u), self._rate
        rate.fill(0.0)
        for dx, (left, right, _), (forth, back, flow) in zip(self._spacing, self._faces, self._work, strict=True):
            np.subtract(potential[right], potential[left], out=flow)
            self._exchange(flow, forth, back)
            forth *= dx**-2
            back *= dx**-2
            rate[left] += forth
            rate[right] += back
            np.multiply(forth, u[left], out=flow)
            back *= u[right]
            flow -= back
            change[left] -= flow
            change[right] += flow
        return change, float(rate.max())

    def _exchange(self, rise: Array, forth: Array, back: Array) -> None:
        """Write D B(p) and D B(-p), p = rise / D: what crosses a face forwards and backwards, times dx**2.

        Written for any D >= 0: D B(p) = rise / expm1(p) and D B(-p) = rise + D B(p); no diffusion leaves the upwind
        flux.
        """
        if self._constant == 0.0:
            np.maximum(-rise, 0.0, out=forth)
            np.maximum(rise, 0.0, out=back)
            return
        with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
            np.divide(rise, self._constant, out=back)
            np.minimum(back, _EXPONENT_LIMIT, out=back)
            np.expm1(back, out=back)
            np.divide(rise, back, out=forth)
        np.copyto(forth, self._constant, where=back == 0.0)
        # Rounding may leave -1e-16 where the backward part is exponentially small.
        np.add(forth, rise, out=back)
        np.maximum(back, 0.0, out=back)
