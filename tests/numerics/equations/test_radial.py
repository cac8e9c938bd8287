"""Radial equations against direct assembly of a dictionary on the same slices."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from ipsdist.model.dictionary import Dictionary
from ipsdist.model.expression import Expression
from ipsdist.model.mesh import Mesh
from ipsdist.model.radial_basis import RadialBasis, project
from ipsdist.numerics.densities.deposit import deposit, deposit_flux
from ipsdist.numerics.equations.block_rule import between_slices, block_rule, gram_slices
from ipsdist.numerics.equations.forms.action import action_equations
from ipsdist.numerics.equations.forms.likelihood import likelihood_equations
from ipsdist.numerics.equations.pairings import pair_slice, stack
from ipsdist.numerics.equations.radial import (
    added_grams,
    join_radial,
    occupied,
    pair_radial,
    panel_equations,
    project_radial,
    radial_equations,
    table_mesh,
)
from ipsdist.numerics.equations.tables import external_tables, pair_tables

TERMS = Dictionary.parse(["1", "r", "r**2", "exp(-r)", "sin(r)"])
TIMES = np.linspace(0.0, 0.32, 33)
DIFFUSION = 0.7


def walk(dimension, slices=33, particles=200, labelled=True):
    """Deposits of a few particles that walk and contract: (slices) on one mesh that is wider than they need."""
    rng = np.random.default_rng(dimension)
    x = [rng.normal(size=(particles, dimension))]
    for _ in range(slices - 1):
        x.append(0.995 * x[-1] + 0.05 * rng.normal(size=x[-1].shape))
    mesh = Mesh.around(np.min(x, axis=(0, 1)) - 0.5, np.max(x, axis=(0, 1)) + 0.5, 2.0 ** -(6 - dimension))
    result = [deposit(p, mesh) for p in x]
    if labelled:
        moved = [deposit_flux(a, b, mesh) for a, b in pairwise(x)]
        result[:-1] = [replace(d, flux=f, squared_move=m) for d, (f, m) in zip(result[:-1], moved, strict=True)]
    return result


def basis_for(deposits, intervals=32):
    spacing = deposits[0].mesh.spacing
    reach = spacing * (np.linalg.norm(deposits[0].mesh.shape) + 4)
    return RadialBasis.graded(float(reach), 2 * spacing, intervals=intervals)


def pair_all(deposits, basis, made=None, cut=16):
    """Pair in two parts, as two tasks would, each on its own box."""
    every = np.arange(len(deposits)) if made is None else made
    parts = []
    for a, b in ((0, cut), (cut, len(deposits))):
        boxed = occupied(deposits[a:b])
        here = every[(every >= a) & (every < b)] - a
        parts.append(pair_radial(boxed, pair_tables(basis, table_mesh(boxed[0].mesh)), here))
    return join_radial(parts)


def assemble(deposits, basis, rule, made=None, cut=16):
    whole = pair_all(deposits, basis, made, cut)
    return radial_equations(whole, rule, basis=basis.names, diffusion=DIFFUSION, particles=200)


def direct(deposits, form):
    pairings = stack([pair_slice(d, pair_tables(TERMS, d.mesh)) for d in deposits])
    if form == "likelihood":
        return likelihood_equations(pairings, TIMES, basis=TERMS.names, particles=200)
    return action_equations(
        pairings, TIMES, basis=TERMS.names, diffusion=DIFFUSION, quadrature="simpson", particles=200
    )


@pytest.mark.parametrize("form", ["action", "likelihood"])
def test_dictionary_from_radial_equations_is_the_direct_one(form):
    """P'AP and P'b are Gram and moment of direct assembly to the interpolation error, and blocks add to the whole."""
    deposits = walk(1)
    basis = basis_for(deposits)
    matrix, error = project(TERMS, basis)
    radial = assemble(deposits, basis, block_rule(TIMES, form, blocks=4)).change_basis(matrix, TERMS.names)
    want = direct(deposits, form)
    assert radial.panels == 4
    assert error.max() < 1e-6
    np.testing.assert_allclose(radial.gram.sum(0), want.gram.sum(0), rtol=1e-7)
    np.testing.assert_allclose(radial.moment.sum(0), want.moment.sum(0), rtol=1e-7, atol=1e-6)
    np.testing.assert_allclose(radial.gram[0], want.gram[: want.panels // 4].sum(0), rtol=1e-7)


def test_two_dimensions():
    """The same in the plane, with the Gram's jumps along four directions."""
    deposits = walk(2)[:5]
    basis = basis_for(deposits)
    matrix, _ = project(TERMS, basis)
    rule = block_rule(TIMES[:5], "action")
    got = assemble(deposits, basis, rule, cut=3).change_basis(matrix, TERMS.names)
    pairings = stack([pair_slice(d, pair_tables(TERMS, d.mesh)) for d in deposits])
    want = action_equations(
        pairings, TIMES[:5], basis=TERMS.names, diffusion=DIFFUSION, quadrature="simpson", particles=200
    )
    np.testing.assert_allclose(got.gram, want.gram, rtol=1e-6)
    np.testing.assert_allclose(got.moment, want.moment, rtol=1e-5, atol=1e-5)


def test_work_by_parseval_and_its_absence():
    """sum_x V . j by frequencies is that by nodes, in the plane too; unlabelled slices have none."""
    deposits = walk(2)[:3]
    tables = pair_tables(TERMS, deposits[0].mesh)
    got = pair_radial(deposits, tables, np.arange(3))
    want = stack([pair_slice(d, tables) for d in deposits])
    np.testing.assert_allclose(got.work, want.work, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(got.energy, want.energy, rtol=1e-12)
    np.testing.assert_allclose(got.laplacian, want.laplacian, rtol=1e-9)
    np.testing.assert_allclose(got.gram, want.gram, rtol=1e-10, atol=1e-10)
    bare = [replace(d, flux=None, squared_move=None) for d in deposits]
    assert np.isnan(pair_radial(bare, tables, np.arange(3)).work).all()
    with pytest.raises(ValueError, match="displacements"):
        assemble(walk(1, labelled=False), basis_for(walk(1)), block_rule(TIMES, "likelihood"))


def test_known_potential_is_folded_in():
    """A known V is one more column, of coefficient 1, as in direct assembly."""
    deposits = walk(1)
    mesh = deposits[0].mesh
    known = external_tables(Expression.parse("x**2/2", variables=("x",), argument="system.potential"), mesh)
    rule = block_rule(TIMES, "action")
    part = pair_radial(deposits, pair_tables(TERMS, mesh), np.arange(33), (known,))
    got = radial_equations(part, rule, basis=TERMS.names, diffusion=DIFFUSION, particles=200).total()
    pairings = stack([pair_slice(d, pair_tables(TERMS, mesh), (known,)) for d in deposits])
    want = action_equations(
        pairings, TIMES, basis=TERMS.names, diffusion=DIFFUSION, quadrature="simpson", particles=200
    ).total()
    np.testing.assert_allclose(got.gram, want.gram, rtol=1e-10)
    np.testing.assert_allclose(got.moment, want.moment, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(part.work[:-1], pairings.work[:-1], rtol=1e-9, atol=1e-9)


FOURTH = np.arange(0, 33, 4)


def test_fewer_grams_keep_the_integral():
    """At every fourth slice the weights integrate parabolas exactly, and the Gram of a walk stays within 1 %."""
    deposits = walk(1)
    basis = RadialBasis.graded(10.0, 0.1)
    full, thin = (block_rule(TIMES, "action", made=m, blocks=4) for m in (None, FOURTH))
    for power in range(3):
        np.testing.assert_allclose(thin.gram @ TIMES**power, full.gram @ TIMES**power, rtol=1e-12)
    matrix, _ = project(TERMS, basis)
    a = assemble(deposits, basis, full).total().change_basis(matrix, TERMS.names)
    b = assemble(deposits, basis, thin, FOURTH).total().change_basis(matrix, TERMS.names)
    np.testing.assert_allclose(b.gram, a.gram, rtol=1e-2)
    np.testing.assert_array_equal(b.moment, a.moment)


def test_between_uneven_slices_parabolas_are_exact():
    """Values at some of uneven times give those of a parabola at all of them."""
    times = np.sort(np.random.default_rng(5).uniform(0, 1, 24))
    made = np.array([0, 4, 8, 12, 16, 20, 23])
    np.testing.assert_allclose(between_slices(times, made) @ times[made] ** 2, times**2, rtol=1e-10, atol=1e-12)


def test_projected_pairings_are_the_direct_ones():
    """Slice by slice, a dictionary by way of the basis has the pairings of direct assembly; Grams by parabolas."""
    deposits = walk(1)
    basis = basis_for(deposits)
    matrix, _ = project(TERMS, basis)
    want = stack([pair_slice(d, pair_tables(TERMS, d.mesh)) for d in deposits])
    got = project_radial(pair_all(deposits, basis), TIMES, matrix)
    np.testing.assert_allclose(got.gram, want.gram, rtol=1e-6)
    np.testing.assert_allclose(got.energy, want.energy, rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(got.laplacian, want.laplacian, rtol=1e-6, atol=1e-4)
    np.testing.assert_allclose(got.work[:-1], want.work[:-1], rtol=1e-6, atol=1e-6)
    thin = project_radial(pair_all(deposits, basis, FOURTH), TIMES, matrix)
    np.testing.assert_allclose(thin.gram[FOURTH], got.gram[FOURTH], rtol=1e-12)


def test_long_runs_make_every_second_fourth_or_eighth_gram():
    """96 to 192 Grams, the last slice among them; all of them where there are no more."""
    for slices, count in ((101, 101), (191, 191), (193, 97), (1001, 126), (10001, 158)):
        made = gram_slices(slices)
        assert (len(made), made[0], made[-1]) == (count, 0, slices - 1)


@pytest.mark.parametrize("dimension", [1, 2])
def test_occupied_box_loses_nothing(dimension):
    """All particles and displacements stay, places too; sides are of few lengths."""
    deposits = walk(dimension)[:3]
    boxed = occupied(deposits)
    assert np.prod(boxed[0].mesh.shape) < np.prod(deposits[0].mesh.shape)
    for old, new in zip(deposits, boxed, strict=True):
        assert new.count.sum() == old.count.sum()
        assert new.products.sum() == old.products.sum()
        assert new.flux.sum() == old.flux.sum()
        for axis, (a, b) in enumerate(zip(old.mesh.axes(), new.mesh.axes(), strict=True)):
            across = tuple(k for k in range(dimension) if k != axis)
            assert old.count.sum(axis=across) @ a == pytest.approx(new.count.sum(axis=across) @ b, rel=1e-12)
    assert all(n % (1 << max(0, (n - 1).bit_length() - 3)) == 0 for n in boxed[0].mesh.shape)


def test_tables_of_another_shape_are_refused():
    """Deposits and tables share spacing and shape."""
    deposits = walk(1)
    with pytest.raises(ValueError, match="spacing and shape"):
        pair_radial(deposits, pair_tables(TERMS, Mesh(0.25, (0,), (9,))), np.arange(33))


def test_grams_added_up_are_those_of_the_slices():
    """Weighted sums of `added_grams` are those of single Grams; slices without weight are not looked at."""
    deposits = occupied(walk(1, slices=6))
    basis = basis_for(deposits, intervals=8)
    tables = pair_tables(basis, table_mesh(deposits[0].mesh))
    weights = np.array([[0.5, 1.0, 0.0, 0.0, 0.0, 0.0], [0.0, 0.2, 0.0, 0.0, 3.0, 1.0]])
    single = pair_radial(deposits, tables, np.arange(6)).gram
    np.testing.assert_allclose(
        added_grams([*deposits[:2], None, None, *deposits[4:]], tables, weights),
        np.tensordot(weights, single, 1),
        rtol=1e-13,
        atol=1e-13 * np.abs(single).max(),
    )


def test_panels_of_added_grams_are_the_radial_equations():
    """With the Grams added by the rule's weights, the same equations as from one Gram a slice."""
    deposits = walk(1)
    basis, rule = basis_for(deposits, intervals=8), block_rule(TIMES, "action", blocks=3)
    whole = pair_all(deposits, basis)
    told = {"basis": basis.names, "diffusion": DIFFUSION, "particles": 200}
    expected = radial_equations(whole, rule, **told)
    found = panel_equations(np.tensordot(rule.gram, whole.gram, 1), whole, rule, **told)
    np.testing.assert_allclose(found.gram, expected.gram)
    np.testing.assert_array_equal(found.moment, expected.moment)
