"""From what the user typed to a place."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

from ipsdist.model.errors import InputError
from ipsdist.storage.places.local import LocalPlace
from ipsdist.storage.places.place import Place
from ipsdist.storage.places.remote import RemotePlace

__all__ = ["is_url", "place"]

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_COLLAPSED = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/[^/]")


def is_url(text: object) -> bool:
    """Tell whether a text names a place by a URL."""
    return isinstance(text, str) and _URL.match(text) is not None


def place(where: str | Path | Place) -> Place:
    """Return the place of a path, or of a URL: ``s3://bucket/name``, ``file:///...``, or whatever fsspec knows.

    Nothing is connected to yet. Raises InputError for a URL that became a Path, or was given one slash.
    """
    if isinstance(where, Place):
        return where
    if not isinstance(where, str) or not is_url(where):
        if _COLLAPSED.match(str(where)):
            rule = "must have two slashes where it is a URL"
            if isinstance(where, Path):
                rule = "must be a text where it is a URL, because a Path loses a slash"
            raise InputError("out", rule, where, f"give {str(where).replace(':/', '://', 1)!r}")
        return LocalPlace(Path(where))
    if where.lower().startswith("file://"):
        return LocalPlace(Path(unquote(urlsplit(where).path)))
    scheme, _, rest = where.partition("://")
    bucket, _, key = rest.partition("/")
    return RemotePlace(f"{scheme}://{bucket}", "/".join(part for part in key.split("/") if part))
