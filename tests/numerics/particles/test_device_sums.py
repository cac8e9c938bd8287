"""Lines of sums in shared memory: they fit it, in as few passes as can be."""

from hypothesis import given
from hypothesis import strategies as st

from ipsdist.numerics.particles.device_pieces import STATIC_BYTES
from ipsdist.numerics.particles.device_sums import line_grid
from tests.host_device import HostDevice


@given(
    nodes=st.integers(2, 10**5), lines=st.integers(1, 14), words=st.integers(1, 2), shared=st.integers(0, 228 * 1024)
)
def test_lines_fit(nodes, lines, words, shared):
    """Every line goes through shared memory once, or none does; blocks and their threads fit a multiprocessor."""
    grid, line = line_grid(HostDevice(shared_bytes=shared), nodes, lines, words), 4 * words * nodes
    most = (shared - STATIC_BYTES) // line
    if most < 1:
        assert grid is None
        return
    seen = [k for first, number in grid.passes for k in range(first, first + number)]
    assert seen == list(range(lines))
    assert len(grid.passes) == -(-lines // most)
    assert grid.shared == line * max(number for _, number in grid.passes)
    assert grid.resident * (grid.shared + STATIC_BYTES + 1024) <= shared + 1024
    assert grid.threads * grid.resident == 1024


def test_grids_of_an_h200():
    """A line of 1024 nodes at once; a plane of 128 by 128 in two passes, and its flux in one an axis; space in none."""
    device = HostDevice()
    assert line_grid(device, 1024, 2, 1).passes == ((0, 2),)
    assert line_grid(device, 128**2, 5, 1).passes == ((0, 3), (3, 2))
    assert line_grid(device, 128**2, 2, 2).passes == ((0, 1), (1, 1))
    assert line_grid(device, 64**3, 14, 1) is None
