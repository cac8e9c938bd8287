"""Objects of Amazon S3, or of a store that speaks its protocol, by obstore."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any

from ipsdist.storage.places.place import Buffer

__all__ = ["S3Objects"]

_WAITS = {"init_backoff": timedelta(seconds=0.5), "max_backoff": timedelta(seconds=5), "base": 2.0}
_PATIENT = {"max_retries": 30, "retry_timeout": timedelta(seconds=45), "backoff": _WAITS}
"""For a store that has answered before: its link may be down for a while."""
_HASTY = {"max_retries": 3, "retry_timeout": timedelta(seconds=5)}
"""For the first word: a wrong address shall be said soon."""
_TIMES = {"connect_timeout": "10 seconds", "timeout": "300 seconds"}
_KEYS = "; there are no keys: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
_ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")


class S3Objects:
    """One bucket. Endpoint, region and keys come from the environment: ``AWS_ENDPOINT_URL`` and the like."""

    def __init__(self, root: str) -> None:
        from obstore.store import S3Store

        endpoint = next((os.environ[name] for name in _ENDPOINTS if os.environ.get(name)), None)
        options: dict[str, Any] = {"client_options": dict(_TIMES), **_credentials()}
        if endpoint is not None:
            options["endpoint"] = endpoint
            if endpoint.startswith("http://"):
                options["client_options"]["allow_http"] = True  # who names such an endpoint wants it
        self._root = root
        self._hint = "" if _has_keys(options) else _KEYS
        self._options = {**options, "retry_config": _PATIENT}
        self._patient = S3Store.from_url(root, **self._options)
        self._store = S3Store.from_url(root, **options, retry_config=_HASTY)  # type: ignore[arg-type]

    def has(self, key: str) -> bool:
        """Tell whether there is an object of this key."""
        try:
            with self._told(key):
                self._store.head(key)
        except FileNotFoundError:
            return False
        return True

    def get(self, key: str) -> bytes:
        """Return an object."""
        with self._told(key):
            return self._store.get(key).bytes().to_bytes()

    def put(self, key: str, content: Buffer) -> None:
        """Write an object."""
        with self._told(key):
            self._store.put(key, content)

    def create(self, key: str, content: bytes) -> bool:
        """Write an object unless there is one: a conditional put."""
        from obstore.exceptions import AlreadyExistsError

        try:
            with self._told(key):
                self._store.put(key, content, mode="create")
        except AlreadyExistsError:
            return False
        return True

    def children(self, key: str) -> list[tuple[str, bool]]:
        """Return what lies right below, and whether it has more below."""
        with self._told(key):
            found = self._store.list_with_delimiter(key or None)
        objects = [(meta["path"].rpartition("/")[2], False) for meta in found["objects"]]
        return objects + [(prefix.rstrip("/").rpartition("/")[2], True) for prefix in found["common_prefixes"]]

    def below(self, key: str) -> Iterator[tuple[str, int]]:
        """Yield key and size of every object below."""
        with self._told(key):
            for page in self._store.list(key or None):
                yield from ((meta["path"], meta["size"]) for meta in page)

    def delete(self, keys: Sequence[str]) -> None:
        """Delete objects, up to a thousand in one request: the caller cuts where order counts."""
        with self._told(keys[0] if keys else ""), contextlib.suppress(FileNotFoundError):
            self._store.delete(list(keys))

    def remove(self, key: str) -> None:
        """Delete an object and all below it."""
        self.delete([*(below for below, _ in self.below(key)), *([key] if key else [])])

    def copy(self, key: str, target: str) -> None:
        """Copy an object within the bucket."""
        with self._told(key):
            self._store.copy(key, target)

    def modified(self, key: str) -> float:
        """Return when an object was last written."""
        with self._told(key):
            return self._store.head(key)["last_modified"].timestamp()

    def zarr_store(self, key: str) -> Any:
        """Return a store of Zarr for what lies below."""
        from obstore.store import S3Store
        from zarr.storage import ObjectStore

        return ObjectStore(S3Store.from_url(f"{self._root}/{key}", **self._options), read_only=True)

    @contextlib.contextmanager
    def _told(self, key: str) -> Iterator[None]:
        """Turn errors of the store into OSError with one line that says what and where."""
        from obstore.exceptions import AlreadyExistsError, BaseError, PermissionDeniedError, UnauthenticatedError

        try:
            yield
            self._store = self._patient
        except (AlreadyExistsError, OSError):
            raise
        except (PermissionDeniedError, UnauthenticatedError) as error:
            raise PermissionError(errno.EACCES, _line(error), f"{self._root}/{key}") from error
        except BaseError as error:
            raise OSError(errno.EIO, _line(error) + self._hint, f"{self._root}/{key}") from error


def _line(error: Exception) -> str:
    """Return what an error of obstore says, without the dump behind it."""
    return str(error).split("\n\nDebug source", maxsplit=1)[0].partition("<?xml")[0].strip(" \n:")


def _has_keys(options: dict[str, Any]) -> bool:
    """Tell whether keys are known, or none are needed; those that a machine itself has are asked for later."""
    known = "credential_provider" in options
    return known or any(os.environ.get(name) for name in ("AWS_ACCESS_KEY_ID", "AWS_SKIP_SIGNATURE"))


def _credentials() -> dict[str, Any]:
    """Return what finds the keys of a profile (~/.aws) where the environment has none and boto3 is there."""
    if os.environ.get("AWS_ACCESS_KEY_ID") or os.environ.get("AWS_SKIP_SIGNATURE"):
        return {}
    try:
        import boto3
        from obstore.auth.boto3 import Boto3CredentialProvider

        session = boto3.Session()
        return {"credential_provider": Boto3CredentialProvider(session)} if session.get_credentials() else {}
    except Exception:  # no boto3, or no profile: obstore looks for the keys of the machine itself
        return {}
