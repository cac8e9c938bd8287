"""The store: what goes in comes out, what is not complete is not done, what is not ours is refused."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
import xarray
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ipsdist.model.errors import InputError, RunError
from ipsdist.storage import FORMAT, Store, layout

DTYPES = ["?", "i1", "i4", "i8", "u4", "u8", "f4", "f8", "c16", ">f8", ">i4"]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.create(tmp_path / "store.zarr", {"case": "cubic"})


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), dtype=st.sampled_from(DTYPES), compress=st.booleans(), limit=st.sampled_from([16, 100, 10**7]))
def test_what_is_written_is_read_back_bit_for_bit(
    store: Store, monkeypatch: pytest.MonkeyPatch, data: st.DataObject, dtype: str, compress: bool, limit: int
) -> None:
    """Any shape and dtype, in one chunk or many, over an older array of that name, read whole and in part."""
    monkeypatch.setattr(layout, "_CHUNK_BYTES", limit)
    shape = data.draw(hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=7))
    values = data.draw(hnp.arrays(np.dtype(dtype), shape))
    store.write("g/a", values, [f"axis{k}" for k in range(len(shape))], "1", compress=compress)
    again = Store.open(store.path)
    assert again.read("g/a").tobytes() == values.astype(values.dtype.newbyteorder("=")).tobytes()
    assert again.read("g/a").shape == shape
    if shape:
        start = data.draw(st.integers(0, shape[0]))
        stop = data.draw(st.integers(start, shape[0]))
        np.testing.assert_array_equal(again.read("g/a", slice(start, stop)), values[start:stop])


def test_regions_make_the_same_array_as_one_call(store: Store) -> None:
    """Whole chunks and the shorter last one, written in any order, add up to the array."""
    values = np.random.default_rng(0).normal(size=(10, 3))
    store.create_array("p/x", (10, 3), "f8", ("particle", "space"), (4, 3), "length", compress=False)
    for start, stop in [(8, 10), (0, 4), (4, 8)]:
        store.write_region("p/x", start, values[start:stop])
    np.testing.assert_array_equal(store.read("p/x"), values)


@pytest.mark.parametrize(("start", "rows"), [(1, 4), (0, 3), (4, 2), (2, 8)])
def test_a_region_that_cuts_a_chunk_is_refused(store: Store, start: int, rows: int) -> None:
    """Two owners of one chunk would lose rows silently."""
    store.create_array("p/x", (10,), "f8", ("particle",), (4,))
    with pytest.raises(ValueError, match="cut through its chunks of 4 rows"):
        store.write_region("p/x", start, np.zeros(rows))


@pytest.mark.parametrize(
    ("start", "values"),
    [(8, np.zeros((4, 2))), (0, np.zeros((4, 3))), (0, np.zeros((4, 2), "f4")), (-4, np.zeros((4, 2)))],
)
def test_a_region_that_does_not_fit_is_refused(store: Store, start: int, values: np.ndarray) -> None:
    """Beyond the end, other columns, another dtype, before the start."""
    store.create_array("p/x", (10, 2), "f8", ("particle", "space"), (4, 2))
    with pytest.raises(ValueError, match="do not fit p/x"):
        store.write_region("p/x", start, values)


def test_a_part_that_was_never_written_is_not_read_as_numbers(store: Store) -> None:
    """Zarr fills holes silently; the store does not. Other readers find the documented fill values."""
    for name, dtype, fill in [("f", "f8", np.nan), ("i", "i8", -1), ("u", "u4", 0)]:
        store.create_array(f"p/{name}", (4,), dtype, ("node",), (2,))
        store.write_region(f"p/{name}", 2, np.full(2, fill, dtype))
        np.testing.assert_array_equal(store.read(f"p/{name}", slice(2, 4)), np.full(2, fill))
        with pytest.raises(RunError, match="lost a part of the p: "):
            store.read(f"p/{name}")
        np.testing.assert_array_equal(store.group[f"p/{name}"][:2], np.full(2, fill))


def test_a_damaged_chunk_is_an_error_with_the_path(store: Store) -> None:
    """A truncated file does not come back as numbers."""
    store.write("p/x", np.arange(100.0), ("x",), compress=False)
    chunk = store.path / "p/x/c.0"
    chunk.write_bytes(chunk.read_bytes()[:90])
    with pytest.raises(RunError, match=r"lost a part of the p: .*p/x/c.0 \(its checksum is wrong\)"):
        store.read("p/x")


def test_xarray_opens_a_group_with_dimensions_and_units(store: Store) -> None:
    """Named axes and units reach xarray."""
    store.write("densities/time", np.arange(3.0), ("time",), "time")
    store.write("densities/u", np.ones((3, 5)), ("time", "x"), "1/length", {"window": "gaussian"})
    with xarray.open_zarr(store.path, group="densities", consolidated=False) as found:
        assert found["u"].dims == ("time", "x")
        assert found["u"].attrs == {"units": "1/length", "window": "gaussian"}
        assert "time" in found.coords
        assert float(found["u"].sel(time=2.0).sum()) == 5.0


@pytest.mark.parametrize("values", [np.array([{}], object), np.array(["a"]), np.array([0], "M8[s]")])
def test_only_numbers_are_stored(store: Store, values: np.ndarray) -> None:
    """Objects would have to be pickled."""
    with pytest.raises(TypeError, match="the store holds numbers"):
        store.write("g/a", values, ("x",))
    assert not store.exists("g/a")


@pytest.mark.parametrize("name", ["", "/a", "a/../b", "../a", "a//b", "a/", ".lock", "records", "records/a", "a b"])
def test_names_stay_inside_the_store(store: Store, name: str) -> None:
    """No name leads out of the store or into its records."""
    with pytest.raises(ValueError, match="not a name of the store"):
        store.write(name, np.zeros(1), ("x",))
    with pytest.raises(ValueError, match="not a name of the store"):
        store.discard(name)


def test_attributes_of_the_root_add_up(store: Store) -> None:
    """What was set last holds; the format is not to be set."""
    store.set_attributes(setup={"mesh": [1, 2.5]}, case="power_law")
    assert Store.open(store.path).attributes == {
        "ipsdist_format": FORMAT,
        "case": "power_law",
        "setup": {"mesh": [1, 2.5]},
    }
    with pytest.raises(ValueError, match="ipsdist_format"):
        store.set_attributes(ipsdist_format=2)


def test_records_are_independent_of_their_parents(store: Store) -> None:
    """The record of a stage does not follow from those of its tasks, nor the other way round, in either order."""
    assert store.record("particles") is None
    store.commit("particles/0", {"mean": 0.1 + 0.2})
    assert store.record("particles") is None
    store.commit("particles", {})
    store.commit("particles/1", {})
    assert store.record("particles") == {}
    assert Store.open(store.path).record("particles/0") == {"mean": 0.1 + 0.2}
    store.commit("particles", {"again": True})
    assert store.record("particles") == {"again": True}
    assert store.record("particles/0") == {"mean": 0.1 + 0.2}


def test_discard_takes_records_and_arrays_below_a_prefix_only(store: Store) -> None:
    """What lies beside the prefix stays."""
    for stage in ("particles", "particles2"):
        store.write(f"{stage}/0/x", np.zeros(2), ("x",))
        store.commit(f"{stage}/0", {})
        store.commit(stage, {})
    store.discard("particles")
    store.discard("particles")
    assert not store.exists("particles/0/x")
    assert store.record("particles") is None
    assert store.record("particles/0") is None
    assert store.exists("particles2/0/x")
    assert store.record("particles2/0") == {}
    assert sorted(p.name for p in store.path.iterdir()) == ["particles2", "records", "zarr.json"]


def test_records_vanish_before_their_arrays_and_all_at_once(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that dies while it deletes leaves no record behind, so nothing stale can pass for done."""
    store.write("particles/0", np.zeros(2), ("x",))
    for record in ("particles", "particles/0", "particles/1"):
        store.commit(record, {})

    def die(*args: object, **options: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("shutil.rmtree", die)
        with pytest.raises(KeyboardInterrupt):
            store.discard("particles")
    assert [store.record(r) for r in ("particles", "particles/0", "particles/1")] == [None] * 3
    store.discard("particles")
    assert not store.exists("particles/0")
    assert not (store.path / ".discarded").exists()


def test_payloads_that_json_cannot_hold_are_refused_when_committed(store: Store) -> None:
    """An array in a payload fails where it was put in."""
    with pytest.raises(TypeError, match="not JSON serializable"):
        store.commit("kernel", {"x": np.zeros(2)})
    assert store.record("kernel") is None


def _child(code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_a_kill_between_data_and_record_leaves_not_done(store: Store) -> None:
    """The array is there but its task is not done, and the next run writes over it."""
    code = """
import os, signal, sys
import numpy as np
from ipsdist.storage import Store
store = Store.open(sys.argv[1], "r+")
store.write("particles/0", np.arange(1000.0), ("x",))
os.kill(os.getpid(), signal.SIGKILL)
"""
    assert _child(code, store.path).returncode == -signal.SIGKILL
    assert store.record("particles/0") is None
    store.write("particles/0", np.ones(3), ("x",))
    store.commit("particles/0", {})
    np.testing.assert_array_equal(Store.open(store.path).read("particles/0"), np.ones(3))


def test_a_kill_while_an_array_is_rewritten_keeps_readers_whole(store: Store) -> None:
    """The same array written again and again: whoever reads in between, or after a kill, finds it complete."""
    values = np.arange(30_000.0)
    store.write("particles/0", values, ("x",))
    code = """
import sys
import numpy as np
from ipsdist.storage import Store
store = Store.open(sys.argv[1], "r+")
print("begun", flush=True)
while True:
    store.write("particles/0", np.arange(30_000.0), ("x",))
"""
    writer = subprocess.Popen([sys.executable, "-c", code, str(store.path)], stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    assert writer.stdout.readline() == "begun\n"
    for _ in range(100):
        np.testing.assert_array_equal(store.read("particles/0"), values)
    writer.kill()
    writer.communicate()
    np.testing.assert_array_equal(store.read("particles/0"), values)


def test_a_disk_that_refuses_is_a_run_error_and_keeps_what_was_committed(store: Store) -> None:
    """A real limit of the kernel on file size: the message names path and bytes; finished work stays readable."""
    code = """
import resource, sys
import numpy as np
from ipsdist.model.errors import RunError
from ipsdist.storage import Store
store = Store.open(sys.argv[1], "r+")
store.write("particles/0", np.arange(100.0), ("x",))
store.commit("particles/0", {"n": 100})
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
try:
    store.write("particles/1", np.arange(100_000.0), ("x",), compress=False)
except RunError as error:
    print(error)
"""
    done = _child(code, store.path)
    assert done.stdout == (
        f"cannot write 800000 bytes to {store.path}/particles/1: File too large; make room, "
        "then give the same command again: what was finished is kept\n"
    ), done.stderr
    assert store.record("particles/0") == {"n": 100}
    assert store.record("particles/1") is None
    np.testing.assert_array_equal(store.read("particles/0"), np.arange(100.0))
    assert not list(store.path.rglob("*.partial"))


def test_a_full_disk_while_committing_leaves_not_done(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """No space left for the record itself: the work is not done."""

    def full(*args: object, **options: object) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(
        RunError, match=r"cannot write \d+ bytes to .*records/kernel: No space left on device; make room"
    ):
        store.commit("kernel", {"answer": 1})
    assert store.record("kernel") is None


def test_a_store_is_not_made_over_another(store: Store) -> None:
    """An existing store is refused and left alone."""
    with pytest.raises(InputError, match=r"`DIR` must not hold a store yet; got .*store.zarr; choose another --out"):
        Store.create(store.path, {})
    assert store.attributes["case"] == "cubic"


def test_a_newer_format_is_refused_naming_both(store: Store) -> None:
    """Version there, version here and the fix."""
    zarr.open_group(str(store.path)).attrs["ipsdist_format"] = FORMAT + 1
    rule = f"`DIR` must hold a store of format {FORMAT} or older; got format {FORMAT + 1} in .*store.zarr, "
    with pytest.raises(InputError, match=rule + "written by a newer ipsdist; use that ipsdist or a newer one"):
        Store.open(store.path)


@pytest.mark.parametrize("kind", ["missing", "empty", "other zarr", "array", "broken"])
def test_what_is_no_store_is_refused(tmp_path: Path, kind: str) -> None:
    """A missing or foreign directory is named, with the usual fix."""
    path = tmp_path / "thing"
    if kind == "empty":
        path.mkdir()
    elif kind == "other zarr":
        zarr.create_group(str(path))
    elif kind == "array":
        zarr.create_array(str(path), shape=(2,), dtype="f8")
    elif kind == "broken":
        path.mkdir()
        (path / "zarr.json").write_text("{")
    message = r"`DIR` must hold a store of ipsdist; got .*thing, which is none; give the directory"
    with pytest.raises(InputError, match=message):
        Store.open(path)


def test_format_1_is_read() -> None:
    """The fixture that the first version wrote (tests/data/make_format1.py)."""
    store = Store.open(Path(__file__).parents[1] / "data" / "format1.zarr")
    assert store.attributes == {"ipsdist_format": 1, "case": "fixture"}
    np.testing.assert_array_equal(store.read("densities/u"), np.arange(12.0).reshape(3, 4) / 7)
    assert store.record("densities/0") == {"slices": 3}
    assert store.record("densities") is None
    np.testing.assert_array_equal(store.read("particles/positions", slice(0, 2)), [[1, 2], [3, 4]])
    with pytest.raises(RunError, match="lost a part"):
        store.read("particles/positions")
    np.testing.assert_array_equal(store.read("particles/count"), [-2, -1, 0, 1, 2])


def test_peak_memory_of_a_large_write_is_a_small_multiple(tmp_path: Path) -> None:
    """200 MB of positions go to disk without a second copy of all of them."""
    code = """
import resource, sys
import numpy as np
from ipsdist.storage import Store
store = Store.create(sys.argv[1] + "/s.zarr", {})
store.write("warm", np.zeros(1000), ("x",), compress=False)
x = np.ones(25_000_000)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
store.write("p", x, ("x",), compress=False)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024)
"""
    done = _child(code, tmp_path)
    assert int(done.stdout) < 100_000_000, done.stderr
