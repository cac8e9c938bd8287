"""A whole run: stages in order, resume, and the answer. (Plural, because `ipsdist.run` is the function.)"""

from ipsdist.runs.pipeline import Outcome, redo, run

__all__ = ["Outcome", "redo", "run"]
