"""The model of docs/SCALING.md: fitted to the rows of benchmarks/gang.py, checked on those it has not seen, and used.

    python benchmarks/scaling.py                    costs, check and predictions as Markdown tables
    python benchmarks/scaling.py --latency 5e-6 --wire 2.5e10 --store 1e11     another network and store
    python benchmarks/scaling.py --write                                       into docs/SCALING.md

A step of N particles in one dimension by W members that meet on M nodes takes

    particle N / W + fixed + node F(M) + (W > 1) (software + rounds latency + bytes / wire)

with F(M) the points of the transforms of a step, and bytes the counts that a member sends in its rounds of the sum.
Every epoch costs first + member W once, and the positions are written: 8 N bytes through a store that all share.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from _rows import Row, load
from gang import CASES, best

ROWS = Path(__file__).parent / "results" / "gang.jsonl"
PAGE = Path(__file__).parents[1] / "docs" / "SCALING.md"
_BEGIN, _END = "<!-- tables of benchmarks/scaling.py -->", "<!-- end -->"
FITTED = (100_000, 10_000_000)
"""Numbers of particles whose steps the model is fitted to; the others check it."""
WORKERS = (8, 64, 1024)
PARTICLES = (10**9, 10**10, 10**11, 10**12)
MOST = 2**31 - 1
"""Particles of a replica that the program takes."""
_NODES = 4097
"""Nodes of the mesh of the case cubic at 1e9 particles; its error falls with the square of the spacing."""
_SHORT = 2**16
_SAVING, _LONGEST = 0.1, 12.0
"""An epoch is longer than ``gang.epoch`` where checkpoints would take more than this share; at most so many times."""


def nodes(particles: float) -> int:
    """Return the nodes of the mesh: twice as many for sixteen times the particles."""
    return 2 ** max(8, round(math.log2((_NODES - 1) * (particles / 1e9) ** 0.25))) + 1


def points(mesh: int) -> float:
    """Return the points of the two real transforms of a step, on the mesh padded to twice its length."""
    return 2.0 * 2 * mesh


@dataclass(frozen=True)
class Costs:
    """Seconds, and bytes a second."""

    particle: float
    fixed: float
    node: float
    software: float
    latency: float
    wire: float
    first: float
    member: float
    write: float

    def rounds(self, members: int, mesh: int) -> tuple[int, float]:
        """Return the messages one after the other of a sum, and the bytes that a member sends in them."""
        size, doubling = 8.0 * (mesh + 1), math.ceil(math.log2(members))
        if size <= _SHORT:
            return doubling, doubling * size
        return 2 * doubling, 2.0 * size * (members - 1) / members

    def sum(self, members: int, mesh: int) -> float:
        """Return the seconds of the sum of a step."""
        messages, size = self.rounds(members, mesh)
        return messages * self.latency + size / self.wire if members > 1 else 0.0

    def own(self, particles: float, members: int, mesh: int) -> tuple[float, float]:
        """Return the seconds of a step for the particles of a member, and for what every member does alike."""
        alike = self.fixed + self.node * points(mesh) + (self.software if members > 1 else 0.0)
        return self.particle * particles / members, alike

    def step(self, particles: float, members: int, mesh: int) -> float:
        """Return the seconds of a step."""
        return sum(self.own(particles, members, mesh)) + self.sum(members, mesh)


def fitted(rows: Sequence[Row]) -> Costs:
    """Return the costs by least squares of relative errors, each from the rows that tell of it."""
    sums = [(n, best(rows, "sum", f"{n} 2", "seconds")) for n, _ in CASES["sum"][:3]]
    latency, byte = _line([(8.0 * n, seconds) for n, seconds in sums])
    node = 3.5e-9  # a point of a transform, benchmarks/plan.py
    alone = [(n, best(rows, "step", f"{n} 1", "seconds") - node * points(nodes(n))) for n in FITTED]
    fixed, particle = _line([(float(n), seconds) for n, seconds in alone])
    n = FITTED[0]
    two = best(rows, "step", f"{n} 2", "seconds")
    wires = latency + 8.0 * nodes(n) * byte
    software = max(0.0, two - particle * n / 2 - fixed - node * points(nodes(n)) - wires)
    epochs = [(float(w), best(rows, "epoch", f"{w} {how}", "seconds")) for w, how in CASES["epoch"][1:]]
    first, member = _line(epochs)
    written = best(rows, "store", "160000000", "write")
    return Costs(particle, fixed, node, software, latency, 1.0 / byte, first, member, 160e6 / written)


def _line(pairs: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Return level and slope of a line by least squares of relative errors, neither below zero."""
    x, y = (np.array(each) for each in zip(*pairs, strict=True))
    level, slope = np.linalg.lstsq(np.stack([1.0 / y, x / y], axis=1), np.ones(len(y)), rcond=None)[0]
    return max(float(level), 1e-9), max(float(slope), 1e-15)


def check(rows: Sequence[Row], costs: Costs) -> list[str]:
    """Return the table of steps that were measured, beside the model."""
    lines = ["| N | W | measured, ms | model, ms | ratio | |", "|---|---|---|---|---|---|"]
    for n, w in CASES["step"]:
        seconds, model = best(rows, "step", f"{n} {w}", "seconds"), costs.step(n, w, nodes(n))
        seen = "fitted" if n in FITTED and (w == 1 or n == FITTED[0]) else "not seen by the fit"
        lines.append(f"| {n:.0e} | {w} | {1e3 * seconds:.3g} | {1e3 * model:.3g} | {model / seconds:.2f} | {seen} |")
    return lines


def told(costs: Costs) -> list[str]:
    """Return the table of costs."""
    shown = [
        ("particle, step and core", f"{1e9 * costs.particle:.2f} ns"),
        ("step, whatever its size", f"{1e6 * costs.fixed:.0f} us"),
        ("point of a transform", f"{1e9 * costs.node:.1f} ns"),
        ("software of a sum", f"{1e6 * costs.software:.0f} us"),
        ("message on loopback", f"{1e6 * costs.latency:.0f} us"),
        ("bytes on loopback", f"{costs.wire / 1e9:.1f} GB/s"),
        ("epoch", f"{1e3 * costs.first:.0f} ms + {1e3 * costs.member:.1f} ms a member"),
        ("checkpoint", f"{costs.write / 1e9:.2f} GB/s a member"),
    ]
    return ["| what | cost |", "|---|---|", *(f"| {what} | {cost} |" for what, cost in shown)]


def predictions(costs: Costs, store: float, epoch: float) -> list[str]:
    """Return the table of runs that no machine here can do; ``epoch`` is gang.epoch."""
    lines = [
        "| N | W | GB a worker | M | step, s | particles | alike | sum | checkpoint, s | epoch, s | of the time at work"
        " | first bottleneck |",
        "|" + "---|" * 12,
    ]
    return [*lines, *(_predicted(costs, store, epoch, n, w) for n in PARTICLES for w in WORKERS)]


def _predicted(costs: Costs, store: float, epoch: float, n: int, w: int) -> str:
    mesh = nodes(n)
    work, alike = costs.own(n, w, mesh)
    summed, step = costs.sum(w, mesh), costs.step(n, w, mesh)
    writing = 8.0 * n / min(store, w * costs.write)
    starting = costs.first + costs.member * w
    # An epoch has at least one step.
    length = max(step, min(_LONGEST * epoch, max(epoch, (1.0 / _SAVING - 1.0) * writing)))
    whole = length + writing + starting
    overheads = {
        "what every member does alike": alike / step * length / whole,
        "the network": summed / step * length / whole,
        "the store": writing / whole,
        "the scheduler": starting / whole,
    }
    name, share = max(overheads.items(), key=lambda item: item[1])
    useful = work / step * length / whole
    why = f"{name}, {share:.1%}" if share >= 0.01 else "none: particles"
    why = f"memory; then {why}" if 8.0 * n / w > 64e9 else why
    why = f"the limit of {MOST:.1e} particles; then {why}" if n > MOST else why
    shares = " | ".join(f"{part / step:.1%}" for part in (work, alike, summed))
    return (
        f"| {n:.0e} | {w} | {8e-9 * n / w:.3g} | {mesh} | {step:.3g} | {shares} | {writing:.3g} | {length:.0f} |"
        f" {useful:.1%} | {why} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--latency", type=float, default=50e-6, help="of a message between hosts, s; default 50e-6")
    parser.add_argument("--wire", type=float, default=1.0e9, help="bytes a second between hosts; default 1e9")
    parser.add_argument("--store", type=float, default=1.0e10, help="bytes a second of the shared store; default 1e10")
    parser.add_argument("--epoch", type=float, default=5.0, help="gang.epoch, s; default 5")
    parser.add_argument("--write", action="store_true", help="put the tables into docs/SCALING.md")
    parser.add_argument("--rows", type=Path, default=ROWS, metavar="FILE")
    args = parser.parse_args()
    rows = load(args.rows)
    if not rows:
        parser.exit(1, "no rows yet: run benchmarks/gang.py first\n")
    here = fitted(rows)
    there = Costs(**{**here.__dict__, "latency": args.latency, "wire": args.wire})
    assumed = f"{args.latency:g} s a message, {args.wire:g} B/s, store {args.store:g} B/s, gang.epoch {args.epoch:g} s"
    tables = {
        "Costs": told(here),
        "Check": check(rows, here),
        f"Predictions: {assumed}": predictions(there, args.store, args.epoch),
    }
    text = "\n".join("\n".join([f"## {title}", "", *lines, ""]) for title, lines in tables.items())
    if args.write:
        before, _, rest = PAGE.read_text().partition(_BEGIN)
        PAGE.write_text(f"{before}{_BEGIN}\n\n{text}\n{_END}{rest.partition(_END)[2]}")
    print(text)


if __name__ == "__main__":
    main()
