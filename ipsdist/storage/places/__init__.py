"""Where files are kept: a directory of this machine, a bucket of an object store, or whatever fsspec knows."""

from ipsdist.storage.places.local import LocalPlace
from ipsdist.storage.places.opened import is_url, place
from ipsdist.storage.places.place import Buffer, Place
from ipsdist.storage.places.remote import RemotePlace

__all__ = ["Buffer", "LocalPlace", "Place", "RemotePlace", "is_url", "place"]
