"""One experiment of a pool: its own answer, the equations that it brings, and the distances that it saw."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ipsdist.config import RunConfig
from ipsdist.learning.pooling import Part
from ipsdist.numerics.densities.distances import distance_of, pair_distances
from ipsdist.stages.answer import find_answer
from ipsdist.stages.base import setup_of
from ipsdist.stages.blocks import slice_blocks
from ipsdist.stages.densities import slice_totals
from ipsdist.stages.joining import equations_of, moment_slope, pairings_of
from ipsdist.stages.selecting import Answer
from ipsdist.storage import Store

__all__ = ["Experiment", "find_experiment"]

_SEEN = 0.999
"""Share of the pairs of a slice within the distance that counts as seen."""


@dataclass(frozen=True)
class Experiment:
    """What one finished run says."""

    answer: Answer
    part: Part
    """Terms that its slices do not resolve are columns of zeros: they have no say in the pool."""
    reach: float
    """Largest distance of pairs that it saw: 99.9 % of those of a slice are nearer."""


def find_experiment(store: Store, config: RunConfig) -> Experiment:
    """Select from the equations of a store, which is only read, and return them with what belongs to them."""
    answer = find_answer(store, config)
    equations, diffusion = answer.equations, answer.diffusion
    resolved = np.diag([float(name not in answer.unresolved) for name in equations.basis])
    part = Part(equations.change_basis(resolved, equations.basis), answer.factor * diffusion.value)
    # Of tracks that come and go, and of other forms, the moment does not know sigma^2, or its error is in the factor.
    if diffusion.standard_error is not None and config.form == "action" and not setup_of(store).ragged:
        pairings = pairings_of(store, config)
        plain = equations_of(config, store, pairings, diffusion.value)
        slope = resolved @ moment_slope(config, store, pairings, plain)
        part = Part(part.equations, part.diffusion, slope * diffusion.standard_error)
    return Experiment(answer, part, _reach(store))


def _reach(store: Store) -> float:
    """Return the largest of the distances that hold 99.9 % of the pairs of the first and of the last slice."""
    setup = setup_of(store)
    blocks, far = slice_blocks(setup.slices, setup.dimension), []
    for number, slice_of_block in ((0, 0), (len(blocks) - 1, -1)):
        total = slice_totals(store, setup.replicas, setup.slices, setup.dimension, number)[slice_of_block]
        far.append(distance_of(*pair_distances(total.density_weights(), total.mesh), _SEEN))
    return max(far)
