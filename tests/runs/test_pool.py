"""Several runs of one law as one: the sum of their equations, whether they agree, what is written."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
import xarray
from jsonschema import Draft202012Validator

import ipsdist as ips
from ipsdist.cli.app import main
from ipsdist.config import resolve
from ipsdist.report.pooled import schema
from ipsdist.runs import pipeline
from ipsdist.stages.answer import find_answer
from ipsdist.stages.kernel import load_used_equations
from ipsdist.storage import Store
from tests.runs.samples import write


@pytest.fixture(scope="module")
def pooled(runs, tmp_path_factory):
    """Return the pool of three experiments of one law, with its page."""
    return ips.pool(runs("clouds", "box", "narrow"), tmp_path_factory.mktemp("pool") / "out")


def answers(directories):
    """Return the answer of every run by itself."""
    return [find_answer(Store.open(d / "store.zarr"), resolve(d / "config.toml")) for d in directories]


def test_the_answer_is_that_of_the_weighted_sum(pooled, runs):
    """The pooled coefficient solves the sum of A / sigma**2 and b / sigma**2; its error is below each one's own."""
    own = answers(runs("clouds", "box", "narrow"))
    assert [a.diffusion.value for a in own] == [2.0, 1.0, 0.5]
    gram = sum(a.equations.gram.sum(axis=0) / a.diffusion.value for a in own)
    moment = sum(a.equations.moment.sum(axis=0) / a.diffusion.value for a in own)
    (term,) = pooled.result["terms"]
    assert (term["name"], term["kind"]) == ("r**2", "kernel")
    assert term["coefficient"] == pytest.approx(moment[2] / gram[2, 2], rel=1e-12)
    assert term["standard_error"] == pytest.approx(gram[2, 2] ** -0.5, rel=1e-12)
    assert pooled.result["particles"] == 2000 + 1000 + 2 * 500
    alone = [one["pooled_terms"][0] for one in pooled.result["experiments"]]
    assert all(term["standard_error"] < one["standard_error"] for one in alone)
    weights = np.array([one["standard_error"] ** -2 for one in alone])
    mean = np.average([one["coefficient"] for one in alone], weights=weights)
    assert term["coefficient"] == pytest.approx(mean, rel=1e-10)
    assert abs(term["coefficient"] - 3.0) < 4 * term["standard_error"]


def test_experiments_of_one_law_agree(pooled):
    """chi^2 on two degrees of freedom by hand, p above 0.01, no warning; each names what it was."""
    result = pooled.result
    (term,) = result["terms"]
    alone = [one["pooled_terms"][0] for one in result["experiments"]]
    chi2 = sum(((one["coefficient"] - term["coefficient"]) / one["standard_error"]) ** 2 for one in alone)
    test = result["consistency"]
    assert test["chi2"] == pytest.approx(chi2, rel=1e-6)
    assert test["degrees_of_freedom"] == 2
    assert test["p_value"] > 0.01
    assert result["warnings"] == []
    assert [(one["name"], one["particles"], one["replicas"], one["slices"]) for one in result["experiments"]] == [
        ("clouds", 2000, 1, 101),
        ("box", 1000, 1, 51),
        ("narrow", 500, 2, 41),
    ]


def test_replicas_as_experiments_are_the_run_of_replicas(tmp_path):
    """Two replicas of one run, each imported as a run of its own, pool to that run's equations and answer."""
    source, times = write(tmp_path), [round(0.02 * k, 2) for k in range(11)]
    sets = ("system.particles=800", "system.replicas=2", "force.spacing=0.03125", "time.observe_every=20")
    sets = (*sets, "fit.prediction=off", f"time.positions_at={times}")
    run = ips.run(source, tmp_path / "both", sets=sets, draw=False)
    parts = []
    for replica in range(2):
        group = xarray.open_zarr(run.out / "store.zarr", group=f"particles/replica-{replica}", consolidated=False)
        positions = np.stack([group[f"positions-{k}"].values for k in range(11)])
        settings = {
            "force": {"spacing": 0.03125},
            "dictionary": {"terms": ("1", "r", "r**2", "r**3")},
            "fit": {"prediction": "off"},
        }
        out = tmp_path / f"one{replica}"
        parts.append(ips.learn(positions, times, 2.0, settings=settings, out=out, draw=False).out)
    together = load_used_equations(Store.open(run.out / "store.zarr"))
    own = [a.equations for a in answers(parts)]
    np.testing.assert_allclose(np.concatenate([e.gram for e in own]), together.gram, rtol=1e-9)
    np.testing.assert_allclose(np.concatenate([e.moment for e in own]), together.moment, rtol=1e-7)
    pool = ips.pool(parts)
    for one, other in zip(pool.result["terms"], run.result["terms"], strict=True):
        assert one["name"] == other["name"]
        assert one["coefficient"] == pytest.approx(other["coefficient"], rel=1e-8)
        assert one["standard_error"] == pytest.approx(other["standard_error"], rel=1e-8)
    assert pool.result["particles"] == 1600
    assert pool.result["alternatives"][0]["terms"] == run.result["alternatives"][0]["terms"]


def test_another_law_is_flagged(runs):
    """A linear kernel among quadratic ones: p is small, and the warning says what that means."""
    result = ips.pool(runs("clouds", "box", "linear")).result
    assert result["consistency"]["p_value"] < 1e-6
    (warning,) = result["warnings"]
    assert re.fullmatch(
        r"the experiments do not agree: chi\^2 = [\d.]+ on \d degrees of freedom, p = [\d.e-]+; apart from the others: "
        r".*linear \(p = .*\).*; pooled errors are too small",
        warning,
    )


def test_one_seed_is_one_noise(runs):
    """Simulations of one seed share their noise, which is said."""
    warnings = ips.pool(runs("clouds", "twin", "box")).result["warnings"]
    assert "clouds and twin were simulated with one run.seed and share their noise: pooled errors may be too small" in (
        warnings
    )


def test_another_dictionary_is_projected(runs):
    """A run assembled for other terms brings what it would have brought, had it been assembled for these."""
    projected = ips.pool(runs("clouds", "exponential")).result
    assembled = ips.pool(runs("clouds", "box")).result
    for one, other in zip(projected["terms"], assembled["terms"], strict=True):
        assert one["name"] == other["name"]
        assert one["coefficient"] == pytest.approx(other["coefficient"], rel=1e-4)
        assert one["standard_error"] == pytest.approx(other["standard_error"], rel=1e-4)
    own = projected["experiments"][1]["pooled_terms"][0]["coefficient"]
    assert own == pytest.approx(assembled["experiments"][1]["pooled_terms"][0]["coefficient"], rel=1e-3)


def test_sets_change_dictionary_and_fit(runs):
    """Terms, criterion and size of the pool's models; the order of the runs does not matter then."""
    sets = ["dictionary.terms=['r**2', 'sin(r)']", "fit.criterion=bic", "fit.max_terms=1"]
    first, second = (ips.pool(runs(*names), sets=sets).result for names in (("clouds", "box"), ("box", "clouds")))
    assert first["criterion"] == "bic"
    assert first["dropped"] == ["sin(r)"]
    assert max(len(other["terms"]) for other in first["alternatives"]) == 1
    assert first["terms"][0]["coefficient"] == pytest.approx(second["terms"][0]["coefficient"], rel=1e-9)


def test_distant_slices_bring_their_bridged_equations(runs):
    """What a prediction carried counts as it does alone; a term that is too fine for the slices has no say there."""
    result = ips.pool(runs("close", "far")).result
    far = result["experiments"][1]
    assert far["unresolved"] == ["cos(20*r)"]
    assert "prediction between the slices" in far["reason"]
    assert "far: the slices do not resolve cos(20*r): it was left out" in result["warnings"]
    (own,) = far["pooled_terms"]
    (fit,) = (answer.fit for answer in answers(runs("far")))
    assert own["coefficient"] == pytest.approx(float(fit.coefficients[0]), rel=1e-9)
    assert own["standard_error"] == pytest.approx(float(fit.standard_errors[0]), rel=1e-9)


def test_an_estimated_sigma2_widens_the_errors(tmp_path):
    """Where sigma**2 is learnt, its error is in the pooled one as in that of the run."""
    source = write(tmp_path)
    short = ("system.particles=500", 'dictionary.terms=["r**2"]', "fit.diffusion=estimate")
    outs = [pipeline.run(resolve(source, short, s), tmp_path / str(s), upto="equations").out for s in (1, 2)]
    pool, own = ips.pool(outs).result, answers(outs)
    (term,) = pool["terms"]
    grams = [a.equations.gram.sum() / a.diffusion.value for a in own]
    added = [g**2 * (a.fit.covariance[0, 0] - 1 / g) for a, g in zip(own, grams, strict=True)]
    assert min(added) > 0
    assert term["standard_error"] ** 2 == pytest.approx(1 / sum(grams) + sum(added) / sum(grams) ** 2, rel=1e-9)
    alone = [one["pooled_terms"][0]["standard_error"] for one in pool["experiments"]]
    assert alone == pytest.approx([float(a.fit.standard_errors[0]) for a in own], rel=1e-9)


def test_files_of_a_pool(pooled, runs):
    """JSON by its schema, with every digit; a page of one file with figure, table and formula; the kernel parses."""
    files = {str(p.relative_to(pooled.out)) for p in pooled.out.rglob("*") if p.is_file()} - {".lock"}
    assert files == {"pooled.json", "pooled.html", "figures/pooled.png"}
    stored = json.loads((pooled.out / "pooled.json").read_text())
    assert stored == pooled.result
    Draft202012Validator(schema()).validate(stored)
    assert stored["terms"][0]["coefficient"] == float(pooled.kernel.coefficients[0])
    assert stored["kernel"] == pooled.kernel.text
    page = (pooled.out / "pooled.html").read_text()
    assert all(f'<th scope="row">{name}</th>' in page for name in ("clouds", "box", "narrow", "pooled"))
    assert page.count("data:image/png;base64,") == 1
    assert "<script" not in page
    assert "http" not in page.replace("http-equiv", "")
    assert "r<sup>2</sup>" in page.replace("<i>r</i>", "r")


def test_a_pool_writes_nothing_into_the_runs(runs, tmp_path):
    """No file of an experiment is touched; without a directory for the answer, none is made."""
    directories = runs("clouds", "box")
    before = {p: (p.stat().st_mtime_ns, p.stat().st_size) for d in directories for p in d.rglob("*")}
    ips.pool(directories, tmp_path / "out")
    assert ips.pool(directories).out is None
    assert {p: (p.stat().st_mtime_ns, p.stat().st_size) for d in directories for p in d.rglob("*")} == before


def test_a_former_pool_is_replaced_and_the_same_bits_come(runs, tmp_path):
    """The same experiments give the same bytes, in place of what was pooled before."""
    ips.pool(runs("clouds", "linear"), tmp_path / "out")
    ips.pool(runs("clouds", "box"), tmp_path / "out")
    ips.pool(runs("clouds", "box"), tmp_path / "other")
    for name in ("pooled.json", "pooled.html", "figures/pooled.png"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "other" / name).read_bytes()


def test_a_pool_goes_into_a_directory_of_its_own(runs, tmp_path):
    """A file, a run and a folder of other things are refused."""
    directories = runs("clouds", "box")
    (tmp_path / "file").write_text("")
    with pytest.raises(ips.InputError, match=r"`--out` must be a directory; got .*file, which is a file"):
        ips.pool(directories, tmp_path / "file")
    with pytest.raises(
        ips.InputError, match=r"`--out` must be new, empty or that of a former pool; got .*clouds, which holds config"
    ):
        ips.pool(directories, directories[0])


def test_the_command_prints_what_was_learnt(runs, tmp_path, capsys):
    """Formula, experiments, runner-up, agreement, trust, page; with --json what pooled.json holds."""
    words = ["pool", *map(str, runs("clouds", "box")), "--out", str(tmp_path / "out"), "--quiet"]
    assert main(words) == 0
    said = capsys.readouterr()
    assert said.err == ""
    lines = said.out.splitlines()
    assert re.fullmatch(r"phi\(r\) = +\(3\.\d+ \+- 0\.0\d+\) r\*\*2", lines[0])
    assert [line.split()[0] for line in lines[1:]] == ["experiments", "runner-up", "agreement", "trust", "report"]
    assert re.fullmatch(r"agreement +chi\^2 = [\d.]+ on 1, p = 0\.\d+", lines[3])
    assert main([*words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads((tmp_path / "out" / "pooled.json").read_text())
    assert ips.pool(runs("clouds", "box")).summary.splitlines()[0] == re.sub(" +", " ", lines[0])


def test_dimensions_may_differ(runs, tmp_path):
    """phi(r) is one law in one and in two dimensions."""
    plane = pipeline.run(resolve(write(tmp_path, 2), seed=11), tmp_path / "plane", upto="equations").out
    result = ips.pool([plane, *runs("clouds")]).result
    assert [one["dimension"] for one in result["experiments"]] == [2, 1]
    (term,) = result["terms"]
    assert abs(term["coefficient"] - 3.0) < 4 * term["standard_error"]
    assert result["consistency"]["p_value"] > 0.01
