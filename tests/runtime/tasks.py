"""Task functions that workers import: small, and some of them ill-behaved."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import numpy as np

from ipsdist.model.errors import InputError, RunError
from ipsdist.runtime.executor import Tick


def square_sum(task: tuple[int, int], tick: Tick) -> float:
    """Return a sum whose last bits depend on the order of its terms."""
    seed, size = task
    matrix = np.random.default_rng(seed).normal(size=(size, size))
    tick(1.0)
    return float(np.linalg.norm(matrix @ matrix.T))


def walk(task: tuple[int, float], tick: Tick) -> int:
    """Say how far it is after every pause; return the number of steps."""
    steps, pause = task
    for step in range(steps):
        time.sleep(pause)
        tick(step + 1.0)
    return steps


def refuse(task: int, tick: Tick) -> int:
    """Refuse task 1 as input, fail at task 2, stumble at task 3."""
    if task == 1:
        raise InputError("time.step", "must be small", 3, "use 0.1")
    if task == 2:
        raise RunError("the particles blew up at step 7")
    if task == 3:
        return 1 // 0
    return task


def die_once(task: str, tick: Tick) -> int:
    """Kill the own process the first time; say the process id the second time."""
    marker = Path(task)
    if not marker.exists():
        marker.touch()
        time.sleep(0.5)  # so that it is known to have begun
        os.kill(os.getpid(), signal.SIGKILL)
    return os.getpid()


def die(task: int, tick: Tick) -> None:
    """Kill the own process each time."""
    os.kill(os.getpid(), signal.SIGKILL)


def mark_when_done(task: str, tick: Tick) -> None:
    """Work for three seconds with ticks, then leave a file."""
    for step in range(60):
        time.sleep(0.05)
        tick(step)
    Path(task).touch()


def blas_threads(task: int, tick: Tick) -> list[int]:
    """Return the number of threads of every BLAS in the process."""
    import threadpoolctl

    return [found["num_threads"] for found in threadpoolctl.threadpool_info() if found["user_api"] == "blas"]


def worker_name(task: int, tick: Tick) -> str:
    """Return the name of the Dask worker that does this."""
    import distributed

    time.sleep(0.05)
    return str(distributed.get_worker().name)


def lack(task: str, tick: Tick) -> None:
    """Need a package that is not here."""
    raise ModuleNotFoundError(f"No module named {task!r}", name=task)


def die_if(task: bool, tick: Tick) -> int:
    """Kill the own process, or say its id."""
    if task:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.2)
    return os.getpid()


def process_id(seconds: float, tick: Tick) -> int:
    """Wait, then return the number of the own process."""
    time.sleep(seconds)
    return os.getpid()


def of_environment(task: str, tick: Tick) -> str | None:
    """Return a variable of the own environment."""
    return os.environ.get(task)
