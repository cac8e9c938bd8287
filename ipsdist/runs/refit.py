"""Another dictionary for equations that are there: projected from the radial basis, without a look at the particles."""

from __future__ import annotations

import numpy as np

from ipsdist.config import RunConfig
from ipsdist.numerics.equations.test_functions import fewest_tests
from ipsdist.runs.directory import existing, has_run
from ipsdist.stages.base import setup_of
from ipsdist.stages.outside import TESTS, tests_of
from ipsdist.stages.radial import HELD, has_radial, held, radial_basis
from ipsdist.storage import Place, Store

__all__ = ["by_assembly", "by_projection"]


def by_projection(out: Place, before: RunConfig, config: RunConfig) -> RunConfig:
    """Return the configuration that keeps the equations of ``before`` and projects the terms of ``config`` from them.

    With the same terms, what was projected stays projected. All terms are to be assembled where none can be projected:
    no radial equations (strong form, a mesh in three dimensions), another form or cut-off, fewer test functions than
    the terms take, or a term that the radial basis does not hold to one part in a thousand.
    """
    store = existing(out)
    if store is None or not has_run(store) or not has_radial(config, setup_of(store)):
        return _with_assembled(config, None)
    if config.terms() == before.terms():
        return config
    assembled = before.dictionary.assembled or before.dictionary.terms
    if config.terms() == before.assembled():
        return _with_assembled(config, None)
    if (
        store.record("equations/done") is None
        or before.form != config.form
        or _short_of_tests(store, config)
        or config.dictionary.cutoff != before.dictionary.cutoff
        or not np.all(held(config.terms(), radial_basis(store)) <= HELD)
    ):
        return _with_assembled(config, None)
    return _with_assembled(config, assembled)


def by_assembly(before: RunConfig, config: RunConfig) -> RunConfig:
    """Return the configuration that assembles the terms of ``config`` where they are not those of ``before``."""
    return config if config.terms() == before.terms() else _with_assembled(config, None)


def _short_of_tests(store: Store, config: RunConfig) -> bool:
    """Tell whether the weak form, which tested the terms that were assembled, has too few tests for these."""
    if config.form != "weak" or config.system.dimension > 1:
        return False
    return not store.exists(TESTS) or len(tests_of(store, config)) < fewest_tests(len(config.unknowns()) + 1)


def _with_assembled(config: RunConfig, assembled: tuple[str, ...] | None) -> RunConfig:
    dictionary = config.dictionary.model_copy(update={"assembled": assembled})
    return config.model_copy(update={"dictionary": dictionary})
