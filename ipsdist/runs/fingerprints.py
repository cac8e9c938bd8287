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

    Keys at their default are left out, so that a key which a later version adds changes no fingerprint of before.
    ``inputs`` are digests of the files that the run reads; they belong to the first stage.
    """
    found: dict[str, str] = {}
    default = RunConfig.model_construct()
    for stage in stages:
        needs = {name: found[name] for name in stage.needs(config)}
        own = {
            "revision": stage.revision,
            "stage": stage.name,
            "keys": _changed(stage.keys(config), stage.keys(default)),
            "needs": needs,
        }
        found[stage.name] = text_of(own if needs else {**own, "inputs": dict(inputs)})
    return found


def _changed(values: Mapping[str, Any], default: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values that are not the default ones, sections by key."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        standard = default.get(key)
        if isinstance(value, Mapping) and isinstance(standard, Mapping):
            inner = _changed(value, standard)
            if inner:
                found[key] = inner
        elif value != standard:
            found[key] = value
    return found
