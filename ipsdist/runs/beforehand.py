"""What a run says before it spends anything, and what it refuses then."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from ipsdist.config import RunConfig
from ipsdist.model.errors import InputError
from ipsdist.model.setup import Setup
from ipsdist.runs.checks import check
from ipsdist.runs.devices import Devices, ask, ask_here, device_line, refuse_device, refuse_equations
from ipsdist.runs.order import STAGES
from ipsdist.runs.plan import Plan, planned, source_of
from ipsdist.runs.plan_seconds import chunk_doubt
from ipsdist.runs.reached import Reached, line
from ipsdist.runs.refusals import afford
from ipsdist.runs.setup import prepare
from ipsdist.runtime.epochs import Capacity
from ipsdist.runtime.executor import Executor
from ipsdist.runtime.expected import cores_here
from ipsdist.storage import Place, Store

__all__ = ["foresee", "foreseen", "lacking"]


def foresee(
    config: RunConfig,
    setup: Setup,
    lacks: tuple[str, ...],
    executor: Executor,
    out: Place,
    tell: Callable[[str], None],
    *,
    report: bool,
    found: Sequence[Reached] = (),
    again: str | None = None,
) -> None:
    """Say in a line what the stages that are lacking will take. Raises InputError where they cannot be afforded.

    ``found`` is how far a run has come that goes on, ``again`` the stage that is done again whatever there is: the
    seconds are those of what is left.
    """
    if not lacks:
        return
    local = not executor.elsewhere
    devices = ask(config, lacks, executor)
    plan = planned(
        config, setup, executor.capacity, lacks, report, cores_here() if local else None, devices.card, devices.sharing
    )
    plan = plan.left({one.stage: one.share for one in found if one.state == "begun" and one.stage != again})
    refuse_device(config, setup, devices, plan)
    refuse_equations(config, setup, lacks, executor)
    afford(plan, config, setup, out, local=local)
    tell(f"{'plan':<10} {plan.line()}")
    if on := device_line(config, devices, plan):
        tell(f"{'device':<10} {on}")
    if STAGES[0].name in lacks and (doubt := chunk_doubt(config, setup)):
        tell(f"{'doubt':<10} {doubt}")
    if where := line(found, again):
        tell(f"{'goes on':<10} {where}")


def foreseen(
    config: RunConfig, capacity: Capacity, out: Place, *, local: bool, blamed: str = "--workers"
) -> tuple[Plan, InputError | None]:
    """Return the plan of a whole run, and why it would be refused, if it would.

    Raises InputError for what is wrong with the run file or the particles. ``local``: workers share this machine;
    ``blamed``: the option that says what memory a worker has.
    """
    setup = prepare(config, source_of(config))
    check(config, setup)
    devices = ask_here(config, capacity.workers) if local else Devices(asked=False)
    plan = planned(
        config, setup, capacity, cores=cores_here() if local else None, card=devices.card, sharing=devices.sharing
    )
    plan = replace(plan, device=device_line(config, devices, plan), doubt=chunk_doubt(config, setup))
    try:
        refuse_device(config, setup, devices, plan)
        if local:
            refuse_equations(config, setup, [stage.name for stage in STAGES])
        afford(plan, config, setup, out, local=local, blamed=blamed)
    except InputError as error:
        return plan, error
    return plan, None


def lacking(store: Store | None, prints: Mapping[str, str], upto: str, again: str | None) -> tuple[str, ...]:
    """Return the stages up to ``upto`` that a run has to do: those that are not in its store, and from ``again`` on."""
    names = [stage.name for stage in STAGES]
    wanted = names[: names.index(upto) + 1] if upto in names else names
    found: list[str] = []
    for name in wanted:
        record = None if store is None else store.record(f"{name}/done")
        if record is None or record["fingerprint"] != prints[name] or name == again or found:
            found.append(name)
    return tuple(found)
