"""Errors of the schema as one line for the user: the key, its rule, what came, the fix."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from ipsdist.config.toml import toml_value
from ipsdist.model.errors import InputError

__all__ = ["input_error", "refuse_unknown_keys"]

_SHOWN = 60


def refuse_unknown_keys(model: type[BaseModel], values: Mapping[str, Any]) -> None:
    """Raise InputError for the first key or section that the model does not have, naming the nearest one."""
    for place, fields, key in _keys(model, values, ""):
        if key in fields:
            continue
        name = f"{place}{key}"
        everywhere = [k for k in _known(model, "") if "." in k or not _section(model.model_fields[k])]
        near = _nearest(name, everywhere if place or not isinstance(values[key], Mapping) else list(fields))
        what = "section" if not place and isinstance(values[key], Mapping) else "key"
        raise InputError(name, f"is not a known {what}", None, f"did you mean {near}?")


def _keys(
    model: type[BaseModel], values: Mapping[str, Any], place: str
) -> Iterator[tuple[str, dict[str, FieldInfo], str]]:
    """Yield (place, fields there, key) of every key of the values, tables inside lists too; outer keys first."""
    fields = model.model_fields
    for key in values:
        yield place, fields, key
    for key, item in values.items():
        inner = _section(fields[key]) if key in fields else None
        if inner is None:
            continue
        tables = item if isinstance(item, list | tuple) else [item]
        for number, table in enumerate(tables):
            if isinstance(table, Mapping):
                index = f"[{number}]" if isinstance(item, list | tuple) else ""
                yield from _keys(inner, table, f"{place}{key}{index}.")


def _section(field: FieldInfo) -> type[BaseModel] | None:
    """Return the section that a field holds, alone, optional or in a tuple."""
    waiting: list[Any] = [field.annotation]
    while waiting:
        kind = waiting.pop()
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            return kind
        waiting.extend(get_args(kind))
    return None


def _known(model: type[BaseModel], place: str) -> Iterator[str]:
    for key, field in model.model_fields.items():
        yield f"{place}{key}"
        inner = _section(field)
        if inner is not None:
            yield from _known(inner, f"{place}{key}.")


def _nearest(name: str, known: list[str]) -> str:
    """Return the known key most like the name: its last part counts, and its section half."""

    def likeness(candidate: str) -> float:
        section, _, key = name.rpartition(".")
        its_section, _, its_key = candidate.rpartition(".")
        alike = difflib.SequenceMatcher(None, key, its_key).ratio()
        return alike + 0.5 * difflib.SequenceMatcher(None, section, its_section).ratio()

    return max(known, key=likeness)


def input_error(model: type[BaseModel], error: ValidationError) -> InputError:
    """Return the first of pydantic's errors as one InputError, worded by the rule of its key."""
    first = error.errors(include_url=False)[0]
    own = first.get("ctx", {}).get("error")
    if isinstance(own, InputError):
        return own
    key, field = "", None
    fields: dict[str, FieldInfo] | None = model.model_fields
    for part in first["loc"]:
        if isinstance(part, int) and fields is not None:  # a table of a list; other entries are judged with their list
            key += f"[{part}]"
        elif fields is not None and part in fields:  # other parts are pydantic's names of union members
            key += f".{part}" if key else part
            field = fields[part]
            inner = _section(field)
            fields = inner.model_fields if inner is not None else None
    if isinstance(first["loc"][-1], int):
        key = key.rpartition("[")[0] if key.endswith("]") else key
    rule, example = _rule(field)
    missing = first["type"] == "missing"
    fix = f"for example {key.rpartition('.')[2]} = {example}" if example else _default(field)
    return InputError(key, "is required" if missing else rule, "nothing" if missing else _shown(first["input"]), fix)


def _rule(field: FieldInfo | None) -> tuple[str, str]:
    extra = field.json_schema_extra if field is not None and isinstance(field.json_schema_extra, dict) else {}
    return str(extra.get("rule", "must be a table of keys")), str(extra.get("example", ""))


def _default(field: FieldInfo | None) -> str:
    default = field.default if field is not None else None
    return f"the default is {toml_value(default)}" if isinstance(default, bool | int | float | str) else ""


def _shown(value: Any) -> str:
    text = toml_value(value)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."
