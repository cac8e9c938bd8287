"""Blocks of panels: the weights with which slices add up to the equations of a block."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ipsdist.model.mesh import Mesh
from ipsdist.numerics.equations.quadrature import panels

__all__ = ["BLOCKS", "BlockRule", "block_rule", "gram_stride"]

Array = npt.NDArray[np.float64]

BLOCKS = 20
"""Blocks of consecutive panels that the equations of a run keep apart."""
_FEWEST = 96
"""The Gram is made at no fewer slices than this, or at all of them."""
_VALUES = (6e8, 3e7, 3e8)
"""Values of V (functions x axes x nodes x slices) that Grams may take: 5, 3 and 80 CPU-seconds for d = 1, 2, 3."""


@dataclass(frozen=True)
class BlockRule:
    """How S slices make K blocks of panels: b_k and A_k of a block are sums over slices with these weights."""

    form: str
    """``action`` or ``likelihood``."""
    integral: Array
    """(K, S) weights of the time rule: of the Laplacian."""
    gram: Array
    """(K, S) weights of the Gram, 0 at the slices between those where it is made."""
    difference: Array
    """(K, S) action: +1 at the last and -1 at the first slice of a block, for the energy; likelihood: 1 at every slice
    with a next one, for the work."""

    @property
    def made(self) -> npt.NDArray[np.intp]:
        """Slices at which the Gram is made."""
        return np.flatnonzero(self.gram.any(axis=0))


def block_rule(
    times: npt.ArrayLike, form: str, quadrature: str = "simpson", stride: int = 1, blocks: int = BLOCKS
) -> BlockRule:
    """Return the rule for slices at times (S,): at most ``blocks`` blocks of neighbouring panels of the form.

    With a ``stride`` above 1 the Gram, which follows the density and is smooth in time, is made at every ``stride``-th
    slice and taken to be a parabola through three of them in between. The Laplacian and the energy, which hold the
    answer's noise, are always taken at every slice, so that only a fraction of the time rule's own error is added.
    """
    t = np.asarray(times, dtype=np.float64)
    slices = len(t)
    if form == "likelihood":
        rule = [(n, np.array([gap])) for n, gap in enumerate(np.diff(t))]
        ends = [(n, n + 1) for n in range(slices - 1)]
    else:
        cut = panels(t, quadrature)
        rule, ends = [(p.first, p.weights) for p in cut], [(p.first, p.last) for p in cut]
    count = min(blocks, len(rule))
    integral, difference = np.zeros((count, slices)), np.zeros((count, slices))
    block = np.zeros(len(rule), dtype=np.intp)
    block[[n * len(rule) // count for n in range(1, count)]] = 1
    for k, (first, weights), (begin, end) in zip(np.cumsum(block), rule, ends, strict=True):
        integral[k, first : first + len(weights)] += weights
        if form == "likelihood":
            difference[k, begin] = 1.0
        else:
            difference[k, end] += 1.0
            difference[k, begin] -= 1.0
    return BlockRule(form, integral, integral @ _interpolation(t, stride), difference)


def gram_stride(slices: int, functions: int, mesh: Mesh) -> int:
    """Return the stride of Grams on this mesh, a power of two: 1 while affordable, else with no fewer than 96 Grams."""
    affordable = _VALUES[mesh.dimension - 1] / (functions * mesh.dimension * np.prod(mesh.shape, dtype=np.float64))
    stride = 1
    while slices / stride > affordable and slices / (2 * stride) >= _FEWEST:
        stride *= 2
    return stride


def _interpolation(t: Array, stride: int) -> Array:
    """Return the matrix (S, S) that takes values at every stride-th time (and the last) to all times, by parabolas."""
    kept = np.unique(np.append(np.arange(0, len(t), stride), len(t) - 1))
    if stride == 1 or len(kept) < 3:
        return np.eye(len(t))
    matrix = np.zeros((len(t), len(t)))
    # Three neighbours in turn, two intervals each; an odd last interval shares the parabola of the two before its end.
    left = np.minimum(np.maximum(np.searchsorted(kept, np.arange(len(t)), side="right") - 1, 0) // 2 * 2, len(kept) - 3)
    nodes = kept[left[:, None] + np.arange(3)]
    for j in range(3):
        others = [m for m in range(3) if m != j]
        top = np.prod(t[:, None] - t[nodes[:, others]], axis=1)
        bottom = np.prod(t[nodes[:, [j]]] - t[nodes[:, others]], axis=1)
        matrix[np.arange(len(t)), nodes[:, j]] += top / bottom
    return matrix
