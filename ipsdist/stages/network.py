"""[S]'s road to break points: a network fitted to the hats, and pieces between the places that its slopes propose."""

from __future__ import annotations

from typing import Any

import numpy as np

from ipsdist.config import RunConfig
from ipsdist.learning.breakpoints import pieces_fit
from ipsdist.learning.network import NetworkFit, fit_network, network_installed
from ipsdist.model.words import install
from ipsdist.runtime.threads import single_xla_thread
from ipsdist.stages.breaks import hat_basis, load_hats, pair_step
from ipsdist.stages.pieces import road_of
from ipsdist.storage import Store

__all__ = ["EXTRA", "load_network", "network_road"]

EXTRA = install("neural")
"""What brings the packages of the road."""
_GROUP = "kernel/network"
_ARRAYS = ("radii", "values", "gradient", "ranked", "loss")


def network_road(store: Store, config: RunConfig, diffusion: float) -> dict[str, Any] | None:
    """Fit the network and the pieces, write its curves, and return what the record says; None where it is off.

    Where no network was fitted, places and pieces are None and ``reason`` says why.
    """
    if config.fit.network == "off":
        return None
    if not network_installed():
        return _none(f"not tried: the packages of neural networks are not installed ({EXTRA})")
    basis, hats = hat_basis(store), load_hats(store, config, diffusion)
    with single_xla_thread():
        found = fit_network(hats, basis, diffusion, config.run.seed)
    if found.reason is not None:
        return _none(found.reason)
    _write(store, found)
    pieces = pieces_fit(
        hats,
        basis,
        config.terms(),
        found.candidates.tolist(),
        diffusion,
        criterion=config.fit.criterion,
        resolution=pair_step(store, diffusion),
    )
    road = road_of(pieces)
    kept = ("places", "intervals", "pieces", "score", "alternatives")
    others = [row for row in road["alternatives"] if row["places"] != road["places"]]
    return {
        **{name: road[name] for name in kept},
        "alternatives": others,
        "candidates": found.candidates.tolist(),
        "reason": None,
    }


def load_network(store: Store) -> dict[str, Any] | None:
    """Read what the record says of the road, with the curves of the network where there is one."""
    road = ((store.record("kernel/done") or {}).get("breakpoint_roads") or {}).get("network")
    if road is None or road["places"] is None:
        return road
    return {**road, **{name: store.read(f"{_GROUP}/{name}").tolist() for name in _ARRAYS if name != "loss"}}


def _none(reason: str) -> dict[str, Any]:
    return {"places": None, "pieces": None, "reason": reason}


def _write(store: Store, found: NetworkFit) -> None:
    parts = (found.radii, found.values, found.slopes, found.radii[found.ranked], found.loss)
    for name, values in zip(_ARRAYS, parts, strict=True):
        along = {"ranked": "rank", "loss": "turn"}.get(name, "distance")
        store.write(f"{_GROUP}/{name}", np.asarray(values, dtype=np.float64), dims=(along,))
