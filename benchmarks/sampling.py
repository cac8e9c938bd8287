"""Phase I on the slices that it draws, by importance and evenly, against Phase I on all slices ([S] figure 2 e).

    python benchmarks/sampling.py                       every case, 10 seeds, resumes where it stopped
    python benchmarks/sampling.py --only cubic-160 --seeds 3
    python benchmarks/sampling.py --show                the table of what is there

The particles and their densities are made once a seed and are not counted. Three roads start from the densities of the
same run: `whole` assembles every slice with all terms and draws 0.3 of them by importance a turn; `importance` and
`even` assemble what they draw, 0.01 a turn after a first look at one slice in twenty, and in Phase II all slices with
the kept terms alone. CPU-seconds of one process are taken twice: until the turn of Phase I after which the terms are
the true ones and stay so, and until the answer. `run` is the same for `ipsdist run` with fit.assembly "whole" and
"drawn": equations and kernel together, with the store and all that is written beside the answer. Rows go to
benchmarks/results/sampling.jsonl, one a seed of a case.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from ipsdist.config import RunConfig
    from ipsdist.model.fit import Fit
    from ipsdist.model.normal_equations import NormalEquations
    from ipsdist.numerics.equations.forms.strong import StrongForm
    from ipsdist.storage import Store

ROWS = Path(__file__).parent / "results" / "sampling.jsonl"
TRUTH = ("r**2",)
CUBIC = "case = 'cubic'\ngrid.cells = {cells}\nfit.form = 'strong'\n"
RADIAL = """
[system]
dimension = 2
particles = 20000
kernel = "3*r**2"
diffusion = 2.0
[time]
horizon = 1.0
step = 1e-3
observe_every = 1
[initial]
mixture = [{{weight = 0.5, mean = [1.0, 0.0], variance = 0.25}}, {{weight = 0.5, mean = [-1.0, 0.0], variance = 0.25}}]
[grid]
lower = -4.0
upper = 4.0
cells = {cells}
[fit]
form = "strong"
"""
CASES = {
    "cubic-160": (CUBIC, 160),
    "cubic-1280": (CUBIC, 1280),
    "radial-64": (RADIAL, 64),
    "radial-128": (RADIAL, 128),
}
"""phi = 3 r^2, sigma^2 = 2, 20 000 particles, 1001 slices, eight terms; cells of the density grid along an axis."""


class Drawn:
    """Panels assembled from densities in memory; it notes the CPU clock when Phase II asks for all of them."""

    def __init__(self, form: StrongForm, config: RunConfig, densities: np.ndarray, times: np.ndarray) -> None:
        self.form, self.config, self.densities, self.times = form, config, densities, times
        self.basis, self.panels = form.names, len(times) - 1
        self.refitted: float | None = None

    def take(self, panels: Sequence[int]) -> NormalEquations:
        """Assemble panels with all terms."""
        return assemble(self.form, self.densities, self.times, panels)

    def keep(self, terms: Sequence[int]) -> NormalEquations:
        """Assemble all panels with some terms."""
        self.refitted = time.process_time()
        form = form_of(self.config, self.form, self.config.unknowns().keep(terms))
        return assemble(form, self.densities, self.times, range(self.panels))


def form_of(config: RunConfig, like: StrongForm, unknowns: Any) -> StrongForm:
    return type(like).of(like.grid, unknowns, like.diffusion, like.particles, config.known())


def assemble(form: StrongForm, densities: np.ndarray, times: np.ndarray, panels: Sequence[int]) -> NormalEquations:
    return form.equations(np.stack([form.products(*densities[n : n + 2], times[n + 1] - times[n]) for n in panels]))


def one(name: str, seed: int) -> dict[str, Any]:
    """Do one row."""
    from ipsdist.config import resolve
    from ipsdist.runs import pipeline
    from ipsdist.runtime.threads import single_threaded
    from ipsdist.storage import Store

    text, cells = CASES[name]
    row: dict[str, Any] = {"case": name, "seed": seed}
    with tempfile.TemporaryDirectory() as folder, single_threaded():
        file, out = Path(folder) / "case.toml", Path(folder) / "run"
        file.write_text(text.format(cells=cells))
        config = resolve(file, [], seed)
        for assembly in ("whole", "drawn"):
            setting = resolve(file, [f'fit.assembly="{assembly}"'], seed)
            pipeline.run(setting, out, upto="kernel")
            store = Store.open(out / "store.zarr")
            records = [store.record(f"{stage}/done") or {} for stage in ("equations", "kernel")]
            row[f"run-{assembly}"] = sum(record["cost"]["cpu_seconds"] for record in records)
        row |= roads(config, store, seed)
    return row


def roads(config: RunConfig, store: Store, seed: int) -> dict[str, Any]:
    """Time the three roads from the densities of a store."""
    from ipsdist.learning.two_phase import two_phase
    from ipsdist.numerics.equations.forms.strong import StrongForm
    from ipsdist.stages.base import setup_of

    setup, densities = setup_of(store), store.read("densities/density")
    times, sigma2 = setup.slice_times, config.system_value().diffusion
    found: dict[str, Any] = {"panels": len(times) - 1}

    def go(road: str, iterations: int) -> tuple[Fit, float, float]:
        """Return the fit, and CPU-seconds until Phase II and until the end."""
        start = time.process_time()
        form = StrongForm.of(setup.grid, config.unknowns(), sigma2, setup.particles, config.known())
        drawn = Drawn(form, config, densities, times)
        whole = road == "whole"
        fit = two_phase(
            drawn.take(range(drawn.panels)) if whole else drawn,
            diffusion=sigma2,
            seed=seed,
            iterations=iterations,
            sampled_fraction=0.3 if whole else 0.01,
            importance=road != "even",
        )
        end = time.process_time()
        return fit, (drawn.refitted or end) - start, end - start

    for road in ("whole", "importance", "even"):
        fit, _, seconds = go(road, 50)
        turns = [tuple(np.array(fit.basis)[list(turn.mask)]) == TRUTH for turn in fit.history]
        right = [all(turns[k:]) for k in range(len(turns))]
        found[road] = {"right": right[-1], "seconds": seconds, "assembled": None, "to_support": None, "used": None}
        if road != "whole":
            found[road]["assembled"] = fit.history[-1].sampled
        if right[-1]:
            found[road]["coefficient"] = float(fit.coefficients[0])
            turn = right.index(True)
            found[road]["to_support"] = go(road, turn + 1)[1]
            found[road]["used"] = None if road == "whole" else fit.history[turn].sampled
    return found


# --- table ----------------------------------------------------------------------------------------------------------


def load() -> list[dict[str, Any]]:
    return [json.loads(line) for line in ROWS.read_text().splitlines()] if ROWS.exists() else []


def table(rows: list[dict[str, Any]]) -> str:
    """Return one line a case and road: hits, panels assembled with all terms, CPU-seconds, factors against whole.

    Means over seeds; the way to the terms is that of the seeds in which the road and `whole` find them.
    """
    lines = [
        f"{'case':12} {'road':11} {'right':>7} {'panels: to terms, all':>22} {'s to terms':>11} {'factor':>7}"
        f" {'s to answer':>12} {'factor':>7} {'run, s':>8} {'factor':>7} {'off whole':>10}"
    ]
    for name in CASES:
        mine = [r for r in rows if r["case"] == name]
        for road in ("whole", "importance", "even") if mine else ():
            both = [r for r in mine if r[road]["right"] and r["whole"]["right"]]
            lines.append(f"{name:12} {road:11} {_line(mine, both, road)}")
    return "\n".join(lines)


def _line(mine: list[dict[str, Any]], both: list[dict[str, Any]], road: str) -> str:
    def mean(rows: list[dict[str, Any]], road: str, key: str) -> float:
        return float(np.mean([r[road][key] for r in rows])) if rows else float("nan")

    hits, final, base = sum(r[road]["right"] for r in mine), mean(mine, road, "seconds"), mean(mine, "whole", "seconds")
    support, first = mean(both, road, "to_support"), mean(both, "whole", "to_support")
    counts = (mine[0]["panels"], mine[0]["panels"])
    if road != "whole":
        counts = (mean(both, road, "used"), mean(mine, road, "assembled"))
    run = ""
    if road != "even":
        seconds = [float(np.mean([r[f"run-{which}"] for r in mine])) for which in ("whole", "drawn")]
        own = seconds[0] if road == "whole" else seconds[1]
        run = f"{own:8.2f} {seconds[0] / own:7.2f}"
    off = max((abs(r[road]["coefficient"] / r["whole"]["coefficient"] - 1) for r in both), default=float("nan"))
    return (
        f"{hits:4}/{len(mine):<2} {counts[0]:14.0f} {counts[1]:7.0f} {support:11.3f} {first / support:7.2f}"
        f" {final:12.3f} {base / final:7.2f} {run:16} {off:10.0e}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--only", nargs="*", choices=CASES, default=list(CASES), metavar="CASE")
    parser.add_argument("--show", action="store_true")
    args = parser.parse_args()
    if not args.show:
        ROWS.parent.mkdir(exist_ok=True)
        done = {(r["case"], r["seed"]) for r in load()}
        wanted = [(n, s) for s in range(args.seeds) for n in args.only if (n, s) not in done]
        with ROWS.open("a") as file:
            for count, (name, seed) in enumerate(wanted, start=1):
                row = one(name, seed)
                file.write(json.dumps(row) + "\n")
                file.flush()
                print(f"{count}/{len(wanted)} {name} seed {seed} right {row['importance']['right']}", flush=True)
    print(table(load()))


if __name__ == "__main__":
    main()
