"""result.json: every digit, one order, no NaN, and the shipped schema holds for what is written."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator, ValidationError

from ipsdist.model.errors import InputError
from ipsdist.report.result_json import load, schema, to_json
from tests.report.samples import sample_history, sample_result
from tests.report.validation import validate

CONTRACT = [
    "format", "case", "seed", "system", "form", "form_reason", "selection", "terms", "dropped", "confounded", "kernel",
    "diffusion", "breakpoints", "breakpoint_roads", "alternatives", "condition", "band", "errors", "wasserstein2",
    "free_energy", "data_loss", "history", "cost", "versions", "device", "workers",
]  # fmt: skip


def test_schema_is_a_schema_and_demands_the_contract():
    """The schema obeys draft 2020-12 and requires exactly the promised keys."""
    Draft202012Validator.check_schema(schema())
    assert sorted(schema()["required"]) == sorted(CONTRACT)


def test_sample_is_valid_with_and_without_truth():
    """A full result is valid, and so is one in which everything that may be unknown is null."""
    history = [
        {"mask": list(turn.mask), "coefficients": turn.coefficients, "sampled": turn.sampled, "loss": turn.loss}
        for turn in sample_history()
    ]
    validate(sample_result(history=history, warnings=["Slices are far apart."]))
    unknown = dict.fromkeys(("band", "errors", "wasserstein2", "free_energy", "data_loss", "condition", "workers"))
    validate(sample_result(**unknown, terms=[], alternatives=[]))


@pytest.mark.parametrize("key", CONTRACT)
def test_missing_key_is_invalid(key):
    """A result that lacks a promised key breaks the schema."""
    result = sample_result()
    del result[key]
    with pytest.raises(ValidationError, match=key):
        validate(result)


@pytest.mark.parametrize(
    "change",
    [
        {"format": 2},
        {"seed": -1},
        {"form": "best"},
        {"unknown": 1},
        {"dropped": "r"},
        {"terms": [{"name": "r", "kind": "kernel", "coefficient": None, "standard_error": 1.0, "interval95": [0, 1]}]},
        {"terms": [{"name": "r", "kind": "kernel", "coefficient": 1.0, "standard_error": 1.0, "interval95": [0]}]},
        {"diffusion": {"value": 2.0}},
    ],
)
def test_wrong_values_are_invalid(change):
    """Wrong types, names and lengths break the schema."""
    with pytest.raises(ValidationError):
        validate(sample_result(**change))


@given(st.floats())
def test_floats_come_back_bit_for_bit(value):
    """Every finite float comes back with the same bits; what is not finite comes back as null."""
    back = json.loads(to_json({"a": value, "b": np.array([value])}))
    expected = value if np.isfinite(value) else None
    assert repr(back["a"]) == repr(expected)
    assert repr(back["b"][0]) == repr(expected)


def test_text_does_not_depend_on_the_order_of_keys():
    """Two results that differ in the order of their keys give the same text."""
    result = sample_result()
    assert to_json(result) == to_json(dict(reversed(list(result.items()))))


def test_foreign_types_are_refused():
    """A value that JSON does not know is an error, not a text."""
    with pytest.raises(TypeError, match="complex"):
        to_json({"a": 1j})
    with pytest.raises(TypeError, match="strings"):
        to_json({1: 2})


def test_load_reads_what_to_json_wrote(tmp_path):
    """A written result is read back equal."""
    path = tmp_path / "result.json"
    path.write_text(to_json(sample_result()), encoding="utf-8")
    assert load(path) == json.loads(to_json(sample_result()))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "must be a JSON file"),
        ('{"format": NaN}', "NaN is no JSON number"),
        ("[1]", "integer `format`"),
        ('{"format": true}', "integer `format`"),
        ('{"format": 2}', "a format of at most 1; got 2; use a newer ipsdist"),
        ("[" * 100_000, "must be a JSON file"),
    ],
)
def test_load_refuses(tmp_path, text, words):
    """What is no result of this format is refused in one line that names the file."""
    path = tmp_path / "result.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=words) as caught:
        load(path)
    assert "result.json" in str(caught.value)
    assert "\n" not in str(caught.value)
