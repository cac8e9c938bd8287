"""Part speed of gpu.py: particle-steps a second, on fixed meshes and on those that the accuracy rule picks."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from _gpu_bench import Bench
from _gpu_kernels import LAYOUTS, Kernels, Layout, Words

from ipsdist.model.mesh import Mesh
from ipsdist.model.radial import RadialKernel
from ipsdist.model.system import Mixture
from ipsdist.numerics.particles.cloud import Motion, Noise
from ipsdist.numerics.particles.device_cloud import DeviceCloud
from ipsdist.numerics.particles.device_pieces import step_grid
from ipsdist.numerics.particles.forces.mesh import MeshForce
from ipsdist.numerics.particles.initial import sample
from ipsdist.numerics.particles.mesh_spacing import choose_spacing
from ipsdist.numerics.particles.noise import seed_words

FIXED = {1: (1024,), 2: (128, 128), 3: (64, 64, 64)}
"""Nodes of the meshes on which the bars were set; 1-D has none, and takes what 20 000 particles take."""
BARS = {1: 2e11, 2: 1e11, 3: 1e10}
MANY = 10**9
DT = 1e-4
KERNEL = "3*r**2"


def law(dimension: int) -> Mixture:
    """Return two clouds of standard deviation 1/2 around 1 and -1 on every axis, as in the case cubic."""
    return Mixture((0.5, 0.5), ((1.0,) * dimension, (-1.0,) * dimension), (0.25, 0.25))


def fixed_mesh(nodes: tuple[int, ...]) -> Mesh:
    """Return a mesh of so many nodes from -4 to 4."""
    return Mesh(8.0 / nodes[0], tuple(-n // 2 for n in nodes), nodes)


def inside(mesh: Mesh) -> Mixture:
    """Return the clouds drawn together so that a billion of them stay on a fixed mesh: 6.6 deviations to its ends."""
    half = mesh.spacing * (mesh.shape[0] / 2 - 8)
    deviation, d = half / 8.6, mesh.dimension
    return Mixture((0.5, 0.5), ((2 * deviation,) * d, (-2 * deviation,) * d), (deviation**2,) * 2)


def rule_mesh(particles: int, dimension: int) -> Mesh:
    """Return the mesh that the accuracy rule picks for the clouds of `law` and the kernel 3 r^2."""
    draws = sample(law(dimension), dimension, 1, 0, 0, 4096)
    spacing = choose_spacing(RadialKernel.parse(KERNEL), draws, particles, dimension, None)
    reach = 1.0 + 0.5 * 7.0  # the farthest of a billion
    return Mesh.around([-reach] * dimension, [reach] * dimension, spacing)


def drawn(
    bench: Bench, particles: int, dimension: int, kind: Any, resident: bool = True, given: Any = None, first: int = 0
) -> Any:
    """Return a cloud of particles on the device; ``given`` is their law, `law` by default."""
    chunk = 2**10 if bench.tiny else 2**24
    start = given or law(dimension)
    return DeviceCloud.drawn(bench.device, start, (particles, dimension), kind, first, 1, 0, chunk, resident)


def stepping(cloud: Any, mesh: Mesh, dt: float = DT, first: int = 0) -> Callable[[], Any]:
    """Return the function that steps a cloud once more, towards the origin."""
    drift = np.stack(np.meshgrid(*[-axis for axis in mesh.axes()], indexing="ij"))
    low, high = (int(w) for w in seed_words(1))
    noise, numbers = Noise(first * mesh.dimension, 0, low, high), itertools.count()

    def one() -> Any:
        count = np.zeros(mesh.shape, dtype=np.int64)
        motion = Motion(dt, math.sqrt(2 * dt), next(numbers))
        if lost := cloud.step(mesh, drift, motion, noise, count):
            raise RuntimeError(f"{lost} particles left the mesh")
        return count

    return one


def particles_of(bench: Bench, dimension: int, itemsize: int = 4) -> int:
    """Return a billion, or as many as fit into nine tenths of the free memory."""
    if bench.tiny:
        return 2000
    fit = int(0.9 * bench.device.free_bytes() / (itemsize * dimension))
    return min(MANY, fit // 4 * 4)


def measure(bench: Bench) -> None:
    """Do the part speed."""
    steps(bench)
    streamed(bench)


def steps(bench: Bench) -> None:
    """Measure steps of resident clouds: fixed meshes with their bars, meshes of the rule, both types of positions."""
    for d, kind in ((1, "float32"), (2, "float32"), (3, "float32"), (1, "float64"))[: 3 if bench.tiny else 4]:
        cloud = None
        for where, made in (("fixed mesh", None), ("mesh of the rule", rule_mesh))[: 1 if bench.tiny and d > 1 else 2]:
            what = f"{d}-D {kind}, {where}"
            with bench.case(what):
                if bench.late(what, 4.0):
                    continue
                cloud = None  # its memory first
                n, size = particles_of(bench, d, np.dtype(kind).itemsize), np.dtype(kind).itemsize
                mesh = made(n, d) if made else fixed_mesh(FIXED[d])
                cloud = drawn(bench, n, d, kind, given=None if made else inside(mesh))
                step = stepping(cloud, mesh, DT if made else 0.01 * mesh.spacing**2)
                seconds = bench.timed(step, 5)
                bar = BARS[d] if made is None and kind == "float32" else None
                bench.rate(what, n, seconds, 2 * size * d, bar=bar, note=told(bench, mesh, size, n))
                if made and kind == "float32":
                    whole(bench, step, mesh, n, d, seconds)


def told(bench: Bench, mesh: Mesh, itemsize: int, particles: int) -> str:
    """Return how the step of a cloud is launched on a mesh."""
    grid = step_grid(bench.device, math.prod(mesh.shape), mesh.dimension, itemsize)
    lies = "counters, drift" if grid.field else "counters" if grid.counters else "nothing"
    lies += " in shared memory" + (", drift node by node" if grid.packed else "")
    shape = "x".join(map(str, mesh.shape))
    return f"N = {particles:.0e}, {shape}, {lies}, {grid.resident} x {grid.threads} threads"


def whole(bench: Bench, step: Callable[[], Any], mesh: Mesh, particles: int, dimension: int, seconds: float) -> None:
    """Add what a step takes beside the card: the drift at the nodes, which the host makes."""
    count = step()
    force = MeshForce(RadialKernel.parse(KERNEL), None, particles)
    force.node_drift(mesh, count)
    start = time.perf_counter()
    for _ in range(3):
        force.node_drift(mesh, count)
    spent = (time.perf_counter() - start) / 3
    what = f"{dimension}-D float32, mesh of the rule, drift by the host too"
    bench.rate(what, particles, seconds + spent, 8 * dimension, note=f"{1e3 * seconds:.3g} + {1e3 * spent:.3g} ms")


def streamed(bench: Bench) -> None:
    """Measure a cloud that is kept on the host and passes through the card piece by piece."""
    what = "1-D float32, streamed from the host"
    if bench.late(what, 10.0):
        return
    with bench.case(what):
        n = 2000 if bench.tiny else MANY // 4
        mesh = fixed_mesh(FIXED[1])
        cloud = drawn(bench, n, 1, "float32", resident=False, given=inside(mesh))
        seconds = bench.timed(stepping(cloud, mesh, 0.01 * mesh.spacing**2), 3)
        bench.row(what, n / seconds, "/s", note=f"N = {n:.0e}, {8 * n / seconds / 1e9:.3g} GB/s both ways together")


def grids(bench: Bench) -> None:
    """Step on many grids by hand, so that whoever reads it sees which grid the package should ask for."""
    for d in (1,) if bench.tiny else (1, 2, 3):
        mesh = fixed_mesh(FIXED[d])
        what = f"{d}-D float32, fixed mesh, best of the grids"
        with bench.case(what):
            if not bench.late(what, 4.0):
                _best(bench, d, mesh, what)


def _best(bench: Bench, dimension: int, mesh: Mesh, what: str) -> None:
    device = bench.device
    n = 2000 if bench.tiny else 2**27
    cloud = drawn(bench, n, dimension, "float32", given=inside(mesh))
    x = device.array(cloud.rows(0, n))
    del cloud
    drift = np.zeros((dimension, *mesh.shape))
    count, lost = device.zeros(mesh.shape, np.uint64), device.zeros((2,), np.uint64)
    words, scale = Words(0, 0, 0, 1, 0), 1e-4 * mesh.spacing
    found: dict[Layout, list[tuple[float, int, int]]] = {}
    for layout in LAYOUTS[2:4] if bench.tiny else LAYOUTS:
        kernels = Kernels(device, dimension, "float32", layout)
        field = kernels.field(drift)
        for threads, each in itertools.product((256,) if bench.tiny else (128, 256, 512, 1024), (1, 2, 4, 8)):
            if threads > kernels.most_threads or threads * each > 2048 or not kernels.fits(mesh, each):
                continue
            grid = device.processors * each, threads
            with bench.case(f"{dimension}-D, {each} x {threads} threads, {layout}"):
                one = partial(kernels.step, grid, x, n, field, mesh, 0.0, scale, words, count, lost)
                found.setdefault(layout, []).append((bench.timed(one, 3, 0.01), each, threads))
    if not found:
        raise RuntimeError("no grid could be launched")
    best = min(found, key=lambda layout: min(found[layout]))
    for layout, times in found.items():
        seconds, each, threads = min(times)
        name = what if layout == best else f"  {layout}"
        note = f"{layout}, {each} x {threads} threads a multiprocessor"
        bench.rate(name, n, seconds, 8 * dimension, note=note)
