"""The processes of one ``mpirun``: rank 0 is the scheduler, rank 1 the driver, the others are workers."""

# mypy: untyped-calls-exclude="distributed"

from __future__ import annotations

import atexit
import contextlib
import logging
import signal
import socket
from collections.abc import Iterator
from typing import Any

import dask
import distributed
import psutil

from ipsdist.model.errors import InputError
from ipsdist.runtime.clusters import Tell
from ipsdist.runtime.clusters.encryption import certificates, keys_of_its_own
from ipsdist.runtime.clusters.starting import SCHEDULER, SPAWNED, WORKER, first_worker, module
from ipsdist.runtime.settings import cluster_arguments, setting

__all__ = ["mpi", "take_part"]

_DRIVER = 1
_FEWEST = 3
_CLOSING_SECONDS = 3.0
_taken = False


@contextlib.contextmanager
def mpi(workers: int | None, tell: Tell) -> Iterator[distributed.Client]:
    """Give the driver a client; processes of other ranks never come back from here.

    The cluster lives until the driver's process ends. Raises InputError outside of ``mpirun -n 3`` or more.
    """
    if workers is not None:
        rule, fix = "cannot be combined with `--cluster mpi`", "mpirun decides how many: leave it out"
        raise InputError("--workers", rule, workers, fix)
    take_part()
    with distributed.Client(dask.config.get("scheduler-address"), set_as_default=False) as client:
        wanted = module("mpi4py.MPI", "mpi", "cluster").COMM_WORLD.Get_size() - 2
        first_worker(client, "--cluster", setting("cluster.mpi.wait"), tell, wanted=wanted)
        yield client


def take_part() -> None:
    """Take the part of this rank: return on the driver, serve and then exit on the others. Twice does no harm."""
    global _taken
    if _taken:
        return
    world = _world()
    rank = world.Get_rank()
    dask_mpi = module("dask_mpi", "mpi", "cluster")
    try:
        arguments = {**_defaults(world), **cluster_arguments("mpi")}
        if rank != _DRIVER:
            # Ctrl-C reaches all of them; the driver sends the others home.
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            _quieten()
        with dask.config.set({**SCHEDULER, **WORKER, **SPAWNED}):
            dask_mpi.initialize(**arguments, comm=world, exit=False)
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    except TypeError as error:
        fix = "see ipsdist.cluster.mpi in docs/cluster-settings.md"
        _only_one_says(world, InputError("--cluster", "must be a cluster that starts", f"mpi: {error}", fix))
    if rank != _DRIVER:
        raise SystemExit(0)
    _taken = True
    # The others wait for it, whatever the driver does in between; MPI ends after all of them.
    atexit.register(_send_home)


def _send_home() -> None:
    """End scheduler and workers."""
    _quieten()
    with contextlib.suppress(Exception):  # they may have gone already
        address = dask.config.get("scheduler-address")
        with distributed.Client(address, timeout=_CLOSING_SECONDS, set_as_default=False) as client:
            client.shutdown()


def _world() -> Any:
    """Return all processes. Raises InputError where there is no MPI, or too few of them."""
    try:
        world = module("mpi4py.MPI", "mpi", "cluster").COMM_WORLD
    except RuntimeError as error:  # mpi4py is there, a library of MPI is not
        fix = "install one, for example `pip install mpich` or Debian's openmpi-bin"
        raise InputError("--cluster", "mpi needs an MPI library", " ".join(str(error).split()), fix) from error
    if world.Get_size() < _FEWEST:
        fix = "for example `mpirun -n 4 ipsdist run cubic --cluster mpi`: a scheduler, a driver, two workers"
        rule = f"mpi must be given under mpirun with at least {_FEWEST} processes"
        _only_one_says(world, InputError("--cluster", rule, world.Get_size(), fix))
    return world


def _only_one_says(world: Any, error: InputError) -> None:
    if world.Get_rank() == 0:
        raise error
    raise SystemExit(2)


def _defaults(world: Any) -> dict[str, Any]:
    """Return what dask_mpi is given: nothing listens beyond the loopback interface when all ranks are of one host."""
    options: dict[str, Any] = {"nthreads": 1, "dashboard_address": "127.0.0.1:0"}
    together = len(set(world.allgather(socket.gethostname()))) == 1
    if together:
        addresses = psutil.net_if_addrs()
        loopback = (name for name, found in addresses.items() if any(a.address == "127.0.0.1" for a in found))
        options["interface"] = next(loopback, None)
    wanted = setting("cluster.mpi.security")
    known = certificates()["ssl_context"] is not None
    if wanted or (wanted is None and not known and not together):
        module("cryptography", "mpi", "cluster")
        # MPI itself brings them to where they are needed; no file holds them.
        dask.config.set(world.bcast(keys_of_its_own() if world.Get_rank() == 0 else None, root=0))
        known = True
    if known:
        options["protocol"] = "tls"
    return options


def _quieten() -> None:
    for name in (
        "distributed",
        "distributed.scheduler",
        "distributed.worker",
        "distributed.core",
        "distributed.client",
    ):
        logging.getLogger(name).setLevel(logging.CRITICAL)
