"""Ctrl-C while a cluster starts and while it works: never lost, never more than one line."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ipsdist.runtime.clusters.interrupts import held_interrupts
from ipsdist.runtime.clusters.starting import module
from ipsdist.runtime.executor import make_executor
from tests.runtime import tasks

HEARD = "import signal; print(signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, []))"
DRIVER = """
import os, signal, threading, time
from ipsdist.runtime.executor import make_executor
from tests.runtime import tasks
if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever started this may ignore it
    print("begun", flush=True)
    try:
        with make_executor(workers=2) as executor:
            list(executor.run(tasks.walk, [(1000, 0.05)], stage="s", observe=lambda index, done: None))
    except KeyboardInterrupt:
        print("interrupted")
"""


@pytest.fixture(autouse=True)
def pythons_own_handler() -> Iterator[None]:
    """Modules that other tests import have handlers of their own."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_an_interrupt_waits_and_children_never_hear_one() -> None:
    """It is raised when the block ends; what ran before is as it was."""
    before = signal.getsignal(signal.SIGINT)
    children: list[str] = []

    def start() -> None:
        with held_interrupts():
            os.kill(os.getpid(), signal.SIGINT)
            children.append(subprocess.check_output([sys.executable, "-c", HEARD], text=True))

    with pytest.raises(KeyboardInterrupt):
        start()
    assert children == ["True\n"]
    assert signal.getsignal(signal.SIGINT) is before
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])


def test_an_import_does_not_change_what_an_interrupt_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As that of dask-jobqueue would."""
    (tmp_path / "grabs_interrupts.py").write_text("import signal\nsignal.signal(signal.SIGINT, lambda *_: None)\n")
    monkeypatch.syspath_prepend(tmp_path)
    before = signal.getsignal(signal.SIGINT)
    module("grabs_interrupts", "slurm", "cluster")
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.parametrize("seconds", [0.3, 1.0])
def test_an_interrupt_while_workers_start_says_nothing_but_itself(tmp_path: Path, seconds: float) -> None:
    """A terminal sends it to all processes; no traceback of a child, nothing from a half-started cluster."""
    script = tmp_path / "driver.py"
    script.write_text(DRIVER)
    driver = subprocess.Popen(
        [sys.executable, str(script)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
        start_new_session=True,
    )
    assert driver.stdout is not None
    assert driver.stdout.readline() == "begun\n"
    with pytest.raises(subprocess.TimeoutExpired):
        driver.wait(seconds)
    os.killpg(driver.pid, signal.SIGINT)
    assert driver.communicate(timeout=60)[0] == "interrupted\n"


def test_no_callback_of_the_collector_swallows_an_interrupt() -> None:
    """Dask's is away while its scheduler is in this process, and the scheduler can still close."""
    before = list(gc.callbacks)
    with make_executor(workers=1) as executor:
        list(executor.run(tasks.walk, [(1, 0.0)], stage="s", observe=lambda index, done: None))
        assert gc.callbacks == before
    assert gc.callbacks == before
