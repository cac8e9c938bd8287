"""Machine code kept from process to process, in a folder that nobody but its user can write: what lies there is run.

The folder is ``ipsdist/cubin`` in the user's caches (``XDG_CACHE_HOME``, or ``~/.cache``), or ``cubin`` in the one that
``IPSDIST_CACHE_DIR`` names; ``off`` keeps nothing. Where it cannot be used, all goes on without it.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from ipsdist.arrays.compiling import compile_text, options_for

__all__ = ["MOST", "machine_code"]

MOST = 64
"""Files that are kept; of more, those that were used least lately are removed."""
_VARIABLE, _OFF = "IPSDIST_CACHE_DIR", ("", "off")
_MARK = b"ipsdist machine code 1\n"
_LENGTH, _DIGEST = 8, hashlib.sha256().digest_size
_KEPT, _NEW = ".cubin", ".new"
_FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_READ_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
_WRITE_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC


def machine_code(text: str, architecture: str, nvrtc: Any) -> bytes:
    """Return the machine code of a text, from the folder where it was compiled before; raises as `compile_text`."""
    with _folder() as folder:
        key = _key(text, architecture, nvrtc.getVersion())
        kept = None if folder is None else _read(folder, key)
        if kept is not None:
            return kept
        code, _ = compile_text(text, architecture, nvrtc)
        if folder is not None:
            with suppress(OSError):
                _write(folder, key, code)
                _trim(folder)
        return code


def _key(text: str, architecture: str, compiler: tuple[int, int]) -> str:
    """Return the name of what this text becomes: all that it depends on, each with its length before it."""
    parts = text, *options_for(architecture), f"NVRTC {compiler[0]}.{compiler[1]}", f"ipsdist {_version()}"
    digest = hashlib.sha256()
    for part in (one.encode() for one in parts):
        digest.update(len(part).to_bytes(_LENGTH, "little") + part)
    return digest.hexdigest()


@cache
def _version() -> str:
    try:
        return version("ipsdist")
    except PackageNotFoundError:
        return "unknown"


@contextmanager
def _folder() -> Iterator[int | None]:
    """Yield the folder, open: whoever puts another in its place later is not heard. None where it cannot be used."""
    try:
        path = _path()
        if path is not None:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder = None if path is None else os.open(path, _FOLDER_FLAGS)
    except OSError:
        folder = None
    if folder is None:
        yield None
        return
    try:
        yield folder if _is_ours(os.fstat(folder)) else None
    finally:
        os.close(folder)


def _path() -> Path | None:
    named = os.environ.get(_VARIABLE)
    if named is not None and named.lower() in _OFF:
        return None
    caches = os.environ.get("XDG_CACHE_HOME", "")
    try:
        if named is not None:
            return Path(named).expanduser() / "cubin"
        # A relative one is to be ignored, says the standard of these folders.
        home = Path(caches) if os.path.isabs(caches) else Path.home() / ".cache"
    except RuntimeError:  # there is no home
        return None
    return home / "ipsdist" / "cubin"


def _is_ours(found: os.stat_result) -> bool:
    """Tell whether only this user can have written it."""
    return found.st_uid == os.geteuid() and not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def _read(folder: int, key: str) -> bytes | None:
    """Return what is kept by a name; None where it is not there, or not whole."""
    try:
        with os.fdopen(os.open(key + _KEPT, _READ_FLAGS, dir_fd=folder), "rb") as file:
            if not _is_ours(os.fstat(file.fileno())):
                return None
            content = file.read()
            with suppress(OSError):
                os.utime(file.fileno())  # it was used
    except OSError:
        return None
    code = content[len(_MARK) + _LENGTH + _DIGEST :]
    return code if code and content == _packed(key, code) else None


def _packed(key: str, code: bytes) -> bytes:
    """Return the content of a file: a mark, the length, the digest of name and code, the code."""
    digest = hashlib.sha256(key.encode() + code).digest()
    return _MARK + len(code).to_bytes(_LENGTH, "little") + digest + code


def _write(folder: int, key: str, code: bytes) -> None:
    """Write a file whole, under another name first: two processes may do it at once."""
    name = f"{key}.{secrets.token_hex(8)}{_NEW}"
    file = os.open(name, _WRITE_FLAGS, 0o600, dir_fd=folder)
    try:
        with os.fdopen(file, "wb") as opened:
            opened.write(_packed(key, code))
        os.rename(name, key + _KEPT, src_dir_fd=folder, dst_dir_fd=folder)
    except BaseException:
        with suppress(OSError):
            os.unlink(name, dir_fd=folder)
        raise


def _trim(folder: int) -> None:
    """Remove the oldest of too many files, those that dead processes left too; another process may be quicker."""
    ages = []
    for name in os.listdir(folder):
        if name.endswith((_KEPT, _NEW)):
            with suppress(OSError):
                ages.append((os.stat(name, dir_fd=folder, follow_symlinks=False).st_mtime_ns, name))
    for _, name in sorted(ages)[: max(0, len(ages) - MOST)]:
        with suppress(OSError):
            os.unlink(name, dir_fd=folder)
