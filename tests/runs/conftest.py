"""Runs that several files of tests pool."""

import pytest

from ipsdist.config import resolve
from ipsdist.runs import pipeline
from tests.runs.samples import EXPERIMENTS, write


@pytest.fixture(scope="session")
def runs(tmp_path_factory):
    """Return a function that gives the directories of experiments by name; each is run once, to its equations."""
    folder, done = tmp_path_factory.mktemp("runs"), {}
    source = write(folder)

    def get(*names):
        for name in names:
            if name not in done:
                seed, sets = EXPERIMENTS[name]
                done[name] = pipeline.run(resolve(source, sets, seed), folder / name, upto="equations").out
        return [done[name] for name in names]

    return get
