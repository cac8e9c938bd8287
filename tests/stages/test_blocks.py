"""Blocks of deposits in the store: what goes in comes out."""

from __future__ import annotations

import numpy as np
import pytest

from ipsdist.model.deposits import Deposits
from ipsdist.model.mesh import Mesh
from ipsdist.stages.blocks import Block, load_block, save_block
from ipsdist.storage import Store


@pytest.mark.parametrize("move", [0, 2**62 + 1, 2**63, 10**30])
def test_sums_of_squares_of_any_size(tmp_path, move):
    """1e8 particles that move 300 spacings have a sum of squares beyond int64: a float keeps it."""
    store, mesh = Store.create(tmp_path / "s.zarr", {}), Mesh(0.5, (0,), (3,))
    count, products, flux = np.array([1, 2, 3]), np.array([[4, 5, 6]]), np.array([[7, 8, 9]])
    first, last = Deposits(mesh, 10, count, products, flux, move), Deposits(mesh, 10, count, products)
    save_block(store, 0, Block(0, 0, 2), [first, last], "f", [1.0, np.nan])
    found = load_block(store, 0, Block(0, 0, 2))
    assert found[0].squared_move == (move if move < 2**63 else pytest.approx(move, rel=2**-52))
    assert found[1].squared_move is None
    assert np.array_equal(found[0].flux, flux)
