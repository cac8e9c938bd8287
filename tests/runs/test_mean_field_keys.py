"""[mean_field] reaches every place that solves the mean-field equation, and redoes what depends on it, no more."""

import re

import pytest

import ipsdist as ips
from ipsdist.numerics.densities.meanfield import solve_mean_field
from tests.runs.samples import write


@pytest.fixture
def solved(monkeypatch):
    """Return the list of (module, scheme, step) of every solution that a run asks for."""
    calls = []
    for module in ("ipsdist.runs.assess", "ipsdist.stages.snapshots"):

        def watched(*values, module=module, **options):
            calls.append((module.rpartition(".")[2], options["scheme"], options["step"]))
            return solve_mean_field(*values, **options)

        monkeypatch.setattr(f"{module}.solve_mean_field", watched)
    return calls


def test_scheme_and_step(tmp_path, solved):
    """The default is Scharfetter-Gummel, as long as stable; another scheme redoes kernel and report, and shows."""
    source, out = write(tmp_path), tmp_path / "out"
    sets = ["fit.prediction=on", "fit.selection=best_subset"]
    first = ips.run(source, out, sets=sets, draw=False, observe=lambda p: None)
    assert set(solved) == {(place, "scharfetter_gummel", None) for place in ("assess", "snapshots")}
    del solved[:]
    redone = set()
    sets += ["mean_field.scheme=carrillo_chertock_huang", "mean_field.step=2e-3"]
    second = ips.run(source, out, sets=sets, draw=False, observe=lambda p: redone.add(p.stage))
    assert set(solved) == {(place, "carrillo_chertock_huang", 2e-3) for place in ("assess", "snapshots")}
    assert redone == {"kernel", "report"}
    losses = [run.result["data_loss"] for run in (first, second)]
    assert losses[0] != losses[1]
    assert losses[0] == pytest.approx(losses[1], rel=0.1)


def test_too_long_a_step_is_told(tmp_path):
    """A step beyond the bound of the scheme leaves an answer without a prediction, and a warning with the bound."""
    sets = ["mean_field.scheme=runge_kutta_4", "mean_field.step=0.1"]
    outcome = ips.run(write(tmp_path), tmp_path / "out", sets=sets, draw=False, observe=lambda p: None)
    assert outcome.result["data_loss"] is None
    told = " ".join(outcome.result["warnings"])
    assert re.search(r"no prediction with the true kernel: `mean_field.step` must be at most 0\.00\d+ on", told)
