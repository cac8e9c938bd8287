"""Runs on a machine whose card has not the bits of the CPU: refused, or done by the CPU, and either is said."""

from __future__ import annotations

import os

import pytest

import ipsdist as ips
from ipsdist.cli.app import main
from ipsdist.config import resolve
from ipsdist.model.errors import InputError
from ipsdist.runs.devices import refuse_all
from tests.cards import in_place
from tests.host_device import COMPILER
from tests.runs.samples import answer, write
from tests.runs.test_bits import arrays
from tests.sabotage import Sabotaged

pytestmark = pytest.mark.skipif(COMPILER is None, reason="there is no g++")

FLOAT32 = "run.precision=float32"
REPORT = "report it with the table of benchmarks/gpu.py"
WRONG = "the bits of host differ from the CPU's (first: the count of step 1, line of 100 nodes, float32: "


@pytest.fixture(autouse=True)
def card(monkeypatch):
    """A card whose counts are one off."""
    with in_place(Sabotaged("step", 1), monkeypatch) as device:
        yield device


def test_gpu_is_refused_and_nothing_is_written(tmp_path, capsys):
    """One line, exit code 2; a plan meets it too, and a study once for all."""
    source, out = write(tmp_path), tmp_path / "runs" / "out"
    assert main(["run", str(source), "--out", str(out), "--device", "gpu", "--set", FLOAT32]) == 2
    said = capsys.readouterr().err
    rule = "must find a GPU that steps particles as the CPU does"
    assert said.startswith(f'error: `run.device` {rule}; got "gpu", but {WRONG}')
    assert said.endswith(f'differ); use run.device = "cpu" and {REPORT}\n')
    assert said.count("\n") == 1
    assert sorted(os.listdir(tmp_path)) == [source.name]
    assert main(["plan", str(source), "--device", "gpu", "--set", FLOAT32]) == 2
    assert capsys.readouterr().err == said
    with pytest.raises(InputError, match=rule):
        refuse_all([resolve(source, ["run.device=gpu", FLOAT32])] * 2)


def test_auto_says_that_the_cpu_steps(tmp_path, capsys, card):
    """In a line after the plan, without a warning; the answer is that of the CPU, and so is what it tells of itself."""
    source, told = write(tmp_path), []
    expected = ips.run(source, tmp_path / "cpu", sets=["run.device=cpu", FLOAT32], draw=False)
    found = ips.run(source, tmp_path / "auto", sets=[FLOAT32], draw=False, tell=told.append)
    assert [line for line in told if line.startswith(f"device     cpu, for {WRONG}") and line.endswith(REPORT)]
    assert arrays(tmp_path / "auto") == arrays(tmp_path / "cpu")
    assert answer(found.result) == answer(expected.result)
    assert found.result["device"] == "cpu"
    launches = len(card.launches)
    assert main(["plan", str(source), "--set", FLOAT32]) == 0
    assert f"device cpu, for {WRONG}" in capsys.readouterr().out
    assert len(card.launches) == launches
