"""Tracks where particles come and go, from a table to a report, and few particles by direct sums."""

import json

import numpy as np
import pytest

import ipsdist as ips
from ipsdist.importers.convert import Choices, import_tracks
from ipsdist.model.errors import InputError
from tests.importers.tracks import write_csv
from tests.report.validation import validate
from tests.runs.samples import write


def colony(seed, attraction, memory=0.0, slices=161, step=0.025):
    """Rows (particle, time, x, y) of up to 60 particles that attract by phi = attraction r exp(-r) and are replaced."""
    rng = np.random.default_rng(seed)
    n, x = 60, rng.normal(size=(60, 2))
    names, born, gone = np.arange(n), n, rng.integers(20, 3 * slices, n)
    noise, rows = np.zeros((n, 2)), []
    for k in range(slices):
        for i in np.flatnonzero(gone <= k):
            names[i], x[i], gone[i], born = born, rng.normal(size=2), k + rng.integers(20, 3 * slices), born + 1
        rows += [(names[i], k * step, *x[i]) for i in range(n) if (names[i] + k) % 97]  # a gap now and then
        for _ in range(5):
            apart = x[:, None] - x[None]
            r = np.sqrt((apart**2).sum(axis=2)) + np.eye(n)
            force = -(attraction * np.exp(-r))[:, :, None] * apart
            white = np.sqrt(0.1 * step / 5) * rng.normal(size=(n, 2))
            noise = memory * noise + np.sqrt(1 - memory**2) * white
            x = x + force.mean(axis=1) * step / 5 + noise
    return np.array(rows)


def learnt(tmp_path, rows, name="tracks", sets=()):
    source = write_csv(tmp_path / f"{name}.csv", rows)
    sets = ('dictionary.terms=["1","r","exp(-r)","r*exp(-r)"]', *sets)
    import_tracks(source, tmp_path / name, Choices(sets=sets, length_unit="mm", time_unit="hour"))
    return ips.run(tmp_path / name / "config.toml", tmp_path / name)


@pytest.fixture(scope="module")
def attracted(tmp_path_factory):
    """Return the outcome for tracks of a law that the dictionary has, sigma^2 unknown."""
    folder = tmp_path_factory.mktemp("tracks")
    return learnt(folder, colony(3, 6.0))


def test_the_law_of_tracks_with_births_deaths_and_gaps(attracted):
    """phi and sigma^2 are within 4 standard errors, nothing is predicted by a mean field, and the noise is clean."""
    result = attracted.result
    validate(result)
    (term,) = result["terms"]
    assert term["name"] == "r*exp(-r)"
    assert abs(term["coefficient"] - 6.0) < 4 * term["standard_error"]
    assert abs(result["diffusion"]["value"] - 0.1) < 4 * result["diffusion"]["standard_error"]
    assert result["wasserstein2"] is None
    assert result["free_energy"] is None
    noise = result["noise"]
    assert abs(noise["correlation"][0]["value"]) < 4 * noise["correlation"][0]["standard_error"] + 0.05
    assert noise["overdispersion"]["value"] < 2.0
    assert result["nonparametric"] is not None


def test_the_page_tells_what_the_displacements_say(attracted):
    """The table of the noise stands in the report, and result.json on disk is what the call returned."""
    page = (attracted.out / "report.html").read_text()
    assert "displacements say by themselves" in page
    assert "variance of noise in the positions (mm²)" in page
    assert attracted.result["units"] == {"length": "mm", "time": "hour"}
    assert json.loads((attracted.out / "result.json").read_text()) == attracted.result


def test_memory_without_interaction_is_no_law(tmp_path):
    """Particles that persist and do not interact: the memory is named, sigma^2 doubted, and no law is found."""
    result = learnt(tmp_path, colony(5, 0.0, memory=0.97)).result
    assert any("the motion has a memory" in warning for warning in result["warnings"])
    assert result["noise"]["lasting"]["value"] > 3 * result["noise"]["diffusion"]["value"]
    assert result["terms"] == []
    assert result["noise"]["doubt"] > result["noise"]["lasting"]["standard_error"]


@pytest.mark.parametrize(
    ("sets", "message"),
    [
        (
            ("fit.form=strong", "system.diffusion=0.1"),
            '`fit.form` cannot be that where particles come and go; got "str',
        ),
        (
            ("fit.sums=mesh",),
            '`fit.sums` cannot be that where particles come and go; got "mesh"; leave fit.sums on',
        ),
    ],
)
def test_roads_that_need_every_particle(tmp_path, sets, message):
    """Forms that count on a constant number of particles are refused in one line."""
    with pytest.raises(ips.InputError) as refused:
        learnt(tmp_path, colony(1, 0.0, slices=12), sets=sets)
    assert message in str(refused.value)


def test_direct_sums_are_the_mesh_without_its_error(tmp_path):
    """200 particles in the plane: the same support, coefficients and errors by both, to a tenth of an error."""
    sets = ("system.particles=200", "system.replicas=1")
    direct, mesh = (
        ips.run(write(tmp_path, 2), tmp_path / road, sets=(*sets, f"fit.sums={road}"), draw=False)
        for road in ("direct", "mesh")
    )
    assert [t.name for t in direct.kernel.terms] == [t.name for t in mesh.kernel.terms]
    error = mesh.kernel.standard_errors
    np.testing.assert_allclose(direct.kernel.coefficients, mesh.kernel.coefficients, atol=0.1 * float(error.max()))
    np.testing.assert_allclose(direct.kernel.standard_errors, error, rtol=0.02)


def test_tracks_that_never_meet_twice_are_refused(tmp_path):
    """Two particles now and then, but never in two slices in a row: one line says what is missing."""
    alone = [(k // 2, 0.1 * k, 0.1 * k, 0.0) for k in range(12)]
    meeting = [(100, 0.1 * k, 1.0, 1.0) for k in (0, 4, 8)]
    with pytest.raises(InputError, match="two slices in a row with two particles each"):
        learnt(tmp_path, np.array(alone + meeting), sets=("system.diffusion=0.1", 'dictionary.terms=["r"]'))


def test_no_more_terms_than_particles(tmp_path):
    """Two particles show no four terms: refused before anything is learnt."""
    rows = [(who, 0.1 * k, who + 0.01 * k, 0.1 * k) for k in range(12) for who in (0, 1)]
    with pytest.raises(InputError, match="must not have more terms than there are particles; got 4 for 2 particles"):
        learnt(tmp_path, np.array(rows), sets=("system.diffusion=0.1",))


def test_complete_tracks_are_watched_as_well(tmp_path):
    """Persistent particles that are there all the time, by one call on arrays: their memory is named, no law found."""
    rng = np.random.default_rng(8)
    steps = rng.normal(size=(200, 40, 2)) * 0.05
    for k in range(1, len(steps)):
        steps[k] = 0.9 * steps[k - 1] + np.sqrt(1 - 0.81) * steps[k]
    positions = rng.normal(size=(40, 2)) + np.cumsum(steps, axis=0)
    terms = ["1", "r", "exp(-r)", "r*exp(-r)"]
    result = ips.learn(positions, np.arange(200) * 0.05, terms=terms).result
    assert any("the motion has a memory" in warning for warning in result["warnings"])
    assert result["noise"]["displacements"] == 199 * 40
    assert result["terms"] == []
