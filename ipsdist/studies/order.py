"""Which runs have stages in common, and in what order they are done so that each stage is done once."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ipsdist.config import RunConfig
from ipsdist.model.errors import InputError
from ipsdist.runs.fingerprints import fingerprints
from ipsdist.runs.inputs import file_digests
from ipsdist.runs.order import STAGES

__all__ = ["Place", "places", "run_name"]

_LONGEST = 24


@dataclass(frozen=True)
class Place:
    """When a run is done: in wave ``wave``, after those whose stages it takes over."""

    wave: int
    donors: tuple[int, ...]
    """Numbers of the runs that do its stages first, in the order of the stages."""


def places(configs: Sequence[RunConfig | None]) -> list[Place | None]:
    """Return the place of every run (None stays None), by nothing but the configurations in their order.

    A stage belongs to the first run that has its fingerprint; the others are done in a later wave and take it over.
    """
    digests: dict[tuple[str | None, str | None], Mapping[str, str] | None] = {}
    owners: dict[str, int] = {}
    found: list[Place | None] = []
    for number, config in enumerate(configs):
        if config is None:
            found.append(None)
            continue
        files = (config.data.file, config.initial.file)
        if files not in digests:
            digests[files] = _digests(config)
        known = digests[files]
        if known is None:  # the run itself says what is wrong with its file
            found.append(Place(0, ()))
            continue
        prints = fingerprints(STAGES, config, known).values()
        donors = tuple(dict.fromkeys(o for p in prints if (o := owners.setdefault(p, number)) != number))
        waves = [place.wave for d in donors if (place := found[d]) is not None]
        found.append(Place(1 + max(waves, default=-1), donors))
    return found


def _digests(config: RunConfig) -> Mapping[str, str] | None:
    try:
        return file_digests(config)
    except (InputError, OSError):
        return None


def run_name(varied: Mapping[str, Any], seed: int) -> str:
    """Return the name of a run's directory: readable, and decided by nothing but its own values and seed."""
    last = [key.rpartition(".")[2] for key in varied]
    parts = []
    for key, short in zip(varied, last, strict=True):
        parts.append(f"{short if last.count(short) == 1 else key}-{_text(varied[key])}")
    return "_".join([*parts, f"seed-{seed}"])


def _text(value: Any) -> str:
    """Return a value as part of a file name, with a few digits of its hash where that does not tell all of it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    text = value if isinstance(value, str) else ""
    text = Path(text).stem if "/" in text and text.endswith((".npz", ".npy")) else text
    plain = re.sub(r"[^A-Za-z0-9.]+", "-", text).strip("-.")[:_LONGEST]
    if plain == value:
        return plain
    digest = hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:8]
    return f"{plain}-{digest}".strip("-")
