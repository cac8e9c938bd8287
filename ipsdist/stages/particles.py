"""Particles: step every replica (or read those that others made) and leave deposits of every slice in the store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ipsdist.config import RunConfig
from ipsdist.model.setup import Setup
from ipsdist.runtime.epochs import Capacity
from ipsdist.stages.base import Bundles, Payload, Stage, Task, Tick, measured, setup_of
from ipsdist.stages.blocks import slice_blocks
from ipsdist.stages.bundles import do_bundle, replica_bundles
from ipsdist.stages.continuum import box_keys, prepare_cells, solve_densities, solving_bytes
from ipsdist.stages.devices import Card, card_here, name_devices
from ipsdist.stages.gang_size import fewest_members, gang_size, member_bytes, most_members
from ipsdist.stages.imported import read_block
from ipsdist.stages.replica import ReplicaJob, step_alone, stepped
from ipsdist.storage import Store

__all__ = ["PARTICLES"]


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
    steps, size = int(config.times().slice_steps()[-1]), member_bytes(config, setup, 1)
    return [
        Task(store, "particles", f"replica-{r}", fingerprint, config, (r,), float(n) * steps, size)
        for r in range(setup.replicas)
    ]


@measured
def make_particles(store: Store, task: Task, tick: Tick) -> Payload:
    """Do one task: step a whole replica, solve the mean-field equation, or deposit a block that others made."""
    if task.config.data.source == "import":
        return read_block(store, task)
    if task.config.data.source == "mean_field":
        return solve_densities(store, task, tick)
    return step_alone(store, task, tick)


def make_bundle(tasks: Sequence[Task], tick: Tick) -> list[Payload]:
    """Do several small replicas of a run, at the same time where there is a card."""
    store = Store.open(tasks[0].store)
    return do_bundle(make_particles, tasks, tick, [stepped_before(store, task) for task in tasks])


def replica_job(store: Store, task: Task, capacity: Capacity) -> ReplicaJob | None:
    """Return the job of a replica that several workers step together; None where one worker does."""
    from ipsdist.runtime.settings import setting

    config, setup = task.config, setup_of(store)
    if config.data.source != "simulate" or capacity.workers < 2:
        return None
    wanted = setting("gang.size")
    if gang_size(config, setup, capacity, wanted) < 2:
        return None
    fewest = fewest_members(config, setup, capacity.memory) or 1
    most = most_members(config, setup) if wanted is None else wanted
    # Members may have none where nobody insisted, whatever this process has.
    card = card_here() if config.run.device == "gpu" else None
    own = card if isinstance(card, Card) else None
    return ReplicaJob(store, task, max(most, fewest), fewest, setting("gang.epoch"), own)


def stepped_before(store: Store, task: Task) -> float:
    """Return the particle-steps of a task that an earlier command has committed."""
    return stepped(store, task) if task.config.data.source == "simulate" else 0.0


def _keys(config: RunConfig) -> Mapping[str, Any]:
    """Files enter by the digest of what they hold, not by their name: a moved file changes nothing."""
    keys = _all_keys(config)
    if config.force.device == "cpu":  # what every run had before there was another
        del keys["force"]["device"]
    return keys


def _all_keys(config: RunConfig) -> dict[str, Any]:
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
    finish=name_devices,
    job=replica_job,
    started=stepped_before,
    bundles=Bundles(replica_bundles, make_bundle),
)
