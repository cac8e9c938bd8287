"""Convolutions with radial kernels on the force mesh: pair tables over lags, their spectra, and the product by FFT.

A table holds a function of the distance vector between two nodes. Particles reach the nodes, and nodes reach the
particles, by linear (cloud-in-cell) weights; averaged over the position within a cell each of the two multiplies the
spectrum by 1 - (k dx)**2 / 6 + ... per axis. The prefilter, the stencil [-1/12, 14/12, -1/12] applied once for the
deposit and once for the interpolation, undoes both, so that pair forces and energies are fourth order in the spacing.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.fft

from ipsdist.arrays.namespace import irfftn, is_host, namespace, rfftn
from ipsdist.model.mesh import Mesh
from ipsdist.model.radial import RadialKernel

__all__ = [
    "PAD",
    "Radial",
    "convolve",
    "differentiate",
    "force_spectra",
    "force_table",
    "forward",
    "lag_radii",
    "padded_lengths",
    "prefilter",
    "spectrum",
    "spread_step",
    "trim",
]

Array = npt.NDArray[np.float64]
Spectrum = npt.NDArray[np.complex128]
Radial = Callable[[Array], npt.NDArray[np.float64]]

PAD = 4
"""Extra lags on every side of a table: two for a fourth-order difference, one for each turn of the prefilter."""


def _lag_axes(mesh: Mesh) -> list[Array]:
    """Return the lags -(n-1)-PAD .. (n-1)+PAD of every axis, in length units, shaped to broadcast."""
    axes = []
    for a, n in enumerate(mesh.shape):
        lags = np.arange(-(n - 1) - PAD, n + PAD, dtype=np.float64) * mesh.spacing
        axes.append(lags.reshape([-1 if b == a else 1 for b in range(mesh.dimension)]))
    return axes


def lag_radii(mesh: Mesh) -> Array:
    """Return the length of every lag (2 n_a - 1 + 2 PAD, ...)."""
    axes = _lag_axes(mesh)
    return np.abs(axes[0]) if mesh.dimension == 1 else np.sqrt(sum(x * x for x in axes))


def force_table(mesh: Mesh, phi: Radial, radii: Array | None = None) -> Array:
    """Return K_a(lag) = phi(|lag|) lag_a / |lag|, 0 at lag 0 (d, lags...), not prefiltered (docs/method.md, 1).

    A jump of a kernel in pieces is spread over the nodes next to it (`spread_step`), so that its place is kept.
    """
    r = lag_radii(mesh) if radii is None else radii
    away = r > 0
    values = phi(r)
    for place, size in phi.jumps() if isinstance(phi, RadialKernel) else ():
        values = values + size * (spread_step((r - place) / mesh.spacing) - (r > place))
    with np.errstate(divide="ignore", invalid="ignore"):
        over = np.where(away, values / r, 0.0)
    return np.stack([over * x for x in _lag_axes(mesh)])


def spread_step(x: Array) -> Array:
    """Return the step from 0 to 1 at 0 as nodes of distance 1 hold it: the integral of the hat from -1 to x.

    At the nodes x = n - b its sums against 1 and n are those of the step at b. A sampled step stands at the middle
    between two nodes instead, wherever b is.
    """
    t = np.clip(x, -1.0, 1.0)
    return np.asarray(0.5 + t - 0.5 * t * np.abs(t))


def differentiate(table: Array, axis: int, spacing: float) -> Array:
    """Return the fourth-order centred difference along ``axis``; two entries are lost on every side of every axis."""

    def shifted(k: int) -> Array:
        index = [slice(2, n - 2) for n in table.shape]
        index[axis] = slice(2 + k, table.shape[axis] - 2 + k)
        return table[tuple(index)]

    return (8.0 * (shifted(1) - shifted(-1)) - (shifted(2) - shifted(-2))) / (12.0 * spacing)


def prefilter(table: Array, times: int = 2) -> Array:
    """Apply the stencil [-1/12, 14/12, -1/12] along every axis ``times`` times; each takes an entry off every side."""
    for _ in range(times):
        for axis in range(table.ndim):
            t = np.moveaxis(table, axis, 0)
            table = np.moveaxis(t[1:-1] * (14.0 / 12.0) - (t[2:] + t[:-2]) / 12.0, 0, axis)
    return table


def trim(table: Array, mesh: Mesh) -> Array:
    """Return the central lags -(n-1) .. (n-1) of every axis."""
    index = []
    for size, n in zip(table.shape, mesh.shape, strict=True):
        cut = (size - (2 * n - 1)) // 2
        index.append(slice(cut, size - cut))
    return table[tuple(index)]


def padded_lengths(mesh: Mesh) -> list[int]:
    """Return the length of the zero-padded transform along every axis."""
    return [scipy.fft.next_fast_len(2 * n - 1, real=True) for n in mesh.shape]


def spectrum(table: Array, mesh: Mesh) -> Spectrum:
    """Return the real FFT of a table over the lags -(n-1) .. (n-1), laid out for `convolve`."""
    lengths = padded_lengths(mesh)
    circular = np.zeros(lengths)
    index = np.ix_(*[np.arange(-(n - 1), n) % m for n, m in zip(mesh.shape, lengths, strict=True)])
    circular[index] = table
    return np.asarray(scipy.fft.rfftn(circular))


def force_spectra(mesh: Mesh, phi: Radial) -> Spectrum:
    """Return the spectra of the prefiltered force table (d, frequencies...)."""
    return np.stack([spectrum(trim(prefilter(k), mesh), mesh) for k in force_table(mesh, phi)])


def forward(weights: Array, mesh: Mesh) -> Spectrum:
    """Return the real FFT of node values (nodes...), zero-padded to `padded_lengths`: (frequencies...).

    Axis by axis, because rows of zeros alone need no transform; the bits are those of one `scipy.fft.rfftn`. On a
    device other axes may lead.
    """
    lengths = padded_lengths(mesh)
    if not is_host(weights):
        return rfftn(weights, lengths)  # type: ignore[no-any-return]
    transform = scipy.fft.rfft(weights, lengths[-1])
    for axis in range(mesh.dimension - 1):
        transform = scipy.fft.fft(transform, lengths[axis], axis=axis, overwrite_x=True)
    return np.asarray(transform)


def convolve(spectra: Spectrum, weights: Array, mesh: Mesh) -> Array:
    """Return sum_b table(a - b) weights_b at every node a: (..., frequencies...) and (nodes...) to (..., nodes...).

    One forward transform of length at least 2 n - 1 an axis, one inverse a table: O(n log n), no wrap-around. On a
    device, where both must lie, slices may lead: (S, nodes...) to (S, ..., nodes...).
    """
    lengths, d = padded_lengths(mesh), mesh.dimension
    transform = forward(weights, mesh)
    if not is_host(weights):
        return _convolve_all(spectra, transform, mesh)  # type: ignore[no-any-return]
    if d == 1:
        return np.asarray(scipy.fft.irfft(spectra * transform, lengths[0])[..., : mesh.shape[0]])
    # One table at a time stays in the cache, and an axis done is cut to its nodes before the next: 3 to 5 times faster
    # than one irfftn of all tables, with the same bits.
    tables = spectra.reshape(-1, *transform.shape)
    whole = np.empty((len(tables), *mesh.shape))
    product = np.empty_like(transform)
    for nodes, table in zip(whole, tables, strict=True):
        part = np.multiply(table, transform, out=product)
        for axis, n in enumerate(mesh.shape[:-1]):
            part = scipy.fft.ifft(part, axis=axis, norm="forward", overwrite_x=True)
            part = part[(slice(None),) * axis + (slice(0, n),)]
        nodes[:] = scipy.fft.irfft(part, lengths[-1], norm="forward", overwrite_x=True)[..., : mesh.shape[-1]]
    whole *= 1.0 / math.prod(lengths)
    return whole.reshape(*spectra.shape[:-d], *mesh.shape)


def _convolve_all(spectra: Any, transform: Any, mesh: Mesh) -> Any:
    """Return what `convolve` does in one transform of all tables (and slices): few, large calls for a device."""
    d, lengths = mesh.dimension, padded_lengths(mesh)
    lead, frequencies = transform.shape[:-d], transform.shape[-d:]
    apart = namespace(transform).reshape(transform, (*lead, *[1] * (spectra.ndim - d), *frequencies))
    whole = irfftn(spectra * (apart * (1.0 / math.prod(lengths))), lengths, norm="forward")
    return whole[(..., *(slice(0, n) for n in mesh.shape))]
