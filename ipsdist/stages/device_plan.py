"""How the particles of a part lie on a device: all of them or in pieces, and what is said where there is no room."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ipsdist.arrays import Device
from ipsdist.config import RunConfig
from ipsdist.model.errors import RunError
from ipsdist.model.setup import Setup
from ipsdist.model.words import size
from ipsdist.numerics.particles.device_pieces import PITCH
from ipsdist.numerics.particles.noise import LANES
from ipsdist.stages.blocks import expected_nodes, slice_bytes
from ipsdist.stages.devices import sums_on_card
from ipsdist.stages.gang_size import member_bytes
from ipsdist.stages.initial import chunk_of, precision_of
from ipsdist.stages.parts import parts_of

__all__ = ["DevicePlan", "device_plan", "fits", "host_bytes", "largest_chunk", "stepping_remedy"]

_MARGIN = 0.05
"""Share of the free memory of a device that is left alone: what a pool rounds up, and what others take."""
_PIECE_BYTES = 2**26
"""Positions of a piece where nobody asks for another: it takes a millisecond to be copied, far more than a launch."""
_BUFFERS = 2
"""Pieces on a device through which the particles of one cloud pass: before a move, and after it."""
_ROUNDED = 512
"""A pool hands out multiples of so many bytes."""
_SMALL = 2**16
"""The table of the normals, sums, and what else does not grow."""
_GROWN = 2
"""The force mesh grows with the particles; by the box of the densities it is at most so much longer on each axis."""


@dataclass(frozen=True)
class DevicePlan:
    """How the particles of a part lie on a device."""

    resident: bool
    """All of them lie there, with the copies that labels take; else on the host, and pass through it in pieces."""
    chunk: int
    """Particles that come from the host at a time, a multiple of 4."""
    bytes: int
    """Upper bound of the memory that they take on the device."""

    def suits(self, free: int) -> bool:
        """Tell whether a device with so many free bytes has room for it."""
        return self.bytes <= _usable(free)


def device_plan(free: int, config: RunConfig, setup: Setup, members: int) -> DevicePlan:
    """Return how the part of one of ``members`` lies on a device with ``free`` bytes: resident if it can.

    Where not even pieces fit, the plan says what they would take (`DevicePlan.suits`).
    """
    width, fixed = _width(config, setup), _mesh_bytes(config, setup)
    rows = min(parts_of(config, setup, members).rows, setup.particles)
    chunk = _chunk(config, width, rows)
    sums = _rounded(8 * setup.dimension * rows) if sums_on_card(config) else 0
    plan = DevicePlan(True, chunk, _clouds(setup) * _rounded(rows * width) + fixed + sums)
    if plan.suits(free) or sums:  # direct sums need all at once
        return plan
    if config.run.chunk == "auto":
        chunk = min(chunk, max(LANES, largest_chunk(free, config, setup)))
    return DevicePlan(False, chunk, _BUFFERS * _clouds(setup) * _rounded(chunk * width) + fixed)


def largest_chunk(free: int, config: RunConfig, setup: Setup) -> int:
    """Return the largest ``run.chunk`` whose pieces pass through a device with ``free`` bytes; 0 for none."""
    room = max(0, int(_usable(free)) - _mesh_bytes(config, setup)) // (_BUFFERS * _clouds(setup)) // _ROUNDED * _ROUNDED
    return room // _width(config, setup) // LANES * LANES


def fits(device: Device, config: RunConfig, setup: Setup, members: int) -> DevicePlan:
    """Return how the part of one of ``members`` lies on a device, by what is free there now.

    Raises RunError, with both numbers and the chunk that would fit, where it does not.
    """
    free = device.free_bytes()
    plan = device_plan(free, config, setup, members)
    if plan.suits(free):
        return plan
    what = f"{size(plan.bytes)} are needed on {device.name} to step the particles, and {size(free)} are free"
    raise RunError(f"{what}; {stepping_remedy(config, setup)(free)}")


def host_bytes(config: RunConfig, setup: Setup, members: int, plan: DevicePlan) -> int:
    """Return an upper bound of what the arrays of a member take in the memory of its process, with this plan."""
    whole = member_bytes(config, setup, members)
    if not plan.resident:
        return whole
    rows = min(parts_of(config, setup, members).rows, setup.particles)
    # A piece at a time comes from the host, drawn in float64 and rounded.
    piece = min(rows, plan.chunk) * (8 * setup.dimension + _width(config, setup))
    return whole - _clouds(setup) * rows * _width(config, setup) + piece


def stepping_remedy(config: RunConfig, setup: Setup) -> Callable[[int], str]:
    """Return what would let the particles be stepped with so many free bytes of a device."""

    def remedy(free: int) -> str:
        chunk = 0 if sums_on_card(config) else largest_chunk(free, config, setup)
        if chunk and (config.run.chunk == "auto" or chunk < chunk_of(config)):
            return f"run.chunk = {chunk} would fit"
        return 'run.device = "cpu" needs none'

    return remedy


def _usable(free: int) -> float:
    return (1.0 - _MARGIN) * free


def _width(config: RunConfig, setup: Setup) -> int:
    return precision_of(config).itemsize * setup.dimension


def _chunk(config: RunConfig, width: int, rows: int) -> int:
    most = max(LANES, rows + -rows % LANES)
    wanted = _PIECE_BYTES // width // LANES * LANES if config.run.chunk == "auto" else chunk_of(config)
    return min(most, wanted)


def _clouds(setup: Setup) -> int:
    """Return how many positions of a particle are held: with labels, at the last slice and at the one before too."""
    return 3 if setup.labelled else 1


def _rounded(count: int) -> int:
    return count + -count % _ROUNDED


def _mesh_bytes(config: RunConfig, setup: Setup) -> int:
    """Return what a step and the deposits of a slice take on a device: drift, counts and their zeros; count to flux.

    Where it transforms the mesh too: spectra of the force, their products, and what a transform works in.
    """
    d, nodes = setup.dimension, expected_nodes(setup)
    # In the plane and in space the drift may lie there twice, as it comes and node by node, padded to 2 or 4 numbers.
    step = 8 * (d + 2 + PITCH.get(d, 0)) * nodes
    if config.force.device == "gpu":
        step += (3 * d + 2) * 8 * (1 << d) * nodes
    return _SMALL + int(_GROWN**d) * (step + slice_bytes(setup))
