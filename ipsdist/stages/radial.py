"""Radial equations: every slice also paired with a graded basis of the distance, for phi(r) without a dictionary."""

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
from ipsdist.numerics.equations.block_rule import BlockRule, block_rule, gram_stride
from ipsdist.numerics.equations.radial import RadialPairings, occupied, pair_radial, radial_equations, table_mesh
from ipsdist.numerics.equations.tables import PairTables, external_tables, pair_tables
from ipsdist.stages.base import setup_of
from ipsdist.stages.blocks import Block, block_mesh, common_mesh, slice_blocks
from ipsdist.stages.snapshots import rule_of
from ipsdist.storage import Store

__all__ = ["has_radial", "load_radial", "make_basis", "pair_block", "radial_basis"]

_INTERVALS = {1: 32, 2: 24}
"""Knots over the whole distance; three dimensions are left out, where the tables would not fit."""
_KNOTS = "equations/radial/knots"
_MARGIN = 6
_PARTS = ("blocks", "gram", "energy", "laplacian", "work")


def has_radial(config: RunConfig, setup: Setup) -> bool:
    """Tell whether a run makes radial equations: in one and two dimensions, for forms that are likelihoods."""
    return setup.dimension in _INTERVALS and config.form != "strong"


def make_basis(store: Store, config: RunConfig) -> None:
    """Choose the basis from the extent of all particles at all times, before the first slice is paired."""
    setup = setup_of(store)
    if not has_radial(config, setup):
        return
    blocks = slice_blocks(setup.slices, setup.dimension)
    mesh = reduce(common_mesh, (block_mesh(store, r, b) for r in range(setup.replicas) for b in blocks))
    reach = setup.spacing * (math.hypot(*mesh.shape) + _MARGIN)
    kink = config.dictionary.cutoff
    basis = RadialBasis.graded(
        reach, 2.0 * setup.spacing, None if kink is None or kink >= reach else kink, _INTERVALS[setup.dimension]
    )
    store.write(_KNOTS, np.array(basis.knots), dims=("knot",), units="length")


def radial_basis(store: Store) -> RadialBasis:
    """Read the basis of a run."""
    return RadialBasis(tuple(store.read(_KNOTS).tolist()))


def _rule(config: RunConfig, setup: Setup, basis: RadialBasis) -> BlockRule:
    side = math.ceil(basis.reach / setup.spacing / math.sqrt(setup.dimension))
    mesh = Mesh(setup.spacing, (0,) * setup.dimension, (side,) * setup.dimension)
    stride = gram_stride(setup.slices, len(basis), mesh)
    return block_rule(setup.slice_times, config.form, rule_of(config, setup.slice_times), stride)


def pair_block(store: Store, config: RunConfig, replica: int, block: Block, deposits: Sequence[Deposits]) -> None:
    """Pair the slices of a block with the basis and write what the equations need of them."""
    setup, basis = setup_of(store), radial_basis(store)
    boxed = occupied(deposits)
    mesh, potential = boxed[0].mesh, config.potential()
    external = () if potential is None else (external_tables(potential, mesh),)
    weights = _rule(config, setup, basis).gram[:, block.first : block.stop]
    part = pair_radial(boxed, _tables(basis, table_mesh(mesh)), weights, external)
    dims = {"blocks": ("panels",), "gram": ("panels", "function", "other_function")}
    for name in _PARTS:
        path = f"{_group(replica, block)}/{name}"
        store.write(path, getattr(part, name), dims=dims.get(name, ("slice", "function")))


@lru_cache(maxsize=2)
def _tables(basis: RadialBasis, mesh: Mesh) -> PairTables:
    return pair_tables(basis, mesh)


def _group(replica: int, block: Block) -> str:
    return f"equations/radial/replica-{replica}/block-{block.number}"


def load_radial(store: Store, config: RunConfig, diffusion: float) -> NormalEquations:
    """Return the radial equations of all replicas added, in their order, over `radial_basis`."""
    setup, basis = setup_of(store), radial_basis(store)
    rule, blocks = _rule(config, setup, basis), slice_blocks(setup.slices, setup.dimension)
    each = []
    for replica in range(setup.replicas):
        parts = [RadialPairings(*(store.read(f"{_group(replica, b)}/{name}") for name in _PARTS)) for b in blocks]
        each.append(radial_equations(parts, rule, basis=basis.names, diffusion=diffusion, particles=setup.particles))
    return reduce(lambda a, b: a + b, each)
