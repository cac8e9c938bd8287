"""Parts of a store that are found lost or damaged: what owns them is done again, once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from ipsdist.config import RunConfig
from ipsdist.stages.particles import PARTICLES
from ipsdist.storage import DamagedError, Store

__all__ = ["mended"]

T = TypeVar("T")


def mended(
    work: Callable[[], T], store: Store, config: RunConfig, stages: Sequence[str], tell: Callable[[str], None]
) -> T:
    """Return what ``work``, which does the stages that a store lacks, returns; do it again where it meets damage.

    What is discarded in between is the replica or else the stage that owns the damaged part; equal work gives equal
    bits, so what was made from it stays. Raises the DamagedError of what no stage makes, and of what
    is damaged again.
    """
    before: set[str] = set()
    while True:
        try:
            return work()
        except DamagedError as error:
            owner = _owner(error, config)
            if error.stage not in stages or owner in before:
                raise
            before.add(owner)
            tell(f"{error.what}; {owner} is done again")
            _forget(store, owner, error.stage)


def _forget(store: Store, owner: str, stage: str) -> None:
    """Discard a stage, or one replica of it; a kill on the way leaves nothing that passes for done."""
    if owner == stage:
        store.discard(stage)
        return
    store.discard(f"{stage}/done")
    store.commit(owner, {"fingerprint": "damaged"})
    name = owner.rpartition("/")[2]
    for record in store.records(stage):
        if record.startswith(f"{name}."):  # its epochs and blocks
            store.discard(f"{stage}/{record}")
    store.discard(owner)


def _owner(error: DamagedError, config: RunConfig) -> str:
    """Return what is to be done again: of simulated particles one replica, else a stage."""
    parts = error.name.split("/")
    of_replica = error.stage == PARTICLES.name and config.data.source != "import" and len(parts) > 2
    return "/".join(parts[:2]) if of_replica else error.stage
