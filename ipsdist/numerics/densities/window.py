"""Gaussian window: from counts on the force mesh to a density on the regular grid, one sparse product an axis.

The bandwidth h is the standard deviation of the whole smoothing. Sharing a particle between the two nodes of its cell
already spreads it by spacing**2 / 6 an axis (the mean of w (1 - w) spacing**2 over the place in the cell), so the
window that is applied has the variance h**2 - spacing**2 / 6: the density's variance is the particles' plus h**2.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import scipy.sparse

from ipsdist.arrays.namespace import is_host, like, namespace, zeros
from ipsdist.model.errors import InputError
from ipsdist.model.mesh import Mesh
from ipsdist.model.system import Grid

__all__ = ["coarsened", "density", "window_matrix"]

Array = npt.NDArray[np.float64]

_NODES_PER_BANDWIDTH = 4
"""A finer mesh is coarsened to save time; here binning changes one particle's window by 1/200, their mean by 4e-5."""
_REACH = 8.0
"""Bandwidths at which the window ends, where it is 1e-14 of its peak."""


def density(weights: Array, mesh: Mesh, grid: Grid, bandwidths: npt.ArrayLike) -> Array:
    """Return the window estimate of the density, normalised to integral 1 over R^d (docs/method.md, section 3).

    Parameters
    ----------
    weights
        (nodes...) or (S, nodes...), particles per node; their sum is the number of particles of a slice. Where they
        lie on a device (float64), the densities are made and stay there.
    mesh
        Where the nodes lie.
    grid
        Where the density is wanted; need not cover the mesh.
    bandwidths
        (d,) shared by all slices, or (S, d); length units; at least the mesh spacing.

    Returns
    -------
    (points...) or (S, points...), particles per volume over the number of particles.

    Raises
    ------
    InputError
        A bandwidth is below the mesh spacing (nodes would show through), or a slice has no particle.

    Notes
    -----
    A sparse product adds the nodes of a point in order, whatever the number of slices and threads: a slice's bits do
    not depend on the slices it comes with. (On a device, where the product is dense, they may.)
    """
    d = mesh.dimension
    xp = namespace(weights)
    slices = xp.reshape(xp.asarray(weights, dtype=xp.float64), (-1, *mesh.shape))
    h = np.asarray(bandwidths, dtype=np.float64)
    if h.shape not in {(d,), (slices.shape[0], d)}:
        raise ValueError(f"`bandwidths` must be ({d},) or ({slices.shape[0]}, {d}); got {h.shape}")
    if h.ndim == 1:
        result = _smoothed(slices, mesh, grid, h)
    else:
        result = xp.concat([_smoothed(slices[s : s + 1, ...], mesh, grid, h[s]) for s in range(slices.shape[0])])
    return result if np.ndim(weights) > d else result[0, ...]


def _smoothed(slices: Array, mesh: Mesh, grid: Grid, bandwidths: Array) -> Array:
    """Smooth (S, nodes...) with one window (d,)."""
    xp = namespace(slices)
    total = xp.sum(xp.reshape(slices, (slices.shape[0], -1)), axis=1)
    if not xp.all(total > 0):
        raise InputError("weights", "must hold at least one particle a slice", got=float(xp.min(total)))
    out = slices
    for axis, (points, h) in enumerate(zip(grid.axes(), bandwidths, strict=True)):
        factor = 2 ** max(0, math.floor(math.log2(max(h / mesh.spacing, 1.0) / _NODES_PER_BANDWIDTH)))
        nodes_last, lower = coarsened(xp.moveaxis(out, axis + 1, -1), mesh.lower[axis], factor)
        matrix = window_matrix(points, lower, nodes_last.shape[-1], mesh.spacing * factor, float(h))
        columns = xp.matrix_transpose(xp.reshape(nodes_last, (-1, nodes_last.shape[-1])))
        product = (matrix if is_host(columns) else like(matrix.toarray(), columns)) @ columns
        by_slices = xp.reshape(xp.matrix_transpose(product), (*nodes_last.shape[:-1], len(points)))
        out = xp.moveaxis(by_slices, -1, axis + 1)
    whole: Array = out / xp.reshape(total, (-1, *[1] * mesh.dimension))
    return np.ascontiguousarray(whole) if is_host(whole) else whole


def coarsened(weights: Array, lower: int, factor: int) -> tuple[Array, int]:
    """Move counts along the last axis to every ``factor``-th lattice node, ``factor`` a power of two.

    Linear shares of linear shares: the result is, exactly, what depositing the particles on the coarse mesh gives.

    Returns
    -------
    The weights (..., coarse nodes) and the coarse lattice index of the first of them.
    """
    if factor == 1:
        return weights, lower
    nodes = weights.shape[-1]
    first, last = lower // factor, (lower + nodes - 1) // factor
    before = lower - first * factor
    after = (last + 1) * factor - lower - nodes
    xp = namespace(weights)
    padded = zeros((*weights.shape[:-1], before + nodes + after), weights)
    padded[..., before : before + nodes] = weights
    blocks = xp.reshape(padded, (*weights.shape[:-1], last - first + 1, factor))
    share = np.arange(factor) / factor
    out = zeros((*weights.shape[:-1], last - first + 2), weights)
    # Shares are multiples of 1 / factor and counts of 2**-16: every sum here is exact, whatever its order.
    out[..., :-1] = xp.sum(blocks * like(1.0 - share, weights), axis=-1)
    out[..., 1:] += xp.sum(blocks * like(share, weights), axis=-1)
    return out, first


def window_matrix(points: Array, lower: int, nodes: int, spacing: float, bandwidth: float) -> scipy.sparse.csr_array:
    """Return the window at ``points`` of a particle at each of the nodes ``lower``, ``lower + 1``, ... (points, nodes).

    The binning variance is taken off the bandwidth. Raises InputError when the bandwidth is below the node spacing:
    from there on the sum over nodes ripples (by 1e-7 of the density at h = spacing, by 1e-3 at three quarters of it).
    """
    if not spacing <= bandwidth < math.inf:
        raise InputError(
            "density.bandwidth",
            f"must be finite and at least the spacing {spacing:g} of the force mesh",
            got=f"{bandwidth:g}",
            fix="give a larger density.bandwidth or a smaller force.spacing",
        )
    variance = bandwidth**2 - spacing**2 / 6.0
    reach = _REACH * bandwidth
    start = np.ceil((points - reach) / spacing).astype(np.int64) - lower
    columns = start[:, None] + np.arange(math.floor(2.0 * reach / spacing) + 1)
    away = (columns + lower) * spacing - points[:, None]
    values = np.exp(away * away * (-0.5 / variance)) / math.sqrt(2.0 * math.pi * variance)
    on_mesh = (columns >= 0) & (columns < nodes)
    pointer = np.concatenate([[0], np.cumsum(on_mesh.sum(axis=1))])
    return scipy.sparse.csr_array((values[on_mesh], columns[on_mesh], pointer), shape=(len(points), nodes))
