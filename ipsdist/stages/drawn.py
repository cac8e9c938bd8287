"""Panels of the strong form that are assembled when Phase I draws them, and remembered in the store."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ipsdist.config import RunConfig
from ipsdist.model.normal_equations import NormalEquations
from ipsdist.model.unknowns import Unknowns
from ipsdist.numerics.equations.forms.strong import StrongForm
from ipsdist.stages.base import committed, setup_of
from ipsdist.stages.blocks import slice_blocks
from ipsdist.storage import Store

__all__ = ["DrawnPanels"]

Array = npt.NDArray[np.float64]

_PRODUCTS = ("panel", "row", "other_row")


class DrawnPanels:
    """The panels of a run as a `PanelSource`: the densities are there, the equations are made when they are asked for.

    Every request is committed, below the equations of the run and with their fingerprint: with all terms as
    ``equations/drawn-K``, with some terms block by block as ``equations/kept-TERMS``. A panel is the same bits whenever
    and with whatever others it was assembled, so what a store remembers, be it of a killed run or of a fit with other
    settings, saves work and changes no answer.
    """

    def __init__(self, store: Store, config: RunConfig) -> None:
        self._store, self._config, self._setup = store, config, setup_of(store)
        self._fingerprint: str = (store.record("equations/done") or {})["fingerprint"]
        self._form = self._form_of(config.unknowns())
        self._known: dict[int, Array] = {}
        self._asked: set[int] = set()
        self._batches = 0
        while (record := committed(store, self._batch(), self._fingerprint)) is not None:
            products = store.read(f"{self._batch()}/products")
            self._known.update(zip(record["panels"], products, strict=True))
            self._batches += 1

    @property
    def basis(self) -> tuple[str, ...]:
        """Names of the terms."""
        return self._form.names

    @property
    def panels(self) -> int:
        """Number of panels of two neighbouring slices."""
        return self._setup.slices - 1

    def take(self, panels: npt.NDArray[np.intp]) -> NormalEquations:
        """Return the equations of the panels with these increasing numbers; assemble those that no one asked for."""
        wanted = [int(n) for n in panels]
        self._asked.update(wanted)
        missing = [n for n in wanted if n not in self._known]
        if missing:
            products = self._assemble(self._form, missing)
            self._store.write(f"{self._batch()}/products", products, dims=_PRODUCTS)
            self._store.commit(self._batch(), {"fingerprint": self._fingerprint, "panels": missing})
            self._known.update(zip(missing, products, strict=True))
            self._batches += 1
        return self._form.equations(np.stack([self._known[n] for n in wanted]))

    def keep(self, terms: Sequence[int]) -> NormalEquations:
        """Return the equations of all panels over the terms with these increasing indices alone.

        Panels that are there with all terms are assembled again: last bits may differ between the two, and which
        panels a store remembers must not show in an answer.
        """
        form = self._form_of(self._config.unknowns().keep(terms))
        name = f"equations/kept-{'-'.join(map(str, terms))}"
        parts = []
        for block in slice_blocks(self._setup.slices, self._setup.dimension):
            panels = range(block.first, min(block.stop, self.panels))
            if not panels:
                continue
            record, array = f"{name}.block-{block.number}", f"{name}/block-{block.number}/products"
            if committed(self._store, record, self._fingerprint) is None:
                self._store.write(array, self._assemble(form, panels), dims=_PRODUCTS)
                self._store.commit(record, {"fingerprint": self._fingerprint})
            parts.append(self._store.read(array))
        return form.equations(np.concatenate(parts))

    def sample(self) -> NormalEquations:
        """Return the equations of the panels that were asked for, in time order, with all terms."""
        return self.take(np.array(sorted(self._asked), dtype=np.intp))

    def refitted(self, terms: Sequence[int]) -> NormalEquations:
        """Return the equations that Phase II solves, over all terms: those of dropped ones are zeros."""
        if len(self._asked) == self.panels or not terms:
            return self.sample()
        return self.keep(terms).change_basis(np.eye(len(self.basis))[list(terms)], self.basis)

    def _form_of(self, unknowns: Unknowns) -> StrongForm:
        config, setup = self._config, self._setup
        diffusion, particles = float(config.system.diffusion or 0.0), setup.particles * setup.replicas
        return StrongForm.of(setup.grid, unknowns, diffusion, particles, config.known())

    def _assemble(self, form: StrongForm, panels: Sequence[int]) -> Array:
        """Return the products of panels with increasing numbers; every chunk of the densities is read once."""
        times = self._setup.slice_times
        length = len(slice_blocks(self._setup.slices, self._setup.dimension)[0])
        parts = []
        for _, group in itertools.groupby(panels, key=lambda n: n // length):
            near = list(group)
            densities = self._store.read("densities/density", slice(near[0], near[-1] + 2))
            for n in near:
                density, later = densities[n - near[0] : n - near[0] + 2]
                parts.append(form.products(density, later, float(times[n + 1] - times[n])))
        return np.stack(parts)

    def _batch(self) -> str:
        """Return the name of the next request."""
        return f"equations/drawn-{self._batches}"
