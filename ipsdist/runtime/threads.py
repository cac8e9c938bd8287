"""BLAS and XLA on one thread, so that sums have one order on every machine."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import threadpoolctl

__all__ = ["single_threaded", "single_xla_thread"]


@contextlib.contextmanager
def single_threaded() -> Iterator[None]:
    """Limit BLAS to one thread inside the block: with more, products and solves differ in their last bits."""
    # SciPy brings a BLAS of its own; one that was loaded inside the block would escape the limit.
    import scipy.linalg  # noqa: F401

    with _pools(len(sys.modules)).limit(limits=1, user_api="blas"):
        yield


@lru_cache(maxsize=1)
def _pools(modules: int) -> threadpoolctl.ThreadpoolController:  # noqa: ARG001  more modules may be more libraries
    """Return the thread pools of this process; finding them reads the table of everything that is mapped."""
    import threadpoolctl

    return threadpoolctl.ThreadpoolController()


@contextlib.contextmanager
def single_xla_thread() -> Iterator[None]:
    """Let JAX begin on one thread inside the block: XLA shares sums out among its threads, whatever it is told.

    It reads their number once, when its first array is made. In a process that used JAX before, it stays what it was.
    """
    before = os.environ.get("NPROC")
    os.environ["NPROC"] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ["NPROC"]
        else:
            os.environ["NPROC"] = before
