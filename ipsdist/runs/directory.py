"""The directory of a run: what may be written there, and what is refused before anything is."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ipsdist.config import RunConfig, resolve
from ipsdist.model.errors import InputError
from ipsdist.stages.base import Stage
from ipsdist.storage import Store

__all__ = ["CONFIG", "STORE", "open_run", "write_config"]

CONFIG = "config.toml"
STORE = "store.zarr"


def open_run(out: Path, config: RunConfig, first: Stage, fingerprint: str) -> Store | None:
    """Open the store of a directory to go on with it; None when it holds none yet.

    Raises InputError when the directory holds the particles of another run, and says which key differs, and when the
    path is no directory.
    """
    if out.exists() and not out.is_dir():
        raise InputError("--out", "must be a directory", f"the file {out}", "choose another --out")
    if not (out / STORE / "zarr.json").exists():
        return None
    store = Store.open(out / STORE, "r+")
    begun = store.record(f"{first.name}/begun")
    if begun is None or begun["fingerprint"] == fingerprint:
        return store
    old = resolve(out / CONFIG)
    difference = _difference(first.keys(old), first.keys(config))
    raise InputError(
        "--out",
        "must not hold the particles of another run",
        f"{out}, where {difference}",
        "choose another --out, or remove that directory",
    )


def _difference(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> str:
    """Name the first key that differs, with both values."""
    for key in [*old, *(k for k in new if k not in old)]:
        a, b = old.get(key), new.get(key)
        if a == b:
            continue
        if isinstance(a, Mapping) and isinstance(b, Mapping):
            return _difference(a, b, f"{prefix}{key}.")
        return f"{prefix}{key} is {a} and now {b}"
    return "a file that it reads has changed"


def write_config(out: Path, config: RunConfig) -> None:
    """Write the resolved run file; it appears whole or not at all."""
    temporary = out / f".{CONFIG}.part"
    temporary.write_text(config.to_toml(), encoding="utf-8")
    temporary.replace(out / CONFIG)
