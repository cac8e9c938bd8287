"""A run as its user sees it: the answer, reuse of finished stages, what is refused before anything is written."""

from __future__ import annotations

import json

import numpy as np
import pytest
import xarray

import ipsdist as ips
from ipsdist.storage import Store
from tests.report.validation import validate
from tests.runs.samples import write


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Return the run file and the outcome of a small run with its report."""
    folder = tmp_path_factory.mktemp("run")
    return write(folder), ips.run(write(folder), folder / "out")


def test_result_follows_its_schema(finished):
    """result.json is valid, and what the call returns is what it holds."""
    _, outcome = finished
    stored = json.loads((outcome.out / "result.json").read_text())
    assert stored == outcome.result
    validate(stored)


def test_the_learnt_kernel_is_near_the_truth(finished):
    """2000 particles over 0.2 time units: a fit of r**2 alone is within 4 standard errors of its true coefficient."""
    _, outcome = finished
    only = ips.run(finished[0], outcome.out.parent / "only", sets=['dictionary.terms=["r**2"]'], draw=False)
    (term,) = only.result["terms"]
    assert abs(term["coefficient"] - 3.0) < 4 * term["standard_error"]


def test_files_of_a_run(finished):
    """The directory holds the resolved run file, the store, the result, the page and figures."""
    _, outcome = finished
    names = {p.name for p in outcome.out.iterdir()}
    assert {"config.toml", "store.zarr", "result.json", "report.html", "figures"} <= names
    assert len(list((outcome.out / "figures").glob("*.png"))) >= 5


def test_resolved_config_repeats_the_run(finished, tmp_path):
    """config.toml is a run file; running it gives the same answer."""
    _, outcome = finished
    again = ips.run(outcome.out / "config.toml", tmp_path / "again", draw=False)
    assert again.result["terms"] == outcome.result["terms"]
    assert again.result["free_energy"] == outcome.result["free_energy"]


def test_a_second_run_reuses_every_stage(finished):
    """The same command finds everything done."""
    source, outcome = finished
    again = ips.run(source, outcome.out)
    assert again.reused == ("particles", "densities", "equations", "kernel", "report")
    assert again.result == outcome.result


@pytest.mark.parametrize(
    ("key", "reused"),
    [
        ("fit.criterion=bic", ("particles", "densities", "equations")),
        ("dictionary.terms=['r','r**2']", ("particles", "densities")),
        ("density.bandwidth_factor=1.0", ("particles", "equations", "kernel")),
    ],
)
def test_a_changed_key_redoes_from_its_stage(tmp_path, key, reused):
    """A key of a later stage redoes that stage and those that read it, no others."""
    source = write(tmp_path)
    ips.run(source, tmp_path / "out", draw=False)
    again = ips.run(source, tmp_path / "out", sets=[key], draw=False)
    assert again.reused == reused


def test_particles_of_another_run_are_refused(finished):
    """A key that changes the particles of a directory that has them is refused, both values named."""
    source, outcome = finished
    before = (outcome.out / "config.toml").read_text()
    with pytest.raises(
        ips.InputError, match=r"`--out` must not hold the particles of another run; .*run\.seed is 0 and now 7"
    ):
        ips.run(source, outcome.out, seed=7)
    with pytest.raises(ips.InputError, match=r"system\.particles is 2000 and now 500; choose another --out"):
        ips.run(source, outcome.out, sets=["system.particles=500"])
    assert (outcome.out / "config.toml").read_text() == before


def test_store_opens_in_xarray(finished):
    """Densities open in xarray with named dimensions, coordinates and units."""
    _, outcome = finished
    data = xarray.open_zarr(outcome.out / "store.zarr", group="densities", consolidated=False)
    assert data["density"].dims == ("slice", "x")
    assert data["density"].attrs["units"] == "length^-1"
    mass = data["density"].sum("x") * float(data["x"][1] - data["x"][0])
    np.testing.assert_allclose(mass, 1.0, atol=2e-3)


def test_positions_are_kept_where_asked(finished):
    """positions_at keeps the positions of those slices, the first of them the initial ones."""
    _, outcome = finished
    store = xarray.open_zarr(outcome.out / "store.zarr", group="particles/replica-0", consolidated=False)
    assert {"positions-0", "positions-50"} <= set(store)
    assert store["positions-0"].shape == (2000, 1)


@pytest.mark.parametrize(
    ("sets", "message"),
    [
        (
            ["time.step=0.1", "time.observe_every=1"],
            r"`time\.step` must resolve the force; got 0\.1; a step of at most",
        ),
        (["grid.lower=0.0"], r"`grid\.lower` must hold the particles; .*widen grid\.lower"),
        (["force.spacing=50.0"], r"`force\.spacing` must be finer than the spread of the particles"),
        (
            ["system.kernel=r**-1"],
            r"`system\.kernel` has r\*\*-1 unbounded .*; got r\*\*-1; set system\.cutoff, for example",
        ),
    ],
)
def test_bad_input_writes_nothing(tmp_path, sets, message):
    """What a run would founder on is refused before its directory exists."""
    with pytest.raises(ips.InputError, match=message):
        ips.run(write(tmp_path), tmp_path / "out", sets=sets)
    assert not (tmp_path / "out").exists()


def test_initial_positions_from_a_file(tmp_path):
    """initial.file gives the start; NaN in it is refused, naming the row."""
    source, positions = write(tmp_path), np.random.default_rng(0).normal(size=2000)
    np.save(tmp_path / "x.npy", positions)
    sets = [f"initial.file={tmp_path / 'x.npy'}", 'dictionary.terms=["r**2"]']
    outcome = ips.run(source, tmp_path / "out", sets=sets, draw=False)
    kept = xarray.open_zarr(outcome.out / "store.zarr", group="particles/replica-0", consolidated=False)
    np.testing.assert_array_equal(kept["positions-0"][:, 0], positions)
    positions[17] = np.nan
    np.save(tmp_path / "x.npy", positions)
    with pytest.raises(ips.InputError, match=r"`initial\.file` must hold finite positions; got 1 particles .*row 17"):
        ips.run(source, tmp_path / "other", sets=sets)


def test_particles_that_blow_up_stop_the_run(tmp_path):
    """An explosion in mid-run is a RunError with the step, the count and the remedy; what was committed is kept."""
    source = write(tmp_path)
    sets = ["system.kernel=-10*r**3", "system.diffusion=0.1"]
    with pytest.raises(
        ips.RunError, match=r"blew up at step \d+: \d+ of 2000 .*use a smaller time\.step \(now 0\.001\)"
    ):
        ips.run(source, tmp_path / "out", sets=sets)
    assert (tmp_path / "out" / "store.zarr").exists()


def test_a_refused_redo_loses_nothing(finished):
    """A stage is discarded only after every check: a bad flag leaves a finished run as it was."""
    _, outcome = finished
    with pytest.raises(ips.InputError, match="`--workers` must be at least 1"):
        ips.simulate(outcome.out, workers=0)
    with pytest.raises(ips.InputError, match=r"`grid\.lower` must hold the particles"):
        ips.estimate(outcome.out, sets=["grid.lower=3.0"])
    assert ips.run(outcome.out / "config.toml", outcome.out).reused[-1] == "report"


@pytest.mark.parametrize(
    ("verb", "stage", "kept"),
    [
        (ips.simulate, "particles", ()),
        (ips.estimate, "densities", ("particles",)),
        (ips.assemble, "equations", ("particles", "densities")),
        (ips.fit, "kernel", ("particles", "densities", "equations")),
    ],
)
def test_a_stage_done_again_has_the_same_bits(finished, verb, stage, kept):
    """simulate, estimate, assemble and fit redo their stage; the answer that follows is the same."""
    source, outcome = finished
    again = verb(outcome.out)
    assert again.reused == kept
    assert (again.kernel is not None) == (stage == "kernel")
    final = ips.run(source, outcome.out, draw=False)
    assert final.result["terms"] == outcome.result["terms"]
    assert final.result["free_energy"] == outcome.result["free_energy"]


def test_the_answer_has_no_memory(tmp_path):
    """An automatic grid after a detour over an explicit one is the automatic grid."""
    source = tmp_path / "auto.toml"
    source.write_text(write(tmp_path).read_text().replace("[grid]\nlower = -5.0\nupper = 5.0\ncells = 80\n", ""))
    first = ips.run(source, tmp_path / "out", draw=False)
    ips.run(source, tmp_path / "out", sets=["grid.lower=-6.0", "grid.upper=6.0", "grid.cells=60"], draw=False)
    again = ips.run(source, tmp_path / "out", draw=False)
    assert again.result["data_loss"] == first.result["data_loss"]


def test_plan_and_info(finished):
    """The plan names every stage with its tasks; info says what is done."""
    from ipsdist import runs
    from ipsdist.config import resolve

    source, outcome = finished
    plan = runs.plan(resolve(source))
    assert [row.stage for row in plan.rows] == ["particles", "densities", "equations", "kernel"]
    assert all(row.tasks >= 1 for row in plan.rows)
    assert "on one core" in plan.text()
    assert set(runs.info(outcome.out)["stages"].values()) == {"done"}
    with pytest.raises(ips.InputError, match="`DIR` must be the directory of a run"):
        runs.info(outcome.out / "figures")


def test_the_rate_after_a_stop_is_that_of_what_was_left(tmp_path, monkeypatch):
    """Steps that an earlier command committed took their time then."""
    monkeypatch.setattr("ipsdist.stages.replica._SECONDS", 0.02)
    source = write(tmp_path)

    def stop(progress):
        if progress.stage == "particles" and progress.done > 0.6 * progress.total:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ips.run(source, tmp_path / "out", draw=False, observe=stop)
    first = []
    again = ips.run(source, tmp_path / "out", draw=False, observe=lambda p: first.append(p.done))
    record = Store.open(tmp_path / "out" / "store.zarr").record("particles/done")
    assert 0 < record["cost"]["work"] < 0.9 * record["work"]
    assert first[0] == record["work"] - record["cost"]["work"]
    cost = again.result["cost"]
    rate = record["cost"]["work"] / cost["wall_seconds"]["particles"]
    assert cost["particle_steps_per_second"] == pytest.approx(rate)
