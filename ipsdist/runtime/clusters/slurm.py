"""Jobs of Slurm that each hold workers; the scheduler is in this process, which must stay until the end."""

# mypy: untyped-calls-exclude="distributed"

from __future__ import annotations

import contextlib
import logging
import math
import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from typing import Any

import dask
import distributed

from ipsdist.model.errors import InputError
from ipsdist.runtime.clusters import Tell
from ipsdist.runtime.clusters.encryption import certificates
from ipsdist.runtime.clusters.interrupts import heard_interrupts
from ipsdist.runtime.clusters.starting import ALLOCATOR, SCHEDULER, first_worker, module, size_of, starting, variables
from ipsdist.runtime.settings import cluster_arguments, setting

__all__ = ["slurm"]

_SECONDS = 30
_LOOPBACK = "127.0.0.1:0"


@contextlib.contextmanager
def slurm(workers: int | None, tell: Tell) -> Iterator[distributed.Client]:
    """Submit as many jobs as hold the workers; one that is cancelled or ends is replaced. They end with this process.

    Raises InputError where Slurm is not, or does not take such a job.
    """
    jobqueue = module("dask_jobqueue", "slurm", "cluster")
    size = size_of("slurm", workers)
    if size is None:
        fix = "give --workers N or set ipsdist.cluster.slurm.workers"
        raise InputError("--cluster", "slurm must know how many workers to ask for", None, fix)
    if shutil.which("sbatch") is None:
        rule, fix = "slurm must be given where jobs are submitted", "give the command on a login node"
        raise InputError("--cluster", rule, "no sbatch on the PATH", fix)
    with dask.config.set(SCHEDULER), starting("slurm"):
        arguments = _arguments()
        cluster = jobqueue.SLURMCluster(**arguments)
    with cluster, heard_interrupts(), distributed.Client(cluster, set_as_default=False) as client:
        _check_script(cluster.job_script())
        # dask-jobqueue counts the processes of a job so; a job is submitted, or cancelled, whole.
        each = max(1, int(arguments["processes"]))
        fewest, most = (math.ceil(n / each) for n in (max(1, size.minimum), size.maximum))
        # Adapting replaces what ends; a job that can never start a worker would be submitted without end.
        cluster.scale(jobs=fewest)
        fix = "see the job's slurm-*.out, then ipsdist.cluster.slurm in docs/cluster-settings.md"
        wait = setting("cluster.slurm.wait")
        first_worker(client, "--cluster", wait, tell, wanted=fewest * each, ended=_jobs_ended(cluster), fix=fix)
        cluster.adapt(minimum_jobs=fewest, maximum_jobs=most)
        yield client


def _arguments() -> dict[str, Any]:
    """Return what SLURMCluster is given: ours where neither our section nor that of jobqueue says otherwise."""
    given = cluster_arguments("slurm")
    theirs = dask.config.get("jobqueue.slurm", {}) or {}

    def known(key: str) -> Any:
        return given.get(key, theirs.get(key, theirs.get(key.replace("_", "-"))))

    cores = known("cores")
    if cores is None or known("memory") is None:
        fix = "set cores and memory of a job in ipsdist.cluster.slurm, or in jobqueue.slurm"
        raise InputError("--cluster", "slurm must know the size of a job", None, fix)
    security = known("security")
    if security is None:
        # The scheduler listens where the nodes reach it, and runs what it is sent.
        security = distributed.Security() if certificates()["ssl_context"] is not None else True
    prologue = [
        *(known("job_script_prologue") or []),
        *(f"export {k}={shlex.quote(v)}" for k, v in (variables() | ALLOCATOR).items()),
    ]
    return {
        "silence_logs": logging.CRITICAL,
        **given,
        # Workers of one thread: BLAS and Numba run on one where bits are promised.
        "processes": known("processes") or cores,
        "job_script_prologue": prologue,
        "security": security or None,
        "shared_temp_directory": known("shared_temp_directory") or os.getcwd(),
        "scheduler_options": {"dashboard_address": _LOOPBACK, **(known("scheduler_options") or {})},
    }


def _check_script(script: str) -> None:
    """Ask Slurm whether it would take the job. Raises InputError with its own words."""
    with tempfile.NamedTemporaryFile("w", suffix=".sh") as file:
        file.write(script)
        file.flush()
        asked = _asked("sbatch", "--test-only", file.name)
    if asked is None or asked.returncode != 0:
        said = "no answer" if asked is None else " ".join(asked.stderr.split()) or f"exit code {asked.returncode}"
        fix = "see ipsdist.cluster.slurm in docs/cluster-settings.md"
        raise InputError("--cluster", "slurm must take the job", said, fix)


def _jobs_ended(cluster: Any) -> Callable[[], str | None]:
    """Return what tells that every job that was submitted has ended."""

    def ended() -> str | None:
        numbers = [str(job.job_id) for job in cluster.workers.values() if getattr(job, "job_id", None)]
        if not numbers:
            return None
        asked = _asked("squeue", "--noheader", "--format=%A", f"--jobs={','.join(numbers)}")
        # Slurm knows nothing of a job that ended some minutes ago, and then says that its number is not valid.
        gone = asked is not None and not asked.stdout.split() and (asked.returncode == 0 or "nvalid" in asked.stderr)
        return f"none: Slurm's jobs {', '.join(numbers)} ended before one was there" if gone else None

    return ended


def _asked(*words: str) -> subprocess.CompletedProcess[str] | None:
    try:
        return subprocess.run(words, capture_output=True, text=True, timeout=_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
