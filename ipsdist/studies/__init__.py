"""Tables of runs: everything that varies over keys of a run file and seeds, with equal upstream stages done once."""

from ipsdist.studies.reproduction import Reproduction, reproduce
from ipsdist.studies.study import Study, given, study

__all__ = ["Reproduction", "Study", "given", "reproduce", "study"]
