"""result.json: written with every digit and in one order, read back, and described by a JSON Schema."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from ipsdist.model.errors import InputError
from ipsdist.storage import Place, place

__all__ = ["FORMAT", "load", "schema", "to_json"]

FORMAT = 1
"""Version of the layout of result.json."""


def to_json(result: Mapping[str, Any]) -> str:
    """Return the text of result.json: keys sorted, floats as their shortest exact text, what is not finite as null.

    NumPy scalars and arrays become numbers and lists; a list of scalars stays on one line. Any other type is a
    TypeError: nothing is turned to text silently.
    """
    return _text(_plain(result), "") + "\n"


def load(path: Path | Place) -> dict[str, Any]:
    """Read a result.json. Raises InputError when it is no JSON object of this format or an older one."""
    where = str(path)
    try:
        result = json.loads(place(path).read_text(), parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise InputError(
            where, "must be a JSON file as ipsdist writes it", error, "write it again with `ipsdist report`"
        ) from error
    if not isinstance(result, dict) or type(result.get("format")) is not int:
        raise InputError(
            where, "must be an object with an integer `format`", None, "write it again with `ipsdist report`"
        )
    if not 1 <= result["format"] <= FORMAT:
        raise InputError(where, f"must have a format of at most {FORMAT}", result["format"], "use a newer ipsdist")
    return result


def schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of result.json, which ships with the package."""
    text = files("ipsdist.report").joinpath("schema/result.schema.json").read_text(encoding="utf-8")
    loaded: dict[str, Any] = json.loads(text)
    return loaded


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON number")


def _plain(value: Any) -> Any:
    """Return the value in the types of JSON."""
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        if not all(isinstance(key, str) for key in value):
            raise TypeError(f"the keys of an object in result.json are strings; got {list(value)}")
        return {key: _plain(value[key]) for key in sorted(value)}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    raise TypeError(f"result.json holds numbers, strings, lists and objects; got a {type(value).__name__}")


def _text(value: Any, indent: str) -> str:
    """Return JSON text, two spaces a level; lists of scalars on one line keep a band of 200 radii readable."""
    inner = indent + "  "
    if isinstance(value, dict) and value:
        items = [f"{inner}{json.dumps(key)}: {_text(item, inner)}" for key, item in value.items()]
        return "{\n" + ",\n".join(items) + f"\n{indent}}}"
    if isinstance(value, list) and any(isinstance(item, dict | list) for item in value):
        return "[\n" + ",\n".join(inner + _text(item, inner) for item in value) + f"\n{indent}]"
    return json.dumps(value, allow_nan=False)
