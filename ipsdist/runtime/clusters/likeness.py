"""Whether a cluster is like this process: the same versions, and the resources that tasks ask for."""

# mypy: untyped-calls-exclude="distributed"

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import distributed

from ipsdist.model.errors import InputError
from ipsdist.runtime.clusters.report import BOKEH
from ipsdist.runtime.settings import setting

__all__ = ["check_likeness", "named", "suitable"]

_PACKAGES = ("ipsdist", "numpy", "scipy", "numba", "zarr", "dask", "distributed")
"""They must agree for a message to mean the same and an answer to have the same bits."""


def check_likeness(client: distributed.Client, argument: str, report: bool) -> None:
    """Compare the versions of this process with those of the scheduler and of every worker.

    ``report``: the scheduler must be able to write a performance report. Raises InputError that names what differs.
    """
    # Asked by a message of Dask's own, so that it works where ipsdist, or this Python, is not.
    found: Any = client.get_versions(packages=[*_PACKAGES, "bokeh"])
    here = _versions(found["client"])
    # One that left meanwhile has no answer.
    told = {address: told for address, told in found["workers"].items() if isinstance(told, Mapping)}
    names = named(client, told)
    different = {
        place: _difference(here, _versions(versions))
        for place, versions in [("the scheduler", found["scheduler"]), *((names[a], told[a]) for a in told)]
    }
    worst = [place for place, difference in different.items() if difference]
    if worst:
        more = f" and {len(worst) - 1} more" if len(worst) > 1 else ""
        raise InputError(
            argument,
            "must have the versions of this process on its scheduler and workers",
            f"{different[worst[0]]} on {worst[0]}{more}",
            "install the same there and here",
        )
    if report and found["scheduler"]["packages"].get("bokeh") is None:
        raise InputError("--performance-report", "needs bokeh on the scheduler", None, BOKEH)
    needed = setting("resources")
    if needed and not suitable(client):
        fix = "start workers with `--resources`, or change ipsdist.resources"
        raise InputError("ipsdist.resources", "must be those of a worker", f"{needed}, which none has", fix)


def suitable(client: distributed.Client) -> dict[str, dict[str, Any]]:
    """Return what the scheduler knows of the workers that can take our tasks, by address."""
    workers: dict[str, dict[str, Any]] = client.scheduler_info(n_workers=-1)["workers"]
    needed = setting("resources")
    return {
        address: worker
        for address, worker in workers.items()
        if all(worker.get("resources", {}).get(name, 0) >= amount for name, amount in needed.items())
    }


def named(client: distributed.Client, addresses: Iterable[str]) -> dict[str, str]:
    """Return how people know workers, by address: the address, and the name where it is another."""
    # The scheduler is asked once: it tells of all workers every time.
    workers = client.scheduler_info(n_workers=-1)["workers"]
    names = {address: workers.get(address, {}).get("name", address) for address in addresses}
    return {a: f"worker {a}" + ("" if name == a else f" ({name})") for a, name in names.items()}


def _versions(told: Mapping[str, Any]) -> dict[str, str | None]:
    packages = told["packages"]
    python = ".".join(packages["python"].split(".")[:2])
    return {"Python": python, **{name: packages.get(name) for name in _PACKAGES}}


def _difference(here: Mapping[str, str | None], there: Mapping[str, str | None]) -> str:
    """Say what differs: ``numpy 2.3.1 (here 2.4.6), numba missing (here 0.68.1)``; empty when nothing does."""
    return ", ".join(
        f"{name} {there[name] or 'missing'} (here {version or 'missing'})"
        for name, version in here.items()
        if there[name] != version
    )
