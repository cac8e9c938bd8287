"""Plain values as TOML text: what tomllib reads, written."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

__all__ = ["to_toml", "toml_value"]


def to_toml(values: Mapping[str, Any]) -> str:
    """Write a table of scalars and tables; tables inside those are written inline. Keys must be bare."""
    scalars = [f"{key} = {toml_value(item)}" for key, item in values.items() if not isinstance(item, Mapping)]
    blocks = ["\n".join(scalars)] if scalars else []
    for name, table in values.items():
        if isinstance(table, Mapping):
            blocks.append("\n".join([f"[{name}]", *(f"{key} = {toml_value(item)}" for key, item in table.items())]))
    return "\n\n".join(blocks) + "\n"


def toml_value(value: Any) -> str:
    """Write a string, number, boolean, list or (inline) table."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        # JSON's escapes are TOML's, but for DEL, which TOML wants escaped as well.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key} = {toml_value(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(toml_value(item) for item in value) + "]"
    return repr(value)
