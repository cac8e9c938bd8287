"""The directory of a run: what may be written there, and what is refused before anything is."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ipsdist.config import RunConfig, resolve
from ipsdist.model.errors import InputError
from ipsdist.model.setup import Setup
from ipsdist.stages.base import Stage
from ipsdist.storage import Store

__all__ = ["CONFIG", "STORE", "configured", "create", "existing", "refuse_another", "write_config"]

CONFIG = "config.toml"
STORE = "store.zarr"
_OWNER = "particles_fingerprint"


def existing(out: Path) -> Store | None:
    """Open the store of a directory to go on with it; None when it holds none. Raises InputError for what is no run."""
    if out.exists() and not out.is_dir():
        raise InputError("--out", "must be a directory", f"the file {out}", "choose another --out")
    return Store.open(out / STORE, "r+") if (out / STORE / "zarr.json").exists() else None


def create(out: Path, setup: Setup, fingerprint: str) -> Store:
    """Make the store of a new run. Whose particles it holds stands in it from its first byte."""
    return Store.create(out / STORE, {"setup": setup.to_json(), _OWNER: fingerprint})


def refuse_another(out: Path, store: Store, config: RunConfig, first: Stage, fingerprint: str) -> None:
    """Raise InputError when the store holds the particles of another run, and say which key differs, and how."""
    if store.attributes[_OWNER] == fingerprint:
        return
    difference = "an earlier version made them differently"
    if (out / CONFIG).exists():
        difference = _difference(first.keys(resolve(out / CONFIG)), first.keys(config))
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


def configured(out: Path) -> Path:
    """Return the run file of a directory. Raises InputError when it is not that of a run."""
    if not (out / CONFIG).exists():
        raise InputError("DIR", "must be the directory of a run", out, "start one with `ipsdist run CASE --out DIR`")
    return out / CONFIG


def write_config(out: Path, config: RunConfig) -> None:
    """Write the resolved run file; it appears whole or not at all."""
    temporary = out / f".{CONFIG}.part"
    temporary.write_text(config.to_toml(), encoding="utf-8")
    temporary.replace(out / CONFIG)
