"""Which GPUs step the particles: asked of this process or of every worker, before anything is spent."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from ipsdist.config import RunConfig
from ipsdist.model.errors import InputError
from ipsdist.model.setup import Setup
from ipsdist.model.words import size
from ipsdist.runs.plan import Plan
from ipsdist.runtime.executor import Executor
from ipsdist.runtime.settings import setting
from ipsdist.stages.device_plan import largest_chunk
from ipsdist.stages.devices import (
    DEVICE_FORCES,
    Card,
    card_here,
    computes_on_card,
    refuted,
    sums_on_card,
    uses_device,
)
from ipsdist.stages.equations import EQUATIONS
from ipsdist.stages.particles import PARTICLES
from ipsdist.stages.proving import REPORT
from ipsdist.stages.tracks import sums_directly

__all__ = ["NOBODY", "Devices", "ask", "ask_here", "device_line", "refuse_all", "refuse_device", "refuse_equations"]

_NAMED = 3
_FIX = 'use run.device = "auto", or see docs/gpu.md'


@dataclass(frozen=True)
class Devices:
    """What the processes that step have: a card each, or the reason why not."""

    cards: tuple[Card, ...] = ()
    without: Mapping[str, str] = field(default_factory=dict)
    """Names of processes, and why they have no GPU."""
    sharing: int = 1
    """Processes of this machine that see the one card."""
    asked: bool = True
    """False where nobody could be asked: workers that are not there yet."""
    refuted: str | None = None
    """Why the card of this machine may not step: what it makes of particles is not what the CPU makes."""

    @property
    def card(self) -> Card | None:
        """The card that has least memory free, where every process has one; else None."""
        return min(self.cards, key=lambda card: card.free) if self.cards and not self.without else None


NOBODY = Devices()
"""No process steps on a GPU."""


def ask(config: RunConfig, stages: Collection[str], executor: Executor) -> Devices:
    """Return the devices of who will step the particles, if they are among the stages to do.

    Workers elsewhere are asked; of those of this machine this process knows.
    """
    if PARTICLES.name not in stages or not uses_device(config):
        return NOBODY
    if not executor.elsewhere:
        return ask_here(config, 1 if executor.name == "cuda" else executor.workers)
    return _elsewhere(executor)


def refuse_equations(
    config: RunConfig, setup: Setup, stages: Collection[str], executor: Executor | None = None
) -> None:
    """Raise InputError where equations shall be computed on a GPU that is not there: here, or on the workers."""
    if EQUATIONS.name not in stages or not computes_on_card(config) or sums_directly(config, setup):
        return
    devices = _elsewhere(executor) if executor is not None and executor.elsewhere else _here(1)
    if devices.without and not (setting("resources") and devices.cards):
        rule, got = "must find a GPU where equations are computed", f'"gpu", but {_shown(devices.without)}'
        raise InputError("fit.device", rule, got, 'use fit.device = "cpu", or see docs/gpu.md')


def refuse_all(configs: Collection[RunConfig]) -> None:
    """Raise InputError where every run wants a GPU for its particles and this machine has none: once for all."""
    wants = [config.run.device == "gpu" and uses_device(config) for config in configs]
    devices = ask_here(next(iter(configs)), 1) if wants and all(wants) else NOBODY
    if devices.without:
        raise _no_device(devices)


def _no_device(devices: Devices) -> InputError:
    if devices.refuted is not None:
        rule, fix = "must find a GPU that steps particles as the CPU does", f'use run.device = "cpu" and {REPORT}'
        return InputError("run.device", rule, f'"gpu", but {devices.refuted}', fix)
    rule = "must find a GPU where the particles are stepped"
    return InputError("run.device", rule, f'"gpu", but {_shown(devices.without)}', _FIX)


def _elsewhere(executor: Executor) -> Devices:
    answers = executor.everywhere(card_here)
    cards = tuple(answer for answer in answers.values() if isinstance(answer, Card))
    without = {worker: _reason(answer) for worker, answer in answers.items() if not isinstance(answer, Card)}
    return Devices(cards, without, asked=bool(answers))


def ask_here(config: RunConfig, workers: int) -> Devices:
    """Return the device of this process, which ``workers`` of this machine share; 0 stands for itself.

    It is checked before, if it was not yet: it must step particles with the bits of the CPU.
    """
    if not uses_device(config):
        return NOBODY
    wrong = refuted(config)
    return _here(workers) if wrong is None else Devices(without={"this machine": wrong}, refuted=wrong)


def _here(workers: int) -> Devices:
    answer = card_here()
    if isinstance(answer, Card):
        return Devices((answer,), sharing=max(1, workers))
    return Devices(without={"this machine": answer})


def refuse_device(config: RunConfig, setup: Setup, devices: Devices, plan: Plan) -> None:
    """Raise InputError where a GPU was asked for that is not there, or not for this, or has no room."""
    if PARTICLES.name not in [row.stage for row in plan.rows]:
        return
    if config.run.device == "gpu" and config.data.source == "simulate":
        if not uses_device(config):
            rule = f'must be {" or ".join(DEVICE_FORCES)} on a GPU, or direct with force.device = "gpu"'
            raise InputError("force.method", rule, config.force.method, 'choose that, or run.device = "auto"')
        # Workers that lack the resources of our tasks are asked too, and may lack a GPU.
        if devices.without and not (setting("resources") and devices.cards):
            raise _no_device(devices)
    if plan.card is None or plan.on_card is None or plan.on_card.suits(plan.card.free):
        return
    got = f"{size(plan.on_card.bytes)} for {size(plan.card.free)} free on {plan.card.name}"
    chunk = 0 if sums_on_card(config) else largest_chunk(plan.card.free, config, setup)
    if chunk and config.run.chunk != "auto":
        raise InputError("run.chunk", "must be a piece of the particles that the GPU holds", got, f"{chunk} would fit")
    raise InputError("run.device", "must be a GPU with room for the force mesh", got, 'use run.device = "cpu"')


def device_line(config: RunConfig, devices: Devices, plan: Plan) -> str:
    """Return what to say of the GPUs; empty where there is none and none was asked for."""
    if plan.card is not None and plan.on_card is not None:
        return _of_card(plan, devices)
    if PARTICLES.name not in [row.stage for row in plan.rows]:
        return ""
    if config.run.device == "gpu" and not uses_device(config):
        return "" if config.data.source == "simulate" else "cpu, for there are no particles to step"
    if not devices.asked and config.run.device == "gpu":
        return "gpu, which the workers are asked for when the run begins"
    if devices.refuted is not None and config.run.device != "gpu":
        return f"cpu, for {devices.refuted}; please {REPORT}"
    if devices.cards:
        count = len(devices.cards) + len(devices.without)
        return f"{len(devices.cards)} of {count} workers have a GPU: {_shown(devices.without)}"
    return ""


def _of_card(plan: Plan, devices: Devices) -> str:
    card, on = plan.card, plan.on_card
    assert card is not None
    assert on is not None
    whose = f"{len(devices.cards)} times " if len(devices.cards) > 1 else ""
    how = "resident" if on.resident else f"streamed from the host, {on.chunk} particles at a time"
    taken = plan.bundle * on.bytes
    if on.resident and devices.sharing * taken > card.free:
        how = "resident for as many of them as it holds, streamed for the others"
    shared = f", for each of the {devices.sharing} workers that share it" if devices.sharing > 1 else ""
    many = f", {plan.bundle} replicas at the same time" if plan.bundle > 1 else ""
    where = f"{whose}{card.name}: {size(taken)} of {size(card.free)} free{shared}, {how}{many}"
    return f"{where}; times are those of a CPU"


def _reason(answer: object) -> str:
    if isinstance(answer, BaseException):
        return f"does not answer ({type(answer).__name__}: {' '.join(str(answer).split())})"
    return f"says: {answer}"


def _shown(without: Mapping[str, str]) -> str:
    told = [f"{worker} {reason}" if worker != "this machine" else reason for worker, reason in without.items()]
    more = f", and {len(told) - _NAMED} more workers" if len(told) > _NAMED else ""
    return f"{', '.join(told[:_NAMED])}{more}"
