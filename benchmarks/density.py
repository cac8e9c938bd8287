"""Density estimates of points with a known truth: seconds and integrated squared error, beside KDEpy and SciPy.

    python benchmarks/density.py [--points 20000 1000000 10000000] [--repeats 5] [--seed 0] [--json FILE]

Times are the best of the repeats, taken in turns in one process, and run from the points to the density on one grid
of 1025 points: finding the extent, binning, choosing the bandwidth, smoothing. Compilation is outside them. KDEpy
(the extra ``benchmark``) scales its ISJ root with the range of the data instead of the length of its transform, which
makes its bandwidth half of Botev's rule or less; the column of errors shows what that costs.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import sys
import time
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from scipy.stats import gaussian_kde

from ipsdist.model.system import Grid
from ipsdist.numerics.densities.estimate import density_of_positions

Array = npt.NDArray[np.float64]
Estimator = Callable[[Array, Grid], Array]

MEANS, DEVIATIONS = (2.0, -3.0), (0.5, 1.0)
SCIPY_MOST = 20_000
"""gaussian_kde costs points times grid points; beyond this it would only make the table slow."""


def draw(points: int, seed: int) -> Array:
    """Draw from the mixture of two normals of equal weight (points, 1)."""
    rng = np.random.default_rng(seed)
    which = rng.integers(0, 2, points)
    return (np.take(MEANS, which) + np.take(DEVIATIONS, which) * rng.standard_normal(points))[:, None]


def truth(x: Array) -> Array:
    parts = (np.exp(-0.5 * ((x - m) / s) ** 2) / s for m, s in zip(MEANS, DEVIATIONS, strict=True))
    return np.sum(list(parts), axis=0) / (2.0 * math.sqrt(2.0 * math.pi))


def kdepy(points: Array, grid: Grid) -> Array:
    from KDEpy import FFTKDE

    return FFTKDE(kernel="gaussian", bw="ISJ").fit(points).evaluate(grid.axes()[0])


def scipy_kde(points: Array, grid: Grid) -> Array:
    return gaussian_kde(points[:, 0])(grid.axes()[0])


ESTIMATORS: dict[str, Estimator] = {
    "ipsdist isj": lambda x, grid: density_of_positions(x, grid, "isj"),
    "ipsdist self_consistent": lambda x, grid: density_of_positions(x, grid, "self_consistent"),
    "ipsdist scott": lambda x, grid: density_of_positions(x, grid, "scott"),
    "KDEpy FFTKDE ISJ": kdepy,
    "scipy gaussian_kde": scipy_kde,
}
PEER = "KDEpy FFTKDE ISJ"


def measure(points: int, repeats: int, seed: int) -> list[dict[str, object]]:
    """Return a row (method, points, seconds, integrated squared error, speed against KDEpy) for every estimator."""
    x = draw(points, seed)
    # Wide enough for every peer: KDEpy wants all points inside. The step is the weight of the error's sum.
    grid = Grid((float(x.min()) - 0.5,), (float(x.max()) + 0.5,), (1024,))
    names = [name for name in ESTIMATORS if name != "scipy gaussian_kde" or points <= SCIPY_MOST]
    seconds = dict.fromkeys(names, math.inf)
    errors: dict[str, float] = {}
    for _ in range(repeats):
        for name in names:
            start = time.perf_counter()
            u = ESTIMATORS[name](x, grid)
            seconds[name] = min(seconds[name], time.perf_counter() - start)
            errors[name] = float(np.sum((u - truth(grid.axes()[0])) ** 2) * grid.spacing[0])
    return [
        {
            "method": name,
            "points": points,
            "seconds": seconds[name],
            "integrated_squared_error": errors[name],
            "times_as_fast_as_kdepy": seconds[PEER] / seconds[name],
        }
        for name in names
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--points", type=int, nargs="+", default=[20_000, 1_000_000, 10_000_000])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", metavar="FILE", help="write the rows to FILE as well")
    options = parser.parse_args()
    try:
        import KDEpy
    except ImportError:
        sys.exit("benchmarks/density.py compares with KDEpy, which is not installed: pip install '.[benchmark]'")
    density_of_positions(draw(1000, options.seed), Grid((-8.0,), (8.0,), (64,)))  # compiles
    rows = [row for points in options.points for row in measure(points, options.repeats, options.seed)]
    print(f"{'points':>9}  {'method':<24} {'seconds':>9}  {'ISE':>8}  {'KDEpy / this':>12}")
    for row in rows:
        print(
            f"{row['points']:>9}  {row['method']:<24} {row['seconds']:>9.4f}  {row['integrated_squared_error']:>8.2g}"
            f"  {row['times_as_fast_as_kdepy']:>12.1f}"
        )
    if options.json:
        versions = {"python": platform.python_version(), "numpy": np.__version__, "KDEpy": KDEpy.__version__}
        record = {"benchmark": "density", "versions": versions, "seed": options.seed, "rows": rows}
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump(record, file, indent=2)


if __name__ == "__main__":
    main()
