"""Study files: a table of runs over any keys of a run file, checked before the first of them starts."""

from __future__ import annotations

import itertools
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError
from pydantic.fields import FieldInfo

from ipsdist.config.keys import BOOL, Section, Whole, holds_integers, key, one_of, whole
from ipsdist.config.messages import input_error, refuse_unknown_keys
from ipsdist.config.resolve import absolute, merge, run_values, set_values
from ipsdist.config.schema import RunConfig
from ipsdist.model.errors import InputError

__all__ = ["PlotSection", "Row", "StudyFile", "VarySection", "axis_label", "load_study", "row_config"]

Seed = Annotated[Whole, Field(ge=0, lt=2**64)]
_TABLE = 'must be a table of keys of a run file, for example {"system.particles" = 5000}'
_OF_RUNS = ("system", "time", "initial", "data")
_SEEDS = "must be a number of seeds (0, 1, 2, ...) or a list of different ones"


class VarySection(Section):
    """One key that varies; several of them make a product."""

    values: Annotated[tuple[Any, ...], Field(min_length=1)] = key(
        ..., "its values", "must be a list of at least one value", "[5000, 10000]"
    )
    key: str = key(..., "a key of a run file", "must be a key of a run file in quotes", '"system.particles"')


class PlotSection(Section):
    """One figure of the table: points or curves, of several seeds the means with their standard errors."""

    name: str = Field(
        ...,
        description="name of the file, NAME.png",
        pattern=r"^[A-Za-z0-9_][A-Za-z0-9_-]{0,63}$",
        json_schema_extra={"rule": "must be at most 64 letters, digits, _ and -", "example": '"w2"'},
    )
    kind: Literal["points", "curve", "terms"] = key(
        "points",
        "points: a number a run; curve: a list a run (over time, iterations); terms: the coefficients",
        one_of("points", "curve", "terms"),
    )
    x: str | None = key(None, "column, or path in result.json; a curve without x counts 1, 2, ...", "must be a column")
    y: str | None = key(None, "column, or path in result.json", "must be a column")
    by: tuple[str, ...] = key((), "columns whose values part the runs into series", "must be a list of columns")
    log: Literal["", "x", "y", "xy"] = key("", "logarithmic axes", one_of("", "x", "y", "xy"))
    fit: Literal["none", "power", "exponential"] = key(
        "none", "fit y ~ x**p or y ~ exp(p x) to all runs of a series", one_of("none", "power", "exponential")
    )
    excess: bool = key(False, "of a curve: how far each run still is above where it ends", BOOL)
    reference: float | None = key(None, "slope of a reference line in the same law", "must be a number", "-0.8")
    title: str | None = key(None, "title", "must be a text")
    x_label: str | None = key(None, "label of the x axis, with its unit", "must be a text")
    y_label: str | None = key(None, "label of the y axis, with its unit", "must be a text")


class StudyFile(Section):
    """A study file as it stands in TOML."""

    name: str = Field(
        ...,
        description="name of the study; it goes to the directory studies/NAME",
        pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}$",
        json_schema_extra={"rule": "must be at most 64 letters, digits, _ . -", "example": '"sizes"'},
    )
    case: str = key(..., "a built-in case or a run file", "must be a case or a run file in quotes", '"cubic"')
    set: dict[str, Any] = key({}, "keys that are the same in all runs", _TABLE)
    vary: tuple[VarySection, ...] = key((), "keys that vary, as a product", "must be [[vary]] tables of key and values")
    list: tuple[dict[str, Any], ...] = key(
        (), "tables of keys that vary together, one after the other", "must be a list of tables of keys of a run file"
    )
    seeds: Annotated[Whole, Field(gt=0, le=100000)] | Annotated[tuple[Seed, ...], Field(min_length=1)] = key(
        3, "seeds of every row", _SEEDS
    )
    columns: tuple[str, ...] = key(
        (), "paths in result.json that are reported as well", "must be a list of paths", '["condition"]'
    )
    figures: bool = key(False, "draw the figures and the page of every run too", BOOL)
    plot: tuple[PlotSection, ...] = key((), "figures of the table", "must be [[plot]] tables")

    @property
    def seed_list(self) -> tuple[int, ...]:
        """The seeds, a number resolved."""
        return self.seeds if isinstance(self.seeds, tuple) else tuple(range(self.seeds))


@dataclass(frozen=True)
class Row:
    """One run of a study: what varies in it, and its seed."""

    varied: Mapping[str, Any]
    """Values by dotted key."""
    seed: int


def load_study(
    path: Path, seeds: tuple[int, ...] | None = None, sets: Sequence[str] = ()
) -> tuple[StudyFile, dict[str, Any], list[Row]]:
    """Return a study file, the values of its case with what is set, and its rows in order.

    ``seeds`` stand in for those of the file, ``sets`` (``section.key=value``) change all runs. Raises InputError for a
    bad file: TOML, keys, those that vary included. Whether a row makes a run is for `row_config` to say.
    """
    study = _checked(path, seeds)
    source = _source(study.case, path)
    home = path.absolute().parent
    base = merge(run_values(source), absolute(_nested(study.set), home))
    base = merge(base, set_values(sets))
    settings = [_flat(_nested(table)) for table in study.list] or [{}]
    products = itertools.product(*(v.values for v in study.vary))
    keys = [v.key for v in study.vary]
    rows = [
        Row(_whole(_flat(absolute(_nested({**chosen, **dict(zip(keys, values, strict=True))}), home))), seed)
        for values, chosen, seed in itertools.product(products, settings, study.seed_list)
    ]
    _check_keys(study, rows)
    _check_sets(study, sets)
    return study, base, rows


def row_config(base: Mapping[str, Any], row: Row) -> RunConfig:
    """Return the configuration of a row over the values that all share. Raises InputError for a value that is bad."""
    values = dict(base)
    for name, value in row.varied.items():
        values = merge(values, _layer(values, name.split("."), value))
    return RunConfig.build(merge(values, {"run": {"seed": row.seed}}))


def axis_label(name: str) -> str | None:
    """Return what a key of a run file means, with its unit, as the label of an axis; None for what is no key."""
    field = _field(name)
    text = "" if field is None or next(_inner(field.annotation), None) is not None else str(field.description)
    return re.split(";|:| that ", text)[0] or None


def _field(name: str) -> FieldInfo | None:
    """Return the field of a dotted key of a run file; None for what is no key."""
    model: Any = RunConfig
    field = None
    for part in name.split("."):
        field = model.model_fields.get(part) if model is not None else None
        if field is None:
            return None
        model = next(_inner(field.annotation), None)
    return field


def _whole(varied: dict[str, Any]) -> dict[str, Any]:
    """Return values by dotted key with 1e3 as 1000 where the key is an integer: names of runs and tables show it."""
    fields = {name: _field(name) for name in varied}
    integers = {name for name, field in fields.items() if field is not None and holds_integers(field)}
    return {name: _each(value) if name in integers else value for name, value in varied.items()}


def _each(value: Any) -> Any:
    return [whole(item) for item in value] if isinstance(value, list | tuple) else whole(value)


def _inner(kind: Any) -> Iterator[type[Section]]:
    from typing import get_args

    if isinstance(kind, type) and issubclass(kind, Section):
        yield kind
    for part in get_args(kind):
        yield from _inner(part)


def _checked(path: Path, seeds: tuple[int, ...] | None) -> StudyFile:
    """Read the file and check what it holds by itself."""
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(str(path), "must be a study file", "no such file", "see docs/studies.md") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(str(path), "must be TOML", error, "texts need quotes, keys with dots too") from None
    except OSError as error:
        raise InputError(str(path), "must be a study file that can be read", error.strerror) from None
    if "case" not in values and not values.keys().isdisjoint(_OF_RUNS):
        raise InputError(str(path), "must be a study file", "a run file", f"do it with `ipsdist run {path}`")
    values.setdefault("name", re.sub(r"[^A-Za-z0-9_.-]", "_", path.stem))
    if seeds is not None:
        values["seeds"] = seeds
    refuse_unknown_keys(StudyFile, values)
    try:
        study = StudyFile.model_validate(_frozen(values))
    except ValidationError as error:
        raise input_error(StudyFile, error) from None
    if len(set(study.seed_list)) < len(study.seed_list):
        raise InputError("seeds", _SEEDS, list(study.seed_list), "leave the repeated one out")
    for number, plot in enumerate(study.plot):
        if plot.kind != "terms" and plot.y is None:
            raise InputError(f"plot[{number}].y", "is required", "nothing", 'for example y = "wasserstein2.values.max"')
        if plot.kind == "points" and plot.x is None:
            raise InputError(f"plot[{number}].x", "is required", "nothing", 'for example x = "system.particles"')
    return study


def _source(case: str, path: Path) -> str:
    """Return the case, or the path of a run file counted from the study file."""
    return str(path.absolute().parent / case) if case.endswith(".toml") else case


def _check_keys(study: StudyFile, rows: list[Row]) -> None:
    """Check that every key is one of a run file, given in one place, and that no two rows are the same run."""
    places = dict.fromkeys(_flat(_nested(study.set)), "set")
    for name in {name for table in study.list for name in _flat(_nested(table))}:
        places[name] = "list"
    for vary in study.vary:
        if places.get(vary.key) in ("list", "vary"):
            fix = "let it vary in one place"
            raise InputError(vary.key, "must vary once", f"in {places[vary.key]} and in vary", fix)
        places[vary.key] = "vary"
    for name in places:
        refuse_unknown_keys(RunConfig, _layer({}, name.split("."), None))
        if name in ("run.seed", "name"):
            fix = "use seeds = [...]" if name == "run.seed" else "runs are named by what varies"
            raise InputError(name, "must not stand in a study", places[name], fix)
    seen: list[Mapping[str, Any]] = []
    for row in rows:
        if row.seed == rows[0].seed:
            if row.varied in seen:
                said = ", ".join(f"{k} = {v}" for k, v in row.varied.items()) or "nothing varies"
                raise InputError("vary", "must not give the same run twice", said, "leave one of them out")
            seen.append(row.varied)


def _check_sets(study: StudyFile, sets: Sequence[str]) -> None:
    """Check that what the command sets are keys of a run file, and none of those that vary."""
    varied = {v.key for v in study.vary} | {name for table in study.list for name in _flat(_nested(table))}
    for name in _flat(set_values(sets)):
        refuse_unknown_keys(RunConfig, _layer({}, name.split("."), None))
        if name in varied:
            raise InputError("--set", "must not set a key that varies", name, "change the values in the study file")
        if name in ("run.seed", "name"):
            raise InputError("--set", "must be the same for all runs", name, "use --seeds, or another --out")


def _layer(values: Any, path: list[str], value: Any) -> dict[str, Any]:
    """Return the nested table of one key; below a list of tables the key is set in each of them."""
    first, *rest = path
    if not rest:
        return {first: value}
    below = values.get(first) if isinstance(values, Mapping) else None
    if isinstance(below, list | tuple) and all(isinstance(item, Mapping) for item in below):
        return {first: [merge(item, _layer(item, rest, value)) for item in below]}
    return {first: _layer(below, rest, value)}


def _nested(table: Mapping[str, Any]) -> dict[str, Any]:
    """Return a table whose keys may be dotted texts as nested tables."""
    found: dict[str, Any] = {}
    for name, value in table.items():
        inner = _nested(value) if isinstance(value, Mapping) else value
        found = merge(found, _layer({}, name.split("."), inner))
    return found


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return the leaves of nested tables by dotted key."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        found |= _flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
    return found


def _frozen(value: Any) -> Any:
    """Return TOML lists as tuples, which is what frozen sections hold."""
    if isinstance(value, Mapping):
        return {name: _frozen(item) for name, item in value.items()}
    return tuple(_frozen(item) for item in value) if isinstance(value, list | tuple) else value
