"""A run kept in a bucket: the same bits as on a disk, after kills, with one writer, and with damage mended."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import ipsdist as ips
from ipsdist.cli.app import main
from ipsdist.model.errors import InputError, RunError
from ipsdist.runs.info import info
from ipsdist.storage import Place, Store, place
from tests.buckets import bucket, s3_server
from tests.runs.samples import write

__all__ = ["bucket", "s3_server"]

SETS = ["system.particles=300", "run.seed=3"]
_TOLD = {"cost", "workers"}


def bits(out: Place | Path | str) -> tuple[dict[str, object], dict[str, bytes]]:
    """Return the result without what it cost, and every array of the store."""
    home = place(out)
    result = json.loads((home / "result.json").read_text())
    store = home / "store.zarr"
    names = [name for name, _ in store.files() if not name.startswith("records/")]
    assert not [name for name in names if "partial" in name]
    arrays = {name: (store / name).read_bytes() for name in names if name != "zarr.json"}
    return {key: value for key, value in result.items() if key not in _TOLD}, arrays


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("source"))


@pytest.fixture(scope="module")
def undisturbed(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the directory of the run on a disk."""
    out = tmp_path_factory.mktemp("disk") / "run"
    ips.run(source, out, sets=SETS, draw=False)
    return out


@pytest.mark.parametrize("workers", [None, 2])
def test_a_run_in_a_bucket_has_the_same_bits(bucket: str, source: Path, undisturbed: Path, workers: int | None) -> None:
    """With and without workers; and it is kept: the same command does nothing again."""
    out = f"{bucket}/runs/small"
    outcome = ips.run(source, out, sets=SETS, draw=False, workers=workers)
    assert str(outcome.out) == out
    assert bits(out) == bits(undisturbed)
    again = ips.run(source, out, sets=SETS, draw=False)
    assert again.reused == ("particles", "densities", "equations", "kernel", "report")
    there = {name for name, _ in place(out).files()} - {".lock/2"}
    assert there == {p.relative_to(undisturbed).as_posix() for p in undisturbed.rglob("*") if p.is_file()} - {".lock"}


def test_a_run_by_fsspec_has_the_same_bits(tmp_path: Path, source: Path, undisturbed: Path) -> None:
    """``memory://`` needs nothing at all, and ``local://`` is a disk that is spoken to as if it were far."""
    for out in (f"memory://{tmp_path.name}/run", f"local://{tmp_path}/run"):
        ips.run(source, out, sets=SETS, draw=False)
        assert bits(out) == bits(undisturbed)


def test_what_no_worker_sees_is_refused(tmp_path: Path, source: Path) -> None:
    """Every process has a memory of its own; and a URL that a Path has spoilt names no directory."""
    with pytest.raises(InputError, match="`--out` must be a place that every worker sees and writes to; got memory://"):
        ips.run(source, f"memory://{tmp_path.name}/alone", sets=SETS, workers=1)
    assert not list(place(f"memory://{tmp_path.name}").files())
    with pytest.raises(InputError, match="must be a text where it is a URL"):
        ips.run(source, Path("s3://bucket/run"), sets=SETS)


def _words(source: Path, out: str) -> list[str]:
    return ["run", str(source), "--out", out, *(word for item in SETS for word in ("--set", item)), "--quiet"]


def test_a_kill_is_survived_and_a_second_writer_is_told_of_the_first(
    bucket: str, source: Path, undisturbed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """kill -9 in the middle of the equations; the same command goes on at once, on this machine, to the same bits."""
    out = f"{bucket}/killed"
    code = """
import signal, sys
from ipsdist.cli.app import main
from ipsdist.storage import Store
commit = Store.commit
def stopping(self, record, payload):
    commit(self, record, payload)
    if record == "equations/begun":
        print("here", flush=True)
        signal.pause()
Store.commit = stopping
main(sys.argv[1:])
"""
    owner = subprocess.Popen([sys.executable, "-c", code, *_words(source, out)], stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    assert owner.stdout.readline() == "here\n"
    assert main(_words(source, out)) == 2
    said = capsys.readouterr().err
    assert f"`--out` must not be in use; got {out}, which process {owner.pid} on " in said
    assert said.count("\n") == 1
    owner.send_signal(signal.SIGKILL)
    owner.communicate()
    before = dict(place(f"{out}/store.zarr/particles").files())
    written = (place(out) / "store.zarr/records/particles/done/zarr.json").modified()
    assert main(_words(source, out)) == 0
    assert bits(out) == bits(undisturbed)
    assert dict(place(f"{out}/store.zarr/particles").files()) == before
    assert (place(out) / "store.zarr/records/particles/done/zarr.json").modified() == written


def test_the_commands_of_a_directory_take_a_url(
    bucket: str, source: Path, undisturbed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """fit, report and info; pool reads what is there and writes elsewhere."""
    out = f"{bucket}/a"
    ips.run(source, out, sets=SETS, draw=False)
    ips.run(source, f"{bucket}/b", sets=[*SETS, "run.seed=4"], draw=False)
    assert main(["fit", out, "--set", "fit.criterion=bic"]) == 0
    assert f"ipsdist report {out}" in capsys.readouterr().out
    assert info(out)["answer"] == [f"result.json is of an earlier fit; next: ipsdist report {out}"]
    assert main(["report", out, "--quiet"]) == 0
    assert f"{out}/report.html" in capsys.readouterr().out
    found = info(out)
    assert found["stages"] == dict.fromkeys(("particles", "densities", "equations", "kernel"), "done")
    assert found["bytes"] == place(f"{out}/store.zarr").size() > 10_000
    assert "figures" in place(out).names()
    pooled = ips.pool([out, f"{bucket}/b"], out=f"{bucket}/both")
    assert str(pooled.out) == f"{bucket}/both"
    assert place(f"{bucket}/both").names() == [".lock", "figures", "pooled.html", "pooled.json"]


@pytest.mark.parametrize("kind", ["disk", "bucket"])
@pytest.mark.parametrize("how", ["bit", "missing"])
def test_what_is_damaged_is_made_again_once(
    kind: str, how: str, request: pytest.FixtureRequest, tmp_path: Path, source: Path
) -> None:
    """The replica that owns the chunk, and nothing else; the user hears of it; the bits are those of before."""
    out = f"{request.getfixturevalue('bucket')}/run" if kind == "bucket" else str(tmp_path / "run")
    ips.run(source, out, sets=[*SETS, "system.replicas=2"], draw=False)
    before = bits(out)
    store = place(out) / "store.zarr"
    name = next(n for n, _ in sorted(store.files()) if n.startswith("particles/replica-1/") and "count/c." in n)
    _harm(store / name, how)
    kept = (store / "records/particles/replica-0/zarr.json").read_bytes()
    lines: list[str] = []
    ips.estimate(out, tell=lines.append)
    ips.run(source, out, sets=[*SETS, "system.replicas=2"], draw=False)
    assert bits(out) == before
    said = [line for line in lines if "lost" in line]
    why = {"bit": "its checksum is wrong", "missing": "it is not there"}[how]
    lost = f"the store has lost a part of the particles: {store}/{name} ({why})"
    assert said == [f"{lost}; particles/replica-1 is done again"]
    assert (store / "records/particles/replica-0/zarr.json").read_bytes() == kept


def _harm(chunk: Place, how: str) -> None:
    if how == "missing":
        chunk.remove()
        return
    bad = bytearray(chunk.read_bytes())
    bad[len(bad) // 2] ^= 16
    chunk.write_whole(bytes(bad))


def test_what_is_damaged_again_and_again_is_an_error_with_the_command(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that loses what is written is not fed for ever."""
    out = tmp_path / "run"
    ips.run(source, out, sets=SETS, draw=False)
    commit = Store.commit

    def losing(self: Store, record: str, payload: dict[str, object]) -> None:
        if record == "densities/done":
            _harm(self.place / "densities/density/c.0.0", "bit")
        commit(self, record, payload)

    monkeypatch.setattr(Store, "commit", losing)
    _harm(place(out) / "store.zarr/densities/density/c.0.0", "bit")
    (out / "result.json").unlink()
    message = rf"lost a part of the densities: .*density/c\.0\.0 \(.*\); make it again with `ipsdist estimate {out}`"
    with pytest.raises(RunError, match=message):
        ips.run(source, out, sets=SETS, draw=False)


def test_a_bucket_that_is_not_there_is_bad_input(s3_server: str, source: Path) -> None:
    """Said before anything is computed."""
    begun = time.monotonic()
    with pytest.raises(InputError, match="`--out` must be a place that can be reached; got s3://no-such-bucket/run: "):
        ips.run(source, "s3://no-such-bucket/run", sets=SETS)
    with pytest.raises(InputError, match="`DIR` must be "):
        ips.fit("s3://no-such-bucket/run")
    assert time.monotonic() - begun < 60
    assert not os.path.exists("s3:")
