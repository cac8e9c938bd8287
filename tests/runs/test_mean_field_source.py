"""Runs that learn from densities of the mean-field equation: accuracy, the same bits, resume, what is refused."""

from __future__ import annotations

import numpy as np
import pytest

import ipsdist as ips
from ipsdist.stages import continuum
from ipsdist.storage import Store
from tests.runs.samples import answer
from tests.runs.test_bits import arrays

CUBIC = ["data.source=mean_field", "time.step=1e-3", "time.observe_every=5"]
PLANE = """
[system]
dimension = 2
particles = 20000
kernel = "3*r**2"
diffusion = 2.0
[time]
horizon = 0.3
step = 1e-3
observe_every = 10
[initial]
mixture = [{weight = 0.5, mean = [1.0, 0.0], variance = 0.25}, {weight = 0.5, mean = [-1.0, 0.0], variance = 0.25}]
[data]
source = "mean_field"
[grid]
lower = -4.0
upper = 4.0
cells = 32
[dictionary]
terms = ["1", "r", "r**2", "r**3", "exp(-r)"]
"""


def plane(folder):
    """Write a run file in the plane."""
    path = folder / "plane.toml"
    path.write_text(PLANE)
    return path


def terms(outcome):
    """Return the coefficients of the kept terms by name."""
    return {t["name"]: t["coefficient"] for t in outcome.result["terms"]}


@pytest.fixture(scope="module", params=[1, 2])
def finished(request, tmp_path_factory):
    """Return source, settings and outcome of a run in one and two dimensions."""
    folder = tmp_path_factory.mktemp(f"density{request.param}")
    source, sets = ("cubic", CUBIC) if request.param == 1 else (plane(folder), [])
    return source, sets, ips.run(source, folder / "serial", sets=sets, draw=False)


def test_the_kernel_is_found_far_below_the_sampling_error(finished):
    """phi = 3 r^2 within 5e-4, of which particles know 0.01 at best; errors and reason speak of particles."""
    _, _, outcome = finished
    assert terms(outcome) == {"r**2": pytest.approx(3.0, abs=5e-4)}
    result = outcome.result
    assert result["terms"][0]["standard_error"] > 5e-3
    assert "no sampling error" in result["form_reason"]
    assert result["system"]["labelled"] is False
    assert result["nonparametric"] is None
    assert result["cost"]["particle_steps_per_second"] is None
    assert result["warnings"] == []


def test_densities_are_those_of_the_equation(finished):
    """Mass 1 at every slice, the initial law at the first, and the prediction of the true kernel follows them."""
    _, _, outcome = finished
    store = Store.open(outcome.out / "store.zarr")
    density = store.read("densities/density")
    axes = [store.read(f"densities/{a}") for a in ("x", "y")[: density.ndim - 1]]
    mass = density
    for axis in reversed(axes):
        mass = np.trapezoid(mass, axis, axis=-1)
    np.testing.assert_allclose(mass, 1.0, atol=2e-6)
    square = sum(np.exp(-2 * (axes[0] - m) ** 2) for m in (1.0, -1.0)) / 2 / np.sqrt(0.5 * np.pi)
    exact = square if len(axes) == 1 else np.outer(square, np.exp(-2 * axes[1] ** 2)) / np.sqrt(0.5 * np.pi)
    np.testing.assert_allclose(density[0], exact, atol=1e-4 * exact.max())
    spacing = axes[0][1] - axes[0][0]  # the prediction is solved on the grid itself, by the scheme alone
    assert max(outcome.result["wasserstein2"]["values"]) < spacing**2


def test_workers_change_no_bit(finished, tmp_path):
    """Two worker processes leave the same arrays and the same answer as none."""
    source, sets, outcome = finished
    other = ips.run(source, tmp_path / "out", sets=sets, workers=2, draw=False)
    assert answer(other.result) == answer(outcome.result)
    assert arrays(other.out) == arrays(outcome.out)


def test_a_stopped_run_goes_on_with_the_same_bits(finished, tmp_path, monkeypatch):
    """Stopped when the second block is written but not committed, the same command ends with the same bits."""
    source, sets, outcome = finished
    save = continuum.save_block

    def failing(store, replica, block, *rest):
        if block.number == 1:
            raise ips.RunError("the disk is full")
        save(store, replica, block, *rest)

    monkeypatch.setattr(continuum, "save_block", failing)
    with pytest.raises(ips.RunError, match="full"):
        ips.run(source, tmp_path / "out", sets=sets, draw=False)
    monkeypatch.undo()
    store = Store.open(tmp_path / "out" / "store.zarr")
    assert store.record("particles/replica-0.block-0") is not None
    assert store.record("particles/replica-0") is None
    other = ips.run(source, tmp_path / "out", sets=sets, draw=False)
    assert answer(other.result) == answer(outcome.result)
    assert arrays(other.out) == arrays(outcome.out)


def test_sigma_squared_is_learnt_from_densities(tmp_path):
    """By the weak form, whose noise says nothing here: sigma^2 within 1e-3 and the kernel with it."""
    outcome = ips.run("cubic", tmp_path / "out", sets=[*CUBIC, "fit.diffusion=estimate"], draw=False)
    assert outcome.result["form"] == "weak"
    assert outcome.result["diffusion"]["value"] == pytest.approx(2.0, abs=1e-3)
    assert terms(outcome) == {"r**2": pytest.approx(3.0, abs=2e-3)}


@pytest.mark.parametrize("form", ["strong", "weak"])
def test_other_forms_read_densities_too(tmp_path, form):
    """The strong form differences the density on its grid; its own error is a few thousandths."""
    sets = [*CUBIC, f"fit.form={form}", "time.observe_every=2"]
    outcome = ips.run("cubic", tmp_path / "out", sets=sets, draw=False)
    assert terms(outcome) == {"r**2": pytest.approx(3.0, abs=0.03 if form == "strong" else 1e-3)}


def test_few_snapshots_are_bridged_from_the_first_density(tmp_path):
    """Eleven slices 0.1 apart: the prediction starts from the density itself, not from counts."""
    sets = ["data.source=mean_field", "time.step=1e-3", "time.observe_every=100"]
    outcome = ips.run("cubic", tmp_path / "out", sets=sets, draw=False)
    assert outcome.result["settled"] is True
    assert terms(outcome) == {"r**2": pytest.approx(3.0, abs=3e-3)}


def test_a_singular_kernel(tmp_path):
    """The cells resolve the cut-off: r - r^-1.5 well within the errors of 20 000 particles (0.0007 and 0.002)."""
    outcome = ips.run("power_law", tmp_path / "out", sets=CUBIC, draw=False)
    assert terms(outcome) == {"r": pytest.approx(1.0, abs=2e-4), "r**-1.5": pytest.approx(-1.0, abs=1e-3)}


def test_a_step_in_numbers_solves_on_the_grid_itself(tmp_path):
    """As [S] does: the scheme's own error is the answer's, and a step that the scheme cannot take is refused early."""
    own = [*CUBIC, "mean_field.scheme=runge_kutta_4", "mean_field.step=1e-3"]
    outcome = ips.run("cubic", tmp_path / "out", sets=own, draw=False)
    store = Store.open(outcome.out / "store.zarr")
    assert store.read("particles/cells").tolist() == [[-4.0, 4.0, 100.0]]
    assert terms(outcome) == {"r**2": pytest.approx(3.0, abs=0.1)}
    assert abs(terms(outcome)["r**2"] - 3.0) > 1e-3
    with pytest.raises(ips.InputError, match=r"`mean_field\.step` must be"):
        ips.run("cubic", tmp_path / "another", sets=[*own, "grid.cells=400"], draw=False)
    with pytest.raises(ips.InputError, match=r"`mean_field\.step` must lead to .* got 1e-09: .* would take \d"):
        ips.run("cubic", tmp_path / "another", sets=[*own, "mean_field.step=1e-9"], draw=False)
    assert not (tmp_path / "another").exists()


def test_without_a_grid_the_box_grows_until_nothing_touches_its_walls(tmp_path):
    """Clouds that repel each other spread far beyond where they start."""
    path = tmp_path / "spread.toml"
    path.write_text("""
[system]
particles = 20000
kernel = "-r*exp(-r)"
diffusion = 0.5
[time]
horizon = 4.0
step = 1e-2
observe_every = 4
[initial]
uniform = {lower = -1.0, upper = 1.0}
[data]
source = "mean_field"
[dictionary]
terms = ["1", "r", "r**2", "exp(-r)", "r*exp(-r)"]
""")
    outcome = ips.run(path, tmp_path / "out", draw=False)
    assert terms(outcome) == {"r*exp(-r)": pytest.approx(-1.0, abs=3e-3)}
    assert outcome.result["warnings"] == []
    ((lower, upper, cells),) = Store.open(outcome.out / "store.zarr").read("particles/cells").tolist()
    assert lower < -5.0
    assert upper > 5.0
    assert cells < 2000  # the jumps of the first slice are not resolved, and need not be


def test_a_grid_that_cuts_the_law_is_refused(tmp_path):
    """Nothing leaves the grid, so that what lies outside would be pressed in; nothing is written."""
    with pytest.raises(ips.InputError, match=r"at most 0\.1% outside: nothing leaves the grid; got 0\.6%"):
        ips.run("cubic", tmp_path / "out", sets=[*CUBIC, "grid.lower=-2.25", "grid.upper=2.25"], draw=False)
    assert not (tmp_path / "out").exists()


def test_walls_that_are_felt_are_told(tmp_path):
    """A law that spreads to the walls of its grid."""
    sets = [*CUBIC, "grid.lower=-2.8", "grid.upper=2.8", "system.kernel=r", "system.diffusion=6.0", "time.horizon=0.2"]
    outcome = ips.run("cubic", tmp_path / "out", sets=sets, draw=False)
    assert any("walls of [grid]" in warning for warning in outcome.result["warnings"])


def test_walls_and_scheme_are_keys_of_the_particles(tmp_path):
    """Other walls are other data, refused in a directory that has them; another number of points is not."""
    sets = [*CUBIC, "time.horizon=0.1"]
    first = ips.run("cubic", tmp_path / "out", sets=sets, draw=False)
    for key in ("grid.lower=-5.0", "mean_field.scheme=runge_kutta_4"):
        with pytest.raises(ips.InputError, match=key.partition("=")[0] + " is .* and now "):
            ips.run("cubic", first.out, sets=[*sets, key], draw=False)
    again = ips.run("cubic", first.out, sets=[*sets, "grid.cells=50"], draw=False)
    assert again.reused == ("particles", "equations")
    assert Store.open(first.out / "store.zarr").read("densities/density").shape == (21, 51)
