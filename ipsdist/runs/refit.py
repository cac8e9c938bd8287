"""Another dictionary for equations that are there: projected from the radial basis, without a look at the particles."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ipsdist.config import RunConfig
from ipsdist.runs.directory import existing
from ipsdist.stages.base import setup_of
from ipsdist.stages.radial import HELD, has_radial, held, radial_basis

__all__ = ["by_projection"]


def by_projection(out: Path, before: RunConfig, config: RunConfig) -> RunConfig:
    """Return the configuration that keeps the equations of ``before`` and projects the terms of ``config`` from them.

    As it came where that cannot be: the same terms, no radial equations (three dimensions, strong form), another
    cut-off, or a term that the radial basis does not hold to one part in a thousand.
    """
    if config.terms() == before.terms():
        return config
    store = existing(out)
    assembled = before.dictionary.assembled or before.dictionary.terms
    if config.terms() == before.assembled():
        return _with_assembled(config, None)
    if (
        store is None
        or store.record("equations/done") is None
        or not has_radial(config, setup_of(store))
        or before.form != config.form
        or config.dictionary.cutoff != before.dictionary.cutoff
        or not np.all(held(config.terms(), radial_basis(store)) <= HELD)
    ):
        return _with_assembled(config, None)
    return _with_assembled(config, assembled)


def _with_assembled(config: RunConfig, assembled: tuple[str, ...] | None) -> RunConfig:
    dictionary = config.dictionary.model_copy(update={"assembled": assembled})
    return config.model_copy(update={"dictionary": dictionary})
