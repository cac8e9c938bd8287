"""Leaps of small systems for gpu.py: their bits, and 20 000 particles alone and as a hundred replicas."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from _gpu_bench import Bench
from _gpu_bits import Tally
from _gpu_kernels import KINDS, Guarded, Words
from _gpu_speed import DT, KERNEL, law, rule_mesh

from ipsdist.model.mesh import Mesh
from ipsdist.model.radial import RadialKernel
from ipsdist.numerics.densities.deposit import weights_of
from ipsdist.numerics.device.cuda import leap_bytes, text
from ipsdist.numerics.device.lag_sums import lag_sums
from ipsdist.numerics.device.step import step
from ipsdist.numerics.particles.forces.mesh import MeshForce
from ipsdist.numerics.particles.initial import sample
from ipsdist.numerics.particles.noise import NORMAL_TABLE, STEPPING, stream_of

FEW, REPLICAS = 20_000, 100
BAR_REPLICAS, MOST_ALONE = 2e10, 60.0
"""Particle-steps a second of all replicas; microseconds of a step of one system."""
THREADS = (256, 512, 1024)
"""Of a block; the package takes the last."""


@dataclass
class Replicas:
    """Systems on a line that leap together: positions (replicas, n), one mesh, forces between nodes."""

    x: Any
    mesh: Mesh
    forces: Any
    """(2 nodes - 1,), as `MeshForce.lag_table` gives them."""
    external: Any
    """(nodes,)."""
    dt: float
    scale: float
    number: int
    seed: int

    @property
    def streams(self) -> Any:
        return np.array([stream_of(replica, STEPPING) for replica in range(len(self.x))], dtype=np.uint32)

    def counts(self) -> Any:
        """Return the counts of all replicas (replicas, nodes)."""
        return np.stack([weights_of(x[:, None], self.mesh)[0] for x in self.x])


class Leap:
    """The kernel and what it needs on the device."""

    def __init__(self, device: Any, given: Replicas) -> None:
        kind = given.x.dtype.name
        self._device, self._given = device, given
        self._kernel = device.program(text("leap", D=1, REAL=KINDS[kind]), ("leap",))["leap"]
        self._fixed = [device.array(a) for a in (given.forces, given.external, NORMAL_TABLE, given.streams)]
        replicas, zeros = len(given.x), np.zeros(len(given.x), dtype=np.uint32)
        self.x, self.count = Guarded(device, given.x), Guarded(device, given.counts().astype(np.uint64))
        self.done, self.lost = Guarded(device, zeros), Guarded(device, zeros)
        nodes = given.mesh.shape[0]
        self.shared = leap_bytes(nodes, given.x.itemsize)
        self._size = np.uint32(given.x.shape[1]), np.uint32(replicas)

    def __call__(self, grid: tuple[int, int], steps: int, number: int) -> None:
        """Leap by so many steps, from the step ``number`` on."""
        one, mesh = self._given, self._given.mesh
        forces, external, table, streams = self._fixed
        place = np.int64(mesh.lower[0]), np.uint32(mesh.shape[0]), np.float64(1 / mesh.spacing)
        words = Words(0, number, 0, one.seed & 0xFFFFFFFF, one.seed >> 32)
        counters = np.uint32(words.number), np.uint32(steps)
        key = np.uint32(words.low), np.uint32(words.high)
        motion = np.float64(one.dt), np.float64(one.scale)
        ends = self.count.array, self.done.array, self.lost.array
        arguments = [
            self.x.array,
            *self._size,
            forces,
            external,
            *place,
            *motion,
            table,
            *counters,
            streams,
            *key,
            *ends,
        ]
        self._kernel(*grid, arguments, self.shared)


def check(bench: Bench) -> None:
    """Compare leaps with one step after the other on the host, among them some that lose particles."""
    rng = np.random.default_rng(9)
    tally = Tally()
    for kind in KINDS:
        for n, replicas in (
            ((1, 2), (1021, 3)) if bench.tiny else ((1, 3), (7, 5), (1021, 20), (20_000, 4), (65_535, 2))
        ):
            for scale in (0.01, 0.3):
                case = f"{kind} N = {n}, {replicas} replicas, scale {scale}"
                try:
                    _one(bench, rng, kind, n, replicas, scale, tally, case)
                except Exception as error:  # the other cases are still wanted
                    tally.fail(case, error)
    tally.tell(bench, "leap")


def _one(
    bench: Bench, rng: np.random.Generator, kind: str, n: int, replicas: int, scale: float, tally: Tally, case: str
) -> None:  # fmt: skip
    x = (rng.normal(0, 0.5, (replicas, n)) + rng.choice([-1.0, 1.0], (replicas, n))).astype(kind)
    mesh = Mesh.around([x.min()], [x.max()], 2.0**-4)
    nodes, steps = mesh.shape[0], 6
    forces = rng.normal(0, 1e-6, 2 * nodes - 1) / n
    seed = int(rng.integers(2**63))
    given = Replicas(x, mesh, forces, rng.normal(0, 1, nodes), 1e-3, scale, int(rng.integers(2**30)), seed)
    leap = Leap(bench.device, given)
    leap((int(rng.integers(1, replicas + 3)), int(rng.choice([32, 96, 256, 1024]))), steps, given.number)
    there = [a.host() for a in (leap.x, leap.count, leap.done, leap.lost)]
    for r, (moved, count, done, lost) in enumerate(zip(*there, strict=True)):
        wanted = _twin(given, r, steps)
        pairs = {
            "positions": (moved, wanted[0]),
            "steps": (done, np.uint32(wanted[2])),
            "lost": (lost, np.uint32(wanted[3])),
        }
        if not wanted[3]:
            pairs["counts"] = (count.view(np.int64), wanted[1])
        tally.add(f"{case}, replica {r}", pairs)


def _twin(given: Replicas, replica: int, steps: int) -> tuple[Any, Any, int, int]:
    """Return positions, counts, steps done and particles lost of a replica, as Numba steps it."""
    x, mesh = given.x[replica].copy(), given.mesh
    count, drift = weights_of(x[:, None], mesh)[0], np.empty((1, mesh.shape[0]))
    words = Words(0, given.number, int(given.streams[replica]), given.seed & 0xFFFFFFFF, given.seed >> 32)
    _, _, *key = words.numba()
    for done in range(steps):
        lag_sums(given.forces, count, drift[0])
        drift[0] += given.external
        count = np.zeros_like(count)
        noise = NORMAL_TABLE, np.uint64(0), np.uint64(given.number + done), *key
        place = np.array(mesh.lower), 1 / mesh.spacing
        if lost := step(x, drift.astype(x.dtype), *place, given.dt, given.scale, *noise, count):
            return x, count, done + 1, lost
    return x, count, steps, 0


def _next(leap: Leap, grid: tuple[int, int], steps: int, numbers: Iterator[int]) -> None:
    leap(grid, steps, next(numbers))


def measure(bench: Bench) -> None:
    """Measure one system and a hundred of them, on the mesh of the rule, for every number of threads."""
    n, steps = (200, 3) if bench.tiny else (FEW, 500)
    mesh = rule_mesh(n, 1)
    force = MeshForce(RadialKernel.parse(KERNEL), None, n)
    lags = force.lag_table(mesh)
    if lags is None:
        raise RuntimeError(f"{mesh.shape[0]} nodes are too many for leaps")
    for replicas in (1, 3 if bench.tiny else REPLICAS):
        what = f"{'one system' if replicas == 1 else f'{replicas} replicas'} of {n} particles, {mesh.shape[0]} nodes"
        with bench.case(what):
            x = np.stack([sample(law(1), 1, 1, r, 0, n)[:, 0] for r in range(replicas)]).astype(np.float32)
            leap = Leap(bench.device, Replicas(x, mesh, *lags, DT, math.sqrt(2 * DT), 0, 1))
            found, numbers = [], itertools.count(0, steps)
            for threads in THREADS[-1:] if bench.tiny else THREADS:
                seconds = bench.timed(partial(_next, leap, (replicas, threads), steps, numbers), 3)
                found.append((seconds / steps, threads))
                if leap.lost.host().any():
                    raise RuntimeError(f"{leap.lost.host().sum()} particles left the mesh")
            each = found[-1][0]  # the package's own choice
            bar = {"bar": MOST_ALONE, "most": True} if replicas == 1 else {"bar": BAR_REPLICAS}
            value, unit = (1e6 * each, "us a step") if replicas == 1 else (replicas * n / each, "/s")
            told = ", ".join(f"{1e6 * s:.3g} us with {t} threads" for s, t in found)
            bench.row(what, value, unit, **bar, note=f"{steps} steps a launch; {told}")
