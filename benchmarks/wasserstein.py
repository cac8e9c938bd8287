"""W2 on 100 x 100 cells against known values: both roads, what "auto" answers, its CPU time, and POT's programme.

    python benchmarks/wasserstein.py [--json FILE]

Normals shifted and scaled (closed form), and two clouds that exchange mass (exact on the line). Errors in per cent; POT
only where W2 is above the coarse cells of its programme.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ipsdist.learning.wasserstein import wasserstein2
from ipsdist.model.system import Grid

CELLS = (100, 100)
LINE = Grid((-4.0,), (4.0,), (6400,))
DISTANCES = (2e-4, 1e-3, 1e-2, 0.1, 0.3, 1.0)
DEVIATIONS = (0.3, 0.5, 0.7)
POT_FROM = 0.3

Profile = np.ndarray
Case = tuple[str, Grid, np.ndarray, np.ndarray, float]


def normal(x: Profile, mean: float, deviation: float) -> Profile:
    return np.exp(-0.5 * ((x - mean) / deviation) ** 2) / deviation


def square(half: float) -> Grid:
    return Grid((-half, -half), (half, half), CELLS)


def cases() -> Iterator[Case]:
    """Yield name, grid, both densities and their known distance; the square holds five deviations of the wider one."""
    for w in DISTANCES:
        for s in DEVIATIONS:
            yield f"shift, deviation {s:g}", *clouds(square(max(4.0, 5 * s + w / 2)), (-w / 2, s), (w / 2, s)), w
            wide = s + w / np.sqrt(2)
            yield f"scaling, deviation {s:g}", *clouds(square(max(4.0, 5 * wide)), (0, s), (0, wide)), w
    grid, fine = square(4.0), LINE.axes()[0]
    x, y = np.meshgrid(*grid.axes(), indexing="ij")
    for share in (1e-3, 1e-2, 0.1):
        one, other = (
            lambda z, e=e: (1 + e) * normal(z, -1.5, 0.5) + (1 - e) * normal(z, 1.5, 0.5) for e in (0.0, share)
        )
        known = wasserstein2(one(fine), other(fine), LINE)[0]
        yield f"exchange of {share:g} between clouds", grid, *(f(x) * normal(y, 0, 0.5) for f in (one, other)), known


def clouds(grid: Grid, *laws: tuple[float, float]) -> tuple[Any, ...]:
    """Return the grid and a round normal density for every mean along the first axis and deviation."""
    x, y = np.meshgrid(*grid.axes(), indexing="ij")
    return grid, *(normal(x, mean, deviation) * normal(y, 0.0, deviation) for mean, deviation in laws)


def measure(case: Case, repeats: int) -> dict[str, Any]:
    """Return the row of a case; seconds are CPU's, the least of the repeats."""
    name, grid, u, v, known = case
    row: dict[str, Any] = {"case": name, "known": known}
    for method in ("sobolev", "sinkhorn", "auto", "emd"):
        if method == "emd" and known < POT_FROM:
            row[method] = None
            continue
        times = []
        for _ in range(1 if method == "emd" else repeats):
            start = time.process_time()
            value, label = wasserstein2(u, v, grid, method)
            times.append(time.process_time() - start)
        row[method] = {"error": value / known - 1.0, "label": label, "cpu_seconds": min(times)}
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    rows = []
    print(
        f"{'case':32} {'W2':>8} {'H^-1, %':>9} {'Sinkhorn, %':>11} {'auto, %':>8} {'s':>6}  {'road':24} {'POT, %':>7}"
    )
    for case in cases():
        rows.append(row := measure(case, args.repeats))
        auto, pot = row["auto"], row["emd"]
        errors = [f"{100 * row[m]['error']:{w}.3f}" for m, w in (("sobolev", 9), ("sinkhorn", 11), ("auto", 8))]
        peer = "" if pot is None else f"{100 * pot['error']:7.2f}"
        told = f"{auto['cpu_seconds']:6.3f}  {auto['label']:24} {peer}"
        print(f"{row['case']:32} {row['known']:8.2g} {' '.join(errors)} {told}")
    worst, slowest = (max(f(r["auto"]) for r in rows) for f in (lambda a: abs(a["error"]), lambda a: a["cpu_seconds"]))
    print(f"auto: worst error {100 * worst:.2f} %, slowest {slowest:.3f} CPU-s")
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
