"""Where a member can be reached: where its worker listens, and nowhere else."""

from __future__ import annotations

import socket
import ssl
from typing import Any

import psutil
from distributed.comm.addressing import get_address_host, parse_address

__all__ = ["Address", "contexts", "interface", "listen"]

Address = tuple[str, int]
"""Host and port; for threads of one process the name of the door and 0."""


def listen(worker: Any) -> tuple[socket.socket, Address] | None:
    """Open a port on the interface of a Dask worker; return it with the address to tell others.

    Workers that are threads of one process get None. Raises OSError when there is no such interface here.
    """
    if parse_address(worker.address)[0] == "inproc":
        return None
    host = get_address_host(worker.address)
    error: OSError = OSError(f"no address {host}")
    # A worker behind a translated address is called at one and listens on another.
    for place in dict.fromkeys((host, get_address_host(worker.listen_address))):
        try:
            found = socket.getaddrinfo(place, 0, type=socket.SOCK_STREAM)[0]
            opened = socket.socket(found[0], socket.SOCK_STREAM)
        except OSError as failed:
            error = failed
            continue
        try:
            opened.bind(found[4])
            opened.listen(128)
        except OSError as failed:
            opened.close()
            error = failed
            continue
        return opened, (host, opened.getsockname()[1])
    raise error


def interface(address: str) -> str | None:
    """Return the name of the network interface that has the address of a Dask worker; None where none has."""
    if parse_address(address)[0] == "inproc":
        wanted = "127.0.0.1"
    else:
        try:
            wanted = str(socket.getaddrinfo(get_address_host(address), 0)[0][4][0])
        except OSError:
            return None
    for name, own in psutil.net_if_addrs().items():
        if any(one.address.partition("%")[0] == wanted for one in own):
            return str(name)
    return None


def contexts(worker: Any) -> tuple[ssl.SSLContext | None, ssl.SSLContext | None]:
    """Return TLS as the worker itself uses it, for who listens and for who calls; None where its cluster has none."""
    if parse_address(worker.address)[0] not in {"tls", "wss"}:
        return None, None
    security = worker.security
    found = tuple(get("worker")["ssl_context"] for get in (security.get_listen_args, security.get_connection_args))
    if None in found:
        raise OSError("the worker has no certificate for TLS")
    return found
