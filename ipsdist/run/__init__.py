"""A whole run: stages in order, resume, and the answer."""

from ipsdist.run.pipeline import Outcome, redo, run

__all__ = ["Outcome", "redo", "run"]
