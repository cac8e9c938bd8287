"""The GPU of this process: whether it steps the particles or computes equations, and what is said where it fails."""

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
from ipsdist.model.words import size
from ipsdist.stages.base import Payload
from ipsdist.stages.proving import REPORT, disproved, told, warn_once, was_disproved
from ipsdist.storage import Store

if TYPE_CHECKING:
    from ipsdist.numerics.particles.device_leap import Leaps

__all__ = [
    "DEVICE_FORCES", "Card", "card_here", "computes_on_card", "computing", "device_memory", "device_of", "leaps_of",
    "name_devices", "refuted", "stepped_on", "sums_on_card", "uses_device",
]  # fmt: skip

DEVICE_FORCES = ("auto", "mesh")
"""Values of force.method that a GPU steps by; the others stay on the CPU."""
_LEAPS: dict[int, Leaps] = {}
"""Where leaps meet, by the id of their device, which it keeps."""


@dataclass(frozen=True)
class Card:
    """A GPU as its process found it: small, and told without a GPU."""

    name: str
    free: int
    """Bytes of its memory that were free."""


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


@contextlib.contextmanager
def device_memory(device: Device | None, remedy: Callable[[int], str]) -> Iterator[None]:
    """Say in one line, a RunError, that the memory of a device was used up: both numbers, and what would fit.

    ``remedy`` says what would, of so many free bytes; `device_plan.stepping_remedy` does for the particles.
    """
    try:
        yield
    except DeviceMemoryError as error:
        name = "the GPU" if device is None else device.name
        what = f"{name} has {size(error.free)} free, and {size(error.wanted)} more were asked for"
        again = "another process may use it: the same command goes on with what is free then"
        raise RunError(f"{what}; {again}, or {remedy(error.free)}") from error


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
