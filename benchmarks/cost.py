"""CPU-seconds and memory of the commands that people type: a first run, a second one, help, the plane, 1e7 particles.

    python benchmarks/cost.py [--json FILE]

User and system time, children included. "Empty caches" are those of Numba and matplotlib, as on a fresh installation;
a second run goes into a new directory.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path


def measure(folder: Path, *words: str, caches: str = "caches") -> tuple[float, float]:
    """Run ``ipsdist WORDS`` in ``folder`` with caches in a folder there; return CPU-seconds and peak memory in GB.

    In a process of its own, so that the children counted are those of this command alone.
    """
    kept = {"NUMBA_CACHE_DIR": str(folder / caches / "numba"), "MPLCONFIGDIR": str(folder / caches / "matplotlib")}
    code = (
        "import json, resource, subprocess, sys; "
        "subprocess.run([sys.executable, '-m', 'ipsdist', *sys.argv[1:]], check=True, stdout=subprocess.DEVNULL, "
        "stderr=subprocess.DEVNULL); r = resource.getrusage(resource.RUSAGE_CHILDREN); "
        "print(json.dumps([r.ru_utime + r.ru_stime, r.ru_maxrss]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *words],
        env={**os.environ, **kept},
        cwd=folder,
        check=True,
        capture_output=True,
        text=True,
    )
    seconds, peak = json.loads(done.stdout)
    return seconds, peak * (1 if sys.platform == "darwin" else 1024) / 1e9


def refit(folder: Path) -> tuple[float, float]:
    """Return CPU-seconds and peak memory in GB of a fit with another dictionary, libraries loaded by one before."""
    code = (
        "import json, resource, sys, time, ipsdist as ips\n"
        "def fit(terms): ips.fit('first', sets=['dictionary.terms=' + json.dumps(terms)])\n"
        "fit(['r', 'r**2', 'r**3', 'exp(-r)'])\n"
        "start = time.process_time()\n"
        "fit(['1', 'r', 'r**2', 'r**4', 'exp(-r)', 'exp(-2*r)', 'r*exp(-r)', 'cos(r)'])\n"
        "print(json.dumps([time.process_time() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss]))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, check=True, capture_output=True, text=True)
    seconds, peak = json.loads(done.stdout.splitlines()[-1])
    return seconds, peak * (1 if sys.platform == "darwin" else 1024) / 1e9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    large = ("--set", "system.particles=10000000", "--set", "time.horizon=0.01")
    commands = {
        "run cubic, empty caches": ("run", "cubic", "--out", "first"),
        "run cubic, second time": ("run", "cubic", "--out", "second"),
        "run power_law": ("run", "power_law", "--out", "third"),
        "--help": ("--help",),
        "run radial_2d, second time": ("run", "radial_2d", "--out", "plane"),
        "run radial_3d": ("run", "radial_3d", "--out", "space"),
        "1e7 particles, 100 steps": ("run", "cubic", "--out", "large", *large),
    }
    rows = {}
    with tempfile.TemporaryDirectory() as folder:
        plane = ("run", "radial_2d", "--out", "first_plane")
        rows["run radial_2d, empty caches"] = measure(Path(folder), *plane, caches="others")
        for name, words in commands.items():
            rows[name] = measure(Path(folder), *words)
        rows["fit, another dictionary"] = refit(Path(folder))
    print(f"{'command':27} {'CPU-s':>6} {'peak GB':>8}")
    for name, (seconds, peak) in rows.items():
        print(f"{name:27} {seconds:6.2f} {peak:8.2f}")
    if args.json:
        args.json.write_text(json.dumps({name: {"cpu_seconds": s, "peak_gb": p} for name, (s, p) in rows.items()}))


if __name__ == "__main__":
    main()
