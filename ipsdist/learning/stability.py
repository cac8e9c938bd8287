"""Stability: how often a selection finds the same terms when the blocks of panels are drawn again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from ipsdist.learning.uncertainty import BLOCKS
from ipsdist.model.fit import Fit
from ipsdist.model.normal_equations import NormalEquations

__all__ = ["FEWEST_PANELS", "Stability", "stability"]

Array = npt.NDArray[np.float64]

FEWEST_PANELS = 8
"""With fewer panels there is too little to draw from."""


@dataclass(frozen=True)
class Stability:
    """What a selection finds in resamples of its equations."""

    kept: tuple[float, ...]
    """(M,) share of the resamples that keep each column."""
    chosen: tuple[int, ...]
    """Indices of what it keeps from all panels as they are."""
    same: float
    """Share of the resamples that keep exactly these."""
    resamples: int


def stability(
    equations: NormalEquations,
    diffusion: float,
    select: Callable[[NormalEquations, float], Fit],
    *,
    resamples: int = 50,
    seed: int,
) -> Stability | None:
    """Return how often ``select`` keeps each column over resamples of 20 blocks of consecutive panels.

    A resample draws blocks with replacement, as many as there are, and adds their equations: A* = sum_B w_B A_B, b*
    and the energy alike, with multiplicities w_B. Given the path, the noise of a panel is independent of that of the
    others, with covariance sigma^2 A_n (docs/method.md, section 4). So with the solution z of all panels b* - A*z
    scatters about 0 with sum_B g_B g_B' = sigma^2 A in the mean, g_B = b_B - A_B z: a resample carries as much
    information and as much noise as the data, and sigma^2 and N keep their meaning in the criterion. Half of the blocks
    drawn without replacement would carry half of both and test the selection on less data than it had. Blocks, because
    the error of a time rule or a window makes neighbouring panels dependent; the panels of replicas follow each other,
    so a block holds neighbours of one replica, or whole ones.

    It is no repeated experiment: the noise of the data is in every resample and that of the drawing comes on top. A
    term kept by luck looks as stable as a weak one that is there, so a share near 1 says much and one of a half little.

    Parameters
    ----------
    diffusion : sigma**2, length**2 / time, handed on.
    select
        From equations of one panel (sums) and sigma**2 to a fit, such as `best_subset`.
    seed : key of the generator (Philox).

    Returns None for fewer than 8 panels.
    """
    if equations.panels < FEWEST_PANELS:
        return None
    chosen = select(equations.total(), diffusion).terms
    blocks = equations.blocks(BLOCKS)
    generator = np.random.Generator(np.random.Philox(seed))
    kept, same = np.zeros(len(equations.basis), dtype=np.int64), 0
    for _ in range(resamples):
        drawn = generator.integers(blocks.panels, size=blocks.panels)
        terms = select(_weighted(blocks, np.bincount(drawn, minlength=blocks.panels)), diffusion).terms
        kept[list(terms)] += 1
        same += terms == chosen
    return Stability(tuple((kept / resamples).tolist()), chosen, same / resamples, resamples)


def _weighted(equations: NormalEquations, weights: npt.NDArray[np.int64]) -> NormalEquations:
    """Return the sum of panels with these multiplicities as equations of one panel."""

    def total(part: Array) -> Array:
        return np.asarray((part * weights.reshape(-1, *[1] * (part.ndim - 1))).sum(axis=0, keepdims=True))

    energy = None if equations.energy is None else total(equations.energy)
    return replace(equations, gram=total(equations.gram), moment=total(equations.moment), energy=energy)
