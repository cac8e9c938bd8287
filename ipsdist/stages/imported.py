"""Imported particles: the deposits of a block of slices that others made."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from ipsdist.model.deposits import Deposits, move_one
from ipsdist.model.mesh import Mesh
from ipsdist.model.setup import Setup
from ipsdist.numerics.densities.deposit import deposit, deposit_flux
from ipsdist.stages.base import Payload, Task, setup_of
from ipsdist.stages.blocks import Block, save_block, slice_blocks
from ipsdist.stages.tracks import POSITIONS, read_ragged
from ipsdist.storage import Store

__all__ = ["read_block"]

Positions = npt.NDArray[np.float64]


def read_block(store: Store, task: Task) -> Payload:
    """Deposit one block of imported slices; with labels, the displacements to the next slice and to the one after."""
    setup, (number,) = setup_of(store), task.index
    block = slice_blocks(setup.slices, setup.dimension)[number]
    if setup.ragged:
        return _read_ragged(store, block, task.fingerprint)
    at = _Window(store, setup)
    corners = [(at(k).min(axis=0), at(k).max(axis=0)) for k in range(block.first, block.stop)]
    lowest, highest = (np.stack(c) for c in zip(*corners, strict=True))
    mesh = Mesh.around(lowest.min(axis=0), highest.max(axis=0), setup.spacing)
    deposits: list[Deposits] = []
    two_apart: list[float] = []
    for k in range(block.first, block.stop):
        here = deposit(at(k), mesh)
        if setup.labelled and k + 1 < setup.slices:
            flux, squared = deposit_flux(at(k), at(k + 1), mesh)
            here = replace(here, flux=flux, squared_move=squared, move_one=move_one(len(at(k))))
        known = setup.labelled and k + 2 < setup.slices
        two_apart.append(float(np.sum((at(k + 2) - at(k)) ** 2)) if known else float("nan"))
        deposits.append(here)
    save_block(store, 0, block, deposits, task.fingerprint, two_apart)
    return {}


def _read_ragged(store: Store, block: Block, fingerprint: str) -> Payload:
    """Deposit one block of slices in which particles come and go; their displacements are read where they are used."""
    tracks = read_ragged(store, block.first, block.stop)
    mesh = Mesh.around(tracks.positions.min(axis=0), tracks.positions.max(axis=0), setup_of(store).spacing)
    deposits = [deposit(tracks.slice(k)[1], mesh) for k in range(len(block))]
    save_block(store, 0, block, deposits, fingerprint)
    return {}


class _Window:
    """Reads imported slices a few at a time: small ones lie many to a chunk."""

    _BYTES = 2**22

    def __init__(self, store: Store, setup: Setup) -> None:
        self._store, self._slices = store, setup.slices
        self._batch = max(3, self._BYTES // (8 * setup.particles * setup.dimension))
        self._held: dict[int, Positions] = {}

    def __call__(self, number: int) -> Positions:
        if number not in self._held:
            stop = min(number + self._batch, self._slices)
            kept = {k: x for k, x in self._held.items() if number - 2 <= k < number}
            read = self._store.read(POSITIONS, slice(number, stop))
            self._held = kept | dict(zip(range(number, stop), read, strict=True))
        return self._held[number]
