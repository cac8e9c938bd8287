"""The kernels of numerics/device/cuda launched by hand on any grid: for _gpu_bits.py and _gpu_speed.py."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ipsdist.model.mesh import Mesh
from ipsdist.numerics.device.cuda import text
from ipsdist.numerics.particles.device_pieces import PITCH, STATIC_BYTES
from ipsdist.numerics.particles.noise import NORMAL_TABLE

NAMES = (
    *("step", "move", "pack", "deposit", "deposit_near", "flux", "flux_near", "squares"),
    *("draw_mixture", "draw_uniform"),
)
KINDS = {"float32": "float", "float64": "double"}
_GUARD = 64
"""Elements before and behind an array that no kernel may touch: a pool of memory hides small steps beyond an end."""


@dataclass(frozen=True)
class Words:
    """Which noise: what `cloud.Noise` and the number of the step say."""

    first: int
    number: int
    stream: int
    low: int
    high: int

    def numba(self) -> tuple[np.uint64, ...]:
        return tuple(np.uint64(w) for w in (self.first, self.number, self.stream, self.low, self.high))

    def cuda(self) -> tuple[Any, ...]:
        return np.uint64(self.first), *(np.uint32(w) for w in (self.number, self.stream, self.low, self.high))


_offsets = itertools.cycle(range(4))


class Guarded:
    """An array of the device between two guards; one in four is aligned to more than its elements."""

    def __init__(self, device: Any, values: Any) -> None:
        self._device = device
        flat = np.ascontiguousarray(values).reshape(-1)
        self._shape, self._size = np.shape(values), flat.size
        self._first = _GUARD + next(_offsets)
        whole = np.frombuffer(bytes([0x3C]) * (flat.nbytes + 2 * self._first * flat.itemsize), dtype=flat.dtype).copy()
        self._guard = whole[: self._first].copy()
        whole[self._first : self._first + flat.size] = flat
        self._whole = device.array(whole)
        self.array = self._whole[self._first : self._first + flat.size]

    def host(self) -> Any:
        """Return what is there now. Raises RuntimeError where a guard was touched."""
        whole, end = self._device.to_host(self._whole), self._first + self._size
        for guard in (whole[: self._first], whole[end:]):
            if guard.tobytes() != self._guard.tobytes():
                raise RuntimeError("a kernel wrote beyond an array")
        return whole[self._first : end].reshape(self._shape)


@dataclass(frozen=True)
class Layout:
    """Where counters and drift of a step lie."""

    nodes: bool = False
    """The counters lie in shared memory."""
    field: bool = False
    """The drift lies there too."""
    packed: bool = False
    """The drift lies in global memory node by node."""

    def __str__(self) -> str:
        return f"NODES={int(self.nodes)} FIELD={int(self.field)} PACKED={int(self.packed)}"


LAYOUTS = (Layout(), Layout(packed=True), Layout(True), Layout(True, packed=True), Layout(True, True))


class Kernels:
    """The kernels for one dimension and kind of positions, with the layout of a step."""

    def __init__(self, device: Any, dimension: int, kind: str, layout: Layout = LAYOUTS[0]) -> None:
        self.device, self.dimension, self.kind, self.layout = device, dimension, np.dtype(kind), layout
        where = {"NODES": int(layout.nodes), "FIELD": int(layout.field), "PACKED": int(layout.packed)}
        self._program = device.program(text("particles", D=dimension, REAL=KINDS[kind], **where), NAMES)
        self.table = device.array(NORMAL_TABLE)

    @property
    def most_threads(self) -> int:
        """Threads of a block that a step may have."""
        if self.layout.packed and self.dimension == 3:
            return 512 if self.layout.nodes else 256
        return 1024

    def shared(self, mesh: Mesh) -> int:
        """Return the bytes of shared memory that a step asks for."""
        each = 4 * self.layout.nodes + self.dimension * self.kind.itemsize * self.layout.field
        return math.prod(mesh.shape) * each

    def fits(self, mesh: Mesh, blocks: int = 1) -> bool:
        """Tell whether so many blocks of a step fit into the shared memory of a multiprocessor."""
        return (self.shared(mesh) + STATIC_BYTES) * blocks <= self.device.shared_bytes

    def field(self, drift: Any) -> Any:
        """Return the drift (d, nodes...) on the device as a step takes it."""
        flat = self.device.array(np.ascontiguousarray(drift, dtype=self.kind).reshape(self.dimension, -1))
        if not self.layout.packed:
            return flat
        nodes = flat.shape[1]
        packed = self.device.empty((nodes, PITCH.get(self.dimension, 1)), self.kind)
        self.launch("pack", (7, 96), [flat, np.uint64(nodes), packed])
        return packed

    def launch(self, name: str, grid: tuple[int, int], arguments: Sequence[Any], shared: int = 0) -> None:
        self._program[name](*grid, arguments, shared)

    def sums(
        self, name: str, grid: tuple[int, int], given: Sequence[Any], lines: tuple[int, int], words: int, nodes: int,
        sums: Sequence[Any],
    ) -> None:  # fmt: skip
        """Launch `deposit` or `flux`: lines [a, b) in shared memory, all in global memory where b is 0."""
        first, stop = lines
        which = [np.uint32(first), np.uint32(stop - first)] if stop else []
        shared = 4 * words * nodes * (stop - first)
        self.launch(f"{name}_near" if stop else name, grid, [*given, *which, *sums], shared)

    def passes(self, lines: int, words: int, nodes: int, rng: np.random.Generator) -> list[tuple[int, int]]:
        """Return the launches of `sums` that add everything: in global memory, or lines drawn at random near."""
        room = (self.device.shared_bytes - STATIC_BYTES) // (4 * words * nodes)
        each = int(rng.integers(min(room, lines) + 1))
        return [(k, min(k + each, lines)) for k in range(0, lines, each)] if each else [(0, 0)]

    def step(
        self, grid: tuple[int, int], x: Any, n: int, drift: Any, mesh: Mesh, dt: float, scale: float, words: Words,
        count: Any, lost: Any,
    ) -> None:  # fmt: skip
        noise = np.float64(dt), np.float64(scale), self.table, *words.cuda()
        arguments = [x, np.uint64(n), drift, *mesh_words(mesh), *noise, count, lost]
        self.launch("step", grid, arguments, self.shared(mesh))


def mesh_words(mesh: Mesh) -> list[Any]:
    """Return lower, side (three each) and 1 / spacing as the kernels take them."""
    rest = 3 - mesh.dimension
    words: list[Any] = [np.int64(w) for w in (*mesh.lower, *[0] * rest, *mesh.shape, *[1] * rest)]
    return [*words, np.float64(1.0 / mesh.spacing)]
