"""Runs whose workers, schedulers, links and disks fail: do they end, with the same bits, and is anything left behind.

    python benchmarks/faults.py                          all trials, a row each; resumes (needs root on Linux)
    python benchmarks/faults.py --only link --show
    python benchmarks/faults.py --trials 2 --fresh       two of each kind, in place of rows that are there

One replica of a million particles is stepped by two workers together in epochs of a second. A trial is one fault:

    worker     one of two worker processes killed (-9) at a random moment of the run
    commit     the same at a random commit, while the members write their checkpoint
    scheduler  the scheduler of a running cluster killed (-9); another one is started and the command given again
    command    the command killed (-9) with all it had started, and given again
    link       two hosts (network namespaces), the link of one down for 3 s
    disk       a disk that is filled at a random moment; room is made and the command given again
    frozen     a worker stopped for longer than the time-out of the gang, taken for dead, and let go again

``same`` compares the answer and every array of the store with those of an undisturbed run in one process, ``repeated``
counts the epochs that were begun and not committed. ``left`` are processes that outlive the command by 30 s, files that
are no part of a run, and addresses beyond loopback that were listened at. Rows go to benchmarks/results/faults.jsonl.
"""

from __future__ import annotations

import contextlib
import functools
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from _machines import Trial, able, await_that, digest, disk, fill, hosts, outside
from _rows import Row, arguments, complete, load

ROWS = Path(__file__).parent / "results" / "faults.jsonl"
COUNTS = {"worker": 15, "commit": 10, "scheduler": 5, "command": 5, "link": 5, "disk": 3, "frozen": 3}
RUN = """
[system]
particles = 1000000
kernel = "3*r**2"
diffusion = 2.0
[time]
horizon = 0.2
step = 2e-4
observe_every = 10
[initial]
mixture = [{weight = 0.5, mean = 1.0, variance = 0.25}, {weight = 0.5, mean = -1.0, variance = 0.25}]
[grid]
lower = -6.0
upper = 6.0
cells = 120
[dictionary]
terms = ["1", "r", "r**2", "r**3"]
"""
_LATER = ("densities", "equations", "kernel", "report", "end")
_STEPPING = 0.8
"""Share of the moments that fall into the stepping; it takes most of the time, and has the most to lose."""
LIMIT = 300.0
"""Seconds after which a trial is given up."""
DOWN = 3.0


class Stage:
    """What all trials share: the run, its undisturbed answer, how many epochs it has and its size on the disk."""

    def __init__(self, folder: Path, sets: Sequence[str] = (), epoch: float = 1.0) -> None:
        """Do the run once undisturbed in one process, and once by a gang with epochs of so many seconds."""
        self.gang = {"ipsdist.gang.size": 2, "ipsdist.gang.epoch": epoch}
        self.source, self.sets = folder / "faults.toml", list(sets)
        self.source.write_text(RUN)
        alone, gang = Trial(folder / "alone"), Trial(folder / "gang")
        self._do(alone, {}, {})
        self.answer = digest(alone.folder / "out")
        self._do(gang, {"workers": 2}, self.gang)
        self.same = digest(gang.folder / "out") == self.answer
        commits = [line[2] for line in gang.lines() if line[1] == "commit"]
        self.commits, self.units = len(commits), commits[-1]
        self.bytes = sum(p.stat().st_size for p in (gang.folder / "out").rglob("*") if p.is_file())

    def _do(self, trial: Trial, how: dict[str, Any], settings: dict[str, Any]) -> None:
        code = trial.run(self.source, self.sets, how, settings).wait()
        if code != 0:
            raise RuntimeError((trial.folder / "stderr.txt").read_text())


def moment(
    stage: Stage, trial: Trial, process: subprocess.Popen, random: np.random.Generator, latest: float = 1.0
) -> Any:
    """Wait for a random moment: mostly while particles are stepped, else in a later stage; return where the run is."""
    share, rest = random.uniform(0.0, latest), random.uniform(0.0, 0.25)

    def reached(line: list[Any]) -> bool:
        stepped = line[1] == "commit" or (line[1] == "particles" and line[2] > 0)
        return line[1] in _LATER or (share < _STEPPING and stepped and line[2] >= share / _STEPPING * stage.units)

    begun = "epoch" if share < 0.05 else None
    await_that(
        lambda: process.poll() is not None or any(line[1] == begun or reached(line) for line in trial.lines()), LIMIT
    )
    time.sleep(rest if share < _STEPPING else 4 * rest)
    return last(trial)


def last(trial: Trial) -> Any:
    """Return the last that the run wrote down."""
    return (trial.lines() or [[0.0, "nothing"]])[-1][1:3]


def commit(trial: Trial, process: subprocess.Popen, number: int, delay: float) -> Any:
    """Wait until the members write the ``number``-th checkpoint, and then a little; return where the run is."""
    group = trial.folder / "out" / "store.zarr" / "particles" / "replica-0"
    seen: set[str] = set()

    def writing() -> bool:
        with contextlib.suppress(OSError):
            chunks = (p for p in group.glob("checkpoint-*/positions*/*") if p.name != "zarr.json")
            seen.update(chunk.parts[-3] for chunk in chunks)
        return len(seen) >= number or process.poll() is not None

    await_that(writing, LIMIT, 0.0005)
    time.sleep(delay)
    return last(trial)


def on_workers(stage: Stage, trial: Trial, random: np.random.Generator, when: Callable[..., Any]) -> Row:
    """Kill one of two workers."""
    command = trial.run(stage.source, stage.sets, {"workers": 2}, stage.gang)
    where = when(command)
    workers = trial.workers(command)
    if workers:
        workers[random.integers(len(workers))].kill()
    addresses = outside(trial.processes())
    return {"codes": [command.wait(LIMIT)], "where": where, "open": addresses, "faults": len(workers[:1])}


def worker(stage: Stage, trial: Trial, random: np.random.Generator) -> Row:
    """At any moment of the run."""
    return on_workers(stage, trial, random, lambda command: moment(stage, trial, command, random))


def at_commit(stage: Stage, trial: Trial, random: np.random.Generator) -> Row:
    """While a checkpoint is written."""
    number, delay = int(random.integers(1, max(2, stage.commits * 2 // 3))), random.uniform(0.0, 0.02)
    return on_workers(stage, trial, random, lambda command: commit(trial, command, number, delay))


def frozen(stage: Stage, trial: Trial, random: np.random.Generator) -> Row:
    """Stop a worker for longer than its peers wait, and let it go on."""
    command = trial.run(stage.source, stage.sets, {"workers": 2}, {**stage.gang, "ipsdist.gang.timeout": 2.0})
    where = moment(stage, trial, command, random, 0.5)
    workers = trial.workers(command)
    stopped = workers[random.integers(len(workers))]
    stopped.send_signal(signal.SIGSTOP)
    time.sleep(6.0)
    with contextlib.suppress(Exception):
        stopped.send_signal(signal.SIGCONT)
    return {"codes": [command.wait(LIMIT)], "where": where, "open": outside(trial.processes()), "faults": 1}


def command(stage: Stage, trial: Trial, random: np.random.Generator) -> Row:
    """Kill the command and give it again."""
    first = trial.run(stage.source, stage.sets, {"workers": 2}, stage.gang)
    where = moment(stage, trial, first, random)
    first.kill()
    codes = [first.wait(), trial.run(stage.source, stage.sets, {"workers": 2}, stage.gang).wait(LIMIT)]
    return {"codes": codes, "where": where, "open": [], "faults": 1}


def scheduler(stage: Stage, trial: Trial, random: np.random.Generator) -> Row:
    """Kill the scheduler; start another and give the command again."""
    first, file = trial.cluster()
    run = trial.run(stage.source, stage.sets, {"scheduler": file}, stage.gang)
    where = moment(stage, trial, run, random)
    first.kill()
    begun = time.monotonic()
    codes = [run.wait(LIMIT)]
    noticed = time.monotonic() - begun
    await_that(lambda: not trial.processes(users=True), 120)  # workers end with their scheduler
    _, file = trial.cluster()
    again = trial.run(stage.source, stage.sets, {"scheduler": file}, stage.gang)
    await_that(lambda: again.poll() is not None, LIMIT)
    addresses = outside([*trial.processes(), *trial.processes(users=True)])
    return {"codes": [*codes, again.poll()], "where": where, "open": addresses, "faults": 1, "noticed": noticed}


def link(stage: Stage, trial: Trial, random: np.random.Generator) -> Row:
    """Take the link of one of two hosts down for 3 s."""
    with hosts(2) as (hub, each, addresses, set_link):
        _, file = trial.cluster(addresses, hub, each)
        run = trial.run(stage.source, stage.sets, {"scheduler": file}, stage.gang, hub)
        where, number = moment(stage, trial, run, random, 0.6), int(random.integers(2))
        set_link(number, False)
        time.sleep(DOWN)
        set_link(number, True)
        code = run.wait(LIMIT)
        trial.leftovers()
        trial.clear()
    return {"codes": [code], "where": where, "open": [], "faults": 1}


def full_disk(stage: Stage, trial: Trial, random: np.random.Generator) -> Row:
    """Fill the disk on the way; make room and give the command again."""
    with disk(trial.folder / "disk", 64 * 2**20 + 20 * stage.bytes) as home:
        first = trial.run(stage.source, stage.sets, {"workers": 2}, stage.gang, out=home / "out")
        where = moment(stage, trial, first, random, 0.9)
        fill(home / "filler")
        codes = [first.wait(LIMIT)]
        (home / "filler").unlink()
        codes.append(trial.run(stage.source, stage.sets, {"workers": 2}, stage.gang, out=home / "out").wait(LIMIT))
        shutil.copytree(home / "out", trial.folder / "out")
    return {"codes": codes, "where": where, "open": [], "faults": 1}


def one(kind: str, number: int, stage: Stage, folder: Path) -> Row:
    """Do one trial and say what came of it."""
    random = np.random.default_rng([number, sum(kind.encode())])
    trial = Trial(folder / f"{kind}-{number}")
    does = {"worker": worker, "commit": at_commit, "scheduler": scheduler, "command": command, "link": link,
            "frozen": frozen, "disk": full_disk}[kind]  # fmt: skip
    begun = time.monotonic()
    try:
        row = {"kind": kind, "trial": number, **does(stage, trial, random)}
        row["seconds"] = time.monotonic() - begun
        lines = trial.lines()
        row["epochs"], commits = (sum(line[1] == word for line in lines) for word in ("epoch", "commit"))
        row["repeated"] = row["epochs"] - commits
        row["ended"] = last(trial)[0] == "end" and row["codes"][-1] == 0
        row["same"] = row["ended"] and digest(trial.folder / "out") == stage.answer
        row["left"], row["files"] = trial.leftovers()
        row["said"] = [s[:300] for s in (trial.folder / "stderr.txt").read_text().splitlines() if s.strip()][-9:]
    finally:
        trial.clear()
        shutil.rmtree(trial.folder, ignore_errors=True)
    return row


def good(row: Row) -> bool:
    """Tell whether a trial holds all that is asked."""
    said = row["codes"] == [0] or len(row["said"]) == (row["codes"][0] == 1)
    kept = row["ended"] and row["same"] and row["repeated"] <= 1
    return row["faults"] == 1 and kept and said and not row["left"] and not row["files"] and not row["open"]


def table(rows: list[Row]) -> str:
    """Return one line a kind of fault."""
    lines = [
        f"{'fault':10} {'trials':>6} {'good':>5} {'ended':>6} {'same':>5} {'repeated epochs':>16} {'left':>5} {'s':>6}"
    ]
    for kind in COUNTS:
        own = [row for row in rows if row["kind"] == kind]
        if own:
            repeated, seconds = [row["repeated"] for row in own], np.mean([row["seconds"] for row in own])
            spread = f"{np.mean(repeated):.1f}, most {max(repeated)}"
            left = sum(row["left"] + len(row["files"]) + len(row["open"]) for row in own)
            lines.append(
                f"{kind:10} {len(own):6} {sum(map(good, own)):5} {sum(row['ended'] for row in own):6}"
                f" {sum(row['same'] for row in own):5} {spread:>16} {left:5} {seconds:6.1f}"
            )
    return "\n".join(lines)


def say(row: Row) -> str:
    """Return a word on a trial as it ends."""
    told = {key: row[key] for key in ("where", "codes", "repeated", "same", "left", "files", "said")}
    return ("good" if good(row) else "BAD") + f" {told}"


def main() -> None:
    parser = arguments(__doc__, COUNTS, "FAULT")
    parser.add_argument("--trials", type=int, help="of each kind, in place of the numbers of the table")
    parser.add_argument("--set", action="append", default=[], dest="sets", help="changes of the run, for short trials")
    parser.add_argument("--fresh", action="store_true", help="forget the rows that are there")
    args = parser.parse_args()
    if args.fresh:
        ROWS.unlink(missing_ok=True)
    if not args.show:
        why = able()
        wanted = [k for k in args.only if why is None or k not in ("link", "disk")]
        if len(wanted) < len(args.only):
            print(f"link and disk are left out: {why}")
        with tempfile.TemporaryDirectory() as folder:
            stage = Stage(Path(folder), tuple(args.sets))
            print(f"undisturbed: {stage.commits} commits, {stage.bytes} bytes, same {stage.same}", flush=True)
            trials = ((kind, k) for kind in wanted for k in range(args.trials or COUNTS[kind]))
            complete(ROWS, ("kind", "trial"), trials, functools.partial(one, stage=stage, folder=Path(folder)), 1, say)
    print(table(load(ROWS)))


if __name__ == "__main__":
    main()
