"""Paths into result.json: what a study's column or plot asks of a run, a number, a text or a list of numbers."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any

__all__ = ["found", "number"]

_OF_LISTS: dict[str, Callable[[Sequence[float]], float]] = {
    "max": max,
    "min": min,
    "mean": statistics.fmean,
    "first": lambda values: values[0],
    "last": lambda values: values[-1],
}


def found(values: Any, path: str) -> Any:
    """Return what a dotted path leads to; None where it leads nowhere.

    Keys may hold dots themselves. A list of tables is entered by the ``name`` of one of them (``terms.r**2``), or else
    gives the list of what each of them has (``history.loss``); a number takes one of a list, from 0. The last part may
    take one number out of a list: max, min, mean, first, last.
    """
    if not path:
        return values
    if isinstance(values, Mapping):
        for key in sorted((k for k in values if _starts(path, k)), key=len, reverse=True):
            return found(values[key], path[len(key) + 1 :])
        return None
    if not isinstance(values, list) or not values:
        return None
    first, _, rest = path.partition(".")
    if first.isdecimal():
        return found(values[int(first)], rest) if int(first) < len(values) else None
    if all(isinstance(item, Mapping) for item in values):
        named = {str(item["name"]): item for item in values if "name" in item}
        if named and not any(_starts(path, key) for key in values[0]):
            return found(named, path)
        each = [found(item, path.rpartition(".")[0] if _reduces(path) else path) for item in values]
        return _reduced(each, path.rpartition(".")[2]) if _reduces(path) else each
    return _reduced(values, path) if path in _OF_LISTS else None


def number(value: Any) -> float | None:
    """Return a finite number, or true and false as 1 and 0; None for anything else."""
    if isinstance(value, int | float) and abs(value) < float("inf"):
        return float(value)
    return None


def _starts(path: str, key: str) -> bool:
    return path == key or path.startswith(f"{key}.")


def _reduces(path: str) -> bool:
    return "." in path and path.rpartition(".")[2] in _OF_LISTS


def _reduced(values: Sequence[Any], how: str) -> Any:
    known = [v for v in values if number(v) is not None]
    return _OF_LISTS[how](known) if known else None
