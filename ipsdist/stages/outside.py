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
from ipsdist.storage import Store

__all__ = ["Outside", "outside_names", "outside_tables"]


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


def outside_tables(store: Store, config: RunConfig, mesh: Mesh) -> tuple[ExternalTables, ...]:
    """Return the tables of fields, test functions and the known potential, in this order, on a mesh."""
    known = config.known()
    fields = tuple(field.potential for field in config.unknowns().fields)
    return _tables(fields if known is None else (*fields, known), mesh)


@lru_cache(maxsize=4)
def _tables(potentials: tuple[Expression, ...], mesh: Mesh) -> tuple[ExternalTables, ...]:
    """Tabulate once for all slices on one mesh; neighbouring blocks mostly share it."""
    return tuple(external_tables(p, mesh) for p in potentials)
