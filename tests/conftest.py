"""Fixtures that many tests share."""

from __future__ import annotations

import pytest

from ipsdist.runtime.executor import SerialExecutor
from ipsdist.storage import Store


@pytest.fixture
def store(tmp_path):
    """An empty store."""
    return Store.create(tmp_path / "store.zarr", {"case": "cubic"})


@pytest.fixture
def executor():
    """An executor in this process that pickles every task, as a cluster would."""
    return SerialExecutor(pickle_tasks=True)
