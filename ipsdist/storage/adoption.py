"""Finished work of one store taken over by another: its arrays and records, without a second copy on the disk."""

from __future__ import annotations

import os
import shutil
import uuid
from pathlib import Path

from ipsdist.model.errors import RunError
from ipsdist.storage.layout import RECORDS, checked
from ipsdist.storage.store import Store

__all__ = ["adopt"]

_ARRIVING = ".arriving"
_link = os.link


def adopt(store: Store, other: Store, name: str) -> bool:
    """Take everything at and below ``name`` of another store, arrays first and then the records, all at one instant.

    Files are hard links where the file system has them, else copies. The two stores stay independent all the same:
    no file of a store is ever changed in place; what is written again replaces its file, and what is discarded loses
    its name here only. Returns False, with nothing taken, when the other store
    lost some of it meanwhile. Raises RunError when the disk refuses.
    """
    store.discard(name)
    waiting = store.path / _ARRIVING / uuid.uuid4().hex
    try:
        # A killed take-over leaves arrays without records, which count for nothing.
        for place in (Path(checked(name)), Path(RECORDS) / name):
            if (other.path / place).is_dir():
                _linked(other.path / place, waiting / place)
        store.group.require_group(RECORDS)
        for place in (Path(name), Path(RECORDS) / name):
            if (waiting / place).is_dir():
                (store.path / place).parent.mkdir(parents=True, exist_ok=True)
                (waiting / place).rename(store.path / place)
    except FileNotFoundError:
        store.discard(name)
        return False
    except OSError as error:
        raise RunError(f"cannot take {name} of {other.path} to {store.path}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(store.path / _ARRIVING, ignore_errors=True)
    return True


def _linked(source: Path, target: Path) -> None:
    """Make a tree of links to the files of another; a file that cannot be linked is copied."""
    for folder, _, files in os.walk(source):
        here = target / Path(folder).relative_to(source)
        here.mkdir(parents=True)
        for file in files:
            if file.endswith(".partial"):  # a write that is not over
                continue
            try:
                _link(Path(folder) / file, here / file)
            except FileNotFoundError:
                raise
            except OSError:
                shutil.copyfile(Path(folder) / file, here / file)
