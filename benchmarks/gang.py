"""What it costs that several workers step one replica together: speed, CPU a step, sums, epochs, memory.

    python benchmarks/gang.py                       all kinds; resumes; 20 minutes on 2 quiet cores
    python benchmarks/gang.py --only speed sum --rounds 1
    python benchmarks/gang.py --show

    speed   1e7 particles: two worker processes against two threads of one process that meet at a barrier, in turn
    step    seconds and CPU-seconds of a step over N and workers; the CPU of two beyond that of one is the overhead
    sum     one sum of n integers over two worker processes
    epoch   an epoch without work, over the number of workers (threads of one process beyond 2)
    store   a checkpoint written and read
    memory  1e8 particles in float32, 50 steps, two workers with 1 GB each: their peak, and seconds

All but the last leave out start and first epoch. CPU is that of workers, scheduler and driver. Rows go to
benchmarks/results/gang.jsonl; benchmarks/scaling.py fits the model of docs/SCALING.md to them.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from _rows import Row, arguments, complete, load

ROWS = Path(__file__).parent / "results" / "gang.jsonl"
SPEED = 10_000_000
SECONDS = 12.0
"""About how long the stepping of a row takes."""
A_PARTICLE, A_STEP = 3.6e-9, 1e-4
"""Nominal cost, for the number of steps."""
CASES: dict[str, list[tuple[Any, ...]]] = {
    "speed": [(SPEED,)],
    "step": [(n, w) for n in (30_000, 100_000, 300_000, 1_000_000, 3_000_000, 10_000_000) for w in (1, 2)],
    "sum": [(n, 2) for n in (64, 4096, 65_536, 1_000_000)],
    "epoch": [(2, "processes"), *((w, "threads") for w in (2, 8, 32, 64))],
    "store": [(160_000_000,)],
    "memory": [(100_000_000, "unlabelled"), (100_000_000, "labelled")],
}
"""What the rows of a kind differ in."""


def sets_of(particles: int, seconds: float, members: int) -> list[str]:
    """Return a run of about so many seconds, with twenty slices."""
    steps = max(40, round(seconds / (A_PARTICLE * particles / members + A_STEP)))
    every = max(1, steps // 20)
    return [f"system.particles={particles}", f"time.horizon={every * 20 * 1e-4!r}", f"time.observe_every={every}"]


def speed(particles: int) -> Row:
    """Step by both roads, one after the other."""
    from _roads import particles as stepped

    sets = sets_of(particles, SECONDS, 2)
    found = {road: stepped(road, 2, sets).rate()[0] * particles for road in ("threads", "gang")}
    return {"threads": found["threads"], "gang": found["gang"], "share": found["threads"] / found["gang"]}


def step(particles: int, members: int) -> Row:
    """Time a step, and its CPU."""
    from _roads import particles as stepped

    road = "gang" if members > 1 else "threads"
    wall, cpu = stepped(road, members, sets_of(particles, SECONDS, members)).rate()
    return {"seconds": wall * particles, "cpu": cpu * particles}


def sums(numbers: int, members: int) -> Row:
    """Time a sum over workers that are processes."""
    from _jobs import Trivial, on, summed

    job = Trivial(members, 3, summed, (numbers, max(50, min(20_000, 50_000_000 // numbers))))
    on(members, "processes", job)
    return {"seconds": min(max(answers) for answers in job.answers[1:])}


def epoch(members: int, how: str) -> Row:
    """Time epochs without work, all but the first."""
    from _jobs import Trivial, nothing, on

    job = Trivial(members, 21, nothing, None)
    on(members, how, job)
    return {"seconds": float(np.median(np.diff(job.times)[1:]))}


def store(size: int) -> Row:
    """Time a checkpoint of so many bytes, as one member writes and reads it."""
    from ipsdist.numerics.particles.host_cloud import HostCloud
    from ipsdist.stages.parts import read_rows, write_rows
    from ipsdist.storage import Store

    folder, chunk = Path(tempfile.mkdtemp(prefix="ipsdist-")), 2**22
    x = np.random.default_rng(0).standard_normal((size // 8, 1))
    try:
        place = Store.create(folder / "store.zarr", {})
        place.create_array("a/positions", x.shape, x.dtype, ("particle", "space"), (chunk, 1), "length", compress=False)
        times = [time.perf_counter()]
        write_rows(place, "a/positions", 0, HostCloud(x, copy=False), chunk)
        times.append(time.perf_counter())
        read_rows(place, "a/positions", 0, np.empty_like(x), chunk)
        times.append(time.perf_counter())
    finally:
        shutil.rmtree(folder)
    return {"write": times[1] - times[0], "read": times[2] - times[1]}


def memory(particles: int, labelled: str) -> Row:
    """Run 50 steps under 1 GB a worker, and look at the largest process."""
    from _jobs import Peak
    from _roads import particles as stepped

    sets = [f"system.particles={particles}", "run.precision=float32", "time.horizon=5e-3", "time.observe_every=25"]
    sets.append(f"data.labelled={str(labelled == 'labelled').lower()}")
    begun = time.perf_counter()
    with Peak() as peak:
        times = stepped("gang", 2, sets, 10.0, DASK_IPSDIST__LOCAL__MEMORY="1 GB")
    return {"wall": time.perf_counter() - begun, "peak": peak.bytes, "steps": times.committed[-1][2] / particles}


KINDS = {"speed": speed, "step": step, "sum": sums, "epoch": epoch, "store": store, "memory": memory}
TURNS = {"memory": 1}


def named(kind: str) -> dict[str, tuple[Any, ...]]:
    """Return the cases of a kind by name."""
    return {" ".join(map(str, case)): case for case in CASES[kind]}


def one(kind: str, case: str, turn: int) -> Row:
    """Do one row."""
    return {"kind": kind, "case": case, "turn": turn, "cores": os.cpu_count(), **KINDS[kind](*named(kind)[case])}


def best(rows: list[Row], kind: str, case: str, key: str) -> float:
    """Return the least of the turns, since other work on a machine only adds; the median of a share. NaN for none."""
    found = [row[key] for row in rows if (row["kind"], row["case"]) == (kind, case)]
    return float((np.median if key == "share" else np.min)(found)) if found else float("nan")


def table(rows: list[Row]) -> str:
    """Return one line a case, and the overhead of a step."""
    lines = []
    for kind in CASES:
        for case in named(kind):
            own = [row for row in rows if (row["kind"], row["case"]) == (kind, case)]
            if own:
                keys = [key for key in own[0] if key not in ("kind", "case", "turn", "cores")]
                told = "  ".join(f"{key} {best(rows, kind, case, key):.4g}" for key in keys)
                lines.append(f"{kind:7} {case:22} {len(own):2} turns  {told}")
    for n in (30_000, 100_000, 300_000):
        alone, two = (best(rows, "step", f"{n} {members}", "cpu") for members in (1, 2))
        lines.append(f"overhead of a step, {n} particles on two workers: {1e3 * (two - alone):.3f} ms of CPU")
    return "\n".join(lines)


def main() -> None:
    parser = arguments(__doc__, CASES, "KIND")
    parser.add_argument("--rounds", type=int, default=3, help="turns of every case")
    args = parser.parse_args()
    if not args.show:
        cases = [(kind, case, k) for k in range(args.rounds) for kind in args.only for case in named(kind)]
        wanted = (row for row in cases if row[2] < TURNS.get(row[0], args.rounds))
        complete(ROWS, ("kind", "case", "turn"), wanted, one, 1)
    print(table(load(ROWS)))


if __name__ == "__main__":
    main()
