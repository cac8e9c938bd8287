"""Hits and errors over seeds, in units of the Cramer-Rao bound: the table that decides which road is the default.

    python benchmarks/accuracy.py                       every experiment, 20 seeds, resumes where it stopped
    python benchmarks/accuracy.py --only cubic power_law --seeds 50
    python benchmarks/accuracy.py --show                the table of what is there

Rows go to benchmarks/results/accuracy.jsonl, one a run; a row that is there is not done again.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from _rows import arguments, complete, load

ROWS = Path(__file__).parent / "results" / "accuracy.jsonl"
TRUTH = {
    "cubic": {"r**2": 3.0},
    "power_law": {"r": 1.0, "r**-1.5": -1.0},
    "cubic with V": {"r**2": 3.0, "x**2/2": 1.0},
    "r or V": {"r": 1.0},
    "radial": {"r**2": 3.0},
    "radial_3d_singular": {"r": 1.0, "r**-2": -1.0},
}
SIGMA2 = {"cubic": 2.0, "power_law": 0.02, "cubic with V": 2.0, "r or V": 2.0}
DT, N = 1e-4, 20_000
MODES = "initial.mixture=[{weight=0.5,mean=%g,variance=0.25},{weight=0.5,mean=%g,variance=0.25}]"
UNKNOWN_V = ('dictionary.potentials=["x","x**2/2"]',)
WITH_V = (*UNKNOWN_V, 'system.potential="x**2/2"', MODES % (0, 2), "fit.diffusion=estimate")
R_OR_V = (*UNKNOWN_V, 'system.kernel="r"', MODES % (-1, 1))
DIRECT = ("system.particles=2000", "force.method=direct", "time.step=1e-3")


def by_name(case: str, seed: int, *sets: str, truth: str | None = None) -> dict[str, Any]:
    """Run a case as it ships, with changed keys."""
    import ipsdist as ips

    with tempfile.TemporaryDirectory() as out:
        outcome = ips.run(case, out, seed=seed, sets=sets, draw=False)
    return answer(truth or case, outcome)


def own_steps(case: str, seed: int, force: str, finer: int = 1, truth: str | None = None) -> dict[str, Any]:
    """Step the particles of a case in another way and learn from their positions at its slices as foreign data."""
    import ipsdist as ips
    from ipsdist.config import resolve
    from ipsdist.numerics.particles.initial import sample
    from ipsdist.numerics.particles.stepping import Stepper
    from ipsdist.runs.inputs import Inputs
    from ipsdist.runs.setup import prepare

    config = resolve(case, seed=seed)
    system, times = config.system_value(), config.times()
    stepper = Stepper(system, times.step, seed, 0, prepare(config, Inputs()).spacing / finer, force)
    state = stepper.start(sample(config.initial_law(), system.dimension, seed, 0, 0, N))
    positions = [state.positions.copy()]
    for steps in np.diff(times.slice_steps()):
        stepper.advance(state, int(steps))
        positions.append(state.positions.copy())
    outcome = ips.learn(
        np.array(positions),
        times.slice_times(),
        system.diffusion,
        terms=config.dictionary.terms,
        cutoff=config.dictionary.cutoff,
    )
    return answer(truth or case, outcome)


def plain_numpy(seed: int, labelled: bool) -> dict[str, Any]:
    """Case cubic by a few lines that share nothing with the project (sort, prefix sums): a file of 101 slices."""
    import ipsdist as ips

    random = np.random.default_rng(seed)
    x = np.where(random.random(N) < 0.5, 1.0, -1.0) + 0.5 * random.standard_normal(N)
    slices = [x.copy()]
    for k in range(10_000):
        y = np.sort(x)
        below = np.searchsorted(y, x)
        s1, s2 = (np.concatenate([[0.0], np.cumsum(y**p)]) for p in (1, 2))
        left = below * x**2 - 2 * x * s1[below] + s2[below]
        right = (N - below) * x**2 - 2 * x * (s1[-1] - s1[below]) + (s2[-1] - s2[below])
        x = x - 3 * DT * (left - right) / N + np.sqrt(2 * DT) * random.standard_normal(N)
        if (k + 1) % 100 == 0:
            slices.append(x.copy() if labelled else random.permutation(x))
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "tracks.npz"
        np.savez(file, times=np.arange(101) * 0.01, positions=np.array(slices)[:, :, None])
        run_file = Path(folder) / "own.toml"
        run_file.write_text(
            f'[system]\ndiffusion = 2.0\n[data]\nsource = "import"\nfile = "{file}"\n'
            f"labelled = {str(labelled).lower()}\n"
        )
        outcome = ips.run(run_file, Path(folder) / "out", draw=False)
    return answer("cubic", outcome)


def answer(case: str, outcome: Any) -> dict[str, Any]:
    """Return the row of a finished run."""
    result = outcome.result
    kept = {t["name"]: (t["coefficient"], t["standard_error"]) for t in result["terms"]}
    return {
        "kept": kept,
        "right": set(kept) == set(TRUTH[case]),
        "errors": {name: kept.get(name, (0.0, 0.0))[0] - z for name, z in TRUTH[case].items()},
        "standard_errors": {name: kept[name][1] for name in TRUTH[case] if name in kept},
        "wasserstein2": max(result["wasserstein2"]["values"]),
        "sigma2": [result["diffusion"]["value"], result["diffusion"]["standard_error"]],
        "confounded": result["confounded"],
    }


Experiment = tuple[str, Callable[[int], dict[str, Any]]]


def keys(case: str, *sets: str, truth: str | None = None, first: int = 0) -> Experiment:
    """Return the experiment of a case with changed keys; its seeds begin at ``first``."""
    return truth or case, lambda seed: by_name(case, first + seed, *sets, truth=truth)


UNLABELLED = "data.labelled=false"
SNAPSHOTS = {
    f"cubic, {count} unlabelled snapshots": keys("cubic", f"time.observe_every={every}", UNLABELLED)
    for count, every in ((51, 200), (21, 500), (11, 1000))
}
ROADS = {
    f"{case}, {form}, {selection}": keys(case, f"fit.form={form}", f"fit.selection={selection}")
    for case in ("cubic", "power_law")
    for form, selection in (
        ("action", "two_phase"),
        ("likelihood", "best_subset"),
        ("likelihood", "two_phase"),
        ("weak", "best_subset"),
        ("weak", "two_phase"),
        ("strong", "two_phase"),
    )
}
# One initial law each, and seeds of its own, so that the laws are independent trials.
SPACE = {
    "radial_2d": keys("radial_2d", truth="radial", first=1000),
    "radial_2d_four": keys("radial_2d_four", truth="radial", first=1100),
    "radial_2d_ring": keys("radial_2d_ring", truth="radial", first=1200),
    "radial_2d, stepped on a mesh 4 times finer": (
        "radial",
        lambda seed: own_steps("radial_2d", 1300 + seed, "mesh", 4, truth="radial"),
    ),
    "radial_2d, 2000 particles stepped by direct pairs": keys(
        "radial_2d", *DIRECT, "time.observe_every=10", truth="radial", first=1600
    ),
    "radial_3d": keys("radial_3d", truth="radial", first=1400),
    "radial_3d_singular": keys("radial_3d_singular", first=1500),
}
EXPERIMENTS: dict[str, Experiment] = {
    "cubic": keys("cubic"),
    "power_law": keys("power_law"),
    **SNAPSHOTS,
    "cubic, 20 chosen times": keys("cubic", "data.times=gauss_lobatto", "data.slices=20", UNLABELLED),
    "cubic, slices 0.01 apart": keys("cubic", "time.observe_every=100"),
    "power_law, slices 0.01 apart": keys("power_law", "time.observe_every=100"),
    "cubic, 5000 particles": keys("cubic", "system.particles=5000"),
    "cubic, 1e6 particles": keys("cubic", "system.particles=1000000"),
    "cubic, stepped by prefix sums": ("cubic", lambda seed: own_steps("cubic", seed, "prefix")),
    "power_law, stepped on a mesh 8 times finer": ("power_law", lambda seed: own_steps("power_law", seed, "mesh", 8)),
    "cubic, 2000 particles stepped by direct pairs": keys("cubic", *DIRECT, "time.observe_every=1"),
    "cubic, NumPy file, labelled": ("cubic", lambda seed: plain_numpy(seed, True)),
    "cubic, NumPy file, unlabelled": ("cubic", lambda seed: plain_numpy(seed, False)),
    "cubic, sigma^2 unknown, labelled": keys("cubic", "fit.diffusion=estimate"),
    "power_law, sigma^2 unknown, labelled": keys("power_law", "fit.diffusion=estimate"),
    "cubic, sigma^2 unknown, unlabelled": keys("cubic", "fit.diffusion=estimate", UNLABELLED),
    "cubic, V and sigma^2 unknown, labelled": keys("cubic", *WITH_V, truth="cubic with V"),
    "cubic, V and sigma^2 unknown, unlabelled": keys("cubic", *WITH_V, UNLABELLED, truth="cubic with V"),
    "phi = r or V = x**2/2": keys("cubic", *R_OR_V, truth="r or V"),
    **SPACE,
    **ROADS,
    "cubic, [S] without scaling": keys("cubic", "fit.form=strong", "fit.scale_columns=false"),
}


def one(name: str, seed: int) -> dict[str, Any]:
    """Do one row."""
    start = time.process_time()
    row = EXPERIMENTS[name][1](seed)
    return {"experiment": name, "seed": seed, **row, "cpu_seconds": time.process_time() - start}


def table(rows: list[dict[str, Any]]) -> str:
    """Return one line an experiment and coefficient; errors in bounds (the mean standard error of right answers)."""
    lines = [
        f"{'experiment':45} {'right':>9}  {'term':8} {'mean/bound':>10} {'RMSE/bound':>10}"
        f" {'worst':>9} {'bound':>8} {'in 95 %':>8} {'in 3 se':>8} {'sd of z':>8}"
    ]
    for name, (case, _) in EXPERIMENTS.items():
        mine = [r for r in rows if r["experiment"] == name]
        hits = [r for r in mine if r["right"]]
        if not mine:
            continue
        first = f"{name:45} {len(hits):4} / {len(mine):2}"
        for term in TRUTH[case] if hits else ():
            errors = np.array([r["errors"][term] for r in hits])
            lines.append(line(first, term, errors, np.array([r["standard_errors"][term] for r in hits])))
            first = ""
        estimated = [r for r in mine if r["sigma2"][1] is not None]
        if estimated:
            values, errors = np.array([r["sigma2"] for r in estimated]).T
            lines.append(line(first, "sigma^2", values - SIGMA2[case], errors))
            first = ""
        if any(r["confounded"] for r in mine):
            groups = [", ".join(" | ".join(g) for g in r["confounded"]) for r in mine]
            told = "; ".join(f"{groups.count(g)} times {g or 'nothing'}" for g in dict.fromkeys(groups))
            lines.append(f"{first:56} confounded: {told}")
            first = ""
        if first:
            lines.append(first)
    return "\n".join(lines)


def line(first: str, term: str, errors: np.ndarray, each: np.ndarray) -> str:
    """Return the statistics of one coefficient."""
    bound, z = each.mean(), errors / each
    return (
        f"{first:56} {term:8} {errors.mean() / bound:10.2f} {np.sqrt((errors**2).mean()) / bound:10.2f}"
        f" {np.abs(errors).max():9.4f} {bound:8.4f} {int((np.abs(z) <= 1.96).sum()):5}/{len(z):2}"
        f" {int((np.abs(z) <= 3).sum()):5}/{len(z):2} {z.std():8.2f}"
    )


def main() -> None:
    parser = arguments(__doc__, EXPERIMENTS, "EXPERIMENT")
    args = parser.parse_args()
    if not args.show:
        wanted = ((n, s) for n in args.only for s in range(args.seeds))
        complete(ROWS, ("experiment", "seed"), wanted, one, args.processes, lambda row: f"right {row['right']}")
    print(table(load(ROWS)))


if __name__ == "__main__":
    main()
