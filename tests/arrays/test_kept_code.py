"""Machine code is compiled once for all processes, and taken from nowhere that others can write."""

import os
import stat
import sys
from types import SimpleNamespace

import pytest

from ipsdist.arrays import find_device, kept_code
from ipsdist.arrays.compiling import options_for
from ipsdist.arrays.kept_code import MOST, machine_code
from tests.arrays.fake_cupy import fake_cupy


class Compiler:
    """As much of NVRTC as is needed; what it makes of a text is the text, longer."""

    NVRTCError = RuntimeError
    version = 13, 0

    def __init__(self):
        self.compiled = []

    def getVersion(self):
        """Tell which it is."""
        return self.version

    def createProgram(self, text, name, headers, includes):
        """Return what is compiled: the text."""
        return text

    def compileProgram(self, program, options):
        """Note it."""
        self.compiled.append((program, options))

    def getCUBIN(self, program):
        """Return the text, longer."""
        return program.encode() * 40

    def getProgramLog(self, program):
        """Say nothing."""
        return ""

    def destroyProgram(self, program):
        """Keep nothing."""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Where code is kept: not there yet."""
    monkeypatch.setenv("IPSDIST_CACHE_DIR", str(tmp_path / "caches"))
    return tmp_path / "caches" / "cubin"


def made(text="text", architecture="sm_90", version=(13, 0)):
    """Return whether a text was compiled, and check what it became."""
    compiler = Compiler()
    compiler.version = version
    assert machine_code(text, architecture, compiler) == text.encode() * 40 + b"\0"
    return len(compiler.compiled) == 1


def test_the_next_process_compiles_nothing(folder, monkeypatch):
    """A device anew, as in another process: its texts are there; another text is not."""
    for expected in ({"text", "other"}, set(), {"third"}):
        fake = fake_cupy()
        monkeypatch.setitem(sys.modules, "cupy", fake)
        find_device.cache_clear()
        for text in ["text", "other", *(expected - {"text", "other"})]:
            find_device().program(text, ["a"])
        assert {text for text, _ in fake.state.compiled if "nothing" not in text} == expected
    assert len(list(folder.iterdir())) == 4
    find_device.cache_clear()


def test_what_it_depends_on(folder, monkeypatch):
    """Text, options, architecture, versions of NVRTC and of ipsdist, and where one of them ends."""
    assert made()
    assert not made()
    assert made("text2")
    assert made(architecture="sm_80")
    assert made(version=(13, 1))
    assert made(version=(13, 10))
    assert not made(version=(13, 1))
    with monkeypatch.context() as patched:
        patched.setattr(kept_code, "options_for", lambda architecture: (*options_for(architecture), "-G"))
        assert made()
    with monkeypatch.context() as patched:
        patched.setattr(kept_code, "_version", lambda: "9.9")
        assert made()
    assert not made()
    names = {kept_code._key(*parts, (1, 1)) for parts in (("ab", "c"), ("a", "bc"), ("abc", ""))}
    assert len(names) == 3


@pytest.mark.parametrize("harm", ["short", "empty", "long", "one bit", "of another text", "gone"])
def test_a_file_that_is_not_whole_is_compiled_again(folder, harm):
    """And is whole then."""
    assert made("another")
    (other,) = folder.iterdir()
    assert made()
    (file,) = set(folder.iterdir()) - {other}
    content = bytearray(file.read_bytes())
    if harm == "gone":
        file.unlink()
    elif harm == "of another text":
        file.write_bytes(other.read_bytes())
    else:
        content[-3] ^= harm == "one bit"
        file.write_bytes(content + b"x" if harm == "long" else content[: {"short": -1, "empty": 0}.get(harm)])
    assert made()
    assert not made()


def test_only_its_user_can_write_it(folder):
    """Neither the folder nor a file lets others in."""
    made()
    (file,) = folder.iterdir()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


@pytest.mark.parametrize("who", ["group", "all", "another user", "the file", "a link"])
def test_what_others_could_have_written_is_not_used(folder, who, monkeypatch, tmp_path):
    """Code from there would run: it is compiled, and nothing is kept there."""
    made()
    (file,) = folder.iterdir()
    before = file.read_bytes()
    if who == "another user":
        monkeypatch.setattr(os, "geteuid", lambda: folder.stat().st_uid + 1)
    elif who == "the file":
        file.chmod(0o666)
    elif who == "a link":
        file.rename(tmp_path / "elsewhere")
        file.symlink_to(tmp_path / "elsewhere")
    else:
        folder.chmod(0o770 if who == "group" else 0o702)
    assert made()
    if who in ("the file", "a link"):  # the folder is ours: the file is put right
        assert not made()
        assert not file.is_symlink()
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    else:
        assert made("another")
        assert [one.read_bytes() for one in folder.iterdir()] == [before]


@pytest.mark.parametrize("value", ["off", "OFF", ""])
def test_off(value, monkeypatch, tmp_path):
    """Nothing is kept then, and nothing is made."""
    monkeypatch.setenv("IPSDIST_CACHE_DIR", value)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert made()
    assert made()
    assert not list(tmp_path.iterdir())


def test_which_folder(monkeypatch, tmp_path):
    """The one that is named; else that of the user's caches, if it is named as it should be; else that of the home."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setenv("IPSDIST_CACHE_DIR", "~/mine")
    assert kept_code._path() == tmp_path / "home" / "mine" / "cubin"
    monkeypatch.delenv("IPSDIST_CACHE_DIR")
    assert kept_code._path() == tmp_path / "xdg" / "ipsdist" / "cubin"
    for value in ("relative", ""):
        monkeypatch.setenv("XDG_CACHE_HOME", value)
        assert kept_code._path() == tmp_path / "home" / ".cache" / "ipsdist" / "cubin"
    assert made()
    assert not made()


def test_a_folder_that_cannot_be_made_or_written(folder, monkeypatch, tmp_path):
    """All goes on without it, and leaves nothing half done."""
    folder.parent.write_text("a file where the folder should be")
    assert made()
    assert made()
    folder.parent.unlink()

    def full(*arguments, **named):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "rename", full)
        assert made()
    assert list(folder.iterdir()) == []

    def homeless(path):
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(kept_code, "Path", SimpleNamespace(home=lambda: homeless(None)))
    monkeypatch.delenv("IPSDIST_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    assert made()


def test_too_many(folder):
    """Those that were used least lately are removed; so are what dead processes left; what is not ours stays."""
    made("0")
    (folder / "note.txt").write_text("")
    for k in range(1, MOST):
        made(f"{k}")
    files = {k: folder / f"{kept_code._key(f'{k}', 'sm_90', (13, 0))}.cubin" for k in range(MOST)}
    assert all(file.exists() for file in files.values())
    for k, file in files.items():
        os.utime(file, (1000 + k, 1000 + k))
    (folder / "dead.new").write_text("")
    os.utime(folder / "dead.new", (1, 1))
    assert not made("0")  # used now
    made("one more")
    assert not (folder / "dead.new").exists()
    assert [k for k, file in files.items() if not file.exists()] == [1]
    assert len(list(folder.iterdir())) == MOST + 1
