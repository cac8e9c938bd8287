"""How commands end: exit code and one line, whatever happens, to a process that a user sees."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ipsdist.cli.exits import exit_code
from ipsdist.model.errors import InputError, RunError

WORDS = ["run", "my case.toml"]
REMEDY = "use a smaller run.chunk or fewer --workers"


def ending(error: BaseException) -> int:
    """Return the exit code of a command that raises."""

    def command() -> None:
        raise error

    return exit_code(command, WORDS)


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (InputError("time.step", "must be > 0", -1, "use 1e-4"), 2, "error: `time.step` must be > 0; got -1; use 1e-4"),
        (RunError("the particles blew up\nat step 7"), 1, "error: the particles blew up at step 7"),
        (
            OSError(28, "No space left on device", "a"),
            1,
            "error: a: No space left on device; what was finished is kept",
        ),
        (MemoryError(), 1, f"error: not enough memory; {REMEDY}; what was finished is kept"),
        (KeyboardInterrupt(), 130, "stopped; what was finished is kept, go on with: ipsdist run 'my case.toml'"),
        (InputError("name", "is odd", "\x1b[31mred"), 2, "error: `name` is odd; got \\x1b[31mred"),
    ],
)
def test_every_end_has_its_code_and_one_line(
    error: BaseException, code: int, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """On stderr; control characters in texts from files do not reach the terminal."""
    assert ending(error) == code
    assert capsys.readouterr() == ("", line + "\n")


@pytest.mark.parametrize(
    ("words", "named", "line"),
    [
        (["run", "cubic"], "DIR", "error: `--out` is taken; choose another --out"),
        (["study", "a.toml"], "out", "error: `--out` is taken; choose another --out"),
        (["fit", "runs/a"], "--out", "error: `DIR` is taken; choose another DIR"),
        (["pool", "a", "b"], "DIR", "error: `DIR` is taken; choose another --out"),
    ],
)
def test_a_directory_has_the_name_that_was_typed(
    words: list[str], named: str, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Commands that have --out know no DIR, and the reverse; pool has both."""

    def command() -> None:
        raise InputError(named, "is taken", None, "choose another --out")

    assert exit_code(command, words) == 2
    assert capsys.readouterr().err == line + "\n"


def test_a_defect_keeps_its_traceback() -> None:
    """What nobody foresaw is not dressed up."""
    with pytest.raises(ZeroDivisionError):
        ending(ZeroDivisionError())


def test_a_command_that_ends_well_says_nothing_more(capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 0."""
    assert exit_code(lambda: print("answer"), WORDS) == 0
    assert capsys.readouterr() == ("answer\n", "")


def test_the_wording_of_a_refusal_survives_pickle() -> None:
    """A worker's refusal reads the same on the driver."""
    error = InputError("time.step", "must be positive", -1)
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), again.argument) == (InputError, str(error), "time.step")


FAKE = """
import sys, time
from ipsdist import runs
from ipsdist.cli.app import main
from ipsdist.runtime.progress import Progress

def run(config, out, options):
    observe = options.observe
    steps = int(sys.argv[1])
    for k in range(steps):
        observe(Progress("particles", k, steps, "particle-steps"))
        time.sleep(0.05)
    observe(Progress("particles", steps, steps, "particle-steps"))
    out.mkdir(parents=True)
    return runs.Outcome(out, {str(k): k for k in range(20_000)}, None, ())

runs.run = run
if __name__ == "__main__":
    sys.exit(main(["run", "cubic", "--json"]))
"""


def start(tmp_path: Path, steps: int) -> subprocess.Popen[str]:
    """Start a command whose run lasts a number of twentieths of a second."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    return subprocess.Popen(
        [sys.executable, "-c", FAKE, str(steps)],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_with_130_and_says_how_to_go_on(tmp_path: Path, number: signal.Signals) -> None:
    """Ctrl-C and the SIGTERM of a batch system end alike, without a traceback."""
    process = start(tmp_path, 1000)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(4.0)
    process.send_signal(number)
    out, said = process.communicate(timeout=20)
    assert process.returncode == 130
    assert out == ""
    assert said == "stopped; what was finished is kept, go on with: ipsdist run cubic --json\n"


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_reader_that_leaves_is_no_failure(tmp_path: Path, stream: str) -> None:
    """`ipsdist ... | head`: the work is finished all the same, and nothing is said about the pipe."""
    process = start(tmp_path, 5)
    getattr(process, stream).close()
    other = process.stderr if stream == "stdout" else process.stdout
    assert other is not None
    said = other.read()
    assert process.wait(20) == 0
    assert (tmp_path / "runs" / "cubic").is_dir()
    assert "Broken" not in said
    assert "Exception" not in said


def test_json_is_all_that_goes_to_stdout(tmp_path: Path) -> None:
    """Progress goes to stderr, one line a stage when it is no terminal."""
    import json

    out, said = start(tmp_path, 3).communicate(timeout=30)
    assert json.loads(out)["19999"] == 19999
    assert said.startswith("particles ")
    assert said.count("\n") == 1
    assert "particle-steps/s" in said
