"""Checks a result against the JSON Schema that ships with the package, for every test that makes a result."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from jsonschema import Draft202012Validator

from ipsdist.report.result_json import schema, to_json


def validate(result: Mapping[str, Any]) -> dict[str, Any]:
    """Return the result as read back from its own JSON text; raises ValidationError where it breaks the schema."""
    read: dict[str, Any] = json.loads(to_json(result))
    Draft202012Validator(schema()).validate(read)
    return read
