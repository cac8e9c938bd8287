"""Equations and densities of deposits that lie on a device, against NumPy on the host.

The device is that of array-api-strict: it knows the array API alone and refuses to mix with NumPy, so that whatever
falls back to NumPy on the way raises.
"""

from dataclasses import replace
from itertools import pairwise

import array_api_strict as strict
import numpy as np
import pytest

from ipsdist.arrays import namespace as arrays
from ipsdist.model.dictionary import Dictionary
from ipsdist.model.errors import InputError
from ipsdist.model.expression import Expression
from ipsdist.model.mesh import Mesh
from ipsdist.model.radial_basis import RadialBasis
from ipsdist.model.system import Grid
from ipsdist.model.unknowns import Unknowns
from ipsdist.numerics.convolution import convolve, forward
from ipsdist.numerics.densities.deposit import deposit, deposit_flux
from ipsdist.numerics.densities.window import coarsened, density
from ipsdist.numerics.equations.forms.strong import StrongForm, strong_equations
from ipsdist.numerics.equations.pairings import pair_slice, stack
from ipsdist.numerics.equations.radial import added_grams, occupied, pair_radial, pair_slices, table_mesh
from ipsdist.numerics.equations.tables import external_tables, pair_tables

DEVICE = strict.Device("device1")
TERMS = Dictionary.parse(["1", "r", "r**2", "exp(-r)"])
SPACINGS = {1: 2.0**-5, 2: 2.0**-3, 3: 2.0**-2}
PARTS = ("gram", "energy", "laplacian", "work")


def on_device(values):
    return strict.asarray(values, device=DEVICE)


def moved(deposits):
    """The same deposits on the device."""
    return [
        replace(
            d,
            count=on_device(d.count),
            products=on_device(d.products),
            flux=None if d.flux is None else on_device(d.flux),
        )
        for d in deposits
    ]


def walk(dimension, slices=5, particles=150):
    """Deposits of a few particles that walk, on a mesh wider than they need; the last slice and one more have no flux.

    Numbers of particles change from slice to slice, as those of tracks with gaps do.
    """
    rng = np.random.default_rng(dimension)
    x = [0.5 * rng.normal(size=(particles, dimension))]
    for _ in range(slices - 1):
        x.append(0.95 * x[-1] + 0.2 + 0.05 * rng.normal(size=x[-1].shape))
    mesh = Mesh.around(np.min(x, axis=(0, 1)) - 0.4, np.max(x, axis=(0, 1)) + 0.3, SPACINGS[dimension])
    found = [replace(deposit(p[s:], mesh), worth=0.5) for s, p in enumerate(x)]
    for s, (a, b) in enumerate(pairwise(x)):
        if s != 1:
            flux, squares = deposit_flux(a[s:], b[s:], mesh)
            found[s] = replace(found[s], flux=flux, squared_move=squares)
    return found


def outside(mesh):
    names = tuple("xyz"[: mesh.dimension])
    return [external_tables(Expression.parse(t, names, "system.potential"), mesh) for t in ("x**2/2", "cos(x)")]


def assert_same(found, wanted, axis=None):
    """Equal pairings, NumPy's on the host, to rounding.

    A transform rounds relative to the largest it holds, and no pair may be where a function of a basis is: that is
    measured against the largest of all numbers; terms (axis 0) against the largest of their own column.
    """
    for name in PARTS:
        a, b = getattr(found, name), getattr(wanted, name)
        assert isinstance(a, np.ndarray)
        assert a.shape == b.shape
        np.testing.assert_array_equal(np.isnan(a), np.isnan(b))
        scale = np.nanmax(np.abs(b), axis=axis, initial=0.0)
        assert (np.abs(np.nan_to_num(a - b)) <= 1e-12 * scale).all(), name


@pytest.fixture(params=["at once", "in batches"])
def batches(request, monkeypatch):
    """Whether a device works on all slices at once or, its arrays being small, on few or single ones."""
    if request.param == "in batches":
        monkeypatch.setattr(arrays, "_BATCH", 2**18)


@pytest.mark.usefixtures("batches")
@pytest.mark.parametrize("dimension", [1, 2, 3])
@pytest.mark.parametrize("external", [False, True])
def test_pairings_with_a_dictionary(dimension, external):
    """Gram, energy, Laplacian and work of slices on the device are those of `pair_slice` on the host."""
    deposits = walk(dimension)
    mesh = deposits[0].mesh
    tables, fields = pair_tables(TERMS, mesh), outside(mesh) if external else []
    wanted = stack([pair_slice(d, tables, fields) for d in deposits])
    found = pair_slices(moved(deposits), tables, fields)
    assert_same(found, wanted, axis=0)
    on_host = pair_slices(deposits, tables, fields)
    for name in PARTS:
        np.testing.assert_array_equal(getattr(on_host, name), getattr(wanted, name))


@pytest.mark.usefixtures("batches")
@pytest.mark.parametrize("dimension", [1, 2])
def test_pairings_with_a_basis(dimension):
    """Slices on the device, put on the box of their particles there, pair with a radial basis as on the host do."""
    deposits = walk(dimension)
    here, there = occupied(deposits), occupied(moved(deposits))
    mesh = here[0].mesh
    assert [d.mesh for d in there] == [d.mesh for d in here]
    for a, b in zip(there, here, strict=True):
        for name in ("count", "products") if b.flux is None else ("count", "products", "flux"):
            np.testing.assert_array_equal(arrays.host(getattr(a, name)), getattr(b, name), strict=True)
    reach = mesh.spacing * (np.linalg.norm(mesh.shape) + 6)
    tables = pair_tables(RadialBasis.graded(float(reach), 2 * mesh.spacing, intervals=10), table_mesh(mesh))
    made = np.array([0, 2, 3])
    assert_same(pair_radial(there, tables, made, outside(mesh)), pair_radial(here, tables, made, outside(mesh)))
    weights = np.array([[0.5, 0.0, 1.0, 0.25, 0.0], [0.0, 0.0, 0.5, 1.0, 2.0]])
    found, wanted = (added_grams(d, tables, weights) for d in (there, here))
    np.testing.assert_allclose(found, wanted, atol=1e-11 * np.abs(wanted).max())


def test_no_gram_and_no_flux():
    """A basis may be paired without a Gram, and slices without displacements have no work."""
    deposits = [replace(d, flux=None) for d in walk(1)]
    tables = pair_tables(TERMS, table_mesh(deposits[0].mesh))
    found = pair_radial(moved(deposits), tables, np.zeros(0, dtype=np.intp))
    assert found.gram.shape == (0, 4, 4)
    assert np.isnan(found.work).all()
    np.testing.assert_allclose(found.energy, pair_radial(deposits, tables, np.zeros(0, dtype=np.intp)).energy)


@pytest.mark.parametrize("dimension", [1, 2, 3])
def test_convolution(dimension):
    """One transform of all tables and slices gives what one at a time on the host does."""
    deposits = walk(dimension, slices=3)
    mesh = deposits[0].mesh
    tables, weights = pair_tables(TERMS, mesh), np.stack([d.density_weights() for d in deposits])
    wanted = np.stack([convolve(tables.force, w, mesh) for w in weights])
    there = tables.on(on_device(weights))
    found = convolve(there.force, on_device(weights), mesh)
    np.testing.assert_allclose(arrays.host(found), wanted, atol=1e-12 * np.abs(wanted).max())
    found = convolve(there.force, on_device(weights[1]), mesh)
    np.testing.assert_allclose(arrays.host(found), wanted[1], atol=1e-12 * np.abs(wanted).max())
    np.testing.assert_allclose(arrays.host(forward(on_device(weights[0]), mesh)), forward(weights[0], mesh), atol=1e-10)


@pytest.mark.parametrize("dimension", [1, 2, 3])
def test_window(dimension):
    """The window density on the device is that of the host, shared bandwidths or not; it stays there."""
    deposits = walk(dimension, slices=3)
    mesh, weights = deposits[0].mesh, np.stack([d.density_weights() for d in deposits])
    grid = Grid((-2.0,) * dimension, (1.5,) * dimension, (9, 8, 7)[:dimension])
    shared, each = np.full(dimension, 0.3), np.linspace(0.3, 2.5, 3 * dimension).reshape(3, dimension)
    for w, h in ((weights, shared), (weights, each), (weights[1], 9.0 * shared)):
        found = density(on_device(w), mesh, grid, h)
        assert found.device == DEVICE
        wanted = density(w, mesh, grid, h)
        assert found.shape == wanted.shape
        np.testing.assert_allclose(arrays.host(found), wanted, rtol=1e-12, atol=1e-15)


def test_window_refuses_a_slice_without_particles():
    """Refused on the device as on the host."""
    mesh, grid = Mesh(0.25, (-4,), (9,)), Grid((-1.0,), (1.0,), (4,))
    with pytest.raises(InputError, match="at least one particle"):
        density(on_device(np.stack([np.ones(9), np.zeros(9)])), mesh, grid, [0.5])


def test_coarsened_is_exact():
    """Coarsening adds exactly, so that the device has the bits of the host."""
    weights = walk(1)[0].density_weights()
    for factor in (1, 2, 8):
        (there, first), (here, lower) = coarsened(on_device(weights), -13, factor), coarsened(weights, -13, factor)
        np.testing.assert_array_equal(arrays.host(there), here)
        assert first == lower


@pytest.mark.usefixtures("batches")
@pytest.mark.parametrize("dimension", [1, 2, 3])
@pytest.mark.parametrize("external", [False, True])
def test_strong_form(dimension, external):
    """Panels of densities on the device, assembled many at a time, are those of the host, field and potential too."""
    grid = Grid((-2.0, -1.5, -1.0)[:dimension], (2.0, 2.5, 2.0)[:dimension], (12, 11, 10)[:dimension])
    deposits = walk(dimension)
    weights = np.stack([d.density_weights() for d in deposits])
    u = density(weights, deposits[0].mesh, grid, np.full(dimension, 0.4))
    times = np.array([0.0, 0.1, 0.35, 0.4, 0.7])
    names = tuple("xyz"[:dimension])
    unknowns = Unknowns.parse(TERMS, ["sin(x)"], drift=False, dimension=dimension) if external else Unknowns(TERMS)
    known = Expression.parse("x**2/2", names, "system.potential") if external else None
    wanted = strong_equations(u, times, grid, unknowns, 0.7, 50, external=known)
    found = strong_equations(on_device(u), times, grid, unknowns, 0.7, 50, external=known)
    for name in ("gram", "moment", "energy"):
        a, b = getattr(found, name), getattr(wanted, name)
        assert isinstance(a, np.ndarray)
        np.testing.assert_allclose(a, b, atol=1e-11 * np.abs(b).max())
    form = StrongForm.of(grid, unknowns, 0.7, 50, known)
    one = form.products(on_device(u[1]), on_device(u[2]), 0.25)
    np.testing.assert_allclose(one, form.products(u[1], u[2], 0.25), atol=1e-11 * np.abs(one).max())
