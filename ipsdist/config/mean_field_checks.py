"""What a run file must not ask for where densities of the mean-field equation take the place of particles."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ipsdist.model.errors import InputError

if TYPE_CHECKING:
    from ipsdist.config.schema import RunConfig

__all__ = ["mean_field_source"]

_FEWEST = 8
"""Cells that a spline through them needs, and more."""
_WHEN = 'when data.source = "mean_field"'


def mean_field_source(config: RunConfig) -> None:
    """Check that nothing needs particles; raises InputError for the first key that does."""
    if config.data.source != "mean_field":
        return
    system, fit = config.system, config.fit
    if config.initial.file is not None:
        fix = "give one of mixture, uniform, ring"
        raise InputError("initial.file", f"must be a law with a density {_WHEN}", config.initial.file, fix)
    if system.dimension > 2:
        rule = f"must be 1 or 2 {_WHEN}"
        raise InputError("system.dimension", rule, system.dimension, 'use data.source = "simulate"')
    if system.replicas != 1:
        rule = f"must be 1 {_WHEN}, which has no chance to repeat"
        raise InputError("system.replicas", rule, system.replicas, "leave it out")
    if config.time.positions_at:
        raise InputError("time.positions_at", f"must be left out {_WHEN}", "given", "there are no particles")
    if config.force.method not in ("auto", "mesh"):
        rule = f"must be auto or mesh {_WHEN}"
        raise InputError("force.method", rule, f'"{config.force.method}"', 'use force.method = "auto"')
    cells = config.grid.cells if config.grid is not None else _FEWEST
    least = min(cells) if isinstance(cells, tuple) else cells
    if config.mean_field.step != "auto" and least < _FEWEST:
        rule = f"must be at least {_FEWEST} an axis where mean_field.step is a number {_WHEN}"
        raise InputError("grid.cells", rule, least, 'use mean_field.step = "auto"')
    if fit.form == "likelihood":
        rule, fix = f"must not be likelihood {_WHEN}, which has no displacements", 'use fit.form = "action"'
        raise InputError("fit.form", rule, '"likelihood"', fix)
    if fit.sums == "direct":
        rule = f"must not be direct {_WHEN}, which has no pairs of particles"
        raise InputError("fit.sums", rule, '"direct"', 'use fit.sums = "mesh"')
