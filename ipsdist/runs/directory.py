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
from ipsdist.storage import Place, Store, place

__all__ = [
    "CONFIG", "STORE", "configured", "existing", "has_run", "has_store", "make", "owned", "refuse_another",
    "write_config",
]  # fmt: skip

CONFIG = "config.toml"
STORE = "store.zarr"
_OWNER = "particles_fingerprint"
_OURS = {".lock", ".probe", STORE}
"""What a run that was stopped in its first moments may have left."""


def existing(out: Path | Place) -> Store | None:
    """Open the store of a directory to go on with it; None when there is none yet.

    Raises InputError for a directory that belongs to something else, for a path that can be none, and for a place that
    cannot be reached.
    """
    out = place(out)
    if out.is_local:
        _writable(out.path)
    try:
        if has_store(out):
            return Store.open(out / STORE, "r+")
        others = [name for name in out.names() if name not in _OURS]
    except OSError as error:
        raise _unreachable("--out", out, error) from None
    if others:
        fix = "choose another --out, or an empty directory"
        raise InputError("--out", "must be empty or the directory of a run", f"{out}, which holds {others[0]}", fix)
    return None


def _unreachable(argument: str, out: Path | Place, error: OSError) -> InputError:
    got = f"{out}: {error.strerror or error}"
    return InputError(argument, "must be a place that can be reached", got, "check its name and your access")


def _writable(out: Path) -> None:
    """Raise InputError where the first of the directory and its parents that is there is a file or read only."""
    for path in (out, *out.absolute().parents):
        if path.exists():
            if not path.is_dir():
                raise InputError("--out", "must be a directory", f"{path}, which is a file", "choose another --out")
            if not os.access(path, os.W_OK):
                raise InputError("--out", "must be in a directory that can be written to", path, "choose another --out")
            break


def has_store(out: Place) -> bool:
    """Tell whether there is a store in a directory."""
    return (out / STORE / "zarr.json").is_file()


def make(out: Path | Place) -> None:
    """Make the directory where it is missing. Raises InputError where the system does not let it."""
    try:
        place(out).make()
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise InputError(
            "--out", "must be a directory that can be made", f"{out}: {reason}", "choose another"
        ) from None


def has_run(store: Store) -> bool:
    """Tell whether a run has begun in this store; one fresh from an import has its particles only."""
    return _OWNER in store.attributes


def owned(out: Place, store: Store | None, setup: Setup, fingerprint: str) -> Store:
    """Return the store of a run, made if it has to be. Whose particles it holds stands in it from its first byte."""
    attributes = {"setup": setup.to_json(), _OWNER: fingerprint}
    if store is None:
        return Store.create(out / STORE, attributes)
    store.set_attributes(**attributes)
    return store


def refuse_another(out: Place, store: Store, config: RunConfig, first: Stage, fingerprint: str) -> None:
    """Raise InputError when the store holds the particles of another run, and say which key differs, and how."""
    if store.attributes.get(_OWNER) == fingerprint:
        return
    difference = "an earlier version made them differently"
    if (out / CONFIG).is_file():
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


def configured(out: Path | Place) -> Place:
    """Return the run file of a directory. Raises InputError when it is not that of a run."""
    file, fix = place(out) / CONFIG, "start one with `ipsdist run CASE --out DIR`"
    try:
        if file.is_file():
            return file
        if (place(out) / "study.toml").is_file():
            fix = f"its runs are in {place(out) / 'runs'}; `ipsdist study` goes on with it"
    except OSError as error:
        raise _unreachable("DIR", out, error) from None
    raise InputError("DIR", "must be the directory of a run", out, fix)


def write_config(out: Place, config: RunConfig) -> None:
    """Write the resolved run file; it appears whole or not at all."""
    (out / CONFIG).write_whole(config.to_toml().encode())
