"""A device proves itself: what it makes of a few thousand particles must be, to the last bit, what the host makes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from ipsdist.arrays import Device, DeviceMemoryError
from ipsdist.model.deposits import MOVE_ONE
from ipsdist.model.mesh import Mesh
from ipsdist.model.radial import RadialKernel
from ipsdist.model.system import Mixture, Uniform
from ipsdist.numerics.particles.cloud import Cloud, Motion, Noise
from ipsdist.numerics.particles.device_cloud import DeviceCloud
from ipsdist.numerics.particles.device_leap import Leap, can_leap, leap
from ipsdist.numerics.particles.forces.mesh import MeshForce
from ipsdist.numerics.particles.host_cloud import HostCloud
from ipsdist.numerics.particles.initial import sample

__all__ = ["check"]

Step = tuple[str, npt.NDArray[Any]]
"""What was made, in words, and its numbers."""
Trial = Callable[[Device | None], Iterator[Step]]
"""What a device does; the host, where it gets None."""

_PARTICLES = 4099
_FEW = 1003, 410
"""Particles of replicas that leap; none of these numbers is a whole number of Philox blocks."""
_SIDES = {1: 100, 2: 24, 3: 12}
"""Nodes of a mesh that lies in shared memory with its drift, by dimension."""
_CHUNK = 2**13
_SPAN = 6.0
_SEED, _REPLICA = 2**40 + 17, 3
_NOISE = Noise(2**33 + 4, 20, 11, 5)
_REASON = 300
"""Letters of an error that are told."""
_DT, _SCALE, _STEPS, _LEAPS = 0.01, 0.05, 2, 5


def check(device: Device, dimension: int, dtype: npt.DTypeLike) -> str | None:
    """Return None where a device steps and deposits particles with the bits of the host, else in words what is wrong.

    Drawing, steps, moves and deposits are compared, on every kind of mesh that kernels are compiled for, and leaps on a
    line. The failure of a launch is an answer too; only DeviceMemoryError is raised.
    """
    kind = np.dtype(dtype)
    for where, trial in _trials(device, dimension, kind):
        expected = list(trial(None))
        what = ""
        try:
            for (what, right), (_, found) in zip(expected, trial(device), strict=True):
                if difference := _difference(found, right):
                    first = f"{what}, {where}, {kind}: {difference}"
                    return f"the bits of {device.name} differ from the CPU's (first: {first})"
        except DeviceMemoryError:
            raise
        # Whatever it is: CuPy's errors have no common class, and the host has just done the same.
        except Exception as error:
            reason = " ".join(f"{type(error).__name__}: {error}".split())[:_REASON]
            after = f", after {what}" if what else ""
            return f"{device.name} cannot step particles ({where}, {kind}{after}: {reason})"
    return None


def _trials(device: Device, dimension: int, kind: np.dtype[Any]) -> Iterator[tuple[str, Trial]]:
    """Yield what is tried, each with its name."""
    mixture = Mixture((0.3, 0.7), ((-0.5,) * dimension, (0.4,) * dimension), (0.04, 0.09))
    box = Uniform((-1.5,) * dimension, (1.25,) * dimension)
    # A counter of 4 bytes and the drift a node: both fit, the counters alone do, nothing does.
    fitting = math.floor((device.shared_bytes / 6) ** (1 / dimension))
    too_many = math.floor((device.shared_bytes / 4) ** (1 / dimension)) + 1
    meshes: tuple[tuple[int, Mixture | Uniform], ...]
    meshes = (_SIDES[dimension], mixture), (fitting, mixture), (too_many, box)
    for side, law in meshes:
        mesh = _mesh(side, dimension)
        name = f"mesh of {side}^{dimension} nodes" if dimension > 1 else f"line of {side} nodes"
        yield name, partial(_stepped, law=law, mesh=mesh, kind=kind)
    if dimension == 1 and can_leap(device, _SIDES[1], max(_FEW), kind):
        yield "leaps on a line", partial(_leapt, law=mixture, kind=kind)


def _mesh(side: int, dimension: int) -> Mesh:
    """Return a mesh of so many nodes an axis around 0 that holds the particles throughout."""
    spacing = 2.0 ** math.ceil(math.log2(_SPAN / (side - 2)))
    return Mesh(spacing, (-(side // 2),) * dimension, (side,) * dimension)


def _drawn(on: Device | None, law: Mixture | Uniform, dimension: int, kind: np.dtype[Any]) -> Cloud:
    if on is None:
        return HostCloud(sample(law, dimension, _SEED, _REPLICA, 8, _PARTICLES).astype(kind))
    shape = _PARTICLES, dimension
    return DeviceCloud.drawn(on, law, shape, kind, 8, _SEED, _REPLICA, _CHUNK, True)


def _stepped(on: Device | None, law: Mixture | Uniform, mesh: Mesh, kind: np.dtype[Any]) -> Iterator[Step]:
    """Yield all that a cloud says of itself from its start to the end of a slice."""
    cloud = _drawn(on, law, mesh.dimension, kind)
    n, d = cloud.shape
    drift = np.sin(0.37 * np.arange(d * math.prod(mesh.shape))).reshape(d, *mesh.shape).astype(cloud.dtype)
    yield "the start", _rows(cloud)
    yield "the extent", np.stack(cloud.extent())
    before = cloud.copy()
    for number in range(_STEPS):
        count = np.zeros(mesh.shape, dtype=np.int64)
        lost = cloud.step(mesh, drift, Motion(_DT, _SCALE, number), _NOISE, count)
        yield f"the positions after step {number + 1}", _rows(cloud)
        yield f"the particles off the mesh after step {number + 1}", np.array([lost, cloud.off(mesh), cloud.broken()])
        yield f"the count of step {number + 1}", count
    for what, found in zip(("count", "products"), cloud.deposits(mesh), strict=True):
        yield f"the {what} of a slice", found
    flux, squares, reach = before.moves(cloud, mesh, MOVE_ONE)
    yield "the flux of a slice", flux
    yield "the squared moves of a slice", squares
    yield "the reach of a slice", np.array([reach])
    squares, reach = before.squares(cloud, mesh)
    yield "the squared moves alone", squares
    yield "the reach of moves alone", np.array([reach])
    move: Any = cloud  # both clouds have it, the protocol has not
    move.move(np.cos(0.73 * np.arange(n * d)).reshape(n, d), Motion(_DT, _SCALE, _STEPS), _NOISE)
    yield "the positions after a move", _rows(cloud)


def _leapt(on: Device | None, law: Mixture, kind: np.dtype[Any]) -> Iterator[Step]:
    """Yield what some steps of two small replicas end in: a device does them in one launch."""
    mesh, motion, whole = _mesh(_SIDES[1], 1), Motion(_DT, _SCALE, 0), replace(_NOISE, first=0)
    jobs: list[tuple[Cloud, MeshForce, npt.NDArray[np.int64]]] = []
    for size in _FEW:
        x = sample(law, 1, _SEED, _REPLICA, 0, size).astype(kind)
        force = MeshForce(RadialKernel.parse("3*r**2"), None, size)
        jobs.append((_placed(on, x), force, HostCloud(x).deposits(mesh)[0]))
    ends = _leap_there(jobs, mesh, motion, whole) if on is not None else _leap_here(jobs, mesh, motion, whole)
    yield "the steps and the lost of leaps", np.array(ends)
    for cloud, _, count in jobs:
        yield "the positions after leaps", _rows(cloud)
        yield "the count after leaps", count


def _placed(on: Device | None, x: npt.NDArray[Any]) -> Cloud:
    return HostCloud(x) if on is None else DeviceCloud.filled(on, x.shape, x.dtype, lambda a, b: x[a:b], _CHUNK, True)


def _leap_there(jobs: Sequence[Any], mesh: Mesh, motion: Motion, noise: Noise) -> list[tuple[int, int]]:
    made = []
    for cloud, force, count in jobs:
        lags = force.lag_table(mesh)
        assert lags is not None
        made.append(Leap(cloud, mesh, lags, motion, noise, _LEAPS, count))
    return leap(made)


def _leap_here(jobs: Sequence[Any], mesh: Mesh, motion: Motion, noise: Noise) -> list[tuple[int, int]]:
    """Do the same steps one after the other."""
    for cloud, force, count in jobs:
        for number in range(_LEAPS):
            drift = force.node_drift(mesh, count).astype(cloud.dtype)
            count[...] = 0
            cloud.step(mesh, drift, replace(motion, number=number), noise, count)
    return [(_LEAPS, 0)] * len(jobs)


def _rows(cloud: Cloud) -> npt.NDArray[Any]:
    """Return all positions, a copy."""
    return np.array(cloud.rows(0, cloud.shape[0]))


def _difference(found: npt.NDArray[Any], right: npt.NDArray[Any]) -> str | None:
    """Return in words where two arrays first have other bits; None where they have the same."""
    if (found.shape, found.dtype) != (right.shape, right.dtype):
        return f"{found.dtype} {found.shape} for {right.dtype} {right.shape}"
    # As integers: a zero has two signs, and NaN is not itself.
    word = np.dtype(f"u{found.itemsize}")
    a, b = (np.ascontiguousarray(one).view(word).reshape(-1) for one in (found, right))
    places = np.flatnonzero(a != b)
    if not places.size:
        return None
    got, wanted = found.reshape(-1)[places[0]], right.reshape(-1)[places[0]]
    return f"{got!s} for {wanted!s} at {places[0]}, {places.size} of {a.size} differ"
