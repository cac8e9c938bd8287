"""Direct pair sums in Numba, compiled for one kernel at a time."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
from numba import njit

__all__ = ["pair_sum"]

_TILE = 256
"""Targets of a tile: their distances and sums stay in the first-level cache while all sources pass."""


@lru_cache(maxsize=16)
def pair_sum(source: str) -> Callable[[Any, Any, Any], None]:
    """Return the compiled function (targets (d, T), sources (d, S), out (d, T)) that adds the pair sums to ``out``.

    ``source`` is what `RadialKernel.source` writes from its own checked tree, phi in terms of r; never a user's text.
    Sources are added one after the other, so the order of the sum is theirs.
    """
    namespace: dict[str, Any] = {"math": math, "np": np}
    exec(f"def phi(r):\n    return {source}\n", namespace)
    phi = njit(error_model="numpy")(namespace["phi"])

    @njit(error_model="numpy", nogil=True)
    def add(targets, sources, out):  # type: ignore[no-untyped-def]
        d, size = targets.shape
        square, ratio = np.empty(_TILE), np.empty(_TILE)
        for start in range(0, size, _TILE):
            n = min(_TILE, size - start)
            for j in range(sources.shape[1]):
                square[:n] = 0.0
                for a in range(d):
                    for i in range(n):
                        z = targets[a, start + i] - sources[a, j]
                        square[i] += z * z
                for i in range(n):
                    r = math.sqrt(square[i])
                    ratio[i] = phi(r) / r if r > 0.0 else 0.0
                for a in range(d):
                    for i in range(n):
                        out[a, start + i] += ratio[i] * (targets[a, start + i] - sources[a, j])

    return add
