"""The directory of a run: what may be written there, and what is refused before anything is."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ipsdist.config import RunConfig, resolve
from ipsdist.model.errors import InputError
from ipsdist.model.setup import Setup
from ipsdist.stages.base import Stage
from ipsdist.storage import Store, write_whole

__all__ = ["CONFIG", "STORE", "configured", "existing", "has_run", "make", "owned", "refuse_another", "write_config"]

CONFIG = "config.toml"
STORE = "store.zarr"
_OWNER = "particles_fingerprint"
_OURS = {".lock", STORE}
"""What a run that was stopped in its first moments may have left."""


def existing(out: Path) -> Store | None:
    """Open the store of a directory to go on with it; None when there is none yet.

    Raises InputError for a directory that belongs to something else, and for a path that can be none.
    """
    for path in (out, *out.absolute().parents):
        if path.exists():
            if not path.is_dir():
                raise InputError("--out", "must be a directory", f"{path}, which is a file", "choose another --out")
            if not os.access(path, os.W_OK):
                raise InputError("--out", "must be in a directory that can be written to", path, "choose another --out")
            break
    if (out / STORE / "zarr.json").exists():
        return Store.open(out / STORE, "r+")
    others = sorted(p.name for p in out.iterdir() if p.name not in _OURS) if out.exists() else []
    if others:
        fix = "choose another --out, or an empty directory"
        raise InputError("--out", "must be empty or the directory of a run", f"{out}, which holds {others[0]}", fix)
    return None


def make(out: Path) -> None:
    """Make the directory where it is missing. Raises InputError where the system does not let it."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise InputError(
            "--out", "must be a directory that can be made", f"{out}: {reason}", "choose another"
        ) from None


def has_run(store: Store) -> bool:
    """Tell whether a run has begun in this store; one fresh from an import has its particles only."""
    return _OWNER in store.attributes


def owned(out: Path, store: Store | None, setup: Setup, fingerprint: str) -> Store:
    """Return the store of a run, made if it has to be. Whose particles it holds stands in it from its first byte."""
    attributes = {"setup": setup.to_json(), _OWNER: fingerprint}
    if store is None:
        return Store.create(out / STORE, attributes)
    store.set_attributes(**attributes)
    return store


def refuse_another(out: Path, store: Store, config: RunConfig, first: Stage, fingerprint: str) -> None:
    """Raise InputError when the store holds the particles of another run, and say which key differs, and how."""
    if store.attributes.get(_OWNER) == fingerprint:
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
    write_whole(out / CONFIG, config.to_toml().encode())
