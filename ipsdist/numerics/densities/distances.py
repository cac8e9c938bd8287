"""The law of pair distances in the data: what errors of the kernel are weighted by (docs/method.md, section 6)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import scipy.fft

from ipsdist.model.mesh import Mesh

__all__ = ["distance_of", "pair_distances"]

Array = npt.NDArray[np.float64]


def pair_distances(weights: npt.ArrayLike, mesh: Mesh) -> tuple[Array, Array]:
    """Return radii (n,), multiples of the mesh spacing, and the share of particle pairs at each (n,), sum 1.

    From the autocorrelation of the counts over the lags of the mesh, by FFT: O(n log n) for n nodes. A lag is shared
    linearly between the two nearest radii, which keeps the mean distance. Every particle is also paired with itself:
    a share 1 / N of all pairs, at distances up to one spacing.

    Parameters
    ----------
    weights : (nodes...) particles per node, at one time or added over times.
    """
    counts = _occupied(np.asarray(weights, dtype=np.float64))
    lengths = [scipy.fft.next_fast_len(2 * n - 1, real=True) for n in counts.shape]
    power = np.abs(scipy.fft.rfftn(counts, lengths)) ** 2
    around = np.maximum(scipy.fft.irfftn(power, lengths), 0.0)  # negative only by rounding
    lags = [np.minimum(np.arange(m), m - np.arange(m)) for m in lengths]
    inside = np.ix_(*[np.flatnonzero(lag < n) for lag, n in zip(lags, counts.shape, strict=True)])
    axes = [lag[lag < n].astype(np.float64) for lag, n in zip(lags, counts.shape, strict=True)]
    squares = np.stack([axis**2 for axis in np.meshgrid(*axes, indexing="ij")])
    distance = np.sqrt(squares.sum(axis=0)).ravel()
    pairs = np.asarray(around[inside]).ravel()
    first = np.floor(distance).astype(np.intp)
    upper = distance - first
    size = int(first.max()) + 2
    share = np.zeros(size)
    share += np.bincount(first, pairs * (1 - upper), size)
    share += np.bincount(first + 1, pairs * upper, size)
    last = int(np.flatnonzero(share)[-1]) + 1
    return mesh.spacing * np.arange(last, dtype=np.float64), share[:last] / share.sum()


def distance_of(radii: Array, shares: Array, quantile: float) -> float:
    """Return the distance within which this part of the pairs lies, of ``radii`` and ``shares`` (n,) as above."""
    return float(radii[np.searchsorted(np.cumsum(shares) / shares.sum(), quantile)])


def _occupied(counts: Array) -> Array:
    """Return the smallest block of nodes that holds all particles."""
    return counts[tuple(slice(int(places.min()), int(places.max()) + 1) for places in np.nonzero(counts))]
