"""Help, usage and the small commands: quick, complete, one line when wrong."""

from __future__ import annotations

import resource
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest

from ipsdist.cli.app import main
from ipsdist.config import case_names

COMMANDS = ["run", "simulate", "estimate", "assemble", "fit", "report", "pool", "study", "plan", "info", "cases"]


def test_help_costs_less_than_a_cpu_second() -> None:
    """User and system time of the whole process, children included."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, "-m", "ipsdist", "--help"], capture_output=True, text=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 1.0
    assert "ipsdist run cubic" in done.stdout
    assert done.stderr == ""


def test_the_command_line_imports_nothing_heavy() -> None:
    """What costs seconds is imported by the command that needs it."""
    code = "import ipsdist.cli.app, sys; print([m for m in sys.argv[1].split() if m in sys.modules])"
    heavy = "numpy scipy numba sympy zarr dask distributed matplotlib pydantic rich.progress"
    done = subprocess.run([sys.executable, "-c", code, heavy], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize("words", [[], ["--help"], ["-h"]])
def test_help_names_every_command(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Without words, too."""
    assert main(words) == 0
    said = capsys.readouterr().out
    assert all(f" {command} " in said for command in COMMANDS)


@pytest.mark.parametrize("command", [c for c in COMMANDS if c != "cases"])
def test_every_command_teaches_by_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Its help ends with a line to copy."""
    assert main([command, "--help"]) == 0
    assert f"Example: ipsdist {command} " in capsys.readouterr().out


def test_cases_are_listed_in_columns(capsys: pytest.CaptureFixture[str]) -> None:
    """Name and one line on it."""
    assert main(["cases"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == [name for name, _ in case_names()]
    assert len({line.index(" dimension") - len(line.split()[1]) for line in lines}) == 1


def test_the_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    """`--version` prints it and nothing else."""
    try:
        expected = version("ipsdist")
    except PackageNotFoundError:
        pytest.skip("the package is not installed")
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"ipsdist {expected}\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["walk"], "error: No such command 'walk'"),
        (["run"], "error: Missing argument 'CASE|FILE.toml'"),
        (["run", "cubic", "--sed", "1"], "error: No such option: --sed"),
        (["run", "cubic", "--seed", "x"], "error: `--seed` must be a whole number; got "),
        (["run", "cubic", "power_law"], "error: Got unexpected extra argument"),
        (["run", "cubical"], "error: `case` is not a known case; got 'cubical'; did you mean cubic?"),
        (["run", "cubic", "--set", "system.kernle=r"], "error: `system.kernle` "),
        (["run", "cubic", "--device", "tpu"], "error: `run.device` "),
        (["run", "cubic", "--workers", "0"], "error: `--workers` must be at least 1; got 0"),
        (["run", "cubic", "--workers", "1", "--scheduler", "a:1"], "error: `--workers` cannot be combined with"),
        (["fit", "nowhere"], "error: `DIR` must be the directory of a run; got nowhere"),
    ],
)
def test_bad_words_are_one_line_and_nothing_is_written(
    words: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2, one line on stderr, an empty directory."""
    monkeypatch.chdir(tmp_path)
    assert main(words) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith(message)
    assert said.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
