"""A study of many small runs in one command, killed (-9) on the way: does it end, is its table right, what is wasted.

    python benchmarks/study.py                                   1000 runs of N = 2000, two kills, 2 workers: 10 minutes
    python benchmarks/study.py --runs 60 --kills 1               a short one
    python benchmarks/study.py --json study.json --out DIR       keep the rows and the study

The command is `ipsdist study FILE --workers 2`; it is killed after equal shares of the runs, given again, and in the
end its table is compared with runs done one by one. Capacity is what as many bare processes do, each run after run
without Dask, measured before and after. Throughput is the share of it that the study reaches: steady between the first
and the last result of every command, whole with all starts, kills and the table. The busy share is the CPU time of the
workers against cores times wall time.
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import psutil

RUN = """
[system]
particles = {particles}
kernel = "3*r**2"
diffusion = 2.0
[time]
horizon = 0.1
step = 1e-3
[initial]
mixture = [{{weight = 0.5, mean = 1.0, variance = 0.25}}, {{weight = 0.5, mean = -1.0, variance = 0.25}}]
[grid]
lower = -5.0
upper = 5.0
cells = 80
[dictionary]
terms = ["1", "r", "r**2", "r**3"]
"""
STUDY = """
name = "many"
case = "many_run.toml"
seeds = {seeds}
[[plot]]
name = "coefficients"
kind = "terms"
"""
PATIENCE = 30.0
"""Seconds within which the workers of a killed command must be gone."""
BARE = 20
"""Runs of each bare process, after one that loads everything."""


def bare(source: str, seeds: range) -> tuple[float, float]:
    """Do runs one after the other in this process; return wall and CPU seconds of one."""
    from ipsdist.config import resolve
    from ipsdist.studies.tasks import RunTask, do_run

    with tempfile.TemporaryDirectory() as folder:
        for seed in seeds:
            if seed == seeds[1]:
                wall, cpu = time.perf_counter(), time.process_time()
            said = do_run(RunTask(f"{folder}/{seed}", resolve(source, (), seed), (), False), lambda _: None)
            assert said.error is None, said.error
    count = len(seeds) - 1
    return (time.perf_counter() - wall) / count, (time.process_time() - cpu) / count


def capacity(source: Path, processes: int, runs: int) -> dict[str, float]:
    """Return the runs per second of so many bare processes at the same time, and the CPU seconds of a run."""
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        parts = [range(k * (runs + 1), (k + 1) * (runs + 1)) for k in range(processes)]
        found = list(pool.map(bare, [str(source)] * processes, parts))
    return {"runs_per_second": sum(1 / wall for wall, _ in found), "cpu": sum(cpu for _, cpu in found) / processes}


class Watched:
    """A command with its workers: their CPU time while it runs, and what is left of them when it is over."""

    def __init__(self, words: list[str]) -> None:
        self.begun = time.perf_counter()
        self.process = subprocess.Popen(words, stdout=subprocess.DEVNULL)
        self.family: dict[int, psutil.Process] = {}
        self.cpu: dict[int, float] = {}

    def look(self) -> bool:
        """Note what each of its processes has used; tell whether the command still runs."""
        try:
            root = psutil.Process(self.process.pid)
            for one in (root, *root.children(recursive=True)):
                used = one.cpu_times()
                self.family[one.pid], self.cpu[one.pid] = one, used.user + used.system
        except psutil.Error:
            pass
        return self.process.poll() is None

    def end(self, kill: bool) -> dict[str, Any]:
        """Kill it or wait for it; return wall and CPU seconds, its exit code, and the processes that outlive it."""
        if kill:
            self.process.kill()
        code = self.process.wait()
        wall = time.perf_counter() - self.begun
        _, left = psutil.wait_procs(list(self.family.values()), timeout=PATIENCE)
        driver = self.cpu.get(self.process.pid, 0.0)
        gone = time.perf_counter() - self.begun - wall
        return {"wall": wall, "cpu_workers": sum(self.cpu.values()) - driver, "cpu_driver": driver, "code": code,
                "orphans": len(left), "gone_after": gone}  # fmt: skip


def legs(words: list[str], out: Path, runs: int, kills: int) -> list[dict[str, Any]]:
    """Give the command until it is through, killed after equal shares of the runs."""
    found: list[dict[str, Any]] = []
    done: set[Path] = set()
    for kill in range(kills + 1):
        watched, goal = Watched(words), runs * (kill + 1) // (kills + 1)
        while watched.look() and (kill == kills or len(list(out.glob("runs/*/result.json"))) < goal):
            time.sleep(0.5)
        leg = watched.end(kill < kills)
        new = sorted(p.stat().st_mtime for p in set(out.glob("runs/*/result.json")) - done)
        done.update(out.glob("runs/*/result.json"))
        found.append({**leg, "runs": len(new), "working": new[-1] - new[0] if new else 0.0})
        print(f"leg {kill + 1}: {len(done)} of {runs} runs in {leg['wall']:.0f} s", flush=True)
    return found


def differing(source: Path, out: Path, seeds: list[int]) -> int:
    """Count the runs, done one by one, whose row in the table is another."""
    import ipsdist as ips

    with (out / "study.csv").open() as file:
        rows = {int(row["seed"]): row for row in csv.DictReader(file)}
    wrong = 0
    with tempfile.TemporaryDirectory() as folder:
        for seed in seeds:
            result = ips.run(source, Path(folder) / str(seed), seed=seed, draw=False).result
            own = {f"coefficient.{term['name']}": repr(term["coefficient"]) for term in result["terms"]}
            own["data_loss"] = repr(result["data_loss"])
            wrong += any(rows[seed][name] != value for name, value in own.items())
    return wrong


def measure(folder: Path, runs: int, kills: int, workers: int, particles: int) -> dict[str, Any]:
    """Return all numbers of one trial."""
    source, study, out = folder / "many_run.toml", folder / "many.toml", folder / "many"
    source.write_text(RUN.format(particles=particles))
    study.write_text(STUDY.format(seeds=runs))
    few = min(BARE, runs)
    before = capacity(source, workers, few)
    words = [
        sys.executable,
        "-m",
        "ipsdist",
        "study",
        str(study),
        "--out",
        str(out),
        "--workers",
        str(workers),
        "--quiet",
    ]
    parts = legs(words, out, runs, kills)
    after = capacity(source, workers, few)
    table = json.loads((out / "study.json").read_text())
    wall = sum(part["wall"] for part in parts)
    steady = sum(part["runs"] - 1 for part in parts) / sum(part["working"] for part in parts)
    able = (before["runs_per_second"] + after["runs_per_second"]) / 2
    return {
        "runs": runs, "workers": workers, "particles": particles, "kills": kills, "wall": wall,
        "rows": table["rows"], "failed": table["failed"], "code": parts[-1]["code"],
        "runs_per_second": runs / wall, "capacity": able, "throughput": steady / able,
        "whole": runs / wall / able,
        "busy": sum(part["cpu_workers"] for part in parts) / (wall * workers),
        "cpu_run": (before["cpu"] + after["cpu"]) / 2, "cpu_driver": sum(part["cpu_driver"] for part in parts) / runs,
        "orphans": sum(part["orphans"] for part in parts), "gone_after": max(part["gone_after"] for part in parts),
        "differing": differing(source, out, list(range(0, runs, max(1, runs // 10)))), "legs": parts,
    }  # fmt: skip


def table(row: dict[str, Any]) -> str:
    """Return the numbers for people."""
    return "\n".join(
        [
            f"runs of N = {row['particles']:<22} {row['rows']}, {row['failed']} failed, {row['kills']} kills",
            f"rows unlike those of runs alone    {row['differing']}",
            f"wall                               {row['wall']:.0f} s, {row['runs_per_second']:.2f} runs/s",
            f"{row['workers']} bare processes                   {row['capacity']:.2f} runs/s",
            f"throughput, with starts and kills  {row['throughput']:.2f} of that (bar 0.8), {row['whole']:.2f}",
            f"busy                               {row['busy']:.2f} of {row['workers']} cores",
            f"CPU of a run, of the driver a run  {row['cpu_run']:.2f} s, {row['cpu_driver']:.3f} s",
            f"processes left, workers gone after {row['orphans']}, {row['gone_after']:.1f} s",
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--kills", type=int, default=2)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--particles", type=int, default=2000)
    parser.add_argument("--out", type=Path, metavar="DIR", help="keep the study here")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers too")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home = args.out or Path(folder)
        home.mkdir(parents=True, exist_ok=True)
        row = measure(home, args.runs, args.kills, args.workers, args.particles)
    print(table(row))
    if args.json:
        args.json.write_text(json.dumps(row, indent=1))


if __name__ == "__main__":
    main()
