"""Large steps of a simulation: what they add is taken from the equations, or told."""

import json
from pathlib import Path

import pytest

import ipsdist as ips

STEPS = ["system.particles=300000", "time.step=0.01", "time.observe_every=1"]


def result(out):
    return json.loads((Path(out) / "result.json").read_text())


@pytest.mark.parametrize("sets", [[], ["fit.prediction=off", "fit.quadrature=boole"]], ids=["bridged", "by a rule"])
def test_the_answer_of_large_steps(tmp_path, sets):
    """A hundred steps of 0.01: left alone they shift r^2 by more than chance, or let a wrong term in."""
    ips.run("cubic", out=tmp_path / "run", sets=[*STEPS, *sets], draw=False)
    found = result(tmp_path / "run")
    (term,) = found["terms"]
    assert term["name"] == "r**2"
    assert abs(term["coefficient"] - 3.0) < 4.0 * term["standard_error"]
    assert found["form_reason"].endswith("; the shift by time.step = 0.01 is taken away")

    left = ips.fit(tmp_path / "run", sets=["fit.time_step=off"]).kernel
    assert left.text.split(" ")[-1] != "r**2" or abs(left.coefficients[0] - 3.0) > 6.0 * left.standard_errors[0]


def test_small_steps_of_few_particles_are_left_alone(tmp_path):
    """Nothing is said of them."""
    ips.run("cubic", out=tmp_path, sets=["system.particles=2000", "time.horizon=0.1"], draw=False)
    assert "time.step" not in result(tmp_path)["form_reason"]


def test_in_the_plane(tmp_path):
    """Taken away alike; told where that is switched off, by how much and what to do."""
    sets = ["system.particles=20000", "time.step=0.02", "time.observe_every=1", "grid.cells=40", "fit.prediction=off"]
    ips.run("radial_2d", out=tmp_path, sets=sets, draw=False)
    (term,) = result(tmp_path)["terms"]
    assert term["name"] == "r**2"
    assert abs(term["coefficient"] - 3.0) < 4.0 * term["standard_error"]
    ips.run("radial_2d", out=tmp_path, sets=[*sets, "fit.time_step=off"], draw=False)
    told = " ".join(result(tmp_path)["warnings"])
    assert "time.step = 0.02 may shift the answer by up to" in told
    assert "standard errors: simulate with smaller steps" in told
