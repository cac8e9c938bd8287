"""The lock of a run directory: one writer, named to the second, free as soon as it dies."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from ipsdist.model.errors import InputError
from ipsdist.storage import locked

HOLD = """
import sys
from pathlib import Path
from ipsdist.storage import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_second_writer_is_refused_until_the_first_is_gone(tmp_path: Path) -> None:
    """The refusal names process and host; after kill -9 the directory is free at once."""
    owner = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert owner.stdout is not None
    assert owner.stdout.readline() == "held\n"
    message = (
        f"`DIR` must not be in use; got {tmp_path}, which process {owner.pid} on {socket.gethostname()} is writing"
    )
    with pytest.raises(InputError, match=message), locked(tmp_path):
        pass
    owner.kill()
    owner.communicate()
    with locked(tmp_path):
        assert f"process {os.getpid()} on" in (tmp_path / ".lock").read_text()


def test_the_lock_is_free_after_an_error(tmp_path: Path) -> None:
    """An exception inside lets go, and the file names nobody."""
    with pytest.raises(RuntimeError), locked(tmp_path):
        raise RuntimeError
    with locked(tmp_path):
        pass
    assert (tmp_path / ".lock").read_text() == ""
