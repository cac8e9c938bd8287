"""fit.assembly = "drawn": slices assembled as Phase I draws them, remembered over kills and fits, whole in Phase II."""

import json

import numpy as np
import pytest

import ipsdist as ips
from ipsdist.config import resolve
from ipsdist.model.errors import InputError
from ipsdist.model.unknowns import Unknowns
from ipsdist.numerics.equations.forms.strong import StrongForm
from ipsdist.runs import pipeline
from ipsdist.stages.base import setup_of
from ipsdist.stages.drawn import DrawnPanels
from ipsdist.stages.equations import load_strong
from ipsdist.stages.kernel import load_fit, load_used_equations
from ipsdist.storage import Store
from tests.report.validation import validate
from tests.runs.samples import SMALL

STRONG = ["fit.form=strong", "time.observe_every=1"]
DRAWN = [*STRONG, "fit.assembly=drawn"]
TERMS = 4


def configured(folder, *sets, dimension=1):
    """Return the configuration of the small run with these settings."""
    file = folder / f"small{dimension}.toml"
    file.write_text(SMALL[dimension])
    return resolve(file, list(sets))


def fitted(folder, name, *sets, dimension=1):
    """Do a run up to its kernel; return its store."""
    pipeline.run(configured(folder, *sets, dimension=dimension), folder / name, upto="kernel")
    return Store.open(folder / name / "store.zarr")


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """Return a folder with the runs ``whole`` and ``drawn`` in it, and their stores."""
    folder = tmp_path_factory.mktemp("drawn")
    return folder, fitted(folder, "whole", *STRONG), fitted(folder, "drawn", *DRAWN)


@pytest.fixture
def assembled(monkeypatch):
    """Return a list to which every panel that is assembled adds its number of terms."""
    counts, products = [], StrongForm.products

    def counting(self, density, later, duration):
        counts.append(len(self.names))
        return products(self, density, later, duration)

    monkeypatch.setattr(StrongForm, "products", counting)
    return counts


def remembered(store):
    """Return the numbers of the panels that a store holds with all terms."""
    records = (store.record(f"equations/drawn-{k}") for k in range(100))
    return [n for record in records if record is not None for n in record["panels"]]


def test_the_answer_is_that_of_all_slices(done):
    """Coefficients and errors of Phase II are those of the equations of the whole road on the same terms."""
    _, whole, drawn = done
    fit, equations = load_fit(drawn), load_strong(whole, configured(done[0], *STRONG))
    kept, total = list(fit.terms), equations.total()
    expected = np.linalg.solve(total.gram[0][np.ix_(kept, kept)], total.moment[0][kept])
    np.testing.assert_allclose(fit.coefficients, expected, rtol=1e-10)
    used = load_used_equations(drawn)
    assert used.basis == equations.basis
    np.testing.assert_allclose(used.gram[:, kept][:, :, kept], equations.gram[:, kept][:, :, kept], rtol=1e-10)
    np.testing.assert_allclose(used.energy, equations.energy, rtol=1e-10)


def test_only_what_was_drawn_is_assembled_with_all_terms(tmp_path, assembled):
    """The equations stage does nothing; panels are assembled once each with all terms, once with the kept ones."""
    store = fitted(tmp_path, "run", *DRAWN)
    fit = load_fit(store)
    panels = setup_of(store).slices - 1
    drawn = remembered(store)
    assert store.record("equations/done")["work"] == 0
    assert len(drawn) == len(set(drawn)) == fit.history[-1].sampled < panels / 2
    assert 0 < len(fit.terms) < TERMS
    assert assembled.count(TERMS) == len(drawn)
    assert assembled.count(len(fit.terms)) == panels


@pytest.mark.parametrize("dimension", [1, 2])
def test_panels_drawn_one_by_one_have_the_bits_of_the_whole(tmp_path, dimension):
    """In any order and company, replicas added, with a known potential, an unknown one and a drift."""
    sets = [*STRONG, "dictionary.potentials=['x**2/2']", "dictionary.drift=true"]
    whole = fitted(tmp_path, "whole", *sets, dimension=dimension)
    config = configured(tmp_path, *sets, "fit.assembly=drawn", dimension=dimension)
    pipeline.run(config, tmp_path / "drawn", upto="equations")
    store = Store.open(tmp_path / "drawn" / "store.zarr", "r+")
    panels, equations = DrawnPanels(store, config), load_strong(whole, config)
    assert (panels.basis, panels.panels) == (equations.basis, equations.panels)
    for wanted in ([0, 17, 18, 63, 64, panels.panels - 1], [1, 17, 40], list(range(panels.panels))):
        found, expected = panels.take(np.array(wanted)), equations.take(wanted)
        for name in ("gram", "moment", "energy"):
            assert getattr(found, name).tobytes() == getattr(expected, name).tobytes()
    fields = range(len(config.terms()), len(panels.basis))
    some = panels.keep([0, *fields])
    assert some.basis == (panels.basis[0], *panels.basis[len(config.terms()) :])
    np.testing.assert_allclose(some.moment, equations.moment[:, [0, *fields]], rtol=1e-9, atol=1e-12)
    alone = panels.keep(list(fields))
    np.testing.assert_allclose(alone.moment, equations.moment[:, list(fields)], rtol=1e-9, atol=1e-12)


def test_a_killed_run_does_not_assemble_again(tmp_path, assembled, monkeypatch):
    """Killed in Phase II, the same command assembles no panel with all terms, and gives the same bits."""
    keep, blocks = Unknowns.keep, []

    def killed(self, columns):
        blocks.append(columns)
        raise KeyboardInterrupt

    monkeypatch.setattr(Unknowns, "keep", killed)
    with pytest.raises(KeyboardInterrupt):
        fitted(tmp_path, "run", *DRAWN)
    monkeypatch.setattr(Unknowns, "keep", keep)
    before = remembered(Store.open(tmp_path / "run" / "store.zarr"))
    assert len(blocks) == 1
    assert assembled == [TERMS] * len(before)
    assembled.clear()
    store = fitted(tmp_path, "run", *DRAWN)
    assert assembled.count(TERMS) == 0
    assert remembered(store) == before
    fresh = fitted(tmp_path, "fresh", *DRAWN)
    assert load_fit(store).history == load_fit(fresh).history
    assert load_fit(store).coefficients.tobytes() == load_fit(fresh).coefficients.tobytes()


def test_phase_two_goes_on_where_it_was_killed(tmp_path, assembled):
    """Blocks of Phase II that are committed stay: only the rest is assembled."""
    config = configured(tmp_path, *DRAWN)
    pipeline.run(config, tmp_path / "run", upto="equations")
    store = Store.open(tmp_path / "run" / "store.zarr", "r+")
    first = DrawnPanels(store, config).keep([1, 2])
    assert len(assembled) == first.panels == 200
    store.discard("equations/kept-1-2.block-2")
    assembled.clear()
    again = DrawnPanels(store, config).keep([1, 2])
    assert len(assembled) == 64
    assert again.gram.tobytes() == first.gram.tobytes()


def test_other_settings_use_what_is_there_and_answer_as_if_it_were_not(done, assembled):
    """A fit that draws more first, then the defaults again: nothing is assembled twice, and no bit is another."""
    folder, _, drawn = done
    expected, before = load_fit(drawn), set(remembered(drawn))
    more = fitted(folder, "drawn", *DRAWN, "fit.sampled_fraction=0.1")
    assert assembled.count(TERMS) == len(set(remembered(more)) - before) > 0
    assembled.clear()
    again = fitted(folder, "drawn", *DRAWN)
    assert assembled == []
    found = load_fit(again)
    assert found.history == expected.history
    assert found.alternatives == expected.alternatives
    assert found.coefficients.tobytes() == expected.coefficients.tobytes()
    assert found.covariance.tobytes() == expected.covariance.tobytes()


def test_other_terms_forget(tmp_path):
    """What was assembled with other terms is discarded with the equations."""
    store = fitted(tmp_path, "run", *DRAWN)
    assert remembered(store)
    pipeline.run(configured(tmp_path, *DRAWN, "dictionary.terms=['r', 'r**2']"), tmp_path / "run", upto="equations")
    assert remembered(store) == []


def test_the_report_says_what_was_assembled(done):
    """result.json is valid, counts the panels and names them in its reason; the page is drawn without even draws."""
    folder, _, _ = done
    outcome = ips.run(folder / "small1.toml", folder / "drawn", sets=DRAWN)
    result = json.loads((outcome.out / "result.json").read_text())
    validate(result)
    sampled = [turn["sampled"] for turn in result["history"]]
    assert result["form_reason"] == f"named by fit.form; {sampled[-1]} of 200 panels were assembled with all terms"
    assert sampled == sorted(sampled)
    assert "without importance sampling was not made" in (outcome.out / "report.html").read_text()


@pytest.mark.parametrize(
    ("sets", "message"),
    [
        (
            [],
            '`fit.assembly` must be whole for best_subset, which weighs every model on all slices; got "drawn"; '
            'use fit.form = "strong", which selects by two_phase',
        ),
        (
            ["fit.selection=two_phase"],
            "`fit.assembly` must be whole for the action form, whose time rule and kernel without a dictionary need "
            'them; got "drawn"; use fit.form = "strong"',
        ),
        (
            ["fit.form=strong", "fit.selection=best_subset"],
            "`fit.selection` must not be best_subset for the strong form, which has no likelihood to rank models by; "
            'got "best_subset"; use fit.form = "action" or fit.selection = "two_phase"',
        ),
    ],
)
def test_refuses(sets, message):
    """What needs every slice with all terms is refused before anything is done, in one line."""
    with pytest.raises(InputError) as error:
        resolve("cubic", ["fit.assembly=drawn", *sets])
    assert str(error.value) == message


def test_the_default_share_of_a_draw():
    """0.3 of whole equations; 0.01 where slices are assembled as they are drawn; a number stays."""
    shares = [
        resolve("cubic", ["fit.form=strong", *sets]).fit.share
        for sets in ([], ["fit.assembly=drawn"], ["fit.assembly=drawn", "fit.sampled_fraction=0.2"])
    ]
    assert shares == [0.3, 0.01, 0.2]
