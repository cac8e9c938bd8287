"""The same bits for any number of workers, chunk size, BLAS threads, and after a kill."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import ipsdist as ips
from ipsdist.storage import Store
from tests.runs.samples import answer, write


def arrays(out: Path) -> dict[str, bytes]:
    """Return every array of the store but the checkpoints, as bytes."""
    import zarr

    group = zarr.open_group(str(out / "store.zarr"), mode="r")
    return {
        name: np.asarray(node[...]).tobytes()
        for name, node in group.members(max_depth=None)
        if isinstance(node, zarr.Array) and "checkpoint" not in name
    }


@pytest.fixture(scope="module", params=[1, 2])
def undisturbed(request, tmp_path_factory):
    """Return the run file of a finished run in one process, its folder, its arrays and its answer."""
    folder = tmp_path_factory.mktemp(f"bits{request.param}")
    source = write(folder, request.param)
    outcome = ips.run(source, folder / "serial", draw=False)
    return source, folder, arrays(folder / "serial"), answer(outcome.result)


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_workers_change_no_bit(undisturbed, workers):
    """1, 2 and 3 worker processes leave the same arrays and the same answer as none."""
    source, folder, expected, result = undisturbed
    outcome = ips.run(source, folder / f"workers{workers}", workers=workers, draw=False)
    assert outcome.result["workers"] == workers
    assert answer(outcome.result) == result
    assert arrays(outcome.out) == expected


@pytest.mark.parametrize("chunk", [4, 333, 10_000])
def test_chunks_change_no_bit(undisturbed, chunk):
    """Particles are stepped in chunks; their size changes nothing."""
    source, folder, expected, result = undisturbed
    outcome = ips.run(source, folder / f"chunk{chunk}", sets=[f"run.chunk={chunk}"], draw=False)
    assert answer(outcome.result) == result
    assert arrays(outcome.out) == expected


@pytest.mark.parametrize("threads", [1, 2])
def test_blas_threads_change_no_bit(undisturbed, threads):
    """OPENBLAS_NUM_THREADS changes nothing: BLAS runs on one thread where bits are promised."""
    source, folder, expected, result = undisturbed
    out = folder / f"blas{threads}"
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": str(threads), "OMP_NUM_THREADS": str(threads)}
    command = [sys.executable, "-m", "ipsdist", "run", str(source), "--out", str(out), "--quiet"]
    subprocess.run(command, env=environment, check=True, timeout=120, capture_output=True)
    assert answer(json.loads((out / "result.json").read_text())) == answer(json.loads(json.dumps(result)))
    assert arrays(out) == expected


# A killed writer may leave a folder without metadata, of which zarr warns when it lists; the arrays are what counts.
@pytest.mark.filterwarnings("ignore:Object at .* is not recognized")
@pytest.mark.parametrize("record", ["particles/replica-0.block-0", "densities/block-0", "equations/replica-0.block-0"])
def test_kill_and_resume_change_no_bit(undisturbed, record):
    """Killed by SIGKILL as soon as a stage has committed its first block, the same command ends with the same bits."""
    source, folder, expected, result = undisturbed
    out = folder / record.replace("/", "-")
    command = [sys.executable, "-m", "ipsdist", "run", str(source), "--out", str(out), "--quiet"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    mark = out / "store.zarr" / "records" / record / "zarr.json"
    deadline = time.monotonic() + 100
    while process.poll() is None and not mark.exists() and time.monotonic() < deadline:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert mark.exists()
    assert Store.open(out / "store.zarr").record("kernel/done") is None
    outcome = ips.run(source, out, draw=False)
    assert answer(outcome.result) == result
    assert arrays(out) == expected
