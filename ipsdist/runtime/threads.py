"""BLAS on one thread, so that sums have one order on every machine."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

__all__ = ["single_threaded"]


@contextlib.contextmanager
def single_threaded() -> Iterator[None]:
    """Limit BLAS to one thread inside the block: with more, products and solves differ in their last bits."""
    # SciPy brings a BLAS of its own; one that was loaded inside the block would escape the limit.
    import scipy.linalg  # noqa: F401
    import threadpoolctl

    with threadpoolctl.threadpool_limits(limits=1, user_api="blas"):
        yield
