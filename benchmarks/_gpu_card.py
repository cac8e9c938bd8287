"""Part card of gpu.py: which card and which versions these are, and what the card copies."""

from __future__ import annotations

import contextlib
import os
import platform
import subprocess
import time
from importlib.metadata import PackageNotFoundError, version

import numpy as np
from _gpu_bench import MEMORY_BOUND, Bench

from ipsdist.numerics.device.cuda import text

_PACKAGES = ("numpy", "scipy", "numba", "cupy-cuda13x", "cupy-cuda12x", "array-api-compat", "dask", "zarr")


def describe(bench: Bench) -> None:
    """Tell all that figures of another card must be compared with."""
    device = bench.device
    bench.row(device.name, device.processors, "multiprocessors", note=f"{device.shared_bytes} bytes shared by a block")
    bench.row("free memory", device.free_bytes() / 2**30, "GiB")
    found = []
    for name in _PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            found.append(f"{name} {version(name)}")
    bench.row("versions", note=f"Python {platform.python_version()}, {', '.join(found)}")
    bench.row("host", os.cpu_count(), "cores", note=_driver())
    _copy(bench)
    _transfers(bench)
    for d in (1,) if bench.tiny else (1, 3):
        with bench.case(f"text for {d}-D"):
            start = time.perf_counter()
            bench.device.program(text("particles", D=d, REAL="float", NODES=1, FIELD=1), ("step",))
            bench.row(f"particles.cu compiled for {d}-D, or found", time.perf_counter() - start, "s")


def _driver() -> str:
    """Return what nvidia-smi says of driver and clocks, where it is there."""
    asked = ["nvidia-smi", "--query-gpu=driver_version,clocks.max.sm,clocks.max.mem", "--format=csv,noheader"]
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        done = subprocess.run(asked, capture_output=True, text=True, timeout=15, check=True)
        return "driver, clocks: " + done.stdout.strip().splitlines()[0]
    return ""


def _copy(bench: Bench) -> None:
    """Measure what this card copies, read and written together."""
    with bench.case("copy within the card"):
        size = 2**16 if bench.tiny else 2**30
        a, b = (bench.device.zeros((size,), np.float32) for _ in range(2))
        seconds = bench.timed(lambda: bench.device.copy(a, out=b))
        bench.copied = 8 * size / seconds
        bench.row("copy within the card", bench.copied / 1e12, "TB/s", share=bench.copied / MEMORY_BOUND)


def _transfers(bench: Bench) -> None:
    """Measure what goes to the card and back, which bounds clouds that are streamed through it."""
    size = 2**16 if bench.tiny else 2**28
    host = np.ones(size, dtype=np.float32)
    with bench.case("host to card"):
        there = bench.device.array(host)
        seconds = bench.timed(lambda: bench.device.array(host, out=there), 3)
        bench.row("host to card", 4 * size / seconds / 1e9, "GB/s")
        seconds = bench.timed(lambda: bench.device.to_host(there, out=host), 3)
        bench.row("card to host", 4 * size / seconds / 1e9, "GB/s")
