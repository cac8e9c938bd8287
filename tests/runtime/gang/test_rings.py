"""Rings of the members' cards: the sums, when all go without, and how a member that waits hears of an end."""

from __future__ import annotations

import os
import threading
import time
from typing import Any

import numpy as np
import pytest

from ipsdist.arrays import RingError
from ipsdist.arrays.nccl import stay_on
from ipsdist.runtime.gang import rings
from ipsdist.runtime.gang.links import BrokenError
from ipsdist.runtime.gang.places import interface
from ipsdist.runtime.gang.reduction import Gang
from tests.rings import Nccl, RingDevice
from tests.runtime.gang.hall import hall


@pytest.fixture(autouse=True)
def _apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """No failure is kept for the next test, and no choice of an interface."""
    monkeypatch.setattr(rings, "_failed", [0])
    monkeypatch.setenv("NCCL_SOCKET_IFNAME", "lo")
    monkeypatch.setattr(rings, "_CREATION_SECONDS", 20.0)


def sums(gang: Gang, device: Any, length: int = 5) -> Any:
    """Return what a ring adds: None where there is none, and `add` still works."""
    ring = gang.ring(device)
    assert int(gang.add(np.array([gang.rank]))[0]) == gang.size * (gang.size - 1) // 2
    if ring is None:
        return None
    found = []
    for number in range(3):
        there = device.array(
            np.arange(length, dtype=np.uint64) * np.uint64(2**63 // (gang.rank + 1)) + np.uint64(number)
        )
        ring.add(there)
        found.append(device.to_host(there))
        ring.check()
    return np.array(found)


@pytest.mark.parametrize("scheme", ["tcp", "inproc"])
@pytest.mark.parametrize("size", [2, 3, 5])
def test_sums_are_numpys(size: int, scheme: str) -> None:
    """Modulo 2^64, the same on all members; a second ring closes the first."""
    nccl = Nccl()
    devices = [RingDevice(nccl) for _ in range(size)]
    with hall(size, scheme) as gang:
        for _ in range(2):
            answers = gang.all(lambda one: sums(one, devices[one.rank]))
            weights = np.array([2**63 // (rank + 1) for rank in range(size)], dtype=np.uint64)
            rows = [
                (np.arange(5, dtype=np.uint64)[:, None] * weights + np.uint64(number)).sum(axis=1, dtype=np.uint64)
                for number in range(3)
            ]
            for answer in answers:
                np.testing.assert_array_equal(answer, rows)
        assert [ring.over for ring in nccl.rings] == [True] * size + [False] * size
    end = time.monotonic() + 5
    while not all(ring.over for ring in nccl.rings):  # doors have closed
        assert time.monotonic() < end
        time.sleep(0.01)


def _same_card(devices: list[Any]) -> None:
    devices[1].identity = devices[0].identity


def _no_card(devices: list[Any]) -> None:
    devices[2] = None


def _no_library(devices: list[Any]) -> None:
    devices[0].can_ring = False


def _no_name(devices: list[Any]) -> None:
    devices[0].ring_id = lambda: None


def _refused(devices: list[Any]) -> None:
    def ring(*given: Any) -> Any:
        raise RingError("out of memory")

    devices[1].ring = ring


def _hangs(devices: list[Any]) -> None:
    devices[1].ring = lambda *given: threading.Event().wait(30)


def _adds_wrongly(devices: list[Any]) -> None:
    devices[2].wrong = 1


@pytest.mark.parametrize(
    "spoil",
    [_same_card, _no_card, _no_library, _no_name, _refused, _hangs, _adds_wrongly],
    ids=lambda f: f.__name__[1:],
)
def test_all_members_go_without_or_none(spoil: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is wrong with one of them; nobody is left in a ring, and the sockets go on."""
    nccl = Nccl()
    devices: list[Any] = [RingDevice(nccl) for _ in range(3)]
    spoil(devices)
    if spoil is _hangs:
        monkeypatch.setattr(rings, "_CREATION_SECONDS", 0.3)
    with hall(3) as gang:
        began = time.monotonic()
        assert gang.all(lambda one: sums(one, devices[one.rank])) == [None] * 3
        assert time.monotonic() - began < 5
    end = time.monotonic() + 5
    while not all(ring.over for ring in nccl.rings):
        assert time.monotonic() < end
        time.sleep(0.01)


def test_it_can_be_switched_off() -> None:
    """No device is even asked."""
    with hall(2, nccl=False) as gang:
        assert gang.all(lambda one: sums(one, object())) == [None, None]


@pytest.mark.parametrize(("wanted", "apart", "rung"), [(None, True, False), (None, False, True), (True, True, True)])
def test_counts_do_not_leave_tls_unasked(wanted: bool | None, apart: bool, rung: bool) -> None:
    """Between hosts NCCL speaks in the clear; within one host nothing leaves it."""
    nccl = Nccl()
    devices = [RingDevice(nccl), RingDevice(nccl)]
    devices[1].identity = f"{'there' if apart else 'here'}/1"
    with hall(2, nccl=wanted) as gang:
        for door in gang.doors:
            door.rings._encrypted = True
        answers = gang.all(lambda one: sums(one, devices[one.rank]))
    assert [answer is not None for answer in answers] == [rung, rung]


def test_a_member_that_waits_hears_of_a_dead_one() -> None:
    """Its door is closed from outside, as by the driver: the sum is thrown away, whatever came of it."""
    nccl, waiting = Nccl(), threading.Barrier(3)
    devices = [RingDevice(nccl) for _ in range(3)]

    def work(one: Gang) -> Any:
        ring = one.ring(devices[one.rank])
        assert ring is not None
        waiting.wait(10)
        if one.rank == 2:
            raise ZeroDivisionError
        there = devices[one.rank].zeros((4,), np.uint64)
        ring.add(there)
        ring.check()
        raise AssertionError("a sum without all members")

    with hall(3, "inproc") as gang:
        threading.Timer(0.3, lambda: [event.set() for event in gang.held]).start()
        began = time.monotonic()
        answers = gang.all(work)
        assert time.monotonic() - began < 5
    assert [type(answer) for answer in answers] == [BrokenError, BrokenError, ZeroDivisionError]
    assert rings._failed == [0]


def test_a_member_dies_while_the_ring_is_made() -> None:
    """The others do not wait for the time that making it may take."""
    nccl = Nccl()
    devices = [RingDevice(nccl) for _ in range(3)]
    devices[1].ring_id = None

    def work(one: Gang) -> Any:
        if one.rank == 1:
            one.add(np.array([[0] * 4, [1, 5, 6, 0], [0] * 4]))
            one.add(np.zeros(17, dtype=np.int64))
            raise ZeroDivisionError
        return one.ring(devices[one.rank])

    with hall(3) as gang:
        began = time.monotonic()
        answers = gang.all(work)
        assert time.monotonic() - began < 5
    assert [type(answer) for answer in answers] == [BrokenError, ZeroDivisionError, BrokenError]


def test_a_ring_that_fails_ends_the_gang_and_after_two_there_is_none() -> None:
    """The thread of the door finds it while the member waits; the process then does without."""
    nccl, failing = Nccl(), threading.Event()
    devices = [RingDevice(nccl) for _ in range(2)]
    devices[0].failed = lambda ring: failing.is_set()

    def work(one: Gang) -> Any:
        ring = one.ring(devices[one.rank])
        if ring is None:
            return None
        if one.rank == 1:
            failing.set()
            one.add(np.zeros(1, dtype=np.int64))
        ring.add(devices[one.rank].zeros((4,), np.uint64))
        ring.check()
        return "added"

    for number in range(3):
        failing.clear()
        with hall(2) as gang:
            answers = gang.all(work)
        wanted = type(None) if number == 2 else BrokenError
        assert [type(answer) for answer in answers] == [wanted, wanted]
        assert rings._failed == [min(number + 1, 2)]


def test_a_ring_that_is_closed_while_the_door_looks_has_not_failed() -> None:
    """The gang goes on: the door looked at what its member had just given back for another."""
    own = rings.Rings(None, False, "inproc://1/1/1")
    device = RingDevice(Nccl())
    device.failed = lambda ring: own._close() or True
    own._ring = device.ring(bytes(128), 0, 1)
    assert own.sound()
    assert rings._failed == [0]


def test_it_listens_where_the_worker_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """On loopback where the worker is on loopback; what the user has set stays."""
    name = interface("tcp://127.0.0.1:1")
    assert name == interface("inproc://127.0.0.1/1/1")
    assert name is not None
    assert interface("tcp://[::1]:1") in (name, None)
    assert interface("tcp://192.0.2.1:1") is None
    for before, after in (("eth7", "eth7"), (None, f"={name}")):
        if before is None:
            monkeypatch.delenv("NCCL_SOCKET_IFNAME")
        else:
            monkeypatch.setenv("NCCL_SOCKET_IFNAME", before)
        stay_on(name)
        assert os.environ["NCCL_SOCKET_IFNAME"] == after
