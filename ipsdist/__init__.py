"""ipsdist learns the interaction law of a many-particle system from what its particles did, with error bars.

``ipsdist.run("cubic")`` simulates and learns; ``ipsdist.learn(positions=..., times=..., diffusion=...)`` learns from
your particles. Names are imported when first used, so that ``import ipsdist`` costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ipsdist.model.dictionary import Dictionary
    from ipsdist.model.errors import InputError, RunError
    from ipsdist.model.learned_kernel import LearnedKernel
    from ipsdist.model.normal_equations import NormalEquations
    from ipsdist.runs.api import assemble, estimate, fit, learn, pool, run, simulate
    from ipsdist.runs.pipeline import Options, Outcome
    from ipsdist.studies import Study, study

__all__ = [
    "Dictionary",
    "InputError",
    "LearnedKernel",
    "NormalEquations",
    "Options",
    "Outcome",
    "RunError",
    "Study",
    "assemble",
    "estimate",
    "fit",
    "learn",
    "pool",
    "run",
    "simulate",
    "study",
]

_HOMES = {
    "Dictionary": "ipsdist.model.dictionary",
    "InputError": "ipsdist.model.errors",
    "LearnedKernel": "ipsdist.model.learned_kernel",
    "NormalEquations": "ipsdist.model.normal_equations",
    "Options": "ipsdist.runs.pipeline",
    "Outcome": "ipsdist.runs.pipeline",
    "RunError": "ipsdist.model.errors",
    **dict.fromkeys(("Study", "study"), "ipsdist.studies"),
    **dict.fromkeys(("assemble", "estimate", "fit", "learn", "pool", "run", "simulate"), "ipsdist.runs.api"),
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("ipsdist")
    if name not in _HOMES:
        raise AttributeError(f"module 'ipsdist' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
