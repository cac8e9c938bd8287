"""Parts run and sanitizer of gpu.py: the command line with a billion particles; compute-sanitizer on the kernels."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from _gpu_bench import BELOW, DONE, FAILED, LEFT_OUT, ROOT, Bench

NEEDED = (
    "dask",
    "distributed",
    "zarr",
    "numcodecs",
    "pydantic",
    "typer",
    "rich",
    "fsspec",
    "matplotlib",
    "sympy",
    "ot",
)
TRUE, TERM = 3.0, "r**2"
"""What the case cubic is made with."""
MOST_SECONDS, MOST_BYTES, MOST_ERRORS = 180.0, 8e9, 3.0
SANITIZERS = ("compute-sanitizer", "/usr/local/cuda/bin/compute-sanitizer")


def run(bench: Bench) -> None:
    """Run the case cubic with 1e9 particles by the command line; time, memory of the host, and the answer."""
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    particles = 2000 if bench.tiny else 10**9
    what = f"ipsdist run cubic, {particles:.0e} particles, 1000 steps"
    if missing:
        bench.row(what, state=LEFT_OUT, note=f"{', '.join(missing)} are not installed")
        return
    out, device = bench.folder / "run", "cpu" if bench.rehearse else "gpu"
    words = [sys.executable, "-m", "ipsdist", "run", "cubic", "--set", f"system.particles={particles}"]
    words += ["--set", "time.step=1e-3", "--device", device, "--quiet", "--out", str(out)]
    code, seconds, peak, said = watched(words, bench.left(), bench.folder)
    if code != 0:
        why = "stopped: its time was out" if code is None else f"exited with {code}"
        bench.row(what, seconds, "s", bar=MOST_SECONDS, most=True, state=FAILED, note=f"{why}: {said}"[:300])
        return
    result = json.loads((out / "result.json").read_text())
    named = result.get("device")
    bench.row(what, seconds, "s", bar=MOST_SECONDS, most=True, note=f"device {named}" if named else "")
    bench.row("memory of the host at its peak", peak / 1e9, "GB", bar=MOST_BYTES / 1e9, most=True)
    coefficient(bench, result)


def coefficient(bench: Bench, result: dict[str, Any]) -> None:
    """Add the line of what was learnt: the right term alone, within three standard errors."""
    learnt = {term["name"]: term for term in result["terms"]}
    names = ", ".join(learnt)
    if TERM not in learnt:
        bench.row("coefficient of r**2", state=FAILED, note=f"the terms learnt are {names or 'none'}")
        return
    value, error = learnt[TERM]["coefficient"], learnt[TERM]["standard_error"]
    off = abs(value - TRUE) / error
    state = DONE if off <= MOST_ERRORS and len(learnt) == 1 else BELOW
    note = f"{value:.6g} +- {error:.2g}; terms {names}"
    bench.row(
        "coefficient of r**2 off 3", off, "standard errors", bar=MOST_ERRORS, most=True,
        state="" if bench.rehearse else state, note=note,
    )  # fmt: skip


def watched(words: Sequence[str], seconds: float, folder: Path) -> tuple[int | None, float, float, str]:
    """Run a command; return exit code (None: its time was out), seconds, peak memory of its processes, last words."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, [os.getenv("PYTHONPATH")])])}
    start, peak = time.monotonic(), 0
    errors = folder / "run.txt"
    with errors.open("w") as file:
        process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=file, env=environment)
    while process.poll() is None:
        peak = max(peak, _resident(process.pid))
        if time.monotonic() - start > seconds:
            process.kill()  # the driver of the script ends what it had started
            process.wait()
            return None, time.monotonic() - start, peak, ""
        time.sleep(0.05)
    spent = time.monotonic() - start
    return process.returncode, spent, peak, " ".join(errors.read_text(errors="replace").split()[-40:])


def _resident(pid: int) -> int:
    """Return the bytes of memory that a process and its children hold, 0 where nobody tells."""
    with contextlib.suppress(ImportError):
        import psutil

        with contextlib.suppress(psutil.Error):
            process = psutil.Process(pid)
            found = 0
            for one in (process, *process.children(recursive=True)):
                with contextlib.suppress(psutil.Error):
                    found += one.memory_info().rss
            return found
    return 0


def sanitize(bench: Bench, tool: str, script: Sequence[str]) -> None:
    """Run the part bits with few particles under a tool of compute-sanitizer, memcheck or racecheck."""
    found = next((s for s in map(shutil.which, SANITIZERS) if s), None)
    folder = bench.folder / tool
    folder.mkdir(exist_ok=True)
    before = [] if bench.rehearse else [str(found), "--tool", tool, "--error-exitcode", "77"]
    if found is None and not bench.rehearse:
        bench.row(tool, state=LEFT_OUT, note="there is no compute-sanitizer")
        return
    flags = ["--child", "all-bits", "--rows", str(folder / "rows"), "--seconds", str(bench.left() - 5), "--tiny"]
    words = [*before, *script, *flags, *["--rehearse"] * bench.rehearse]
    try:
        done = subprocess.run(words, capture_output=True, text=True, errors="replace", timeout=max(1.0, bench.left()))
    except subprocess.TimeoutExpired:
        bench.row(tool, state=FAILED, note="stopped: its time was out")
        return
    rows = [json.loads(line) for line in (folder / "rows").read_text().splitlines()]
    summary = [
        line.strip("= ")
        for line in (done.stdout + done.stderr).splitlines()
        if "SUMMARY" in line or "not supported" in line
    ]
    note = "; ".join(summary or done.stderr.strip().splitlines()[-1:])[:300]
    wrong = sum(row["state"] == FAILED for row in rows)
    state = DONE if done.returncode == 0 and rows and not wrong else FAILED
    bench.row(
        f"{tool + ' not run' if bench.rehearse else tool}, {len(rows)} lines of bits, {wrong} failed",
        done.returncode,
        "exit code",
        state=state,
        note=note,
    )
