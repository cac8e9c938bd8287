"""How many workers step one replica together, and what each of them needs."""

from __future__ import annotations

from ipsdist.config import RunConfig
from ipsdist.model.setup import Setup
from ipsdist.runtime.epochs import Capacity
from ipsdist.stages.blocks import slice_blocks, slice_bytes
from ipsdist.stages.initial import chunk_of, precision_of
from ipsdist.stages.parts import CHUNK_BYTES, parts_of
from ipsdist.stages.tracks import keeps_positions

__all__ = ["PROCESS_BYTES", "USABLE", "fewest_members", "gang_size", "member_bytes", "most_members"]

PROCESS_BYTES = 250_000_000
"""What a worker process takes before it has any particles: Python, NumPy, Numba, Zarr, Dask."""
USABLE = 0.94
"""Share of a worker's memory that may be used: at 0.95 Dask ends it."""
_WORTH = 2**16
"""Coordinates of a member above which the exchange of a step costs little beside the step."""
_LARGEST = 2**16


def member_bytes(config: RunConfig, setup: Setup, members: int) -> int:
    """Return an upper bound of the memory that the arrays of one member of a gang take (1: of a task of its own)."""
    width = precision_of(config).itemsize * setup.dimension
    rows = min(parts_of(config, setup, members).rows, setup.particles)
    # Positions now; with labels, those at the last slice and at the one before.
    positions = (3 if setup.labelled else 1) * rows * width
    chunk = min(rows, chunk_of(config)) * 8 * setup.dimension
    passing = 2 * min(rows * width, CHUNK_BYTES)
    slices = min(len(slice_blocks(setup.slices, setup.dimension)[0]), setup.slices)
    block = 2 * slices * slice_bytes(setup)
    if setup.force not in (None, "mesh"):
        positions += 4 * 8 * rows * setup.dimension
    if keeps_positions(config, setup):
        block += 2 * slices * rows * width
    return positions + chunk + passing + block


def gang_size(config: RunConfig, setup: Setup, capacity: Capacity, wanted: int | None = None) -> int:
    """Return how many workers step a replica together; 1 for one task a replica.

    A gang where a replica does not fit one worker, or where there are fewer replicas than members with at least 2**16
    coordinates each: gangs take turns, while tasks of one worker each are done side by side. ``wanted`` (``gang.size``
    in numbers) decides instead: 1 is never a gang. At most as many as there are workers; what does not fit them either
    is for the plan to refuse.
    """
    if not _divisible(config, setup):
        return 1
    if wanted is not None:
        return min(wanted, capacity.workers)
    fewest = fewest_members(config, setup, capacity.memory)
    worth = min(capacity.workers, most_members(config, setup))
    if fewest is None or fewest > 1:
        return min(capacity.workers, max(worth, fewest or 1))
    return worth if setup.replicas < worth else 1


def most_members(config: RunConfig, setup: Setup) -> int:
    """Return the number of members beyond which there is nothing to gain."""
    return max(1, setup.particles * setup.dimension // _WORTH) if _divisible(config, setup) else 1


def _divisible(config: RunConfig, setup: Setup) -> bool:
    """Tell whether particles meet on the mesh alone: exact forces and direct sums need all positions at once."""
    return config.data.source == "simulate" and setup.force == "mesh" and not keeps_positions(config, setup)


def fewest_members(config: RunConfig, setup: Setup, memory: int | None) -> int | None:
    """Return the smallest number of members that fit workers of ``memory`` bytes; None where no number does."""
    if memory is None:
        return 1
    most = _LARGEST if _divisible(config, setup) else 1
    room = USABLE * memory - PROCESS_BYTES
    if member_bytes(config, setup, most) > room:
        return None
    low, high = 1, most
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if member_bytes(config, setup, middle) <= room else (middle + 1, high)
    return low
