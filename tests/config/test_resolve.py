"""From case names and run files to configurations: order of layers, round trip, file names, refusals of sources."""

import json
import tomllib

import pytest

from ipsdist.config import RunConfig, case_names, resolve
from ipsdist.config.toml import to_toml
from ipsdist.model.errors import InputError

CASES = [
    "consensus", "cubic", "polarization", "power_law", "radial_2d", "radial_2d_four", "radial_2d_ring", "radial_3d",
    "radial_3d_singular",
]  # fmt: skip


def refusal(*args, **keywords):
    with pytest.raises(InputError) as refused:
        resolve(*args, **keywords)
    message = str(refused.value)
    assert "\n" not in message
    return message


def test_cases_are_listed_with_a_line_each():
    """Every built-in case has a name and one line."""
    assert [name for name, _ in case_names()] == CASES
    assert all(line and "\n" not in line for _, line in case_names())


def test_cubic_is_the_published_case_at_full_size():
    """Case A of docs/method.md, section 2."""
    config = resolve("cubic")
    system, times, law = config.system_value(), config.times(), config.initial_law()
    assert (system.dimension, system.particles, system.diffusion, system.kernel.name) == (1, 20000, 2.0, "3*r**2")
    assert (times.steps, times.slices, times.horizon) == (10000, 1001, 1.0)
    assert (law.weights, law.means, law.variances) == ((0.5, 0.5), ((1.0,), (-1.0,)), (0.25, 0.25))
    assert config.density_grid().cells == (100,)
    assert config.terms().names == ("1", "r", "r**2", "r**3", "exp(r)", "exp(-r)", "sin(r)", "cos(r)")
    assert (config.form, config.selection, config.fit.criterion, config.name) == (
        "action",
        "best_subset",
        "ebic",
        "cubic",
    )


def test_power_law_is_the_published_case_at_full_size():
    """Case B of docs/method.md, section 2."""
    config = resolve("power_law")
    system, law = config.system_value(), config.initial_law()
    assert (system.particles, system.diffusion, system.kernel.name, system.kernel.cutoff) == (
        20000, 0.02, "r-r**-1.5", 0.05,
    )  # fmt: skip
    assert (law.means, law.variances) == (((2.0,), (-3.0,)), (0.25, 1.0))
    assert config.density_grid().lower == (-7.0,)
    assert config.density_grid().cells == (280,)
    assert len(config.terms()) == 12


@pytest.mark.parametrize("name", ["radial_2d", "radial_2d_four", "radial_2d_ring"])
def test_radial_2d_is_the_published_case_at_full_size(name):
    """Case D of docs/method.md, section 2, by one name for each of its initial laws."""
    config = resolve(name)
    system, times, law = config.system_value(), config.times(), config.initial_law()
    assert (system.dimension, system.particles, system.diffusion, system.kernel.name) == (2, 20000, 2.0, "3*r**2")
    assert (times.steps, times.slices, times.horizon) == (10000, 101, 1.0)
    assert config.terms().names == resolve("cubic").terms().names
    if name == "radial_2d_ring":
        assert (law.radius, law.variance) == (1.0, 0.25)
        return
    means = {(1.0, 0.0), (-1.0, 0.0)} if name == "radial_2d" else {(a, b) for a in (1.0, -1.0) for b in (1.0, -1.0)}
    assert set(law.means) == means
    assert len(set(law.weights)) == 1
    assert set(law.variances) == {0.25}


@pytest.mark.parametrize(
    ("name", "kernel", "cutoff", "diffusion"),
    [("radial_3d", "3*r**2", None, 2.0), ("radial_3d_singular", "r-r**-2", 0.25, 0.1)],
)
def test_space_has_a_smooth_and_a_singular_case(name, kernel, cutoff, diffusion):
    """Two Gaussians in three dimensions; the dictionary of the singular law has singular powers."""
    config = resolve(name)
    system, times = config.system_value(), config.times()
    assert (system.dimension, system.particles, system.diffusion) == (3, 20000, diffusion)
    assert (system.kernel.name, system.kernel.cutoff) == (kernel, cutoff)
    assert (times.steps, times.step, times.horizon) == (500, 2e-3, 1.0)
    assert config.initial_law().means == ((1.0, 0.0, 0.0), (-1.0, 0.0, 0.0))
    assert ("r**-2" in config.terms().names) == (cutoff is not None)


def test_later_layers_win(tmp_path):
    """Defaults < case < file < --set < named flags."""
    file = tmp_path / "mine.toml"
    file.write_text('case = "cubic"\n[system]\nparticles = 500\nreplicas = 2\n[run]\nseed = 3\ndevice = "gpu"\n')
    config = resolve(file, ["system.replicas=4", "run.seed=5"], seed=7, device="cpu")
    assert (config.system.particles, config.system.replicas, config.system.kernel) == (500, 4, "3*r**2")
    assert (config.run.seed, config.run.device, config.fit.alpha, config.name) == (7, "cpu", 0.3, "mine")
    assert resolve(str(file), ["run.seed=5"]).run.seed == 5
    assert resolve(file).run.seed == 3


def test_alternatives_of_lower_layers_give_way(tmp_path):
    """A kernel in pieces replaces the kernel of the case, and one initial law another."""
    file = tmp_path / "a.toml"
    file.write_text('case = "cubic"\n[[system.pieces]]\nupto = 1.5\nkernel = "r"\n[[system.pieces]]\nkernel = "0"\n')
    config = resolve(file, ["initial.uniform.lower=-1", "initial.uniform.upper=2.5"])
    assert config.system.kernel is None
    assert config.system_value().kernel.name == "r on (0, 1.5]"
    assert config.initial.mixture is None
    assert config.initial_law().upper == (2.5,)
    assert resolve(file, ["system.kernel=2*r"]).system_value().kernel.name == "2*r"


@pytest.mark.parametrize(
    ("item", "section", "key", "value"),
    [
        ("time.step=1e-3", "time", "step", 1e-3),
        ("system.kernel=3*r**2 + 1", "system", "kernel", "3*r**2 + 1"),
        ('system.kernel="r"', "system", "kernel", "r"),
        ("density.bandwidth = isj", "density", "bandwidth", "isj"),
        ("density.bandwidth=0.25", "density", "bandwidth", 0.25),
        ("dictionary.terms=['r', 'r**2']", "dictionary", "terms", ("r", "r**2")),
        ("fit.scale_columns=false", "fit", "scale_columns", False),
    ],
)
def test_set_takes_toml_or_text(item, section, key, value):
    """A --set value is TOML; what is not TOML is a string."""
    assert getattr(getattr(resolve("cubic", [item]), section), key) == value


def test_set_cannot_smuggle_keys():
    """A value of several lines is no TOML value but a text."""
    assert "`system.kernel` has a forbidden character '\"'" in refusal("cubic", ['system.kernel="r"\nother = 1'])


@pytest.mark.parametrize("case", ["cubic", "power_law"])
def test_a_resolved_file_resolves_to_itself(tmp_path, case):
    """config.toml of a run runs again: it parses to an equal configuration, and to itself as text."""
    config = resolve(case, ["time.positions_at=[0.0, 1.0]", "system.potential=x**2/2"], seed=12)
    file = tmp_path / "config.toml"
    file.write_text(config.to_toml())
    again = resolve(file)
    assert again == config
    assert again.to_toml() == config.to_toml()


def test_a_resolved_import_keeps_its_file(tmp_path, monkeypatch):
    """File names count from the run file, those of --set from the working directory; the copy finds the same file."""
    (tmp_path / "in").mkdir()
    file = tmp_path / "in" / "data.toml"
    file.write_text('[data]\nsource = "import"\nfile = "tracks.npz"\n')
    config = resolve(file)
    assert config.data.file == str(tmp_path / "in" / "tracks.npz")
    copy = tmp_path / "config.toml"
    copy.write_text(config.to_toml())
    assert resolve(copy) == config
    monkeypatch.chdir(tmp_path)
    assert resolve(file, ["data.file=other.npz"]).data.file == str(tmp_path / "other.npz")


def test_toml_of_awkward_texts():
    """Quotes, control characters, DEL and letters of all planes survive, and so do small and whole floats."""
    values = {"name": 'a"\\\n\x00\x7f é 𝜑', "t": {"x": 1e-300, "y": 2.0, "n": [1, True, {"k": "v"}], "e": []}}
    assert tomllib.loads(to_toml(values)) == values


def test_values_for_fingerprints_are_plain():
    """Sections and keys by name, JSON-able, in the order asked for."""
    values = resolve("cubic").values("time", "fit.form", "grid.lower")
    assert json.loads(json.dumps(values)) == values
    assert values["fit.form"] == "auto"
    assert values["time"]["observe_every"] == 10
    assert set(resolve("cubic").values()) == set(RunConfig.model_fields)


def test_import_needs_no_simulation(tmp_path):
    """Imported data need a file; the truth may be unknown, the grid chosen later, sigma**2 estimated if it can be."""
    file = tmp_path / "d.toml"
    file.write_text('[data]\nsource = "import"\nfile = "tracks.npz"\n')
    config = resolve(file)
    assert config.density_grid() is None
    assert config.initial_law() is None
    assert config.system_value(particles=10, diffusion=0.5).kernel is None
    assert config.values("grid.lower") == {"grid.lower": None}
    with pytest.raises(InputError, match=r"`system.diffusion` is required; got nothing"):
        config.system_value(particles=10)
    with pytest.raises(InputError, match=r"`time.horizon` is required; got nothing"):
        config.times()
    assert resolve(file, ["data.labelled=false"]).form == "weak"
    assert refusal(file, ["data.labelled=false", "fit.form=action"]) == (
        "`system.diffusion` is required by the action form without labels; got nothing; "
        'give sigma**2, for example system.diffusion = 2.0, or leave fit.form on "auto"'
    )


def test_unknown_case_names_the_nearest():
    """A mistyped case is answered with the nearest and all of them."""
    assert refusal("cubik") == (
        "`case` is not a known case; got 'cubik'; "
        f"did you mean cubic? cases are {', '.join(CASES)}; a run file ends in .toml"
    )


def test_bad_run_files(tmp_path):
    """Missing, malformed, undecodable files and wrong inheritance are refused with the file's name."""
    missing = tmp_path / "no.toml"
    assert refusal(missing) == f"`{missing}` must be a run file; got no such file; cases are {', '.join(CASES)}"
    bad = tmp_path / "bad.toml"
    bad.write_text("[system]\nkernel = 3*r\n")
    message = refusal(bad)
    assert message.startswith(f"`{bad}` must be TOML; got Expected newline or end of document")
    assert message.endswith('texts need quotes, for example kernel = "3*r**2"')
    bad.write_bytes(b"\xff\xfe")
    assert refusal(bad).startswith(f"`{bad}` must be TOML; got 'utf-8' codec can't decode byte")
    tracks = tmp_path / "tracks.csv"
    tracks.write_text("t,x\n0,1\n")
    assert refusal(tracks).endswith(f"tracks are read by `ipsdist import {tracks} DIR`")
    bad.write_text("case = 3")
    assert refusal(bad) == f"`case` must be the name of a built-in case; got 3; cases are {', '.join(CASES)}"
    assert refusal(tmp_path) == f"`{tmp_path}` must be a run file that can be read; got Is a directory"
    odd = tmp_path / "my run.toml"
    odd.write_text('case = "cubic"')
    assert refusal(odd).startswith("`name` must be at most 64 letters, digits, _ . - and not start with . or -; got")


@pytest.mark.parametrize(
    ("sets", "message"),
    [
        (["nothing"], "`--set` must be section.key=value; got 'nothing'; for example --set time.step=1e-3"),
        (["=3"], "`--set` must be section.key=value; got '=3'; for example --set time.step=1e-3"),
        (
            ["time=3", "time.step=1"],
            "`--set` gives time a value and a key of its own; got 'time.step=1'; give one of the two",
        ),
    ],
)
def test_bad_sets(sets, message):
    """What is not section.key=value is refused."""
    assert refusal("cubic", sets) == message
