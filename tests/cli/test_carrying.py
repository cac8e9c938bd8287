"""What carries out a command, from its words: clusters, refusals with exit code 2, remarks on stderr."""

from __future__ import annotations

from pathlib import Path

import pytest

from ipsdist.cli.app import main

SMALL = ["--set", "system.particles=400", "--set", "time.horizon=0.01"]


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (
            ["--cluster", "slrum"],
            "`--cluster` must be one of local, slurm, mpi, kubernetes, cuda; got 'slrum'; did you",
        ),
        (
            ["--cluster", "foo"],
            "`--cluster` must be one of local, slurm, mpi, kubernetes, cuda; got 'foo'; or give the address of a",
        ),
        (["--cluster", "local", "--scheduler", "tcp://a:1"], "`--cluster` cannot be combined with `--scheduler`; give"),
        (["--performance-report", "a.html"], "`--performance-report` is a report of Dask workers; got none of them"),
        (
            ["--scheduler", "none.json"],
            "`--scheduler` must be the address or the file of a running Dask scheduler; got ",
        ),
        (["--out", "memory://a"], "`--out` must outlast the command; got memory://a; choose a directory or"),
        (["--out", "s3:/bucket/x"], "`--out` must have two slashes where it is a URL; got s3:/bucket/x; give 's3://"),
        (["--workers", "0"], "`--workers` must be at least 1; got 0; leave it out to work in this process"),
    ],
)
def test_bad_choices_end_with_2_and_leave_nothing(
    words: list[str], line: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line on stderr."""
    monkeypatch.chdir(tmp_path)
    assert main(["run", "cubic", *SMALL, *words]) == 2
    heard = capsys.readouterr()
    assert heard.err.startswith(f"error: {line}")
    assert len(heard.err.splitlines()) == 1
    assert heard.out == ""
    assert list(tmp_path.iterdir()) == []


def test_the_dashboard_is_said_once_and_not_when_quiet(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """On stderr, with where the performance report is."""
    pytest.importorskip("bokeh")
    report = tmp_path / "report.html"
    words = ["run", "cubic", *SMALL, "--cluster", "local", "--workers", "1", "--out", str(tmp_path / "a")]
    assert main([*words, "--performance-report", str(report)]) == 0
    heard = capsys.readouterr()
    assert heard.err.count("dashboard http://127.0.0.1:") == 1
    assert heard.err.count(f"performance report {report}") == 1
    assert report.stat().st_size > 10_000
    assert main(["fit", str(tmp_path / "a"), "--workers", "1", "--quiet"]) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("command", ["run", "fit", "study", "reproduce"])
def test_help_teaches_clusters(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Every command that works has the same words."""
    assert main([command, "--help"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    for word in ("--cluster", "--scheduler", "--performance-report", "mpirun -n 4"):
        assert word in said
