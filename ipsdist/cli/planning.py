"""`ipsdist plan`: the plan in a table, and the refusal that the run itself would meet."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

__all__ = ["EPILOG", "show"]

EPILOG = """\
Example: ipsdist plan cubic --set system.particles=10000000 --workers 64 --worker-memory "4 GB"

No cluster is started for a plan; --scheduler asks one that runs. Exit code 2 where the run would be refused."""

Workers = tuple[int | None, str | None, str | None, str | None]
"""--workers, --cluster, --scheduler, --worker-memory."""


def show(
    source: str, out: str | None, seed: int | None, sets: Sequence[str], device: str | None, workers: Workers
) -> None:
    """Print the plan of a run. Raises InputError, after the table, where the run would be refused."""
    from ipsdist.config import resolve
    from ipsdist.runs.beforehand import foreseen
    from ipsdist.runtime.expected import expected_capacity
    from ipsdist.storage import place

    config = resolve(source, sets, seed, device)
    capacity, local = expected_capacity(*workers)
    blamed = "--workers" if workers[-1] is None else "--worker-memory"
    plan, refusal = foreseen(config, capacity, place(out or Path("runs") / config.name), local=local, blamed=blamed)
    print(plan.text())
    if refusal is not None:
        raise refusal
