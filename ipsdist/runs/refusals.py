"""Runs that would fail for want of memory or disk: refused before anything is spent, with what would fit."""

from __future__ import annotations

import os
import resource
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from ipsdist.config import RunConfig
from ipsdist.model.errors import InputError
from ipsdist.model.setup import Setup
from ipsdist.runs.plan import Plan, PlanRow, planned, size
from ipsdist.runtime.epochs import Capacity
from ipsdist.stages.gang_size import PROCESS_BYTES, USABLE, fewest_members
from ipsdist.storage import Place

__all__ = ["afford", "memory_here", "refuse_disk", "refuse_memory"]

_SPARE = 0.02
"""Share of the free disk that is left alone."""


def afford(plan: Plan, config: RunConfig, setup: Setup, out: Place, *, local: bool) -> None:
    """Raise InputError where a task, the driver or the store does not fit; ``local``: workers are of this machine."""
    refuse_memory(plan, config, setup, memory_here(), local=local)
    refuse_disk(plan, out)


def refuse_memory(plan: Plan, config: RunConfig, setup: Setup, here: int, *, local: bool) -> None:
    """Raise InputError where a task does not fit its worker, or the selection this machine, which has ``here`` bytes.

    The message has both numbers, and the nearest setting that would fit.
    """
    worker = plan.capacity.memory
    if worker is None:
        worker = here
    row = max(plan.rows, key=lambda row: row.bytes_per_task, default=None)
    if row is not None and PROCESS_BYTES + row.bytes_per_task > USABLE * worker:
        _refuse_task(plan, row, config, setup, here, worker, local=local)
    kernel = any(row.stage == "kernel" for row in plan.rows)
    needed = PROCESS_BYTES + plan.driver_bytes
    if kernel and needed > here:
        rule, got = "must leave a selection that this machine can hold", f"{size(needed)} for {size(here)}"
        count = _most(lambda terms: _driver(terms, config, setup, plan.capacity) <= here, len(config.terms()) - 1)
        fix = f"at most {count} terms would fit" if count else "use a machine with more"
        raise InputError("dictionary.terms", rule, got, fix)


def refuse_disk(plan: Plan, out: Place) -> None:
    """Raise InputError where the store would outgrow the free disk; of a place elsewhere nothing is known."""
    if not out.is_local:
        return
    path = out.path.absolute()
    there = next(p for p in (path, *path.parents) if p.exists())
    free = shutil.disk_usage(there).free * (1.0 - _SPARE)
    if plan.store_bytes <= free or plan.store_bytes - _written(path) <= free:
        return
    got = f"about {size(plan.store_bytes)} for {size(free)} free"
    fix = f"choose another --out, or time.observe_every = {_sparser(plan, free)} times as much"
    raise InputError("--out", "must be on a disk with room for the store", got, fix)


def memory_here() -> int:
    """Return the bytes that this process may use: those of the machine, or of its control group or limit."""
    found = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        try:
            found.append(int(Path("/sys/fs/cgroup", name).read_text()))
        except (OSError, ValueError):  # no such group, or "max"
            continue
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    return min([*found, *([limit] if limit != resource.RLIM_INFINITY else [])])


def _refuse_task(
    plan: Plan, row: PlanRow, config: RunConfig, setup: Setup, here: int, worker: int, *, local: bool
) -> None:
    needed = round((PROCESS_BYTES + row.bytes_per_task) / USABLE)
    count, alone = plan.capacity.workers, plan.capacity.memory is None
    got = f"{size(needed)} for a task of the {row.stage} and {size(worker)}"
    fixes = []
    if alone:
        argument, rule = "system.particles", "must leave tasks that fit this process"
    else:
        argument, rule = ("--workers", "must leave each of them the memory of its task")
        got = f"{got} for each of {count} workers" if count > 1 else f"{got} for the worker"
    if local and not alone:
        fewer = _most(lambda n: _fits(planned(config, setup, Capacity(n, here // n))), count - 1)
        fixes += [f"--workers {fewer} would fit"] if fewer else []
    elif row.stage == "particles" and (members := fewest_members(config, setup, worker)) is not None:
        fixes += [f"{members} workers like these would fit"] if members > count else []
    if not fixes:
        particles = _most(lambda n: _fits(_with(n, config, setup, plan, worker)), setup.particles - 1)
        fixes += [f"system.particles = {_rounded(particles)} would fit"] if particles > 1 and _counted(config) else []
        fixes += [] if local and alone else [f"workers of {size(needed)} would fit"]
    raise InputError(argument, rule, got, ", ".join(fixes) or "use a machine with more memory")


def _fits(plan: Plan, memory: int | None = None) -> bool:
    worker = memory or plan.capacity.memory
    return worker is None or plan.worker_bytes <= USABLE * worker


def _with(particles: int, config: RunConfig, setup: Setup, plan: Plan, worker: int) -> Plan:
    """Return the plan of so many particles on workers of so much memory."""
    stages = [row.stage for row in plan.rows]
    fewer = replace(setup, particles=max(particles, 2))
    return planned(config, fewer, Capacity(plan.capacity.workers, worker), stages)


def _counted(config: RunConfig) -> bool:
    return config.data.source == "simulate"


def _driver(terms: int, config: RunConfig, setup: Setup, capacity: Capacity) -> int:
    kept = config.dictionary.model_copy(update={"terms": config.dictionary.terms[:terms]})
    fewer = config.model_copy(update={"dictionary": kept})
    return PROCESS_BYTES + planned(fewer, setup, capacity, ()).driver_bytes


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
    return count // zeros * zeros


def _sparser(plan: Plan, free: float) -> int:
    return int(plan.store_bytes // max(free, 1.0)) + 1


def _written(path: Path) -> int:
    return sum(f.stat().st_size for f in path.rglob("*") if f.is_file())
