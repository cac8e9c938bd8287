"""Columns from outside the interaction: unknown fields, test functions of the weak form, and the known potential."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from ipsdist.config import RunConfig
from ipsdist.model.expression import Expression
from ipsdist.model.learned_potential import LearnedPotential
from ipsdist.model.mesh import Mesh
from ipsdist.numerics.equations.tables import ExternalTables, external_tables
from ipsdist.numerics.equations.test_functions import SplineTest, spline_tables, spline_tests
from ipsdist.stages.base import setup_of
from ipsdist.stages.blocks import whole_mesh
from ipsdist.storage import Store

__all__ = ["TESTS", "Outside", "make_tests", "outside_names", "outside_tables", "tests_of"]

TESTS = "equations/tests"


@dataclass(frozen=True)
class Outside:
    """V of a prediction: what the fit was told and what it has learnt, together."""

    known: Expression | None
    learnt: LearnedPotential | None

    def __call__(self, *axes: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return V at points given by one array an axis."""
        total = np.zeros(np.broadcast_shapes(*(a.shape for a in axes)))
        for part in (self.known, self.learnt):
            if part is not None:
                total = total + part(*axes)
        return total


def outside_names(config: RunConfig) -> tuple[str, ...]:
    """Return the names of the columns that follow the terms and are unknown."""
    return tuple(field.name for field in config.unknowns().fields)


def make_tests(store: Store, config: RunConfig) -> None:
    """Choose the test functions of the weak form, on a box that holds all particles at all times."""
    setup = setup_of(store)
    if config.form != "weak":
        return
    ends = [(float(nodes[0]), float(nodes[-1])) for nodes in whole_mesh(store, setup).axes()]
    lower, upper = (tuple(end[k] for end in ends) for k in (0, 1))
    columns = len(config.assembled()) + len(config.unknowns().fields)  # a projected dictionary keeps these tests
    tests = spline_tests(lower, upper, setup.particles, columns + 1)
    store.write(TESTS, np.array([[*t.centre, *t.width] for t in tests]), dims=("test", "centre_then_width"))


def tests_of(store: Store, config: RunConfig) -> tuple[SplineTest, ...]:
    """Read the test functions; none for other forms."""
    if config.form != "weak":
        return ()
    d = config.system.dimension
    return tuple(SplineTest(tuple(row[:d]), tuple(row[d:])) for row in store.read(TESTS).tolist())


def outside_tables(store: Store, config: RunConfig, mesh: Mesh) -> tuple[ExternalTables, ...]:
    """Return the tables of fields, test functions and the known potential, in this order, on a mesh."""
    known = config.known()
    fields = tuple(field.potential for field in config.unknowns().fields)
    return _tables(fields, tests_of(store, config), () if known is None else (known,), mesh)


@lru_cache(maxsize=4)
def _tables(
    fields: tuple[Expression, ...], tests: tuple[SplineTest, ...], known: tuple[Expression, ...], mesh: Mesh
) -> tuple[ExternalTables, ...]:
    """Tabulate once for all slices on one mesh; neighbouring blocks mostly share it."""
    first, last = ([external_tables(p, mesh) for p in potentials] for potentials in (fields, known))
    return (*first, *spline_tables(tests, mesh), *last)
