"""`ipsdist import` of a CSV of tracks against pyarrow's own reading of it: seconds, CPU seconds and peak memory.

    python benchmarks/importing.py [--rows N] [--slices N] [--order particle|time|mixed] [--absent SHARE] [--rounds N]
                                   [--json FILE]

Each reading is a process of its own (start included), in turn. pyarrow reads a batch at a time and keeps none
(open_csv), and the whole table at once (read_csv, on all cores); the import reads, sorts by time, checks and writes.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

OPEN = """
import sys
from pyarrow import csv
types = csv.ConvertOptions(column_types={"time": "float64"})
rows = sum(batch.num_rows for batch in csv.open_csv(sys.argv[1], convert_options=types))
"""
READ = """
import sys
from pyarrow import csv
rows = csv.read_csv(sys.argv[1]).num_rows
"""
_BLOCK = 10**6


def write(path: Path, rows: int, slices: int, order: str, absent: float) -> None:
    """Write random walks in the plane, a block of particles or slices at a time; mixed within a block of slices."""
    import pyarrow as pa
    from pyarrow import csv

    rng, particles = np.random.default_rng(0), rows // slices
    by_particle = order == "particle"
    total, step = (particles, _BLOCK // slices) if by_particle else (slices, max(1, _BLOCK // particles))
    schema = pa.schema([("particle", pa.int64()), ("time", pa.float64()), ("x", pa.float64()), ("y", pa.float64())])
    x = np.zeros((particles, 2))
    with csv.CSVWriter(path, schema) as writer:
        for k in range(0, total, step):
            here = np.arange(k, min(k + step, total))
            if by_particle:
                walk = np.cumsum(rng.normal(scale=0.03, size=(len(here), slices, 2)), axis=1)
                who, slot = np.repeat(here, slices), np.tile(np.arange(slices), len(here))
            else:
                walk = x + np.cumsum(rng.normal(scale=0.03, size=(len(here), particles, 2)), axis=0)
                x = walk[-1]
                who, slot = np.tile(np.arange(particles), len(here)), np.repeat(here, particles)
            walk = walk.reshape(-1, 2)
            keep = np.flatnonzero(rng.random(len(who)) >= absent)
            keep = rng.permutation(keep) if order == "mixed" else keep
            values = who[keep], (slot[keep] * 1e-3).round(6), walk[keep, 0], walk[keep, 1]
            writer.write_table(pa.table(dict(zip(schema.names, values, strict=True))))


def measured(words: list[str]) -> dict[str, float]:
    """Run a process; return its seconds, CPU seconds and peak resident bytes."""
    began = time.perf_counter()
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{words[1:4]} ended with {process.returncode}")
    return {
        "seconds": time.perf_counter() - began,
        "cpu_seconds": usage.ru_utime + usage.ru_stime,
        "peak_bytes": usage.ru_maxrss * 1024.0,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=10**7)
    parser.add_argument("--slices", type=int, default=1000)
    parser.add_argument("--order", choices=("particle", "time", "mixed"), default="particle")
    parser.add_argument("--absent", type=float, default=0.0, help="share of the rows that are missing")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    words = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ipsdist-") as folder:
        table, out = Path(folder) / "tracks.csv", Path(folder) / "out"
        write(table, words.rows, words.slices, words.order, words.absent)
        roads = {
            "pyarrow open_csv": [sys.executable, "-c", OPEN, str(table)],
            "pyarrow read_csv": [sys.executable, "-c", READ, str(table)],
            "ipsdist import": [sys.executable, "-m", "ipsdist", "import", str(table), str(out)],
        }
        found: dict[str, list[dict[str, float]]] = {name: [] for name in roads}
        for _ in range(words.rounds):
            for name, command in roads.items():
                found[name].append(measured(command))
                shutil.rmtree(out, ignore_errors=True)
        size = table.stat().st_size
    best = {name: {key: min(run[key] for run in runs) for key in runs[0]} for name, runs in found.items()}
    about = {"rows": words.rows, "slices": words.slices, "order": words.order, "absent": words.absent, "bytes": size}
    print(f"{', '.join(f'{key} {value}' for key, value in about.items())}; best of {words.rounds}")
    base = best["pyarrow open_csv"]
    for name, run in best.items():
        ratio, cpu = run["seconds"] / base["seconds"], run["cpu_seconds"] / base["cpu_seconds"]
        used = f"{run['seconds']:6.2f} s {run['cpu_seconds']:6.2f} CPU s {run['peak_bytes'] / 1e6:6.0f} MB"
        print(f"{name:<18}{used}  {ratio:.2f} x, CPU {cpu:.2f} x")
    if words.json:
        words.json.write_text(json.dumps({**about, "runs": found, "best": best}, indent=2) + "\n")


if __name__ == "__main__":
    main()
