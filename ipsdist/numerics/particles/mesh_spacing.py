"""The spacing of the force mesh: fine enough that the mesh is not what limits the force, and no finer."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from ipsdist.model.deposits import COUNT_ONE
from ipsdist.model.mesh import Mesh
from ipsdist.numerics.convolution import convolve, force_spectra
from ipsdist.numerics.densities.deposit import deposit
from ipsdist.numerics.particles.forces.mesh import interpolate

__all__ = ["choose_spacing", "data_spacing", "force_errors", "power_of_two"]

Array = npt.NDArray[np.float64]
Radial = Callable[[Array], Array]

_FRACTION = 0.3
"""Largest force error, in sampling errors of the force of N particles."""
_CELLS_PER_DEVIATION = (32, 7, 5)
"""Cells in a standard deviation of the positions for d = 1, 2, 3: for the smooth terms of any dictionary."""
_USUAL = 20_000
"""Particles for which these are enough. What the mesh leaves of the equations' misfit grows like N spacing**4: with
50 times as many, four of cubic's wrong terms together take the place of the right one in one run of five."""
_CELLS_PER_CUTOFF = 20
_MAX_NODES = (2**17, 2**17, 2**18)
"""No finer than this many nodes around the sample, d = 1, 2, 3: beyond it the transforms outweigh what is gained."""
_SOURCES, _TARGETS, _BATCHES = 4096, 128, 8


def choose_spacing(
    kernel: Radial,
    positions_sample: npt.ArrayLike,
    particles: int,
    dimension: int,
    cutoff: float | None,
    replicas: int = 1,
) -> float:
    """Return the mesh spacing, a power of two (length units of the positions).

    The largest one with at least 32, 7, 5 cells (d = 1, 2, 3) in a standard deviation of the widest axis, more by the
    fourth root of the number of all particles over 20 000, in 1-D at least 20 in ``cutoff``, and a force error of at
    most 0.3 sampling errors of the force of ``particles`` particles, both measured on ``positions_sample`` (n, d):
    independent draws, or all positions. Deterministic.
    """
    sample = np.asarray(positions_sample, dtype=np.float64).reshape(-1, dimension)
    sources = sample[:: -(-len(sample) // _SOURCES)]
    spacing = data_spacing(sources, cutoff, particles * replicas)
    if np.ptp(sources, axis=0).max() == 0:
        return spacing
    exact = _pair_forces(kernel, sources)
    while True:
        error, floor = _errors(kernel, sources, exact, particles, spacing)
        finer = Mesh.around(sources.min(0), sources.max(0), spacing / 2)
        if error <= _FRACTION * floor or math.prod(finer.shape) > _MAX_NODES[dimension - 1]:
            return spacing
        spacing /= 2


def data_spacing(positions: npt.ArrayLike, cutoff: float | None, particles: int) -> float:
    """Return the mesh spacing for particles whose force is unknown: the first rules of `choose_spacing`.

    ``particles`` are all of them, of all replicas; ``positions`` (n, d) are a sample.
    """
    x = np.asarray(positions, dtype=np.float64)
    dimension = x.shape[1]
    deviation = float(x.std(axis=0).max())
    limits = [deviation / _CELLS_PER_DEVIATION[dimension - 1]] if deviation > 0 else [1.0]
    if cutoff is not None and dimension == 1:
        limits.append(cutoff / _CELLS_PER_CUTOFF)
    widest = power_of_two(min(limits))
    spacing = power_of_two(min(widest, limits[0] * (_USUAL / particles) ** 0.25))
    while spacing < widest and math.prod(Mesh.around(x.min(0), x.max(0), spacing).shape) > _MAX_NODES[dimension - 1]:
        spacing *= 2
    return spacing


def power_of_two(spacing: float) -> float:
    """Return the largest power of two that is at most ``spacing``."""
    return 2.0 ** math.floor(math.log2(spacing))


def force_errors(kernel: Radial, sources: Array, particles: int, spacing: float) -> tuple[float, float]:
    """Return the root mean square error of the mesh force of ``particles`` particles, and its sampling error.

    Both are measured on ``sources`` (n, d), a sample of the positions, and extrapolated to ``particles``.
    """
    return _errors(kernel, sources, _pair_forces(kernel, sources), particles, spacing)


def _targets(sources: Array) -> Array:
    return sources[:: -(-len(sources) // _TARGETS)]


def _pair_forces(kernel: Radial, sources: Array) -> Array:
    """Return K(x_t - x_s) for every target t and source s (targets, n, d), 0 for a pair at one place."""
    z = _targets(sources)[:, None] - sources[None]
    r = np.sqrt((z * z).sum(axis=2))
    apart = r > 0
    r[~apart] = 1.0
    return z * np.where(apart, kernel(r) / r, 0.0)[..., None]


def _errors(kernel: Radial, sources: Array, exact: Array, particles: int, spacing: float) -> tuple[float, float]:
    """Split the error of batches into what all share (it stays) and what varies (it falls with the particle number)."""
    floor = math.sqrt(exact.var(axis=1).sum(axis=1).mean() / particles)
    mesh = Mesh.around(sources.min(0), sources.max(0), spacing)
    spectra = force_spectra(mesh, kernel)
    batches = min(_BATCHES, len(sources))
    errors = []
    for b in range(batches):
        batch = sources[b::batches]
        weights = deposit(batch, mesh).count / (COUNT_ONE * len(batch))
        force = interpolate(convolve(spectra, weights, mesh), mesh, _targets(sources))
        errors.append(force - exact[:, b::batches].mean(axis=1))
    stack = np.stack(errors)
    shared = (stack.mean(axis=0) ** 2).sum(axis=1).mean()
    varying = stack.var(axis=0, ddof=1).sum(axis=1).mean() if batches > 1 else 0.0
    square = max(0.0, shared - varying / batches) + varying * (len(sources) / batches) / particles
    return math.sqrt(square), floor
