"""How long a run takes: CPU-seconds of every stage on a core of 2025, fitted to measurements (benchmarks/plan.py)."""

from __future__ import annotations

import math

from ipsdist.config import RunConfig
from ipsdist.learning.network import network_installed
from ipsdist.model.setup import Setup
from ipsdist.numerics.equations.block_rule import gram_slices
from ipsdist.runs.plan_sizes import busy, function_count, passing_bytes, step_traffic, test_count
from ipsdist.runtime.settings import setting
from ipsdist.stages.base import fitted_times
from ipsdist.stages.blocks import expected_nodes, slice_bytes
from ipsdist.stages.breaks import hat_count
from ipsdist.stages.initial import chunk_of
from ipsdist.stages.tracks import sums_directly

__all__ = ["LOAD_SECONDS", "START_SECONDS", "chunk_doubt", "cpu_seconds", "exchange_seconds", "report_seconds"]

LOAD_SECONDS = 1.0
"""The program loaded."""
_REPORT = {1: 2.3, 2: 4.5, 3: 27.0}
"""The answer assessed, figures and page drawn, by dimension."""
START_SECONDS = 2.5
"""Until worker processes are there and have loaded the program."""
_STEP = 20e-6
"""A step without particles or nodes."""
_PARTICLE = {1: 3.6e-9, 2: 9e-9, 3: 24e-9}
"""One particle in one step: noise, force, move, deposit (benchmarks/step.py)."""
_CHUNK = 6e-6
"""One chunk of particles more in a step."""
_SLOW = 1.5
"""Times as long from which chunks that are too small are told of."""
_NODE = {1: 2.5e-9, 2: 2e-9, 3: 1.7e-9}
"""One point of one transform of the padded mesh."""
_SLICE = 0.2e-3
"""A slice written, whatever it holds."""
_SEEN = {1: 15e-9, 2: 50e-9, 3: 200e-9}
"""One particle deposited in a slice with its displacement to the next one."""
_BYTE = {1: 2e-9, 2: 1.5e-9, 3: 0.4e-9}
"""One byte of deposits compressed, or read again."""
_KEPT = 0.8e-9
"""One byte of a checkpoint written."""
_PAIR = 1.2e-9
"""One pair summed directly in a step."""
_SORTED = 115e-9
"""One particle in a step of prefix sums or moments."""
_DENSITY, _POINT = 0.13e-3, 1.0e-7
"""A slice smoothed, and one point of its grid."""
_SOLVING = {1: 1.5, 2: 4.5}
"""The mean-field equation searched and solved, slices left out."""
_PAIRED, _TESTED = 0.45e-3, 0.06e-3
"""A slice paired, whatever with; with one more test function."""
_LAG = {1: 2.8e-9, 2: 2.4e-9, 3: 1.2e-9}
"""One point of one transform of a slice that is paired."""
_TABLE = 60e-9
"""One point of one transform of a function that is tabulated."""
_DIRECT = 0.5e-9
"""One function of one pair of a slice that is summed directly."""
_HAT = 4.4e-9
"""One pair of hats in a slice."""
_SUBSETS = 4e-6
"""One model of a few terms weighed."""
_INSERTED, _NETWORK = 2.5e-7, 9.0
"""One element of the Gram of all parts of all terms, where break points are sought; the road of neural networks."""
_WIRE, _LATENCY = 1e9, 35e-6
"""Bytes a second and seconds a round between workers of a gang (benchmarks/gang.py)."""


def cpu_seconds(config: RunConfig, setup: Setup, members: int = 1) -> dict[str, float]:
    """Return the CPU-seconds of every stage before the report, by its name; ``members`` step a replica together."""
    return {
        "particles": _particles(config, setup, members),
        "densities": setup.slices * (_DENSITY + _points(setup) * _POINT + setup.replicas * _deposited(setup)),
        "equations": _equations(config, setup),
        "kernel": _kernel(config, setup),
    }


def exchange_seconds(config: RunConfig, setup: Setup, members: int) -> float:
    """Return the wall seconds that a gang spends on adding up counts, all replicas one after the other."""
    rounds = math.ceil(math.log2(members))
    each = rounds * _LATENCY + step_traffic(setup, members) / _WIRE
    return each * config.times().steps * setup.replicas


def report_seconds(config: RunConfig, setup: Setup) -> float:
    """Return the CPU-seconds in which the answer is assessed, and figures and page are drawn."""
    # Where pairs are summed directly nothing is predicted, and a prediction is what takes long in more dimensions.
    return _REPORT[1 if sums_directly(config, setup) else setup.dimension]


def _deposited(setup: Setup) -> float:
    """Return the CPU-seconds in which the deposits of a slice are compressed, or read again."""
    return _BYTE[setup.dimension] * busy(setup) * slice_bytes(setup)


def _points(setup: Setup) -> int:
    return math.prod(n + 1 for n in setup.grid.cells)


def _padded(setup: Setup) -> int:
    return (1 << setup.dimension) * expected_nodes(setup)


def _particles(config: RunConfig, setup: Setup, members: int) -> float:
    d, n = setup.dimension, setup.particles
    seen = n * _SEEN[d] * (1.0 if setup.labelled else 0.4)
    slices = setup.slices * setup.replicas * (_SLICE + seen + _deposited(setup))
    if config.data.source == "import":
        return slices
    if config.data.source == "mean_field":
        return _SOLVING[d] + setup.slices * (_SLICE + _deposited(setup))
    seconds = config.times().steps * (_step(setup) + _chunks(config, setup))
    epochs = min(config.times().steps, seconds / (float(setting("gang.epoch")) * members))
    return slices + setup.replicas * (seconds + epochs * _KEPT * passing_bytes(config, setup) / 4)


def _step(setup: Setup) -> float:
    """Return the CPU-seconds of one step of one replica."""
    d, n = setup.dimension, setup.particles
    moved = _STEP + n * _PARTICLE[d]
    if setup.force == "direct":
        return moved + n * n * _PAIR
    if setup.force in ("prefix", "moments"):
        return moved + n * _SORTED
    return moved + (d + 1) * _padded(setup) * _NODE[d]


def _chunks(config: RunConfig, setup: Setup) -> float:
    """Return the CPU-seconds of one step of one replica that chunks take by being more than the usual ones."""
    usual = chunk_of(config.model_copy(update={"run": config.run.model_copy(update={"chunk": "auto"})}))
    return max(0, math.ceil(setup.particles / chunk_of(config)) - math.ceil(setup.particles / usual)) * _CHUNK


def chunk_doubt(config: RunConfig, setup: Setup) -> str:
    """Return what is to be said of chunks so small that steps are slow; empty where they are not."""
    if config.data.source != "simulate":
        return ""
    times = 1.0 + _chunks(config, setup) / _step(setup)
    if times < _SLOW:
        return ""
    return (
        f"run.chunk = {config.run.chunk} makes a step about {float(f'{times:.2g}'):g} times as long; "
        'no result depends on it: leave it "auto", or give some 10000'
    )


def _equations(config: RunConfig, setup: Setup) -> float:
    d, slices, terms = setup.dimension, setup.slices, len(config.assembled()) + len(config.unknowns().fields)
    if config.form == "strong":
        points = _points(setup) << d
        drawn = config.fit.assembly == "drawn"
        return 0.0 if drawn else len(fitted_times(config, setup)) * (_PAIRED + terms * (d + 1) * points * _NODE[d])
    functions, pairs = function_count(config, setup), setup.replicas * slices
    if sums_directly(config, setup):
        return pairs * (_PAIRED + functions * setup.particles**2 * _DIRECT)
    points, grams = _padded(setup), setup.replicas * len(gram_slices(slices))
    tests = test_count(config, setup)
    paired = _PAIRED + tests * _TESTED + terms * (d + 1) * points * _LAG[d] + hat_count(config, setup) ** 2 * _HAT
    tables = (functions + terms) * (d + 2) * points * _TABLE
    return pairs * paired + grams * functions * (d + 1) * points * _LAG[d] + tables


def _kernel(config: RunConfig, setup: Setup) -> float:
    terms, hats = len(config.terms()), hat_count(config, setup)
    models = sum(math.comb(terms, k) for k in range(1, min(terms, config.fit.max_terms) + 1))
    seconds = 0.1 + models * _SUBSETS
    if hats:
        seconds += (hats * terms) ** 2 * _INSERTED
        if config.fit.network != "off" and network_installed():
            seconds += _NETWORK
    return seconds
