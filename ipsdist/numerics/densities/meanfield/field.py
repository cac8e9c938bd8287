"""The potential that a density on the grid makes."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.fft

from ipsdist.model.errors import InputError
from ipsdist.model.system import Grid

__all__ = ["PotentialField"]

Array = npt.NDArray[np.float64]
Function = Callable[..., npt.NDArray[Any]]


class PotentialField:
    """The potential U = Phi * u + V that a density on the grid makes, by zero-padded FFT.

    Parameters
    ----------
    grid
        Points of the density.
    potential
        Phi(r), vectorised, Phi(0) = 0.
    external
        V(x, ...), one array of coordinates an axis; None for none.

    Raises
    ------
    InputError
        A potential that is not finite on the grid.
    """

    def __init__(self, grid: Grid, potential: Function, external: Function | None = None) -> None:
        self.shape = tuple(n + 1 for n in grid.cells)
        self.volume = math.prod(grid.spacing)
        self._lengths = [scipy.fft.next_fast_len(2 * n - 1, real=True) for n in self.shape]
        # Entry k of a transform of length m stands for the lags k and k - m: fftfreq, up to the factor m.
        lags = [scipy.fft.fftfreq(m, 1.0 / m) * dx for m, dx in zip(self._lengths, grid.spacing, strict=True)]
        radius = np.sqrt(sum(lag**2 for lag in np.meshgrid(*lags, indexing="ij", sparse=True)))
        self._spectrum = scipy.fft.rfftn(np.asarray(potential(radius), dtype=np.float64) * self.volume)
        coordinates = np.meshgrid(*grid.axes(), indexing="ij")
        self.external = np.zeros(self.shape)
        if external is not None:
            self.external += external(*coordinates)
        if not (np.isfinite(self._spectrum).all() and np.isfinite(self.external).all()):
            raise InputError("system.kernel", "and system.potential must have finite potentials on the grid")

    def interaction(self, density: Array) -> Array:
        """Return Phi * u (points...)."""
        n, m = self.shape[-1], self._lengths[-1]
        # The operator `*` may or may not reuse a temporary, with its factors exchanged then: other last bits.
        product = np.multiply(self._spectrum, self._transform(density))
        if len(self.shape) == 1:
            return np.asarray(scipy.fft.irfft(product, m)[:n])
        for axis, points in enumerate(self.shape[:-1]):
            product = scipy.fft.ifft(product, axis=axis, norm="forward", overwrite_x=True)
            product = product[(slice(None),) * axis + (slice(0, points),)]
        whole = scipy.fft.irfft(product, m, axis=-1, norm="forward", overwrite_x=True)
        return np.asarray(np.multiply(whole[..., :n], 1.0 / math.prod(self._lengths)))

    def _transform(self, density: Array) -> npt.NDArray[np.complex128]:
        """Return rfftn of the padded density, axis by axis so that no row of nothing but padding is transformed."""
        rows = scipy.fft.rfft(density, self._lengths[-1], axis=-1)
        for axis, length in enumerate(self._lengths[:-1]):
            rows = scipy.fft.fft(rows, length, axis=axis, overwrite_x=True)
        return np.asarray(rows)

    def __call__(self, density: Array) -> Array:
        """Return U (points...)."""
        total = self.interaction(density)
        total += self.external
        return total
