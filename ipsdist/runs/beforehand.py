"""What a run says before it spends anything, and what it refuses then."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ipsdist.config import RunConfig
from ipsdist.model.setup import Setup
from ipsdist.runs.order import STAGES
from ipsdist.runs.plan import planned
from ipsdist.runs.refusals import afford
from ipsdist.runtime.executor import Executor
from ipsdist.storage import Place, Store

__all__ = ["foresee", "lacking"]


def foresee(
    config: RunConfig,
    setup: Setup,
    lacks: tuple[str, ...],
    executor: Executor,
    out: Place,
    tell: Callable[[str], None],
    *,
    report: bool,
) -> None:
    """Say in a line what the stages that are lacking will take. Raises InputError where they cannot be afforded."""
    if not lacks:
        return
    plan = planned(config, setup, executor.capacity, lacks, report)
    afford(plan, config, setup, out, local=not executor.elsewhere)
    tell(f"{'plan':<10} {plan.line()}")


def lacking(store: Store | None, prints: Mapping[str, str], upto: str, again: str | None) -> tuple[str, ...]:
    """Return the stages up to ``upto`` that a run has to do: those that are not in its store, and from ``again`` on."""
    names = [stage.name for stage in STAGES]
    wanted = names[: names.index(upto) + 1] if upto in names else names
    found = []
    for name in wanted:
        record = None if store is None else store.record(f"{name}/done")
        if record is None or record["fingerprint"] != prints[name] or name == again or found:
            found.append(name)
    return tuple(found)
