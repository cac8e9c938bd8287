"""Fixtures that many tests share."""

from __future__ import annotations

import os

import pytest

if "IPSDIST_TEST_GPU" not in os.environ:
    # What the CPU does is tested, on machines with a GPU too; workers inherit it.
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
# Stand-ins for compilers must not leave in the user's folder what a process would run.
os.environ["IPSDIST_CACHE_DIR"] = "off"

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
