"""Break points over seeds: their number, places and values, spurious terms, coverage, by every criterion.

    python benchmarks/breakpoints.py                    every experiment, 20 seeds, resumes where it stopped
    python benchmarks/breakpoints.py --only polarization --seeds 5
    python benchmarks/breakpoints.py --show             the table of what is there

Rows go to benchmarks/results/breakpoints.jsonl, one a run; a row that is there is not done again. The criterion of a
case is that of its run; the two others are tried on the same equations; "net" is the network road.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from _rows import arguments, complete, load

ROWS = Path(__file__).parent / "results" / "breakpoints.jsonl"
CRITERIA = ("bic", "ebic", "2lnN")
OFF = 'system.pieces=[{upto=1.473,kernel="0.5*r"},{upto=2.031,kernel="r"},{kernel="0"}]'
KINK = 'system.pieces=[{upto=1.5,kernel="r"},{kernel="1.5"}]'
SMOOTH = ("system.pieces=[{kernel='sin(r)'}]", "system.diffusion=0.02", "time.horizon=4.0")
CUBIC = ("fit.selection=breakpoints", 'dictionary.terms=["r","r**2"]')
FEW = ("system.particles=2000", "time.observe_every=20")
EXPERIMENTS: dict[str, tuple[str, tuple[str, ...]]] = {
    "polarization": ("polarization", ()),
    "consensus": ("consensus", ()),
    "polarization, breaks between nodes": ("polarization", (OFF,)),
    "polarization, stepped by prefix sums": ("polarization", ("force.method=prefix",)),
    "consensus, stepped by prefix sums": ("consensus", ("force.method=prefix",)),
    "polarization, mesh of smooth kernels": ("polarization", ("force.spacing=auto",)),
    "polarization, five terms": ("polarization", ('dictionary.terms=["1","r","r**2","r**3","exp(-r)"]',)),
    "polarization, 2000 particles": ("polarization", FEW),
    "consensus, 2000 particles": ("consensus", FEW),
    "a kink": ("consensus", (KINK, 'dictionary.terms=["1","r"]')),
    "cubic, which has none": ("cubic", CUBIC),
    "sin(r), which has none": ("consensus", SMOOTH),
}
"""Case and changed keys."""


def truth_of(config: Any) -> tuple[tuple[float, ...], np.ndarray] | None:
    from ipsdist.learning.truth import true_pieces

    return true_pieces(config.kernel(), config.terms())


def one(name: str, seed: int) -> dict[str, Any]:
    """Do one row."""
    import ipsdist as ips
    from ipsdist.config import resolve
    from ipsdist.learning.breakpoints import break_points
    from ipsdist.stages.breaks import hat_basis, load_hats, pair_step
    from ipsdist.storage import Store

    start = time.process_time()
    case, sets = EXPERIMENTS[name]
    with tempfile.TemporaryDirectory() as out:
        result = ips.run(case, out, seed=seed, sets=sets, draw=False).result
        spent = time.process_time() - start
        config, store = resolve(case, sets), Store.open(Path(out) / "store.zarr")
        sigma2 = result["diffusion"]["value"]
        hats, basis, near = load_hats(store, config, sigma2), hat_basis(store), pair_step(store, sigma2)
        found = {
            criterion: break_points(
                hats,
                basis,
                config.terms(),
                sigma2,
                criterion=criterion,
                max_breaks=config.fit.max_breaks,
                resolution=near,
            )
            for criterion in CRITERIA
        }
    answers = {c: answer(f, len(config.terms())) for c, f in found.items()}
    road = result["breakpoint_roads"]["network"]
    if road is not None and road["places"] is not None:
        answers["net"] = of_road(road, config.terms().names)
    return {
        "experiment": name,
        "seed": seed,
        "warnings": result["warnings"],
        "stability": (result["stability"] or {}).get("model"),
        "answers": answers,
        "cpu_seconds": spent,
    }


def answer(found: Any, terms: int) -> dict[str, Any]:
    """Return what a row keeps of a fit."""
    values, errors = np.zeros((2, len(found.places) + 1, terms))
    for (p, k), z, e in zip(found.kept, found.coefficients, np.sqrt(np.diag(found.covariance)), strict=True):
        values[p, k], errors[p, k] = z, e
    smooth = None if found.smooth is None else found.smooth[1]
    return {
        "places": found.places.tolist(),
        "intervals": found.intervals.tolist(),
        "values": values.tolist(),
        "errors": errors.tolist(),
        "smooth": smooth,
    }


def of_road(road: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    """Return the same of a road in result.json."""
    values, errors = np.zeros((2, len(road["pieces"]), len(names)))
    for p, piece in enumerate(road["pieces"]):
        for name, z, e in zip(piece["terms"], piece["coefficients"], piece["standard_errors"], strict=True):
            values[p, names.index(name)], errors[p, names.index(name)] = z, e
    kept = {"places": road["places"], "intervals": road["intervals"]}
    return kept | {"values": values.tolist(), "errors": errors.tolist(), "smooth": None}


def table(rows: list[dict[str, Any]]) -> str:
    """Return a line an experiment and criterion: right numbers, right terms, errors of right ones, coverage."""
    lines = [
        f"{'experiment':38} {'by':5} {'number':>9} {'terms':>6} {'places':>8} {'RMSE':>18} {'in 95 %':>8}"
        f" {'values':>8} {'in 95 %':>8} {'warned':>7}"
    ]
    for name, mine in ((n, [r for r in rows if r["experiment"] == n]) for n in EXPERIMENTS):
        roads = [road for road in (*CRITERIA, "net") if mine and all(road in r["answers"] for r in mine)]
        lines += [line(name, road, mine) for road in roads]
    return "\n".join(lines)


def line(name: str, criterion: str, rows: list[dict[str, Any]]) -> str:
    """Return the statistics of one experiment by one criterion."""
    from ipsdist.config import resolve

    known = truth_of(resolve(*EXPERIMENTS[name]))
    answers = [r["answers"][criterion] for r in rows]
    warned = sum(bool(a["places"]) and (a["smooth"] or 99) < 10 for a in answers)
    first = f"{name:38} {criterion:5}"
    if known is None:
        counts = [len(a["places"]) for a in answers]
        return f"{first} breaks {sorted(counts)}; a smooth kernel does as well: {warned} of {len(rows)}"
    places, values = np.array(known[0]), known[1]
    right = [a for a in answers if len(a["places"]) == len(places)]
    same = sum(np.array_equal(np.array(a["values"]) != 0, values != 0) for a in right)
    told = f"{first} {len(right):4} / {len(rows):2} {same:6}"
    if not right:
        return told
    off = np.array([a["places"] for a in right]) - places
    ends = np.array([a["intervals"] for a in right]).reshape(len(right), -1, 2)
    held = ((ends[..., 0] <= places) & (places <= ends[..., 1])).sum()
    used = values != 0
    wrong = (np.array([a["values"] for a in right]) - values)[:, used]
    each = np.array([a["errors"] for a in right])[:, used]
    covered = (np.abs(wrong) <= 1.96 * each).sum()
    rmse = " ".join(f"{e:.4f}" for e in np.sqrt((off**2).mean(axis=0)))
    worst = f"{np.abs(off).max():8.4f}" if off.size else f"{'':8}"
    spread = f"{np.abs(wrong).max():8.4f} {covered:4}/{wrong.size:3}"
    return f"{told} {worst} {rmse:>18} {held:4}/{off.size:3} {spread} {warned:7}"


def main() -> None:
    parser = arguments(__doc__, EXPERIMENTS, "EXPERIMENT")
    args = parser.parse_args()
    if not args.show:
        wanted = ((name, seed) for seed in range(1, args.seeds + 1) for name in args.only)
        complete(ROWS, ("experiment", "seed"), wanted, one, args.processes)
    print(table(load(ROWS)))


if __name__ == "__main__":
    main()
