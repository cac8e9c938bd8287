"""Part ring of gpu.py: what NCCL needs to add the counts of a gang, over all cards that this process sees."""

from __future__ import annotations

import contextlib
import os
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from _gpu_bench import DONE, FAILED, Bench, differing

WORDS = (2**14, 2**24)
"""Nodes of a mesh on a line, and of a large one in space."""
_MOST = 8


def add(bench: Bench) -> None:
    """Make a ring of all cards, of one where there is one; compare its sums with NumPy's and measure them."""
    devices = _devices(bench)
    if not devices[0].can_ring:
        bench.row(
            "a ring of the cards", note='NCCL is not installed: pip install "nvidia-nccl-cu13>=2.27.7,<3" (or cu12)'
        )
        return
    os.environ.setdefault("NCCL_SOCKET_IFNAME", "lo")  # nothing of it is for others
    size, name = len(devices), devices[0].ring_id()
    if name is None:
        bench.row("a ring of the cards", state=FAILED, note="NCCL gives it no name")
        return
    with ThreadPoolExecutor(size) as pool:
        begun = time.perf_counter()
        rings = list(pool.map(lambda k: devices[k].ring(name, k, size), range(size)))
        seconds = time.perf_counter() - begun
        what = "a ring of one: the calls alone" if size == 1 else f"a ring of {size} cards"
        bench.row(f"{what}, made", seconds, "s")
        for words in (64, 2**12) if bench.tiny else WORDS:
            with bench.case(f"{words} counts"):
                _sum(bench, pool, devices, rings, words)
        for ring in rings:
            ring.check()
            ring.close()


def _devices(bench: Bench) -> list[Any]:
    """Return the devices that this process sees."""
    if bench.rehearse:
        from tests.rings import Nccl, RingDevice

        nccl = Nccl()
        return [RingDevice(nccl), RingDevice(nccl)]
    from ipsdist.arrays import NoDeviceError, find_device

    found = [bench.device]
    with contextlib.suppress(NoDeviceError):
        for number in range(1, _MOST):
            found.append(find_device(number))  # noqa: PERF401  those before the first that is missing are kept
    return found


def _sum(bench: Bench, pool: ThreadPoolExecutor, devices: list[Any], rings: list[Any], words: int) -> None:
    """Compare one sum, and measure a sum with its way to the host beside the way alone."""
    size = len(devices)
    parts = [np.arange(words, dtype=np.uint64) * np.uint64(2**40 + k) for k in range(size)]
    there = [device.array(part) for device, part in zip(devices, parts, strict=True)]
    host = [np.empty(words, dtype=np.uint64) for _ in devices]

    def one(rank: int, summed: bool) -> None:
        if summed:
            rings[rank].add(there[rank])
        devices[rank].to_host(there[rank], out=host[rank])
        rings[rank].check()

    def all_of_them(summed: bool) -> None:
        list(pool.map(one, range(size), [summed] * size))

    all_of_them(True)
    expected = np.sum(parts, axis=0, dtype=np.uint64)
    wrong = sum(differing(found, expected) for found in host)
    seconds, alone = (bench.timed(lambda summed=summed: all_of_them(summed), 5) for summed in (True, False))
    note = f"{wrong} wrong sums; without the sum {1e6 * alone:.3g} us"
    bench.row(
        f"{words} counts added and brought to the host", 1e6 * seconds, "us", state=FAILED if wrong else DONE, note=note
    )
