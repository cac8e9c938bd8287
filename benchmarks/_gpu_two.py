"""Part two of gpu.py: two processes on one card, each with particles that take nearly half of its memory."""

from __future__ import annotations

import math
import time
from pathlib import Path

import numpy as np
from _gpu_bench import DONE, FAILED, Bench, differing
from _gpu_speed import DT, FIXED, drawn, fixed_mesh, inside, stepping

from ipsdist.model.deposits import COUNT_ONE
from ipsdist.numerics.particles.cloud import Motion, Noise
from ipsdist.numerics.particles.device_cloud import DeviceCloud
from ipsdist.numerics.particles.host_cloud import HostCloud
from ipsdist.numerics.particles.initial import sample
from ipsdist.numerics.particles.noise import seed_words

STEPS = 5
_LOOKED = 4096
"""Particles of a place that the CPU steps too."""


def meet(folder: Path, mark: str, which: int, seconds: float) -> None:
    """Wait for the other one. Raises TimeoutError."""
    (folder / f"{mark}{which}").touch()
    end = time.monotonic() + seconds
    while not (folder / f"{mark}{1 - which}").exists():
        if time.monotonic() > end:
            raise TimeoutError(f"the other process did not come to {mark!r}")
        time.sleep(0.002)


def half(bench: Bench, which: int) -> None:
    """Be one of the two: step many particles while the other does, compare some of them with the CPU."""
    mesh, folder = fixed_mesh(FIXED[1]), bench.folder
    free = bench.device.free_bytes()
    meet(folder, "looked", which, 20)
    n = 4000 if bench.tiny else int(0.42 * free / 4) // 4 * 4
    first = 4 * 2**32 * which
    cloud = drawn(bench, n, 1, "float32", given=inside(mesh), first=first)
    meet(folder, "drawn", which, 20)
    step = stepping(cloud, mesh, first=first)
    for _ in range(STEPS):
        count = step()
    wrong, kept = _differing(cloud, n, first), int(count.sum()) == n * COUNT_ONE
    what = f"process {which}: {n:.3g} particles in {4 * n / 2**30:.3g} GiB"
    said = "all in the counts" if kept else "particles are missing from the counts"
    note = f"{wrong} of the positions looked at differ from the CPU's, {said}"
    bench.row(what, state=DONE if kept and not wrong else FAILED, note=note)
    meet(folder, "checked", which, 20)
    together = bench.timed(step, 3)
    (folder / f"speed{which}").write_text(repr(n / together))
    meet(folder, "measured", which, 20)
    if which == 0:
        alone = bench.timed(step, 3)
        both = n / together + float((folder / "speed1").read_text())
        note = f"{both * alone / n:.2f} of one alone"
        bench.rate("both at once, 1-D float32", both, 1.0, 8, note=note)


def _differing(cloud: DeviceCloud, n: int, first: int) -> int:
    """Return how many coordinates differ from the CPU's at the start, the middle, beyond 2**32 and at the end."""
    mesh = fixed_mesh(FIXED[1])
    size = min(_LOOKED, n // 4)
    places = {0, n // 2 // 4 * 4, n - size, min(2**32 - size // 2 // 4 * 4, n - size)}
    drift = np.stack([-axis for axis in mesh.axes()]).astype(np.float32)
    low, high = (int(w) for w in seed_words(1))
    wrong = 0
    for place in sorted(places):
        here = HostCloud(sample(inside(mesh), 1, 1, 0, first + place, size).astype(np.float32))
        for number in range(STEPS):
            motion = Motion(DT, math.sqrt(2 * DT), number)
            here.step(mesh, drift, motion, Noise(first + place, 0, low, high), np.zeros(mesh.shape, dtype=np.int64))
        wrong += differing(cloud.rows(place, place + size), here.positions)
    return wrong
