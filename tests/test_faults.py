"""Small trials of benchmarks/faults.py: whatever fails, a run ends with the same bits, and nothing is left of it."""

import importlib.util
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "benchmarks"
SMALL = ["system.particles=200000", "time.horizon=0.16"]

pytestmark = pytest.mark.skipif(not FOLDER.exists(), reason="the benchmarks are not beside the tests")


@pytest.fixture(scope="module")
def faults():
    """The benchmark as a module."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(FOLDER)
        spec = importlib.util.spec_from_file_location("faults", FOLDER / "faults.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        yield module


@pytest.fixture(scope="module")
def stage(faults, tmp_path_factory):
    """A run of a few seconds with several epochs, and its undisturbed answer."""
    found = faults.Stage(tmp_path_factory.mktemp("stage"), SMALL, epoch=0.2)
    assert found.same
    assert found.commits > 2
    return found


def trial(faults, stage, kind, number, folder):
    for attempt in range(3):
        row = faults.one(kind, number + 100 * attempt, stage, folder / str(attempt))
        if row["where"][0] != "end":  # else the run was over before its fault came: epochs have no fixed number
            break
    assert faults.good(row), row


def test_a_worker_killed_while_a_gang_commits_costs_an_epoch_at_most(faults, stage, tmp_path):
    """kill -9 of one of two members as they write a checkpoint."""
    trial(faults, stage, "commit", 1, tmp_path)


@pytest.mark.long
@pytest.mark.parametrize("number", range(2))
@pytest.mark.parametrize("kind", ["worker", "commit", "scheduler", "command", "link", "disk", "frozen"])
def test_every_fault_leaves_the_same_bits(faults, stage, kind, number, tmp_path):
    """Processes, hosts and disks of one machine; links and disks take root."""
    why = sys.modules["_machines"].able() if kind in ("link", "disk") else None
    if why is not None:
        pytest.skip(why)
    trial(faults, stage, kind, number + 10, tmp_path)


def test_rows_are_judged_and_counted(faults):
    """A trial is good only if all that is asked holds; the table counts by kind."""
    good = {"kind": "worker", "trial": 0, "codes": [0], "said": [], "ended": True, "same": True, "repeated": 1,
            "left": 0, "files": [], "open": [], "seconds": 2.0, "faults": 1}  # fmt: skip
    assert faults.good(good)
    for change in ({"same": False}, {"repeated": 2}, {"left": 1}, {"files": ["x.partial"]}, {"open": ["0.0.0.0"]},
                   {"codes": [1, 0]}, {"ended": False}, {"faults": 0}):  # fmt: skip
        assert not faults.good(good | change)
    assert faults.good(good | {"codes": [1, 0], "said": ["error: lost"]})
    assert not faults.good(good | {"codes": [1, 0], "said": ["Traceback", "error: lost"]})
    line = faults.table([good, good | {"same": False, "repeated": 0}]).splitlines()[1]
    assert line.split() == ["worker", "2", "1", "2", "1", "0.5,", "most", "1", "0", "2.0"]
