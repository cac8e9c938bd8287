"""How much a run takes: what its stages leave in the store, and what its tasks and the driver hold in memory."""

from __future__ import annotations

import math

from ipsdist.config import RunConfig
from ipsdist.learning.network import network_installed
from ipsdist.model.setup import Setup
from ipsdist.numerics.equations.block_rule import gram_slices
from ipsdist.numerics.equations.test_functions import spline_tests
from ipsdist.stages.base import fitted_times
from ipsdist.stages.blocks import expected_nodes, slice_blocks, slice_bytes
from ipsdist.stages.breaks import hat_count
from ipsdist.stages.continuum import cell_bytes
from ipsdist.stages.initial import precision_of
from ipsdist.stages.radial import basis_on, has_radial
from ipsdist.stages.tracks import keeps_positions, sums_directly

__all__ = ["busy", "driver_bytes", "function_count", "passing_bytes", "step_traffic", "store_bytes", "test_count"]

_FIGURES = 90_000_000
_NETWORK = 500_000_000
"""JAX, and the road of neural networks."""
_DEPOSITS = {1: 0.40, 2: 0.18, 3: 0.06}
"""What is left of deposits by compression where particles are many: the corners of the box are empty."""
_BUSY, _IDLE = 0.67, 0.1
"""Nodes with particles to nodes that could hold one; below a tenth, compression gains no more."""
_SMOOTH, _HATS, _CELLS = 0.55, 0.13, 0.2
"""What is left of densities, of Grams over hats, and of solved densities, which seldom have all cells."""
_BLOCKS_A_TASK = 2.5
"""Blocks of panels to which the slices of a task belong."""
_INSERTED = 3.3
"""Gram of all parts of all terms in the search for break points, with its copies, in units of itself."""


def store_bytes(config: RunConfig, setup: Setup) -> dict[str, int]:
    """Return about how many bytes every stage leaves in the store, by its name."""
    slices, points = setup.slices, math.prod(n + 1 for n in setup.grid.cells)
    panels = len(fitted_times(config, setup)) // (2 if config.form == "action" else 1)
    columns = len(config.assembled()) + len(config.unknowns().fields)
    return {
        "particles": round(setup.replicas * (slices * deposit_bytes(setup) + _positions(config, setup))),
        "densities": round(_SMOOTH * 8 * slices * points),
        "equations": round(8 * setup.replicas * _equations(config, setup)),
        "kernel": round(8 * setup.replicas * panels * columns**2),
    }


def deposit_bytes(setup: Setup) -> float:
    """Return about how many bytes the deposits of one slice take when they are compressed."""
    return _DEPOSITS[setup.dimension] * busy(setup) * slice_bytes(setup)


def busy(setup: Setup) -> float:
    """Return the share of the nodes (of those that ever hold particles) that compression does not see empty."""
    held = _BUSY * setup.particles * (1 << setup.dimension) / expected_nodes(setup)
    return min(1.0, max(_IDLE, held))


def passing_bytes(config: RunConfig, setup: Setup) -> int:
    """Return the bytes of checkpoints that come and go while particles are stepped: two for every replica at work.

    With labels a checkpoint may hold the positions at the last slice and at the one before, too.
    """
    if config.data.source != "simulate":
        return 0
    return 2 * (3 if setup.labelled else 1) * _all_bytes(config, setup)


def _all_bytes(config: RunConfig, setup: Setup) -> int:
    """Return the bytes of the positions of one replica at one time."""
    return precision_of(config).itemsize * setup.dimension * setup.particles


def _positions(config: RunConfig, setup: Setup) -> float:
    """Return the bytes of the positions (of densities that are solved: of these) that one replica leaves."""
    if config.data.source == "mean_field":
        return _CELLS * cell_bytes(setup) * setup.slices
    if config.data.source == "import":
        return float(8 * setup.slices * setup.dimension * setup.particles)
    kept = len(config.time.positions_at) + (setup.slices if keeps_positions(config, setup) else 0)
    return float(kept * _all_bytes(config, setup))


def _equations(config: RunConfig, setup: Setup) -> float:
    """Return the numbers that the equations of one replica leave."""
    slices, columns = setup.slices, len(config.assembled()) + len(config.unknowns().fields)
    if config.form == "strong":
        drawn = config.fit.assembly == "drawn"
        return 0.0 if drawn else (columns**2 + columns) * len(fitted_times(config, setup)) / setup.replicas
    functions, tests = function_count(config, setup), test_count(config, setup)
    if sums_directly(config, setup):
        return _SMOOTH * slices * functions * (functions + 3)
    radial = (functions + tests) * (len(gram_slices(slices)) * (functions + tests) + 3 * slices) if functions else 0.0
    paired = slices * (columns + tests) * (columns + tests + 3)
    blocks = len(slice_blocks(slices, setup.dimension))
    return paired + radial + _HATS * blocks * _BLOCKS_A_TASK * hat_count(config, setup) ** 2


def function_count(config: RunConfig, setup: Setup) -> int:
    """Return about how many functions the radial basis has; 0 without one."""
    if not has_radial(config, setup):
        return 0
    sides = zip(setup.grid.lower, setup.grid.upper, strict=True)
    shape = [math.ceil((b - a) / setup.spacing) + 1 for a, b in sides]
    return len(basis_on(config, setup, shape))


def test_count(config: RunConfig, setup: Setup) -> int:
    """Return about how many test functions there are: of the weak form alone."""
    if config.form != "weak":
        return 0
    columns = len(config.assembled()) + len(config.unknowns().fields)
    return len(spline_tests(setup.grid.lower, setup.grid.upper, setup.particles, columns + 1))


def driver_bytes(config: RunConfig, setup: Setup) -> int:
    """Return about how many bytes the selection and the report take on the driver, the program itself left out."""
    hats, terms = hat_count(config, setup), len(config.terms())
    if not hats:
        # The length over which pairs in contact are counted comes from the distances of all pairs.
        looks = sums_directly(config, setup) and config.system.diffusion is None
        return max(_FIGURES, 8 * setup.particles**2 if looks else 0)
    network = config.fit.network != "off" and network_installed()
    inserted = _INSERTED * 8 * (hats * terms) ** 2
    systems = 8 * hats**2 * 10 * 2.0
    return round(max(_FIGURES, inserted + systems, _NETWORK if network else 0))


def step_traffic(setup: Setup, members: int) -> int:
    """Return the bytes that each worker of a gang sends to others in one step: the counts, summed over the gang."""
    if members < 2:
        return 0
    vector = 8 * (expected_nodes(setup) + 1)
    return round(vector * min(math.ceil(math.log2(members)), 2 * (members - 1) / members))
