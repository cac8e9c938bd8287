"""Part clouds of gpu.py: whole clouds, resident and streamed, against those in the memory of the process."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
from _gpu_bench import Bench
from _gpu_bits import SPACINGS, Tally

from ipsdist.model.mesh import Mesh
from ipsdist.model.radial import RadialKernel
from ipsdist.model.system import Mixture, Uniform
from ipsdist.numerics.particles.cloud import Motion, Noise
from ipsdist.numerics.particles.device_cloud import DeviceCloud
from ipsdist.numerics.particles.forces.mesh import MeshForce
from ipsdist.numerics.particles.host_cloud import HostCloud
from ipsdist.numerics.particles.initial import sample
from ipsdist.numerics.particles.noise import seed_words

STEPS = 4


def check(bench: Bench) -> None:
    """Draw, step, look at and deposit clouds of both kinds, in all dimensions."""
    every = list(itertools.product((1, 2, 3), ("float32", "float64"), (True, False)))
    for d, kind, resident in [every[0], every[7], every[8]] if bench.rehearse else every:
        what = f"{d}-D {kind}, {'resident' if resident else 'streamed'}"
        if bench.late(what, 2.0):
            continue
        tally = Tally()
        for n in _sizes(bench):
            try:
                _one(bench, d, kind, resident, n, tally)
            except Exception as error:  # the other sizes are still wanted
                tally.fail(f"N = {n}", error)
        tally.tell(bench, what)


def _sizes(bench: Bench) -> tuple[int, ...]:
    return (3, 1021) if bench.tiny else (1, 6, 1021, 300_002)


def _one(bench: Bench, d: int, kind: str, resident: bool, n: int, tally: Tally) -> None:
    """Compare everything that a cloud gives after each of a few steps with forces of its own counts."""
    seed, first, chunk = 11 * n + d, 4 * 2**33, max(4, n // 5 // 4 * 4)
    law = Mixture((0.5, 0.5), ((1.0,) * d, (-1.0,) * d), (0.25, 0.25)) if n % 2 else Uniform((-1.0,) * d, (1.0,) * d)
    there = DeviceCloud.drawn(bench.device, law, (n, d), kind, first, seed, 5, chunk, resident)
    here = HostCloud(sample(law, d, seed, 5, first, n).astype(kind))
    mesh = Mesh.around([-4.0] * d, [4.0] * d, SPACINGS[d - 1])
    force = MeshForce(RadialKernel.parse("3*r**2"), None, n)
    low, high = (int(w) for w in seed_words(seed))
    noise = Noise(first * d, 5, low, high)
    case = f"N = {n}, chunk {chunk}"
    tally.add(f"{case}, drawn", {"positions": (there.rows(0, n), here.rows(0, n))})
    count = here.deposits(mesh)[0]
    for number in range(STEPS):
        earlier = there.copy(), here.copy()
        drift = force.node_drift(mesh, count).astype(kind)
        motion = Motion(1e-3, math.sqrt(2e-3), number)
        counts = [np.zeros(mesh.shape, dtype=np.int64) for _ in range(2)]
        lost = [cloud.step(mesh, drift, motion, noise, c) for cloud, c in zip((there, here), counts, strict=True)]
        pairs: dict[str, tuple[Any, Any]] = {"positions": (there.rows(0, n), here.rows(0, n))}
        pairs |= {"counts": tuple(counts), "lost": tuple(np.array(one) for one in lost)}
        tally.add(f"{case}, step {number}", pairs)
        count = counts[1]
    looks = [_look(cloud, before, mesh) for cloud, before in zip((there, here), earlier, strict=True)]
    tally.add(f"{case}, looks", {name: (looks[0][name], looks[1][name]) for name in looks[0]})


def _look(cloud: Any, before: Any, mesh: Mesh) -> dict[str, Any]:
    """Return all that can be asked of a cloud, by name."""
    count, products = cloud.deposits(mesh)
    flux, squares, reach = before.moves(cloud, mesh, 2**17)
    alone, farthest = before.squares(cloud, mesh)
    small = Mesh(mesh.spacing, tuple(-4 for _ in mesh.shape), (8,) * mesh.dimension)
    lowest, highest = cloud.extent()
    return {
        "counts": count, "products": products, "flux": flux, "squares": squares, "squares alone": alone,
        "reach": np.array([reach, farthest]), "extent": np.array([lowest, highest]),
        "numbers": np.array([cloud.broken(), cloud.off(small)]),
    }  # fmt: skip
