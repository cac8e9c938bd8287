"""Break points from a run file: found, told, recorded, the same bits on workers, and refused where they cannot be."""

import json

import numpy as np
import pytest

import ipsdist as ips
from ipsdist.config import resolve
from ipsdist.learning.breakpoints import break_points, pieces_fit
from ipsdist.learning.pieces import HatSystem, all_columns
from ipsdist.model.errors import InputError
from ipsdist.runs.pipeline import Options, run
from ipsdist.stages.breaks import hat_basis, load_hats, pair_step
from ipsdist.stages.kernel import load_kernel, load_used_equations
from ipsdist.stages.pieces import roads_doubt
from ipsdist.storage import Store
from tests.report.validation import validate
from tests.runs.samples import answer

SMALL = (
    "system.particles=4000", "time.horizon=3.0", "time.step=0.01", "time.observe_every=2", "system.diffusion=0.004",
    "force.spacing=0.03125", "initial.uniform={lower=-3.0,upper=3.0}", "fit.max_breaks=3",
)  # fmt: skip


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A small polarization, done with every stage."""
    out = tmp_path_factory.mktemp("breaks") / "run"
    return ips.run("polarization", out, seed=3, sets=SMALL), out


def test_answer(small):
    """Two breaks near 1.5 and 2, r on two pieces, in result.json as its schema has it, in words and in errors."""
    outcome, out = small
    result = outcome.result
    validate(result)
    assert result["selection"] == "breakpoints"
    places = [b["place"] for b in result["breakpoints"]]
    np.testing.assert_allclose(places, [1.5, 2.0], atol=0.06)
    for b, truth in zip(result["breakpoints"], (1.5, 2.0), strict=True):
        assert b["interval95"][0] - 0.05 < truth < b["interval95"][1] + 0.05
    errors = result["errors"]
    assert errors["breakpoints"]["number_correct"]
    # So few particles over so short a time now and then take r**2 for r on a piece, or both; the law is the same.
    kernel = outcome.kernel(np.array([1.0, 1.75, 2.5]))
    np.testing.assert_allclose(kernel, [0.5, 1.75, 0.0], atol=0.12)
    road = result["breakpoint_roads"]["profile"]
    assert road["places"] == places
    assert [bool(p["terms"]) for p in road["pieces"]] == [True, True, False]
    assert road["smooth"]["score_difference"] > 10
    first, second = f"(0, {places[0]:.4g}]", f"({places[0]:.4g}, {places[1]:.4g}]"
    assert {t["name"].partition(" on ")[2] for t in result["terms"]} == {first, second}
    assert set(result["dropped"]) >= {f"{name} on ({places[1]:.4g}, inf)" for name in ("r", "r**2")}
    assert result["alternatives"][0]["score_difference"] > 0
    assert "band without a dictionary" not in outcome.summary
    assert json.loads((out / "result.json").read_text())["breakpoints"] == result["breakpoints"]


def test_the_kernel_is_in_pieces(small):
    """It jumps where the record says, carries its band, and solves the equations that the report reads."""
    outcome, out = small
    store, config = Store.open(out / "store.zarr"), resolve(out / "config.toml")
    kernel, places = load_kernel(store, config), [b["place"] for b in outcome.result["breakpoints"]]
    r = np.array([1.0, places[0], np.nextafter(places[0], 9), places[1], np.nextafter(places[1], 9), 4.0])
    pieces = outcome.result["breakpoint_roads"]["profile"]["pieces"]
    laws = [dict(zip(p["terms"], p["coefficients"], strict=True)) for p in pieces]
    at = [
        laws[p].get("r", 0.0) * x + laws[p].get("r**2", 0.0) * x**2 for p, x in zip((0, 0, 1, 1, 2, 2), r, strict=True)
    ]
    np.testing.assert_allclose(kernel(r), at)
    value, lower, upper = kernel.band(r)
    assert (lower[:4] < value[:4]).all()
    assert (value[:4] < upper[:4]).all()
    assert value[-1] == lower[-1] == upper[-1] == 0.0
    used = load_used_equations(store)
    hats = load_hats(store, config, 0.004)
    columns = HatSystem.of(hats, hat_basis(store), config.terms(), 0.004).columns(places, all_columns(2, 2))
    np.testing.assert_allclose(used.gram.sum(0), columns.T @ hats.gram.sum(0) @ columns, rtol=1e-10)
    assert used.panels == 10
    drifted = pair_step(store, 0.0)
    assert pair_step(store, 0.004) - drifted == pytest.approx(2 * np.sqrt(2 * 0.004 * 0.02))
    assert 0.0 < drifted < 4 * 0.02  # |phi| is 2 at most, and half the particles pull either way


def test_the_same_bits_on_workers(small, tmp_path):
    """Two workers, another chunk: the same answer."""
    config = resolve("polarization", (*SMALL, "run.chunk=1000"), seed=3)
    outcome = run(config, tmp_path / "run", Options(workers=2, draw=False))
    assert answer(outcome.result) == answer(small[0].result)


def test_another_selection_takes_other_equations(small, tmp_path):
    """A run without hats gets them when break points are asked for, its particles kept."""
    out = tmp_path / "run"
    sets = [s for s in SMALL if not s.startswith("fit.")]
    first = ips.run("polarization", out, seed=3, sets=[*sets, "fit.selection=best_subset"], draw=False)
    assert first.result["breakpoint_roads"] is None
    again = ips.run("polarization", out, seed=3, sets=SMALL, draw=False)
    assert "particles" in again.reused
    assert "equations" not in again.reused
    assert again.result["breakpoints"] == small[0].result["breakpoints"]


def test_too_few_particles_are_refused(tmp_path):
    """Pairs that are summed directly know no mesh."""
    with pytest.raises(InputError, match=r"`fit\.selection` must not be breakpoints where pairs are summed directly"):
        ips.run("polarization", tmp_path / "run", sets=("system.particles=200",))
    assert not (tmp_path / "run").exists()


CONTRACTING = (
    "system.particles=2000", "system.diffusion=0.01", "system.potential=x**2/2", "time.horizon=0.5", "time.step=0.005",
    "time.observe_every=5", "initial.uniform={lower=-3.0,upper=3.0}", "fit.max_breaks=3", "fit.network=off",
)  # fmt: skip


def test_pairs_that_drift_fast_propose_no_pieces(tmp_path):
    """V = x^2/2 takes 0.15 off the largest distances between two slices: 0 to 0.3 of it is no piece of its own."""
    out = tmp_path / "run"
    run(resolve("polarization", CONTRACTING), out, Options(draw=False), upto="kernel")
    store, config = Store.open(out / "store.zarr"), resolve(out / "config.toml")
    # dx/dt = -x: nine of ten quantiles drift by 0.9 * 3 * 0.025 at most.
    assert pair_step(store, 0.0) == pytest.approx(4 * 0.9 * 3.0 * 0.025, rel=0.2)
    # Told the break, one jump; with pieces of 0.06, which no pair is seen in twice, 400 units less are found.
    hats, basis = load_hats(store, config, 0.01), hat_basis(store)
    told = pieces_fit(hats, basis, config.terms(), [2.0], 0.01).score
    assert break_points(hats, basis, config.terms(), 0.01, max_breaks=3).score < told - 100.0
    assert store.record("kernel/done")["breakpoint_roads"]["profile"]["score"] > told - 20.0


def test_breaks_stay_beyond_a_cutoff(tmp_path):
    """A jump at 0.6 inside the cut-off of 1/r: what is frozen is not cut, and the run comes to its end."""
    sets = [s for s in CONTRACTING if "potential" not in s]
    sets += ["system.pieces=[{upto=0.6,kernel='2.0'},{kernel='0'}]", "dictionary.terms=['r','1/r']"]
    out = tmp_path / "run"
    run(resolve("polarization", (*sets, "dictionary.cutoff=1.0")), out, Options(draw=False), upto="kernel")
    store = Store.open(out / "store.zarr")
    assert all(b["place"] >= 1.0 for b in store.record("kernel/done")["breakpoints"])
    assert np.isfinite(load_kernel(store, resolve(out / "config.toml"))(np.linspace(0.0, 4.0, 50))).all()


def test_runs_with_break_points_are_pooled(tmp_path):
    """As the refusal advises, by best_subset: their equations hold what a pool needs, and hats besides."""
    homes = [tmp_path / name for name in ("one", "two")]
    for seed, out in enumerate(homes):
        run(resolve("polarization", CONTRACTING, seed=seed), out, Options(draw=False), upto="kernel")
    with pytest.raises(InputError, match=r"add --set fit\.selection=best_subset"):
        ips.pool(homes)
    result = ips.pool(homes, sets=["fit.selection=best_subset"]).result
    assert (result["selection"], result["particles"]) == ("best_subset", 4000)


@pytest.mark.parametrize(
    ("places", "road", "said"),
    [
        ([1.5, 2.0], {"places": [1.52, 1.98]}, ()),
        ([1.5], None, ()),
        ([1.5], {"places": None}, ()),
        ([], {"places": [0.5]}, ("by the profile misfit none; by the network 0.5.",)),
        ([2.0], {"places": [1.5, 2.0, 7.0]}, ("by the profile misfit 2; by the network 1.5, 2, 7.",)),
    ],
)
def test_roads_that_disagree_are_told(places, road, said):
    """The number of break points counts; that the network is less exact about their places is its nature."""
    told = roads_doubt(places, road)
    assert len(told) == len(said)
    assert all(t.startswith("The two roads disagree") and t.endswith(s) for t, s in zip(told, said, strict=True))
