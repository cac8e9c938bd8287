"""How a key of the run file is declared: its type, its default, what it means, and the rule that an error quotes."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

__all__ = [
    "BOOL", "COUNT", "FORMULA", "PATH", "POSITIVE", "VECTOR", "Positive", "PositiveInt", "Section", "Vector", "key",
    "one_of",
]  # fmt: skip

Positive = Annotated[float, Field(gt=0)]
PositiveInt = Annotated[int, Field(gt=0)]
Vector = float | tuple[float, ...]


class Section(BaseModel):
    """A table of the run file: frozen, no unknown keys, no silent conversion of types, no nan or inf."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


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
