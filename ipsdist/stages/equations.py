"""Equations: every slice paired with the unknowns, on the workers; the driver joins the pairings to any form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from ipsdist.arrays.namespace import is_host
from ipsdist.config import RunConfig
from ipsdist.model.deposits import Deposits
from ipsdist.model.dictionary import Dictionary
from ipsdist.model.mesh import Mesh
from ipsdist.model.normal_equations import NormalEquations
from ipsdist.model.setup import Setup
from ipsdist.numerics.equations.forms.strong import strong_equations
from ipsdist.numerics.equations.pairings import Pairings, pair_slice, stack
from ipsdist.numerics.equations.radial import pair_slices
from ipsdist.numerics.equations.tables import ExternalTables, PairTables, pair_tables
from ipsdist.stages.base import Payload, Stage, Task, Tick, measured, no_answer, setup_of
from ipsdist.stages.blocks import Block, expected_nodes, load_block, slice_blocks, slice_bytes
from ipsdist.stages.breaks import hat_count, make_hats, pair_hats, seeks_breaks
from ipsdist.stages.devices import computes_on_card, computing
from ipsdist.stages.outside import make_tests, outside_tables
from ipsdist.stages.radial import has_radial, make_basis, pair_block
from ipsdist.stages.tracks import sums_directly
from ipsdist.storage import Store

__all__ = ["EQUATIONS", "load_pairings", "load_strong", "read_equations", "write_equations"]

_FUNCTIONS = 40
"""About how many functions the radial basis has."""
_PARTS = ("gram", "energy", "laplacian", "work")


def _prepare(store: Store, config: RunConfig) -> None:
    """Choose radial basis and test functions, which all tasks share."""
    make_basis(store, config)
    make_hats(store, config)
    make_tests(store, config)


def _tasks(config: RunConfig, setup: Setup, store: str, fingerprint: str) -> Sequence[Task]:
    if config.fit.assembly == "drawn":
        return []  # the kernel assembles what it draws
    blocks = _blocks(config, setup)
    replicas = 1 if config.form == "strong" else setup.replicas
    size = _direct_bytes(setup) if sums_directly(config, setup) else _meshed_bytes(config, setup)
    return [
        Task(store, "equations", f"replica-{r}.block-{b.number}", fingerprint, config, (r, b.number), len(b), size)
        for r in range(replicas)
        for b in blocks
    ]


def _blocks(config: RunConfig, setup: Setup) -> list[Block]:
    """Return the blocks that make equations; the panels of the strong form begin at every fitted slice but the last."""
    blocks = slice_blocks(setup.slices, setup.dimension)
    return [b for b in blocks if len(_joined(config, setup, b)) > 1] if config.form == "strong" else blocks


def _joined(config: RunConfig, setup: Setup, block: Block) -> range:
    """Return the slices that the strong form's panels of a block join: the fitted ones in it, and the one after."""
    every = config.fit.every
    first = -(-block.first // every) * every
    after = first + len(range(first, block.stop, every)) * every
    return range(first, min(after + 1, setup.slices), every)


def _meshed_bytes(config: RunConfig, setup: Setup) -> int:
    """Bound the memory of a block that is paired on the mesh.

    Deposits, moved to another mesh, and a spectrum for every slice; tables of dictionary and functions on two meshes.
    """
    functions = (_FUNCTIONS if has_radial(config, setup) else 0) + hat_count(config, setup)
    tables = 8 * (len(config.assembled()) + functions) * (2 * setup.dimension + 2) * _padded(setup)
    return _longest(setup) * (3 * slice_bytes(setup) + 16 * _padded(setup)) + tables


def _direct_bytes(setup: Setup) -> int:
    """Bound the memory of a block that is paired particle by particle: velocities, positions, Grams."""
    n, d, slices = setup.particles, setup.dimension, _longest(setup) + 1
    return 8 * (3 * n * _FUNCTIONS * (d + 1) + slices * (n * d + _FUNCTIONS**2))


def _longest(setup: Setup) -> int:
    return len(slice_blocks(setup.slices, setup.dimension)[0])


def _padded(setup: Setup) -> int:
    """Return about how many nodes the force mesh has when it is padded to twice an axis."""
    return (1 << setup.dimension) * expected_nodes(setup)


@measured
def assemble_block(store: Store, task: Task, tick: Tick) -> Payload:
    """Assemble one block of slices of one replica (strong form: of the densities of all replicas)."""
    if task.config.form == "strong":
        _strong_block(store, task)
    else:
        _pair_block(store, task, tick)
    return {}


def _pair_block(store: Store, task: Task, tick: Tick) -> None:
    config, setup, (replica, number) = task.config, setup_of(store), task.index
    block = slice_blocks(setup.slices, setup.dimension)[number]
    if sums_directly(config, setup):
        pair_block(store, config, replica, block, ())
        return
    slices = load_block(store, replica, block)
    with computing(config) as moved:
        if moved is not None:
            slices = [one.moved(moved) for one in slices]
        mesh = slices[0].mesh
        whole = _paired(slices, _tables(config.assembled(), mesh), outside_tables(store, config, mesh), tick)
        if has_radial(config, setup):
            pair_block(store, config, replica, block, slices)
        if seeks_breaks(config):
            pair_hats(store, config, replica, block, slices)
        del slices
    dims = {"gram": ("slice", "term", "other_term")}
    for name in _PARTS:
        store.write(f"{_group(replica, block)}/{name}", getattr(whole, name), dims=dims.get(name, ("slice", "term")))


def _paired(slices: Sequence[Deposits], tables: PairTables, external: Sequence[ExternalTables], tick: Tick) -> Pairings:
    """Return the pairings of slices on one mesh: one after the other on the host, all at once on a device."""
    if not is_host(slices[0].count):
        return pair_slices(slices, tables, external)
    parts: list[Pairings] = []
    for deposits in slices:
        parts.append(pair_slice(deposits, tables, external))
        tick(len(parts))
    return stack(parts)


@lru_cache(maxsize=2)
def _tables(dictionary: Dictionary, mesh: Mesh) -> PairTables:
    """Tabulate once for all slices on one mesh; neighbouring blocks mostly share it."""
    return pair_tables(dictionary, mesh)


def _group(replica: int, block: Block) -> str:
    return f"equations/replica-{replica}/block-{block.number}"


def _strong_block(store: Store, task: Task) -> None:
    config, setup, number = task.config, setup_of(store), task.index[1]
    block = slice_blocks(setup.slices, setup.dimension)[number]
    slices = _joined(config, setup, block)
    densities = store.read("densities/density", slice(slices[0], slices[-1] + 1))[:: slices.step]
    with computing(config) as moved:
        equations = strong_equations(
            densities if moved is None else moved(np.ascontiguousarray(densities)),
            setup.slice_times[slices.start : slices.stop : slices.step],
            setup.grid,
            config.unknowns(),
            float(config.system.diffusion or 0.0),
            particles=setup.particles * setup.replicas,
            external=config.known(),
        )
    write_equations(store, _group(0, block), equations)


def write_equations(store: Store, group: str, equations: NormalEquations) -> None:
    """Write normal equations into a group of the store."""
    store.write(f"{group}/gram", equations.gram, dims=("panel", "term", "other_term"))
    store.write(f"{group}/moment", equations.moment, dims=("panel", "term"))
    if equations.energy is not None:
        store.write(f"{group}/energy", equations.energy, dims=("panel",))


def read_equations(
    store: Store, groups: Sequence[str], form: str, basis: tuple[str, ...], particles: int, diffusion: float | None
) -> NormalEquations:
    """Read the normal equations of groups, panels one after the other."""
    names = ["gram", "moment"] + (["energy"] if store.exists(f"{groups[0]}/energy") else [])
    parts = {name: np.concatenate([store.read(f"{g}/{name}") for g in groups]) for name in names}
    return NormalEquations(form, basis, parts["gram"], parts["moment"], parts.get("energy"), particles, diffusion)


def load_strong(store: Store, config: RunConfig) -> NormalEquations:
    """Read the equations of the strong form."""
    setup = setup_of(store)
    groups = [_group(0, b) for b in _blocks(config, setup)]
    particles, diffusion = setup.particles * setup.replicas, float(config.system.diffusion or 0.0)
    return read_equations(store, groups, "strong", config.unknowns().names, particles, diffusion)


def load_pairings(store: Store) -> list[Pairings]:
    """Read the pairings of every replica with the assembled dictionary and the columns outside."""
    setup = setup_of(store)
    blocks = slice_blocks(setup.slices, setup.dimension)

    def whole(replica: int, name: str) -> Any:
        return np.concatenate([store.read(f"{_group(replica, b)}/{name}") for b in blocks])

    return [Pairings(*(whole(r, name) for name in _PARTS)) for r in range(setup.replicas)]


def _keys(config: RunConfig) -> Mapping[str, Any]:
    """Return what the pairings depend on. How they are joined is the kernel's affair, sigma**2 too (not so: strong)."""
    terms = config.terms() if config.form == "strong" else config.assembled()  # the strong form projects none
    dictionary = {**config.values("dictionary")["dictionary"], "assembled": None, "terms": list(terms.names)}
    known = None if config.known() is None else config.system.potential
    keys: dict[str, Any] = {"dictionary": dictionary, "potential": known}
    if computes_on_card(config):
        keys["device"] = config.fit.device
    if config.form == "strong":
        drawn = {"assembly": "drawn"} if config.fit.assembly == "drawn" else {}
        thinned = {"every": config.fit.every} if config.fit.every > 1 else {}
        return {**keys, **drawn, **thinned, "form": "strong", "diffusion": config.system.diffusion}
    if config.form != "weak" and config.fit.sums != "mesh" and config.data.source == "import":
        # Direct sums count pairs at contact over a length that a given sigma^2 sets; simulated ones have it fixed.
        keys["diffusion"] = config.system.diffusion
    if seeks_breaks(config):  # Grams over hats are added up by the time rule
        keys["hats"] = {"form": config.form, "quadrature": config.fit.quadrature}
    return {**keys, "form": "weak" if config.form == "weak" else "pairs", "sums": config.fit.sums}


EQUATIONS = Stage(
    name="equations",
    unit="slices",
    needs=lambda config: ("particles", "densities") if config.form == "strong" else ("particles",),
    keys=_keys,
    prepare=_prepare,
    tasks=_tasks,
    do=assemble_block,
    finish=no_answer,
    revision=2,
)
