"""The files of a store beside those that Zarr writes: either reads the other's."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import zarr
from zarr.codecs import BloscCodec, Crc32cCodec

from ipsdist.model.errors import RunError
from ipsdist.storage import Store
from ipsdist.storage.layout import DTYPES, fill_value

LZ4 = BloscCodec(cname="lz4", shuffle="shuffle")


def values(dtype: np.dtype, shape: tuple[int, ...]) -> np.ndarray:
    """Return numbers that compress a little."""
    return (np.random.default_rng(0).integers(0, 9, shape) - (4 if dtype.kind in "if" else 0)).astype(dtype)


@pytest.mark.parametrize("compress", [True, False])
@pytest.mark.parametrize("dtype", sorted(DTYPES, key=str), ids=str)
def test_the_same_bytes_as_zarr(tmp_path: Path, dtype: np.dtype, compress: bool) -> None:
    """Description and chunks, the filled up ones at the edges and the checksums included."""
    store, data = Store.create(tmp_path / "ours", {}), values(dtype, (5, 7))
    store.create_array("g/a", (5, 7), dtype, ("x", "y"), (2, 3), "length", compress)
    store.write_region("g/a", 0, data)
    theirs = zarr.create_group(str(tmp_path / "theirs")).create_array(
        "g/a",
        shape=(5, 7),
        dtype=dtype,
        chunks=(2, 3),
        dimension_names=("x", "y"),
        attributes={"units": "length"},
        fill_value=fill_value(dtype),
        compressors=(LZ4, Crc32cCodec()) if compress else Crc32cCodec(),
        chunk_key_encoding={"name": "default", "separator": "."},
        config={"write_empty_chunks": True},
    )
    theirs[...] = data
    files = [{p.name: p for p in (tmp_path / side / "g/a").iterdir()} for side in ("ours", "theirs")]
    assert files[0].keys() == files[1].keys()
    for name, ours in files[0].items():
        if name == "zarr.json":
            assert json.loads(ours.read_text()) == json.loads(files[1][name].read_text())
        else:
            assert ours.read_bytes() == files[1][name].read_bytes(), name
    assert json.loads((tmp_path / "ours/g/zarr.json").read_text()) == json.loads(
        (tmp_path / "theirs/g/zarr.json").read_text()
    )


@pytest.mark.parametrize("compress", [True, False])
@pytest.mark.parametrize("dtype", ["?", "i2", "f4", "c16"])
def test_stores_of_earlier_versions_are_read_and_written_again(tmp_path: Path, dtype: str, compress: bool) -> None:
    """No checksum, and directories of chunks; what is written again has one."""
    store, data = Store.create(tmp_path / "s", {}), values(np.dtype(dtype), (5, 4))
    codecs = LZ4 if compress else None
    fill = fill_value(np.dtype(dtype))
    old = store.group.create_array(
        "g/a", shape=(5, 4), dtype=dtype, chunks=(2, 4), dimension_names=("x", "y"), compressors=codecs, fill_value=fill
    )
    old.with_config({"write_empty_chunks": True})[...] = data
    assert (store.path / "g/a/c/2/0").exists()
    np.testing.assert_array_equal(store.read("g/a"), data)
    np.testing.assert_array_equal(store.read("g/a", slice(1, 3)), data[1:3])
    (store.path / "g/a/c/1/0").write_bytes(b"\x02\x01\x21\x08" + b"\xff" * 40)
    with pytest.raises(RunError, match=r"lost a part of the g: .*/g/a/c/1/0 \("):
        store.read("g/a")
    store.write("g/a", data, ("x", "y"), compress=compress)
    assert not (store.path / "g/a/c").exists()
    np.testing.assert_array_equal(store.read("g/a"), data)


def test_arrays_of_other_layouts_are_read_by_zarr(tmp_path: Path) -> None:
    """A store that somebody copied with other codecs or shards still opens; it is not written to."""
    store = Store.create(tmp_path / "s", {})
    store.group.create_array("g/a", data=np.arange(40.0), chunks=(5,), shards=(20,))
    np.testing.assert_array_equal(store.read("g/a"), np.arange(40.0))
    np.testing.assert_array_equal(store.read("g/a", slice(3, 30)), np.arange(3.0, 30.0))
    with pytest.raises(ValueError, match="not an array of this program"):
        store.write_region("g/a", 0, np.zeros(5))
    store.write("g/a", np.ones(3), ("x",))
    np.testing.assert_array_equal(store.read("g/a"), np.ones(3))


def test_any_bit_that_flips_is_found(tmp_path: Path) -> None:
    """Each bit of a chunk in turn, of the numbers and of the checksum, compressed or not."""
    store = Store.create(tmp_path / "s", {})
    for compress in (True, False):
        store.write("g/a", np.arange(6.0), ("x",), compress=compress)
        chunk = store.path / "g/a/c.0"
        good = chunk.read_bytes()
        for bit in range(8 * len(good)):
            bad = bytearray(good)
            bad[bit // 8] ^= 1 << (bit % 8)
            chunk.write_bytes(bad)
            with pytest.raises(RunError, match=r"lost a part of the g: .*g/a/c\.0 \(its checksum is wrong\)"):
                store.read("g/a")
        chunk.write_bytes(good)
        np.testing.assert_array_equal(store.read("g/a"), np.arange(6.0))


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b'{"zarr_format": 3, "node_type": "array"}', b"\xff"])
def test_a_damaged_description_is_named(tmp_path: Path, content: bytes) -> None:
    """One line that says which file and what to do; the array can be written again."""
    store = Store.create(tmp_path / "run" / "store.zarr", {})
    store.write("kernel/a", np.arange(6.0), ("x",))
    store.commit("kernel/done", {})
    (store.path / "kernel/a/zarr.json").write_bytes(content)
    (store.path / "records/kernel/done/zarr.json").write_bytes(content[:2])
    again = f"make it again with `ipsdist fit {tmp_path}/run`"
    with pytest.raises(RunError, match=rf"lost a part of the kernel: .*kernel/a/zarr.json \(.*\); {again}") as error:
        store.read("kernel/a")
    assert "\n" not in str(error.value)
    with pytest.raises(RunError, match=r"lost a part of the kernel: .*records/kernel/done/zarr.json"):
        store.record("kernel/done")
    store.write("kernel/a", np.ones(2), ("x",))
    np.testing.assert_array_equal(store.read("kernel/a"), np.ones(2))


def test_names_are_those_right_below(tmp_path: Path) -> None:
    """Arrays and groups, no records; nothing where there is nothing."""
    store = Store.create(tmp_path / "s", {})
    for name in ("p/r-1/c-10", "p/r-1/c-2", "p/x", "q"):
        store.write(name, np.zeros(2), ("x",))
    store.commit("p/r-1", {})
    assert store.names() == ["p", "q"]
    assert store.names("p") == ["r-1", "x"]
    assert store.names("p/r-1") == ["c-10", "c-2"]
    assert store.names("never") == []
    store.discard("p/r-1/c-10")
    assert store.names("p/r-1") == ["c-2"]
