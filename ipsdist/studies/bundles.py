"""Small runs of a study whose particles are stepped together on a card, before each run does what follows by itself."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from functools import partial

from ipsdist.config import RunConfig
from ipsdist.model.errors import InputError, RunError
from ipsdist.model.setup import Setup
from ipsdist.runs import directory, pipeline
from ipsdist.runs.inputs import read_inputs
from ipsdist.runs.order import STAGES
from ipsdist.runs.setup import prepare
from ipsdist.runtime.epochs import Capacity
from ipsdist.runtime.executor import Executor
from ipsdist.runtime.progress import Progress
from ipsdist.stages.bundles import grouped, known_card, leaps, share_of, side_by_side
from ipsdist.stages.devices import Card, card_here, device_of, uses_device
from ipsdist.storage import place
from ipsdist.studies.tasks import RunTask, part_of_run

__all__ = ["do_particles", "particles_first", "run_bundles"]

_PARTICLES = STAGES[0].name


def particles_first(tasks: Sequence[RunTask], executor: Executor, observe: Callable[[int, float], None]) -> None:
    """Have the particles of small runs stepped, where there is a card for them; `do_run` finds them done.

    ``observe`` hears the place of a run among the tasks, and how much of it is done.
    """
    groups = run_bundles(tasks, executor.capacity)

    def heard(number: int, sums: float) -> None:
        for k in groups[number]:
            observe(k, sums / len(groups[number]))

    if groups:
        bundles = [[tasks[k] for k in group] for group in groups]
        # What ends a worker here is found again, and told of, by the run.
        for _ in executor.run(do_particles, bundles, stage="study", observe=heard, tolerate=True):
            pass


def run_bundles(tasks: Sequence[RunTask], capacity: Capacity) -> list[list[int]]:
    """Return the places of runs whose particles go together: small ones that have none yet, and get none of another.

    None go together where every worker has but one of them, or where nobody knows of a card.
    """
    shares: dict[int, float] = {}
    # Runs that have a stage in common have their particles in common.
    may = [k for k, task in enumerate(tasks) if not task.donors and uses_device(task.config)]
    if len(may) <= capacity.workers:
        return []
    here = card_here()
    for k in may:
        config = tasks[k].config
        card = known_card(here, config)
        setup = _setup(tasks[k]) if card else None
        if setup is not None and leaps(config, setup):
            shares[k] = setup.replicas * share_of(config, setup, capacity, card)
    known = list(shares)
    groups = grouped(list(shares.values()), capacity.workers) if known else []
    # A run whose replicas fill a bundle makes it by itself.
    return [[known[i] for i in group] for group in groups if len(group) > 1]


def _setup(task: RunTask) -> Setup | None:
    """Return the setup of a run without particles; None where it has them, or will say itself what is wrong."""
    try:
        if not _small(task.config):
            return None
        home = place(task.out)
        store = directory.existing(home) if directory.has_store(home) else None
        if store is not None and store.record(f"{_PARTICLES}/done") is not None:
            return None
        return prepare(task.config, read_inputs(task.config))
    except (InputError, RunError, OSError):
        return None


def _small(config: RunConfig) -> bool:
    """Tell by the configuration alone that a run may be small: setups of others take long."""
    return config.system.dimension == 1


def do_particles(tasks: Sequence[RunTask], tick: Callable[[float], None]) -> None:
    """Step the particles of several runs at the same time, each under its lock; nothing where there is no card.

    ``tick`` hears the sum of the parts that are done. What fails is left to `do_run`, which says why.
    """
    if not isinstance(card_here(), Card):
        return
    for task in tasks:  # before there are threads: the first look makes it what this process has
        with contextlib.suppress(RunError):
            device_of(task.config)
    side_by_side([partial(_particles, task) for task in tasks], tick, [0.0] * len(tasks))


def _particles(task: RunTask, tick: Callable[[float], None]) -> None:
    def observe(progress: Progress) -> None:
        tick(part_of_run(progress))

    with contextlib.suppress(Exception):
        pipeline.run(task.config, place(task.out), pipeline.Options(observe=observe, draw=task.draw), upto=_PARTICLES)
