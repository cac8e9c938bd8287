"""Where a run is kept: the Zarr store, its records of finished work, and the lock of its directory."""

from ipsdist.storage.lock import locked
from ipsdist.storage.store import FORMAT, Store

__all__ = ["FORMAT", "Store", "locked"]
