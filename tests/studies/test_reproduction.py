"""The reproduction: what it asks exists, and its page says what the runs said."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from ipsdist.config.study import load_study
from ipsdist.model.errors import InputError
from ipsdist.report.figures import FIGURE_NAMES
from ipsdist.studies import given, reproduce, reproduction
from ipsdist.studies.study import Study
from tests.studies import samples

PARTS = reproduction.parts_of_source()


def _file(name: str) -> Path:
    return Path(reproduction.__file__).parent / "given" / f"{name}.toml"


@pytest.mark.parametrize("part", PARTS, ids=[p["study"] for p in PARTS])
def test_every_part_asks_for_what_its_study_makes(part):
    assert part["study"] in dict(given())
    study, _, rows = load_study(_file(part["study"]))
    plots = {plot.name for plot in study.plot}
    for drawing in part.get("drawing", ()):
        if "run" in drawing:
            assert study.figures
            assert drawing["name"] in FIGURE_NAMES
            assert any(drawing["run"].items() <= row.varied.items() for row in rows)
        else:
            assert drawing["name"] in plots
    for number in part.get("number", ()):
        assert ("column" in number) != ("rate" in number)
        assert any(number.get("where", {}).items() <= row.varied.items() for row in rows)
        if "rate" in number:
            assert next(p for p in study.plot if p.name == number["rate"]).fit != "none"


def test_every_given_study_of_a_table_or_figure_is_reproduced():
    named = {p["study"] for p in PARTS}
    assert {name for name, _ in given()} <= named | {"fig4_coefficients"}  # its figure comes with table 1


def test_a_number_is_the_mean_of_its_column_and_its_error_that_over_the_seeds():
    rows = [
        {"seed": seed, "status": "done", "run": f"seed-{seed}", "a": side, "coefficient.r": z, "standard_error.r": 0.1}
        for side, values in (("left", (1.0, 1.3)), ("right", (5.0, 5.0)))
        for seed, z in enumerate(values)
    ]
    study = Study(Path("none"), rows, [], [], {"plot": {"": {"slope": -0.7, "standard_error": 0.05}}})
    asked = {"what": "z", "column": "coefficient.r", "error": "standard_error.r", "where": {"a": "left"}, "truth": 1.1}
    found = reproduction._number({**asked, "published": 1.5}, rows, study)
    assert found.ours == pytest.approx(1.15)
    assert found.standard_error == pytest.approx(0.1)
    assert found.rmse == pytest.approx(math.sqrt((0.1**2 + 0.2**2) / 2))
    assert found.ratio == pytest.approx(0.4 / found.rmse)
    assert found.count == 2
    rate = reproduction._number({"what": "rate", "rate": "plot", "published": "-0.39"}, rows, study)
    assert (rate.ours, rate.standard_error, rate.ratio) == (-0.7, 0.05, None)


def test_the_page_has_every_number_and_a_file_for_every_figure(tmp_path, monkeypatch):
    file = samples.write(tmp_path)
    drawings = [{"name": "w2", "text": "Distances."}, {"name": "none", "text": "Nothing."}]
    number = {"what": "condition", "column": "condition", "where": {"fit.every": 1}, "published": "large"}
    part = {"study": str(file), "heading": "Small", "text": "A text.", "number": [number], "drawing": drawings}
    monkeypatch.setattr(reproduction, "parts_of_source", lambda: [{**part, "name": "small"}])
    done = reproduce(tmp_path / "out", tmp_path / "docs" / "REPRODUCTION.md", quick=True)
    text = done.page.read_text()
    assert done.failed == ()
    assert f"{done.parts[0].figures[0].ours:.4g}" in text
    assert "| large |" in text
    assert "quick form" in text
    assert (done.page.parent / "reproduction" / "small_w2.png").read_bytes()[:4] == b"\x89PNG"
    assert "(reproduction/small_w2.png)" in text
    assert "Not drawn" in text
    assert reproduce(tmp_path / "out", done.page, quick=True).page.read_text() == text


def test_an_unknown_study_is_refused_with_those_there_are(tmp_path):
    with pytest.raises(InputError, match=r"`--only` must be studies of the reproduction; got 'fig9'.*fig3_particles"):
        reproduce(tmp_path / "out", only=["fig9"])
    assert not (tmp_path / "out").exists()
