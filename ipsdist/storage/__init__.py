"""Where a run is kept: its place, the Zarr store with its records of finished work, the lock, and its files."""

from ipsdist.storage.adoption import adopt
from ipsdist.storage.damage import DamagedError
from ipsdist.storage.lock import locked
from ipsdist.storage.places import Place, is_url, place
from ipsdist.storage.store import FORMAT, Store
from ipsdist.storage.whole import write_whole

__all__ = ["FORMAT", "DamagedError", "Place", "Store", "adopt", "is_url", "locked", "place", "write_whole"]
