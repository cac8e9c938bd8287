"""Exact pair sums for gpu.py: their bits, and their speed against what the instructions allow."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from _gpu_bench import DONE, FAILED, Bench
from _gpu_bits import Tally

from ipsdist.model.radial import RadialKernel
from ipsdist.numerics.particles.forces.device_direct import DeviceDirect, device_direct_sums
from ipsdist.numerics.particles.forces.direct import direct_sums

CUBIC, SINGULAR = "3*r**2", "r - r**-1.5"
_CUTOFF = 0.05
_CLOCK, _PROCESSORS = 1.98e9, 132
"""Of an H200. A processor issues 128 instructions of lanes a cycle, and has 16 roots and powers of 2 a cycle."""
BOUNDS = {
    (CUBIC, 1): 128 * _CLOCK * _PROCESSORS / 2.4,
    (CUBIC, 2): 128 * _CLOCK * _PROCESSORS / 9.5,
    (SINGULAR, 2): 16 * _CLOCK * _PROCESSORS / 2,
}
"""Pairs a second in float32 at best: instructions of a pair, or its two roots."""
SUMS = (
    (CUBIC, 2, "float32", True, 10**6),
    (SINGULAR, 2, "float32", True, 10**6),
    (CUBIC, 1, "float32", True, 10**6),
    (CUBIC, 2, "float32", False, 2**18),
    (CUBIC, 2, "float64", False, 2**17),
    (SINGULAR, 2, "float64", False, 2**16),
    (CUBIC, 3, "float32", True, 2**18),
)
"""What is measured: kernel, dimension, arithmetic, whether it is the fast one, targets of the million."""
_NEAR = {"float64": 1e-13, "float32": 3e-6}
"""Largest error of a sum over the largest sum, where bits are not promised."""


def _kernel(text: str) -> RadialKernel:
    return RadialKernel.parse(text, cutoff=_CUTOFF if text == SINGULAR else None)


def check(bench: Bench) -> None:
    """Compare with the sums of Numba: bits for rational kernels, last places for others, 3e-6 in float32."""
    rng = np.random.default_rng(3)
    tally = Tally()
    for d, text in ((1, CUBIC), (2, CUBIC), (3, "(r**2 - 1)/(1 + r)")):
        for n in (1, 33, 700 if bench.tiny else 5000):
            try:
                x = rng.normal(0, 1, (n, d))
                x[n // 3] = x[n // 2]  # two in one place
                there, here = (sums(x) for sums in (device_direct_sums(bench.device, _kernel(text)), _here(text)))
                tally.add(f"{text}, {d}-D, N = {n}", {"sums": (there, here)})
            except Exception as error:  # the other cases are still wanted
                tally.fail(f"{text}, {d}-D, N = {n}", error)
    tally.tell(bench, "pair sums, rational kernels")
    for text, arithmetic, fast in (
        (SINGULAR, "float64", False), ("exp(-r)", "float64", False), (CUBIC, "float32", False),
        (SINGULAR, "float32", True),
    ):  # fmt: skip
        what = f"pair sums of {text}, {arithmetic}{', fast' if fast else ''}"
        with bench.case(what):
            error = _error(bench, rng.normal(0, 1, (300 if bench.tiny else 4000, 2)), text, arithmetic, fast)
            state = DONE if error <= _NEAR[arithmetic] else FAILED
            bench.row(what, error, "of the largest", bar=_NEAR[arithmetic], most=True, state=state)


def _here(text: str) -> Any:
    return direct_sums(_kernel(text))


def _error(bench: Bench, x: Any, text: str, arithmetic: str, fast: bool) -> float:
    """Return the largest error of the sums of positions (n, d), rounded to ``arithmetic`` first, over the largest."""
    kept = x.astype(arithmetic)
    direct = DeviceDirect(bench.device, _kernel(text), x.shape[1], arithmetic, arithmetic, fast)
    there, out = bench.device.array(kept), bench.device.zeros(x.shape, np.float64)
    direct.add(there, there, out)
    exact = _here(text)(kept.astype(np.float64))
    return float(np.abs(bench.device.to_host(out) - exact).max() / np.abs(exact).max())


def measure(bench: Bench) -> None:
    """Measure pairs a second with a million sources; fewer targets where all would take long."""
    sources = 2000 if bench.tiny else 10**6
    for text, d, arithmetic, fast, targets in SUMS:
        what = f"{text}, {d}-D {arithmetic}{', fast' if fast else ''}"
        with bench.case(what):
            if bench.late(what, 3.0):
                continue
            n = min(targets, sources)
            rng = np.random.default_rng(1)
            y = bench.device.array(rng.normal(0, 1, (sources, d)).astype(arithmetic))
            direct = DeviceDirect(bench.device, _kernel(text), d, arithmetic, arithmetic, fast)
            out = bench.device.zeros((n, d), np.float64)
            seconds = bench.timed(partial(direct.add, y[:n], y, out, 0.0), 3)
            rate, bound = n * sources / seconds, BOUNDS.get((text, d)) if fast else None
            bar = bound / 2 if bound and d == 2 else None
            note = f"{n:.0e} x {sources:.0e} in {seconds:.3g} s" + (f", at best {bound:.2g}" if bound else "")
            bench.row(what, rate, "pairs/s", bar=bar, share=rate / bound if bound else None, note=note)
