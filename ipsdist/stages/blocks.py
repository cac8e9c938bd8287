"""Blocks of slices, and the deposits of a block in the store: the hand-over from particles to everything after."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any

import numpy as np

from ipsdist.model.deposits import MOVE_ONE, Deposits, neighbour_offsets
from ipsdist.model.errors import RunError
from ipsdist.model.mesh import Mesh
from ipsdist.model.setup import Setup
from ipsdist.model.unknowns import AXES
from ipsdist.storage import Store

__all__ = [
    "TWO_APART",
    "Block",
    "block_group",
    "block_mesh",
    "block_record",
    "common_mesh",
    "expected_nodes",
    "load_block",
    "save_block",
    "slice_blocks",
    "slice_bytes",
    "whole_mesh",
]

TWO_APART = "squared_move_two_apart"
_LENGTH = {1: 64, 2: 16, 3: 2}


@dataclass(frozen=True)
class Block:
    """Slices first .. stop - 1, written and committed together."""

    number: int
    first: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.first


def slice_blocks(slices: int, dimension: int) -> list[Block]:
    """Cut the slices into blocks, by nothing but their number and the dimension, so that no bit depends on the cut."""
    length = _LENGTH[dimension]
    return [Block(k, a, min(a + length, slices)) for k, a in enumerate(range(0, slices, length))]


def expected_nodes(setup: Setup) -> int:
    """Return about how many nodes the force mesh has: those of the density grid's box."""
    sides = zip(setup.grid.lower, setup.grid.upper, strict=True)
    return math.prod(math.ceil((b - a) / setup.spacing) + 1 for a, b in sides)


def slice_bytes(setup: Setup) -> int:
    """Return about how many bytes the deposits of one slice take."""
    arrays = 1 + len(neighbour_offsets(setup.dimension)) + (setup.dimension if setup.labelled else 0)
    return 8 * arrays * expected_nodes(setup)


def block_group(replica: int, block: Block) -> str:
    """Return the group of a block's deposits in the store."""
    return f"particles/replica-{replica}/block-{block.number}"


def block_record(replica: int, block: Block) -> str:
    """Return the name of a block's commit record."""
    return f"particles/replica-{replica}.block-{block.number}"


def save_block(
    store: Store,
    replica: int,
    block: Block,
    deposits: Sequence[Deposits],
    fingerprint: str,
    two_apart: Sequence[float] = (),
) -> None:
    """Write the deposits of a block (one per slice) on their common mesh, and commit its record, which places it.

    ``two_apart`` are the sums of squared displacements to the slice after the next, NaN where unknown.
    """
    mesh = reduce(common_mesh, (d.mesh for d in deposits))
    on = [d.on(mesh) for d in deposits]
    group = block_group(replica, block)
    axes = AXES[: mesh.dimension]
    store.write(f"{group}/count", np.stack([d.count for d in on]), dims=("slice", *axes), units="1")
    store.write(f"{group}/products", np.stack([d.products for d in on]), dims=("slice", "offset", *axes), units="1")
    if any(d.flux is not None for d in on):
        still = np.zeros((mesh.dimension, *mesh.shape), dtype=np.int64)
        flux = np.stack([still if d.flux is None else d.flux for d in on])
        sums = [-1 if d.squared_move is None else d.squared_move for d in on]
        # Many particles that move far: what no int64 holds is kept to 53 bits.
        moves = np.array(sums, dtype=np.int64 if max(sums) < 2**63 else np.float64)
        store.write(f"{group}/flux", flux, dims=("slice", "space", *axes), units=f"spacing/{deposits[0].flux_one}")
        store.write(f"{group}/squared_move", moves, dims=("slice",), units=f"spacing^2/{MOVE_ONE}")
        apart = np.array(two_apart, dtype=np.float64)
        store.write(f"{group}/{TWO_APART}", apart, dims=("slice",), units="length^2")
    placed = {"spacing": mesh.spacing, "lower": list(mesh.lower), "shape": list(mesh.shape)}
    counts = [d.particles for d in deposits]
    particles = counts[0] if len(set(counts)) == 1 else counts
    payload = {**placed, "particles": particles, "fingerprint": fingerprint}
    if deposits[0].worth != 1.0:
        payload["worth"] = deposits[0].worth
    if deposits[0].move_one != MOVE_ONE:
        payload["move_one"] = deposits[0].move_one
    store.commit(block_record(replica, block), payload)


def block_mesh(store: Store, replica: int, block: Block) -> Mesh:
    """Return the mesh of a block's deposits. Raises RunError when they were never committed."""
    placed = _placed(store, replica, block)
    return Mesh(placed["spacing"], tuple(placed["lower"]), tuple(placed["shape"]))


def whole_mesh(store: Store, setup: Setup) -> Mesh:
    """Return the smallest mesh that contains the particles of all replicas at all times. Raises as `block_mesh`."""
    blocks = slice_blocks(setup.slices, setup.dimension)
    return reduce(common_mesh, (block_mesh(store, r, b) for r in range(setup.replicas) for b in blocks))


def _placed(store: Store, replica: int, block: Block) -> dict[str, Any]:
    placed = store.record(block_record(replica, block))
    if placed is None:
        group = block_group(replica, block)
        raise RunError(f"the store lacks the record of {group}; run `ipsdist simulate` on its directory")
    return placed


def load_block(store: Store, replica: int, block: Block, *, flux: bool = True) -> list[Deposits]:
    """Read the deposits of a block, one per slice; ``flux=False`` leaves the displacements out."""
    group = block_group(replica, block)
    count, products = store.read(f"{group}/count"), store.read(f"{group}/products")
    mesh, placed = block_mesh(store, replica, block), _placed(store, replica, block)
    particles, worth, unit = placed["particles"], placed.get("worth", 1.0), placed.get("move_one", MOVE_ONE)
    counts = particles if isinstance(particles, list) else [particles] * len(count)
    each = zip(counts, count, products, strict=True)
    slices = [Deposits(mesh, n, c, p, worth=worth, move_one=unit) for n, c, p in each]
    if not flux or not store.exists(f"{group}/flux"):
        return slices
    moved = zip(slices, store.read(f"{group}/flux"), store.read(f"{group}/squared_move"), strict=True)
    return [s if move < 0 else replace(s, flux=f, squared_move=int(move)) for s, f, move in moved]


def common_mesh(a: Mesh, b: Mesh) -> Mesh:
    """Return the smallest mesh that contains both."""
    lower = tuple(min(p, q) for p, q in zip(a.lower, b.lower, strict=True))
    ends = [max(p + m, q + n) for p, m, q, n in zip(a.lower, a.shape, b.lower, b.shape, strict=True)]
    return Mesh(a.spacing, lower, tuple(e - p for e, p in zip(ends, lower, strict=True)))
