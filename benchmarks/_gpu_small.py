"""Leaps of small systems for gpu.py: their bits, and 20 000 particles alone and as a hundred replicas."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from _gpu_bench import Bench
from _gpu_bits import Tally
from _gpu_kernels import KINDS, Guarded
from _gpu_speed import DT, KERNEL, law, rule_mesh

from ipsdist.model.mesh import Mesh
from ipsdist.model.radial import RadialKernel
from ipsdist.numerics.densities.deposit import weights_of
from ipsdist.numerics.device.cuda import leap_bytes, text
from ipsdist.numerics.device.lag_sums import lag_sums
from ipsdist.numerics.device.step import step
from ipsdist.numerics.particles.cloud import Motion, Noise
from ipsdist.numerics.particles.device_cloud import DeviceCloud
from ipsdist.numerics.particles.device_leap import Leap, Leaps, job_words, leap
from ipsdist.numerics.particles.forces.mesh import MeshForce
from ipsdist.numerics.particles.noise import NORMAL_TABLE, STEPPING, seed_words, stream_of

FEW, REPLICAS = 20_000, 100
BAR_REPLICAS, MOST_ALONE = 2e10, 60.0
"""Particle-steps a second of all replicas; microseconds of a step of one system."""
THREADS = (256, 512, 1024)
"""Of a block; the package takes the last."""


@dataclass
class System:
    """A replica on a line: positions (n,), mesh, forces between nodes, noise."""

    x: Any
    mesh: Mesh
    forces: Any
    """(2 nodes - 1,), as `MeshForce.lag_table` gives them."""
    external: Any
    """(nodes,)."""
    motion: Motion
    noise: Noise
    steps: int

    def counts(self) -> Any:
        """Return the counts (nodes,)."""
        return weights_of(self.x[:, None], self.mesh)[0]


class ByHand:
    """Systems that leap together on any grid, their arrays between guards."""

    def __init__(self, device: Any, systems: Sequence[System]) -> None:
        kind = systems[0].x.dtype.name
        self._device, self._systems = device, systems
        self._kernel = device.program(text("leap", D=1, REAL=KINDS[kind]), ("leap",))["leap"]
        self._table = device.array(NORMAL_TABLE)
        self._tables = [[device.array(a) for a in (one.forces, one.external)] for one in systems]
        self.x = [Guarded(device, one.x) for one in systems]
        ends = [np.concatenate([np.full(2, 99), one.counts()]) for one in systems]
        self._backs = np.cumsum([0, *map(len, ends)]).tolist()
        self._back = Guarded(device, np.concatenate(ends).astype(np.uint64))
        nodes = max(one.mesh.shape[0] for one in systems)
        self._shared = leap_bytes(nodes, systems[0].x.itemsize)

    def __call__(self, grid: tuple[int, int], again: int = 0) -> None:
        """Leap; for the ``again``-th time, so that step numbers go on."""
        rows = []
        for one, x, tables, at in zip(self._systems, self.x, self._tables, self._backs, strict=False):
            places = [self._device.address(array) for array in (x.array, *tables)]
            motion = replace(one.motion, number=one.motion.number + again * one.steps)
            rows.append(job_words(tuple(places), len(one.x), one.mesh, motion, one.noise, one.steps, at))
        jobs, number = self._device.array(np.concatenate(rows)), np.uint32(len(rows))
        self._kernel(*grid, [jobs, number, self._table, self._back.array], self._shared)

    def back(self) -> list[Any]:
        """Return what every system gave back: steps done, particles lost, counts."""
        whole = self._back.host().view(np.int64)
        return [whole[a:b] for a, b in itertools.pairwise(self._backs)]


def check(bench: Bench) -> None:
    """Compare leaps of systems of all sorts with steps one after the other on the host; some lose particles."""
    rng = np.random.default_rng(9)
    tally = Tally()
    few, many = ((1, 2, 1021), (7, 300)), ((1, 3, 1021, 20_000), (7,) * 5, (1021,) * 20, (20_000, 65_535, 65_535, 2))
    for kind, sizes, scale in itertools.product(KINDS, few if bench.tiny else many, (0.01, 0.3)):
        case = f"{kind} N = {', '.join(map(str, sizes[:4]))}, {len(sizes)} together, scale {scale}"
        try:
            _some(bench, rng, [_any(rng, n, kind, scale) for n in sizes], tally, case)
        except Exception as error:  # the other cases are still wanted
            tally.fail(case, error)
    tally.tell(bench, "leap")


def _any(rng: np.random.Generator, n: int, kind: str, scale: float) -> System:
    """Return a system with a mesh, forces, noise and number of steps of its own."""
    x = (rng.normal(0, 0.5, n) + rng.choice([-1.0, 1.0], n)).astype(kind)
    mesh = Mesh.around([x.min()], [x.max()], 2.0 ** -int(rng.integers(3, 6)))
    nodes = mesh.shape[0]
    noise = Noise(0, stream_of(int(rng.integers(1000)), STEPPING), *(int(w) for w in seed_words(int(rng.integers(99)))))
    motion = Motion(1e-3, scale, int(rng.integers(2**30)))
    return System(x, mesh, rng.normal(0, 1e-6, 2 * nodes - 1) / n, rng.normal(0, 1, nodes), motion, noise, 4 + n % 5)


def _some(bench: Bench, rng: np.random.Generator, systems: list[System], tally: Tally, case: str) -> None:
    launch = ByHand(bench.device, systems)
    launch((int(rng.integers(1, len(systems) + 3)), int(rng.choice([32, 96, 256, 1024]))))
    for i, (one, x, back) in enumerate(zip(systems, launch.x, launch.back(), strict=True)):
        moved, count, done, lost = _twin(one)
        pairs = {"positions": (x.host(), moved), "ends": (back[:2], np.array([done, lost]))}
        if not lost:
            pairs["counts"] = (back[2:], count)
        tally.add(f"{case}, number {i}", pairs)


def _twin(one: System) -> tuple[Any, Any, int, int]:
    """Return positions, counts, steps done and particles lost of a system, as Numba steps it."""
    x, mesh, count, drift = one.x.copy(), one.mesh, one.counts(), np.empty((1, one.mesh.shape[0]))
    place, motion = (np.array(mesh.lower), 1 / mesh.spacing), one.motion
    for done in range(one.steps):
        lag_sums(one.forces, count, drift[0])
        drift[0] += one.external
        count = np.zeros_like(count)
        words = (np.uint64(w) for w in (0, motion.number + done, one.noise.stream, one.noise.low, one.noise.high))
        lost = step(x, drift.astype(x.dtype), *place, motion.dt, motion.scale, NORMAL_TABLE, *words, count)
        if lost:
            return x, count, done + 1, lost
    return x, count, one.steps, 0


def measure(bench: Bench) -> None:
    """Measure one system and a hundred of them, on the mesh of the rule: as the package does, by hand, from threads."""
    n, steps = (200, 3) if bench.tiny else (FEW, 500)
    mesh = rule_mesh(n, 1)
    lags = MeshForce(RadialKernel.parse(KERNEL), None, n).lag_table(mesh)
    if lags is None:
        raise RuntimeError(f"{mesh.shape[0]} nodes are too many for leaps")
    for replicas in (1, 3 if bench.tiny else REPLICAS):
        what = f"{'one system' if replicas == 1 else f'{replicas} replicas'} of {n} particles, {mesh.shape[0]} nodes"
        with bench.case(what):
            jobs = [_job(bench, n, r, mesh, lags, steps) for r in range(replicas)]
            each = bench.timed(partial(_next, jobs, itertools.count(0, steps)), 3) / steps
            bar = {"bar": MOST_ALONE, "most": True} if replicas == 1 else {"bar": BAR_REPLICAS}
            value, unit = (1e6 * each, "us a step") if replicas == 1 else (replicas * n / each, "/s")
            bench.row(what, value, unit, **bar, note=f"{steps} steps a launch; {_by_threads(bench, jobs)}")
        if replicas > 1:
            with bench.case(f"{what}, a thread each"):
                _from_threads(bench, f"{what}, a thread each", jobs)


def _job(bench: Bench, n: int, replica: int, mesh: Mesh, lags: Any, steps: int) -> Leap:
    cloud = DeviceCloud.drawn(bench.device, law(1), (n, 1), np.float32, 0, 1, replica, 2**20, True)
    noise = Noise(0, stream_of(replica, STEPPING), *(int(w) for w in seed_words(1)))
    return Leap(cloud, mesh, lags, Motion(DT, math.sqrt(2 * DT), 0), noise, steps, cloud.deposits(mesh)[0])


def _next(jobs: Sequence[Leap], numbers: Any) -> None:
    """Do the jobs in one launch, from the next step on. Raises RuntimeError where particles are lost."""
    number = next(numbers)
    _all_there(leap([replace(job, motion=replace(job.motion, number=number)) for job in jobs]))


def _all_there(ends: Sequence[tuple[int, int]]) -> None:
    if lost := sum(gone for _, gone in ends):
        raise RuntimeError(f"{lost} particles left the mesh")


def _by_threads(bench: Bench, jobs: Sequence[Leap]) -> str:
    """Return what a step takes in the kernel alone, with every number of threads of a block."""
    systems = [
        System(job.cloud.rows(0, job.cloud.shape[0])[:, 0], job.mesh, *job.lags, job.motion, job.noise, job.steps)
        for job in jobs
    ]
    launch, numbers, told = ByHand(bench.device, systems), itertools.count(1), []
    for threads in THREADS[-1:] if bench.tiny else THREADS:
        seconds = bench.timed(lambda threads=threads: launch((len(jobs), threads), next(numbers)), 3)
        _all_there([tuple(back[:2]) for back in launch.back()])
        told.append(f"{1e6 * seconds / jobs[0].steps:.3g} us with {threads} threads")
    return "the kernel " + ", ".join(told)


def _from_threads(bench: Bench, what: str, jobs: Sequence[Leap]) -> None:
    """Measure the same as bundles do it: a thread a replica, whose leaps meet."""
    leaps, rounds = Leaps(bench.device), 2 if bench.tiny else 4

    def one(job: Leap) -> None:
        for again in range(rounds):
            _all_there([leaps.leap(replace(job, motion=replace(job.motion, number=again * job.steps)))])

    with ThreadPoolExecutor(len(jobs)) as pool:
        seconds = bench.timed(lambda: list(pool.map(one, jobs)), 3)
    steps = rounds * jobs[0].steps
    bench.row(what, len(jobs) * jobs[0].cloud.shape[0] * steps / seconds, "/s", note=f"{rounds} leaps each")
