"""How a key of the run file is declared: its type, its default, what it means, and the rule that an error quotes."""

from __future__ import annotations

import numbers
from typing import Annotated, Any, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.fields import FieldInfo

__all__ = [
    "BOOL", "COUNT", "FORMULA", "PATH", "POSITIVE", "VECTOR", "Positive", "PositiveInt", "Section", "Vector", "Whole",
    "holds_integers", "key", "one_of", "whole",
]  # fmt: skip


def whole(value: Any) -> Any:
    """Return a number that is whole as an int, whatever type it comes in (1e9, 2.0); all else as it is."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        return value
    if isinstance(value, numbers.Integral):
        return int(value)
    return int(float(value)) if float(value).is_integer() else value


Positive = Annotated[float, Field(gt=0)]
Whole = Annotated[int, BeforeValidator(whole)]
"""An integer key: 1e9 stands for 1000000000, which is what the resolved run file has."""
PositiveInt = Annotated[Whole, Field(gt=0)]
Vector = float | tuple[float, ...]


class Section(BaseModel):
    """A table of the run file: frozen, no unknown keys, no silent conversion of types, no nan or inf."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


def holds_integers(field: FieldInfo) -> bool:
    """Tell whether a key holds an integer, alone, optional or in a list."""
    waiting: list[Any] = [field.annotation, *field.metadata]
    while waiting:
        kind = waiting.pop()
        if isinstance(kind, BeforeValidator) and kind.func is whole:
            return True
        waiting += [*get_args(kind), *getattr(kind, "__metadata__", ())]
    return False


def key(default: Any, description: str, rule: str, example: str = "") -> Any:
    """Declare a key: ``rule`` and ``example`` are what an error about it says; no ``default`` (...) means required."""
    return Field(default, description=description, json_schema_extra={"rule": rule, "example": example})


POSITIVE = "must be a positive number"
COUNT = "must be a positive whole number"
FORMULA = "must be a formula in quotes"
VECTOR = "must be a number or a list of one number an axis"
BOOL = "must be true or false"
PATH = "must be a file name in quotes"


def one_of(*names: str) -> str:
    """Return the rule of a key that takes one of a few names."""
    return "must be " + ", ".join(f'"{name}"' for name in names[:-1]) + f' or "{names[-1]}"'
