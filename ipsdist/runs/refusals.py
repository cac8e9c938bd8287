"""Runs that would fail for want of memory or disk: refused before anything is spent, with what would fit."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace

from ipsdist.config import RunConfig
from ipsdist.model.errors import InputError
from ipsdist.model.setup import Setup
from ipsdist.model.words import size
from ipsdist.runs.plan import SPARE, Plan, planned
from ipsdist.runs.plan_sizes import driver_bytes
from ipsdist.runtime.epochs import Capacity
from ipsdist.runtime.memory import memory_here
from ipsdist.runtime.settings import setting
from ipsdist.stages.gang_size import PROCESS_BYTES, USABLE, fewest_members
from ipsdist.stages.kernel import KERNEL
from ipsdist.stages.particles import PARTICLES
from ipsdist.storage import Place

__all__ = ["afford", "refuse_disk", "refuse_memory"]

_SPARE = 0.02
"""Share of the free disk that is left alone."""
_RULES = {"--workers": "must each have the memory of a task", "--worker-memory": "must be the memory of a task"}


def afford(plan: Plan, config: RunConfig, setup: Setup, out: Place, *, local: bool, blamed: str = "--workers") -> None:
    """Raise InputError where a task, the driver or the store does not fit.

    ``local``: workers are of this machine. ``blamed``: the option that says what memory a worker has.
    """
    refuse_memory(plan, config, setup, memory_here(), local=local, blamed=blamed)
    refuse_disk(plan, out)


def refuse_memory(
    plan: Plan, config: RunConfig, setup: Setup, here: int, *, local: bool, blamed: str = "--workers"
) -> None:
    """Raise InputError where a task does not fit its worker, or the selection this machine, which has ``here`` bytes.

    The message has both numbers, and the nearest setting that would fit.
    """
    worker = plan.capacity.memory or (here if local else None)
    if worker is not None and not _fits(plan, worker):
        _refuse_task(plan, config, setup, here, worker, local=local, blamed=blamed)
    needed = PROCESS_BYTES + plan.driver_bytes
    if needed > here and any(row.stage == KERNEL.name for row in plan.rows):
        rule, got = "must leave a selection that this machine can hold", f"{size(needed)} for {size(here)}"
        count = _most(lambda terms: _driver(terms, config, setup) <= here, len(config.terms()) - 1)
        fix = f"at most {count} terms would fit" if count else "use a machine with more memory"
        raise InputError("dictionary.terms", rule, got, fix)


def refuse_disk(plan: Plan, out: Place) -> None:
    """Raise InputError where the store would outgrow the free disk; of a place elsewhere nothing is known."""
    if not out.is_local:
        return
    path = out.path.absolute()
    there = next(p for p in (path, *path.parents) if p.exists())
    free = shutil.disk_usage(there).free * (1.0 - _SPARE)
    if plan.disk_bytes <= free or plan.disk_bytes - out.size() <= free:
        return
    fix = "choose another --out"
    slices = free - (plan.disk_bytes - plan.store_bytes)
    if slices > 0:
        fix += f", or slices {int(plan.store_bytes // slices) + 1} times as far apart (time.observe_every)"
    got = f"about {size(plan.disk_bytes)} for {size(free)} free"
    raise InputError("--out", "must be on a disk with room for the store", got, fix)


def _refuse_task(
    plan: Plan, config: RunConfig, setup: Setup, here: int, worker: int, *, local: bool, blamed: str
) -> None:
    row = max((r for r in plan.rows if r.stage != KERNEL.name), key=lambda r: r.bytes_per_task)
    needed, count = plan.limit_bytes, plan.capacity.workers
    part = f"a {'share' if row.gang > 1 else 'task'} of the {row.stage}"
    own = f"{size(row.bytes_per_task)}, the program and {SPARE} to spare"
    alone = plan.capacity.memory is None
    argument = "system.particles" if alone else blamed
    rule = "must fit the memory of this machine" if alone else _RULES[blamed]
    fixes = _smaller(plan, config, setup, here, worker, local=local)
    if not fixes or not local:
        fixes.append(f"workers of {size(needed)} would fit" if not local else "use a machine with more memory")
    whose = "the worker" if count == 1 else f"each of {count} workers"
    theirs = size(worker) if alone else f"{size(worker)} of {whose}"
    raise InputError(argument, rule, f"{size(needed)} for {part} ({own}), against {theirs}", ", or ".join(fixes))


def _smaller(plan: Plan, config: RunConfig, setup: Setup, here: int, worker: int, *, local: bool) -> list[str]:
    """Return the settings, nearest first, with which the tasks would fit."""
    stages, count = [row.stage for row in plan.rows], plan.capacity.workers
    alone = plan.capacity.memory is None

    def again(config: RunConfig, setup: Setup, capacity: Capacity) -> Plan:
        return planned(config, setup, capacity, stages, card=plan.card)

    def fits(number: int, precision: str = config.run.precision) -> bool:
        run = config.run.model_copy(update={"precision": precision})
        fewer = replace(setup, particles=max(number, 2))
        capacity = Capacity(count, None if alone else worker)
        return _fits(again(config.model_copy(update={"run": run}), fewer, capacity), worker)

    fixes = []
    if local and not alone and setting("local.memory"):  # it does not grow with fewer of them
        enough = count * plan.limit_bytes <= here
        fixes += [f'ipsdist.local.memory = "{size(1.01 * plan.limit_bytes)}" would fit'] if enough else []
    elif local and not alone:
        fewer = _most(lambda n: _fits(again(config, setup, Capacity(n, here // n)), here // n), count - 1)
        fixes += [f"--workers {fewer} would fit"] if fewer else []
    if not local and PARTICLES.name in stages:
        members = fewest_members(config, setup, worker)
        if members is not None and members > count and _fits(again(config, setup, Capacity(members, worker))):
            fixes.append(f"{members} workers like these would fit")
    if not fixes and config.data.source == "simulate":
        if fits(setup.particles, "float32"):
            fixes.append('run.precision = "float32" would fit')
        particles = _most(fits, setup.particles - 1)
        fixes += [f"system.particles = {_rounded(particles)} would fit"] if particles > 1 else []
    return fixes


def _fits(plan: Plan, memory: int | None = None) -> bool:
    worker = memory or plan.capacity.memory
    return worker is None or plan.worker_bytes <= USABLE * worker


def _driver(terms: int, config: RunConfig, setup: Setup) -> int:
    kept = config.dictionary.model_copy(update={"terms": config.dictionary.terms[:terms]})
    fewer = config.model_copy(update={"dictionary": kept})
    return PROCESS_BYTES + driver_bytes(fewer, setup)


def _most(true: Callable[[int], bool], highest: int) -> int:
    """Return the largest number from 1 to ``highest`` for which it is true, true for all below; 0 for none."""
    low, high = 0, max(0, highest)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if true(middle) else (low, middle - 1)
    return low


def _rounded(count: int) -> int:
    """Return a number of two digits and zeros, at most this one."""
    zeros = 10 ** max(0, len(str(count)) - 2)
    return int(count // zeros * zeros)
