"""Blocks of panels: the weights with which slices add up to the equations of a block."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ipsdist.numerics.equations.quadrature import panels

__all__ = ["BLOCKS", "BlockRule", "between_slices", "block_rule", "gram_slices"]

Array = npt.NDArray[np.float64]

BLOCKS = 20
"""Blocks of consecutive panels that the equations of a run keep apart."""
_FEWEST = 96
"""The Gram is made at no fewer slices than this, or at all of them."""


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


def block_rule(
    times: npt.ArrayLike,
    form: str,
    quadrature: str = "simpson",
    made: npt.NDArray[np.intp] | None = None,
    blocks: int = BLOCKS,
) -> BlockRule:
    """Return the rule for slices at times (S,): at most ``blocks`` blocks of neighbouring panels of the form.

    ``made`` are the slices at which there is a Gram (`gram_slices`); None for all.
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
    weights = integral.copy()
    if made is not None:
        weights = np.zeros_like(integral)
        weights[:, made] = integral @ between_slices(t, made)
    return BlockRule(form, integral, weights, difference)


def gram_slices(slices: int) -> npt.NDArray[np.intp]:
    """Return the slices at which a Gram over many functions is made: every second, fourth, ... of more than 192.

    The Gram follows the density and is smooth in time. The Laplacian and the energy, which hold the answer's noise, are
    taken at every slice, so that only a fraction of the time rule's own error is added.
    """
    stride = 1
    while slices / (2 * stride) >= _FEWEST:
        stride *= 2
    return np.unique(np.append(np.arange(0, slices, stride), slices - 1))


def between_slices(times: npt.ArrayLike, made: npt.NDArray[np.intp]) -> Array:
    """Return the matrix (S, G) that takes values at the slices ``made`` (G,) to all times (S,), by parabolas."""
    t, kept = np.asarray(times, dtype=np.float64), np.asarray(made, dtype=np.intp)
    if len(kept) == len(t):
        return np.eye(len(t))
    matrix = np.zeros((len(t), len(kept)))
    # Three neighbours in turn, two intervals each; an odd last interval shares the parabola of the two before its end.
    left = np.minimum(np.maximum(np.searchsorted(kept, np.arange(len(t)), side="right") - 1, 0) // 2 * 2, len(kept) - 3)
    places = left[:, None] + np.arange(3)
    nodes = t[kept[places]]
    for j in range(3):
        others = [m for m in range(3) if m != j]
        top = np.prod(t[:, None] - nodes[:, others], axis=1)
        bottom = np.prod(nodes[:, [j]] - nodes[:, others], axis=1)
        matrix[np.arange(len(t)), places[:, j]] += top / bottom
    return matrix
