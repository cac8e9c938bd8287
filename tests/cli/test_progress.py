"""Progress: bars for a terminal, lines for a log, nothing when quiet."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from ipsdist.cli.progress import observer, with_prefix
from ipsdist.runtime.progress import Progress

EVENTS = [
    Progress("particles", 0.0, 2e8, "particle-steps"),
    Progress("particles", 1e8, 2e8, "particle-steps"),
    Progress("particles", 2e8, 2e8, "particle-steps"),
    Progress("particles", 2e8, 2e8, "particle-steps"),
    Progress("densities", 1001.0, 1001.0, "slices"),
    Progress("kernel", 0.0, 0.0, "fits"),
]


def test_a_log_gets_one_line_for_every_finished_stage(capsys: pytest.CaptureFixture[str]) -> None:
    """With seconds and rate; work that an earlier run did is not counted into the rate."""
    with observer(quiet=False) as observe:
        for event in EVENTS:
            observe(event)
    out, said = capsys.readouterr()
    lines = said.splitlines()
    assert out == ""
    assert [line.split()[0] for line in lines] == ["particles", "densities", "kernel"]
    assert lines[0].endswith(" particle-steps/s")
    assert lines[1].split()[1:] == ["0.0", "s"]


def test_shares_have_no_rate(capsys: pytest.CaptureFixture[str]) -> None:
    """Percent a second tells nothing."""
    with observer(quiet=False) as observe:
        observe(Progress("study", 0.0, 100.0, "%"))
        observe(Progress("study", 100.0, 100.0, "%"))
    assert capsys.readouterr().err.split()[2:] == ["s"]


def test_quiet_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """Neither on stdout nor on stderr."""
    with observer(quiet=True) as observe:
        for event in EVENTS:
            observe(event)
    assert capsys.readouterr() == ("", "")


SHOW = """
from ipsdist.cli.progress import observer
from tests.cli.test_progress import EVENTS
with observer(quiet=False) as observe:
    for event in EVENTS:
        observe(event)
"""


def on_terminal(environment: dict[str, str]) -> str:
    """Return what a terminal of 80 columns receives."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", SHOW],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        cwd=Path(__file__).parents[2],
        env={**os.environ, "TERM": "xterm", "COLUMNS": "80", "LINES": "24", **environment},
    )
    os.close(theirs)
    received = b""
    while True:
        try:
            block = os.read(ours, 4096)
        except OSError:
            break
        if not block:
            break
        received += block
    assert process.wait(20) == 0
    os.close(ours)
    return received.decode()


def test_a_terminal_gets_a_bar_with_rate_and_time_left() -> None:
    """One bar a stage, and the unit of its work fits into 80 columns."""
    said = on_terminal({"NO_COLOR": ""})
    assert "━" in said
    assert "100 %" in said
    assert "particle-steps/s" in said
    assert "0:00:00" in said


def test_no_color_gets_plain_lines() -> None:
    """No escape sequence reaches a terminal that asked for none."""
    said = on_terminal({"NO_COLOR": "1"})
    assert "\x1b" not in said
    assert said.count("\n") == 3


@pytest.mark.parametrize(
    ("number", "text"),
    [(0.0, "0 "), (999.4, "999 "), (999.6, "1 k "), (12_345.0, "12.3 k "), (2e8, "200 M "), (5.4e11, "540 G ")],
)
def test_numbers_have_three_digits_and_a_prefix(number: float, text: str) -> None:
    """Rounding up to a thousand takes the next prefix."""
    assert with_prefix(number) == text
