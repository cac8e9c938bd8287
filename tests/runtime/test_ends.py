"""How programs that work on Dask end: no process is left, and at most one line is said."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

DRIVER = """
import sys
from ipsdist.runtime.executor import make_executor
from tests.runtime import tasks
if __name__ == "__main__":
    function, argument = getattr(tasks, sys.argv[1]), eval(sys.argv[2])
    try:
        with make_executor(workers=1) as executor:
            observe = lambda index, done: print("tick", flush=True)
            for found in executor.run(function, [argument], stage="particles", observe=observe):
                print(found)
    except KeyboardInterrupt:
        print("interrupted")
    except Exception as error:
        print(f"{type(error).__name__}: {error}")
"""


def drive(tmp_path: Path, function: str, argument: object) -> subprocess.Popen[str]:
    script = tmp_path / "driver.py"
    script.write_text(DRIVER)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    return subprocess.Popen(
        [sys.executable, str(script), function, repr(argument)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
        start_new_session=True,
    )


def gone(processes: list[psutil.Process], seconds: float) -> bool:
    """Tell whether all of them end within the time."""
    return not psutil.wait_procs(processes, timeout=seconds)[1]


@pytest.mark.parametrize("signal_name", ["SIGINT", "SIGKILL"])
def test_no_process_survives_its_driver(tmp_path: Path, signal_name: str) -> None:
    """Neither after Ctrl-C (which a terminal sends to all processes, and which says nothing but itself) nor kill -9."""
    driver = drive(tmp_path, "walk", (1000, 0.05))
    assert driver.stdout is not None
    assert driver.stdout.readline() == "tick\n"
    children = psutil.Process(driver.pid).children(recursive=True)
    assert children
    os.killpg(driver.pid, signal.SIGINT) if signal_name == "SIGINT" else driver.kill()
    said = driver.communicate(timeout=30)[0]
    assert gone(children, 10)
    if signal_name == "SIGINT":
        assert set(said.split()) <= {"tick", "interrupted"}
        assert "interrupted" in said


def test_a_task_that_always_kills_its_worker_ends_in_one_line(tmp_path: Path) -> None:
    """Three deaths are enough; no traceback, no talk of Dask's own."""
    driver = drive(tmp_path, "die", 0)
    said = driver.communicate(timeout=60)[0]
    assert said == (
        "RunError: a task of particles ended its worker again and again, mostly for want of memory; "
        "use fewer --workers or a smaller run.chunk\n"
    )


def test_a_script_without_main_guard_is_told_so(tmp_path: Path) -> None:
    """Its workers would run the script themselves."""
    script = tmp_path / "script.py"
    work = "list(make_executor(workers=1).run(tasks.walk, [(1, 0.0)], stage='s', observe=print))"
    script.write_text(DRIVER.split("if __name__")[0] + work)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, env=environment)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].endswith("must do so under `if __name__ == '__main__':`")
