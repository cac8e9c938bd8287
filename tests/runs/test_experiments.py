"""What can be pooled: directories of finished runs that fit together, each known by its name."""

from __future__ import annotations

import pytest

import ipsdist as ips
from ipsdist.config import resolve
from ipsdist.runs import pipeline
from ipsdist.runs.experiments import open_experiments
from tests.runs.samples import FINE, write


def test_names_tell_experiments_apart(runs, tmp_path):
    """The last part of the directory, unless two have the same: then the directories as they were given."""
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "box").symlink_to(runs("clouds")[0])
    (tmp_path / "clouds").symlink_to(runs("box")[0])
    directories = [tmp_path / "a" / "box", tmp_path / "clouds"]
    assert [one.name for one in open_experiments(directories)] == ["clouds", "box"]
    with pytest.raises(ips.InputError, match=r"`DIR` must not be given twice; got .*/clouds; its data would count"):
        ips.pool([*directories, runs("box")[0]])


@pytest.mark.parametrize(
    ("names", "sets", "message"),
    [
        (["clouds"], [], r"`DIR` must be the directories of at least two runs; got 1; for a single one, use `ipsdist "),
        (["clouds", "clouds"], [], r"`DIR` must not be given twice; got .*clouds; its data would count twice"),
        (["clouds", "box"], ["system.diffusion=1.0"], r"`--set` must be dictionary\.terms or a key of fit in a pool; "),
        (["clouds", "box"], ["fit.criterion=aic"], r"`fit\.criterion` must be"),
        (
            ["clouds", "strong"],
            [],
            r"`DIR` must have equations of a form that is a likelihood; got .*strong, of the strong form; "
            r"`ipsdist assemble .*strong --set fit\.form=action` makes others",
        ),
        (
            ["strong", "clouds"],
            ["fit.form=action"],
            r"`--set` must leave the equations of the experiments as they are; got fit\.form=action, for which .*"
            r"strong has no equations; `ipsdist assemble .*strong --set \.\.\.` makes them",
        ),
        (
            ["clouds", "likelihood"],
            [],
            r"`fit\.form` must be the same in all experiments; got action in .*clouds and likelihood in .*likelihood; ",
        ),
        (
            ["phases", "clouds"],
            [],
            r"`fit\.selection` must be best_subset in a pool; got two_phase in .*phases; add --set fit\.selection=best",
        ),
        (
            ["clouds", "drift"],
            [],
            r"`dictionary\.potentials` must be the same in all experiments, drift too; got none in .*clouds and "
            r"drift_x \(d = 1\) in .*drift; `ipsdist assemble .*drift --set",
        ),
        (
            ["clouds", "box"],
            ["dictionary.terms=['r**2', 'abs(r-0.7)']"],
            r"`dictionary\.terms` must be held by the radial equations of every experiment to 0\.001; got abs\("
            r"r-0\.7\) in .*clouds, off by 0\.\d+; leave it out, or `ipsdist assemble .*clouds --set 'dictionary\.",
        ),
    ],
)
def test_what_cannot_be_pooled_is_refused(runs, tmp_path, names, sets, message):
    """In one line that names the experiment, before anything is written."""
    with pytest.raises(ips.InputError, match=message):
        ips.pool(runs(*names), tmp_path / "out", sets=sets)
    assert not (tmp_path / "out").exists()


def test_directories_that_are_no_finished_runs(runs, tmp_path):
    """No run, a run that was stopped or changed, the same particles in another place, a string for a list."""
    clouds = runs("clouds")[0]
    with pytest.raises(ips.InputError, match=r"`DIR` must be the directory of a run; got .*nothing; start one with"):
        ips.pool([clouds, tmp_path / "nothing"])
    pipeline.run(resolve(write(tmp_path), ["system.particles=400"]), tmp_path / "begun", upto="equations")
    config = tmp_path / "begun" / "config.toml"
    config.write_text(config.read_text().replace("drift = false", "drift = true"))
    with pytest.raises(
        ips.InputError,
        match=r"`DIR` must be of a finished run; got .*begun, whose equations are not done; finish it with "
        r"`ipsdist run .*begun/config\.toml --out .*begun`",
    ):
        ips.pool([clouds, tmp_path / "begun"])
    (tmp_path / "begun" / "store.zarr").rename(tmp_path / "begun" / "gone")
    with pytest.raises(ips.InputError, match=r"got .*begun, which has no store yet; finish it"):
        ips.pool([clouds, tmp_path / "begun"])
    again = pipeline.run(resolve(clouds / "config.toml", [FINE]), tmp_path / "again", upto="equations").out
    with pytest.raises(ips.InputError, match=r"`DIR` must hold other particles in every experiment; got .*clouds and "):
        ips.pool([clouds, again])
    with pytest.raises(ips.InputError, match=r"`directories` must be a list of directories; got 'runs/a'"):
        ips.pool("runs/a")


def test_without_radial_equations_the_terms_must_be_those_assembled(runs, monkeypatch):
    """Where none were made, as in three dimensions on the mesh, nothing is projected."""
    monkeypatch.setattr("ipsdist.runs.experiments.has_radial", lambda config, setup: False)
    ips.pool(runs("clouds", "box"))
    with pytest.raises(
        ips.InputError,
        match=r"`dictionary\.terms` must be those that an experiment was assembled for, where it has no radial "
        r"equations; got 1 for .*exponential \(d = 1\); leave it out",
    ):
        ips.pool(runs("clouds", "exponential"))
