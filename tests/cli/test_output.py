"""The answer on stdout: aligned, complete, nothing twice, nothing that moves the cursor."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ipsdist import runs
from ipsdist.cli.app import main
from ipsdist.cli.output import flat, print_json, print_table
from ipsdist.runs import Outcome

SUMMARY = [
    "phi(r) = 3.003(12) r**2",
    "sigma^2 = 2 (given)",
    "runner-up: r**2 + 1; score 9.1 worse (strong)",
    "trust: good",
    "  - a doubt: with a colon = sign",
]


@pytest.fixture
def outcome(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Let commands return an outcome that tests choose, and see what they asked for."""
    asked: dict[str, Any] = {"outcome": Outcome(Path("runs/a"), {"terms": []}, None, ())}

    def run(config: Any, out: Path, options: Any) -> Outcome:
        asked.update(vars(options), config=config, out=out)
        return asked["outcome"]

    def redo(out: Path, stage: str, sets: Any, options: Any) -> Outcome:
        asked.update(vars(options), out=out, stage=stage, sets=sets)
        return asked["outcome"]

    monkeypatch.setattr(runs, "run", run)
    monkeypatch.setattr(runs, "redo", redo)
    monkeypatch.setattr("ipsdist.report.summary.summary_lines", lambda result: SUMMARY)
    return asked


def test_a_run_ends_with_a_table_of_what_was_learnt(
    outcome: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    """Formula, sigma^2, runner-up and the path of the report, in two columns; doubts as they are; quiet or not."""
    outcome["outcome"] = Outcome(Path("runs/a"), {"terms": []}, None, ("particles",))
    assert main(["run", "cubic", "--quiet"]) == 0
    assert capsys.readouterr() == (
        "phi(r) =   3.003(12) r**2\n"
        "sigma^2 =  2 (given)\n"
        "runner-up  r**2 + 1; score 9.1 worse (strong)\n"
        "trust      good\n"
        "  - a doubt: with a colon = sign\n"
        "report     runs/a/report.html\n",
        "",
    )


def test_what_was_already_done_is_said(outcome: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    """Stages that the directory had."""
    outcome["outcome"] = Outcome(Path("runs/a"), {"terms": []}, None, ("particles", "densities"))
    assert main(["run", "cubic"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "kept       particles, densities (done before)"


def test_json_is_the_result_and_nothing_else(outcome: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    """As result.json."""
    outcome["outcome"] = Outcome(Path("a"), {"terms": [{"coefficient": 0.1 + 0.2}]}, None, ())
    assert main(["run", "cubic", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"terms": [{"coefficient": 0.1 + 0.2}]}


def test_flags_reach_the_run(outcome: dict[str, Any]) -> None:
    """Each option in its place; the default directory is runs/NAME."""
    assert main(["run", "cubic", "-q", "--seed", "7", "--workers", "2", "--set", "system.particles=100"]) == 0
    assert (outcome["workers"], outcome["scheduler"], outcome["out"]) == (2, None, Path("runs/cubic"))
    assert (outcome["config"].run.seed, outcome["config"].system.particles) == (7, 100)
    assert main(["run", "cubic", "-q", "--scheduler", "tcp://a:1", "--out", "b", "--device", "cpu"]) == 0
    assert (outcome["workers"], outcome["scheduler"], outcome["out"]) == (None, "tcp://a:1", "b")
    assert outcome["config"].run.device == "cpu"


STAGES = {
    "simulate": "particles",
    "estimate": "densities",
    "assemble": "equations",
    "fit": "kernel",
    "report": "report",
}


@pytest.mark.parametrize(("verb", "stage"), STAGES.items())
def test_a_verb_does_its_stage_again(
    outcome: dict[str, Any], capsys: pytest.CaptureFixture[str], verb: str, stage: str
) -> None:
    """With the changed keys; it says what is done and what comes next."""
    outcome["outcome"] = Outcome(Path("runs/a"), None, None, ())
    words = [verb, "runs/a", "--set", "fit.alpha=0.1", "--set", "run.seed=2"]
    assert main(words) == 0
    assert (outcome["stage"], outcome["out"], list(outcome["sets"])) == (
        stage,
        "runs/a",
        ["fit.alpha=0.1", "run.seed=2"],
    )
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == [stage, "done", "in", "runs/a"]
    assert lines[1].split() == ["next", "ipsdist", "report", "runs/a"]
    assert main([*words, "--quiet"]) == 0
    assert capsys.readouterr() == (f"{stage}  done in runs/a\n", "")


def test_info_is_a_table_or_json(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A line a stage, with how far it is and what it holds; nothing of what is not known; what comes next."""
    found = {
        "case": "cubic",
        "stages": {"particles": "begun", "kernel": "missing"},
        "progress": {
            "particles": {"tasks_done": 0, "tasks": 1, "reached": "at step 300 of 1000", "bytes": 1234},
            "kernel": {"tasks_done": 0, "tasks": 0, "reached": "", "bytes": 0},
        },
        "device": None,
        "bytes": np.int64(12),
        "answer": ["a", "b"],
    }
    monkeypatch.setattr(runs, "info", lambda out: found, raising=False)
    assert main(["info", "runs/a"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "case              cubic",
        "stages.particles  begun, at step 300 of 1000, 1.23 kB",
        "stages.kernel     missing",
        "bytes             12",
        "answer            a",
        "                  b",
        "next              ipsdist report runs/a (does what is missing)",
    ]
    assert main(["info", "runs/a", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {**found, "bytes": 12}


def test_nothing_moves_the_cursor(capsys: pytest.CaptureFixture[str]) -> None:
    """Texts from files are shown, not obeyed."""
    print_table([("a\x1b[2J", "b\rc")])
    assert capsys.readouterr().out == "a\\x1b[2J  b\\rc\n"


def test_json_knows_paths_and_arrays_and_refuses_the_rest(capsys: pytest.CaptureFixture[str]) -> None:
    """No silent text for an object."""
    print_json({"path": Path("a/b"), "array": np.arange(2)})
    assert json.loads(capsys.readouterr().out) == {"path": "a/b", "array": [0, 1]}
    with pytest.raises(TypeError, match="no JSON for object"):
        print_json({"x": object()})


def test_leaves_keep_all_digits() -> None:
    """Nothing is rounded."""
    assert dict(flat({"a": {"b": 0.1 + 0.2}})) == {"a.b": "0.30000000000000004"}
