"""Where a run is kept: the Zarr store, its records of finished work, the lock of its directory, and its files."""

from ipsdist.storage.adoption import adopt
from ipsdist.storage.lock import locked
from ipsdist.storage.store import FORMAT, Store
from ipsdist.storage.whole import write_whole

__all__ = ["FORMAT", "Store", "adopt", "locked", "write_whole"]
