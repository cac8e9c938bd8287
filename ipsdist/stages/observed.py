"""Slices while a replica is stepped: each member deposits its part, the gang adds them, the first writes the blocks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce

import numpy as np
import numpy.typing as npt

from ipsdist.model.deposits import MOVE_ONE, Deposits, move_one
from ipsdist.model.mesh import Mesh
from ipsdist.model.setup import Setup
from ipsdist.model.together import Together
from ipsdist.model.unknowns import AXES
from ipsdist.numerics.densities.deposit import check_moves, total_of
from ipsdist.numerics.particles.cloud import Cloud
from ipsdist.numerics.particles.stepping import State
from ipsdist.stages.base import Task, check_owner
from ipsdist.stages.blocks import Block, block_group, common_mesh, save_block, slice_blocks
from ipsdist.stages.tracks import keeps_positions
from ipsdist.storage import Store

__all__ = ["EARLIER", "LAST", "Observed"]

Integers = npt.NDArray[np.int64]
Positions = npt.NDArray[np.float64] | npt.NDArray[np.float32]

LAST, EARLIER = "positions_last", "positions_earlier"
"""Positions at the last slice, and at the one before it."""
_TOGETHER_BYTES = 2**20
"""Deposits wait until there are so many: one long exchange costs less than many short ones."""


@dataclass
class _Slice:
    """Deposits of one slice. Sums of squares lie in pairs, low 32 bits and the rest: to the next slice, two apart."""

    mesh: Mesh
    count: Integers
    products: Integers
    flux: Integers | None
    squares: Integers

    def on(self, mesh: Mesh) -> _Slice:
        if mesh == self.mesh:
            return self
        wide = Deposits(self.mesh, 0, self.count, self.products, self.flux).on(mesh)
        return _Slice(mesh, wide.count, wide.products, wide.flux, self.squares)


class Observed:
    """Takes the slices of one member's part one after the other, in step with the other members.

    Only the slices of the block at hand are held, and with labels two arrays of positions: of the last slice, and of
    the one before it where the same block has it. What would need more stays unknown: the squared move from the last
    slice of a block to the one after the next.
    """

    def __init__(self, store: Store, task: Task, setup: Setup, number: int = 0) -> None:
        """Begin with slice ``number``; `load` gives back what was there before it."""
        self._store, self._task, self._setup = store, task, setup
        self._replica = task.index[0]
        self._blocks = slice_blocks(setup.slices, setup.dimension)
        self.number = number
        """Of the next slice."""
        self._block = next(b for b in self._blocks if number == 0 or b.first < number <= b.stop)
        self._slices: list[_Slice] = []
        self._waiting: list[Integers] = []
        self._last: Cloud | None = None
        self._earlier: Cloud | None = None
        self._unit = move_one(setup.particles)
        self._track: list[Positions] | None = [] if keeps_positions(task.config, setup) else None

    def see(self, state: State, together: Together) -> None:
        """Take the slice that ``state`` is at; write its block when it is complete."""
        number, self.number = self.number, self.number + 1
        cloud, final = state.cloud, number == self._setup.slices - 1
        if self._slices and self._setup.labelled:
            self._move(state, together)
        if number == self._block.stop:
            self._finish(together)
            self._block = self._blocks[self._block.number + 1]
        if self._track is not None:
            self._track.append(state.positions.copy())
        # Counts are there already, those of all members.
        products, squares = cloud.deposits(state.mesh)[1], np.zeros(4, dtype=np.int64)
        here = _Slice(state.mesh, state.count.copy(), products, None, squares)
        self._slices.append(here)
        self._later(together, here.products)
        if final:
            self._finish(together)
        elif self._setup.labelled:
            self._remember(cloud)

    def settle(self, together: Together) -> None:
        """Add what the members have deposited since the last time."""
        if self._waiting:
            whole, at = together.add(np.concatenate([a.reshape(-1) for a in self._waiting])), 0
            for part in self._waiting:
                part[...] = whole[at : at + part.size].reshape(part.shape)
                at += part.size
            self._waiting = []

    # --- between epochs -----------------------------------------------------------------------------------------------

    @property
    def held(self) -> dict[str, Cloud | None]:
        """The particles that are held beside those at hand, by the name that a checkpoint gives them."""
        return {LAST: self._last, EARLIER: self._earlier}

    def save(self, group: str) -> None:
        """Write what is there of the block at hand, settled, into a group; the first member does."""
        mesh = reduce(common_mesh, (s.mesh for s in self._slices))
        on = [s.on(mesh) for s in self._slices]
        axes = AXES[: mesh.dimension]
        write = self._store.write
        write(f"{group}/mesh", np.array([*mesh.lower, *mesh.shape], dtype=np.int64), ("lower_then_shape",))
        write(f"{group}/count", np.stack([s.count for s in on]), ("slice", *axes))
        write(f"{group}/products", np.stack([s.products for s in on]), ("slice", "offset", *axes))
        write(f"{group}/squares", np.stack([s.squares for s in on]), ("slice", "low_then_high"))
        flux = [s.flux for s in on if s.flux is not None]
        if flux:
            write(f"{group}/flux", np.stack(flux), ("slice", "space", *axes))
        if self._track:
            write(f"{group}/track", np.stack(self._track), ("slice", "particle", "space"), compress=False)

    def load(self, group: str, held: Mapping[str, Cloud]) -> None:
        """Take back what `save` wrote and `held` named; the clouds belong to this object from then on."""
        read, exists = self._store.read, self._store.exists
        corner = [int(k) for k in read(f"{group}/mesh")]
        d = len(corner) // 2
        mesh = Mesh(self._setup.spacing, tuple(corner[:d]), tuple(corner[d:]))
        flux = list(read(f"{group}/flux")) if exists(f"{group}/flux") else []
        count, products, squares = (read(f"{group}/{name}") for name in ("count", "products", "squares"))
        flux += [None] * (len(count) - len(flux))
        self._slices = [_Slice(mesh, *one) for one in zip(count, products, flux, squares.copy(), strict=True)]
        if self._track is not None:
            self._track = list(read(f"{group}/track"))
        self._last, self._earlier = held.get(LAST), held.get(EARLIER)

    # --- within a block -----------------------------------------------------------------------------------------------

    def _move(self, state: State, together: Together) -> None:
        """Deposit the displacements to the slice at hand: from the last slice with their flux, and from before it."""
        assert self._last is not None
        last = self._slices[-1]
        if last.mesh != state.mesh:
            self.settle(together)
            last = self._slices[-1] = last.on(state.mesh)
        last.flux, last.squares[:2], reach = self._last.moves(state.cloud, state.mesh, self._unit)
        check_moves(reach, int(last.count.max()), self._unit)
        self._later(together, last.flux, last.squares[:2])
        if len(self._slices) > 1:
            assert self._earlier is not None
            before = self._slices[-2]
            before.squares[2:], reach = self._earlier.squares(state.cloud, state.mesh)
            check_moves(reach)
            self._later(together, before.squares[2:])

    def _later(self, together: Together, *parts: Integers) -> None:
        if together.size > 1:
            self._waiting += parts
            if sum(a.nbytes for a in self._waiting) > _TOGETHER_BYTES:
                self.settle(together)

    def _remember(self, cloud: Cloud) -> None:
        """Keep a copy of the particles of the slice at hand, in memory that is not needed any more."""
        free, self._earlier = self._earlier, self._last
        self._last = cloud.copy(free)

    def _finish(self, together: Together) -> None:
        """Write the block, whose slices are all there; the first member does."""
        self.settle(together)
        if together.rank == 0:
            check_owner(self._store, self._task)
            self._write(self._block)
        self._slices = []
        if self._track is not None:
            self._track = []

    def _write(self, block: Block) -> None:
        if self._track:
            name = f"{block_group(self._replica, block)}/positions"
            dims = "slice", "particle", "space"
            self._store.write(name, np.stack(self._track), dims=dims, units="length", compress=False)
        unit = self._setup.spacing**2 / MOVE_ONE
        deposits, apart = [], []
        for k, s in enumerate(self._slices):
            move = None if s.flux is None else total_of(s.squares[:2])
            deposits.append(
                Deposits(s.mesh, self._setup.particles, s.count, s.products, s.flux, move, move_one=self._unit)
            )
            known = self._setup.labelled and block.first + k + 2 <= min(block.stop, self._setup.slices - 1)
            apart.append(total_of(s.squares[2:]) * unit if known else float("nan"))
        save_block(self._store, self._replica, block, deposits, self._task.fingerprint, apart)
