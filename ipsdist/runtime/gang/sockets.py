"""A link over a TCP connection, plain or within TLS: fixed headers and raw numbers, nothing else."""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import struct
import time
from collections.abc import Callable

from ipsdist.runtime.gang.links import BrokenError, Values

__all__ = ["SocketLink"]

_HEADER = struct.Struct("<QQ")
"""Number of the message on its link, and its bytes."""
_FAST = 1 << 14
"""Bytes below which a message is sent before anything is asked for: no buffer is too small for them."""

Views = list[memoryview]


class SocketLink:
    """A link over a connected socket that both ends have proved to be theirs."""

    def __init__(self, connection: socket.socket, peer: str, patience: float, alive: Callable[[], None]) -> None:
        """Take over a connection.

        ``peer`` names the other end in errors; after each ``patience`` seconds without a byte from it ``alive`` is
        called, which raises BrokenError when the other end does not answer there either.
        """
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket = connection
        self._tls = connection if isinstance(connection, ssl.SSLSocket) else None
        self._peer = peer
        self._patience = patience
        self._alive = alive
        self._shut = False
        self._polls = {mask: select.poll() for mask in (select.POLLIN, select.POLLOUT, select.POLLIN | select.POLLOUT)}
        for mask, poll in self._polls.items():
            poll.register(connection, mask)
        self._sent = 0
        self._got = 0
        self._header = bytearray(_HEADER.size)

    def swap(self, send: Values | None, receive: Values | None) -> None:
        """Send and receive at the same time; see ``Link``."""
        out: Views = []
        into: Views = []
        if send is not None:
            self._sent += 1
            out = [memoryview(_HEADER.pack(self._sent, send.nbytes)), send.data.cast("B")]
        if receive is not None:
            self._got += 1
            into = [memoryview(self._header), receive.data.cast("B")]
        try:
            self._move(out, into)
        except (OSError, ValueError) as error:
            raise BrokenError(f"lost {self._peer} ({type(error).__name__})") from error
        if self._shut:
            raise BrokenError("the gang was ended")

    def shut(self) -> None:
        """End the road from any thread."""
        self._shut = True
        with contextlib.suppress(OSError):
            # Not the method of an SSLSocket, which would take TLS off a connection that another thread reads.
            socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()

    def _move(self, out: Views, into: Views) -> None:
        heard = time.monotonic()
        asked = False
        due = len(into[1]) if into else None
        while out or into:
            wanted = select.POLLIN if into else 0
            if out:
                gone = self._push(out)
                if gone < 0:
                    wanted |= select.POLLIN
                elif out:
                    wanted |= select.POLLOUT
                if not (out or into):
                    return
            if asked or self._pending():
                got = self._pull(into) if into else 0
                if got:
                    heard = time.monotonic()
                    if due is not None and len(into) < 2:
                        self._check(due)
                        due = None
                    continue
            asked = True
            if self._polls[wanted].poll(1e3 * self._patience):
                continue
            if time.monotonic() - heard >= self._patience:
                self._alive()
                heard = time.monotonic()

    def _check(self, due: int) -> None:
        """Compare the header that has come with the bytes that are due."""
        number, count = _HEADER.unpack(self._header)
        if (number, count) != (self._got, due) and not self._shut:
            text = f"{self._peer} sent message {number} of {count} bytes where {self._got} of {due} was due"
            raise RuntimeError(f"{text}: members did unlike things")

    def _pending(self) -> bool:
        """Tell whether TLS holds bytes that the socket no longer shows."""
        return self._tls is not None and self._tls.pending() > 0

    def _push(self, out: Views) -> int:
        """Send what goes at once; -1 when TLS must receive first."""
        try:
            if self._tls is None:
                count = self._socket.sendmsg(out)
            elif len(out) > 1 and sum(map(len, out)) <= _FAST:
                # One record of TLS instead of two.
                out[:] = [memoryview(b"".join(out))]
                count = self._tls.send(out[0])
            else:
                count = self._tls.send(out[0])
        except (BlockingIOError, ssl.SSLWantWriteError):
            return 0
        except ssl.SSLWantReadError:
            return -1
        _drop(out, count)
        return count

    def _pull(self, into: Views) -> int:
        """Receive what is there; raise ConnectionError at its end."""
        try:
            if self._tls is None:
                count: int = self._socket.recvmsg_into(into)[0]
            else:
                count = self._tls.recv_into(into[0])
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return 0
        if not count:
            raise ConnectionResetError
        _drop(into, count)
        return count


def _drop(views: Views, count: int) -> None:
    """Take ``count`` bytes off the front."""
    while views and count >= len(views[0]):
        count -= len(views.pop(0))
    if count:
        views[0] = views[0][count:]
