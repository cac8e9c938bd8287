"""What several runs have in common is done once: a stage finished elsewhere with the same fingerprint is taken over."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ipsdist.runs.directory import STORE, has_store
from ipsdist.storage import Place, Store, adopt, place

__all__ = ["TAKEN", "take_over", "taken_over"]

TAKEN = "taken_over"
"""The attribute of a store that says which stages it took over, each with the name of the run that did it."""


def take_over(stage: str, store: Store, fingerprint: str, donors: Sequence[Path | Place]) -> bool:
    """Take a stage that the store lacks from the first of the donors that has it finished; tell whether one had.

    Donors are directories of runs. Equal fingerprints mean equal bits, so it does not show in any answer. Raises
    RunError when the disk refuses.
    """
    if _done(store, stage, fingerprint):
        return False
    for given in donors:
        donor = place(given)
        if not has_store(donor):
            continue
        other = Store.open(donor / STORE)
        if not _done(other, stage, fingerprint):
            continue
        # Before the work itself, so that a repeat after a kill says the same.
        store.set_attributes(**{TAKEN: {**(store.attributes.get(TAKEN) or {}), stage: donor.name}})
        if adopt(store, other, stage):
            return True
    told = store.attributes.get(TAKEN) or {}
    if stage in told:  # it is done here after all: a donor has lost it, or the keys have changed
        store.set_attributes(**{TAKEN: {name: run for name, run in told.items() if name != stage}})
    return False


def _done(store: Store, stage: str, fingerprint: str) -> bool:
    record = store.record(f"{stage}/done")
    return record is not None and record["fingerprint"] == fingerprint


def taken_over(out: Path | Place) -> dict[str, str]:
    """Return the stages that a run directory took over, each with the name of the run that did it."""
    told: dict[str, str] = Store.open(place(out) / STORE).attributes.get(TAKEN) or {}
    return told
