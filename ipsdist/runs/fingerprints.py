"""Fingerprints: what decides the answer of a stage, as one short text. Workers, chunks and progress are in none."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from ipsdist.config import RunConfig
from ipsdist.stages.base import Stage

__all__ = ["fingerprints", "text_of"]


def text_of(values: Mapping[str, Any]) -> str:
    """Return the SHA-256 of JSON-able values, the same for any order of keys."""
    return hashlib.sha256(json.dumps(values, sort_keys=True, allow_nan=False).encode()).hexdigest()[:32]


def fingerprints(stages: Sequence[Stage], config: RunConfig, inputs: Mapping[str, str]) -> dict[str, str]:
    """Return the fingerprint of every stage: revision, its own keys, the fingerprints of what it reads.

    ``inputs`` are digests of the files that the run reads; they belong to the first stage.
    """
    found: dict[str, str] = {}
    for stage in stages:
        needs = {name: found[name] for name in stage.needs(config)}
        own = {"revision": stage.revision, "stage": stage.name, "keys": stage.keys(config), "needs": needs}
        found[stage.name] = text_of(own if needs else {**own, "inputs": dict(inputs)})
    return found
