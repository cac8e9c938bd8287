"""Force methods: the drift of every particle, and the one place where a method's name finds its function."""
from __future__ import annotations
def particle_force(method, kernel, potential, dimension): raise NotImplementedError
