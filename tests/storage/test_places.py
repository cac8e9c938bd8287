"""Places: the same contract on a disk, in a bucket, and in what fsspec knows."""

from __future__ import annotations

import os
import pickle
import threading
from pathlib import Path

import pytest

from ipsdist.model.errors import InputError
from ipsdist.storage.places import LocalPlace, Place, RemotePlace, is_url, place


@pytest.fixture(params=["path", "file", "s3", "memory", "local"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """Return an empty place of every kind; ``local://`` is a disk by way of fsspec, which other processes see."""
    if request.param == "s3":
        return place(f"{request.getfixturevalue('bucket')}/some/run")
    if request.param == "memory":
        return place(f"memory://{tmp_path.name}/run")
    text = {"path": str(tmp_path / "run"), "file": f"file://{tmp_path}/run", "local": f"local://{tmp_path}/run"}
    return place(text[request.param])


def test_what_is_written_is_there_whole(folder: Place) -> None:
    """Files in parts, over older ones, in directories that nobody made; sizes and names as they are."""
    assert not folder.exists()
    assert folder.names() == []
    (folder / "a" / "x.json").write_whole(b"old and longer")
    (folder / "a" / "x.json").write_whole(b"on", memoryview(b"e"))
    (folder / "a/b/y").write_whole(b"")
    (folder / "z").write_whole(bytes(range(256)))
    assert (folder / "a/x.json").read_text() == "one"
    assert (folder / "z").read_bytes() == bytes(range(256))
    assert folder.names() == ["a", "z"]
    assert folder.names(folders=True) == ["a"]
    assert (folder / "a").names() == ["b", "x.json"]
    assert sorted(folder.files()) == [("a/b/y", 0), ("a/x.json", 3), ("z", 256)]
    assert folder.size() == 259
    assert (folder / "a").exists()
    assert not (folder / "a").is_file()
    assert (folder / "z").is_file()


def test_what_is_removed_is_gone_and_nothing_else(folder: Place) -> None:
    """A file, a directory with all below it, what was never there; a neighbour whose name begins alike stays."""
    for name in ("a/x", "a/b/y", "ab", "c"):
        (folder / name).write_whole(b"1")
    (folder / "a").remove()
    (folder / "c").remove()
    (folder / "never").remove()
    assert sorted(name for name, _ in folder.files()) == ["ab"]
    with pytest.raises(FileNotFoundError):
        (folder / "c").read_bytes()


def test_of_many_that_create_a_file_one_does(folder: Place) -> None:
    """Threads that begin together; and the file is that of the one that was told so."""
    folder.make()
    start, won = threading.Barrier(6), []

    def attempt(number: int) -> None:
        start.wait()
        if (folder / "lease").create(str(number).encode()):
            won.append(number)

    threads = [threading.Thread(target=attempt, args=(k,)) for k in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert (folder / "lease").read_text() == str(won[0])
    assert folder.names() == ["lease"]


def test_a_place_is_its_text_and_pickles(folder: Place) -> None:
    """What a task carries opens the same place on a worker."""
    (folder / "x").write_whole(b"1")
    again = pickle.loads(pickle.dumps(folder))
    assert again == folder
    assert (place(str(folder)) / "x").read_bytes() == b"1"
    assert (folder / "x").parent == folder
    assert (folder / "x").name == "x"
    assert place(folder) is folder
    assert (folder / "x").modified() > 1e9


def test_a_file_that_is_there_is_not_written_in_vain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Groups are asked for again and again; one that is there costs no file."""
    there = LocalPlace(tmp_path / "x")
    assert there.create(b"1")
    monkeypatch.setattr(os, "link", None)  # no road to a second one
    assert not there.create(b"2")
    assert [p.name for p in tmp_path.iterdir()] == ["x"]
    assert there.read_bytes() == b"1"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("runs/cubic", "runs/cubic"),
        ("s3://bucket/a//b/", "s3://bucket/a/b"),
        ("s3://bucket", "s3://bucket"),
        ("file:///data/a%20b", "/data/a b"),
        ("memory://a/b", "memory://a/b"),
    ],
)
def test_what_the_user_typed_is_what_is_shown(text: str, shown: str) -> None:
    """A URL stays a URL; a path stays a path, ``file://`` too, with all that a disk can do."""
    found = place(text)
    assert str(found) == shown
    assert found.is_local is isinstance(found, LocalPlace) is not isinstance(found, RemotePlace)
    assert is_url(text) == ("://" in text)
    assert isinstance(found.given, Path) == found.is_local


@pytest.mark.parametrize(("text", "why"), [("nowhere://a/b", "nowhere"), ("dropbox://a", "package")])
def test_a_url_that_nobody_knows_is_refused_in_one_line(text: str, why: str) -> None:
    """An unknown scheme, a library that is not installed."""
    with pytest.raises(InputError, match=rf"`DIR` .*{why}") as error:
        place(text).names()
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("text", ["s3:/bucket/run", "gs:/bucket", "file:/data/x"])
def test_a_url_with_one_slash_is_no_directory(text: str) -> None:
    """Else a directory of such a name would be made."""
    with pytest.raises(InputError, match=f"must have two slashes where it is a URL; got {text}; give '.*://"):
        place(text)


def test_a_bucket_that_is_not_there_is_an_os_error_of_one_line(s3_server: str) -> None:
    """The store's own words, without the dump of its internals."""
    where = place("s3://no-such-bucket-here/run")
    with pytest.raises(OSError, match=r"bucket does not exist|404") as error:
        where.names()
    assert "Debug" not in str(error.value)
    with pytest.raises(FileNotFoundError):
        (where / "x").write_whole(b"1")
