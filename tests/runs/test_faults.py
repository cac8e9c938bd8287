"""What reviewers and users broke once: each stays mended."""

from __future__ import annotations

import numpy as np
import pytest

import ipsdist as ips
from ipsdist.storage import Store
from tests.references import prefix_sum_tracks
from tests.report.validation import validate
from tests.runs.samples import answer, write


@pytest.mark.parametrize("slices", [2, 64, 65, 66])
def test_strong_form_at_the_edges_of_blocks(tmp_path, slices):
    """Panels are counted right when the last block of 64 slices has one slice, or there is one panel in all."""
    sets = [f"time.horizon={(slices - 1) * 2e-3}", "fit.form=strong", "time.positions_at=[]"]
    outcome = ips.run(write(tmp_path), tmp_path / "out", sets=sets, draw=False, observe=lambda p: None)
    store = Store.open(outcome.out / "store.zarr")
    assert store.read("kernel/equations/moment").shape[0] == slices - 1


def test_fine_terms_are_not_believed():
    """exp(-30 r) is finer than particles move between slices: it is left out and said, instead of -124 +- 22."""
    times, positions = prefix_sum_tracks(particles=3000, steps=300, step=1e-3, every=5, seed=2)
    outcome = ips.learn(positions, times, diffusion=2.0, terms=["r", "r**2", "exp(-30*r)"])
    assert [t["name"] for t in outcome.result["terms"]] == ["r**2"]
    assert any("do not resolve exp(-30*r)" in w for w in outcome.result["warnings"])
    assert "do not resolve exp(-30*r)" in outcome.summary


def test_a_kernel_that_predicts_nothing_is_still_an_answer(tmp_path, monkeypatch):
    """When the mean-field equation cannot be solved, result and page are written, without what needs it, and say so."""

    def too_steep(*_, **__):
        raise ips.RunError("the potential is too steep")

    monkeypatch.setattr("ipsdist.runs.assess.solve_mean_field", too_steep)
    outcome = ips.run(write(tmp_path), tmp_path / "out")
    result = outcome.result
    validate(result)
    assert result["terms"]
    assert (result["wasserstein2"], result["data_loss"], result["free_energy"]["learnt"]) == (None, None, None)
    assert "no prediction with the learnt kernel: the potential is too steep" in result["warnings"]
    assert "no prediction with the learnt kernel" in (outcome.out / "report.html").read_text()


def test_a_late_writer_of_an_old_checkpoint_does_no_harm(tmp_path, monkeypatch):
    """Checkpoints belong to their step: what a worker thought dead writes for an old one is not taken for new."""
    monkeypatch.setattr("ipsdist.stages.replica._SECONDS", 1e-3)
    source = write(tmp_path)
    sets = ["time.horizon=0.4"]
    whole = ips.run(source, tmp_path / "whole", sets=sets, draw=False)
    out = tmp_path / "cut"

    class Stop(Exception):
        pass

    def observe(progress):
        if (out / "store.zarr/records/particles/replica-0.block-2/zarr.json").exists():
            raise Stop

    with pytest.raises(Stop):
        ips.run(source, out, sets=sets, draw=False, observe=observe)
    store = Store.open(out / "store.zarr", "r+")
    reached = store.record("particles/replica-0.epoch")["reached"]
    assert reached["step"] > 1
    stale = np.zeros((2000, 1))
    for group in ("particles/replica-0/checkpoint-0", "particles/replica-0/checkpoint-1-2048"):
        assert group != reached["group"]
        store.write(f"{group}/positions", stale, dims=("particle", "space"), compress=False)
    resumed = ips.run(source, out, sets=sets, draw=False)
    assert answer(resumed.result) == answer(whole.result)
    assert not any("checkpoint" in name for name in store.names("particles/replica-0"))


def test_a_record_of_another_configuration_is_not_believed(tmp_path):
    """A task record whose fingerprint is not the stage's own is done again, whoever wrote it."""
    source = write(tmp_path)
    first = ips.run(source, tmp_path / "out", draw=False)
    store = Store.open(tmp_path / "out/store.zarr", "r+")
    expected = store.read("densities/density")
    store.write_region("densities/density", 0, np.zeros_like(expected[:64]))
    store.commit("densities/block-0", {**store.record("densities/block-0"), "fingerprint": "another"})
    for record in ("densities/done", "report/done"):
        store.discard(record)
    again = ips.run(source, tmp_path / "out", draw=False)
    assert again.reused == ("particles", "equations", "kernel")
    np.testing.assert_array_equal(store.read("densities/density"), expected)
    assert answer(again.result) == answer(first.result)


def test_sorted_initial_files_are_seen_whole(tmp_path):
    """Spacing and automatic grid do not depend on the order of the rows of a file."""
    source = tmp_path / "auto.toml"
    source.write_text(write(tmp_path).read_text().replace("[grid]\nlower = -5.0\nupper = 5.0\ncells = 80\n", ""))
    x = np.random.default_rng(0).normal(size=20_000)
    setups = []
    for name, rows in (("shuffled", x), ("sorted", np.sort(x))):
        np.save(tmp_path / f"{name}.npy", rows)
        sets = [f"initial.file={tmp_path / name}.npy", "system.particles=20000", "time.horizon=0.01"]
        ips.run(source, tmp_path / name, sets=[*sets, "time.positions_at=[]"], draw=False)
        setups.append(Store.open(tmp_path / name / "store.zarr").attributes["setup"])
    assert setups[0]["spacing"] == setups[1]["spacing"]
    np.testing.assert_allclose(setups[0]["grid"]["lower"], setups[1]["grid"]["lower"], rtol=0.05)


def test_an_automatic_grid_holds_particles_that_spread(tmp_path):
    """The grid is chosen from all slices, so the mass of the last density is on it."""
    source = tmp_path / "auto.toml"
    text = write(tmp_path).read_text().replace("[grid]\nlower = -5.0\nupper = 5.0\ncells = 80\n", "")
    source.write_text(text.replace("variance = 0.25", "variance = 0.01").replace("0.2\nstep", "1.0\nstep"))
    sets = ["system.kernel=-0.5*r"]
    outcome = ips.run(source, tmp_path / "out", sets=sets, draw=False)
    store = Store.open(outcome.out / "store.zarr")
    density, x = store.read("densities/density"), store.read("densities/x")
    assert density[-1].sum() * (x[1] - x[0]) == pytest.approx(1.0, abs=0.01)
    assert not any("leave the density grid" in w for w in outcome.result["warnings"])


@pytest.mark.parametrize(
    ("sets", "message"),
    [
        (["density.bandwidth=1e-9"], r"`density\.bandwidth` times .* must be at least the spacing of the force mesh"),
        (["force.method=moments"], r"`force\.method`"),
        (["force.spacing=1e-9"], r"`force\.spacing` must leave a force mesh that fits; got 1e-09"),
        (["system.particles=1"], r"`system\.particles` must be a whole number from 2"),
        (['dictionary.terms=["exp(60*r)"]'], r"`dictionary\.terms` must stay below 1e\+100 .*rescale lengths"),
    ],
)
def test_refusals_come_before_work(tmp_path, sets, message):
    """Keys of later stages are checked before anything is written."""
    with pytest.raises(ips.InputError, match=message):
        ips.run(write(tmp_path), tmp_path / "out", sets=sets)
    assert not (tmp_path / "out").exists()


def test_refused_changes_leave_a_finished_run_alone(tmp_path):
    """A bad key given to a redo changes neither the store nor config.toml."""
    source = write(tmp_path)
    ips.run(source, tmp_path / "out", draw=False)
    before = (tmp_path / "out/config.toml").read_text()
    with pytest.raises(ips.InputError, match=r"bandwidth"):
        ips.estimate(tmp_path / "out", sets=["density.bandwidth=1e-9"])
    assert (tmp_path / "out/config.toml").read_text() == before
    assert ips.run(source, tmp_path / "out", draw=False).reused[-1] == "report"


def test_directories_of_others_are_left_alone(tmp_path):
    """A directory that holds anything but a run is refused, and so is a path below a file."""
    source = write(tmp_path)
    (tmp_path / "own").mkdir()
    (tmp_path / "own/config.toml").write_text('my = "precious config"')
    with pytest.raises(ips.InputError, match=r"`--out` must be empty or the directory of a run; got .*config\.toml"):
        ips.run(source, tmp_path / "own")
    assert (tmp_path / "own/config.toml").read_text() == 'my = "precious config"'
    with pytest.raises(ips.InputError, match=r"`--out` must be a directory; got .*which is a file"):
        ips.run(source, source / "below")


def test_dimensions_must_agree():
    """Positions of two dimensions under a configuration of one are refused by name."""
    positions = np.random.default_rng(0).normal(size=(6, 50, 2))
    with pytest.raises(ips.InputError, match=r"`system\.dimension` must be that of the particles"):
        ips.learn(positions, np.arange(6.0), diffusion=1.0, settings={"system": {"dimension": 1}})


def test_an_old_answer_is_not_shown_as_the_present_one(tmp_path):
    """After a new fit, info says that result.json is of an earlier one."""
    from ipsdist import runs

    ips.run(write(tmp_path), tmp_path / "out", draw=False)
    ips.fit(tmp_path / "out", sets=['dictionary.terms=["r"]'])
    assert "earlier fit" in runs.info(tmp_path / "out")["answer"][0]


def test_a_named_rule_that_does_not_fit_is_refused_first(tmp_path):
    """gauss_lobatto on many even slices is refused before equations are discarded or config.toml is written."""
    source = write(tmp_path)
    ips.run(source, tmp_path / "out", draw=False)
    before = (tmp_path / "out/config.toml").read_text()
    with pytest.raises(ips.InputError, match="quadrature"):
        ips.fit(tmp_path / "out", sets=["fit.quadrature=gauss_lobatto"])
    assert (tmp_path / "out/config.toml").read_text() == before
    assert ips.run(source, tmp_path / "out", draw=False).reused[-1] == "report"


def test_a_page_follows_its_result(tmp_path):
    """A report that was written without figures is drawn when figures are asked for."""
    source = write(tmp_path)
    ips.run(source, tmp_path / "out")
    ips.run(source, tmp_path / "out", sets=['dictionary.terms=["r"]'], draw=False)
    page = (tmp_path / "out/report.html").read_text()
    again = ips.run(source, tmp_path / "out", sets=['dictionary.terms=["r"]'])
    assert "report" not in again.reused
    assert (tmp_path / "out/report.html").read_text() != page


def test_concentrated_and_flat_particles_are_learnt_from():
    """All particles on one node at some slice, and an axis along which nothing moves, break nothing."""
    random = np.random.default_rng(0)
    walk = np.cumsum(np.concatenate([np.zeros((1, 400)), 0.3 * random.normal(size=(5, 400))]), axis=0)
    validate(ips.learn(walk, 0.1 * np.arange(6), diffusion=0.9, labelled=False).result)
    flat = np.stack([walk + random.normal(size=400), np.zeros_like(walk)], axis=2)
    validate(ips.learn(flat, 0.1 * np.arange(6), diffusion=0.9, labelled=False).result)


def test_prediction_must_be_possible(tmp_path):
    """A prediction that is asked for where none is made is refused, not ignored."""
    with pytest.raises(ips.InputError, match=r"`fit\.prediction` on needs the action form, best_subset"):
        ips.run(write(tmp_path), tmp_path / "out", sets=["fit.prediction=on", "fit.selection=two_phase"])
