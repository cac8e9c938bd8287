"""Sums at the nodes that a slice leaves: launched so that counters lie in shared memory, as far as that goes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ipsdist.arrays import Device, DeviceArray
from ipsdist.numerics.particles.device_pieces import GROUP, STATIC_BYTES, Launcher, crew

__all__ = ["LineGrid", "NodeSums", "line_grid"]


@dataclass(frozen=True)
class LineGrid:
    """How lines of sums, one number a node, go through the shared memory of the blocks."""

    passes: tuple[tuple[int, int], ...]
    """First line and number of lines of every launch: each goes over all particles."""
    threads: int
    resident: int
    """Blocks that a multiprocessor holds at a time; there are no more of them."""
    shared: int
    """Bytes of shared memory of a block."""


def line_grid(device: Device, nodes: int, lines: int, words: int) -> LineGrid | None:
    """Return how so many lines, of ``words`` words a node, are summed near; None where not one fits.

    As few passes as can be, then as little memory. A pass reads all positions and finds their weights once more: some
    70 instructions and d numbers a particle, against the one to 28 additions of a line in global memory that it saves.
    """
    line = 4 * words * nodes
    most = max(0, device.shared_bytes - STATIC_BYTES) // line
    if not most:
        return None
    each = -(-lines // -(-lines // most))
    passes = tuple((first, min(each, lines - first)) for first in range(0, lines, each))
    return LineGrid(passes, *crew(device, each * line), each * line)


class NodeSums:
    """Launches of `deposit` or `flux` for one mesh of so many nodes."""

    def __init__(self, launcher: Launcher, name: str, nodes: int, lines: int, words: int) -> None:
        self._launcher, self._name = launcher, name
        self._grid = line_grid(launcher.device, nodes, lines, words)

    def add(self, given: Sequence[Any], sums: Sequence[DeviceArray]) -> None:
        """Add what a piece leaves: ``given`` begins with its positions (n, d), ``sums`` are what receives it."""
        n, d = given[0].shape
        groups, grid = -(-n // GROUP[d]), self._grid
        if grid is None:
            self._launcher.launch(self._name, groups, (*given, *sums))
            return
        for first, number in grid.passes:
            arguments = (*given, np.uint32(first), np.uint32(number), *sums)
            self._launcher.launch(f"{self._name}_near", groups, arguments, grid.threads, grid.resident, grid.shared)
