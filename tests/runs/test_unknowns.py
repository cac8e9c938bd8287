"""Runs that learn more than a kernel: potentials, drift, sigma^2; another dictionary; chosen times."""

import numpy as np
import pytest

import ipsdist as ips
from ipsdist.runs.directory import STORE
from ipsdist.storage import Store
from tests.report.validation import validate
from tests.runs.samples import write

WITH_V = (
    'dictionary.potentials=["x**2/2"]',
    'system.potential="2*x**2"',
    "initial.mixture=[{weight=0.5,mean=0.0,variance=0.25},{weight=0.5,mean=2.0,variance=0.25}]",
    'dictionary.terms=["r**2"]',
)


@pytest.mark.parametrize("labelled", [True, False])
def test_kernel_potential_and_sigma_together(tmp_path, labelled):
    """All three are within 4 standard errors of the truth, and the result says what kind each term is."""
    sets = (*WITH_V, "fit.diffusion=estimate", f"data.labelled={str(labelled).lower()}")
    outcome = ips.run(write(tmp_path), tmp_path / "out", sets=sets)
    result = outcome.result
    validate(result)
    assert result["form"] == ("action" if labelled else "weak")
    kinds = {t["name"]: t["kind"] for t in result["terms"]}
    assert kinds == {"r**2": "kernel", "x**2/2": "potential"}
    for term in result["terms"]:
        assert abs(term["coefficient"] - {"r**2": 3.0, "x**2/2": 4.0}[term["name"]]) < 4 * term["standard_error"]
    sigma2 = result["diffusion"]
    assert 0 < sigma2["standard_error"] < 0.2
    assert abs(sigma2["value"] - 2.0) < 4 * sigma2["standard_error"]
    assert result["potential"].endswith("*(x**2/2)")
    assert "V =" in outcome.summary
    assert "V" in (tmp_path / "out" / "report.html").read_text()


def test_a_drift_in_the_plane(tmp_path):
    """A linear potential is found as the drift along its axis, with its sign; the other axis has none."""
    sets = ('system.potential="-1.5*y"', "dictionary.drift=true", 'dictionary.potentials=["x**2/2"]')
    terms = {t["name"]: t for t in ips.run(write(tmp_path, 2), tmp_path / "out", sets=sets, draw=False).result["terms"]}
    assert "drift_x" not in terms
    assert terms["drift_y"]["kind"] == "drift"
    assert abs(terms["drift_y"]["coefficient"] - 1.5) < 4 * terms["drift_y"]["standard_error"]


def test_interaction_and_potential_that_differ_by_the_mean_are_named(tmp_path):
    """phi = r against V = x**2/2 on symmetric data: one is picked, both are in one confounded group."""
    sets = ('system.kernel="r"', 'dictionary.potentials=["x**2/2"]', 'dictionary.terms=["r", "r**2"]')
    outcome = ips.run(write(tmp_path), tmp_path / "out", sets=sets, draw=False)
    assert any({"r", "x**2/2"} <= set(group) for group in outcome.result["confounded"])
    assert "cannot tell these terms apart" in outcome.summary


@pytest.mark.parametrize("dimension", [1, 2])
def test_another_dictionary_without_the_particles(tmp_path, dimension):
    """A fit with other terms leaves the equations alone, and finds what a run with these terms finds."""
    terms = 'dictionary.terms=["r", "r**2", "r*exp(-r)"]'
    out = tmp_path / "out"
    first = ips.run(write(tmp_path, dimension), out, draw=False)
    again = ips.fit(out, sets=[terms])
    assert "equations" in again.reused
    direct = ips.run(write(tmp_path, dimension), tmp_path / "direct", sets=[terms], draw=False)
    assert again.kernel.text.split("*", 1)[1] == direct.kernel.text.split("*", 1)[1]
    np.testing.assert_allclose(again.kernel.coefficients, direct.kernel.coefficients, rtol=2e-3)
    np.testing.assert_allclose(again.kernel.standard_errors, direct.kernel.standard_errors, rtol=2e-3)
    # The run file that is left repeats it from the particles on, to the bit.
    repeated = ips.run(out / "config.toml", tmp_path / "repeated", draw=False)
    np.testing.assert_array_equal(repeated.kernel.coefficients, again.kernel.coefficients)
    # And the first dictionary is still the assembled one.
    back = ips.fit(out, sets=[f"dictionary.terms={list(first.kernel.terms and ['r', 'r**2'])}"])
    assert "equations" in back.reused


def test_terms_that_the_radial_basis_does_not_hold_are_assembled(tmp_path):
    """A jump in the middle of the distances cannot be projected; the equations are made again, for these terms."""
    out = tmp_path / "out"
    ips.run(write(tmp_path), out, draw=False)
    outcome = ips.fit(out, sets=['dictionary.terms=["r**2", "sign(r-1)"]'])
    assert "equations" not in outcome.reused
    assert "particles" in outcome.reused
    assert "assembled" not in (out / "config.toml").read_text()


def test_chosen_times_are_those_of_the_rule(tmp_path):
    """Twelve Gauss-Lobatto times, rounded to steps: both ends, crowded there, and a run that resumes from any."""
    sets = ("data.times=gauss_lobatto", "data.slices=12", "time.positions_at=[]")
    ips.run(write(tmp_path), tmp_path / "out", sets=sets, draw=False)
    times = np.array(Store.open(tmp_path / "out" / STORE).attributes["setup"]["times"])
    nodes = np.polynomial.legendre.Legendre.basis(11).deriv().roots()
    np.testing.assert_allclose(times, 0.1 * (1 + np.concatenate([[-1], np.sort(nodes), [1]])), atol=5.1e-4)


@pytest.mark.parametrize(
    ("sets", "message"),
    [
        (
            ["data.times=gauss_lobatto"],
            '`data.slices` is required when data.times = "gauss_lobatto"; got gauss_lobatto',
        ),
        (["data.slices=9"], '`data.slices` is read only when data.times is not "even"; got 9'),
        (
            ["data.times=gauss_lobatto", "data.slices=9"],
            '`time.positions_at` needs even slices; got data.times = "gauss_lobatto"; leave it out',
        ),
        (["fit.diffusion=estimate", "fit.form=strong"], "`system.diffusion` is required by the strong form"),
        (
            ["fit.form=weak", "fit.quadrature=gauss_lobatto"],
            "`fit.quadrature` must cut the slices into panels for the weak form",
        ),
        (["fit.sums=direct", "fit.form=weak"], "`fit.sums` must not be direct for the strong and weak forms"),
    ],
)
def test_settings_that_do_not_go_together(tmp_path, sets, message):
    """One line each, before anything is written."""
    with pytest.raises(ips.InputError) as refused:
        ips.run(write(tmp_path), tmp_path / "out", sets=sets)
    assert message in str(refused.value)
    assert not (tmp_path / "out").exists()
