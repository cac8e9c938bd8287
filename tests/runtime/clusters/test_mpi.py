"""A cluster of the processes of one mpirun: who serves, who drives, what they speak."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
from ipsdist.runtime.executor import make_executor
from tests.runtime import tasks
if __name__ == "__main__":
    with make_executor(cluster="mpi") as executor:
        done = dict(executor.run(tasks.walk, [(2, 0.0)], stage="s", observe=lambda k, done: None))
        workers = executor._client.scheduler_info(n_workers=-1)["workers"]
        print(executor.name, executor.workers, done, executor._client.scheduler.address, *workers)
"""


@pytest.fixture
def mpirun() -> str:
    pytest.importorskip("dask_mpi")
    found = shutil.which("mpirun", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if found is None:
        pytest.skip("no mpirun: pip install mpich, or Debian's openmpi-bin")
    return found


@pytest.mark.parametrize(("security", "scheme"), [("True", "tls"), ("False", "tcp")])
def test_ranks_become_scheduler_driver_and_workers(mpirun: str, security: str, scheme: str, tmp_path: Path) -> None:
    """One line of the driver, nothing of the others; all on loopback on one host; keys of their own where asked."""
    pytest.importorskip("cryptography")
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    environment = {
        **os.environ,
        "PYTHONPATH": str(Path(__file__).parents[3]),
        "DASK_IPSDIST__CLUSTER__MPI__SECURITY": security,
        # Open MPI asks for these; others do not know them.
        "OMPI_ALLOW_RUN_AS_ROOT": "1",
        "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
        "OMPI_MCA_rmaps_base_oversubscribe": "1",
        "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
    }
    words = [mpirun, "-n", "4", sys.executable, str(script)]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=200, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    (line,) = done.stdout.splitlines()
    name, workers, *_, address, first, second = line.split()
    assert (name, workers) == ("mpi", "2")
    assert "{0: 2}" in line
    assert all(place.startswith(f"{scheme}://127.0.0.1:") for place in (address, first, second))
