"""The time step of a simulation, at particles that nobody here can step: the law of the chain itself as data.

    python benchmarks/time_step.py [--particles 1e8] [--json FILE]

With infinitely many particles an Euler-Maruyama step leads from one density to the next by an integral, which is
summed here over all pairs of points in reach, by code that shares nothing with the package's. The densities at the
slices stand where solved ones would (data.source = "mean_field"), so there is no chance in them, and the penalties and
errors are those of `--particles` particles: what is learnt is off by what the method leaves, the time step before all.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import tempfile
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import numpy.typing as npt
from scipy.signal import fftconvolve

import ipsdist as ips
from ipsdist.model.system import Grid
from ipsdist.stages import action, continuum, step_bias

Array = npt.NDArray[np.float64]

DIFFUSION, CELLS = 2.0, 480
PHI = {"cubic": lambda r: 3.0 * r * r, "linear": lambda r: r}
TRUTH = {"cubic": ("r**2", 3.0), "linear": ("r", 1.0)}
POINTS = 8
"""Of a cell, fewer where steps are wide."""


@cache
def averages(law: Law, grid: Grid, times: tuple[float, ...]) -> Array:
    """Return what the law gives, computed once for both answers and all blocks of slices."""
    return law.averages(grid, times)


@dataclass(frozen=True)
class Law:
    """The chain of one case with steps of one size."""

    case: str
    step: float

    def averages(self, grid: Grid, times: tuple[float, ...]) -> Array:
        """Return the averages (slices, cells) over the cells around the points of a grid."""
        (dx,), n = grid.spacing, grid.cells[0] + 1
        points = max(2, math.ceil(POINTS * CELLS / n * math.sqrt(1e-3 / self.step)))
        fine = dx / points
        x = grid.lower[0] - 0.5 * dx + fine * (np.arange(n * points) + 0.5)
        lags = fine * (np.arange(2 * len(x) - 1) - (len(x) - 1))
        pull = np.sign(lags) * PHI[self.case](np.abs(lags)) * fine
        u = 0.5 * (np.exp(-2.0 * (x - 1.0) ** 2) + np.exp(-2.0 * (x + 1.0) ** 2))
        u /= u.sum() * fine
        found, every = [u], round((times[1] - times[0]) / self.step)
        for number in range(1, round((times[-1] - times[0]) / self.step) + 1):
            u = self._next(u, x, fine, -fftconvolve(u, pull)[len(x) - 1 : 2 * len(x) - 1])
            if number % every == 0:
                found.append(u)
        return np.stack([one.reshape(n, points).mean(axis=1) for one in found])

    def _next(self, u: Array, x: Array, fine: float, velocity: Array) -> Array:
        deviation = math.sqrt(DIFFUSION * self.step)
        reach = math.ceil(7.0 * deviation / fine) + 1
        place = (x + self.step * velocity - x[0]) / fine
        nearest = np.rint(place).astype(np.intp)
        offsets = np.arange(-reach, reach + 1)[:, None]
        shares = np.exp(-0.5 * ((offsets + nearest - place) * fine / deviation) ** 2)
        shares *= u * fine / (math.sqrt(2.0 * math.pi) * deviation)
        at = np.clip(nearest + offsets, 0, len(u) - 1)
        return np.bincount(at.reshape(-1), weights=shares.reshape(-1), minlength=len(u))


def learnt(case: str, step: float, every: int, particles: int, mended: bool) -> dict[str, Any]:
    """Run the pipeline on the law of a chain; return the result."""
    law = Law(case, step)

    def advance(_config: Any, setup: Any, levels: Any, _states: Any, block: Any) -> list[Array]:
        return [averages(law, grid, tuple(setup.slice_times))[block.first : block.stop] for grid in levels]

    sets = [
        'data.source="mean_field"', "data.labelled=false", f"time.step={step}", f"time.observe_every={every}",
        f"system.particles={particles}", f'fit.time_step="{"auto" if mended else "off"}"',
        *([] if case == "cubic" else ['system.kernel="r"', "grid.lower=-7", "grid.upper=7"]),
    ]  # fmt: skip
    with (
        tempfile.TemporaryDirectory() as folder,
        mock.patch.object(continuum, "_advance", advance),
        mock.patch.object(continuum, "_look", return_value=((CELLS,), 0.0)),
        mock.patch.object(step_bias, "stepped", return_value=True),
        mock.patch.object(action, "stepped", return_value=True),
    ):
        ips.run("cubic", out=folder, sets=sets, draw=False)
        return dict(json.loads((Path(folder) / "result.json").read_text()))


def row(case: str, step: float, every: int, particles: int, mended: bool) -> dict[str, Any]:
    began = time.process_time()
    found = learnt(case, step, every, particles, mended)["terms"]
    name, value = TRUTH[case]
    terms = {t["name"]: t for t in found}
    of = terms.get(name)
    return {
        "case": case, "step": step, "between slices": step * every, "taken away": mended,
        "terms": " ".join(terms), "coefficient": of and of["coefficient"],
        "standard error": of and of["standard_error"],
        "off": of and (of["coefficient"] - value) / of["standard_error"],
        "right": list(terms) == [name], "CPU s": time.process_time() - began,
    }  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--particles", type=float, default=1e8, help="whose errors and penalties the answer has")
    parser.add_argument("--json", type=Path, help="file for the rows")
    given = parser.parse_args()
    rows = []
    print(f"{given.particles:.0e} particles; off: error in standard errors\n")
    print("case     step    slices  taken away  terms                        coefficient        off     CPU s")
    for case, step, every in (("cubic", 1e-3, 10), ("cubic", 1e-3, 20), ("cubic", 2e-3, 5), ("linear", 1e-3, 10)):
        for mended in (False, True):
            one = row(case, step, every, int(given.particles), mended)
            rows.append(one)
            shown = "-" if one["coefficient"] is None else f"{one['coefficient']:.6f} +- {one['standard error']:.6f}"
            off = "-" if one["off"] is None else f"{one['off']:.2f}"
            taken = "yes" if mended else "no"
            first = f"{case:8} {step:<7g} {step * every:<7g} {taken:11} {one['terms']:28}"
            print(f"{first} {shown:24} {off:>6} {one['CPU s']:8.0f}", flush=True)
    if given.json:
        given.json.write_text(json.dumps(rows, indent=2))
    return 0 if all(r["right"] and abs(r["off"]) < 3.0 for r in rows if r["taken away"]) else 1


if __name__ == "__main__":
    sys.exit(main())
