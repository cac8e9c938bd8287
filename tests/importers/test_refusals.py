"""What cannot be used is refused in one line that names the row, with exit code 2, and nothing is written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ipsdist.cli.app import main
from ipsdist.importers import csv_table
from tests.importers.tracks import rows_of, wanderers, write_csv

pa = pytest.importorskip("pyarrow")

HEADER = "particle,time,x,y\n"
GOOD = HEADER + "".join(f"{p},{t},{p + t},{p * t}.5\n" for p in range(3) for t in range(4))


def refused(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """Import into a new directory, and return the one line that refuses it."""
    before = sorted(tmp_path.iterdir())
    assert main(["import", str(source), str(tmp_path / "new" / "out"), *words]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert sorted(tmp_path.iterdir()) == before
    assert said.err.count("\n") == 1
    return said.err


TABLES = {
    "cut": (GOOD[:-4], (), "must not end in mid-row; got row 12 with 4 of 4 fields and no line end"),
    "cut early": (GOOD[:-6], (), "row 12 with 3 of 4 fields and no line end"),
    "missing field": (
        GOOD.replace("1,2,3,2.5\n", "1,2,3\n"),
        (),
        "4 fields of its header in every row; got 3 in row 7",
    ),
    "words": (
        GOOD.replace("1,2,3,", "1,2,three,"),
        (),
        "numbers as times and positions; got 'three' in row 7, column x",
    ),
    "repeated": (GOOD + "1,2,9,9\n", (), "once at a time; got rows 7 and 13 with particle 1 at time 2; remove one"),
    "nan": (
        GOOD.replace("1,2,3,", "1,2,nan,").replace("2,2,4,", "2,2,,"),
        (),
        "2 of 12 rows with a missing or not finite value, first row 7, column x; leave them out with --drop-nan",
    ),
    "infinite time": (
        GOOD.replace("1,2,3,", "1,inf,3,"),
        (),
        "1 of 12 rows with a missing or not finite value, first row 7",
    ),
    "no particle": (GOOD.replace("1,2,3,", ",2,3,"), (), "first row 7, column particle"),
    "one slice": (HEADER + "0,1,2,3\n1,1,5,6\n", (), "at least two slices; got one time, 1"),
    "one particle": (HEADER + "0,1,2,3\n0,2,5,6\n", (), "at least two particles; got 1"),
    "constant": (HEADER + "0,0,1,2\n1,0,1,2\n0,1,1,2\n1,1,1,2\n", (), "got x = 1 in every row; check the columns"),
    "flat": (HEADER + "0,0,1,2\n1,0,3,2\n0,1,4,2\n1,1,5,2\n", (), "got y = 2 in every row; leave that axis out"),
    "rounded times": (
        GOOD.replace("1,3,4,", "1,3.0000000000000004,4,"),
        (),
        "3.0 and 3.0000000000000004, row 4 and row 8",
    ),
    "never together": (HEADER + "0,0,1,2\n1,1,3,4\n0,2,5,6\n", (), "got 3 rows at 3 different times; round the times"),
    "header alone": (HEADER, (), "must hold rows; got a header alone"),
    "empty": ("", (), "must hold a header and rows; got nothing"),
    "no header": (GOOD.removeprefix(HEADER), (), "must begin with a line of column names; got '0,0,0,0.5'"),
    "no column": (GOOD.replace("particle", "partikel"), (), "has a common name for the particles; nearest: partikel"),
    "near": (
        GOOD,
        ("--time", "tiem"),
        "got 'tiem'; did you mean time or particle? the source has particle, time, x, y",
    ),
    "twice": (GOOD, ("--position", "x,x"), "a different column for each of particle, time and position; got 'x' twice"),
    "two columns": (GOOD.replace(",y", ",x"), (), "must have one column of a name; got two columns 'x'"),
    "bad set": (GOOD, ("--set", "fit.criterion=aic"), "`fit.criterion` must be"),
}


@pytest.mark.parametrize("name", TABLES)
def test_tables(tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    """Each fault of a table has a line of its own with the row where it is."""
    text, words, expected = TABLES[name]
    source = tmp_path / "a.csv"
    source.write_text(text)
    assert expected in refused(source, tmp_path, capsys, *words)


def test_row_numbers_count_through_blocks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fault far into a file is found with the row that an editor shows, less the header."""
    monkeypatch.setattr(csv_table, "_BLOCK", 2**12)
    source = write_csv(tmp_path / "a.csv", rows_of(*wanderers(40, 30)))
    lines = source.read_text().splitlines()
    lines[1000] = "3,,no,1"
    source.write_text("\n".join(lines) + "\n")
    assert "got 'no' in row 1000, column x" in refused(source, tmp_path, capsys)
    source.write_text("\n".join(lines[:1000]) + "\n" + "x" * 2**13)
    assert "must be a table of lines; got no line end" in refused(source, tmp_path, capsys)


def test_files_that_are_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file that is not there, of an unknown ending, or damaged is refused with what could be read."""
    assert "which does not exist" in refused(tmp_path / "none.csv", tmp_path, capsys)
    (tmp_path / "a.xlsx").write_text("x")
    assert "formats are CSV" in refused(tmp_path / "a.xlsx", tmp_path, capsys)
    (tmp_path / "a.parquet").write_bytes(b"PAR1 and no more")
    assert "must be a whole Parquet file" in refused(tmp_path / "a.parquet", tmp_path, capsys)
    (tmp_path / "a.csv.gz").write_bytes(b"\x1f\x8b\x08 and no more")
    assert "must be a file that can be read" in refused(tmp_path / "a.csv.gz", tmp_path, capsys)


def test_arrays_have_no_column_of_particles(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A choice that would be passed over is refused."""
    np.savez(tmp_path / "a.npz", times=np.arange(3.0), positions=np.random.default_rng(0).normal(size=(3, 5, 1)))
    line = refused(tmp_path / "a.npz", tmp_path, capsys, "--particle", "id")
    assert "`--particle` must name a column of a table; got 'id' for arrays; leave it out" in line


def test_a_directory_that_holds_something_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An import never writes into a directory that is not empty; an empty one is taken."""
    source = tmp_path / "a.csv"
    source.write_text(GOOD)
    out = tmp_path / "out"
    out.mkdir()
    assert main(["import", str(source), str(out)]) == 0
    capsys.readouterr()
    assert main(["import", str(source), str(out)]) == 2
    assert "`DIR` must be a new or empty directory" in capsys.readouterr().err


def test_timestamps_in_parquet(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Times that are dates have no unit to keep, and are refused with what to do."""
    from pyarrow import parquet

    when = np.array(["2020-01-01", "2020-01-02"] * 2, dtype="datetime64[s]")
    table = pa.table({"particle": [0, 0, 1, 1], "time": when, "x": [0.0, 1.0, 2.0, 3.0]})
    parquet.write_table(table, tmp_path / "a.parquet")
    assert "got timestamp[ms] in column time; convert it to numbers" in refused(
        tmp_path / "a.parquet", tmp_path, capsys
    )


def test_a_library_that_is_missing_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without pyarrow the line says what to install."""
    import sys

    source = tmp_path / "a.csv"
    source.write_text(GOOD)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert "needs pyarrow to be read" in (line := refused(source, tmp_path, capsys))
    assert 'pip install ".[tables]" in a clone of ipsdist' in line
