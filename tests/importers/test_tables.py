"""Track tables: every order, name and gap gives the rows that sorting the whole table in memory gives."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import numpy as np
import pytest

from ipsdist.cli.app import main
from ipsdist.config import resolve
from ipsdist.importers import csv_table, parquet_table, sorting
from tests.importers.tracks import (
    assert_is,
    births_and_deaths,
    imported,
    names,
    ragged,
    rows_of,
    twin,
    wanderers,
    write_csv,
)

pa = pytest.importorskip("pyarrow")


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks, buckets and reads so small that a small table has many of each."""
    monkeypatch.setattr(csv_table, "_BLOCK", 2**14)
    monkeypatch.setattr(parquet_table, "_BATCH", 300)
    monkeypatch.setattr(sorting, "_BUCKET", 2**14)
    monkeypatch.setattr(sorting, "_PLACES", 2**14)
    monkeypatch.setattr(sorting, "_READ", 700)


def test_complete_tracks_become_one_array(tmp_path: Path) -> None:
    """A table with everybody at every time, by particle, becomes (time, particle, space) with all bits."""
    times, x = wanderers(5, 7, 3)
    source = write_csv(tmp_path / "a.csv", rows_of(times, x), "particle,time,x,y,z")
    answer, store = imported(source, tmp_path / "out", length_unit="um", time_unit="s")
    np.testing.assert_array_equal(store.read("input/positions"), x)
    np.testing.assert_array_equal(store.read("input/times"), times)
    assert store.group["input/positions"].attrs["units"] == "um"
    assert store.group["input/times"].attrs["units"] == "s"
    assert store.group["input/positions"].metadata.dimension_names == ("time", "particle", "space")
    assert answer.survey.complete
    assert answer.lives == {"births": 0, "deaths": 0, "gap_rows": 0, "gap_particles": 0}


@pytest.mark.parametrize("order", ["particle", "time", "mixed"])
@pytest.mark.parametrize("complete", [True, False])
def test_streaming_gives_what_sorting_in_memory_gives(tmp_path: Path, small: None, order: str, complete: bool) -> None:
    """Many blocks and buckets, any order of rows: the same rows, bit for bit, as the whole table sorted at once."""
    rows = rows_of(*wanderers(60, 100))
    rng = np.random.default_rng(3)
    if not complete:
        rows = rows[rng.random(len(rows)) < 0.8]
    if order == "time":
        rows = rows[np.argsort(rows[:, 1], kind="stable")]
    elif order == "mixed":
        rows = rng.permutation(rows, axis=0)
    assert_is(ragged(write_csv(tmp_path / "a.csv", rows), tmp_path / "out"), twin(rows))


def test_particles_that_hardly_meet(tmp_path: Path, small: None) -> None:
    """Very many particles, each for a few slices: sorted by key and not by place."""
    rng = np.random.default_rng(4)
    start = np.arange(400)
    rows = np.array([(p, s + k, *rng.normal(size=2)) for p, s in enumerate(start) for k in range(3)])
    rows = rng.permutation(rows, axis=0)
    assert_is(ragged(write_csv(tmp_path / "a.csv", rows), tmp_path / "out"), twin(rows))


@pytest.mark.long
def test_a_hundred_thousand_rows(tmp_path: Path) -> None:
    """The sizes of every day: 1e5 rows in random order."""
    rows = np.random.default_rng(5).permutation(rows_of(*wanderers(1000, 100)), axis=0)
    assert_is(ragged(write_csv(tmp_path / "a.csv", rows), tmp_path / "out"), twin(rows))


def test_gaps_births_and_deaths_are_counted(tmp_path: Path) -> None:
    """The report counts what a look at every particle counts."""
    rows = births_and_deaths()
    answer, store = imported(write_csv(tmp_path / "a.csv", rows), tmp_path / "out")
    times = np.unique(rows[:, 1])
    born = died = gap_rows = gap_particles = 0
    for p in np.unique(rows[:, 0]):
        own = np.searchsorted(times, np.sort(rows[rows[:, 0] == p, 1]))
        born += own[0] > 0
        died += own[-1] < len(times) - 1
        missing = own[-1] - own[0] + 1 - len(own)
        gap_rows, gap_particles = gap_rows + missing, gap_particles + (missing > 0)
    found = {"births": born, "deaths": died, "gap_rows": gap_rows, "gap_particles": gap_particles}
    assert answer.lives == found
    assert min(found.values()) > 0
    assert not store.exists("input/positions")
    text = names(answer.lines())
    assert text["births"].startswith(str(born))
    assert text["spacing"].endswith("uneven")


@pytest.mark.parametrize(
    "header",
    ["Track_ID,Frame,X,Y", "id,T,x [um],y [um]", "Cell ID,POSITION_T,POSITION_X,POSITION_Y", '"particle","t","x","y"'],
)
def test_common_names_are_guessed(tmp_path: Path, header: str) -> None:
    """Names in any case, with units in brackets and spaces, are found; the unit is kept."""
    rows = rows_of(*wanderers(3, 4))
    answer, store = imported(write_csv(tmp_path / "a.csv", rows, header), tmp_path / "out")
    np.testing.assert_array_equal(store.read("input/positions").reshape(-1, 2), twin(rows)["positions"])
    assert answer.units == ("um" if "um" in header else "length", "time")


def test_names_can_be_given(tmp_path: Path) -> None:
    """Columns named by the user win over common names, whatever their order, and others are left alone."""
    rows = rows_of(*wanderers(3, 4))
    table = np.column_stack([rows, rows[:, ::-1]])
    source = write_csv(tmp_path / "a.csv", table, "who,when,north,east,id,x,y,t")
    given = {"particle": "who", "time": "when", "position": ("east", "north")}
    tracks = ragged(source, tmp_path / "out", **given)
    np.testing.assert_array_equal(tracks.positions, twin(rows)["positions"][:, ::-1])


@pytest.mark.parametrize("kind", ["float", "text", "late float", "late text", "big"])
def test_particles_of_every_kind(tmp_path: Path, kind: str, small: None) -> None:
    """Particles called by whole numbers, numbers or texts, also where only a late row says so."""
    rows = rows_of(*wanderers(30, 30))
    call = {
        "float": lambda p: f"{p / 2}",
        "text": lambda p: f"cell {p:03}",
        "late float": lambda p: f"{p}" if p < 29 else "29.5",
        "late text": lambda p: f"{p:03}" if p < 29 else "the last",
        "big": lambda p: str(2**60 + p),
    }[kind]
    lines = ["particle,time,x,y"] + [
        f"{call(int(r[0]))},{r[1]!r},{r[2]!r},{r[3]!r}".replace("np.float64", "") for r in rows.tolist()
    ]
    source = tmp_path / "a.csv"
    source.write_text("\n".join(lines) + "\n")
    assert_is(ragged(source, tmp_path / "out"), twin(rows))


@pytest.mark.parametrize("form", ["semicolon", "tab", "windows", "gzip", "bom", "blank lines", "spaces"])
def test_dialects_of_csv(tmp_path: Path, form: str) -> None:
    """Delimiters, line ends, compression and marks that programs put into CSV change nothing."""
    rows = rows_of(*wanderers(4, 5))
    text = write_csv(tmp_path / "plain.csv", rows).read_text()
    data = {
        "semicolon": text.replace(",", ";"),
        "tab": text.replace(",", "\t"),
        "windows": text.replace("\n", "\r\n"),
        "gzip": text,
        "bom": "\ufeff" + text,
        "blank lines": "\n" + text.replace("\n", "\n\n", 3),
        "spaces": text.replace(",", ", "),
    }[form].encode()
    source = tmp_path / ("a.csv.gz" if form == "gzip" else "a.csv")
    source.write_bytes(gzip.compress(data) if form == "gzip" else data)
    assert_is(ragged(source, tmp_path / "out"), twin(rows))


def test_unlabelled_snapshots_keep_the_order_of_their_rows(tmp_path: Path, small: None) -> None:
    """Without labels rows are sorted by time alone; slices may have different numbers of particles."""
    rows = births_and_deaths(particles=60, slices=40)
    out = tmp_path / "out"
    tracks = ragged(write_csv(tmp_path / "a.csv", rows), out, labelled=False, sets=("system.diffusion=1.0",))
    order = np.argsort(rows[:, 1], kind="stable")
    assert_is(tracks, {**twin(rows), "positions": rows[order, 2:]}, labelled=False)
    assert resolve(out / "config.toml").data.labelled is False


def test_rows_that_are_not_finite_are_left_out_when_asked(tmp_path: Path, small: None) -> None:
    """--drop-nan drops rows with an empty, NaN or infinite cell, and times and particles that have no other."""
    rows = rows_of(*wanderers(40, 30))
    bad = np.random.default_rng(6).choice(len(rows), 20, replace=False)
    broken = rows.copy()
    broken[bad[:10], 2] = np.nan
    broken[bad[10:], 3] = np.inf
    broken[rows[:, 0] == 7, 2] = np.nan  # a particle that is nowhere
    broken[rows[:, 1] == rows[:, 1].max(), 1] = np.nan  # a time that is not there
    good = broken[np.isfinite(broken).all(axis=1)]
    source = write_csv(tmp_path / "a.csv", broken)
    source.write_text(source.read_text().replace("nan", ""))
    answer, _ = imported(source, tmp_path / "a", drop_nan=True)
    assert answer.survey.dropped == len(broken) - len(good)
    assert answer.survey.particles == 39
    assert_is(ragged(source, tmp_path / "b", drop_nan=True), twin(good))


@pytest.mark.parametrize("kind", ["int64", "double", "string", "dictionary"])
def test_parquet(tmp_path: Path, small: None, kind: str) -> None:
    """A Parquet table gives what the CSV of the same rows gives, whatever the types of its columns."""
    from pyarrow import parquet

    rows = births_and_deaths(particles=40, slices=30)
    who = pa.array([f"{int(p):03}" for p in rows[:, 0]])
    particle = {
        "int64": pa.array(rows[:, 0].astype(np.int32)),
        "double": pa.array(rows[:, 0]),
        "string": who,
        "dictionary": who.dictionary_encode(),
    }[kind]
    table = pa.table({"y": rows[:, 3], "note": who, "track": particle, "frame": rows[:, 1], "x": rows[:, 2]})
    parquet.write_table(table, tmp_path / "a.parquet", row_group_size=500)
    assert_is(ragged(tmp_path / "a.parquet", tmp_path / "out"), twin(rows))


def test_the_command_writes_a_run_that_resolves(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`ipsdist import` reports in lines, keeps --set and leaves nothing but the run file and the store."""
    source = write_csv(tmp_path / "a.csv", births_and_deaths())
    out = tmp_path / "deep" / "er"
    assert main(["import", str(source), str(out), "--set", "fit.criterion=bic", "--length-unit", "um"]) == 0
    printed = capsys.readouterr().out
    assert "particles  12, " in printed
    assert "um" in printed
    assert sorted(p.name for p in out.iterdir()) == ["config.toml", "store.zarr"]
    config = resolve(out / "config.toml")
    assert (config.system.dimension, config.data.source, config.fit.criterion) == (2, "import", "bic")
    assert config.data.file == str(out / "store.zarr")
    assert [p.name for p in out.parent.iterdir()] == ["er"]


def test_the_same_rows_in_another_order_have_the_same_digest(tmp_path: Path) -> None:
    """What a fingerprint knows of an import is its content and not the order of the file."""
    rows = births_and_deaths()
    found = set()
    for k, table in enumerate([rows, rows[::-1], np.where(np.arange(4) == 2, rows + 1e-9, rows)]):
        _, store = imported(write_csv(tmp_path / f"{k}.csv", table), tmp_path / str(k))
        found.add(store.record("input/done")["data.file"])
    assert len(found) == 2


@pytest.mark.skipif("IPSDIST_TRACKS" not in os.environ, reason="IPSDIST_TRACKS names no table (ID, t, y, x)")
def test_tracks_of_real_cells(tmp_path: Path) -> None:
    """A table of real cells, named by the environment variable IPSDIST_TRACKS, comes through whole."""
    source = Path(os.environ["IPSDIST_TRACKS"])
    table = np.genfromtxt(source, delimiter=",", names=True)
    rows = np.column_stack([table[name] for name in ("ID", "t", "x", "y")])
    assert_is(ragged(source, tmp_path / "out"), twin(rows))


def test_an_import_goes_on_to_an_answer(tmp_path):
    """A CSV of case cubic is imported, and `ipsdist run` on its directory finds r**2; another --out is refused."""
    import ipsdist as ips
    from ipsdist.importers.convert import Choices, import_tracks
    from tests.references import prefix_sum_tracks

    times, positions = prefix_sum_tracks(particles=1500, steps=300, step=1e-3, every=10, seed=5)
    slices = zip(times.tolist(), positions.tolist(), strict=True)
    rows = [f"{i},{t!r},{x!r}" for t, xs in slices for i, x in enumerate(xs)]
    (tmp_path / "tracks.csv").write_text("\n".join(["particle,time,x", *rows, ""]))
    out = tmp_path / "out"
    import_tracks(tmp_path / "tracks.csv", out, Choices(sets=("system.diffusion=2.0",)))
    with pytest.raises(ips.InputError, match="`--out` must be the directory of the import"):
        ips.run(out / "config.toml", tmp_path / "elsewhere")
    found = ips.run(out / "config.toml", out, draw=False)
    assert [t["name"] for t in found.result["terms"]] == ["r**2"]
    assert found.result["terms"] == ips.learn(positions, times, diffusion=2.0).result["terms"]
