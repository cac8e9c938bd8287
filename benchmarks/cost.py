"""CPU-seconds and memory of the commands that people type: a first run, a second one, help, and 1e7 particles.

    python benchmarks/cost.py [--json FILE]

User and system time, children included. The first run starts with empty caches of Numba and matplotlib, as on a fresh
installation; the second goes into a new directory.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path


def measure(folder: Path, *words: str) -> tuple[float, float]:
    """Run ``ipsdist WORDS`` with caches in ``folder``; return its CPU-seconds and its peak memory in GB.

    In a process of its own, so that the children counted are those of this command alone.
    """
    caches = {"NUMBA_CACHE_DIR": str(folder / "numba"), "MPLCONFIGDIR": str(folder / "matplotlib")}
    code = (
        "import json, resource, subprocess, sys; "
        "subprocess.run([sys.executable, '-m', 'ipsdist', *sys.argv[1:]], check=True, stdout=subprocess.DEVNULL, "
        "stderr=subprocess.DEVNULL); r = resource.getrusage(resource.RUSAGE_CHILDREN); "
        "print(json.dumps([r.ru_utime + r.ru_stime, r.ru_maxrss]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *words],
        env={**os.environ, **caches},
        cwd=folder,
        check=True,
        capture_output=True,
        text=True,
    )
    seconds, peak = json.loads(done.stdout)
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
        "1e7 particles, 100 steps": ("run", "cubic", "--out", "large", *large),
    }
    rows = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, words in commands.items():
            rows[name] = measure(Path(folder), *words)
    print(f"{'command':26} {'CPU-s':>6} {'peak GB':>8}")
    for name, (seconds, peak) in rows.items():
        print(f"{name:26} {seconds:6.1f} {peak:8.2f}")
    if args.json:
        args.json.write_text(json.dumps({name: {"cpu_seconds": s, "peak_gb": p} for name, (s, p) in rows.items()}))


if __name__ == "__main__":
    main()
