"""Runs that learn more than a kernel: potentials, drift, sigma^2; another dictionary; chosen times."""

import numpy as np
import pytest

import ipsdist as ips
from ipsdist.config import resolve
from ipsdist.runs import pipeline
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
    terms, source, out = 'dictionary.terms=["r", "r**2", "r*exp(-r)"]', write(tmp_path, dimension), tmp_path / "out"
    first = pipeline.run(resolve(source), out, upto="kernel")
    again = ips.fit(out, sets=[terms])
    assert "equations" in again.reused
    direct = pipeline.run(resolve(source, [terms]), tmp_path / "direct", upto="kernel")
    assert again.kernel.text.split("*", 1)[1] == direct.kernel.text.split("*", 1)[1]
    np.testing.assert_allclose(again.kernel.coefficients, direct.kernel.coefficients, rtol=2e-3)
    np.testing.assert_allclose(again.kernel.standard_errors, direct.kernel.standard_errors, rtol=2e-3)
    # The run file that is left repeats it from the particles on, to the bit.
    repeated = pipeline.run(resolve(out / "config.toml"), tmp_path / "repeated", upto="kernel")
    np.testing.assert_array_equal(repeated.kernel.coefficients, again.kernel.coefficients)
    # And the first dictionary is still the assembled one.
    back = ips.fit(out, sets=[f"dictionary.terms={list(resolve(source).dictionary.terms)}"])
    assert "equations" in back.reused
    assert resolve(out / "config.toml").dictionary.assembled is None
    np.testing.assert_array_equal(back.kernel.coefficients, first.kernel.coefficients)


def test_terms_that_the_radial_basis_does_not_hold_are_assembled(tmp_path):
    """A jump in the middle of the distances cannot be projected; the equations are made again, for these terms."""
    out = tmp_path / "out"
    ips.run(write(tmp_path), out, draw=False)
    outcome = ips.fit(out, sets=['dictionary.terms=["r**2", "sign(r-1)"]'])
    assert "equations" not in outcome.reused
    assert "particles" in outcome.reused
    assert "assembled" not in (out / "config.toml").read_text()


def test_a_projected_dictionary_leaves_the_strong_form_alone(tmp_path):
    """The strong form assembles what it is asked for: no projected dictionary passes for the one assembled before."""
    out, first = tmp_path / "out", 'dictionary.terms=["1", "r", "r**2", "r**3"]'
    ips.run(write(tmp_path), out, draw=False)
    ips.fit(out, sets=['dictionary.terms=["r**2", "r*exp(-r)", "exp(-r)", "sin(r)"]'])
    ips.fit(out, sets=["fit.form=strong"])
    back = ips.fit(out, sets=[first])
    assert "equations" not in back.reused
    direct = ips.run(write(tmp_path), tmp_path / "direct", sets=["fit.form=strong", first], draw=False)
    assert back.kernel.text == direct.kernel.text


def test_tests_of_the_weak_form_follow_the_assembled_dictionary(tmp_path):
    """The run file of a projection repeats it to the bit, and a dictionary that takes more tests is assembled."""
    few, many = ["r", "r**2"], ["1", "r", "r**2", "r**3", "exp(-r)", "sin(r)", "cos(r)", "exp(r)"]
    sets = ["fit.form=weak", "fit.max_terms=2", "system.particles=500", f"dictionary.terms={many}"]
    out = tmp_path / "out"
    ips.run(write(tmp_path), out, sets=sets, draw=False)
    projected = ips.fit(out, sets=[f"dictionary.terms={few}"])
    assert "equations" in projected.reused
    repeated = ips.run(out / "config.toml", tmp_path / "repeated", draw=False)
    np.testing.assert_array_equal(repeated.kernel.coefficients, projected.kernel.coefficients)
    short = ips.run(out / "config.toml", tmp_path / "short", sets=['dictionary.assembled=["r", "r**2"]'], draw=False)
    assert short.kernel is not None
    assert "equations" not in ips.fit(tmp_path / "short", sets=[f"dictionary.terms={many}"]).reused


def test_assemble_assembles_another_dictionary(tmp_path):
    """What `fit` once projected is no reason to project what `assemble` is asked for."""
    out = tmp_path / "out"
    ips.run(write(tmp_path), out, draw=False)
    ips.fit(out, sets=['dictionary.terms=["r", "r*exp(-r)"]'])
    assert "assembled" in (out / "config.toml").read_text()
    ips.assemble(out, sets=['dictionary.terms=["r**2", "sign(r-1)"]'])
    assert "assembled" not in (out / "config.toml").read_text()


def test_a_term_too_fine_for_direct_sums_is_named(tmp_path):
    """Few particles are paired with the radial basis alone: a term that it does not hold is warned of."""
    sets = ["system.particles=100", 'dictionary.terms=["r**2", "sign(r-1)"]']
    warnings = ips.run(write(tmp_path), tmp_path / "out", sets=sets, draw=False).result["warnings"]
    named = [w for w in warnings if "finer than the radial basis" in w]
    assert [w.split()[0] for w in named] == ["sign(r-1)"]


def test_the_weak_form_inherits_the_error_of_an_estimated_sigma(tmp_path):
    """With labels, sigma^2 comes from the displacements, and its error widens those of the coefficients."""
    sets = ["fit.form=weak", "time.observe_every=20", "system.particles=500", 'dictionary.terms=["r**2"]']
    found = ips.run(write(tmp_path), tmp_path / "a", sets=[*sets, "fit.diffusion=estimate"], draw=False)
    sigma2 = found.result["diffusion"]
    given = ips.fit(tmp_path / "a", sets=["fit.diffusion=given"])
    plain = given.kernel.standard_errors * np.sqrt(sigma2["value"] / 2.0)
    assert sigma2["standard_error"] > 0
    assert (found.kernel.standard_errors > 1.001 * plain).all()


def test_a_given_sigma_sets_the_blur_of_imported_particles(tmp_path):
    """Direct sums of an import are made again for another sigma^2: the run file that is left repeats them."""
    rng = np.random.default_rng(0)
    walk = np.cumsum(0.1 * rng.normal(size=(41, 60, 1)), axis=0) + rng.normal(size=(60, 1))
    np.savez(tmp_path / "walk.npz", times=0.02 * np.arange(41), positions=walk)
    source = tmp_path / "walk.toml"
    source.write_text(f'[data]\nsource = "import"\nfile = "{tmp_path / "walk.npz"}"\n[system]\ndiffusion = 0.5\n')
    ips.run(source, tmp_path / "out", draw=False)
    ips.fit(tmp_path / "out", sets=["system.diffusion=0.05"])
    ips.run(tmp_path / "out" / "config.toml", tmp_path / "repeated", draw=False)
    blur = [Store.open(tmp_path / name / STORE).read("equations/radial/blur") for name in ("out", "repeated")]
    np.testing.assert_array_equal(*blur)


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
        (
            ["fit.prediction=on", "fit.sums=direct"],
            "`fit.prediction` must not be on where pairs are summed directly, which assumes no mean field",
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
