"""The figure of break points: both roads with their numbers, and what a run without one of them shows."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from PIL import Image

import ipsdist.report
from ipsdist.report.figures import Picture
from ipsdist.report.figures.breakpoints import _road, break_points
from ipsdist.report.figures.style import styled
from tests.report.samples import sample_data, sample_result

PLACES = (1.5, 2.0)
SCHEMA = Path(ipsdist.report.__file__).parent / "schema" / "result.schema.json"


def f_of(r):
    return np.select([r <= 1.5, r <= 2.0], [0.5, 1.0], 0.0)


def road(places, values):
    """Return one road's places and pieces."""
    ends = [0.0, *places, None]
    pieces = [
        {
            "lower": ends[p],
            "upper": ends[p + 1],
            "terms": ["r"] if z else [],
            "coefficients": [z] if z else [],
            "standard_errors": [0.003] if z else [],
        }
        for p, z in enumerate(values)
    ]
    intervals = [[b - 0.01, b + 0.01] for b in places]
    return {"places": list(places), "intervals": intervals, "pieces": pieces, "score": -9e3, "alternatives": []}


def network():
    """Return a network's road whose f has steep steps at the places."""
    r = (np.arange(500) + 0.5) / 100
    f = 0.5 + 0.25 * (1 + np.tanh((r - 1.5) / 0.05)) - 0.5 * (1 + np.tanh((r - 2.0) / 0.05))
    slope = np.gradient(f, r)
    ranked = np.sort(np.argsort(-np.abs(slope))[:50])
    curves = {"radii": r.tolist(), "values": f.tolist(), "gradient": slope.tolist(), "ranked": r[ranked].tolist()}
    return {**road((1.51, 1.99), (0.5, 1.01, 0.0)), **curves, "candidates": [1.51, 1.99, 3.2], "reason": None}


def result(found):
    """Return result.json of a run with break points, its network road as given."""
    profiles = [
        {"places": (b + np.linspace(-0.02, 0.02, 21)).tolist(), "misfit": (np.linspace(-4, 4, 21) ** 2).tolist()}
        for b in PLACES
    ]
    profile = {**road(PLACES, (0.5, 1.0, 0.0)), "profiles": profiles, "smooth": None}
    rows = [{"place": b, "interval95": [b - 0.01, b + 0.01]} for b in PLACES]
    return sample_result(breakpoints=rows, breakpoint_roads={"profile": profile, "network": found})


def data(**changes):
    """Return the arrays of a run whose kernel has pieces."""
    made = sample_data()
    true = f_of(made.radii) * made.radii
    pieces = {"kernel_value": 1.002 * true, "kernel_lower": true - 0.02, "kernel_upper": true + 0.02}
    return replace(made, **(pieces | {"kernel_true": true} | changes))


def drawn(found, **changes) -> Picture:
    with styled():
        made = break_points(result(found), data(**changes))
    assert isinstance(made, Picture)
    return made


def height(picture):
    return Image.open(io.BytesIO(picture.png)).height


def test_both_roads_are_drawn_and_told():
    """The words and the table hold the places of both roads, and the network's panels make the figure taller."""
    both, one = drawn(network()), drawn(None)
    assert "by the profile of the misfit: 1.5, 2." in both.alt
    assert "By a neural network: 1.51, 1.99, from the candidates 1.51, 1.99, 3.2." in both.alt
    assert [row[0] for row in both.rows] == ["profile", "profile", "network", "network"]
    assert both.rows[0] == ("profile", 1, 1.5, 1.49, 1.51)
    assert height(both) > height(one) + 300
    assert drawn(network()).png == both.png


@pytest.mark.parametrize(("found", "words"), [(None, "No network was asked for"), ("why", "No network: why.")])
def test_a_road_not_taken_is_said(found, words):
    """Without a network the caption says why, and the table has the profile's places alone."""
    road = None if found is None else {"places": None, "pieces": None, "reason": found}
    picture = drawn(road)
    assert words in picture.caption
    assert [row[0] for row in picture.rows] == ["profile", "profile"]


def test_pieces_of_a_road_as_a_function():
    """A road's pieces are phi / r on their own distances, ends included above, and 0 where no term is."""
    r = np.array([0.5, 1.51, 1.52, 1.99, 2.0, 4.0])
    assert _road(network()["pieces"], r).tolist() == pytest.approx([0.5, 0.5, 1.01, 1.01, 0.0, 0.0])


def test_no_truth_and_no_break():
    """An unknown kernel without break points is drawn too, with one row that says so."""
    none = result(None)
    none["breakpoints"] = []
    none["breakpoint_roads"]["profile"] |= {**road((), (0.5,)), "profiles": []}
    with styled():
        picture = break_points(none, data(kernel_true=None))
    assert picture.rows == (("profile", None, None, None, None),)
    assert "misfit: none." in picture.alt


def test_the_sample_is_as_the_schema_says():
    """What the figure is drawn from here has the shape that result.json promises."""
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    part = {**schema, "required": ["breakpoints", "breakpoint_roads"]}
    part["properties"] = {name: schema["properties"][name] for name in part["required"]}
    found = result(network())
    jsonschema.validate({name: found[name] for name in part["required"]}, part)
