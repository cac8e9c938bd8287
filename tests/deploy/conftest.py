"""A run that takes long enough to be disturbed, and what it must come to."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

import ipsdist as ips
from tests.runs.samples import answer

RUN = """
[system]
particles = 40000
kernel = "3*r**2"
diffusion = 2.0
[time]
horizon = 4.0
step = 1e-4
observe_every = 100
[initial]
mixture = [{weight = 0.5, mean = 1.0, variance = 0.25}, {weight = 0.5, mean = -1.0, variance = 0.25}]
[grid]
lower = -5.0
upper = 5.0
cells = 80
[dictionary]
terms = ["1", "r", "r**2", "r**3"]
"""
"""Some ten seconds of steps, shared by two workers where DASK_IPSDIST__GANG__SIZE is 2."""


@pytest.fixture(scope="session")
def long_run(tmp_path_factory):
    """Return the run file, and the answer of a run in this process that nothing disturbed."""
    folder = tmp_path_factory.mktemp("undisturbed")
    source = folder / "run.toml"
    source.write_text(RUN)
    return source, answer(ips.run(source, folder / "out", draw=False).result)


@pytest.fixture
def environment(tmp_path):
    """Return the environment of a user who has activated the environment of these tests, with short epochs."""
    ours = Path(sys.executable).parent
    root = Path(__file__).parents[2]
    return {
        **{k: v for k, v in os.environ.items() if not k.startswith("DASK_")},
        "PATH": f"{ours}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": os.pathsep.join(filter(None, [str(root), os.environ.get("PYTHONPATH")])),
        "OMP_NUM_THREADS": "1",
        "DASK_CONFIG": str(tmp_path / "dask"),
        "DASK_IPSDIST__GANG__SIZE": "2",
        "DASK_IPSDIST__GANG__EPOCH": "0.5",
        "DASK_IPSDIST__GANG__TIMEOUT": "10",
    }


def answer_of(out: Path):
    """Return the answer that stands in the directory of a run."""
    return answer(json.loads((out / "result.json").read_text()))
