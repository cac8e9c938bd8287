"""Self-consistent density estimate: the Fourier filter that is optimal for the spectrum it leaves, no bandwidth."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import scipy.fft

from ipsdist.model.errors import InputError
from ipsdist.model.mesh import Mesh
from ipsdist.model.system import Grid

__all__ = ["accepted_modes", "self_consistent_density"]

Array = npt.NDArray[np.float64]

_DILATION = 2
"""Modes by which the accepted set is widened, so that a zero of the characteristic function does not cut it off."""


def self_consistent_density(weights: Array, mesh: Mesh, grid: Grid, particles: int) -> Array:
    """Return the estimate of Bernacchia and Pigolotti 2011 on the grid (points,), d = 1.

    The empirical characteristic function D(k) is multiplied by N / (2 (N - 1)) (1 + sqrt(1 - 4 (N - 1) / (N |D|)**2))
    on the accepted modes and 0 elsewhere. Integral 1 over R; small negative lobes are the estimate's own and stay:
    who needs a positive density (entropy, W2) clips it. It is 0 beyond half a width of the occupied nodes on either
    side.

    Parameters
    ----------
    weights
        (nodes,), particles per node.
    particles
        N, at least 2.

    Raises
    ------
    InputError
        More than one dimension: there the dilated set of accepted modes percolates through the noise.
    """
    if mesh.dimension != 1:
        raise InputError(
            "density.bandwidth",
            "self_consistent is for one dimension",
            got=f"{mesh.dimension} dimensions",
            fix="use scott",
        )
    if particles < 2:
        raise InputError("density.bandwidth", "self_consistent needs two particles", got=particles, fix="use a number")
    occupied = np.flatnonzero(weights)
    first, width = int(occupied[0]), int(occupied[-1] - occupied[0]) + 1
    # The period leaves half a width of room on either side for the tails that the filter grows.
    n = int(scipy.fft.next_fast_len(2 * width, real=True))
    modes = scipy.fft.rfft(weights[first : first + width] / particles, n)
    # Binning multiplied the characteristic function by sinc**2 of the phase a half spacing turns.
    modes = (modes / np.sinc(np.arange(len(modes)) / n) ** 2)[: n // 3]
    kept = accepted_modes(np.abs(modes) ** 2, particles)
    power = np.abs(modes[kept]) ** 2
    root = np.sqrt(np.maximum(0.0, 1.0 - 4.0 * (particles - 1) / (particles**2 * power)))
    filtered = modes[kept] * (particles / (2.0 * (particles - 1))) * (1.0 + root)
    period = n * mesh.spacing
    centred = grid.axes()[0] - (mesh.lower[0] + first) * mesh.spacing
    phase = np.outer(centred, kept * (2.0 * math.pi / period))
    waves = np.cos(phase) @ filtered.real - np.sin(phase) @ filtered.imag
    middle = 0.5 * (width - 1) * mesh.spacing
    inside = np.abs(centred - middle) <= 0.5 * period
    return np.asarray(np.where(inside, (2.0 * waves - filtered[0].real) / period, 0.0))


def accepted_modes(power: Array, particles: int) -> npt.NDArray[np.intp]:
    """Return the indices of the modes that stand out of the noise and hang together with mode 0.

    ``power`` (modes,) is |D|**2; a mode stands out when it reaches 4 (N - 1) / N**2. Two of them hang together when
    at most ``2 * _DILATION`` others lie between them.
    """
    standing = np.flatnonzero(power >= 4.0 * (particles - 1) / particles**2)
    gaps = np.flatnonzero(np.diff(standing) > 2 * _DILATION + 1)
    return standing[: gaps[0] + 1] if len(gaps) else standing
