"""How two members prove to each other that they were told the same secret, before a number is exchanged."""

from __future__ import annotations

import hashlib
import hmac
import os
import socket
import ssl
import struct
import time

__all__ = ["ASK", "JOIN", "greet", "welcome"]

JOIN = 1
"""The connection becomes a link."""
ASK = 2
"""The connection only asks whether somebody is there."""

_MAGIC = b"ipsdgng1"
_NONCE = 32
_HELLO = struct.Struct("<8sIII")
"""Magic, what for, rank of the caller, rank of the one that is called."""


def greet(
    address: tuple[str, int],
    *,
    secret: bytes,
    purpose: int,
    ranks: tuple[int, int],
    tls: ssl.SSLContext | None,
    timeout: float,
) -> socket.socket:
    """Call another member and return the connection, once both have proved themselves.

    ``ranks`` are the caller's and the other's. Raises OSError when it does not answer as it should.
    """
    end = time.monotonic() + timeout
    connection = socket.create_connection(address, timeout=timeout)
    try:
        if tls is not None:
            connection = tls.wrap_socket(connection, server_hostname=address[0])
        challenge = _receive(connection, _NONCE, end)
        own = os.urandom(_NONCE)
        hello = _HELLO.pack(_MAGIC, purpose, *ranks)
        connection.sendall(hello + own + _proof(secret, b"calls", challenge, own, hello))
        _check(_receive(connection, _NONCE, end), _proof(secret, b"hears", own, challenge, hello))
        connection.settimeout(timeout)
    except BaseException:
        connection.close()
        raise
    return connection


def welcome(
    connection: socket.socket, *, secret: bytes, tls: ssl.SSLContext | None
) -> tuple[socket.socket, int, int, int]:
    """Answer a caller; return the connection, what it is for, the caller's rank and the one that it calls.

    Raises OSError for whoever does not know the secret, or has not proved it when the socket's time-out has passed,
    however it drips.
    """
    end = time.monotonic() + (connection.gettimeout() or 0.0)
    try:
        if tls is not None:
            connection = tls.wrap_socket(connection, server_side=True)
        challenge = os.urandom(_NONCE)
        connection.sendall(challenge)
        hello = _receive(connection, _HELLO.size, end)
        other = _receive(connection, _NONCE, end)
        _check(_receive(connection, _NONCE, end), _proof(secret, b"calls", challenge, other, hello))
        magic, purpose, rank, called = _HELLO.unpack(hello)
        if magic != _MAGIC or purpose not in {JOIN, ASK}:
            raise ConnectionError("not a member of a gang")
        connection.sendall(_proof(secret, b"hears", other, challenge, hello))
    except BaseException:
        connection.close()
        raise
    return connection, purpose, rank, called


def _proof(secret: bytes, *said: bytes) -> bytes:
    return hmac.new(secret, b"".join(said), hashlib.sha256).digest()


def _check(found: bytes, expected: bytes) -> None:
    if not hmac.compare_digest(found, expected):
        raise ConnectionError("the other end does not know the secret")


def _receive(connection: socket.socket, count: int, end: float) -> bytes:
    found = b""
    while len(found) < count:
        # The time-out of a socket is that of one call; a caller that sends byte by byte would stay for ever.
        connection.settimeout(max(end - time.monotonic(), 1e-3))
        more = connection.recv(count - len(found))
        if not more:
            raise ConnectionResetError("the other end hung up")
        found += more
    return found
