"""The density of many particles that take Euler-Maruyama steps of a size that is felt, on a line or in the plane.

With infinitely many particles a step of size h leads from the density u to

    u'(y) = int u(x) g(y - x - h V(x)) dx,   V = -grad(Phi * u + potential),   g normal of variance sigma^2 h an axis,

which is the law of the chain itself and not of the diffusion that it stands for (docs/method.md, section 4).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import scipy.fft

from ipsdist.numerics.device.spread import spread_normal

__all__ = ["CHAIN_WIDTH", "chain_densities"]

Array = npt.NDArray[np.float64]

CHAIN_WIDTH = 1.1
"""Fewest grid spacings in the standard deviation of one step: its normal density then sums to 1 within 1e-10."""
_NARROW = 1.3
"""Spacings in the part of it that is spread point by point in the plane; a transform adds the rest."""
_REACH = 6.5
"""Standard deviations of a step that are kept; beyond lies 1e-10."""


def chain_densities(
    start: Array,
    spacing: Sequence[float],
    velocity: Callable[[Array], Array],
    diffusion: float,
    step: float,
    steps: int,
    every: int,
) -> Array:
    """Return the densities (steps / every + 1, points...) after 0, every, 2 every, .. steps of size ``step``.

    ``start`` (n,) or (n, m) is the density at points ``spacing`` apart on every axis, of mass 1, as good as 0 at the
    ends; ``velocity`` leads from a density to V at the points (d, points...), length / time; ``diffusion`` is sigma**2.
    Particles that reach an end stay there. Raises ValueError where the grid is too coarse for a step (`CHAIN_WIDTH`).
    """
    dx = np.array(spacing, dtype=np.float64).reshape(-1, *[1] * start.ndim)
    deviations = math.sqrt(diffusion * step) / dx.reshape(-1)
    if deviations.min() < CHAIN_WIDTH:
        raise ValueError(f"a step must be {CHAIN_WIDTH} grid spacings wide or more; got {deviations.min():.3g}")
    places = np.indices(start.shape, dtype=np.float64)
    last = np.array(start.shape, dtype=np.float64).reshape(dx.shape) - 1.0
    u = np.array(start, dtype=np.float64)
    found, scatter = [u], _on_line if start.ndim == 1 else _in_plane
    for number in range(1, steps + 1):
        landed = np.clip(places + step / dx * velocity(u), 0.0, last)
        u = scatter(u, landed, deviations)
        if number % every == 0:
            found.append(u)
    return np.stack(found)


def _on_line(u: Array, landed: Array, deviations: Array) -> Array:
    """Return masses (n,) spread around where they landed (1, n), in grid spacings."""
    (place,), (deviation,), n = landed, deviations, len(u)
    reach = math.ceil(_REACH * deviation) + 1
    offsets = np.arange(-reach, reach + 1)[:, None]
    nearest = np.rint(place)
    shares = np.exp(-0.5 * ((offsets + (nearest - place)) / deviation) ** 2)
    shares *= u / (math.sqrt(2.0 * math.pi) * deviation)
    at = np.clip(nearest.astype(np.intp) + offsets, 0, n - 1)
    return np.asarray(np.bincount(at.reshape(-1), weights=shares.reshape(-1), minlength=n), dtype=np.float64)


def _in_plane(u: Array, landed: Array, deviations: Array) -> Array:
    """Return masses (n, m) spread around where they landed (2, n, m), in grid spacings."""
    narrow = np.minimum(deviations, _NARROW)
    out = np.zeros_like(u)
    spread_normal(u, landed[0], landed[1], narrow, math.ceil(_REACH * float(narrow.max())) + 1, out)
    rest = np.sqrt(deviations**2 - narrow**2)
    if not rest.any():
        return out
    lengths = [
        scipy.fft.next_fast_len(n + 2 * math.ceil(_REACH * r), real=True) for n, r in zip(u.shape, rest, strict=True)
    ]
    product = scipy.fft.rfft2(out, lengths)
    product *= np.exp(-0.5 * (2.0 * math.pi * rest[0] * scipy.fft.fftfreq(lengths[0])) ** 2)[:, None]
    product *= np.exp(-0.5 * (2.0 * math.pi * rest[1] * scipy.fft.rfftfreq(lengths[1])) ** 2)
    return np.ascontiguousarray(scipy.fft.irfft2(product, lengths)[: u.shape[0], : u.shape[1]])
