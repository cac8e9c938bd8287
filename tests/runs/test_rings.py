"""A run whose gang adds on its cards: the bits of the CPU, also after a member was lost in the middle of a sum."""

from __future__ import annotations

import contextlib
import threading
import time

import dask
import distributed
import pytest

from ipsdist.arrays import RingError
from ipsdist.config import resolve
from ipsdist.runs import pipeline
from ipsdist.runtime.gang import rings
from ipsdist.runtime.gang.links import BrokenError
from ipsdist.runtime.gang.reduction import Gang
from ipsdist.stages import devices
from ipsdist.storage import Store, place
from tests.host_device import COMPILER
from tests.rings import Nccl, RingDevice
from tests.runs.samples import write
from tests.runs.test_bits import arrays, particles_of

pytestmark = pytest.mark.skipif(COMPILER is None, reason="the kernels are compiled for the host by g++")


class Cards:
    """A card for every worker, and one for the driver."""

    def __init__(self) -> None:
        self.nccl, self._lock, self._cards = Nccl(), threading.Lock(), {}
        self.made = RingDevice

    def __call__(self, number: int = 0) -> RingDevice:
        """Return that of the worker that asks."""
        try:
            of = distributed.get_worker().address
        except ValueError:
            of = "driver"
        with self._lock:
            return self._cards.setdefault(of, self.made(self.nccl))


@pytest.fixture
def cards(monkeypatch):
    found = Cards()
    monkeypatch.setattr(devices, "_first", found)
    monkeypatch.setattr(rings, "_failed", [0])
    monkeypatch.setenv("NCCL_SOCKET_IFNAME", "lo")
    return found


@pytest.fixture
def exchanges(monkeypatch):
    """Count what members exchange over sockets."""
    seen, add = [], Gang.add
    monkeypatch.setattr(Gang, "add", lambda gang, values: seen.append(values.size) or add(gang, values))
    return seen


@contextlib.contextmanager
def workers(number, **settings):
    options = {"processes": False, "threads_per_worker": 1, "dashboard_address": "127.0.0.1:0", "memory_limit": 0}
    section = {f"ipsdist.gang.{name}": value for name, value in {"size": number, "epoch": 0.2, **settings}.items()}
    with (
        distributed.LocalCluster(n_workers=number, **options) as cluster,
        distributed.Client(cluster, set_as_default=False) as client,
        dask.config.set(section),
    ):
        yield client


def stepped(source, folder, client=None, tell=None, device="gpu"):
    options = pipeline.Options(client=client, tell=tell or (lambda line: None))
    pipeline.run(resolve(source, [f'run.device="{device}"']), place(folder), options, upto="particles")
    return particles_of(arrays(folder))


@pytest.mark.parametrize("size", [2, 3])
def test_a_gang_that_adds_on_its_cards_changes_no_bit(size, cards, exchanges, tmp_path):
    """And exchanges less over its sockets: at the steps nothing."""
    source = write(tmp_path, 1)
    expected = stepped(source, tmp_path / "cpu", device="cpu")
    with workers(size) as client:
        assert stepped(source, tmp_path / "ring", client) == expected
        rung, cards.nccl.adds, with_rings = cards.nccl.adds, 0, len(exchanges)
        exchanges.clear()
        with dask.config.set({"ipsdist.gang.nccl": False}):
            assert stepped(source, tmp_path / "sockets", client) == expected
    steps = resolve(source, []).times().slice_steps()[-1]
    assert rung >= steps  # and those that tried it
    assert cards.nccl.adds == 0
    assert len(exchanges) - with_rings > 0.5 * size * steps
    record = Store.open(tmp_path / "ring" / "store.zarr").record("particles/replica-0")
    assert record["devices"] == ["host"]


@pytest.mark.parametrize("how", ["lost", "failed"])
def test_a_member_lost_in_a_sum_leaves_no_trace(how, cards, tmp_path):
    """Whoever waits for it hears of it within seconds, and the epoch is done again with the same bits."""
    source, told, lost = write(tmp_path, 1), [], []
    expected = stepped(source, tmp_path / "cpu", device="cpu")

    class Dying(RingDevice):
        def before_add(self, ring):
            if ring.rank == 1 and ring.added == 20 and not lost:
                lost.append(time.monotonic())
                raise BrokenError("it died") if how == "lost" else RingError("NCCL_ERROR_REMOTE_ERROR")

    cards.made = Dying
    with workers(2) as client:
        assert stepped(source, tmp_path / "ring", client, told.append) == expected
        assert time.monotonic() - lost[0] < 20
    word = "it died" if how == "lost" else r"the cards of the gang no longer add (NCCL_ERROR_REMOTE_ERROR)"
    assert [line for line in told if word in line and "is done again by 2 workers together" in line], told
    assert rings._failed == [0 if how == "lost" else 1]
