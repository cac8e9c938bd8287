"""The page, the figure and the lines of a pool, on a made-up answer of awkward names and missing numbers."""

from __future__ import annotations

import json
from html.parser import HTMLParser

import numpy as np
import pytest
from jsonschema import Draft202012Validator, ValidationError

from ipsdist.report.figures.pooled import pooled_kernel
from ipsdist.report.figures.style import figure, styled
from ipsdist.report.pooled import Curves, page, schema, summary_rows, write_pooled
from ipsdist.report.result_json import to_json

RADII = np.linspace(0.0, 4.0, 33)


def term(name, coefficient, error, kind="kernel"):
    """Return a row of a result."""
    interval = [coefficient - 1.96 * error, coefficient + 1.96 * error]
    row = {"name": name, "kind": kind, "coefficient": coefficient, "standard_error": error}
    return row | {"interval95": interval}


def experiment(name, coefficient, p_value):
    """Return an experiment that finds r**2 alone and cannot tell of x**2/2 where it has no p."""
    own = {"name": "r**2", "coefficient": coefficient, "standard_error": 0.05}
    lacks = {"name": "x**2/2", "coefficient": None if p_value is None else -1.0, "standard_error": 0.1}
    return {
        "name": name,
        "directory": f"runs/{name}",
        "dimension": 1,
        "particles": 1000,
        "replicas": 2,
        "slices": 41,
        "diffusion": {"value": 0.5, "standard_error": None if p_value is None else 0.01},
        "factor": 1.0,
        "reach": 3.0,
        "reason": "default",
        "unresolved": [],
        "terms": [term("r**2", coefficient, 0.05)],
        "kernel": f"{coefficient}*r**2",
        "pooled_terms": [own, lacks],
        "consistency": {"chi2": 1.5, "degrees_of_freedom": 2 if p_value else 0, "p_value": p_value},
    }


def result(**changes):
    """Return a pooled.json."""
    made = {
        "format": 1,
        "form": "action",
        "selection": "best_subset",
        "criterion": "ebic",
        "particles": 4000,
        "terms": [term("r**2", 3.0, 0.03), term("x**2/2", -1.0, 0.04, "potential")],
        "dropped": ["r"],
        "confounded": [],
        "kernel": "3.0*r**2",
        "potential": "-1.0*(x**2/2)",
        "alternatives": [{"terms": ["r"], "coefficients": [4.0], "score_difference": 12.5}],
        "condition": 100.0,
        "band": {"r": RADII, "value": 3 * RADII**2, "lower": 2.9 * RADII**2, "upper": 3.1 * RADII**2},
        "experiments": [experiment("<b>&one", 3.02, 0.4), experiment("$two$", 2.9, None)],
        "consistency": {"chi2": 3.0, "degrees_of_freedom": 2, "p_value": 1.2e-7},
        "warnings": ["the experiments do not agree: <p>"],
        "versions": {"python": "3.11", "ipsdist": "0.1.0"},
    }
    return made | changes


def curves(own=None):
    """Return curves of two experiments, the second up to r = 3."""
    second = np.where(RADII <= 3.0, 2.9 * RADII**2, np.nan)
    return Curves(RADII, 3 * RADII**2, 2.9 * RADII**2, 3.1 * RADII**2, own or (3.02 * RADII**2, second))


def draw(data, names):
    """Draw the figure in the report's style."""
    with styled():
        return pooled_kernel(data, names)


def test_the_page_is_one_sound_file(tmp_path):
    """All tags are closed, names are escaped, nothing is loaded; what is missing is a dash."""
    write_pooled(to_json(result()), curves(), tmp_path)
    text = (tmp_path / "pooled.html").read_text()
    open_tags = []

    class Check(HTMLParser):
        def handle_starttag(self, tag, attributes):
            assert not any(value.startswith("http") for _, value in attributes if value)
            if tag not in ("meta", "img", "br"):
                open_tags.append(tag)

        def handle_endtag(self, tag):
            assert open_tags.pop() == tag

    Check().feed(text)
    assert open_tags == []
    assert "&lt;b&gt;&amp;one" in text
    assert "<b>" not in text
    assert "do not agree: &lt;p&gt;" in text
    assert "<td>–</td>" in text
    assert "ipsdist pool &#x27;runs/&lt;b&gt;&amp;one&#x27; &#x27;runs/$two$&#x27; --out again" in text
    assert json.loads((tmp_path / "pooled.json").read_text())["terms"][0]["coefficient"] == 3.0
    assert (tmp_path / "figures" / "pooled.png").read_bytes()[:4] == b"\x89PNG"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["figures", "pooled.html", "pooled.json"]


def test_the_figure_has_its_numbers():
    """r, pooled kernel, band and every experiment; nothing where one saw no pairs; the furthest is named."""
    drawn = draw(curves(), ["one", "two"])
    assert drawn.columns == ("r", "pooled", "lower 95 %", "upper 95 %", "one", "two")
    assert drawn.rows[-1] == pytest.approx((4.0, 48.0, 46.4, 49.6, 48.32, None))
    assert drawn.rows[0] == (0.0,) * 6
    assert drawn.alt.endswith("The kernel furthest from it is that of two, by up to 0.9.")


def test_a_steep_kernel_does_not_flatten_the_rest(monkeypatch):
    """1/r near 0 leaves the frame, which holds all that is beyond a twentieth of the distances."""
    made = []

    def kept(height):
        made.append(figure(height))
        return made[-1]

    monkeypatch.setattr("ipsdist.report.figures.pooled.figure", kept)
    steep = 1.0 / np.maximum(RADII, 0.01)
    draw(Curves(RADII, steep, 0.9 * steep, 1.1 * steep, (steep, 1.02 * steep)), ["one", "two"])
    low, high = made[0].axes[0].get_ylim()
    assert low < 0.25
    assert 1.02 / RADII[2] < high < 1.2 / RADII[2]


def test_many_experiments_and_no_terms(tmp_path):
    """Fifteen experiments, one with a long name, and a pool that keeps nothing."""
    names = [f"experiment {k}" for k in range(14)] + ["a" * 80]
    zero = np.zeros_like(RADII)
    drawn = draw(Curves(RADII, zero, zero, zero, (zero,) * 15), names)
    nothing = {"chi2": 0.0, "degrees_of_freedom": 0, "p_value": None}
    many = [experiment(name, 3.0, None) | {"pooled_terms": []} for name in names]
    empty = result(terms=[], experiments=many, consistency=nothing, alternatives=[], warnings=[])
    assert "<i>φ</i>(<i>r</i>) = 0" in page(empty, drawn)
    rows = summary_rows(empty)
    assert rows[0] == ("phi(r) =", "0")
    assert "agreement" not in dict(rows)


def test_the_lines_for_a_terminal():
    """Label and text: the law and the field, experiments, runner-up, agreement, the verdict with its doubts."""
    assert summary_rows(result()) == [
        ("phi(r) =", "(3.000 +- 0.030) r**2"),
        ("V =", "-(1.000 +- 0.040) x**2/2"),
        ("experiments", "2, 4000 particles in all"),
        ("runner-up", "r; score 12.5 worse (very strong evidence)"),
        ("agreement", "chi^2 = 3 on 2, p = 1.2e-07"),
        ("trust", "read with care"),
        ("", "  - the experiments do not agree: <p>"),
    ]
    undecided = result(alternatives=[{"terms": [], "coefficients": [], "score_difference": 0.5}])
    assert summary_rows(undecided)[0][1].endswith("r**2   (a candidate: these data do not determine the law)")
    assert "a candidate" in page(undecided, draw(curves(), ["one", "two"]))


def test_the_schema_knows_a_pool():
    """A result is valid; without a key, with another one or a wrong sign it is not."""
    validator = Draft202012Validator(schema())
    good = json.loads(to_json(result()))
    validator.check_schema(schema())
    validator.validate(good)
    bad = [{k: v for k, v in good.items() if k != "consistency"}, good | {"extra": 1}, good | {"form": "strong"}]
    bad.append(good | {"experiments": good["experiments"][:1]})
    bad.append(good | {"consistency": good["consistency"] | {"p_value": 1.5}})
    for one in bad:
        with pytest.raises(ValidationError):
            validator.validate(one)
