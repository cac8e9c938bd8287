"""Wasserstein-2 by POT's linear programme over coarse cells: the independent check of the other roads."""

from __future__ import annotations

import itertools
import math

import numpy as np
import numpy.typing as npt

from ipsdist.model.system import Grid

__all__ = ["programme_distance"]

Array = npt.NDArray[np.float64]

_POINTS = 48**2
"""Most cells of the linear programme."""


def programme_distance(a: Array, b: Array, grid: Grid) -> tuple[float, str]:
    """Return W2 of masses (points...) summed over blocks of cells, by POT, and the label that tells the blocks."""
    import ot

    side = int(_POINTS ** (1.0 / a.ndim) + 1e-9)
    blocks = [np.arange(n) // math.ceil(n / side) for n in a.shape]
    coarse = [_aggregated(mass, blocks).reshape(-1) for mass in (a, b)]
    centres = [np.bincount(k, x) / np.bincount(k) for k, x in zip(blocks, grid.axes(), strict=True)]
    places = np.array(list(itertools.product(*centres)))
    used = [np.flatnonzero(c) for c in coarse]
    cost = ot.dist(places[used[0]], places[used[1]], metric="sqeuclidean")
    squared = ot.emd2(coarse[0][used[0]], coarse[1][used[1]], cost, numItermax=10_000_000)
    return math.sqrt(max(float(squared), 0.0)), f"emd({' x '.join(str(len(c)) for c in centres)})"


def _aggregated(mass: Array, blocks: list[npt.NDArray[np.intp]]) -> Array:
    """Return the masses summed over blocks along every axis."""
    for axis, block in enumerate(blocks):
        mass = np.add.reduceat(mass, np.flatnonzero(np.diff(block, prepend=-1)), axis=axis)
    return mass
