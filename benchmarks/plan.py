"""What `ipsdist plan` says against what runs take: CPU-seconds, memory and store, over cases and sizes.

    python benchmarks/plan.py [--only NAME ...] [--processes 1] [--show]

Every run is a process of its own. Seconds are brought to the speed of a quiet machine by a piece of work that is timed
before and after the run; the table has planned / measured, and the plan is worked out anew whenever it is printed.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from _rows import Row, arguments, complete, load

RESULTS = Path(__file__).parent / "results" / "plan.jsonl"
CASES: dict[str, tuple[str, tuple[str, ...]]] = {
    "cubic": ("cubic", ()),
    "cubic, N = 2000": ("cubic", ("system.particles=2000",)),
    "cubic, N = 200": ("cubic", ("system.particles=200",)),
    "cubic, N = 1e6": ("cubic", ("system.particles=1000000", "time.horizon=0.05")),
    "cubic, N = 1e7": ("cubic", ("system.particles=10000000", "time.horizon=0.01")),
    "cubic, 101 slices": ("cubic", ("time.observe_every=100",)),
    "cubic, 11 slices": ("cubic", ("time.observe_every=1000",)),
    "cubic, 6 replicas": ("cubic", ("system.replicas=6", "system.particles=5000")),
    "cubic, unlabelled": ("cubic", ("data.labelled=false",)),
    "cubic, weak": ("cubic", ("fit.form=weak",)),
    "cubic, likelihood": ("cubic", ("fit.form=likelihood",)),
    "cubic, strong": ("cubic", ("fit.form=strong",)),
    "cubic, drawn": ("cubic", ("fit.form=strong", "fit.assembly=drawn")),
    "cubic, mean field": ("cubic", ("data.source=mean_field",)),
    "cubic, direct": ("cubic", ("force.method=direct", "system.particles=3000", "time.horizon=0.02")),
    "cubic, prefix": ("cubic", ("force.method=prefix", "time.horizon=0.1")),
    "power_law": ("power_law", ()),
    "power_law, mean field": ("power_law", ("data.source=mean_field",)),
    "polarization": ("polarization", ()),
    "consensus, 6 terms": ("consensus", ('dictionary.terms=["1","r","r**2","r**3","sin(r)","exp(-r)"]',)),
    "radial_2d": ("radial_2d", ()),
    "radial_2d, N = 5e5": ("radial_2d", ("system.particles=500000", "time.horizon=0.02", "time.observe_every=10")),
    "radial_2d, mean field": ("radial_2d", ("data.source=mean_field",)),
    "radial_2d, strong": ("radial_2d", ("fit.form=strong",)),
    "radial_3d, 51 slices": ("radial_3d", ("time.observe_every=10",)),
    "radial_3d, N = 1e6": ("radial_3d", ("system.particles=1000000", "time.horizon=0.08", "time.observe_every=10")),
    "tracks, N = 20000": ("tracks", (20000, 1, 101)),
    "tracks, N = 60 in 2-D": ("tracks", (60, 2, 400)),
}
_REFERENCE = 0.062
"""CPU-seconds of `reference` on the quiet machine for which the plan was fitted."""
_CHILD = """
import json, resource, sys, time
from pathlib import Path
from ipsdist import runs
from ipsdist.config import resolve
from ipsdist.storage import Store
out = Path(sys.argv[2])
source, sets = sys.argv[1], json.loads(sys.argv[3])
runs.run(resolve(source, sets), out)
cpu = time.process_time()
store = Store.open(out / "store.zarr")
stages = ("particles", "densities", "equations", "kernel")
done = {name: store.record(f"{name}/done") for name in stages}
folders = (*stages, "input")
size = {n: sum(f.stat().st_size for f in (out / "store.zarr" / n).rglob("*") if f.is_file()) for n in folders}
print(json.dumps({
    "cpu": cpu,
    "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    "stages": {n: done[n]["cost"]["cpu_seconds"] for n in stages},
    "peaks": {n: done[n]["cost"]["peak_bytes"] for n in stages},
    "store": size,
}))
"""


def reference() -> float:
    """Return the CPU-seconds that a fixed piece of work takes now: transforms and arithmetic, as in a run."""
    # Small arrays: large ones measure how the system hands out memory.
    values = np.random.default_rng(0).normal(size=2**13)
    start = time.process_time()
    for _ in range(700):
        np.fft.irfft(np.fft.rfft(values) * 0.5)
        np.bincount((values * 10 + 100).astype(np.int64), np.abs(values) + 1.0)
    return time.process_time() - start


def case(name: str, folder: Path) -> tuple[str, list[str]]:
    """Return source and keys of a case, its file of tracks made where it has one."""
    source, keys = CASES[name]
    if source != "tracks":
        return source, [str(k) for k in keys]
    particles, d, slices = (int(k) for k in keys)
    rng = np.random.default_rng(1)
    x = rng.normal(size=(1, particles, d)) + np.cumsum(rng.normal(0.0, 0.05, (slices, particles, d)), axis=0)
    np.savez(folder / "tracks.npz", times=0.01 * np.arange(slices), positions=x)
    (folder / "tracks.toml").write_text(
        f'[system]\ndimension = {d}\n[data]\nsource = "import"\nfile = "{folder}/tracks.npz"\n[dictionary]\n'
    )
    return str(folder / "tracks.toml"), []


def one(name: str) -> Row:
    """Run one case in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        source, sets = case(name, Path(folder))
        reference()  # warm
        before = reference()
        words = [sys.executable, "-c", _CHILD, source, f"{folder}/out", json.dumps(sets)]
        done = subprocess.run(words, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
        if done.returncode:
            raise SystemExit(f"{name}: {done.stderr[-2000:]}")
        speed = _REFERENCE / statistics.mean([before, reference()])
        found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return {"name": name, "speed": speed, **found}


def main() -> None:
    parser = arguments(__doc__, CASES, "NAME", 1)
    options = parser.parse_args()
    if not options.show:
        wanted = [(name,) for name in options.only]
        complete(
            RESULTS, ["name"], wanted, one, options.processes, lambda row: f"{row['cpu']:.1f} s, {row['speed']:.2f}"
        )
    show()


def show() -> None:
    """Print planned / measured of every row that is there."""
    from ipsdist import runs
    from ipsdist.config import resolve

    print(f"{'case':24} {'CPU-s':>6} {'planned':>8} {'ratio':>6} {'MB':>6} {'ratio':>6} {'store MB':>9} {'ratio':>6}")
    ratios = []
    for row in load(RESULTS):
        with tempfile.TemporaryDirectory() as folder:
            source, sets = case(row["name"], Path(folder))
            plan = runs.plan(resolve(source, sets))
        seconds, store = row["cpu"] * row["speed"], sum(row["store"].values())
        ratio = plan.cpu_seconds / seconds, plan.peak_bytes / row["peak"], plan.store_bytes / store
        ratios.append(ratio)
        print(
            f"{row['name']:24} {seconds:6.1f} {plan.cpu_seconds:8.1f} {ratio[0]:6.2f} {row['peak'] / 1e6:6.0f} "
            f"{ratio[1]:6.2f} {store / 1e6:9.1f} {ratio[2]:6.2f}"
        )
    for what, values in zip(("CPU-seconds", "memory", "store"), zip(*ratios, strict=True), strict=True):
        print(f"{what}: planned / measured from {min(values):.2f} to {max(values):.2f}")


if __name__ == "__main__":
    main()
