"""The density of many particles that take Euler-Maruyama steps of a size that is felt, on a line.

With infinitely many particles a step of size h leads from the density u to

    u'(y) = int u(x) g(y - x - h V(x)) dx,   V = -d/dx (Phi * u + potential),   g normal of variance sigma^2 h,

which is the law of the chain itself and not of the diffusion that it stands for (docs/method.md, section 4).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

__all__ = ["CHAIN_WIDTH", "chain_densities"]

Array = npt.NDArray[np.float64]

CHAIN_WIDTH = 1.1
"""Fewest grid spacings in the standard deviation of one step: its normal density then sums to 1 within 1e-10."""
_REACH = 6.5
"""Standard deviations of a step that are kept; beyond lies 1e-10."""


def chain_densities(
    start: Array,
    spacing: float,
    velocity: Callable[[Array], Array],
    diffusion: float,
    step: float,
    steps: int,
    every: int,
) -> Array:
    """Return the densities (steps / every + 1, n) after 0, every, 2 every, .. steps of size ``step``.

    ``start`` (n,) is the density at n points ``spacing`` apart, of mass 1, as good as 0 at both ends; ``velocity``
    leads from a density to V at the points, length / time; ``diffusion`` is sigma**2. Particles that reach an end stay
    there. Raises ValueError where the grid is too coarse for a step (`CHAIN_WIDTH`).
    """
    deviation = math.sqrt(diffusion * step) / spacing
    if deviation < CHAIN_WIDTH:
        raise ValueError(f"a step must be {CHAIN_WIDTH} grid spacings wide or more; got {deviation:.3g}")
    reach = math.ceil(_REACH * deviation) + 1
    offsets = np.arange(-reach, reach + 1)
    n = len(start)
    places = np.arange(n, dtype=np.float64)
    u, found = np.array(start, dtype=np.float64), [np.array(start, dtype=np.float64)]
    for number in range(1, steps + 1):
        landed = np.clip(places + step / spacing * velocity(u), 0.0, n - 1.0)
        nearest = np.rint(landed)
        shares = np.exp(-0.5 * ((offsets[:, None] + (nearest - landed)) / deviation) ** 2)
        shares *= u / (math.sqrt(2.0 * math.pi) * deviation)
        at = np.clip(nearest.astype(np.intp) + offsets[:, None], 0, n - 1)
        u = np.asarray(np.bincount(at.reshape(-1), weights=shares.reshape(-1), minlength=n), dtype=np.float64)
        if number % every == 0:
            found.append(u)
    return np.stack(found)
