"""A Dask cluster that somebody else runs, by the address of its scheduler or its scheduler file."""

# mypy: untyped-calls-exclude="distributed"

from __future__ import annotations

import asyncio
import contextlib
import json
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import distributed
from distributed.comm.addressing import parse_address
from distributed.comm.core import connect

from ipsdist.model.errors import InputError
from ipsdist.runtime.clusters import Tell
from ipsdist.runtime.clusters.encryption import certificates, speaks_tls
from ipsdist.runtime.clusters.starting import first_worker
from ipsdist.runtime.settings import setting

__all__ = ["address"]

_RULE = "must be the address or the file of a running Dask scheduler"
_START = "start one with `dask scheduler` and give the address it prints or its scheduler file"


@contextlib.contextmanager
def address(scheduler: str, tell: Tell) -> Iterator[distributed.Client]:
    """Connect. Raises InputError within seconds when nobody answers, TLS does not agree, or there is no worker."""
    found = _address_in(Path(scheduler)) if _is_file(scheduler) else scheduler
    shown = scheduler if found == scheduler else f"{scheduler} of a scheduler at {found}"
    _call(found, shown)
    with warnings.catch_warnings():
        # It warns of other versions there; they are refused later.
        warnings.simplefilter("ignore")
        client = distributed.Client(found, timeout=setting("connect-timeout"), set_as_default=False)
    with client:
        first_worker(client, "--scheduler", setting("workerless-timeout"), tell)
        yield client


def _is_file(scheduler: str) -> bool:
    """Tell a file from an address: it is there, or nothing but a file has such a name."""
    return Path(scheduler).is_file() or ("://" not in scheduler and ("/" in scheduler or scheduler.endswith(".json")))


def _address_in(file: Path) -> str:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))["address"]
    except FileNotFoundError:
        raise InputError("--scheduler", _RULE, f"{file}, which is not there", _START) from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        got = f"{file}, which is not a scheduler file ({type(error).__name__})"
        raise InputError("--scheduler", _RULE, got, _START) from error
    return str(found)


def _call(found: str, shown: str) -> None:
    """Raise InputError unless a scheduler answers there."""
    security = certificates()
    secret = _scheme(found, shown) == "tls"
    if secret and security["ssl_context"] is None:
        fix = "set distributed.comm.tls.ca-file and distributed.comm.tls.client in Dask's configuration"
        raise InputError("--scheduler", "by tls:// needs certificates", found, fix)
    if not secret and security["require_encryption"]:
        fix = "give its tls:// address, or unset distributed.comm.require-encryption"
        raise InputError("--scheduler", "must be encrypted, Dask's configuration says", found, fix)
    try:
        # A client that cannot connect takes a minute to give up and says so at length; a bare connection does not.
        with ThreadPoolExecutor(1) as thread:
            thread.submit(asyncio.run, _connected(found, security)).result()
    except (OSError, ValueError, TypeError, RuntimeError) as error:
        there = speaks_tls(found)
        if there is not None and there != secret:
            speaks, ask = ("TLS only", "tls") if there else ("no TLS", "tcp")
            fix = f"give {ask}://{found.rpartition('://')[2]}" + (
                ", with the certificates in distributed.comm.tls of Dask's configuration" if there else ""
            )
            raise InputError("--scheduler", _RULE, f"{shown}, which speaks {speaks}", fix) from error
        if there and secret:
            fix = "give its authority as distributed.comm.tls.ca-file, and a certificate that it knows"
            raise InputError(
                "--scheduler", _RULE, f"{shown}, which refuses this certificate, or is refused", fix
            ) from error
        end = "; the file may be of one that has ended" if shown != found else ""
        got = f"{shown}, which does not answer ({type(error).__name__})"
        raise InputError("--scheduler", _RULE, got, _START + end) from error


def _scheme(found: str, shown: str) -> str:
    try:
        scheme, rest = parse_address(found)
    except (TypeError, ValueError):
        scheme, rest = "", ""
    if not rest or scheme not in ("tcp", "tls", "ws", "wss", "ucx", "ucxx", "inproc"):
        raise InputError("--scheduler", _RULE, shown, _START)
    if scheme in ("tcp", "tls") and not rest.rstrip("/").rpartition(":")[2].isdecimal():
        raise InputError("--scheduler", _RULE, f"{shown}, which has no port", f"give {found}:8786, or its own port")
    return "tls" if scheme == "wss" else str(scheme)


async def _connected(found: str, security: dict[str, Any]) -> None:
    # Its own time-out does not end a connection that was accepted by something that never says a word.
    seconds = setting("connect-timeout")
    comm = await asyncio.wait_for(connect(found, timeout=seconds, **security), seconds + 1.0)
    comm.abort()
