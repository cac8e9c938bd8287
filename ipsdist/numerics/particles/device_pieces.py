"""Launches of the particle kernels on pieces of a cloud: programs, grids, and what every step keeps on the device."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ipsdist.arrays import Device, DeviceArray, DeviceMemoryError, Kernel, Ring
from ipsdist.model.errors import RunError
from ipsdist.model.mesh import Mesh
from ipsdist.model.system import Mixture, Uniform
from ipsdist.numerics.device.cuda import text
from ipsdist.numerics.particles.cloud import Motion, Noise
from ipsdist.numerics.particles.noise import (
    INITIAL_NORMALS,
    INITIAL_UNIFORMS,
    LANES,
    NORMAL_TABLE,
    seed_words,
    stream_of,
)

__all__ = [
    "GROUP",
    "PITCH",
    "STATIC_BYTES",
    "Launcher",
    "StepGrid",
    "crew",
    "mesh_arguments",
    "noise_arguments",
    "piece_rows",
    "real",
    "step_grid",
]

Array = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

_NAMES = (
    *("move", "pack", "deposit", "deposit_near", "flux", "flux_near", "squares", "extent", "off"),
    *("draw_mixture", "draw_uniform"),
)
_FARTHEST = 2**50
_THREADS = 256
"""Of a block, where nothing asks for more."""
_STEPPING = 1024
"""Threads of a multiprocessor that step: each takes up to 64 of its 65536 registers, and its normals hide latency."""
_OTHERS = 2048
"""Threads of a multiprocessor that do something else."""
GROUP = {1: 4, 2: 2, 3: 1}
"""Particles that a thread takes together, by dimension."""
PITCH = {2: 2, 3: 4}
"""Numbers of a node, by dimension, of a drift that lies node by node in global memory."""
_WIDE = {True: (512, 1), False: (256, 3)}
"""Threads and blocks of a multiprocessor where a step in space reads such a drift, by whether it has counters: it waits
with eight loads of 16 bytes under way, which take more than 64 registers."""
_RESERVED = 1024
"""Bytes of shared memory that the system takes of every block."""
STATIC_BYTES = NORMAL_TABLE.nbytes + 128
"""Shared memory that a kernel has beside what is asked for, at most: the table of the normals, and a few numbers."""


@dataclass(frozen=True)
class StepGrid:
    """How `step` is compiled and launched for a mesh."""

    counters: bool
    """The counters of the nodes lie in shared memory."""
    field: bool
    """The drift lies there too."""
    packed: bool
    """It lies in global memory, node by node."""
    threads: int
    resident: int
    """Blocks that a multiprocessor holds at a time; there are no more of them."""
    shared: int
    """Bytes of shared memory of a block."""

    def blocks(self, groups: int, processors: int) -> int:
        """Return how many blocks step so many groups of particles: one a thread, or more."""
        return max(1, min(-(-groups // self.threads), processors * self.resident))


def step_grid(device: Device, nodes: int, dimension: int, itemsize: int) -> StepGrid:
    """Return the grid for a mesh of so many nodes whose drift has ``itemsize`` bytes a number."""
    room = device.shared_bytes - STATIC_BYTES
    counters = 4 * nodes
    both = counters + dimension * nodes * itemsize
    shared = 0 if counters > room else both if both <= room else counters
    if dimension == 3 and shared != both:
        return StepGrid(shared > 0, False, True, *_WIDE[shared > 0], shared)
    # In the plane, doubles with counters beside them would not fit the registers of 1024 threads.
    packed = dimension == 2 and shared != both and not (shared and itemsize == 8)
    return StepGrid(shared > 0, shared == both, packed, *crew(device, shared), shared)


def crew(device: Device, shared: int) -> tuple[int, int]:
    """Return threads and blocks of a multiprocessor for kernels whose blocks ask for so much shared memory."""
    if not shared:
        return _THREADS, _STEPPING // _THREADS
    held = (device.shared_bytes + _RESERVED) // (shared + STATIC_BYTES + _RESERVED)
    # A block that has much of the shared memory to itself must bring the threads of several.
    threads = next(threads for threads in (_THREADS, 512, _STEPPING) if held * threads >= _STEPPING)
    return threads, _STEPPING // threads


def real(dtype: npt.DTypeLike) -> str:
    """Return the name that CUDA text has for a type of positions."""
    names = {np.dtype(np.float32): "float", np.dtype(np.float64): "double"}
    if np.dtype(dtype) not in names:
        raise ValueError(f"`dtype` must be float32 or float64; got {np.dtype(dtype)}")
    return names[np.dtype(dtype)]


def piece_rows(device: Device, row_bytes: int, chunk: int) -> int:
    """Return how many particles of so many bytes a piece has, at most ``chunk``; two fit half of what is free now.

    The other half is for what lies on the mesh. Raises DeviceMemoryError where not even one Philox block fits.
    """
    free = device.free_bytes()
    rows = min(chunk, free // (4 * row_bytes) // LANES * LANES)
    if rows < LANES:
        raise DeviceMemoryError(4 * LANES * row_bytes, free)
    return rows


def mesh_arguments(mesh: Mesh) -> tuple[Any, ...]:
    """Return what kernels take of a mesh: three lower ends, three sides, 1 / spacing.

    Raises RunError where it lies so far from 0 that kernels would not find the cells.
    """
    farthest = max(max(abs(low), abs(low + n)) for low, n in zip(mesh.lower, mesh.shape, strict=True))
    if farthest >= _FARTHEST:
        what = f"particles lie {farthest:.3g} mesh spacings from 0, too far for a GPU"
        raise RunError(f'{what}; shift them, or use run.device = "cpu"')
    rest = 3 - mesh.dimension
    lower, sides = (*mesh.lower, *[0] * rest), (*mesh.shape, *[1] * rest)
    return *[np.int64(i) for i in lower], *[np.int64(i) for i in sides], np.float64(1.0 / mesh.spacing)


def noise_arguments(motion: Motion, noise: Noise, table: DeviceArray, word: int) -> tuple[Any, ...]:
    """Return what kernels take of the noise of the coordinates from ``word`` of the part on."""
    numbers = [np.uint32(i) for i in (motion.number, noise.stream, noise.low, noise.high)]
    return table, np.uint64(noise.first + word), *numbers


class _Nodes:
    """What a step has at the nodes of a mesh: drift, counts, and who was lost."""

    def __init__(self, device: Device, dimension: int, nodes: int, dtype: npt.DTypeLike) -> None:
        self.size = nodes
        self.grid = step_grid(device, nodes, dimension, np.dtype(dtype).itemsize)
        self.given = device.empty((dimension, nodes), dtype)
        self.packed = device.empty((nodes, PITCH[dimension]), dtype) if self.grid.packed else None
        self.zeros = device.zeros((nodes + 2,), np.uint64)
        # Those who left, and those who were off before, lie behind the counts: one download a step.
        self.all = device.empty((nodes + 2,), np.uint64)
        self.count, self.lost = self.all[:nodes], self.all[nodes:]
        self.host = np.empty(nodes + 2, dtype=np.uint64)


class Launcher:
    """The kernels for one dimension and type of positions, and the arrays of a step, kept while the mesh stays.

    Clouds share it with their copies: one does its work at a time.
    """

    def __init__(self, device: Device, dimension: int, dtype: npt.DTypeLike) -> None:
        self.device = device
        self.dimension, self.dtype = dimension, np.dtype(dtype)
        self.table = device.array(NORMAL_TABLE)
        self._defines: dict[str, int | str] = {"D": dimension, "REAL": real(dtype)}
        self._functions = device.program(text("particles", **self._defines, NODES=0, FIELD=0), _NAMES)
        self._lags: tuple[Any, tuple[DeviceArray, DeviceArray]] | None = None
        self._mesh: Mesh | None = None
        self._nodes: _Nodes | None = None

    def launch(
        self,
        name: str,
        items: int,
        arguments: Sequence[Any],
        threads: int = _THREADS,
        resident: int = _OTHERS // _THREADS,
        shared: int = 0,
    ) -> None:
        """Launch a kernel whose threads take item after item, as `LineGrid` or a usual grid says."""
        blocks = min(-(-items // threads), self.device.processors * resident)
        self._functions[name](max(1, blocks), threads, arguments, shared)

    def law(self, law: Mixture | Uniform, seed: int, replica: int) -> tuple[str, tuple[Any, ...]]:
        """Return the kernel that draws from a law, and its arguments behind the first particle."""
        low, high = (np.uint32(word) for word in seed_words(seed))
        normals, uniforms = (np.uint32(stream_of(replica, use)) for use in (INITIAL_NORMALS, INITIAL_UNIFORMS))
        if isinstance(law, Uniform):
            # In the order of `initial.sample`, as are the edges below: the same roundings.
            lower, upper = np.array(law.lower, dtype=np.float64), np.array(law.upper, dtype=np.float64)
            box = self.device.array(lower), self.device.array(upper - lower)
            return "draw_uniform", (uniforms, low, high, *box)
        edges = np.cumsum(law.weights) / np.sum(law.weights)
        tables = edges, np.array(law.means, dtype=np.float64), np.sqrt(law.variances)
        modes = *[self.device.array(table) for table in tables], np.uint32(len(edges))
        return "draw_mixture", (self.table, normals, uniforms, low, high, *modes)

    def lags(self, given: tuple[Array, Array]) -> tuple[DeviceArray, DeviceArray]:
        """Return force table and external drift of a line on the device; the same two arrays are brought there once."""
        if self._lags is None or self._lags[0] is not given:
            moved = [self.device.array(np.ascontiguousarray(part, dtype=np.float64)) for part in given]
            self._lags = given, (moved[0], moved[1])
        return self._lags[1]

    def begin(self, mesh: Mesh, drift: npt.NDArray[Any] | DeviceArray) -> _Nodes:
        """Return what the step needs at the nodes: their drift (d, nodes...) in the type of positions, no counts yet.

        A drift of the host is rounded to that type; one of the device, (d, nodes), has it. Raises DeviceMemoryError.
        """
        on_host = isinstance(drift, np.ndarray)
        expected = (self.dimension, *mesh.shape) if on_host else (self.dimension, math.prod(mesh.shape))
        if drift.shape != expected:
            raise ValueError(f"`drift` must be {expected}; got {drift.shape}")
        if self._nodes is None or mesh != self._mesh:
            self._prepare(mesh)
        nodes = self._nodes
        assert nodes is not None
        if isinstance(drift, np.ndarray):
            given = np.ascontiguousarray(drift, dtype=self.dtype)
            drift = self.device.array(given.reshape(self.dimension, nodes.size), out=nodes.given)
        elif nodes.packed is None:
            drift = self.device.copy(drift, out=nodes.given)
        if nodes.packed is not None:
            self.launch("pack", nodes.size, (drift, np.uint64(nodes.size), nodes.packed))
        self.device.copy(nodes.zeros, out=nodes.all)
        return nodes

    def step(self, nodes: _Nodes, x: DeviceArray, motion: Motion, noise: Noise, word: int) -> None:
        """Step positions (n, d), whose first coordinate has this word of the part."""
        n, grid = x.shape[0], nodes.grid
        moved = np.float64(motion.dt), np.float64(motion.scale)
        noises = noise_arguments(motion, noise, self.table, word)
        drift = nodes.given if nodes.packed is None else nodes.packed
        arguments = (x, np.uint64(n), drift, *self._place, *moved, *noises, nodes.count, nodes.lost)
        groups = -(-n // GROUP[self.dimension])
        self._step(grid.blocks(groups, self.device.processors), grid.threads, arguments, grid.shared)

    def end(self, nodes: _Nodes, count: Integers, ring: Ring | None = None) -> tuple[int, int]:
        """Add what the steps since `begin` counted (nodes...); return how many left, and how many were off before.

        With a ring all three are those of all its ranks.
        """
        if ring is None:
            seen = self.device.to_host(nodes.all, out=nodes.host)
        else:
            ring.add(nodes.all)
            try:
                seen = self.device.to_host(nodes.all, out=nodes.host)
            finally:
                ring.check()  # says first why nothing came, or nothing that means anything
        count += seen[:-2].view(np.int64).reshape(count.shape)
        return int(seen[-2]), int(seen[-1])

    def _prepare(self, mesh: Mesh) -> None:
        size = math.prod(mesh.shape)
        if self._nodes is None or self._nodes.size != size:
            self._nodes = None  # its memory first: the new arrays may need it
            nodes = _Nodes(self.device, self.dimension, size, self.dtype)
            grid = nodes.grid
            lies = {"NODES": int(grid.counters), "FIELD": int(grid.field), "PACKED": int(grid.packed)}
            defines = {**self._defines, **lies, "STEP_ALONE": 1}
            self._step: Kernel = self.device.program(text("particles", **defines), ("step",))["step"]
            self._nodes = nodes
        self._mesh, self._place = mesh, mesh_arguments(mesh)
