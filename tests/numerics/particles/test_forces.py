"""Force methods against a double loop and against each other; the mesh force is fourth order on average."""

import numpy as np
import pytest

from ipsdist.model.errors import InputError, RunError
from ipsdist.model.expression import Expression
from ipsdist.model.mesh import Mesh
from ipsdist.model.radial import RadialKernel
from ipsdist.numerics.densities.deposit import deposit
from ipsdist.numerics.particles.forces import particle_force
from ipsdist.numerics.particles.forces.direct import direct_sums
from ipsdist.numerics.particles.forces.mesh import MeshForce, interpolate
from ipsdist.numerics.particles.forces.prefix import prefix_sums
from tests.references import pair_drift

CASES = [
    ("direct", 1, "3*r**2", None),
    ("direct", 1, "r-r**-1.5", 0.05),
    ("direct", 2, "exp(-r)-cos(r)", None),
    ("direct", 3, "r-r**-2", 0.25),
    ("prefix", 1, "3*r**2", None),
    ("prefix", 1, "1+(r-2)**3/4-exp(-2*r)+0.1*exp(r)*exp(r/2)", None),
    ("prefix", 1, "abs(r)**9", None),
    ("moments", 1, "r", None),
    ("moments", 2, "3*r**3-r", None),
    ("moments", 3, "r*(1+r**2)**2", None),
]


def _positions(dimension, particles=60):
    x = np.random.default_rng(dimension).normal(3, 1.5, (particles, dimension))
    x[7] = x[9]  # two at one place exert no force on each other
    return x


@pytest.mark.parametrize(("method", "dimension", "text", "cutoff"), CASES)
def test_exact_methods_equal_double_loop(method, dimension, text, cutoff):
    """Drift of every particle to rounding."""
    kernel, x = RadialKernel.parse(text, cutoff), _positions(dimension)
    expected = pair_drift(kernel, x)
    found = particle_force(method, kernel, None, dimension)(x)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12 * np.abs(expected).max())


def test_direct_with_pieces():
    """Kernels of pieces reach the compiled sum."""
    kernel, x = RadialKernel.from_pieces([(1.5, "0.5*r"), (2.0, "r"), (None, "0")]), _positions(1)
    np.testing.assert_allclose(particle_force("direct", kernel, None, 1)(x), pair_drift(kernel, x), atol=1e-12)


@pytest.mark.parametrize(("dimension", "methods"), [(1, ("direct", "prefix", "moments")), (3, ("direct", "moments"))])
def test_methods_agree(dimension, methods):
    """The exact methods agree on thousands of particles, external potential included, far from the origin."""
    kernel = RadialKernel.parse("r**3-2*r")
    potential = Expression.parse("x**2/2+exp(x/4)", ("x", "y", "z")[:dimension], "system.potential")
    x = np.random.default_rng(0).normal(30, 2, (1500, dimension))
    first, *others = [particle_force(method, kernel, potential, dimension)(x) for method in methods]
    for other in others:
        np.testing.assert_allclose(other, first, atol=1e-10 * np.abs(first).max())


def test_external_potential():
    """-grad V(x, y) at the particles, axes without a variable included."""
    x = _positions(2)
    still = RadialKernel.parse("0*r")
    drift = particle_force("direct", still, Expression.parse("x**2*y", ("x", "y")), 2)(x)
    np.testing.assert_allclose(drift, np.stack([-2 * x[:, 0] * x[:, 1], -(x[:, 0] ** 2)], axis=1), rtol=1e-13)
    sideways = particle_force("direct", still, Expression.parse("3*y", ("x", "y")), 2)(x)
    np.testing.assert_allclose(sideways, np.broadcast_to([0.0, -3.0], x.shape))


def _mesh_drift(kernel, potential, x, spacing):
    """Mesh drift at the particles, averaged over where the lattice lies."""
    total = np.zeros_like(x)
    shifts = (np.arange(16) + 0.5) / 16 * spacing
    lattice = np.stack(np.meshgrid(*[shifts] * x.shape[1], indexing="ij"), axis=-1).reshape(-1, x.shape[1])
    for shift in lattice:
        y = x + shift
        mesh = Mesh.around(y.min(0), y.max(0), spacing)
        total += interpolate(MeshForce(kernel, potential, len(x)).node_drift(mesh, deposit(y, mesh).count), mesh, y)
    return total / len(lattice)


@pytest.mark.parametrize(("dimension", "text"), [(1, "3*r**5"), (1, "sin(r)"), (2, "sin(r)")])
def test_mesh_force_is_fourth_order(dimension, text):
    """The mean error of the mesh force against the direct sum falls sixteenfold when the spacing is halved."""
    kernel = RadialKernel.parse(text)
    x = np.random.default_rng(3).normal(0, 1, (12, dimension))
    exact = pair_drift(kernel, x)
    errors = [np.sqrt(((_mesh_drift(kernel, None, x, h) - exact) ** 2).mean()) for h in (1.0, 0.5, 0.25)]
    orders = np.log2(np.array(errors[:-1]) / errors[1:])
    assert (orders > 3.5).all(), (errors, orders)


def test_mesh_potential_is_fourth_order():
    """So does that of the external force, which is interpolated but not deposited."""
    x = np.random.default_rng(3).normal(0, 1, (40, 1))
    potential = Expression.parse("sin(2*x)", ("x",), "system.potential")

    def error(spacing):
        shifts = (np.arange(64) + 0.5) / 64 * spacing
        found = np.zeros_like(x)
        for shift in shifts.tolist():  # particles stay, the lattice moves: V is not shift-invariant
            mesh = Mesh.around(x.min(0) + shift, x.max(0) + shift, spacing)
            moved = Expression.parse(f"sin(2*(x-{shift!r}))", ("x",))
            drift = MeshForce(None, moved, len(x)).node_drift(mesh, deposit(x + shift, mesh).count)
            found += interpolate(drift, mesh, x + shift) / len(shifts)
        return np.sqrt(((found + 2 * np.cos(2 * x)) ** 2).mean())

    assert potential.derivative("x")(0.0) == 2.0
    errors = [error(h) for h in (0.5, 0.25, 0.125)]
    assert (np.log2(np.array(errors[:-1]) / errors[1:]) > 3.7).all(), errors


@pytest.mark.parametrize("dimension", [1, 2, 3])
def test_no_self_force_and_no_total_force(dimension):
    """A lone particle feels nothing on the mesh, wherever it is; many feel no net force."""
    kernel = RadialKernel.parse("exp(-r)")
    for n in (1, 50):
        x = np.random.default_rng(n).normal(size=(n, dimension))
        mesh = Mesh.around(x.min(0), x.max(0), 0.25)
        deposits = deposit(x, mesh)
        drift = MeshForce(kernel, None, n).node_drift(mesh, deposits.count)
        total = (drift * deposits.density_weights()).reshape(dimension, -1).sum(axis=1)
        np.testing.assert_allclose(total, 0, atol=1e-13 * n)


def test_linear_force_is_exact_on_the_mesh():
    """For phi = r no lattice shows: the mesh force is X - mean to the quantum of the weights."""
    kernel, x = RadialKernel.parse("r"), _positions(2)
    mesh = Mesh.around(x.min(0), x.max(0), 0.5)
    drift = interpolate(MeshForce(kernel, None, len(x)).node_drift(mesh, deposit(x, mesh).count), mesh, x)
    np.testing.assert_allclose(drift, x.mean(axis=0) - x, atol=0.5 * 2**-15)


PREFIX_TAKES = '"prefix" takes only kernels that are sums of powers 1, r, r**2, ... r**16 and of exponentials exp(a*r)'
MOMENTS_TAKE = '"moments" takes only kernels that are sums of odd powers r, r**3, ... r**15'


@pytest.mark.parametrize(
    ("method", "dimension", "text", "message"),
    [
        ("prefix", 2, "r", '"prefix" needs system.dimension = 1; got 2; use "mesh" or "moments"'),
        (
            "prefix",
            1,
            "sin(r)",
            f'{PREFIX_TAKES}; got sin(r); use "mesh" or "direct"',
        ),
        ("prefix", 1, "r*exp(-r)", "got r*exp(-r); use"),
        ("prefix", 1, "(1+r)**9*(1+r)**9", "got (1+r)**9*(1+r)**9; use"),
        ("prefix", 1, "exp(r**2)", "got exp(r**2); use"),
        (
            "moments",
            1,
            "r**2",
            f'{MOMENTS_TAKE}; got r**2; use "mesh" or "direct"',
        ),
        ("moments", 1, "sqrt(r)", "got sqrt(r); use"),
        ("tree", 1, "r", "must be one of auto, mesh, direct, prefix, moments; got 'tree'"),
    ],
)
def test_refusals(method, dimension, text, message):
    """A method that does not fit the kernel says which kernels it takes."""
    with pytest.raises(InputError) as caught:
        particle_force(method, RadialKernel.parse(text), None, dimension)
    assert str(caught.value).startswith("`force.method` ")
    assert message in str(caught.value)


def test_exponential_overflow():
    """Exponentials that leave float64 say so instead of returning nan."""
    force = particle_force("prefix", RadialKernel.parse("exp(-r)"), None, 1)
    with pytest.raises(RunError, match=r'exp\(-1\*r\) overflows over particles 4000 apart; use force.method = "mesh"'):
        force(np.array([[0.0], [4000.0]]))


def test_prefix_sums_of_a_kernel_in_pieces():
    """Polynomials on pieces against direct sums, two particles at one place among them; no exponentials in pieces."""
    kernel = RadialKernel.from_pieces([(0.7, "0.5*r"), (1.5, "1+r**2"), (None, "-0.2*r")])
    x = np.random.default_rng(5).uniform(-2.0, 2.0, (700, 1))
    x[5] = x[6]
    np.testing.assert_allclose(prefix_sums(kernel, 1)(x), direct_sums(kernel)(x), atol=1e-9)
    with pytest.raises(InputError, match="polynomials on every piece"):
        prefix_sums(RadialKernel.from_pieces([(1.0, "r"), (None, "exp(-r)")]), 1)
