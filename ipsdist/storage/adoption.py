"""Finished work of one store taken over by another: its arrays and records, on a disk without a second copy."""

from __future__ import annotations

import os
import shutil
import uuid
from pathlib import Path

from ipsdist.model.errors import RunError
from ipsdist.storage.layout import RECORDS, checked
from ipsdist.storage.places import RemotePlace
from ipsdist.storage.places.local import PARTIAL
from ipsdist.storage.store import Store

__all__ = ["adopt"]

_ARRIVING = ".arriving"
_link = os.link


def adopt(store: Store, other: Store, name: str) -> bool:
    """Take everything at and below ``name`` of another store, arrays first and then the records.

    On a disk the records appear at one instant, and files are hard links where the file system has them, else copies.
    The two stores stay independent all the same:
    no file of a store is ever changed in place; what is written again replaces its file, and what is discarded loses
    its name here only. Elsewhere objects are copied, the record that all is done last. Returns False, with nothing
    taken, when the other store lost some of it meanwhile. Raises RunError when the disk refuses.
    """
    store.discard(checked(name))
    try:
        if store.place.is_local and other.place.is_local:
            _by_links(store.place.path, other.place.path, name)
        else:
            _by_copies(store, other, name)
    except FileNotFoundError:
        store.discard(name)
        return False
    except OSError as error:
        raise RunError(f"cannot take {name} of {other.place} to {store.place}: {error.strerror or error}") from error
    return True


def _by_links(store: Path, other: Path, name: str) -> None:
    waiting = store / _ARRIVING / uuid.uuid4().hex
    try:
        # A killed take-over leaves arrays without records, which count for nothing.
        for place in (Path(name), Path(RECORDS) / name):
            if (other / place).is_dir():
                _linked(other / place, waiting / place)
        for place in (Path(name), Path(RECORDS) / name):
            if (waiting / place).is_dir():
                (store / place).parent.mkdir(parents=True, exist_ok=True)
                (waiting / place).rename(store / place)
    finally:
        shutil.rmtree(store / _ARRIVING, ignore_errors=True)


def _linked(source: Path, target: Path) -> None:
    """Make a tree of links to the files of another; a file that cannot be linked is copied."""
    for folder, _, files in os.walk(source):
        here = target / Path(folder).relative_to(source)
        here.mkdir(parents=True)
        for file in files:
            if file.endswith(PARTIAL):  # a write that is not over
                continue
            try:
                _link(Path(folder) / file, here / file)
            except FileNotFoundError:
                raise
            except OSError:
                shutil.copyfile(Path(folder) / file, here / file)


def _by_copies(store: Store, other: Store, name: str) -> None:
    for folder in (name, f"{RECORDS}/{name}"):
        source, target = other.place / folder, store.place / folder
        # Until the record that all is done is there, nothing of it counts.
        for file in sorted((file for file, _ in source.files()), key=lambda file: file.startswith("done/")):
            here, there = source / file, target / file
            if isinstance(here, RemotePlace) and isinstance(there, RemotePlace) and here.root == there.root:
                here.objects.copy(here.key, there.key)
            else:
                there.write_whole(here.read_bytes())
