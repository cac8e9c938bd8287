"""Equations: every slice paired with the dictionary, then joined to the normal equations of the form."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from ipsdist.config import RunConfig
from ipsdist.model.dictionary import Dictionary
from ipsdist.model.expression import Expression
from ipsdist.model.mesh import Mesh
from ipsdist.model.normal_equations import NormalEquations
from ipsdist.model.setup import Setup
from ipsdist.numerics.equations.diffusion import Diffusion, richardson
from ipsdist.numerics.equations.forms.action import action_equations
from ipsdist.numerics.equations.forms.likelihood import likelihood_equations
from ipsdist.numerics.equations.forms.strong import strong_equations
from ipsdist.numerics.equations.pairings import Pairings, pair_slice, stack
from ipsdist.numerics.equations.tables import ExternalTables, PairTables, external_tables, pair_tables
from ipsdist.stages.base import Payload, Stage, Task, Tick, measured, setup_of
from ipsdist.stages.blocks import Block, expected_nodes, load_block, slice_blocks, slice_bytes
from ipsdist.stages.radial import has_radial, make_basis, pair_block
from ipsdist.stages.snapshots import joined, rule_of
from ipsdist.storage import Store

__all__ = ["EQUATIONS", "load_diffusion", "load_equations", "load_pairings", "write_equations"]

_FUNCTIONS = 60
"""About how many functions the radial basis has at most; tables of two meshes are kept."""
_PARTS = ("gram", "energy", "laplacian", "work")


def _tasks(config: RunConfig, setup: Setup, store: str, fingerprint: str) -> Sequence[Task]:
    blocks = _blocks(config, setup)
    replicas = 1 if config.form == "strong" else setup.replicas
    size = len(blocks[0]) * slice_bytes(setup) + _table_bytes(config, setup)
    return [
        Task(store, "equations", f"replica-{r}.block-{b.number}", fingerprint, config, (r, b.number), len(b), size)
        for r in range(replicas)
        for b in blocks
    ]


def _blocks(config: RunConfig, setup: Setup) -> list[Block]:
    """Return the blocks that make equations; the panels of the strong form begin at every slice but the last."""
    blocks = slice_blocks(setup.slices, setup.dimension)
    return [b for b in blocks if b.first < setup.slices - 1] if config.form == "strong" else blocks


def _table_bytes(config: RunConfig, setup: Setup) -> int:
    """Bound the tables of the dictionary, which are padded to twice the mesh an axis, and their products on it."""
    terms, d = len(config.dictionary.terms), setup.dimension
    padded = (1 << d) * expected_nodes(setup)
    functions = _FUNCTIONS if has_radial(config, setup) else 0
    return 8 * (terms * (2 * d + 4) + 2 * functions * (2 * d + 2)) * padded


@measured
def assemble_block(store: Store, task: Task, tick: Tick) -> Payload:
    """Assemble one block of slices of one replica (strong form: of the densities of all replicas)."""
    if task.config.form == "strong":
        _strong_block(store, task)
    else:
        _pair_block(store, task, tick)
    return {}


def _pair_block(store: Store, task: Task, tick: Tick) -> None:
    setup, (replica, number) = setup_of(store), task.index
    block = slice_blocks(setup.slices, setup.dimension)[number]
    potential, slices = task.config.potential(), load_block(store, replica, block)
    parts: list[Pairings] = []
    for deposits in slices:
        tables, external = _tables(task.config.terms(), potential, deposits.mesh)
        parts.append(pair_slice(deposits, tables, external))
        tick(len(parts))
    if has_radial(task.config, setup):
        pair_block(store, task.config, replica, block, slices)
    whole = stack(parts)
    dims = {"gram": ("slice", "term", "other_term")}
    for name in _PARTS:
        path = f"equations/replica-{replica}/block-{number}/{name}"
        store.write(path, getattr(whole, name), dims=dims.get(name, ("slice", "term")))


@lru_cache(maxsize=2)
def _tables(
    dictionary: Dictionary, potential: Expression | None, mesh: Mesh
) -> tuple[PairTables, ExternalTables | None]:
    """Tabulate once for all slices on one mesh; neighbouring blocks mostly share it."""
    return pair_tables(dictionary, mesh), None if potential is None else external_tables(potential, mesh)


def _strong_block(store: Store, task: Task) -> None:
    setup, number = setup_of(store), task.index[1]
    block = slice_blocks(setup.slices, setup.dimension)[number]
    until = min(block.stop + 1, setup.slices)
    times = setup.slice_times
    equations = strong_equations(
        store.read("densities/density", slice(block.first, until)),
        times[block.first : until],
        setup.grid,
        task.config.terms(),
        float(task.config.system.diffusion or 0.0),
        particles=setup.particles * setup.replicas,
        external=task.config.potential(),
    )
    write_equations(store, f"equations/replica-0/block-{number}", equations)


def write_equations(store: Store, group: str, equations: NormalEquations) -> None:
    """Write normal equations into a group of the store."""
    store.write(f"{group}/gram", equations.gram, dims=("panel", "term", "other_term"))
    store.write(f"{group}/moment", equations.moment, dims=("panel", "term"))
    if equations.energy is not None:
        store.write(f"{group}/energy", equations.energy, dims=("panel",))


def _finish(store: Store, config: RunConfig, payloads: Sequence[Payload]) -> Payload:
    """Join slices to panels, replica after replica: the only place where floats of tasks meet, in a fixed order."""
    setup = setup_of(store)
    blocks = _blocks(config, setup)
    diffusion = _diffusion(store, config, blocks_of=[b.number for b in blocks])
    replicas = []
    for r in range(1 if config.form == "strong" else setup.replicas):
        groups = [f"equations/replica-{r}/block-{b.number}" for b in blocks]
        replicas.append(_join(store, config, groups, diffusion.value))
    equations = joined(replicas)
    write_equations(store, "equations", equations)
    return {
        "form": equations.form,
        "basis": list(equations.basis),
        "particles": equations.particles,
        "equations_diffusion": equations.diffusion,
        "diffusion": {"value": diffusion.value, "standard_error": diffusion.standard_error},
    }


def _join(store: Store, config: RunConfig, groups: Sequence[str], diffusion: float) -> NormalEquations:
    setup = setup_of(store)
    basis, times, n = config.terms().names, setup.slice_times, setup.particles
    if config.form == "strong":
        parts = [[store.read(f"{g}/{name}") for g in groups] for name in ("gram", "moment", "energy")]
        gram, moment, energy = (np.concatenate(p) for p in parts)
        return NormalEquations("strong", basis, gram, moment, energy, n * setup.replicas, diffusion)
    pairings = _read_pairings(store, groups)
    if config.form == "likelihood":
        return likelihood_equations(pairings, times, basis=basis, particles=n)
    return action_equations(
        pairings, times, basis=basis, diffusion=diffusion, quadrature=rule_of(config, times), particles=n
    )


def _diffusion(store: Store, config: RunConfig, blocks_of: Sequence[int]) -> Diffusion:
    """Return sigma^2: what the run file says, else the Richardson value of the labelled displacements."""
    if config.system.diffusion is not None:
        return Diffusion(float(config.system.diffusion), None)
    setup = setup_of(store)
    moves = np.concatenate([store.read(f"particles/replica-0/block-{b}/squared_move") for b in blocks_of])
    record = store.record("particles/done") or {}
    return richardson(
        setup.slice_times,
        moves[:-1],
        np.asarray(record["squared_move_two_apart"]),
        spacing=setup.spacing,
        particles=setup.particles,
        dimension=setup.dimension,
    )


def _read_pairings(store: Store, groups: Sequence[str]) -> Pairings:
    return Pairings(*(np.concatenate([store.read(f"{g}/{name}") for g in groups]) for name in _PARTS))


def load_pairings(store: Store) -> list[Pairings]:
    """Read the pairings of every replica; the strong form has none."""
    setup = setup_of(store)
    blocks = slice_blocks(setup.slices, setup.dimension)
    return [
        _read_pairings(store, [f"equations/replica-{r}/block-{b.number}" for b in blocks])
        for r in range(setup.replicas)
    ]


def load_equations(store: Store) -> NormalEquations:
    """Read the normal equations of a store."""
    record = store.record("equations/done") or {}
    energy = store.read("equations/energy") if store.exists("equations/energy") else None
    return NormalEquations(
        record["form"],
        tuple(record["basis"]),
        store.read("equations/gram"),
        store.read("equations/moment"),
        energy,
        record["particles"],
        record["equations_diffusion"],
    )


def load_diffusion(store: Store) -> Diffusion:
    """Read sigma^2 with its standard error (None where it was given)."""
    record = store.record("equations/done") or {}
    return Diffusion(record["diffusion"]["value"], record["diffusion"]["standard_error"])


EQUATIONS = Stage(
    name="equations",
    unit="slices",
    needs=lambda config: ("particles", "densities") if config.form == "strong" else ("particles",),
    keys=lambda config: {
        **config.values("dictionary", "fit.quadrature", "system.diffusion", "system.potential"),
        "form": config.form,
    },
    prepare=make_basis,
    tasks=_tasks,
    do=assemble_block,
    finish=_finish,
)
