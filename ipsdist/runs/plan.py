"""What a run will cost before it is started: tasks, memory, store, traffic and time, with the workers it has."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from ipsdist.config import RunConfig
from ipsdist.model.setup import Setup
from ipsdist.model.words import size
from ipsdist.runs.checks import check
from ipsdist.runs.inputs import Inputs, read_inputs
from ipsdist.runs.order import STAGES
from ipsdist.runs.plan_seconds import (
    LOAD_SECONDS,
    START_SECONDS,
    cpu_seconds,
    exchange_seconds,
    report_seconds,
)
from ipsdist.runs.plan_sizes import driver_bytes, passing_bytes, step_traffic, store_bytes
from ipsdist.runs.setup import prepare
from ipsdist.runtime.epochs import Capacity
from ipsdist.runtime.settings import setting
from ipsdist.stages.bundles import largest_bundle
from ipsdist.stages.device_plan import DevicePlan, device_plan, host_bytes
from ipsdist.stages.devices import Card
from ipsdist.stages.gang_size import PROCESS_BYTES, USABLE, gang_size, member_bytes
from ipsdist.stages.kernel import KERNEL
from ipsdist.storage import Store, is_url

__all__ = ["ALONE", "SPARE", "Plan", "PlanRow", "duration", "plan", "planned", "source_of"]

ALONE = Capacity(1, None)
"""This process, without workers."""
SPARE = f"{100.0 * (1.0 - USABLE):.0f} %"
"""Share of a process's memory that stays free."""


@dataclass(frozen=True)
class PlanRow:
    """One stage: its tasks, the memory of the largest one, what it leaves in the store, and its CPU-seconds."""

    stage: str
    tasks: int
    """1 for what the driver does by itself."""
    bytes_per_task: int
    """The program itself left out; of a gang, what its largest member takes; of the kernel, what the driver does."""
    store_bytes: int
    cpu_seconds: float
    gang: int = 1
    """Workers that do a task together."""
    bundle: int = 1
    """Tasks that a worker with a GPU does at the same time."""

    def abreast(self, workers: int) -> int:
        """Return how many workers are busy at the same time."""
        return max(self.gang, min(self.tasks, workers))

    def seconds(self, workers: int) -> float:
        """Return the wall seconds with so many workers; gangs follow one another."""
        if self.gang > 1:
            return self.cpu_seconds / self.gang
        return self.cpu_seconds * -(-self.tasks // workers) / self.tasks


@dataclass(frozen=True)
class Plan:
    """The tasks of a run, or of the stages that it still lacks, with their bytes and seconds."""

    rows: tuple[PlanRow, ...]
    capacity: Capacity
    traffic: int
    """Bytes that each worker of a gang sends in a step; 0 without a gang."""
    exchange_seconds: float
    """Wall seconds that gangs spend on telling each other."""
    driver_bytes: int
    """Memory of the driver beyond the program."""
    passing_bytes: int
    """Bytes that the store has beside its own while particles are stepped, of one replica."""
    fixed_seconds: float
    """The program loaded and the report made, on the driver."""
    cores: int | None = None
    """Cores that the workers share; None: each has one."""
    card: Card | None = None
    """The GPU that every worker steps on, the one with least memory free; None for the CPU."""
    on_card: DevicePlan | None = None
    """How the particles of one worker lie there."""
    device: str = ""
    """A line about it."""
    doubt: str = ""
    """A line about what makes the run slow."""

    @property
    def gang(self) -> int:
        """Workers that step one replica together; 1: a replica is one task."""
        return max((row.gang for row in self.rows), default=1)

    @property
    def bundle(self) -> int:
        """Replicas that one worker steps at the same time, on a GPU."""
        return max((row.bundle for row in self.rows), default=1)

    @property
    def tasks(self) -> int:
        """Tasks of all stages."""
        return sum(row.tasks for row in self.rows)

    @property
    def store_bytes(self) -> int:
        """About what the store holds at the end."""
        return sum(row.store_bytes for row in self.rows)

    @property
    def disk_bytes(self) -> int:
        """About what the store grows to at most: checkpoints of the replicas at work come and go."""
        row = self.rows[0] if self.rows else None
        abreast = 1 if row is None or row.gang > 1 else min(row.tasks, self.capacity.workers * row.bundle)
        return self.store_bytes + self.passing_bytes * abreast

    @property
    def worker_bytes(self) -> int:
        """Memory that a worker needs, the program included."""
        return PROCESS_BYTES + max(
            (row.bundle * row.bytes_per_task for row in self.rows if row.stage != KERNEL.name), default=0
        )

    @property
    def limit_bytes(self) -> int:
        """Memory that a worker must be given: a little below its limit Dask ends it."""
        return round(self.worker_bytes / USABLE)

    @property
    def peak_bytes(self) -> int:
        """Memory of the largest process, where tasks are done in the driver's own."""
        return max(self.worker_bytes, PROCESS_BYTES + self.driver_bytes)

    @property
    def cpu_seconds(self) -> float:
        """CPU-seconds of all processes together, on a core of 2025."""
        return self.fixed_seconds + sum(row.cpu_seconds for row in self.rows)

    @property
    def seconds(self) -> float:
        """Wall seconds from the command to the report."""
        workers = self.capacity.workers
        start = START_SECONDS if workers > 1 else 0.0
        cores = self.cores or workers
        work = sum(row.seconds(workers) * max(1.0, row.abreast(workers) / cores) for row in self.rows)
        return start + self.fixed_seconds + self.exchange_seconds + work

    @property
    def needed_bytes(self) -> int:
        """Memory that there must be for the largest process: of a worker, or of the one that does everything."""
        alone = self.capacity.memory is None
        return max(self.limit_bytes, PROCESS_BYTES + self.driver_bytes if alone else 0)

    def left(self, shares: Mapping[str, float]) -> Plan:
        """Return the plan of what is left where these shares of stages are done; what is not named is lacking."""
        rows = [replace(r, cpu_seconds=(1.0 - shares.get(r.stage, 0.0)) * r.cpu_seconds) for r in self.rows]
        exchange = (1.0 - shares.get(STAGES[0].name, 0.0)) * self.exchange_seconds
        return replace(self, rows=tuple(rows), exchange_seconds=exchange)

    def text(self) -> str:
        """Return a table for people."""
        lines = [f"{'stage':12} {'tasks':>6} {'memory a task':>14} {'in the store':>13} {'CPU':>8}"]
        lines += [
            f"{row.stage:12} {row.tasks:6} {size(row.bytes_per_task):>14} {size(row.store_bytes):>13} "
            f"{duration(row.cpu_seconds):>8}"
            for row in self.rows
        ]
        return "\n".join([*lines, *self._notes()])

    def _notes(self) -> list[str]:
        notes = []
        if self.gang > 1:
            notes.append(
                f"a replica is stepped by {self.gang} workers together, each sending {size(self.traffic)} a step"
            )
        notes += self._memory()
        if self.device:
            notes.append(f"device {self.device}")
        if self.doubt:
            notes.append(f"doubt {self.doubt}")
        notes.append(f"store about {size(self.store_bytes)}, {size(self.disk_bytes)} at most; {self._time()}")
        return notes

    def _memory(self) -> list[str]:
        """Say what a process needs, which is what it is refused by, and how that comes from the largest task."""
        task = size(self.worker_bytes - PROCESS_BYTES)
        what = "its largest task" if self.bundle == 1 else f"{self.bundle} replicas at the same time"
        parts = f"{task} for {what}, {size(PROCESS_BYTES)} for the program, {SPARE} to spare"
        driver = size(PROCESS_BYTES + self.driver_bytes)
        if self.capacity.memory is not None:
            has = f"a worker needs {size(self.limit_bytes)} and has {size(self.capacity.memory)}"
            return [f"{has} ({parts})", f"the driver needs {driver}"]
        if self.needed_bytes > self.limit_bytes:
            parts = f"{size(self.driver_bytes)} for kernel and report, {size(PROCESS_BYTES)} for the program"
        return [f"memory {size(self.needed_bytes)} ({parts})"]

    def _time(self) -> str:
        workers = self.capacity.workers
        if workers == 1:
            return f"about {duration(self.seconds)} on one core"
        return f"about {duration(self.seconds)} on {workers} workers, {duration(self.cpu_seconds)} of CPU"

    def line(self) -> str:
        """Return the plan in one line, for a run to say before it spends anything."""
        what = f"{self.tasks} tasks" if self.tasks != 1 else "1 task"
        if self.gang > 1:
            what += f", replicas by {self.gang} workers together ({size(self.traffic)} a step)"
        return f"{what}; memory {size(self.needed_bytes)}; store {size(self.disk_bytes)}; {self._time()}"


def plan(config: RunConfig, capacity: Capacity = ALONE) -> Plan:
    """Return the plan of a whole run with these workers, this process by default. Nothing is written.

    Raises InputError for what the run itself would refuse, but for memory and disk: see `afford`.
    """
    setup = prepare(config, source_of(config))
    check(config, setup)
    return planned(config, setup, capacity)


def source_of(config: RunConfig) -> Inputs | Store:
    """Return what others made, or nothing: a file, or the store that an import has filled."""
    file = str(config.data.file)
    if config.data.source == "import" and (is_url(file) or Path(file).is_dir()):
        return Store.open(file)
    return read_inputs(config)


def planned(
    config: RunConfig,
    setup: Setup,
    capacity: Capacity,
    stages: Collection[str] | None = None,
    report: bool = True,
    cores: int | None = None,
    card: Card | None = None,
    sharing: int = 1,
) -> Plan:
    """Return the plan of the named stages (all by default) and of the report, of a run whose setup is known.

    ``cores`` are what the workers share; None gives each its own. ``card`` is the GPU that each steps on, ``sharing``
    how many of them have the one: where it does not hold all, those that find it full keep their particles on the host.
    """
    members = gang_size(config, setup, capacity, setting("gang.size"))
    sizes, seconds, rows = store_bytes(config, setup), cpu_seconds(config, setup, members), []
    bundle, card_free = largest_bundle(config, setup, capacity, card), 0 if card is None else card.free
    on_card = None if card is None else device_plan(card.free, config, setup, members)
    for stage in STAGES:
        if stages is not None and stage.name not in stages:
            continue
        tasks = stage.tasks(config, setup, "", "")
        gang, abreast = (members, bundle if members == 1 else 1) if stage is STAGES[0] else (1, 1)
        needed = max((t.bytes for t in tasks), default=0)
        if gang > 1:
            # On a GPU too: by this a gang is formed, before its workers are known.
            needed = member_bytes(config, setup, gang)
        elif stage is STAGES[0] and on_card is not None:
            all_fit = sharing * on_card.bytes <= card_free
            last = on_card if all_fit else device_plan(card_free // sharing, config, setup, 1)
            needed = host_bytes(config, setup, 1, last)
        if stage is KERNEL:
            needed = driver_bytes(config, setup)
        name, count = stage.name, max(1, len(tasks))
        rows.append(PlanRow(name, count, needed, sizes[name], seconds[name], gang, abreast))
    stepping = any(row.stage == STAGES[0].name for row in rows)
    stepped = members > 1 and stepping
    return Plan(
        tuple(rows),
        capacity,
        step_traffic(setup, members) if stepped else 0,
        exchange_seconds(config, setup, members) if stepped else 0.0,
        driver_bytes(config, setup),
        passing_bytes(config, setup) if stepping else 0,
        LOAD_SECONDS + (report_seconds(config, setup) if report else 0.0),
        cores,
        card if stepping else None,
        on_card if stepping else None,
    )


def duration(seconds: float) -> str:
    """Write seconds for people."""
    if seconds < 0.95:
        return f"{seconds:.1g} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    for unit, length, limit in (("min", 60.0, 7200.0), ("h", 3600.0, 172800.0), ("days", 86400.0, 6e7)):
        if seconds < limit:
            return f"{seconds / length:.3g} {unit}"
    return f"{seconds / 31557600.0:.3g} years"
