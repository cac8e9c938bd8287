"""From a case name or a run file to a checked configuration: defaults < case < file < --set < named flags."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from ipsdist.config.schema import RunConfig
from ipsdist.model.errors import InputError
from ipsdist.storage import Place, place

__all__ = ["absolute", "case_names", "merge", "resolve", "run_values", "set_values"]

_ALTERNATIVES = {"system": ("kernel", "pieces"), "initial": ("mixture", "uniform", "ring", "file")}
"""Keys of which a run has one: a layer that gives one of them takes the others of the layers below away."""
_FILES = (("data", "file"), ("initial", "file"))
_OF_STUDIES = ("vary", "list", "seeds", "plot", "set", "columns", "figures")
"""What a study file has at its top, and a run file has not."""


def resolve(
    source: str | Path | Place, sets: Sequence[str] = (), seed: int | None = None, device: str | None = None
) -> RunConfig:
    """Return the configuration of a case name or a TOML run file.

    Parameters
    ----------
    source
        Name of a built-in case, or path of a run file. A run file may start with ``case = "cubic"`` to inherit one.
    sets
        ``section.key=value`` texts; the value is TOML, and what is not TOML is a string.
    seed, device
        Flags of their own, which win over everything.

    Raises InputError, one line, for an unknown case, a file that is not there or not TOML, and every bad key.
    File names in a run file count from its directory, those in ``sets`` from the working directory.
    """
    values = run_values(source)
    values = merge(values, set_values(sets))
    flags = {key: value for key, value in (("seed", seed), ("device", device)) if value is not None}
    return RunConfig.build(merge(values, {"run": flags} if flags else {}))


def case_names() -> list[tuple[str, str]]:
    """Return the built-in cases: (name, one line on it), sorted by name."""
    found = []
    for entry in resources.files("ipsdist.config").joinpath("cases").iterdir():
        if entry.name.endswith(".toml"):
            first_line = entry.read_text(encoding="utf-8").partition("\n")[0]
            found.append((entry.name.removesuffix(".toml"), first_line.removeprefix("#").strip()))
    return sorted(found)


def run_values(source: str | Path | Place) -> dict[str, Any]:
    """Return the values of a case or of a file over its case, with ``name``."""
    text = str(source)
    path = place(source)
    if isinstance(source, str) and not text.endswith(".toml") and path.name == text and not path.is_file():
        _refuse_directory(path)
        return {"name": text, **_case(text, "case")}
    _refuse_directory(path)
    values = absolute(_read(path), path.path.absolute().parent if path.is_local else path.parent)
    if not values.keys().isdisjoint(_OF_STUDIES):
        raise InputError(str(path), "must be a run file", "a study file", f"do it with `ipsdist study {path}`")
    base = values.pop("case", None)
    values.setdefault("name", Path(path.name).stem)
    if base is None:
        return values
    if not isinstance(base, str):
        raise InputError("case", "must be the name of a built-in case", base, f"cases are {_all_cases()}")
    return merge(_case(base, "case"), values)


def _refuse_directory(path: Place) -> None:
    """Raise InputError, with what goes on with it, for the directory of a run where a case or a run file should be."""
    if not path.name.endswith(".toml") and (path / "config.toml").is_file():
        fix = f"go on with `ipsdist report {path}`, or `ipsdist run {path / 'config.toml'} --out {path}`"
        raise InputError("case", "must be a case or a run file", f"{path}, the directory of a run", fix)


def _case(name: str, argument: str) -> dict[str, Any]:
    names = [known for known, _ in case_names()]
    if name not in names:
        near = difflib.get_close_matches(name, names, n=1, cutoff=0.0)
        fix = f"did you mean {near[0]}? cases are {_all_cases()}; a run file ends in .toml"
        raise InputError(argument, "is not a known case", repr(name), fix)
    file = resources.files("ipsdist.config").joinpath("cases", f"{name}.toml")
    return tomllib.loads(file.read_text(encoding="utf-8"))


def _all_cases() -> str:
    return ", ".join(name for name, _ in case_names())


def _read(path: Place) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text())
    except FileNotFoundError:
        raise InputError(str(path), "must be a run file", "no such file", f"cases are {_all_cases()}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        fix = 'texts need quotes, for example kernel = "3*r**2"'
        if not path.name.endswith(".toml"):
            fix = f"run files end in .toml; tracks are read by `ipsdist import {path} DIR`"
        raise InputError(str(path), "must be TOML", error, fix) from None
    except OSError as error:
        raise InputError(str(path), "must be a run file that can be read", error.strerror) from None


def absolute(values: dict[str, Any], base: Path | Place) -> dict[str, Any]:
    """Return the values with file names counted from ``base``, so that a resolved copy runs from anywhere."""
    for section, key in _FILES:
        table = values.get(section)
        if isinstance(table, dict) and isinstance(table.get(key), str) and "://" not in table[key]:
            name = table[key]
            table[key] = name if Path(name).is_absolute() else str(base / name)
    return values


def set_values(sets: Sequence[str]) -> dict[str, Any]:
    """Return ``section.key=value`` texts as nested tables; file names count from here. Raises InputError."""
    return absolute(_from_sets(sets), Path.cwd())


def _from_sets(sets: Sequence[str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for item in sets:
        name, equals, text = item.partition("=")
        path = name.strip().split(".")
        if not equals or not all(part.replace("_", "").isalnum() for part in path):
            raise InputError("--set", "must be section.key=value", repr(item), "for example --set time.step=1e-3")
        table = values
        for part in path[:-1]:
            table = table.setdefault(part, {})
            if not isinstance(table, dict):
                rule = f"gives {part} a value and a key of its own"
                raise InputError("--set", rule, repr(item), "give one of the two")
        table[path[-1]] = _toml_or_text(text.strip())
    return values


def _toml_or_text(text: str) -> Any:
    try:
        parsed = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return text
    return parsed["value"] if set(parsed) == {"value"} else text


def merge(below: Mapping[str, Any], above: Mapping[str, Any], section: str = "") -> dict[str, Any]:
    """Return the tables merged key by key; what is above wins, and alternatives replace each other."""
    merged = dict(below)
    alternatives = _ALTERNATIVES.get(section, ())
    if any(key in above for key in alternatives):
        merged = {key: item for key, item in merged.items() if key not in alternatives or key in above}
    for key, item in above.items():
        old = merged.get(key)
        both = isinstance(old, Mapping) and isinstance(item, Mapping)
        merged[key] = merge(old, item, f"{section}.{key}" if section else key) if both else item  # type: ignore[arg-type]
    return merged
