"""The lock of a remote place: one owner, named to others; over when given back, dead, or not heard of."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from ipsdist.model.errors import InputError, RunError
from ipsdist.storage import lease, locked, place
from ipsdist.storage.owner import Owner
from ipsdist.storage.places import Place
from tests.storage.test_lock import HOLD


@pytest.fixture(params=["s3", "memory"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """Return a place for a run."""
    return place(f"{request.getfixturevalue('bucket')}/run" if request.param == "s3" else f"memory://{tmp_path.name}")


def hold(folder: Place, owner: Owner) -> None:
    """Leave the lease of another owner, as just written."""
    content = {"owner": owner.to_json(), "token": "t"}
    (folder / ".lock" / "7").write_whole(json.dumps(content).encode())


ELSEWHERE = replace(Owner.here(), process=123, host="node-7", machine="another boot")


def test_a_second_writer_is_refused_until_the_first_lets_go(folder: Place) -> None:
    """The refusal names process, host and how long ago it was heard; given back, the lock is free at once."""
    with locked(folder):
        named = f"process {os.getpid()} on {socket.gethostname()} is writing"
        message = rf"`DIR` must not be in use; got {folder}, which {named} \(last"
        with pytest.raises(InputError, match=message), locked(folder):
            pass
    with locked(folder):
        assert len((folder / ".lock").names()) == 1
    with pytest.raises(KeyError), locked(folder):
        raise KeyError
    with locked(folder):
        pass


def test_a_writer_on_another_host_holds_while_it_is_heard(folder: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may be alive, so it is waited for; when it was silent for long, the lock is taken over."""
    hold(folder, ELSEWHERE)
    with pytest.raises(InputError, match=r"process 123 on node-7 is writing .*; if it is dead, wait"), locked(folder):
        pass
    monkeypatch.setattr(lease, "LAPSES", 0.0)
    with locked(folder):
        assert (folder / ".lock").names() == ["8"]


def test_a_dead_process_of_this_machine_holds_nothing(folder: Place) -> None:
    """Nobody waits for it, even where its number has been given to another."""
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    hold(folder, replace(Owner.here(), process=gone.pid))
    with locked(folder):
        pass
    hold(folder, replace(Owner.here(), begun="1"))
    with locked(folder):
        pass


def test_a_kill_frees_a_bucket_at_once(bucket: str) -> None:
    """A real process, killed while it holds."""
    code = HOLD.replace("Path(sys.argv[1])", "place(sys.argv[1])").replace("import locked", "import locked, place")
    run = [sys.executable, "-c", code, f"{bucket}/run"]
    owner = subprocess.Popen(run, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    assert owner.stdout.readline() == "held\n"
    with pytest.raises(InputError, match=f"which process {owner.pid} on"), locked(place(f"{bucket}/run")):
        pass
    owner.kill()
    owner.communicate()
    with locked(place(f"{bucket}/run")):
        pass


def test_of_many_that_find_a_lapsed_lease_one_gets_it(folder: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """The others hear of the winner."""
    hold(folder, ELSEWHERE)
    begin, end, got, refused = threading.Barrier(5), threading.Event(), [], []
    silence = lease._silence
    monkeypatch.setattr(
        lease, "_silence", lambda at, one: 99.0 if one.owner and one.owner.process == 123 else silence(at, one)
    )

    def attempt() -> None:
        begin.wait()
        try:
            with locked(folder):
                got.append(1)
                end.wait(60)
        except InputError as error:
            refused.append(str(error))

    threads = [threading.Thread(target=attempt) for _ in range(5)]
    for thread in threads:
        thread.start()
    until = time.monotonic() + 60
    while len(refused) < 4 and time.monotonic() < until:
        time.sleep(0.01)
    end.set()
    for thread in threads:
        thread.join()
    assert len(got) == 1
    assert len(refused) == 4
    assert all(f"process {os.getpid()} on" in line for line in refused)


def test_the_lease_is_written_again_and_again_and_its_loss_is_noticed(
    folder: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who was thought dead, and was not, stops with one line, and leaves the lock of the other alone."""
    monkeypatch.setattr(lease, "BEATS", 0.01)
    until = time.monotonic() + 60

    def work() -> None:
        with locked(folder) as held:
            first = (folder / ".lock" / "1").modified()
            while (folder / ".lock" / "1").modified() == first and time.monotonic() < until:
                time.sleep(0.05)
            held()
            hold(folder, ELSEWHERE)
            while time.monotonic() < until:
                held()

    with pytest.raises(RunError, match="was taken over by process 123 on node-7"):
        work()
    assert json.loads((folder / ".lock" / "7").read_bytes())["owner"]["host"] == "node-7"


def test_a_put_whose_answer_was_lost_is_still_ours(folder: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tried again, it is told that there is one already, which is its own."""
    create = type(folder).create

    def twice(self: Place, content: bytes) -> bool:
        create(self, content)
        return create(self, content)

    monkeypatch.setattr(type(folder), "create", twice)
    with locked(folder):
        assert (folder / ".lock").names() == ["1"]


def test_a_place_that_cannot_be_written_is_refused(s3_server: str) -> None:
    """Before anything is begun."""
    message = "`DIR` must be a place that can be written to; got s3://no-such-bucket/run: "
    with pytest.raises(InputError, match=message), locked(place("s3://no-such-bucket/run")):
        pass
