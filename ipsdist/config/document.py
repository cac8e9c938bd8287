"""The run file, key by key: written from the schema, so that the page and the program cannot disagree."""

from __future__ import annotations

import types
from typing import Any, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from ipsdist.config.keys import Section
from ipsdist.config.schema import RunConfig

__all__ = ["document"]

_HEAD = """# Run files

A run file is TOML. It may start with `case = "cubic"` to inherit a built-in case; order of precedence: defaults, case,
file, `--set section.key=value`, flags. An unknown key is an error that names the nearest one. Lengths and times are in
the units of your data; a whole number may be written 1e9. This page is written by `ipsdist keys`.
"""


def document() -> str:
    """Return docs/run-files.md: every section and key with its default, its rule and what it means."""
    parts = [_HEAD]
    for name, field in RunConfig.model_fields.items():
        section = _section(field.annotation)
        if section is None:
            parts.append(f"`{name}`: {field.description} (default `{field.default}`).\n")
        else:
            parts.append(_table(name, section))
    return "\n".join(parts)


def _table(name: str, section: type[Section]) -> str:
    lines = [f"## [{name}]", "", _first_line(section), "", "| key | default | meaning | rule |", "|---|---|---|---|"]
    nested = []
    for key, field in section.model_fields.items():
        lines.append(f"| `{key}` | {_default(field)} | {field.description} | {_extra(field, 'rule')} |")
        inner = _section(field.annotation)
        if inner is not None:
            nested.append((key, inner))
    for key, inner in nested:
        keys = ", ".join(f"`{k}` ({f.description})" for k, f in inner.model_fields.items())
        lines.append(f"\n`{name}.{key}`: {keys}.")
    return "\n".join(lines) + "\n"


def _section(annotation: Any) -> type[Section] | None:
    """Return the section inside an annotation (optional, or in a tuple), or None."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return annotation
    if get_origin(annotation) in (Union, types.UnionType, tuple):
        return next((s for s in map(_section, get_args(annotation)) if s is not None), None)
    return None


def _first_line(section: type[Section]) -> str:
    return (section.__doc__ or "").strip().partition("\n")[0]


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return f"required, e.g. `{_extra(field, 'example')}`" if _extra(field, "example") else "required"
    if field.default is None:
        return f"none, e.g. `{_extra(field, 'example')}`" if _extra(field, "example") else "none"
    value = list(field.default) if isinstance(field.default, tuple) else field.default
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _extra(field: FieldInfo, key: str) -> str:
    extra = field.json_schema_extra
    return str(extra.get(key, "")) if isinstance(extra, dict) else ""
