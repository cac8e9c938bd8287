"""The parts of a study: paths, names, waves, series, and the studies that are given."""

import numpy as np
import pytest

from ipsdist.cli.study import seed_list
from ipsdist.config import resolve
from ipsdist.config.study import PlotSection, load_study, row_config
from ipsdist.model.errors import InputError
from ipsdist.report.figures.study import draw_study
from ipsdist.studies.order import places, run_name
from ipsdist.studies.paths import found
from ipsdist.studies.series import plot_of
from ipsdist.studies.study import _path, given
from ipsdist.studies.summary import _cell
from ipsdist.studies.table import table_columns, to_csv

RESULT = {
    "data_loss": 0.5,
    "errors": {"coefficients": {"r**-0.5": 0.1}},
    "terms": [{"name": "r**-1.5", "coefficient": 2.0}, {"name": "r", "coefficient": 1.0}],
    "history": [{"loss": 3.0}, {"loss": 1.0}],
    "wasserstein2": {"values": [1.0, 4.0, 2.5], "method": "exact"},
    "empty": [],
}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("data_loss", 0.5),
        ("errors.coefficients.r**-0.5", 0.1),
        ("terms.r**-1.5.coefficient", 2.0),
        ("terms.coefficient", [2.0, 1.0]),
        ("terms.r**2.coefficient", None),
        ("history.loss", [3.0, 1.0]),
        ("history.loss.last", 1.0),
        ("wasserstein2.values.max", 4.0),
        ("wasserstein2.values.mean", 2.5),
        ("wasserstein2.values.last", 2.5),
        ("wasserstein2.nothing", None),
        ("empty.max", None),
        ("data_loss.max", None),
    ],
)
def test_paths_lead_through_tables_lists_and_names_with_dots(path, value):
    assert found(RESULT, path) == value


def test_names_of_runs_are_readable_and_stay_apart():
    """Plain values as they are; others by what is plain of them, with a few digits of their hash."""
    assert run_name({"system.particles": 5000, "fit.form": "weak"}, 3) == "particles-5000_form-weak_seed-3"
    assert run_name({"time.step": 1e-4, "mean_field.step": "auto"}, 0) == "time.step-0.0001_mean_field.step-auto_seed-0"
    assert run_name({}, 7) == "seed-7"
    names = [run_name({"system.kernel": k}, 0) for k in ("3*r**2", "3*r**-2", "3 * r**2")]
    assert len(set(names)) == 3
    assert all(set(n) <= set("abcdefghijklmnopqrstuvwxyz0123456789_.-") for n in names)


def study_file(folder, text):
    path = folder / "s.toml"
    path.write_text(f'case = "cubic"\n{text}')
    return path


def test_rows_are_the_product_of_what_varies_and_the_list_and_the_seeds(tmp_path):
    """Values of a list go together; a key below a list of tables is set in each of them."""
    text = 'seeds = [3, 5]\nlist = [{fit.form = "weak"}, {"fit.form" = "action", fit.every = 2}]\n'
    text += '[[vary]]\nkey = "initial.mixture.variance"\nvalues = [0.5, 1]\n'
    study, base, rows = load_study(study_file(tmp_path, text))
    assert study.name == "s"
    assert len(rows) == 8
    config = row_config(base, rows[-1])
    assert [normal.variance for normal in config.initial.mixture] == [1.0, 1.0]
    assert [normal.mean for normal in config.initial.mixture] == [1.0, -1.0]
    assert (config.fit.form, config.fit.every, config.run.seed) == ("action", 2, 5)
    assert row_config(base, rows[0]).fit.every == 1


def test_a_varied_kernel_takes_the_place_of_another_kind(tmp_path):
    """system.pieces over system.kernel, as in a run file."""
    text = '[[vary]]\nkey = "system.pieces"\nvalues = [[{upto = 1.0, kernel = "r"}, {kernel = "0"}]]\n'
    _, base, rows = load_study(study_file(tmp_path, text))
    assert row_config(base, rows[0]).system.kernel is None


BAD = [
    ("case_ = 1", "`case_` is not a known key; did you mean case?"),
    ("seeds = 0", "`seeds` must be a number of seeds (0, 1, 2, ...) or a list of different ones; got 0"),
    ("seeds = [1, 1]", "`seeds` must be a number of seeds (0, 1, 2, ...) or a list of different ones; got [1, 1]"),
    ("[set]\nsystem.particels = 5", "`system.particels` is not a known key; did you mean system.particles?"),
    ("[set]\nrun.seed = 5", "`run.seed` must not stand in a study; got set; use seeds = [...]"),
    ('[[vary]]\nkey = "fit.fom"\nvalues = [1]', "`fit.fom` is not a known key; did you mean fit.form?"),
    ('[[vary]]\nkey = "fit.every"\nvalues = []', "`vary[0].values` must be a list of at least one value; got []"),
    ('[[vary]]\nkey = "fit.every"\nvalues = [2, 2]', "`vary` must not give the same run twice; got fit.every = 2"),
    ('[[vary]]\nvalues = [2]', "`vary[0].key` is required; got nothing; for example key = \"system.particles\""),
    ('[[plot]]\nname = "a"\ny = "data_loss"', "`plot[0].x` is required; got nothing"),
    ('[[plot]]\nname = "a"\nkind = "curve"', "`plot[0].y` is required; got nothing"),
    ('[[plot]]\nname = "a"\nlogs = "x"', "`plot[0].logs` is not a known key; did you mean plot.log?"),
    ('list = [{fit.every = 2}]\n[[vary]]\nkey = "fit.every"\nvalues = [3]', "`fit.every` must vary once"),
    ("seeds = ", "must be TOML"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "said"), BAD)
def test_a_bad_study_file_is_refused_in_one_line(text, said, tmp_path):
    with pytest.raises(InputError) as caught:
        load_study(study_file(tmp_path, text))
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "seeds"), [("3", [0, 1, 2]), ("0-2", [0, 1, 2]), ("4,7", [4, 7]), ("0-1,9", [0, 1, 9])]
)
def test_seeds_of_the_command(text, seeds):
    assert seed_list(text) == seeds


@pytest.mark.parametrize("text", ["", "x", "0", "3-1", "-1"])
def test_seeds_that_are_none_are_refused(text):
    with pytest.raises(InputError, match="--seeds"):
        seed_list(text)


def test_a_stage_belongs_to_the_first_run_that_has_it(tmp_path):
    """Two bandwidths times two criteria: densities are taken from either, equations from the first."""
    text = '[[vary]]\nkey = "density.bandwidth"\nvalues = [0.2, 0.3]\n'
    text += '[[vary]]\nkey = "fit.criterion"\nvalues = ["bic", "ebic"]\n'
    _, base, rows = load_study(study_file(tmp_path, f"seeds = 1\n{text}"))
    found = places([row_config(base, row) for row in rows])
    assert [(p.wave, p.donors) for p in found] == [(0, ()), (1, (0,)), (1, (0,)), (2, (0, 2, 1))]
    assert places([None, row_config(base, rows[0])])[0] is None


def test_what_is_set_goes_into_all_runs_and_not_over_what_varies(tmp_path):
    """Over [set] of the file; a key that varies, the seed and the name have places of their own."""
    path = study_file(tmp_path, 'seeds = 2\n[set]\nfit.every = 2\n[[vary]]\nkey = "fit.form"\nvalues = ["weak"]\n')
    _, base, rows = load_study(path, None, ["fit.every=3", "system.particles=4000"])
    for config in (row_config(base, row) for row in rows):
        assert (config.fit.every, config.system.particles, config.fit.form) == (3, 4000, "weak")
    for text, said in (
        (
            "fit.form=action",
            "`--set` must not set a key that varies; got fit.form; change the values in the study file",
        ),
        ("run.seed=1", "`--set` must be the same for all runs; got run.seed; use --seeds, or another --out"),
        ("fit.evry=1", "`fit.evry` is not a known key; did you mean fit.every?"),
    ):
        with pytest.raises(InputError) as caught:
            load_study(path, None, [text])
        assert str(caught.value) == said


def test_a_file_of_the_other_kind_names_its_command(tmp_path):
    """A study file given to run, a run file given to study."""
    path = study_file(tmp_path, "seeds = 2\n")
    with pytest.raises(InputError, match=rf"must be a run file; got a study file; do it with `ipsdist study {path}`"):
        resolve(path)
    path.write_text("[system]\nparticles = 2000\n")
    with pytest.raises(InputError, match=rf"must be a study file; got a run file; do it with `ipsdist run {path}`"):
        load_study(path)


def row(seed, **cells):
    return {"seed": seed, **cells}


def test_a_fitted_rate_is_that_of_the_law_and_its_error_that_of_least_squares():
    """Against numpy.polyfit with its covariance."""
    rng = np.random.default_rng(1)
    sizes = np.repeat([100.0, 200.0, 400.0, 800.0], 5)
    losses = 3.0 * sizes**-0.7 * np.exp(0.05 * rng.standard_normal(20))
    plot = PlotSection(name="a", x="n", y="loss", fit="power", log="xy")
    rows = [row(k % 5, n=n, loss=y) for k, (n, y) in enumerate(zip(sizes, losses, strict=True))]
    series = plot_of(plot, rows, {}).series[0]
    (slope, _), covariance = np.polyfit(np.log(sizes), np.log(losses), 1, cov=True)
    np.testing.assert_allclose(series.rate.slope, slope)
    np.testing.assert_allclose(series.rate.error, np.sqrt(covariance[0, 0]))
    assert abs(series.rate.slope + 0.7) < 4 * series.rate.error
    assert series.x == (100.0, 200.0, 400.0, 800.0)
    np.testing.assert_allclose(series.y[0], losses[:5].mean())
    np.testing.assert_allclose(series.error[0], losses[:5].std(ddof=1) / np.sqrt(5))


def test_curves_of_unequal_length_are_averaged_where_they_are():
    """Iterations: the rate is the mean of those of the runs."""
    decays = [np.exp(-0.5 * np.arange(1, 7)), np.exp(-0.3 * np.arange(1, 5))]
    rows = [{"seed": k, "loss": y.tolist()} for k, y in enumerate(decays)]
    made = plot_of(PlotSection(name="a", kind="curve", y="loss", fit="exponential"), rows, {})
    series = made.series[0]
    assert series.x == (1.0, 2.0, 3.0, 4.0, 5.0, 6.0)
    np.testing.assert_allclose(series.y[:4], (decays[0][:4] + decays[1]) / 2)
    assert series.error[4:] == (None, None)
    np.testing.assert_allclose(series.rate.slope, -0.4)
    np.testing.assert_allclose(series.rate.error, 0.1)


def test_figures_have_units_error_bars_and_a_table_of_their_numbers():
    """Names on the axis, two series, and nothing to show at all."""
    rows = [row(k, rule=r, loss=1.0 + k, form=f) for k in range(3) for r in ("scott", "isj") for f in ("a", "b")]
    made = plot_of(PlotSection(name="a", x="rule", y="loss", by=("form",), x_label="rule"), rows, {})
    picture = draw_study(made)
    assert picture.png.startswith(b"\x89PNG")
    assert picture.rows[0] == ("form a", "scott", 2.0, pytest.approx(1 / np.sqrt(3)))
    assert "3 seeds" in picture.caption
    assert plot_of(PlotSection(name="a", x="rule", y="nothing"), rows, {}) is None
    units = plot_of(PlotSection(name="a", x="time.step", y="wasserstein2.values.max"), [row(0, **{"time.step": 1.0, "wasserstein2.values.max": 2.0})], {"length": "um", "time": "s"})  # fmt: skip  # noqa: E501
    assert (units.x_label, units.y_label) == ("time step (time)", "largest W2 from the data (um)")


def test_the_truth_stands_beside_the_coefficients():
    rows = [row(0, **{"coefficient.r": 1.1, "error.r": 0.1, "coefficient.1": 0.0})]
    truth = plot_of(PlotSection(name="a", kind="terms"), rows, {}).series[-1]
    assert (truth.label, truth.x) == ("truth", ("r", "1"))
    np.testing.assert_allclose(truth.y, (1.0, 0.0))


def test_columns_of_terms_that_no_run_kept_are_left_out():
    rows = [
        {"run": "a", "seed": 0, "status": "done", "error": None, "coefficient.r": 1.0, "standard_error.r": 0.5,
         "coefficient.1": 0.0, "loss": 1e-7},
        {"run": "b", "seed": 1, "status": "failed", "error": 'a "quoted", text'},
    ]  # fmt: skip
    columns = table_columns(rows, [])
    assert columns == ["run", "seed", "status", "error", "coefficient.r", "standard_error.r", "loss"]
    assert to_csv(rows, columns).splitlines()[1:] == [
        "a,0,done,,1.0,0.5,1e-07", 'b,1,failed,"a ""quoted"", text",,,'
    ]  # fmt: skip


@pytest.mark.parametrize("name", [name for name, _ in given()])
def test_given_studies_make_runs(name):
    """Each says what it is of, and every row is a run."""
    study, base, rows = load_study(_path(name))
    assert study.name == name
    assert dict(given())[name].startswith("[S] ")
    assert all(row_config(base, row).run.seed == row.seed for row in rows)
    assert len(study.seed_list) >= 3


def test_a_study_that_is_not_given_is_refused_with_those_that_are():
    with pytest.raises(InputError, match=r"`STUDY` must be a study file or one of the given studies.*fig3_particles"):
        _path("fig9")
    with pytest.raises(InputError, match=r"that is a case: ipsdist run polarization$"):
        _path("polarization")


def test_a_mean_says_what_it_is_taken_over():
    """Seeds; runs, where other keys vary that the plot does not part; as few digits as the error has a use for."""
    plot = PlotSection(name="loss", x="system.particles", y="data_loss", by=("form",))
    rows = [
        {"system.particles": n, "form": f, "seed": s, "data_loss": 1.0} for n in (1, 2) for f in "ab" for s in (0, 1)
    ]
    units = {"length": "m", "time": "s"}
    assert plot_of(plot, rows, units).note == "Mean over 2 seeds with its standard error"
    assert plot_of(plot.model_copy(update={"by": ()}), rows, units).note == "Mean over 4 runs with its standard error"
    assert _cell({"mean": 0.0160539, "standard_error": 0.0074736}) == "0.0161 +- 0.0075"
    assert _cell({"mean": 1.0, "standard_error": 0.0}) == "1"
