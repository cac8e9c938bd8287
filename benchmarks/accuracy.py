"""Hits and errors over seeds, in units of the Cramer-Rao bound: the table that decides which road is the default.

    python benchmarks/accuracy.py                       every experiment, 20 seeds, resumes where it stopped
    python benchmarks/accuracy.py --only cubic power_law --seeds 50
    python benchmarks/accuracy.py --show                the table of what is there

Rows go to benchmarks/results/accuracy.jsonl, one a run; a row that is there is not done again.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

ROWS = Path(__file__).parent / "results" / "accuracy.jsonl"
TRUTH = {"cubic": {"r**2": 3.0}, "power_law": {"r": 1.0, "r**-1.5": -1.0}}
DT, N = 1e-4, 20_000


def by_name(case: str, seed: int, *sets: str) -> dict[str, Any]:
    """Run a case as it ships, with changed keys."""
    import ipsdist as ips

    with tempfile.TemporaryDirectory() as out:
        outcome = ips.run(case, out, seed=seed, sets=sets, draw=False)
    return answer(case, outcome)


def own_steps(
    case: str, seed: int, force: str, finer: int = 1, chosen: int | None = None, labelled: bool = True
) -> dict[str, Any]:
    """Step the particles of a case in another way, keep their positions, and learn from those as from foreign data.

    Slices are 0.001 apart, or ``chosen`` many Gauss-Lobatto times.
    """
    import ipsdist as ips
    from ipsdist.config import resolve
    from ipsdist.numerics.equations.quadrature import observation_times
    from ipsdist.numerics.particles.initial import sample
    from ipsdist.numerics.particles.stepping import Stepper
    from ipsdist.runs.inputs import Inputs
    from ipsdist.runs.setup import prepare

    config = resolve(case, seed=seed)
    system = config.system_value()
    spacing = prepare(config, Inputs()).spacing / finer
    times = np.arange(1001) * 1e-3 if chosen is None else observation_times(1.0, chosen, "gauss_lobatto", DT)
    stepper = Stepper(system, DT, seed, 0, spacing, force)
    state = stepper.start(sample(config.initial_law(), 1, seed, 0, 0, N))
    positions = []
    for step in np.rint(times / DT).astype(int).tolist():
        stepper.advance(state, step - state.step)
        positions.append(state.positions[:, 0].copy())
    outcome = ips.learn(
        np.array(positions),
        times,
        system.diffusion,
        labelled=labelled,
        terms=config.dictionary.terms,
        cutoff=config.dictionary.cutoff,
    )
    return answer(case, outcome)


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
    }


EXPERIMENTS: dict[str, tuple[str, Callable[[int], dict[str, Any]]]] = {
    "cubic": ("cubic", lambda seed: by_name("cubic", seed)),
    "power_law": ("power_law", lambda seed: by_name("power_law", seed)),
    **{
        f"cubic, {count} unlabelled snapshots": (
            "cubic",
            lambda seed, every=every: by_name("cubic", seed, f"time.observe_every={every}", "data.labelled=false"),
        )
        for count, every in ((51, 200), (21, 500), (11, 1000))
    },
    "cubic, 20 chosen times": ("cubic", lambda seed: own_steps("cubic", seed, "mesh", chosen=20, labelled=False)),
    "cubic, slices 0.01 apart": ("cubic", lambda seed: by_name("cubic", seed, "time.observe_every=100")),
    "power_law, slices 0.01 apart": ("power_law", lambda seed: by_name("power_law", seed, "time.observe_every=100")),
    "cubic, 5000 particles": ("cubic", lambda seed: by_name("cubic", seed, "system.particles=5000")),
    "cubic, likelihood": ("cubic", lambda seed: by_name("cubic", seed, "fit.form=likelihood")),
    "power_law, likelihood": ("power_law", lambda seed: by_name("power_law", seed, "fit.form=likelihood")),
    "cubic, action, two phases": ("cubic", lambda seed: by_name("cubic", seed, "fit.selection=two_phase")),
    "power_law, action, two phases": ("power_law", lambda seed: by_name("power_law", seed, "fit.selection=two_phase")),
    "cubic, strong, two phases [S]": ("cubic", lambda seed: by_name("cubic", seed, "fit.form=strong")),
    "power_law, strong, two phases [S]": ("power_law", lambda seed: by_name("power_law", seed, "fit.form=strong")),
    "cubic, [S] without scaling": (
        "cubic",
        lambda seed: by_name("cubic", seed, "fit.form=strong", "fit.scale_columns=false"),
    ),
    "cubic, stepped by prefix sums": ("cubic", lambda seed: own_steps("cubic", seed, "prefix")),
    "power_law, stepped on a mesh 8 times finer": ("power_law", lambda seed: own_steps("power_law", seed, "mesh", 8)),
    "cubic, NumPy file, labelled": ("cubic", lambda seed: plain_numpy(seed, True)),
    "cubic, NumPy file, unlabelled": ("cubic", lambda seed: plain_numpy(seed, False)),
}


def one(name: str, seed: int) -> dict[str, Any]:
    """Do one row."""
    start = time.process_time()
    row = EXPERIMENTS[name][1](seed)
    return {"experiment": name, "seed": seed, **row, "cpu_seconds": time.process_time() - start}


def load() -> list[dict[str, Any]]:
    return [json.loads(line) for line in ROWS.read_text().splitlines()] if ROWS.exists() else []


def table(rows: list[dict[str, Any]]) -> str:
    """Return one line an experiment and coefficient; errors in bounds (the mean standard error of right answers)."""
    lines = [
        f"{'experiment':45} {'right':>9}  {'term':8} {'mean/bound':>10} {'RMSE/bound':>10}"
        f" {'worst':>9} {'bound':>8} {'in 3 se':>8}"
    ]
    for name in EXPERIMENTS:
        mine = [r for r in rows if r["experiment"] == name]
        hits = [r for r in mine if r["right"]]
        if not mine:
            continue
        first = f"{name:45} {len(hits):4} / {len(mine):2}"
        for term in TRUTH[EXPERIMENTS[name][0]] if hits else ():
            errors = np.array([r["errors"][term] for r in hits])
            each = np.array([r["standard_errors"][term] for r in hits])
            bound = each.mean()
            within = int((np.abs(errors) <= 3 * each).sum())
            lines.append(
                f"{first:56} {term:8} {errors.mean() / bound:10.2f} {np.sqrt((errors**2).mean()) / bound:10.2f}"
                f" {np.abs(errors).max():9.4f} {bound:8.4f} {within:4}/{len(hits)}"
            )
            first = ""
        if not hits:
            lines.append(first)
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--only", nargs="*", choices=EXPERIMENTS, default=list(EXPERIMENTS), metavar="EXPERIMENT")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--show", action="store_true")
    args = parser.parse_args()
    if not args.show:
        ROWS.parent.mkdir(exist_ok=True)
        done = {(r["experiment"], r["seed"]) for r in load()}
        wanted = [(n, s) for n in args.only for s in range(args.seeds) if (n, s) not in done]
        with ProcessPoolExecutor(args.processes, mp_context=get_context("spawn")) as pool, ROWS.open("a") as file:
            futures = [pool.submit(one, *row) for row in wanted]
            for count, future in enumerate(as_completed(futures), start=1):
                row = future.result()
                file.write(json.dumps(row) + "\n")
                file.flush()
                print(f"{count}/{len(wanted)} {row['experiment']} seed {row['seed']} right {row['right']}", flush=True)
    print(table(load()))


if __name__ == "__main__":
    main()
