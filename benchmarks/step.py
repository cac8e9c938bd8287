"""Fused steps against the same step in plain NumPy, in one process on one core: ns per particle-step and the ratio.

    python benchmarks/step.py [--json FILE] [--particles N]

Both draw normals, interpolate the drift from the mesh, move, and deposit linear weights; the convolution that gives the
drift is the same for both and is left out. NumPy uses its fastest generator (SFC64), float32 normals, and bincount.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from ipsdist.model.mesh import Mesh
from ipsdist.numerics.device.step import step
from ipsdist.numerics.particles.noise import NORMAL_TABLE, seed_words

DT, SCALE = 1e-4, math.sqrt(2e-4)
ROUNDS = 15


def fused(x: Any, drift: Any, mesh: Mesh) -> Callable[[], Any]:
    flat, lower = x.reshape(-1), np.array(mesh.lower)
    number = itertools.count()

    def one() -> Any:
        count = np.zeros(mesh.shape, dtype=np.int64)
        key = NORMAL_TABLE, np.uint64(0), np.uint64(next(number)), np.uint64(0), *seed_words(1)
        if step(flat, drift, lower, 1 / mesh.spacing, DT, SCALE, *key, count):
            raise SystemExit("particles left the mesh: the benchmark needs a larger one")
        return count

    return one


def plain(x: Any, drift: Any, mesh: Mesh) -> Callable[[], Any]:
    generator = np.random.Generator(np.random.SFC64(1))
    d, nodes = mesh.dimension, math.prod(mesh.shape)
    strides = [math.prod(mesh.shape[a + 1 :]) for a in range(d)]
    corners = list(itertools.product((0, 1), repeat=d))
    fields = drift.reshape(d, -1)
    columns = np.ascontiguousarray(x.T)

    def cells() -> tuple[Any, list[tuple[int, Any]]]:
        node, shares = 0, []
        for a in range(d):
            q = columns[a] * (1 / mesh.spacing) - mesh.lower[a]
            cell = q.astype(np.int64)
            node = node + cell * strides[a]
            shares.append((1 - (q - cell), q - cell))
        weights = []
        for corner in corners:
            weight = shares[0][corner[0]]
            for a in range(1, d):
                weight = weight * shares[a][corner[a]]
            weights.append((sum(c * s for c, s in zip(corner, strides, strict=True)), weight))
        return node, weights

    held = [cells()]

    def one() -> Any:
        node, weights = held[0]  # those of the last deposit
        noise = generator.standard_normal(columns.shape, dtype=np.float32)
        for a in range(d):
            force = sum(weight * fields[a][node + shift] for shift, weight in weights)
            columns[a] += DT * force + SCALE * noise[a]
        held[0] = node, weights = cells()
        return sum(np.bincount(node + shift, weight, nodes) for shift, weight in weights)

    return one


def measure(dimension: int, particles: int) -> dict[str, float]:
    """Return the best of several interleaved rounds, so that a busy machine slows both."""
    rng = np.random.default_rng(0)
    x = rng.normal(0, 0.5, (particles, dimension)) + rng.choice([-1.0, 1.0], (particles, 1))
    mesh = Mesh.around(x.min(0) - 2, x.max(0) + 2, (2.0**-5, 2.0**-3, 2.0**-2)[dimension - 1])
    drift = np.stack(np.meshgrid(*[-axis for axis in mesh.axes()], indexing="ij"))
    roads = {"fused": fused(x.copy(), drift, mesh), "numpy": plain(x.copy(), drift, mesh)}
    best = dict.fromkeys(roads, math.inf)
    repeats = max(1, 200_000 // particles)
    for name, road in roads.items():
        total = road().sum() / (2**16 if name == "fused" else 1)
        if not math.isclose(total, particles, rel_tol=1e-9):
            raise SystemExit(f"{name} deposits {total} of {particles} particles")
    for _ in range(ROUNDS):
        for name, road in roads.items():
            start = time.perf_counter()
            for _ in range(repeats):
                road()
            best[name] = min(best[name], (time.perf_counter() - start) / repeats / particles * 1e9)
    return {"dimension": dimension, "particles": particles, **best, "ratio": best["numpy"] / best["fused"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", metavar="FILE", help="write the table there too")
    parser.add_argument("--particles", type=int, default=20_000)
    arguments = parser.parse_args()
    rows = [measure(dimension, arguments.particles) for dimension in (1, 2, 3)]
    print("d  particles  fused ns  NumPy ns  ratio")
    for row in rows:
        print(
            f"{row['dimension']}  {row['particles']:9d}  {row['fused']:8.1f}  {row['numpy']:8.1f}  {row['ratio']:5.1f}"
        )
    if arguments.json:
        with open(arguments.json, "w", encoding="utf-8") as file:
            json.dump(rows, file, indent=1)


if __name__ == "__main__":
    main()
