"""Break points: slices paired with hats and summed to blocks of panels, and the kernel in pieces found from them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache, reduce

import numpy as np

from ipsdist.config import RunConfig
from ipsdist.model.deposits import Deposits
from ipsdist.model.mesh import Mesh
from ipsdist.model.normal_equations import NormalEquations
from ipsdist.model.radial_basis import RadialBasis
from ipsdist.model.setup import Setup
from ipsdist.numerics.equations.block_rule import BlockRule, block_rule, gram_slices
from ipsdist.numerics.equations.radial import (
    RadialPairings,
    added_grams,
    occupied,
    pair_radial,
    panel_equations,
    table_mesh,
)
from ipsdist.numerics.equations.tables import PairTables, pair_tables
from ipsdist.stages.base import setup_of
from ipsdist.stages.blocks import Block, expected_nodes, slice_blocks, whole_mesh
from ipsdist.stages.densities import slice_totals
from ipsdist.stages.outside import outside_tables
from ipsdist.stages.snapshots import rule_of
from ipsdist.storage import Store

__all__ = ["hat_basis", "hat_count", "load_hats", "make_hats", "pair_hats", "pair_step", "seeks_breaks"]

_HATS = 768
"""Hats at most; their width is the mesh spacing times the least power of two that allows it."""
_BLOCKS = 10
"""Blocks of panels whose Grams are kept apart: a task writes those that its slices belong to, two or three."""
_MARGIN = 6
_LEVELS, _MOST = (np.arange(200) + 0.5) / 200, 0.9
"""Quantiles that are followed from slice to slice, and the share of them that counts."""
_WIDTH = "equations/hats/width"
_PARTS = ("energy", "laplacian", "work")


def seeks_breaks(config: RunConfig) -> bool:
    """Tell whether a run looks for break points, and so pairs its slices with hats."""
    return config.selection == "breakpoints"


def hat_count(config: RunConfig, setup: Setup) -> int:
    """Return about how many hats there are, 0 where none are wanted."""
    return min(_HATS, expected_nodes(setup) + _MARGIN) if seeks_breaks(config) else 0


def make_hats(store: Store, config: RunConfig) -> None:
    """Choose the width of the hats from the extent of all particles at all times."""
    if not seeks_breaks(config):
        return
    setup = setup_of(store)
    nodes = whole_mesh(store, setup).shape[0] + _MARGIN
    times = 1 << max(0, math.ceil(math.log2(nodes / _HATS)))
    hats = -(-nodes // times) + 1
    store.write(_WIDTH, np.array([setup.spacing * times, float(hats)]), dims=("width_then_count",))


def hat_basis(store: Store) -> RadialBasis:
    """Return the hats of a run: at multiples of their width, from 0 on."""
    width, count = store.read(_WIDTH).tolist()
    places = [m * width for m in range(int(count))]
    return RadialBasis((0.0, *places, places[-1]), 1)


def pair_hats(store: Store, config: RunConfig, replica: int, block: Block, deposits: Sequence[Deposits]) -> None:
    """Pair the slices of a block with the hats, and write their Grams added up with the weights of the time rule.

    A Gram over hats takes megabytes: what a block of slices gives to every block of panels is kept, not what a slice
    does.
    """
    setup = setup_of(store)
    boxed = occupied(deposits)
    mesh = boxed[0].mesh
    tables, outside = _tables(hat_basis(store), table_mesh(mesh)), outside_tables(store, config, mesh)
    weights = _rule(config, setup).gram[:, block.first : block.stop]
    rows = np.flatnonzero(weights.any(axis=1))
    rows = rows if len(rows) else np.zeros(1, dtype=np.intp)  # of very many slices, some blocks make no Gram
    part = pair_radial(boxed, tables, np.zeros(0, dtype=np.intp), outside)
    group = _group(replica, block)
    store.write(f"{group}/rows", rows, dims=("panel",))
    grams = added_grams(boxed, tables, weights[rows], outside)
    store.write(f"{group}/gram", grams, dims=("panel", "function", "other_function"))
    for name in _PARTS:
        store.write(f"{group}/{name}", getattr(part, name), dims=("slice", "function"))


@lru_cache(maxsize=2)
def _tables(basis: RadialBasis, mesh: Mesh) -> PairTables:
    return pair_tables(basis, mesh)


def _rule(config: RunConfig, setup: Setup) -> BlockRule:
    times = setup.slice_times
    form = "likelihood" if config.form == "likelihood" else "action"
    return block_rule(times, form, rule_of(config, times), gram_slices(setup.slices), _BLOCKS)


def _group(replica: int, block: Block) -> str:
    return f"equations/hats/replica-{replica}/block-{block.number}"


def load_hats(store: Store, config: RunConfig, diffusion: float) -> NormalEquations:
    """Return the equations over the hats of all replicas added, in their order, blocks of panels as panels."""
    setup, basis = setup_of(store), hat_basis(store)
    rule, blocks = _rule(config, setup), slice_blocks(setup.slices, setup.dimension)
    each = []
    for r in range(setup.replicas):
        parts = {n: np.concatenate([store.read(f"{_group(r, b)}/{n}") for b in blocks]) for n in _PARTS}
        columns = parts["energy"].shape[1]
        gram = np.zeros((len(rule.gram), columns, columns))
        for b in blocks:
            rows = store.read(f"{_group(r, b)}/rows")
            gram[rows] += store.read(f"{_group(r, b)}/gram")
        none = np.zeros(0, dtype=np.intp)
        whole = RadialPairings(none, np.zeros((0, columns, columns)), *(parts[n] for n in _PARTS))
        each.append(
            panel_equations(gram, whole, rule, basis=basis.names, diffusion=diffusion, particles=setup.particles)
        )
    return reduce(lambda a, b: a + b, each)


def pair_step(store: Store, diffusion: float) -> float:
    """Return the least width of a piece that the time rule can see (length).

    That is two standard deviations of how much noise changes the distance of a pair between two slices, and how much
    drift does in a panel of two intervals. Through narrower pieces pairs pass unseen: no time rule holds their
    integrals, and thousands of units of log-likelihood can be gained there by nothing at all.
    """
    noise = math.sqrt(2.0 * diffusion * float(np.diff(setup_of(store).slice_times).max()))
    return 2.0 * noise + 4.0 * _drift(store)


def _drift(store: Store) -> float:
    """Return how far particles drift between two slices: the quantiles of their positions, nine of ten, at most.

    On a line a flow keeps the order of the particles, so that its quantiles go where it goes. The last tenth is left
    out: a quantile in the gap between two groups jumps from one to the other.
    """
    setup = setup_of(store)
    before, farthest = None, 0.0
    for block in slice_blocks(setup.slices, setup.dimension):
        for total in slice_totals(store, setup.replicas, setup.slices, setup.dimension, block.number):
            share = np.cumsum(np.maximum(total.density_weights(), 0.0))
            now = np.interp(_LEVELS, share / share[-1], total.mesh.axes()[0])
            if before is not None:
                farthest = max(farthest, float(np.quantile(np.abs(now - before), _MOST)))
            before = now
    return farthest
