"""Large steps where the answer, the grid or the form is not the usual one: nothing fails, and what stays is told."""

import json

import numpy as np
import pytest

import ipsdist as ips
from ipsdist.model.mesh import Mesh
from ipsdist.model.system import Grid
from ipsdist.numerics.densities.deposit import deposit
from ipsdist.stages import answer, snapshots, step_bias

LARGE = ["time.step=0.01", "time.observe_every=1", "fit.prediction=off"]


def result(out):
    return json.loads((out / "result.json").read_text())


def test_an_answer_without_a_kernel(tmp_path):
    """Independent particles in a potential that is learnt: no term of the dictionary is in the law."""
    sets = ["system.kernel=1e-9*r", "system.potential=x**2", 'dictionary.potentials=["x**2/2"]']
    ips.run("cubic", out=tmp_path, sets=["system.particles=50000", *LARGE, *sets], draw=False)
    (term,) = result(tmp_path)["terms"]
    assert (term["name"], term["coefficient"]) == ("x**2/2", pytest.approx(2.0, abs=4.0 * term["standard_error"]))


def test_terms_of_the_answer_are_not_told_to_be_left_out(tmp_path):
    """With the part of the step some terms are not resolved; without it they are, and it is the second that counts."""
    sets = ["system.particles=200000", "system.replicas=3", *LARGE, "system.potential=x**2/2"]
    ips.run("cubic", out=tmp_path, sets=sets, draw=False)
    found = result(tmp_path)
    assert [t["name"] for t in found["terms"]] == ["r**2"]
    assert not any("r**2:" in warning for warning in found["warnings"])


def test_the_weak_form_tells_it(tmp_path):
    """Its equations are those of a diffusion too, and nothing is taken from them."""
    ips.run("cubic", out=tmp_path, sets=["system.particles=100000", *LARGE, "fit.form=weak"], draw=False)
    assert "time.step = 0.01 may shift the answer by up to" in " ".join(result(tmp_path)["warnings"])


def test_the_prediction_asks_once_for_all_replicas(tmp_path, monkeypatch):
    """They follow one law: as many chains as predictions."""
    calls = {"solved": 0, "bias": 0}
    solve, bias = snapshots.solve_mean_field, step_bias.TimeStep.bias

    def counted(name, of):
        def call(*args, **named):
            calls[name] += 1
            return of(*args, **named)

        return call

    monkeypatch.setattr(snapshots, "solve_mean_field", counted("solved", solve))
    monkeypatch.setattr(step_bias.TimeStep, "bias", counted("bias", bias))
    sets = ["system.particles=50000", "system.replicas=3", *LARGE[:2], "fit.prediction=on"]
    ips.run("cubic", out=tmp_path, sets=[*sets, "dictionary.terms=['r', 'r**2']"], draw=False)
    assert calls["bias"] == calls["solved"] > 0


def test_the_chain_has_a_grid_that_holds_the_particles():
    """Whole cells are added where they are missing; a grid that holds all is left as it is."""
    positions = np.linspace(-1.0, 3.0, 4001)[:, None]
    seen = (deposit(positions, Mesh(0.125, (-10,), (40,))),)
    wide = Grid((-2.0,), (4.0,), (60,))
    assert step_bias._holding(wide, seen) == wide
    found = step_bias._holding(Grid((-0.5,), (2.5,), (30,)), seen)
    assert found.lower == pytest.approx((-1.0,), abs=0.13)
    assert found.upper == pytest.approx((3.0,), abs=0.13)
    assert found.lower[0] <= -1.0
    assert found.upper[0] >= 3.0
    assert found.spacing == pytest.approx((0.1,))


@pytest.mark.parametrize("known", [False, True], ids=["alone", "beside a known potential"])
def test_sigma_squared_of_labelled_moves(tmp_path, monkeypatch, known):
    """Richardson's value is off by h times the divergence of the drift, 4 % or more here: it is taken away."""
    sets = ["system.particles=200000", *LARGE, "fit.diffusion=estimate"]
    sets += ["system.potential=2*x**2"] if known else []
    ips.run("cubic", out=tmp_path / "run", sets=sets, draw=False)
    found = result(tmp_path / "run")
    assert [t["name"] for t in found["terms"]] == ["r**2"]
    error = found["diffusion"]["standard_error"]
    assert abs(found["diffusion"]["value"] - 2.0) < 0.01 + 4.0 * error  # of second order in h the rest

    monkeypatch.setattr(answer, "less_step", lambda store, config, pairings, fit, diffusion: diffusion)
    ips.run("cubic", out=tmp_path / "left", sets=sets, draw=False)
    assert result(tmp_path / "left")["diffusion"]["value"] > 2.06
