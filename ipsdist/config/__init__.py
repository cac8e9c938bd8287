"""Run files and built-in cases: checked, and turned into frozen values of the model."""

from ipsdist.config.resolve import case_names, resolve
from ipsdist.config.schema import RunConfig

__all__ = ["RunConfig", "case_names", "resolve"]
