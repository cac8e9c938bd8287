"""Radial equations: every slice also paired with a graded basis of the distance, for any dictionary and for none."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache, reduce

import numpy as np
import numpy.typing as npt

from ipsdist.config import RunConfig
from ipsdist.model.deposits import Deposits
from ipsdist.model.dictionary import Dictionary
from ipsdist.model.mesh import Mesh
from ipsdist.model.normal_equations import NormalEquations
from ipsdist.model.radial_basis import RadialBasis, project
from ipsdist.model.setup import Setup
from ipsdist.numerics.equations.block_rule import block_rule, gram_slices
from ipsdist.numerics.equations.pairings import Pairings
from ipsdist.numerics.equations.radial import (
    RadialPairings,
    join_radial,
    occupied,
    pair_radial,
    project_radial,
    radial_equations,
    table_mesh,
    without_columns,
)
from ipsdist.numerics.equations.tables import PairTables, pair_tables
from ipsdist.numerics.equations.tracks import track_equations
from ipsdist.stages.base import setup_of
from ipsdist.stages.blocks import Block, slice_blocks, whole_mesh
from ipsdist.stages.direct import load_intervals, make_blur, pair_directly, pair_intervals
from ipsdist.stages.outside import outside_names, outside_tables, tests_of
from ipsdist.stages.snapshots import rule_of
from ipsdist.stages.tracks import sums_directly
from ipsdist.storage import Store

__all__ = [
    "HELD",
    "basis_on",
    "follow",
    "has_radial",
    "held",
    "load_projected",
    "load_radial",
    "make_basis",
    "pair_block",
    "radial_basis",
    "ragged_equations",
    "unheld",
]

HELD = 1e-3
"""Largest error of a term in the radial basis, relative to its own size nearby, with which it is still projected."""
_INTERVALS = {1: 32, 2: 24, 3: 24}
"""Knots over the whole distance."""
_FINEST = 512
"""Part of the whole distance that the first interval has at most where pairs are summed directly."""
_MESHED = (1, 2)
"""Dimensions in which the tables of the functions on a mesh fit."""
_KNOTS = "equations/radial/knots"
_MARGIN = 6
_PARTS = ("made", "gram", "energy", "laplacian", "work")


def has_radial(config: RunConfig, setup: Setup) -> bool:
    """Tell whether a run makes radial equations: for forms that pair particles; on a mesh in up to two dimensions."""
    return sums_directly(config, setup) or (setup.dimension in _MESHED and config.form != "strong")


def follow(config: RunConfig, setup: Setup) -> bool:
    """Tell whether the terms follow from the radial equations: the particles were never paired with them."""
    projected = config.dictionary.assembled is not None and config.form != "strong"
    return projected or sums_directly(config, setup)


def make_basis(store: Store, config: RunConfig) -> None:
    """Choose the basis from the extent of all particles at all times, before the first slice is paired."""
    setup = setup_of(store)
    if not has_radial(config, setup):
        return
    basis = basis_on(config, setup, whole_mesh(store, setup).shape)
    store.write(_KNOTS, np.array(basis.knots), dims=("knot",), units="length")
    if sums_directly(config, setup):
        make_blur(store, config)


def basis_on(config: RunConfig, setup: Setup, shape: Sequence[int]) -> RadialBasis:
    """Return the basis for particles on a force mesh of so many nodes along every axis."""
    reach = setup.spacing * (math.hypot(*shape) + _MARGIN)
    kink = config.dictionary.cutoff
    finest = 2.0 * setup.spacing
    if sums_directly(config, setup):  # no mesh is in the way of what the pairs show
        finest = min(finest, reach / _FINEST)
    return RadialBasis.graded(
        reach, finest, None if kink is None or kink >= reach else kink, _INTERVALS[setup.dimension]
    )


def radial_basis(store: Store) -> RadialBasis:
    """Read the basis of a run."""
    return RadialBasis(tuple(store.read(_KNOTS).tolist()))


def pair_block(store: Store, config: RunConfig, replica: int, block: Block, deposits: Sequence[Deposits]) -> None:
    """Pair the slices of a block with the basis and write what the equations need of them.

    ``deposits`` are not looked at where pairs are summed directly.
    """
    setup, basis = setup_of(store), radial_basis(store)
    if setup.ragged:
        pair_intervals(store, config, block, basis)
        return
    if sums_directly(config, setup):
        _write(store, replica, block, pair_directly(store, config, replica, block, basis))
        return
    boxed = occupied(deposits)
    mesh = boxed[0].mesh
    every = gram_slices(setup.slices)
    made = every[(every >= block.first) & (every < block.stop)] - block.first
    _write(
        store,
        replica,
        block,
        pair_radial(boxed, _tables(basis, table_mesh(mesh)), made, outside_tables(store, config, mesh)),
    )


def _write(store: Store, replica: int, block: Block, part: RadialPairings) -> None:
    """Write the pairings of a block with the basis."""
    dims = {"made": ("made",), "gram": ("made", "function", "other_function")}
    for name in _PARTS:
        store.write(f"{_group(replica, block)}/{name}", getattr(part, name), dims=dims.get(name, ("slice", "function")))


@lru_cache(maxsize=2)
def _tables(basis: RadialBasis, mesh: Mesh) -> PairTables:
    return pair_tables(basis, mesh)


def _group(replica: int, block: Block) -> str:
    return f"equations/radial/replica-{replica}/block-{block.number}"


def _load(store: Store, replica: int) -> RadialPairings:
    setup = setup_of(store)
    blocks = slice_blocks(setup.slices, setup.dimension)
    return join_radial(
        [RadialPairings(*(store.read(f"{_group(replica, b)}/{name}") for name in _PARTS)) for b in blocks]
    )


def held(dictionary: Dictionary, basis: RadialBasis) -> npt.NDArray[np.float64]:
    """Return the error (M,) with which the basis holds each term; above `HELD` a term must be assembled itself."""
    return project(dictionary, basis)[1]


def unheld(store: Store, config: RunConfig) -> list[str]:
    """Return a warning for each term that had to be projected and is not held."""
    if not follow(config, setup_of(store)):
        return []
    errors = zip(config.terms().names, held(config.terms(), radial_basis(store)), strict=True)
    told = "is finer than the radial basis of these particles, by which its equations were made"
    return [f"{name} {told}: it is off by {error:.1%}" for name, error in errors if not error <= HELD]


def load_projected(store: Store, config: RunConfig) -> list[Pairings]:
    """Return the pairings of every replica with the terms (columns outside follow as assembled), particles unseen."""
    setup, basis, dictionary = setup_of(store), radial_basis(store), config.terms()
    terms, _ = project(dictionary, basis)
    found = []
    for replica in range(setup.replicas):
        whole = _load(store, replica)
        outside = whole.energy.shape[1] - len(basis)
        matrix = np.zeros((len(basis) + outside, len(dictionary) + outside))
        matrix[: len(basis), : len(dictionary)] = terms
        matrix[len(basis) :, len(dictionary) :] = np.eye(outside)
        found.append(project_radial(whole, setup.slice_times, matrix))
    return found


def load_radial(store: Store, config: RunConfig, diffusion: float) -> NormalEquations:
    """Return the radial equations of all replicas added, in their order, over `radial_basis` and the fields."""
    setup, basis = setup_of(store), radial_basis(store)
    form = "likelihood" if config.form == "likelihood" else "action"
    names = (*basis.names, *outside_names(config))
    each = []
    for replica in range(setup.replicas):
        # Tests of the weak form are no unknowns.
        whole = without_columns(_load(store, replica), len(names), len(tests_of(store, config)))
        rule = block_rule(setup.slice_times, form, rule_of(config, setup.slice_times), whole.made)
        each.append(radial_equations(whole, rule, basis=names, diffusion=diffusion, particles=setup.particles))
    return reduce(lambda a, b: a + b, each)


def ragged_equations(
    store: Store, config: RunConfig, diffusion: float, dictionary: Dictionary | None
) -> NormalEquations:
    """Return the equations of tracks where particles come and go, over a dictionary or (None) over the basis itself."""
    basis = radial_basis(store)
    names = basis.names if dictionary is None else dictionary.names
    matrix = None if dictionary is None else project(dictionary, basis)[0]
    known = 0 if config.known() is None else 1
    return track_equations(load_intervals(store), diffusion, (*names, *outside_names(config)), matrix, known)
