"""Studies: stages in common done once, the same table whoever does the work and however often it was stopped."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

import ipsdist as ips
from ipsdist.cli.app import main
from ipsdist.runs.pipeline import Options
from ipsdist.runs.sharing import taken_over
from ipsdist.stages import particles
from ipsdist.storage import Store
from tests.report.validation import validate
from tests.studies.samples import SMALL, cells, write

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """The small study, done in this process, with the number of replicas that were stepped."""
    folder, stepped = tmp_path_factory.mktemp("study"), []
    step = particles.step_alone
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(particles, "step_alone", lambda *a: (stepped.append(1), step(*a))[1])
        return ips.study(write(folder), folder / "out"), len(stepped)


def test_every_stage_that_runs_have_in_common_is_done_once(done):
    """Eight runs: two simulations, four densities, two equations, eight fits; the rest is taken over."""
    study, stepped = done
    assert stepped == 2
    own = Counter(stage for row in study.rows for stage in ("particles", "densities", "equations", "kernel")
                  if stage not in (row["taken_over"] or "").split())  # fmt: skip
    # The fit does not look at the densities: both bandwidths share it.
    assert own == {"particles": 2, "densities": 4, "equations": 2, "kernel": 4}


def test_the_table_has_a_row_a_run_with_what_it_learnt(done):
    """Order of the file, seeds last; cells are those of result.json."""
    study, _ = done
    assert [(r["fit.every"], r["density.bandwidth"], r["seed"]) for r in study.rows][:5] == [
        (1, "scott", 0), (1, "scott", 1), (1, 0.2, 0), (1, 0.2, 1), (5, "scott", 0),
    ]  # fmt: skip
    row = study.rows[3]
    assert row["run"] == "every-1_bandwidth-0.2_seed-1"
    result = json.loads((study.out / "runs" / row["run"] / "result.json").read_text())
    assert row["data_loss"] == result["data_loss"]
    assert row["condition"] == result["condition"]
    assert row["free_energy.data.last"] == result["free_energy"]["data"][-1]
    assert {t["name"]: t["coefficient"] for t in result["terms"]}.items() <= {
        name.removeprefix("coefficient."): value for name, value in row.items() if name.startswith("coefficient.")
    }.items()
    assert {row["status"] for row in study.rows} == {"done"}


def test_csv_and_parquet_hold_the_same_table(done):
    """Every number with all its digits."""
    parquet = pytest.importorskip("pyarrow.parquet")
    study, _ = done
    with (study.out / "study.csv").open() as file:
        texts = list(csv.DictReader(file))
    table = parquet.read_table(study.out / "study.parquet").to_pylist()
    assert list(texts[0]) == list(table[0]) == study.columns
    for text, row, mine in zip(texts, table, study.rows, strict=True):
        assert float(text["data_loss"]) == row["data_loss"] == mine["data_loss"]
        assert text["support_correct"] == str(row["support_correct"]).lower()
        # Of a text and a number, the column is of texts.
        assert text["density.bandwidth"] == row["density.bandwidth"] == str(mine["density.bandwidth"])


def test_means_are_over_the_seeds_with_their_standard_error(done):
    """Against NumPy."""
    study, _ = done
    entry = study.summary[1]
    values = [r["wasserstein2.values.max"] for r in study.rows if (r["fit.every"], r["density.bandwidth"]) == (1, 0.2)]
    assert entry["done"] == 2
    np.testing.assert_allclose(entry["wasserstein2.values.max"]["mean"], np.mean(values))
    np.testing.assert_allclose(entry["wasserstein2.values.max"]["standard_error"], np.std(values, ddof=1) / np.sqrt(2))
    assert len(study.text.splitlines()) == 5


def test_a_run_of_a_study_is_a_run(done, tmp_path):
    """`ipsdist report` finds everything done, and its answer is that of the run alone."""
    study, _ = done
    row = study.rows[6]
    home = study.out / "runs" / row["run"]
    assert row["taken_over"] == "particles densities equations kernel"
    alone = ips.run(home / "config.toml", tmp_path / "alone", draw=False).result
    of_study = json.loads((home / "result.json").read_text())
    validate(of_study)
    assert {k: v for k, v in alone.items() if k != "cost"} == {k: v for k, v in of_study.items() if k != "cost"}
    again = ips.run(home / "config.toml", home, draw=False)
    assert set(again.reused) == {"particles", "densities", "equations", "kernel", "report"}


def test_runs_that_share_files_stay_independent(tmp_path):
    """Another bandwidth in the run that took its densities over, another dictionary in the one that made them."""
    study = ips.study(write(tmp_path), tmp_path / "out", seeds=[0])
    first, second = (study.out / "runs" / f"every-{k}_bandwidth-scott_seed-0" for k in (1, 5))
    chunk = "store.zarr/densities/density/c.0.0"
    assert os.path.samefile(first / chunk, second / chunk)
    before = Store.open(first / "store.zarr").read("densities/density")
    ips.estimate(second, sets=["density.bandwidth=0.4"])
    np.testing.assert_array_equal(Store.open(first / "store.zarr").read("densities/density"), before)
    assert not np.array_equal(Store.open(second / "store.zarr").read("densities/density"), before)
    equations = Store.open(second / "store.zarr").read("equations/replica-0/block-0/gram")
    ips.assemble(first, sets=['dictionary.terms=["r", "r**2"]'])
    np.testing.assert_array_equal(Store.open(second / "store.zarr").read("equations/replica-0/block-0/gram"), equations)


def test_workers_leave_the_same_table(done, tmp_path):
    """Processes of this machine, one run a task: the same bits."""
    study, _ = done
    other = ips.study(write(tmp_path), tmp_path / "out", workers=2)
    assert cells(other.rows) == cells(study.rows)
    for picture in ("w2", "over_time", "coefficients"):
        assert (other.out / f"{picture}.png").read_bytes() == (study.out / f"{picture}.png").read_bytes()


def test_a_study_with_nothing_left_starts_no_worker(done, tmp_path, monkeypatch):
    """It is known before; a result that is missing is something left."""
    study, _ = done
    shutil.copytree(study.out, tmp_path / "out")
    asked, real = [], Options.executor

    def chosen(own, idle=False):
        if own.workers:  # the runs themselves ask too, without
            asked.append(idle)
        return real(own, idle=True)

    monkeypatch.setattr(Options, "executor", chosen)
    for _ in range(2):
        ips.study(write(tmp_path), tmp_path / "out", workers=1)
        (tmp_path / "out" / "runs" / "every-1_bandwidth-scott_seed-0" / "result.json").unlink()
    assert asked == [True, False]


@pytest.mark.parametrize("key", ["run.precision=wrong", "time.step=-1"])
def test_a_bad_value_that_is_set_for_all_is_refused_once(key, tmp_path):
    """Before anything is written, not as so many rows that failed."""
    with pytest.raises(ips.InputError, match=key.partition("=")[0]):
        ips.study(write(tmp_path), tmp_path / "out", sets=[key])
    assert not (tmp_path / "out").exists()


def test_a_study_killed_at_any_moment_goes_on(done, tmp_path):
    """kill -9, twice, then to the end; and once more with nothing to do."""
    study, _ = done
    source, out = write(tmp_path), tmp_path / "out"
    words = [sys.executable, "-m", "ipsdist", "study", str(source), "--out", str(out), "--quiet"]
    for finished in (1, 3):
        process = subprocess.Popen(words, cwd=ROOT, stdout=subprocess.DEVNULL)
        while len(list(out.glob("runs/*/result.json"))) < finished and process.poll() is None:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
    left = {p: p.stat().st_mtime_ns for p in out.glob("runs/*/result.json")}
    assert 3 <= len(left) < 8
    del left[max(left, key=left.__getitem__)]  # it may have been written but not committed
    assert cells(ips.study(source, out).rows) == cells(study.rows)
    assert {p: p.stat().st_mtime_ns for p in left} == left  # what was finished was not done again
    assert cells(ips.study(source, out).rows) == cells(study.rows)


def test_seeds_added_later_add_rows(done, tmp_path):
    """And leave the others as they are."""
    study, _ = done
    first = ips.study(write(tmp_path), tmp_path / "out", seeds=[0])
    assert cells(first.rows) == [row for row in cells(study.rows) if row["seed"] == 0]
    files = {p: p.stat().st_mtime_ns for p in first.out.glob("runs/*/result.json")}
    assert cells(ips.study(tmp_path / "study.toml", tmp_path / "out").rows) == cells(study.rows)
    assert {p: p.stat().st_mtime_ns for p in files} == files


def test_runs_that_differ_in_their_prediction_alone_share_the_rest(tmp_path):
    """The scheme of the mean-field equation is a key of the kernel, which a prediction may bridge."""
    text = FAILING.replace("fit.every", "mean_field.scheme").replace('[1, 500, "x"]', f"{list(SCHEMES)}")
    first, second = ips.study(write(tmp_path, text.partition("[[plot]]")[0]), tmp_path / "out", seeds=[0]).rows
    assert second["taken_over"] == "particles densities equations"
    assert first["kernel"] == second["kernel"]
    assert 0 < abs(first["data_loss"] - second["data_loss"]) < first["data_loss"]
    home = tmp_path / "out" / "runs" / second["run"]
    ips.run(home / "config.toml", home, sets=["fit.criterion=2lnN"], draw=False)
    assert list(taken_over(home)) == ["particles", "densities", "equations"]
    ips.run(home / "config.toml", home, sets=["fit.form=weak"], draw=False)
    assert list(taken_over(home)) == ["particles", "densities"]  # the equations are its own now


SCHEMES = ("scharfetter_gummel", "carrillo_chertock_huang")
FAILING = SMALL.replace("values = [1, 5]", 'values = [1, 500, "x"]').partition('[[vary]]\nkey = "density')[0]


def test_failed_rows_are_kept_and_named(tmp_path, capsys):
    """A bad value, and one that the particles cannot serve: exit code 1, the others are done."""
    source = write(tmp_path, FAILING)
    assert main(["study", str(source), "--out", str(tmp_path / "out"), "--seeds", "1", "--quiet"]) == 1
    said = capsys.readouterr()
    assert "failed: every-500_seed-0: `fit.every` must leave at least two slices; got 500 for 51 slices" in said.out
    assert 'failed: every-x_seed-0: `fit.every` must be a positive whole number; got "x"' in said.out
    with (tmp_path / "out" / "study.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["status"] for row in rows] == ["done", "failed", "failed"]
    assert [bool(row["error"]) for row in rows] == [False, True, True]
    assert rows[1]["data_loss"] == ""
    assert not (tmp_path / "out" / "runs" / "every-500_seed-0").exists()
    assert "must be a positive whole number" in (tmp_path / "out" / "study.html").read_text()


def test_a_failure_of_any_kind_is_one_row(tmp_path, monkeypatch):
    """A defect in one run is told by its kind, and tried again by the next command."""
    source, step = write(tmp_path, FAILING.replace('[1, 500, "x"]', "[1]")), particles.step_alone

    def failing(store, task, tick):
        if task.config.run.seed == 1:
            raise ZeroDivisionError("of one run")
        return step(store, task, tick)

    monkeypatch.setattr(particles, "step_alone", failing)
    study = ips.study(source, tmp_path / "out")
    assert [row["error"] for row in study.rows] == [None, "ZeroDivisionError: of one run"]
    monkeypatch.undo()
    assert ips.study(source, tmp_path / "out").failed == []


def test_without_pyarrow_there_is_csv_and_a_line_that_says_so(tmp_path, monkeypatch, capsys):
    """The extra `tables` is not needed."""
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    source = write(tmp_path, FAILING.replace('[1, 500, "x"]', "[1]"))
    assert main(["study", str(source), "--out", str(tmp_path / "out"), "--seeds", "1", "--quiet"]) == 0
    assert 'study.csv only: study.parquet needs pip install ".[tables]" in a clone' in capsys.readouterr().out
    assert (tmp_path / "out" / "study.csv").exists()
    assert not (tmp_path / "out" / "study.parquet").exists()


def test_a_directory_of_something_else_is_refused(tmp_path, capsys):
    """Before anything is written; so is a study that another process does."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").write_text("x")
    assert main(["study", str(write(tmp_path)), "--out", str(tmp_path / "out")]) == 2
    assert "must be empty or the directory of a study" in capsys.readouterr().err
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["thesis.tex"]


def test_a_gpu_that_is_not_there_is_refused_once(tmp_path, capsys):
    """Not run by run, and before anything is written."""
    source = write(tmp_path)
    out = tmp_path / "out"
    assert main(["study", str(source), "--out", str(out), "--set", "run.device=gpu", "-q"]) == 2
    said = capsys.readouterr().err
    assert said.startswith('error: `run.device` must find a GPU where the particles are stepped; got "gpu", but ')
    assert said.count("\n") == 1
    assert not out.exists()
