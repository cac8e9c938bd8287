"""How well the learnt kernel predicts: W2 between mean-field solutions, and L_data against N, over seeds.

    python benchmarks/prediction.py                    cubic, power_law, and power_law over N; resumes
    python benchmarks/prediction.py --only cubic --seeds 4
    python benchmarks/prediction.py --show             the table of what is there

W2 is that between the mean-field densities of the true and the learnt kernel from the first density of the data, its
largest value over the times. L_data is the mean square difference of the data's density and the learnt prediction.
Rows go to benchmarks/results/prediction.jsonl, one a run; a row that is there is not done again.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from _rows import arguments, complete, load

ROWS = Path(__file__).parent / "results" / "prediction.jsonl"
SIZES = (5_000, 20_000, 80_000)
FIRST_ORDER = ("mean_field.scheme=scharfetter_gummel",)
NARROW = ("density.bandwidth=isj", "density.bandwidth_factor=1.0")
EXPERIMENTS: dict[str, tuple[str, tuple[int, ...], tuple[str, ...]]] = {
    "cubic": ("cubic", (20_000,), ()),
    "power_law": ("power_law", (20_000,), ()),
    "power_law over N, isj": ("power_law", SIZES, NARROW),
    "power_law over N": ("power_law", SIZES, ()),
    "power_law over N, Scharfetter-Gummel": ("power_law", SIZES, FIRST_ORDER),
}
"""Name: case, numbers of particles, changed keys. At sigma^2 = 0.02 the scheme that adds diffusion of its own, and the
window of a rule made for one bump, each hold L_data up."""
BAR = 3e-3


def one(name: str, particles: int, seed: int) -> dict[str, Any]:
    """Do one row."""
    import ipsdist as ips

    start = time.process_time()
    case, _, sets = EXPERIMENTS[name]
    with tempfile.TemporaryDirectory() as out:
        result = ips.run(case, out, seed=seed, sets=(f"system.particles={particles}", *sets), draw=False).result
    distances = result["wasserstein2"]
    return {
        "experiment": name,
        "particles": particles,
        "seed": seed,
        "right": result["errors"]["support_correct"],
        "solutions": max(distances["solutions"]),
        "median": float(np.median(distances["solutions"])),
        "from_data": max(distances["values"]),
        "data_loss": result["data_loss"],
        "cpu_seconds": time.process_time() - start,
    }


def table(rows: list[dict[str, Any]]) -> str:
    """Return one line an experiment and N, and the rate of L_data over N of every one that has several."""
    lines = [
        f"{'experiment':29} {'N':>7} {'right':>8} {'below 3e-3':>11} {'median W2':>10} {'worst W2':>9}"
        f" {'W2 from data':>13} {'L_data':>9} {'+-':>8}"
    ]
    for name, (_, sizes, _) in EXPERIMENTS.items():
        losses = {}
        for n in sizes:
            mine = [r for r in rows if (r["experiment"], r["particles"]) == (name, n)]
            if not mine:
                continue
            w2, loss = np.array([r["solutions"] for r in mine]), np.array([r["data_loss"] for r in mine])
            losses[n] = loss
            error = loss.std(ddof=1) / np.sqrt(len(loss)) if len(loss) > 1 else np.nan
            lines.append(
                f"{name:29} {n:7} {sum(map(bool, (r['right'] for r in mine))):3} / {len(mine):2}"
                f" {int((w2 < BAR).sum()):6} / {len(mine):2} {np.median(w2):10.1e} {w2.max():9.1e}"
                f" {np.median([r['from_data'] for r in mine]):13.1e} {loss.mean():9.2e} {error:8.1e}"
            )
        if len(losses) > 1:
            lines.append(f"{name}: L_data ~ N^{rate(losses)}")
    return "\n".join(lines)


def rate(losses: dict[int, np.ndarray]) -> str:
    """Return the exponent fitted to the logarithms of all rows, and its standard error."""
    x = np.concatenate([np.full(len(each), np.log(n)) for n, each in losses.items()])
    y = np.log(np.concatenate(list(losses.values())))
    slope, level = np.polyfit(x, y, 1)
    scatter = np.sum((y - slope * x - level) ** 2) / max(len(y) - 2, 1)
    return f"{slope:.2f} +- {np.sqrt(scatter / np.sum((x - x.mean()) ** 2)):.2f}"


def main() -> None:
    parser = arguments(__doc__, EXPERIMENTS, "EXPERIMENT")
    args = parser.parse_args()
    if not args.show:
        wanted = ((name, n, seed) for seed in range(args.seeds) for name in args.only for n in EXPERIMENTS[name][1])
        complete(ROWS, ("experiment", "particles", "seed"), wanted, one, args.processes)
    print(table(load(ROWS)))


if __name__ == "__main__":
    main()
