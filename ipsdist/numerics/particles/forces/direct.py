"""Exact pair sums over all pairs: the oracle of the other methods, and the choice for few particles. O(N**2)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from ipsdist.model.radial import RadialKernel

__all__ = ["direct_sums"]

Array = npt.NDArray[np.float64]


def direct_sums(kernel: RadialKernel) -> Callable[[Array], Array]:
    """Return the function from positions (N, d) to sum_j phi(|z|) z / |z|, z = x_i - x_j (N, d), any kernel.

    The first call compiles the kernel (1-2 s).
    """
    from ipsdist.numerics.device.pairs import pair_sum

    def sums(positions: Array) -> Array:
        columns = np.ascontiguousarray(positions.T)
        out = np.zeros_like(columns)
        pair_sum(kernel.source())(columns, columns, out)
        return np.ascontiguousarray(out.T)

    return sums
