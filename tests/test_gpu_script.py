"""benchmarks/gpu.py without a GPU: it says so in a line, and its rehearsal goes through every part on the host."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.host_device import COMPILER

FOLDER = Path(__file__).parents[1] / "benchmarks"
SCRIPT = FOLDER / "gpu.py"

pytestmark = pytest.mark.skipif(not SCRIPT.exists(), reason="the benchmarks are not beside the tests")


def call(*words, seconds=240):
    done = subprocess.run(
        [sys.executable, str(SCRIPT), *words], capture_output=True, text=True, timeout=seconds, check=False
    )
    return done.returncode, done.stdout, done.stderr


def has_gpu():
    from ipsdist.arrays import NoDeviceError, find_device

    try:
        find_device()
    except NoDeviceError:
        return False
    return True


@pytest.mark.skipif("has_gpu()", reason="there is a GPU")
def test_without_a_gpu(tmp_path):
    """One line, exit 2, and no file that could be taken for measurements."""
    code, out, _ = call("--json", str(tmp_path / "gpu.json"))
    assert code == 2
    assert len(out.splitlines()) == 1
    assert out.startswith("no GPU to measure: ")
    assert not (tmp_path / "gpu.json").exists()


@pytest.mark.skipif(COMPILER is None, reason="no g++ to compile CUDA text for the host")
@pytest.mark.long  # most of a minute; the kernels that it launches are tested by themselves
def test_rehearsal(tmp_path):
    """Every part comes to its end on the host: all bits equal, all measurements taken, one table last."""
    code, out, _ = call("--rehearse", "--json", str(tmp_path / "gpu.json"))
    written = json.loads((tmp_path / "gpu.json").read_text())
    assert written["rehearsal"]
    rows = written["rows"]
    assert [r for r in rows if r["state"] in ("FAILED", "left out")] == []
    assert code == 0
    parts = {"card", "bits", "speed", "small", "pairs", "learning", "ring", "two", "sanitizer", "run", "grids"}
    assert {r["part"] for r in rows} == parts
    bits = [r for r in rows if r["part"] == "bits"]
    kernels = ("step", "move", "deposit", "flux", "squares", "draws")
    assert {f"{d}-D {name}" for d in (1, 2, 3) for name in kernels} <= {r["what"] for r in bits}
    # Every bar stands beside a figure, measured here in name only.
    assert sum(r["bar"] is not None and r["value"] > 0 for r in rows if r["part"] != "bits") >= 13
    lines = out.splitlines()
    assert len(lines) == len(rows) + 1 - sum(r["unit"].endswith("the same bits") for r in rows) + 1
    assert lines[0].split() == ["part", "what", "measured", "bar", "of", "bar", "bound", "copy"]


@pytest.fixture
def bench(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(FOLDER)
    import _gpu_bench

    return _gpu_bench


def test_bars(bench):
    """A row passes where the bar is reached, from above or from below, and its share says by how much."""
    b = bench.Bench("speed")
    rows = [b.row("a", 3e11, "/s", bar=2e11), b.row("b", 1e11, "/s", bar=2e11), b.row("c", 30, "us", bar=60, most=True)]
    rows += [b.row("d", 90, "us", bar=60, most=True), b.row("e", 1.0)]
    assert [r.state for r in rows] == [bench.DONE, bench.BELOW, bench.DONE, bench.BELOW, bench.TOLD]
    assert [r.of_bar for r in rows] == [1.5, 0.5, 2.0, pytest.approx(2 / 3), None]


def test_failures_are_rows(bench, tmp_path):
    """What fails becomes a line, in the file too, and what follows is done."""
    sink = tmp_path / "rows"
    b = bench.Bench("bits", sink=sink)
    with b.case("first"):
        raise ValueError("a\nb")
    with b.case("second"):
        importlib.import_module("no_such_package.part")
    with b.case("third"):
        b.row("third", 1.0)
    told = [("first", "FAILED", "ValueError: a"), ("second", "left out", "no_such_package is not installed")]
    assert [(r.what, r.state, r.note) for r in b.rows] == [*told, ("third", "", "")]
    assert [json.loads(line)["what"] for line in sink.read_text().splitlines()] == ["first", "second", "third"]


@pytest.mark.skipif(COMPILER is None, reason="no g++ to compile CUDA text for the host")
def test_a_part_that_does_not_end(bench, monkeypatch, tmp_path):
    """A process whose time is out is ended, and that is a line of the table, behind those that it had written whole."""
    (tmp_path / "bits1.jsonl").write_text('{"part": "bits", "what": "step", "state": "ok"}\n{"part": "bi')
    spec = importlib.util.spec_from_file_location("gpu_script", SCRIPT)
    gpu = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "gpu_script", gpu)
    spec.loader.exec_module(gpu)
    bits = next(p for p in gpu.PARTS if p.name == "bits")
    process = gpu.Process(bits, "bits1", -9.9, tmp_path, ["--rehearse"])
    rows, code = process.result()
    assert code == -1
    assert [(r["part"], r["what"], r["state"]) for r in rows] == [("bits", "step", "ok"), ("bits", "bits1", "FAILED")]
    assert rows[1]["note"].startswith("stopped after")


def test_tally_sees_one_bit(bench):
    """A single differing bit of a position fails a kernel, and is told."""
    import numpy as np
    from _gpu_bits import Tally

    tally, x = Tally(), np.linspace(0, 1, 7)
    tally.add("same", {"positions": (x, x.copy())})
    y = x.copy()
    y[3] = np.nextafter(y[3], 2)
    tally.add("other", {"positions": (x, y), "counts": (np.arange(3), np.arange(3))})
    b = bench.Bench("bits")
    tally.tell(b, "step")
    assert b.rows[0].state == bench.FAILED
    assert (b.rows[0].value, b.rows[0].unit) == (1.0, "of 2 the same bits")
    assert b.rows[0].note == "other: 1 of 7 positions differ"


@pytest.mark.skipif(COMPILER is None, reason="no g++ to compile CUDA text for the host")
def test_guards_see_a_write_beyond(bench):
    """A kernel that writes one element before its array is found, although the memory is the device's own."""
    import numpy as np
    from _gpu_kernels import Guarded

    from tests.host_device import HostDevice

    device = HostDevice()
    text = 'extern "C" __global__ void put(double* x, long long i) { x[i] = 1.0; }'
    put = device.program(text, ["put"])["put"]
    there = Guarded(device, np.zeros(5))
    put(1, 1, [there.array, np.int64(4)])
    assert there.host().tolist() == [0, 0, 0, 0, 1]
    put(1, 1, [there.array, np.int64(-1)])
    with pytest.raises(RuntimeError, match="beyond an array"):
        there.host()
