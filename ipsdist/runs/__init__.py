"""A whole run: stages in order, resume, and the answer. Plural, because `ipsdist.run` is the function."""

from ipsdist.runs.pipeline import Outcome, redo, run
from ipsdist.runs.plan import Plan, info, plan

__all__ = ["Outcome", "Plan", "info", "plan", "redo", "run"]
