"""Many steps of small replicas on a line in one launch: the device finds the drift itself, a block a replica.

The bits are those of as many steps of `DeviceCloud.step`, or of the host, with the drift of `forces.mesh.MeshForce`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ipsdist.arrays import Device, DeviceArray
from ipsdist.model.mesh import Mesh
from ipsdist.numerics.device.cuda import leap_bytes, text
from ipsdist.numerics.particles.cloud import Motion, Noise
from ipsdist.numerics.particles.device_cloud import DeviceCloud
from ipsdist.numerics.particles.device_pieces import STATIC_BYTES, real

__all__ = ["can_leap", "leap"]

Array = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

_MOST = 65535
"""Particles whose weights fit a counter of 32 bits wherever they are."""
_THREADS = 1024
_LONGEST = 4096
"""Steps of one launch, which nobody can interrupt."""


def can_leap(device: Device, nodes: int, particles: int, dtype: npt.DTypeLike) -> bool:
    """Tell whether so many particles on a line of so many nodes can leap: counters and shared memory hold them."""
    return particles <= _MOST and leap_bytes(nodes, np.dtype(dtype).itemsize) + STATIC_BYTES <= device.shared_bytes


def leap(
    clouds: Sequence[DeviceCloud],
    mesh: Mesh,
    lags: tuple[Array, Array],
    motion: Motion,
    noises: Sequence[Noise],
    steps: int,
    counts: Integers,
) -> tuple[Integers, Integers]:
    """Step whole replicas on one mesh up to ``steps`` times from ``motion.number`` on, each for itself.

    ``lags`` are what `MeshForce.lag_table` gives, ``noises`` those of the clouds, with one seed. ``counts``
    (replicas, nodes) are the weights before, and become those after. Returns how many steps each replica did and how
    many particles it lost in the last one (replicas,): it stops there, its positions are those after that step, and its
    count is incomplete. The clouds are resident, on one device, of one type and size; otherwise ValueError.
    """
    first = clouds[0]
    (n, d), dtype, device = first.shape, first.dtype, first.launcher.device
    nodes = mesh.shape[0]
    if d != 1 or not can_leap(device, nodes, n, dtype):
        raise ValueError(f"{n} particles in {d} dimensions with {nodes} nodes cannot leap")
    if any((one.shape, one.dtype) != (first.shape, dtype) or one.launcher.device is not device for one in clouds):
        raise ValueError("replicas that leap together must have one device, type and size")
    if {(one.first, one.low, one.high) for one in noises} != {(0, noises[0].low, noises[0].high)}:
        raise ValueError("what leaps must be whole replicas of one seed")
    if counts.shape != (len(clouds), nodes) or len(noises) != len(clouds):
        raise ValueError(f"`counts` must be ({len(clouds)}, {nodes}), a noise a cloud; got {counts.shape}")
    kernel = device.program(text("leap", D=1, REAL=real(dtype)), ("leap",))["leap"]
    x = _joined(clouds)
    forces, external = first.launcher.lags(lags)
    weights = device.array(np.ascontiguousarray(counts).view(np.uint64))
    ends = device.zeros((2, len(clouds)), np.uint32)
    streams = device.array(np.array([one.stream for one in noises], dtype=np.uint32))
    arguments = (
        *(x, np.uint32(n), np.uint32(len(clouds)), forces, external),
        *(np.int64(mesh.lower[0]), np.uint32(nodes), np.float64(1.0 / mesh.spacing)),
        *(np.float64(motion.dt), np.float64(motion.scale), first.launcher.table),
        *(
            np.uint32(motion.number),
            np.uint32(min(steps, _LONGEST)),
            streams,
            np.uint32(noises[0].low),
            np.uint32(noises[0].high),
        ),
        *(weights, ends[:1], ends[1:]),
    )
    kernel(len(clouds), _THREADS, arguments, leap_bytes(nodes, dtype.itemsize))
    _part(x, clouds)
    counts[...] = device.to_host(weights).view(np.int64)
    done, lost = device.to_host(ends).astype(np.int64)
    return done, lost


def _joined(clouds: Sequence[DeviceCloud]) -> DeviceArray:
    """Return the positions of all, one cloud behind the other: a copy, unless there is but one."""
    if len(clouds) == 1:
        return clouds[0].positions
    n, device = clouds[0].shape[0], clouds[0].launcher.device
    x = device.empty((n * len(clouds), 1), clouds[0].dtype)
    for i, one in enumerate(clouds):
        device.copy(one.positions, out=x[i * n : (i + 1) * n])
    return x


def _part(x: DeviceArray, clouds: Sequence[DeviceCloud]) -> None:
    """Give joined positions back to their clouds."""
    n = clouds[0].shape[0]
    for i, one in enumerate(clouds if len(clouds) > 1 else ()):
        one.launcher.device.copy(x[i * n : (i + 1) * n], out=one.positions)
