"""The store in a bucket and in what fsspec knows: as on a disk, where kills and other writers are concerned too."""

from __future__ import annotations

import contextlib
import pickle
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import xarray

from ipsdist.model.errors import InputError, RunError
from ipsdist.storage import DamagedError, Place, Store, adopt, place
from ipsdist.storage.places import RemotePlace
from ipsdist.storage.places.s3 import S3Objects


@pytest.fixture(params=["s3", "memory", "local"])
def home(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """Return a place for stores."""
    if request.param == "s3":
        return place(f"{request.getfixturevalue('bucket')}/runs")
    return place(f"memory://{tmp_path.name}" if request.param == "memory" else f"local://{tmp_path}")


@pytest.fixture
def store(home: Place) -> Store:
    return Store.create(home / "run" / "store.zarr", {"case": "cubic"})


def test_what_is_written_is_read_back_bit_for_bit(store: Store, home: Place) -> None:
    """Whole arrays and regions of many chunks, raw and compressed, by whoever opens the same URL."""
    rng = np.random.default_rng(0)
    x, n = rng.normal(size=(50, 3)), rng.integers(0, 9, (7, 5))
    store.create_array("p/x", (50, 3), "f8", ("particle", "space"), (4, 3), "length", compress=False)
    for start in (24, 0):
        store.write_region("p/x", start, x[start : start + 26 if start else 24])
    store.write("p/n", n, ("slice", "node"))
    store.set_attributes(setup={"mesh": [1, 2.5]})
    again = Store.open(str(store.path))
    np.testing.assert_array_equal(again.read("p/x"), x)
    np.testing.assert_array_equal(again.read("p/x", slice(5, 33)), x[5:33])
    np.testing.assert_array_equal(again.read("p/n", (slice(2, 3), slice(1, 4))), n[2:3, 1:4])
    assert again.attributes["setup"] == {"mesh": [1, 2.5]}
    assert again.names() == ["p"]
    assert again.names("p") == ["n", "x"]
    assert pickle.loads(pickle.dumps(store.place)) == again.place
    with pytest.raises(InputError, match="must not hold a store yet"):
        Store.create(str(store.path), {})
    with pytest.raises(InputError, match=f"must hold a store of ipsdist; got {home}/other, which is none"):
        Store.open(home / "other")


def test_records_are_whole_and_the_newer_one_counts(store: Store) -> None:
    """Parents and children independent; a task done twice leaves what was said last."""
    store.commit("particles/0", {"mean": 0.1 + 0.2})
    assert store.record("particles") is None
    store.commit("particles", {})
    store.commit("particles/0", {"mean": 0.1 + 0.2})
    store.commit("particles/1", {"n": 1})
    store.commit("particles/1", {"n": 2})
    again = Store.open(store.place)
    assert [again.record(r) for r in ("particles", "particles/0", "particles/1", "particles/2")] == [
        {}, {"mean": 0.1 + 0.2}, {"n": 2}, None,
    ]  # fmt: skip


def test_a_kill_at_any_moment_of_a_discard_leaves_nothing_that_is_not_true(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Objects go one after the other: done is never said without the records of the tasks, nor these without arrays."""
    tasks = [f"particles/replica-{k}" for k in range(4)]
    store.write("particles2/x", np.zeros(2), ("x",))
    steps = 0
    while True:
        store.commit("particles/begun", {})
        for task in tasks:
            store.write(f"{task}/x", np.arange(3.0), ("x",))
            store.commit(task, {})
        store.commit("particles/done", {})
        left = [steps]
        delete = type(store.place.objects).delete

        def dying(self: object, keys: list[str], left: list[int] = left, delete: object = delete) -> None:
            for key in keys:
                if not left[0]:
                    raise KeyboardInterrupt
                left[0] -= 1
                delete(self, [key])

        with monkeypatch.context() as patch:
            patch.setattr(type(store.place.objects), "delete", dying)
            try:
                store.discard("particles")
                over = True
            except KeyboardInterrupt:
                over = False
        records = [store.record(task) is not None for task in tasks]
        if store.record("particles/done") is not None:
            assert all(records)
        if any(records):
            assert store.record("particles/begun") is not None
        for task, there in zip(tasks, records, strict=True):
            if there:
                np.testing.assert_array_equal(store.read(f"{task}/x"), np.arange(3.0))
        if over:
            break
        steps += 1
    assert steps > 10
    assert store.names() == ["particles2"]


def test_finished_work_is_taken_over_by_copies(store: Store, home: Place, tmp_path: Path) -> None:
    """Within a store of objects, and from a disk; independent from then on."""
    there = Store.create(tmp_path / "disk.zarr", {})
    for one in (store, there):
        one.write("particles/block-0/count", np.arange(6), dims=("node",))
        one.commit("particles/block-0", {"n": 1})
        one.commit("particles/done", {"fingerprint": "f"})
    for k, source in enumerate((store, there)):
        mine = Store.create(home / f"mine-{k}", {})
        mine.write("particles/left", np.arange(2), ("x",))
        assert adopt(mine, source, "particles")
        assert mine.record("particles/done") == {"fingerprint": "f"}
        assert mine.names("particles") == ["block-0"]
        source.discard("particles")
        np.testing.assert_array_equal(mine.read("particles/block-0/count"), np.arange(6))


def test_a_damaged_or_missing_part_is_named_with_the_command(store: Store, home: Place) -> None:
    """One line: the chunk, why, and what makes it again. It crosses to the driver whole."""
    store.write("densities/u", np.arange(9.0), ("x",))
    chunk = store.place / "densities/u/c.0"
    bad = bytearray(chunk.read_bytes())
    bad[3] ^= 4
    chunk.write_whole(bytes(bad))
    for why in ("its checksum is wrong", "it is not there"):
        with pytest.raises(DamagedError) as error:
            store.read("densities/u")
        assert str(error.value) == (
            f"the store has lost a part of the densities: {home}/run/store.zarr/densities/u/c.0 ({why}); "
            f"make it again with `ipsdist estimate {home}/run`"
        )
        copy = pickle.loads(pickle.dumps(error.value))
        assert (str(copy), copy.stage, copy.name) == (str(error.value), "densities", "densities/u")
        chunk.remove()


def test_xarray_opens_it(store: Store) -> None:
    """By way of Zarr, with names and units; a checksum that is wrong is wrong there too."""
    store.write("densities/time", np.arange(3.0), ("time",), "time")
    store.write("densities/u", np.ones((3, 5)), ("time", "x"), "1/length")
    with xarray.open_zarr(store.group.store, group="densities", consolidated=False) as found:
        assert found["u"].dims == ("time", "x")
        assert found["u"].attrs == {"units": "1/length"}
        assert float(found["u"].sel(time=2.0).sum()) == 5.0
    chunk = store.place / "densities/u/c.0.0"
    chunk.write_whole(chunk.read_bytes()[:-1] + b"\0")
    with (
        xarray.open_zarr(store.group.store, group="densities", consolidated=False) as found,
        pytest.raises(ValueError, match="checksum"),
    ):
        found["u"].load()


def test_a_store_that_cannot_be_reached_is_a_run_error(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line with the place, what to look at, and that nothing finished is lost."""

    def gone(*args: object, **options: object) -> None:
        raise OSError(5, "connection refused")

    assert isinstance(store.place, RemotePlace)
    monkeypatch.setattr(type(store.place.objects), "put", gone)
    monkeypatch.setattr(type(store.place.objects), "get", gone)
    with pytest.raises(
        RunError, match=r"cannot write 16 bytes to .*/p/x: connection refused; see that it can be reach"
    ):
        store.write("p/x", np.zeros(2), ("x",))


class Link:
    """A way to a server on loopback that can be cut and mended."""

    def __init__(self, address: str) -> None:
        self._target = ("127.0.0.1", int(address.rpartition(":")[2]))
        self._ends: list[socket.socket] = []
        self.port = 0
        self.mend()

    def mend(self) -> None:
        """Let connections pass, on the port of before."""
        self._door = socket.create_server(("127.0.0.1", self.port))
        self.port = self._door.getsockname()[1]
        threading.Thread(target=self._serve, args=(self._door,), daemon=True).start()

    def cut(self) -> None:
        """End all connections and take no more."""
        with contextlib.suppress(OSError):
            self._door.shutdown(socket.SHUT_RDWR)
        for end in [self._door, *self._ends]:
            end.close()
        self._ends = []

    def _serve(self, door: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, far = door.accept()[0], socket.create_connection(self._target)
                self._ends += [near, far]
                for pair in ((near, far), (far, near)):
                    threading.Thread(target=self._pass, args=pair, daemon=True).start()

    def _pass(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def link(s3_server: str) -> Iterator[Link]:
    """Return a link to the server."""
    made = Link(s3_server)
    yield made
    made.cut()


def test_a_link_that_is_down_for_seconds_is_waited_for(
    bucket: str, link: Link, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is under way is tried again until the store answers; nothing is lost or torn."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{link.port}")
    objects = S3Objects(bucket)
    objects.put("a", b"before")
    link.cut()
    later = threading.Timer(3.0, link.mend)
    later.start()
    objects.put("b", b"across")
    assert (objects.get("a"), objects.get("b")) == (b"before", b"across")
    later.join()
    link.cut()
    with pytest.raises(OSError, match="error sending request") as error:  # nobody has ever answered here
        S3Objects(bucket).get("a")
    assert "\n" not in str(error.value)
