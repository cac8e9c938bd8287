"""Doors: who is let in, what is said when a peer goes, and that nothing is left behind."""

from __future__ import annotations

import contextlib
import gc
import socket
import ssl
import struct
import threading
import time
from types import SimpleNamespace
from typing import Any

import distributed
import numpy as np
import psutil
import pytest

from ipsdist.runtime.gang import doors
from ipsdist.runtime.gang.greeting import ASK, JOIN, greet
from ipsdist.runtime.gang.links import BrokenError
from ipsdist.runtime.gang.places import listen
from ipsdist.runtime.gang.reduction import Gang
from tests.runtime.gang.hall import hall


def total(gang: Gang) -> int:
    """Add the ranks once."""
    return int(gang.add(np.array([gang.rank]))[0])


def forever(gang: Gang) -> None:
    """Add until the gang ends."""
    while True:
        total(gang)


@pytest.fixture(scope="module")
def certificates() -> Any:
    pytest.importorskip("cryptography", reason="makes the certificates")
    return distributed.Security.temporary()


@pytest.fixture
def security(request: pytest.FixtureRequest) -> Any:
    """What a worker has: certificates in tests of TLS only."""
    scheme = request.node.callspec.params.get("scheme") if hasattr(request.node, "callspec") else "tls"
    return request.getfixturevalue("certificates") if scheme == "tls" else distributed.Security()


def test_tls_carries_short_and_long_arrays(security: Any) -> None:
    """With the worker's own certificates, and more bytes than any buffer holds in both directions at once."""
    with hall(3, "tls", security=security) as gang:
        answers = gang.all(lambda one: (total(one), one.add(np.full(400_000, one.rank)).sum()))
    assert answers == [(3, 1_200_000)] * 3


def test_without_a_certificate_no_peer_is_reached_in_a_cluster_with_tls(security: Any) -> None:
    """Neither in the clear nor with a certificate of somebody else's."""
    with hall(1, "tls", security=security) as gang:
        door, entry = gang.doors[0], gang.entry
        strange = distributed.Security.temporary().get_connection_args("worker")["ssl_context"]
        for tls in (None, strange):
            with pytest.raises((TimeoutError, ConnectionError, ssl.SSLError)):
                greet(door.address, secret=entry.secret, purpose=JOIN, ranks=(1, 0), tls=tls, timeout=2.0)
        own = security.get_connection_args("worker")["ssl_context"]
        greet(door.address, secret=entry.secret, purpose=ASK, ranks=(1, 0), tls=own, timeout=30.0).close()


def test_a_cluster_with_tls_and_a_worker_without_certificate_opens_no_door() -> None:
    """Rather than to speak in the clear."""
    with pytest.raises(OSError, match="no certificate"), hall(1, "tls"):
        pass


@pytest.mark.parametrize("scheme", ["tcp", "tls"])
def test_who_does_not_know_the_secret_is_not_let_in(scheme: str, security: Any) -> None:
    """And learns nothing; the gang works on. A door shows itself to those only who know it, too."""
    with hall(2, scheme, security=security) as gang:
        tls = security.get_connection_args("worker")["ssl_context"] if scheme == "tls" else None
        for purpose in (ASK, JOIN):
            with pytest.raises(ConnectionError):
                greet(gang.doors[0].address, secret=b"guess", purpose=purpose, ranks=(1, 0), tls=tls, timeout=30.0)
        assert not gang.doors[0]._links
        assert gang.all(total) == [1, 1]


def test_strangers_that_send_noise_or_nothing_do_no_harm(monkeypatch: pytest.MonkeyPatch) -> None:
    """Members wait in line while more of them call than are heard at the same time."""
    monkeypatch.setattr("ipsdist.runtime.gang.doors._PROOF_SECONDS", 0.5)
    monkeypatch.setattr("ipsdist.runtime.gang.doors._STRANGERS", 8)
    with hall(2) as gang:
        silent = [socket.create_connection(gang.doors[0].address) for _ in range(20)]
        noisy = socket.create_connection(gang.doors[0].address)
        noisy.sendall(struct.pack("<Q", 2**60) * 100)
        try:
            assert gang.all(total) == [1, 1]
        finally:
            for connection in (*silent, noisy):
                connection.close()


def test_a_recorded_greeting_does_not_open_the_door_again() -> None:
    """Each door asks anew, so that what a listener on the wire has heard is worth nothing."""
    with hall(1) as gang:
        heard = bytearray()
        middle = socket.create_server(("127.0.0.1", 0))

        def overhear() -> None:
            caller = middle.accept()[0]
            door = socket.create_connection(gang.doors[0].address)
            caller.sendall(door.recv(32))
            heard.extend(caller.recv(1000))
            door.sendall(heard)
            caller.sendall(door.recv(32))

        thread = threading.Thread(target=overhear)
        thread.start()
        own = {"secret": gang.entry.secret, "purpose": JOIN, "ranks": (1, 0), "tls": None, "timeout": 30.0}
        greet(middle.getsockname(), **own).close()
        thread.join()
        middle.close()
        with socket.create_connection(gang.doors[0].address) as again:
            again.recv(32)
            again.sendall(heard)
            assert again.recv(32) == b""


@pytest.mark.parametrize("scheme", ["tcp", "tls", "inproc"])
def test_a_member_that_goes_is_noticed_at_once(scheme: str, security: Any) -> None:
    """All others raise within a second or two, not after the time-out."""
    with hall(5, scheme, security=security) as gang:

        def work(one: Gang) -> None:
            for _ in range(20):
                total(one)
            if one.rank == 3:
                raise ZeroDivisionError
            forever(one)

        began = time.monotonic()
        answers = gang.all(work)
    assert time.monotonic() - began < 10
    assert [type(answer) for answer in answers] == [BrokenError] * 3 + [ZeroDivisionError, BrokenError]


@pytest.mark.parametrize("scheme", ["tcp", "inproc"])
def test_a_member_that_never_comes_is_noticed(scheme: str) -> None:
    """Its door has closed before anybody had a link to it."""
    with hall(2, scheme) as gang:
        gang.doors[0].close()
        with pytest.raises(BrokenError, match="lost member 0"):
            gang.member(1, total)
    with hall(2, scheme, timeout=2.0) as gang:
        gang.doors[1].close()
        with pytest.raises(BrokenError, match="lost member 1"):
            gang.member(0, total)


@pytest.mark.parametrize("scheme", ["tcp", "inproc"])
def test_a_slow_member_that_still_answers_is_waited_for(scheme: str) -> None:
    """Silence on a link breaks nothing while the door of the other is answered."""
    with hall(2, scheme, timeout=0.6) as gang:

        def work(one: Gang) -> int:
            if one.rank:
                time.sleep(1.5)
            total(one)
            if not one.rank:
                time.sleep(1.5)
            return total(one)

        assert gang.all(work) == [1, 1]


def test_a_member_that_answers_nowhere_is_lost_after_the_time_out() -> None:
    """As a machine that hangs or is cut off: its port takes calls, and nobody says a word."""
    with hall(2, timeout=1.0) as gang, socket.create_server(("127.0.0.1", 0)) as deaf:
        gang.doors[0].address = gang.doors[1].address = deaf.getsockname()
        for rank in (0, 1):
            began = time.monotonic()
            with pytest.raises(BrokenError, match=rf"lost member {1 - rank} at 127.0.0.1:\d+ \(did not answer\)"):
                gang.member(rank, total)
            assert 0.9 <= time.monotonic() - began < 10


def test_addresses_of_ipv6() -> None:
    """As a worker has them, in brackets."""
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6")
    with hall(2, host="[::1]") as gang:
        assert gang.doors[0].address[0] == "::1"
        assert gang.all(total) == [1, 1]


def test_a_worker_of_a_foreign_address_listens_where_it_can() -> None:
    """Where addresses are translated it is called at one and listens on another; nowhere else."""
    worker = SimpleNamespace(address="tcp://192.0.2.7:1", listen_address="tcp://127.0.0.1:1")
    opened = listen(worker)
    assert opened is not None
    port, address = opened
    assert address == ("192.0.2.7", port.getsockname()[1])
    assert port.getsockname()[0] == "127.0.0.1"
    port.close()
    with pytest.raises(OSError, match=r"[Cc]annot assign"):
        listen(SimpleNamespace(address="tcp://192.0.2.7:1", listen_address="tcp://192.0.2.7:1"))


@pytest.mark.parametrize("scheme", ["tcp", "tls"])
def test_a_link_that_falls_silent_is_lost_after_the_time_out(scheme: str, security: Any) -> None:
    """As when a machine hangs, or the road to it is cut, after they have spoken."""
    with hall(2, scheme, 1.0, security) as gang, socket.create_server(("127.0.0.1", 0)) as deaf:
        assert gang.all(total) == [1, 1]
        gang.doors[1].address = deaf.getsockname()
        began = time.monotonic()
        with pytest.raises(BrokenError, match=r"lost member 1 at 127.0.0.1:\d+ \(did not answer\)"):
            gang.member(0, total)
        assert 0.9 <= time.monotonic() - began < 10


@pytest.mark.parametrize("scheme", ["tcp", "tls", "inproc"])
def test_a_gang_that_the_driver_lets_go_ends(scheme: str, security: Any) -> None:
    """Its members raise within a second or so, wherever they wait, and cannot begin again."""
    with hall(3, scheme, security=security) as gang:
        timer = threading.Timer(0.3, lambda: [event.set() for event in gang.held])
        timer.start()
        answers = gang.all(forever)
        assert [type(answer) for answer in answers] == [BrokenError] * 3
        assert [type(answer) for answer in gang.all(total)] == [BrokenError] * 3


def test_memory_goes_with_the_gang() -> None:
    """At once when the member is idle, else when it has ended."""
    with hall(1) as gang:
        gang.doors[0].memory["ballast"] = np.ones(10)
        gang.doors[0].close()
        assert not gang.doors[0].memory

    with hall(1) as gang:
        own = gang.doors[0]
        own.memory["ballast"] = np.ones(10)

        def work(one: Gang) -> bool:
            own.close()
            return "ballast" in own.memory

        assert gang.member(0, work)
        assert not own.memory


@pytest.mark.parametrize("scheme", ["tcp", "inproc"])
def test_doors_open_no_other_port_and_leave_nothing(scheme: str) -> None:
    """Ports on the worker's interface only, none in memory; threads and files are as before after many gangs."""
    this = psutil.Process()

    def listening() -> set[str]:
        return {c.laddr.ip for c in this.net_connections() if c.status == psutil.CONN_LISTEN and c.laddr.port in ports}

    def once() -> None:
        with hall(3, scheme) as gang:
            ports.update(door.address[1] for door in gang.doors)
            assert gang.all(total) == [3, 3, 3]
            assert listening() == ({"127.0.0.1"} if scheme == "tcp" else set())

    ports: set[int] = set()
    once()
    settle(lambda: not listening())
    files, threads = this.num_fds(), threading.active_count()
    for _ in range(10):
        once()
    settle(lambda: this.num_fds() <= files and threading.active_count() <= threads)


def settle(right: Any) -> None:
    """Wait until something is true; fail when it does not become so."""
    end = time.monotonic() + 20
    while not right():
        gc.collect()
        assert time.monotonic() < end
        time.sleep(0.05)


def test_strangers_that_drip_are_shown_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """A byte now and then must not keep the places of those who wait to prove themselves."""
    monkeypatch.setattr(doors, "_PROOF_SECONDS", 1.0)
    stop = threading.Event()

    def drip(strangers: list[socket.socket]) -> None:
        while not stop.wait(0.2):
            for stranger in strangers:
                with contextlib.suppress(OSError):
                    stranger.sendall(b"x")

    with hall(2, timeout=30.0) as gang, contextlib.ExitStack() as own:
        strangers = [
            own.enter_context(socket.create_connection(gang.doors[0].address)) for _ in range(doors._STRANGERS)
        ]
        dripping = threading.Thread(target=drip, args=(strangers,))
        dripping.start()
        try:
            assert gang.all(lambda member: int(member.add(np.array([1]))[0])) == [2, 2]
        finally:
            stop.set()
            dripping.join()


def test_a_caller_for_another_member_gets_no_link() -> None:
    """Its address was wrong; whether it calls before this member knows its rank, or after."""
    with hall(3) as gang, contextlib.ExitStack() as own:
        for known in (False, True):
            if known:
                with gang.doors[1].sitting(gang.seat(1)):
                    assert not gang.doors[1]._links
            given = {"secret": gang.entry.secret, "purpose": JOIN, "ranks": (2, 0), "tls": None, "timeout": 5.0}
            astray = own.enter_context(contextlib.closing(greet(gang.doors[1].address, **given)))
            if known:
                assert astray.recv(1) == b""
        assert gang.all(lambda member: int(member.add(np.array([1]))[0])) == [3, 3, 3]
