"""The GPU of the process that steps: whether it is used, and how the particles of a part lie on it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from ipsdist.arrays import Device, DeviceMemoryError, NoDeviceError, find_device
from ipsdist.arrays.namespace import forget
from ipsdist.config import RunConfig
from ipsdist.model.errors import RunError
from ipsdist.model.setup import Setup
from ipsdist.model.words import size
from ipsdist.numerics.particles.device_pieces import PITCH
from ipsdist.numerics.particles.noise import LANES
from ipsdist.stages.base import Payload
from ipsdist.stages.blocks import expected_nodes, slice_bytes
from ipsdist.stages.gang_size import member_bytes
from ipsdist.stages.initial import chunk_of, precision_of
from ipsdist.stages.parts import parts_of
from ipsdist.stages.proving import REPORT, disproved, told, warn_once, was_disproved
from ipsdist.storage import Store

if TYPE_CHECKING:
    from ipsdist.numerics.particles.device_leap import Leaps

__all__ = [
    "DEVICE_FORCES", "Card", "DevicePlan", "card_here", "computes_on_card", "computing", "device_memory", "device_of",
    "device_plan", "fits", "host_bytes", "largest_chunk", "leaps_of", "name_devices", "refuted", "stepped_on",
    "stepping_remedy", "sums_on_card", "uses_device",
]  # fmt: skip

DEVICE_FORCES = ("auto", "mesh")
"""Values of force.method that a GPU steps by; the others stay on the CPU."""
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


_LEAPS: dict[int, Leaps] = {}


@dataclass(frozen=True)
class Card:
    """A GPU as its process found it: small, and told without a GPU."""

    name: str
    free: int
    """Bytes of its memory that were free."""


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


def uses_device(config: RunConfig) -> bool:
    """Tell whether the particles of a run are stepped on a GPU where there is one."""
    stepped = config.data.source == "simulate" and config.run.device != "cpu"
    return stepped and (config.force.method in DEVICE_FORCES or sums_on_card(config))


def sums_on_card(config: RunConfig) -> bool:
    """Tell whether forces are direct sums that a GPU makes."""
    return config.force.method == "direct" and config.force.device == "gpu"


def device_of(config: RunConfig) -> Device | None:
    """Return the GPU on which this process steps the particles; None for its CPU.

    It is the first one that the process sees, so ``CUDA_VISIBLE_DEVICES`` chooses, and it has shown the bits of the
    CPU. Raises RunError where ``run.device`` is gpu and there is none; auto is the CPU then.
    """
    if not uses_device(config):
        return None
    insists = config.run.device == "gpu"
    try:
        device = _device("run.device", "auto") if insists else _first()
    except NoDeviceError:
        return None
    wrong = disproved(device, config)
    if wrong is None:
        return device
    if insists:
        what = f'run.device is "gpu", but in the process at work {wrong}'
        raise RunError(f'{what}; use run.device = "cpu" and {REPORT}')
    warn_once(wrong)
    return None


def refuted(config: RunConfig) -> str | None:
    """Return why the GPU of this process may not step the particles of a run, which whoever asks tells; else None."""
    try:
        wrong = disproved(_first(), config)
    except NoDeviceError:
        return None
    if wrong is not None:
        told(wrong)
    return wrong


def _device(key: str, other: str) -> Device:
    try:
        return _first()
    except NoDeviceError as error:
        text = f'{key} is "gpu", but in the process at work {error}'
        raise RunError(f'{text}; give the command again with {key} = "{other}"') from None


def computes_on_card(config: RunConfig) -> bool:
    """Tell whether equations are computed on a GPU: only where it was asked for, for it rounds differently."""
    return config.fit.device == "gpu" and config.fit.sums != "direct" and config.fit.assembly != "drawn"


@contextlib.contextmanager
def computing(config: RunConfig) -> Iterator[Callable[[NDArray[Any]], Any] | None]:
    """Yield what brings an array to where equations are computed; None where that is the host.

    Raises RunError as `device_of` and `device_memory` do.
    """
    device = _device("fit.device", "cpu") if computes_on_card(config) else None
    if device is None:
        yield None
        return
    try:
        with device_memory(device, lambda free: 'fit.device = "cpu" needs none'), device.computing():
            yield device.array
    finally:
        forget()
        device.release()


def card_here() -> Card | str:
    """Return the GPU that this process would step on, or why there is none. Importable: workers are asked."""
    try:
        device = _first()
    except NoDeviceError as error:
        return str(error)
    return was_disproved(device) or Card(device.name, device.free_bytes())


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


@contextlib.contextmanager
def device_memory(device: Device | None, remedy: Callable[[int], str]) -> Iterator[None]:
    """Say in one line, a RunError, that the memory of a device was used up: both numbers, and what would fit.

    ``remedy`` says what would, of so many free bytes; `stepping_remedy` does for the particles.
    """
    try:
        yield
    except DeviceMemoryError as error:
        name = "the GPU" if device is None else device.name
        what = f"{name} has {size(error.free)} free, and {size(error.wanted)} more were asked for"
        again = "another process may use it: the same command goes on with what is free then"
        raise RunError(f"{what}; {again}, or {remedy(error.free)}") from error


def host_bytes(config: RunConfig, setup: Setup, members: int, plan: DevicePlan) -> int:
    """Return an upper bound of what the arrays of a member take in the memory of its process, with this plan."""
    whole = member_bytes(config, setup, members)
    if not plan.resident:
        return whole
    rows = min(parts_of(config, setup, members).rows, setup.particles)
    # A piece at a time comes from the host, drawn in float64 and rounded.
    piece = min(rows, plan.chunk) * (8 * setup.dimension + _width(config, setup))
    return whole - _clouds(setup) * rows * _width(config, setup) + piece


def name_devices(store: Store, config: RunConfig, payloads: Sequence[Payload]) -> Payload:
    """Finish the particles: what stepped them, by the ``devices`` of the payloads; "cpu" where they have none."""
    return {"devices": sorted({name for payload in payloads for name in payload.get("devices", ["cpu"])}) or ["cpu"]}


def stepped_on(store: Store) -> str | None:
    """Return what stepped the particles of a store, cpu or names of GPUs; None while they are not done."""
    record = store.record("particles/done")
    return None if record is None else ", ".join(record.get("devices", ["cpu"]))


def leaps_of(device: Device) -> Leaps:
    """Return where the leaps on a device meet: one for all threads of this process."""
    from ipsdist.numerics.particles.device_leap import Leaps

    return _LEAPS.setdefault(id(device), Leaps(device))  # it keeps the device, and so its id


@cache
def _first() -> Device:
    """Return the device of this process, always the same one: it keeps its memory and what it has compiled."""
    return find_device()


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


def stepping_remedy(config: RunConfig, setup: Setup) -> Callable[[int], str]:
    """Return what would let the particles be stepped with so many free bytes of a device."""

    def remedy(free: int) -> str:
        chunk = 0 if sums_on_card(config) else largest_chunk(free, config, setup)
        if chunk and (config.run.chunk == "auto" or chunk < chunk_of(config)):
            return f"run.chunk = {chunk} would fit"
        return 'run.device = "cpu" needs none'

    return remedy
