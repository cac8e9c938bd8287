"""fit.every: fewer slices are fitted, and the answer is that of a run that was observed less often."""

import numpy as np
import pytest

from ipsdist.config import resolve
from ipsdist.model.errors import InputError
from ipsdist.runs import pipeline
from ipsdist.stages.kernel import load_fit, load_used_equations
from ipsdist.storage import Store
from tests.runs.samples import write

SETS = ("system.particles=1000", "force.spacing=0.0625", "grid.cells=60")


def done(folder, name, *sets, upto="kernel"):
    """Do a run up to its kernel, or the rest of it; return its store."""
    pipeline.run(resolve(write(folder), [*SETS, *sets]), folder / name, upto=upto)
    return Store.open(folder / name / "store.zarr")


@pytest.mark.parametrize("form", ["action", "weak", "strong"])
def test_the_answer_is_that_of_a_run_observed_less_often(form, tmp_path):
    """The same particles, observed every 2 steps and fitted every 5th time, or observed every 10 steps."""
    thinned = done(tmp_path, "thinned", f"fit.form={form}", "fit.every=5")
    coarse = done(tmp_path, "coarse", f"fit.form={form}", "time.observe_every=10")
    a, b = load_used_equations(thinned), load_used_equations(coarse)
    assert a.gram.shape == b.gram.shape
    # The force mesh of a block covers the slices of that block, so nodes, and last bits, differ.
    np.testing.assert_allclose(a.gram, b.gram, rtol=1e-9)
    np.testing.assert_allclose(a.moment, b.moment, rtol=1e-6, atol=1e-9 * np.abs(b.moment).max())
    assert load_fit(thinned).terms == load_fit(coarse).terms
    np.testing.assert_allclose(load_fit(thinned).coefficients, load_fit(coarse).coefficients, rtol=1e-6)


def test_slices_that_do_not_fill_the_last_step_are_left_out(tmp_path):
    """101 slices, every 7th: 15 of them, 14 panels of the strong form that never lie across two blocks twice."""
    store = done(tmp_path, "run", "fit.form=strong", "fit.every=7")
    assert len(load_used_equations(store).gram) == 14


def test_nothing_is_paired_again_for_another_every(tmp_path):
    """It is a key of the kernel; the strong form alone makes its equations anew."""
    done(tmp_path, "run")
    outcome = pipeline.run(resolve(write(tmp_path), [*SETS, "fit.every=2"]), tmp_path / "run", upto="kernel")
    assert outcome.reused == ("particles", "densities", "equations")


def test_the_report_of_fewer_slices_leaves_out_what_needs_all(tmp_path):
    """phi(r) without a dictionary is made of all slices or not at all."""
    config = resolve(write(tmp_path), [*SETS, "fit.every=5"])
    result = pipeline.run(config, tmp_path / "run", pipeline.Options(draw=False)).result
    assert result["nonparametric"] is None
    assert result["terms"]


REFUSALS = [
    (("fit.form=likelihood",), "must be 1 for the likelihood form"),
    (("fit.form=strong", "fit.assembly=drawn"), "must be 1 when fit.assembly is drawn"),
    (("fit.diffusion=estimate",), "must be 1 where sigma**2 is learnt from the displacements"),
    (("data.times=gauss_lobatto", "data.slices=20", "time.positions_at=[]"), "must be 1 when data.times is not even"),
    (("system.particles=200",), "must be 1 where pairs are summed directly"),
    (("fit.every=101",), "must leave at least two slices; got 101 for 101 slices"),
]


@pytest.mark.parametrize(("sets", "said"), REFUSALS)
def test_what_cannot_be_thinned_is_refused(sets, said, tmp_path):
    """In one line, before anything is written."""
    with pytest.raises(InputError, match=r"fit\.every") as caught:
        pipeline.run(resolve(write(tmp_path), ["fit.every=5", *sets]), tmp_path / "run")
    assert said in str(caught.value)
    assert not (tmp_path / "run").exists()
