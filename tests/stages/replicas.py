"""Replicas in a store of their own, stepped by gangs of threads: what the tests of epochs share."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np

from ipsdist.config import RunConfig, resolve
from ipsdist.model.setup import Setup
from ipsdist.runs.inputs import Inputs
from ipsdist.runs.setup import prepare
from ipsdist.runtime.executor import SerialExecutor
from ipsdist.stages.base import Task, complete
from ipsdist.stages.particles import PARTICLES
from ipsdist.stages.replica import ReplicaJob
from ipsdist.storage import Store
from tests.gangs import Gang
from tests.runs.samples import write

FINGERPRINT = "f"


class Stop(Exception):
    """What ends a member on the way."""


def configured(folder: Path, dimension: int, *sets: str) -> RunConfig:
    """Return the configuration of the small run of a dimension."""
    return resolve(write(folder, dimension), sets)


def begun(path: Path, config: RunConfig) -> Store:
    """Return a new store in which the particles have been begun."""
    store = Store.create(path, {"setup": prepare(config, Inputs()).to_json()})
    store.commit("particles/begun", {"fingerprint": FINGERPRINT})
    return store


def task_of(store: Store, config: RunConfig, replica: int = 0) -> Task:
    """Return the task of a replica."""
    setup = Setup.from_json(store.attributes["setup"])
    return list(PARTICLES.tasks(config, setup, str(store.path), FINGERPRINT))[replica]


def job_of(store: Store, config: RunConfig, replica: int = 0) -> ReplicaJob:
    """Return the job of a replica whose epochs are as long as is asked for, however quick."""
    return ReplicaJob(store, task_of(store, config, replica))


def alone(path: Path, config: RunConfig) -> dict[str, bytes]:
    """Return what one process leaves."""
    store = Store.create(path, {"setup": prepare(config, Inputs()).to_json()})
    with SerialExecutor() as executor:
        complete(PARTICLES, store, config, FINGERPRINT, executor, lambda p: None)
    return contents(store)


def contents(store: Store) -> dict[str, bytes]:
    """Return every array of the store, checkpoints too."""
    import zarr

    members = store.group.members(max_depth=None)
    return {n: np.asarray(a[...]).tobytes() for n, a in members if isinstance(a, zarr.Array)}


def drive(store: Store, config: RunConfig, plan: Any, replica: int = 0) -> ReplicaJob:
    """Do all epochs of a replica after a plan, over and over: (members, units, fate).

    Fates: "" commits; "lost" throws the answers away, and the gang; "fails" has a member fail on the way;
    "killed" forgets the driver before the commit, "late" after it.
    """
    job, memories, size = job_of(store, config, replica), {}, 0
    for members, units, fate in itertools.cycle(plan):
        if members != size:
            memories, size = {rank: {} for rank in range(members)}, members
        epoch = job.epoch(members, units)
        if epoch is None:
            return job

        def member(together, epoch=epoch, fate=fate, memories=memories):
            def tick(units):
                if fate == "fails" and together.rank == together.size - 1:
                    raise Stop

            memory = memories[together.rank]
            return epoch.do(epoch.shares[together.rank], together, memory, tick)

        try:
            answers = Gang(members).all(member)
        except Stop:
            size = 0
            continue
        if fate in ("", "late"):
            job.commit(answers)
        if fate == "lost":
            size = 0
        if fate in ("killed", "late"):
            job, size = job_of(store, config, replica), 0
    raise AssertionError
