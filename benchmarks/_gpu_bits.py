"""Part bits of gpu.py: every kernel against its Numba twin, bit for bit, on grids and sizes drawn at random."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
from _gpu_bench import DONE, FAILED, SAME_BITS, Bench, differing
from _gpu_kernels import KINDS, LAYOUTS, Guarded, Kernels, Layout, Words, mesh_words

from ipsdist.model.deposits import MOVE_ONE
from ipsdist.model.mesh import Mesh
from ipsdist.model.system import Mixture, Uniform
from ipsdist.numerics.densities.deposit import moves_of, squares_of, weights_of
from ipsdist.numerics.device.step import move, step
from ipsdist.numerics.particles.initial import sample
from ipsdist.numerics.particles.noise import INITIAL_NORMALS, INITIAL_UNIFORMS, NORMAL_TABLE, seed_words, stream_of

GRIDS = ((1, 32), (7, 96), (61, 128), (132, 256), (1000, 64))
"""Blocks and threads: any may be asked for."""
SPACINGS = (2.0**-4, 2.0**-2, 2.0**-1)


class Tally:
    """How many cases of one kernel were the same bits, and the first that was not."""

    def __init__(self) -> None:
        self.cases = self.same = 0
        self.first = ""

    def add(self, case: str, pairs: dict[str, tuple[Any, Any]]) -> None:
        """Compare what the device and the twin gave, name by name."""
        self.cases += 1
        wrong = {name: differing(a, b) for name, (a, b) in pairs.items()}
        if not any(wrong.values()):
            self.same += 1
        elif not self.first:
            what = ", ".join(f"{n} of {np.size(pairs[k][0])} {k}" for k, n in wrong.items() if n)
            self.first = f"{case}: {what} differ"

    def fail(self, case: str, error: Exception) -> None:
        """Note a case that could not be done."""
        self.cases += 1
        self.first = self.first or f"{case}: {type(error).__name__}: {' '.join(str(error).splitlines()[:1])}"[:300]

    def tell(self, bench: Bench, what: str) -> None:
        """Add the line of this kernel."""
        state = DONE if self.cases and self.same == self.cases else FAILED
        bench.row(what, float(self.same), f"of {self.cases} {SAME_BITS}", state=state, note=self.first)


def check(bench: Bench, dimension: int) -> None:
    """Check all kernels in one dimension."""
    rng = np.random.default_rng(7 + dimension)
    rounds = 1 if bench.rehearse else 2 if bench.tiny else 5
    tallies: dict[str, Tally] = {name: Tally() for name in CHECKS}
    for kind, layout in _layouts(bench, dimension):
        with bench.case(f"{dimension}-D {kind}: text compiled with {layout}"):
            kernels = Kernels(bench.device, dimension, kind, layout)
            # All kernels but the step are the same text for every layout.
            names = CHECKS if layout == LAYOUTS[0] or bench.rehearse else {"step": CHECKS["step"]}
            for number, (name, one) in itertools.product(range(rounds), names.items()):
                case = f"{kind} {layout} round {number}"
                if bench.left() < 3:
                    continue
                try:
                    one(kernels, rng, _size(rng, bench, number), tallies[name], case)
                except Exception as error:  # the others are still wanted
                    tallies[name].fail(case, error)
    for name, tally in tallies.items():
        tally.tell(bench, f"{dimension}-D {name}")


def _layouts(bench: Bench, dimension: int) -> list[tuple[str, Layout]]:
    """Return kinds of positions with layouts of a step; a rehearsal takes two of ten."""
    if bench.rehearse:
        return [("float32", LAYOUTS[5 - dimension]), ("float64", LAYOUTS[dimension % 2])]
    return list(itertools.product(KINDS, LAYOUTS))


def _size(rng: np.random.Generator, bench: Bench, number: int) -> int:
    """Return a particle number: small ones first, then any."""
    if number == 0:
        return int(rng.integers(1, 12))
    return int(rng.integers(12, 3000 if bench.tiny else 200_000))


def _grid(rng: np.random.Generator) -> tuple[int, int]:
    return GRIDS[int(rng.integers(len(GRIDS)))]


def _words(rng: np.random.Generator) -> Words:
    """Return noise with a first word beyond 2**34, so that both halves of the block's number are looked at."""
    low, high = seed_words(int(rng.integers(2**63)))
    first = 4 * int(rng.integers(2**40))
    return Words(first, int(rng.integers(2**31)), int(rng.integers(2**32)), int(low), int(high))


def _cloud(rng: np.random.Generator, dimension: int, kind: Any, n: int) -> tuple[Any, Mesh]:
    """Return positions (n, d) in two clouds, some of them on nodes, and a mesh around them.

    One time in four they are so close that all share few nodes, and one in four farther from 0 than 2**19 spacings,
    where a step in float32 takes another way.
    """
    spacing = SPACINGS[dimension - 1]
    close, far = rng.random(2) < 0.25
    x = rng.normal(0, 0.5, (n, dimension)) + rng.choice([-1.0, 1.0], (n, 1))
    x = x * (0.01 if close else 1.0) + far * rng.choice([-1.0, 1.0], dimension) * 2**20 * spacing
    on_node = rng.random(n) < 0.05
    x[on_node] = np.round(x[on_node] / spacing) * spacing
    x = x.astype(kind)
    return x, Mesh.around(x.min(0), x.max(0), spacing)


def _step(kernels: Kernels, rng: np.random.Generator, n: int, tally: Tally, case: str) -> None:
    x, mesh = _cloud(rng, kernels.dimension, kernels.kind, n)
    drift = rng.normal(0, 3, (kernels.dimension, *mesh.shape)).astype(kernels.kind)
    if not kernels.fits(mesh):
        raise ValueError(f"a mesh of {mesh.shape} does not fit into shared memory: choose a smaller one")
    # The first shakes them, the second throws some off the mesh, the third starts with one that is off it already.
    for scale, gone in ((0.3 * mesh.spacing, False), (8 * mesh.spacing, False), (0.3 * mesh.spacing, True)):
        before, words = x.copy(), _words(rng)
        if gone:
            before[n // 2, 0] = mesh.axes()[0][-1] + 3
        count = np.zeros(mesh.shape, dtype=np.int64)
        there = [Guarded(kernels.device, a) for a in (before, np.zeros(mesh.shape, np.uint64), np.zeros(2, np.uint64))]
        moved, (grid, dt) = before.copy(), (_grid(rng), 1e-3)
        rest = dt, scale, NORMAL_TABLE, *words.numba(), count
        lost = step(moved.reshape(-1), drift, np.array(mesh.lower), 1 / mesh.spacing, *rest)
        x_there, count_there, lost_there = there
        on_device = x_there.array, n, kernels.field(drift), mesh, dt, scale, words
        kernels.step(grid, *on_device, count_there.array, lost_there.array)
        left, off = lost_there.host().tolist()
        if gone:
            tally.add(f"{case} off", {"off": (np.array([off]), np.array([1])), "twin": (np.array(lost), np.array(-1))})
            continue
        pairs = {"positions": (x_there.host(), moved), "lost": (np.array([left, off]), np.array([lost, 0]))}
        if not lost:
            pairs["counts"] = (count_there.host(), count)
        tally.add(f"{case} scale {scale:g} grid {grid}", pairs)


def _move(kernels: Kernels, rng: np.random.Generator, n: int, tally: Tally, case: str) -> None:
    x, _ = _cloud(rng, kernels.dimension, kernels.kind, n)
    drift, words, grid = rng.normal(0, 3, x.shape), _words(rng), _grid(rng)
    there, moved = Guarded(kernels.device, x), x.copy()
    noise = np.float64(1e-2), np.float64(0.1), kernels.table, *words.cuda()
    kernels.launch("move", grid, [there.array, np.uint64(n), kernels.device.array(drift), *noise])
    move(moved.reshape(-1), drift.reshape(-1), 1e-2, 0.1, NORMAL_TABLE, *words.numba())
    tally.add(f"{case} grid {grid}", {"positions": (there.host(), moved)})


def _deposit(kernels: Kernels, rng: np.random.Generator, n: int, tally: Tally, case: str) -> None:
    x, mesh = _cloud(rng, kernels.dimension, kernels.kind, n)
    count, products = weights_of(x, mesh)
    there = [Guarded(kernels.device, np.zeros_like(a)) for a in (count.view(np.uint64), products, np.zeros(1, "u8"))]
    grid = _grid(rng)
    given = [kernels.device.array(x), np.uint64(n), *mesh_words(mesh)]
    passes = kernels.passes(1 + len(products), 1, count.size, rng)
    for lines in passes:
        kernels.sums("deposit", grid, given, lines, 1, count.size, [a.array for a in there])
    pairs = {"counts": (there[0].host(), count), "products": (there[1].host(), products)}
    pairs["lost"] = there[2].host(), np.zeros(1, dtype=np.int64)
    tally.add(f"{case} grid {grid} lines {passes}", pairs)


def _flux(kernels: Kernels, rng: np.random.Generator, n: int, tally: Tally, case: str) -> None:
    x, mesh = _cloud(rng, kernels.dimension, kernels.kind, n)
    y = (x + rng.normal(0, 2 * mesh.spacing, x.shape)).astype(kernels.kind)
    unit, grid = MOVE_ONE >> int(rng.integers(8)), _grid(rng)
    flux, squares, reach = moves_of(x, y, mesh, unit)
    zeros = np.zeros_like(flux), np.zeros(2, np.int64), np.zeros(1, np.uint64), np.zeros(1, np.uint64)
    there = [Guarded(kernels.device, a) for a in zeros]
    both = kernels.device.array(x), kernels.device.array(y)
    given, nodes = [*both, np.uint64(n), *mesh_words(mesh), np.float64(unit)], flux[0].size
    passes = kernels.passes(len(flux), 2, nodes, rng)
    for lines in passes:
        kernels.sums("flux", grid, given, lines, 2, nodes, [a.array for a in there])
    pairs = {"flux": (there[0].host(), flux), "squares": (there[1].host(), squares)}
    pairs["reach"] = there[2].host().view(np.float64), np.array([reach])
    tally.add(f"{case} grid {grid} lines {passes}", pairs)


def _squares(kernels: Kernels, rng: np.random.Generator, n: int, tally: Tally, case: str) -> None:
    x, mesh = _cloud(rng, kernels.dimension, kernels.kind, n)
    y = (x + rng.normal(0, 2 * mesh.spacing, x.shape)).astype(kernels.kind)
    squares, reach = squares_of(x, y, mesh)
    there = [Guarded(kernels.device, a) for a in (np.zeros(2, np.int64), np.zeros(1, np.uint64))]
    both, grid = (kernels.device.array(x), kernels.device.array(y)), _grid(rng)
    inverse = np.float64(1 / mesh.spacing)
    kernels.launch("squares", grid, [*both, np.uint64(n), inverse, *(a.array for a in there)])
    pairs = {"squares": (there[0].host(), squares), "reach": (there[1].host().view(np.float64), np.array([reach]))}
    tally.add(f"{case} grid {grid}", pairs)


def _draws(kernels: Kernels, rng: np.random.Generator, n: int, tally: Tally, case: str) -> None:
    d, device = kernels.dimension, kernels.device
    seed, replica, first = int(rng.integers(2**63)), int(rng.integers(1000)), 4 * int(rng.integers(2**30))
    low, high = (np.uint32(w) for w in seed_words(seed))
    normals, uniforms = (np.uint32(stream_of(replica, p)) for p in (INITIAL_NORMALS, INITIAL_UNIFORMS))
    means = tuple(tuple(m) for m in rng.normal(0, 2, (3, d)).tolist())
    mixture = Mixture((0.2, 0.5, 0.3), means, (0.1, 0.4, 2.0))
    edges = np.cumsum(mixture.weights) / np.sum(mixture.weights)
    law = [device.array(np.ascontiguousarray(a)) for a in (edges, np.array(means), np.sqrt(mixture.variances))]
    box = Uniform((-1.0, 0.25, 3.0)[:d], (2.0, 1.5, 3.5)[:d])
    corners = [device.array(a) for a in (np.array(box.lower), np.array(box.upper) - np.array(box.lower))]
    start = np.uint64(n), np.uint64(first)
    asked: tuple[tuple[str, Any, list[Any]], ...] = (
        ("draw_mixture", mixture, [*start, kernels.table, normals, uniforms, low, high, *law, np.uint32(3)]),
        ("draw_uniform", box, [*start, uniforms, low, high, *corners]),
    )
    for name, drawn, arguments in asked:
        there, grid = Guarded(device, np.zeros((n, d), dtype=kernels.kind)), _grid(rng)
        kernels.launch(name, grid, [there.array, *arguments])
        twin = sample(drawn, d, seed, replica, first, n).astype(kernels.kind)
        tally.add(f"{case} {name} grid {grid}", {"positions": (there.host(), twin)})


CHECKS: dict[str, Callable[[Kernels, np.random.Generator, int, Tally, str], None]] = {
    "step": _step,
    "move": _move,
    "deposit": _deposit,
    "flux": _flux,
    "squares": _squares,
    "draws": _draws,
}
