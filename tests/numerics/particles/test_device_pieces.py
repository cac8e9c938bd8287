"""Grids of steps and sizes of pieces: they fit the device, and use it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipsdist.arrays import DeviceMemoryError
from ipsdist.model.errors import RunError
from ipsdist.model.mesh import Mesh
from ipsdist.numerics.particles.device_pieces import STATIC_BYTES, mesh_arguments, piece_rows, step_grid
from ipsdist.numerics.particles.noise import NORMAL_TABLE
from tests.host_device import HostDevice

H200 = HostDevice()
"""227 KB of shared memory a block, as the H200 has."""


@given(
    nodes=st.integers(2, 10**5),
    dimension=st.integers(1, 3),
    itemsize=st.sampled_from([4, 8]),
    shared=st.integers(0, 228 * 1024),
)
def test_grids_fit(nodes, dimension, itemsize, shared):
    """Shared memory and threads are there for all blocks that are to be on a multiprocessor; what fits is used."""
    device = HostDevice(shared_bytes=shared)
    grid = step_grid(device, nodes, dimension, itemsize)
    held, field = grid.shared + NORMAL_TABLE.nbytes, 4 * nodes + dimension * nodes * itemsize
    assert grid.threads in (256, 512, 1024)
    wide = dimension == 3 and grid.packed
    assert grid.threads * grid.resident == (1024 if not wide else 512 if grid.counters else 768)
    assert not (grid.field and grid.packed)
    assert grid.packed or grid.field or dimension == 1 or (dimension, grid.counters, itemsize) == (2, True, 8)
    if grid.counters:
        assert grid.shared == (field if grid.field else 4 * nodes)
        assert grid.resident * (held + 1024) <= shared + 1024
        assert grid.field == (field + STATIC_BYTES <= shared)
    else:
        assert grid.shared == 0 == grid.field
        assert 4 * nodes + STATIC_BYTES > shared


@pytest.mark.parametrize(
    ("nodes", "dimension", "itemsize", "expected"),
    [
        (1024, 1, 4, (True, True, False, 256, 4)),
        (128**2, 2, 4, (True, True, False, 1024, 1)),
        (128**2, 2, 8, (True, False, False, 512, 2)),
        (150**2, 2, 4, (True, False, True, 512, 2)),
        (300**2, 2, 8, (False, False, True, 256, 4)),
        (24**3, 3, 4, (True, True, False, 1024, 1)),
        (30**3, 3, 4, (True, False, True, 512, 1)),
        (64**3, 3, 4, (False, False, True, 256, 3)),
    ],
)
def test_grids_of_an_h200(nodes, dimension, itemsize, expected):
    """A line and a plane keep counters and drift near the cores, and enough threads to hide what they wait for."""
    grid = step_grid(H200, nodes, dimension, itemsize)
    assert (grid.counters, grid.field, grid.packed, grid.threads, grid.resident) == expected


def test_blocks():
    """As many as hold every group once, up to what the multiprocessors hold; one at least."""
    grid = step_grid(H200, 1024, 1, 4)
    assert [grid.blocks(groups, 132) for groups in (1, 256, 257, 5000, 10**9)] == [1, 1, 2, 20, 132 * 4]


@given(free=st.integers(0, 10**6), row=st.sampled_from([4, 8, 12, 16, 24]), chunk=st.integers(1, 10**5))
def test_pieces_fit(free, row, chunk):
    """Two pieces fit half of the memory, are whole Philox blocks and as large as asked for where they can be."""
    device = HostDevice(memory=free)
    if free < 16 * row:
        with pytest.raises(DeviceMemoryError):
            piece_rows(device, row, 4 * chunk)
        return
    rows = piece_rows(device, row, 4 * chunk)
    assert rows % 4 == 0
    assert 4 * rows * row <= free
    assert rows == 4 * chunk or 4 * (rows + 4) * row > free


@pytest.mark.parametrize("lower", [2**50, -(2**50) - 3, 2**50 - 10])
def test_meshes_far_from_0_are_refused(lower):
    """Kernels find cells by an addition that is exact within 2**50 of them."""
    mesh_arguments(Mesh(0.5, (2**50 - 11,), (10,)))
    with pytest.raises(
        RunError, match=r"^particles lie 1.13e\+15 mesh spacings from 0, too far for a GPU; shift them, or"
    ):
        mesh_arguments(Mesh(0.5, (0, lower), (10, 10)))
