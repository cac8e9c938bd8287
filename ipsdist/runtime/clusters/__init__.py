"""Clusters by name: each starts, gives a client, and goes when its context ends. Their packages are imported late."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from ipsdist.model.errors import InputError
from ipsdist.runtime.settings import CLUSTERS

__all__ = ["Tell", "check_name", "open_cluster"]

Tell = Callable[[str], None]
"""Hears a line of text for the user."""


def check_name(name: str) -> None:
    """Raise InputError for a cluster that is unknown, naming one that is near if there is one."""
    if name not in CLUSTERS:
        near = difflib.get_close_matches(name, CLUSTERS, n=1)
        fix = f"did you mean {near[0]}?" if near else "or give the address of a running one as --scheduler"
        raise InputError("--cluster", f"must be one of {', '.join(CLUSTERS)}", repr(name), fix)


def open_cluster(name: str, workers: int | None, tell: Tell) -> AbstractContextManager[Any]:
    """Return the context in which a cluster runs; it gives a ``distributed.Client`` of a cluster with a worker.

    ``workers`` is how many are wanted (None: what is configured). Raises InputError for what cannot be started.
    """
    check_name(name)
    module = importlib.import_module(f"ipsdist.runtime.clusters.{name}")
    opened: AbstractContextManager[Any] = getattr(module, name)(workers, tell)
    return opened
