"""A whole run: stages in order, resume, and the answer; plural, because `ipsdist.run` is the function."""

from ipsdist.runs.info import info
from ipsdist.runs.pipeline import Options, Outcome, redo, run
from ipsdist.runs.plan import Plan, plan

__all__ = ["Options", "Outcome", "Plan", "info", "plan", "redo", "run"]
