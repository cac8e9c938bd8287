"""Particles: step every replica (or read those that others made) and leave deposits of every slice in the store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ipsdist.config import RunConfig
from ipsdist.model.deposits import Deposits
from ipsdist.model.mesh import Mesh
from ipsdist.model.setup import Setup
from ipsdist.model.system import FromArray, InitialLaw
from ipsdist.numerics.densities.deposit import deposit, deposit_flux
from ipsdist.numerics.particles.initial import sample
from ipsdist.numerics.particles.stepping import State, Stepper
from ipsdist.stages.base import Payload, Stage, Task, Tick, committed, measured, no_answer, setup_of
from ipsdist.stages.blocks import Block, block_group, block_record, save_block, slice_blocks, slice_bytes
from ipsdist.stages.continuum import box_keys, prepare_cells, solve_densities, solving_bytes
from ipsdist.stages.tracks import POSITIONS, keeps_positions, read_ragged
from ipsdist.storage import Store

__all__ = ["INPUT_INITIAL", "PARTICLES", "initial_positions"]

INPUT_INITIAL = "input/initial"
"""Initial positions from a file, (particle, space)."""

Positions = npt.NDArray[np.float64]


_CHUNK = 2**20
_LANES = 4
"""Particles of a chunk come in fours: one counter of the noise makes four normals."""


def chunk_of(config: RunConfig) -> int:
    """Return the particles of a chunk, a multiple of 4."""
    chunk = config.run.chunk
    return _CHUNK if chunk == "auto" else chunk + -chunk % _LANES


def initial_positions(law: InitialLaw, config: RunConfig, replica: int, count: int | None = None) -> Positions:
    """Return the first ``count`` initial positions of a replica (count, d); all of them by default."""
    system = config.system_value()
    n = system.particles if count is None else min(count, system.particles)
    positions, chunk = np.empty((n, system.dimension)), chunk_of(config)
    for first in range(0, n, chunk):
        stop = min(first + chunk, n)
        positions[first:stop] = sample(law, system.dimension, config.run.seed, replica, first, stop - first)
    return positions


def _tasks(config: RunConfig, setup: Setup, store: str, fingerprint: str) -> Sequence[Task]:
    n, d = setup.particles, setup.dimension
    if config.data.source == "import":
        blocks = slice_blocks(setup.slices, d)
        size = 8 * n * d * (len(blocks[0]) + 1)
        return [
            Task(store, "particles", f"replica-0.read-{b.number}", fingerprint, config, (b.number,), n * len(b), size)
            for b in blocks
        ]
    if config.data.source == "mean_field":
        work, size = float(setup.slices), solving_bytes(setup)
        return [Task(store, "particles", "replica-0", fingerprint, config, (0,), work, size, "slices")]
    steps = config.times().steps
    # Positions now, at the last slices and on their way, a block of deposits twice while it is joined.
    size = 6 * 8 * n * d + 2 * len(slice_blocks(setup.slices, d)[0]) * slice_bytes(setup)
    return [
        Task(store, "particles", f"replica-{r}", fingerprint, config, (r,), float(n) * steps, size)
        for r in range(setup.replicas)
    ]


@measured
def make_particles(store: Store, task: Task, tick: Tick) -> Payload:
    """Do one task: step a whole replica, solve the mean-field equation, or deposit a block that others made."""
    if task.config.data.source == "import":
        return _read_block(store, task)
    if task.config.data.source == "mean_field":
        return solve_densities(store, task, tick)
    return _step_replica(store, task, tick)


def _step_replica(store: Store, task: Task, tick: Tick) -> Payload:
    """Step one replica from its last committed block on; deposits are made while stepping, nothing else is kept."""
    config, (replica,) = task.config, task.index
    system, times, setup = config.system_value(), config.times(), setup_of(store)
    stepper = Stepper(
        system,
        times.step,
        config.run.seed,
        replica,
        setup.spacing,
        setup.force or "mesh",
        chunk_of(config),
    )
    blocks, steps = slice_blocks(times.slices, system.dimension), times.slice_steps()
    done = _committed(store, replica, blocks, task.fingerprint)
    if len(done) == len(blocks):
        return {}
    if done:
        state = _restored(store, replica, done[-1], int(steps[done[-1].stop]), setup.spacing, stepper)
    else:
        state = stepper.start(_start(store, config, replica))
    kept = _Kept(store, config, replica)
    for block in blocks[len(done) :]:
        deposits, apart, track = [], _TwoApart(), []
        for number in range(block.first, block.stop):
            kept.keep(number, state.positions)
            if keeps_positions(config, setup):
                track.append(state.positions.copy())
            ahead = 0 if number == times.slices - 1 else int(steps[number + 1] - steps[number])
            apart.see(state.positions if config.data.labelled else None)
            deposits.append(_observe(stepper, state, ahead, labelled=config.data.labelled))
            tick(float(system.particles) * state.step)
        apart.see(state.positions if config.data.labelled and block.stop < times.slices else None)
        if track:
            name = f"{block_group(replica, block)}/positions"
            store.write(name, np.stack(track), dims=("slice", "particle", "space"), units="length", compress=False)
        _save_checkpoint(store, replica, block, state)
        save_block(store, replica, block, deposits, task.fingerprint, apart.sums[: len(deposits)])
        _drop_checkpoint(store, replica, block.number - 2)
    return {}


def _observe(stepper: Stepper, state: State, steps: int, *, labelled: bool) -> Deposits:
    """Deposit the slice at hand, step to the next one, and add the displacements between the two."""
    here = deposit(state.positions, state.mesh)
    if steps == 0:
        return here
    before = state.positions.copy() if labelled else None
    stepper.advance(state, steps)
    if before is None:
        return here
    flux, squared = deposit_flux(before, state.positions, state.mesh)
    return replace(here.on(state.mesh), flux=flux, squared_move=squared)


class _TwoApart:
    """Adds up the squared displacements over two intervals, for the slices of one block and the first of the next.

    What would need the slice after that stays unknown (NaN): a resumed run does not have the positions before it.
    """

    def __init__(self) -> None:
        self.sums: list[float] = []
        self._seen: list[Positions] = []

    def see(self, positions: Positions | None) -> None:
        """Take the positions of the next slice; None without labels."""
        if positions is not None:
            if len(self._seen) == 2:
                self.sums[-2] = float(np.sum((positions - self._seen.pop(0)) ** 2))
            self._seen.append(positions.copy())
        self.sums.append(float("nan"))


def _start(store: Store, config: RunConfig, replica: int) -> Positions:
    law = config.initial_law()
    if law is None:
        law = FromArray(store.read(INPUT_INITIAL))
    return initial_positions(law, config, replica)


def _committed(store: Store, replica: int, blocks: Sequence[Block], fingerprint: str) -> list[Block]:
    """Return the blocks from the first on that are there and are of this configuration."""
    done = []
    for block in blocks:
        if committed(store, block_record(replica, block), fingerprint) is None:
            break
        done.append(block)
    return done


def _checkpoint(replica: int, block: int) -> str:
    # One place a block: whoever writes it, a worker that was thought dead included, writes the same.
    return f"particles/replica-{replica}/checkpoint-{block}"


def _drop_checkpoint(store: Store, replica: int, number: int) -> None:
    """Remove a checkpoint that two later ones have made useless."""
    if number >= 0:
        store.discard(_checkpoint(replica, number))


def _save_checkpoint(store: Store, replica: int, block: Block, state: State) -> None:
    """Keep the state after a block. The mesh is part of it: its extent remembers the past."""
    group = _checkpoint(replica, block.number)
    store.write(f"{group}/positions", state.positions, dims=("particle", "space"), units="length", compress=False)
    placed = np.array([*state.mesh.lower, *state.mesh.shape], dtype=np.int64)
    store.write(f"{group}/mesh", placed, dims=("lower_then_shape",), units="spacing")


def _restored(store: Store, replica: int, block: Block, step: int, spacing: float, stepper: Stepper) -> State:
    """Return the state after a committed block, from which the steps go on with the same bits."""
    group = _checkpoint(replica, block.number)
    placed = [int(k) for k in store.read(f"{group}/mesh")]
    d = len(placed) // 2
    mesh = Mesh(spacing, tuple(placed[:d]), tuple(placed[d:]))
    return stepper.start(store.read(f"{group}/positions"), step, mesh)


class _Kept:
    """Writes the positions at the slices that the run file names."""

    def __init__(self, store: Store, config: RunConfig, replica: int) -> None:
        times = config.times()
        interval = times.step * times.observe_every
        self._slices = {round(t / interval) for t in config.time.positions_at}
        self._store, self._group = store, f"particles/replica-{replica}"

    def keep(self, number: int, positions: Positions) -> None:
        if number in self._slices:
            name = f"{self._group}/positions-{number}"
            self._store.write(name, positions, dims=("particle", "space"), units="length", compress=False)


def _read_block(store: Store, task: Task) -> Payload:
    """Deposit one block of imported slices; with labels, the displacements to the next slice and to the one after."""
    setup, (number,) = setup_of(store), task.index
    block = slice_blocks(setup.slices, setup.dimension)[number]
    if setup.ragged:
        return _read_ragged(store, block, task.fingerprint)
    at = _Window(store, setup)
    corners = [(at(k).min(axis=0), at(k).max(axis=0)) for k in range(block.first, block.stop)]
    lowest, highest = (np.stack(c) for c in zip(*corners, strict=True))
    mesh = Mesh.around(lowest.min(axis=0), highest.max(axis=0), setup.spacing)
    deposits: list[Deposits] = []
    two_apart: list[float] = []
    for k in range(block.first, block.stop):
        here = deposit(at(k), mesh)
        if setup.labelled and k + 1 < setup.slices:
            flux, squared = deposit_flux(at(k), at(k + 1), mesh)
            here = replace(here, flux=flux, squared_move=squared)
        known = setup.labelled and k + 2 < setup.slices
        two_apart.append(float(np.sum((at(k + 2) - at(k)) ** 2)) if known else float("nan"))
        deposits.append(here)
    save_block(store, 0, block, deposits, task.fingerprint, two_apart)
    return {}


def _read_ragged(store: Store, block: Block, fingerprint: str) -> Payload:
    """Deposit one block of slices in which particles come and go; their displacements are read where they are used."""
    tracks = read_ragged(store, block.first, block.stop)
    mesh = Mesh.around(tracks.positions.min(axis=0), tracks.positions.max(axis=0), setup_of(store).spacing)
    deposits = [deposit(tracks.slice(k)[1], mesh) for k in range(len(block))]
    save_block(store, 0, block, deposits, fingerprint)
    return {}


class _Window:
    """Reads imported slices a few at a time: small ones lie many to a chunk."""

    _BYTES = 2**22

    def __init__(self, store: Store, setup: Setup) -> None:
        self._store, self._slices = store, setup.slices
        self._batch = max(3, self._BYTES // (8 * setup.particles * setup.dimension))
        self._held: dict[int, Positions] = {}

    def __call__(self, number: int) -> Positions:
        if number not in self._held:
            stop = min(number + self._batch, self._slices)
            kept = {k: x for k, x in self._held.items() if number - 2 <= k < number}
            read = self._store.read(POSITIONS, slice(number, stop))
            self._held = kept | dict(zip(range(number, stop), read, strict=True))
        return self._held[number]


def _keys(config: RunConfig) -> Mapping[str, Any]:
    """Files enter by the digest of what they hold, not by their name: a moved file changes nothing."""
    if config.data.source == "import":
        return config.values("data.source", "data.labelled", "force", "system.dimension", "dictionary.cutoff")
    law = ("initial.mixture", "initial.uniform", "initial.ring")
    if config.data.source == "mean_field":
        solved = ("data.source", "data.times", "data.slices", "mean_field", "force", "dictionary.cutoff")
        return config.values("system", "time", *law, *solved, *box_keys(config), "run.seed", "run.precision")
    # The mesh spacing resolves the cut-off of the dictionary too.
    data = ("data.source", "data.labelled", "data.times", "data.slices", "dictionary.cutoff")
    positions = {"positions": config.fit.sums == "direct"}
    return {**config.values("system", "time", *law, *data, "force", "run.seed", "run.precision"), **positions}


PARTICLES = Stage(
    name="particles",
    unit="particle-steps",
    needs=lambda config: (),
    keys=_keys,
    prepare=prepare_cells,
    tasks=_tasks,
    do=make_particles,
    finish=no_answer,
)
