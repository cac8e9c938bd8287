"""Radial kernels: cut-off, pieces, potentials against quadrature, source, refusals."""

import math
import pickle

import numpy as np
import pytest
from scipy.integrate import quad

from ipsdist.model.errors import InputError, RunError
from ipsdist.model.potential import _closed, integrate_numerically
from ipsdist.model.radial import RadialKernel

CLOSED = [
    "1",
    "r",
    "r**2",
    "r**3",
    "exp(r)",
    "exp(-r)",
    "sin(r)",
    "cos(r)",
    "3*r**2",
    "r*exp(-r)",
    "exp(-r/2)*sin(3*r)",
]
SINGULAR = ["r**-0.5", "r**-1", "r**-1.5", "r**-2", "r-r**-1.5", "2*(r-1/r)", "exp(-r)/r", "sign(r-1.5)/r", "log(r)"]
NUMERICAL = [
    "exp(-r)/(1+r)", "log(1+r**2)*exp(-r)", "abs(r-2)", "sign(r-1.5)", "sqrt(abs(r-1))", "sin(r)/r", "r*log(r)",
    "r**8*exp(-r)", "exp(-1/r)", "(1-cos(r))/r", "1/r-cos(r)/r",
]  # fmt: skip
RADII = np.array([0.0, 0.02, 0.05, 0.3, 1.0, 1.5, 2.7, 6.0])


def reference(kernel, r):
    """Integrate from 0 with QUADPACK, told where the kernel has its kinks."""
    kinks = sorted(p for p in (0.05, 1.0, 1.5, 2.0) if p < r)
    return quad(kernel, 0, r, points=kinks or None, epsabs=1e-13, epsrel=1e-11, limit=400)[0]


@pytest.mark.parametrize("text", CLOSED + SINGULAR + NUMERICAL)
def test_potential_is_the_integral(text):
    """Phi agrees with QUADPACK to 1e-10 and is 0 at 0, closed or numerical, with and without cut-off."""
    kernel = RadialKernel.parse(text, 0.05 if text in SINGULAR else None)
    found = kernel.potential(RADII)
    assert found[0] == 0.0
    np.testing.assert_allclose(found, [reference(kernel, r) for r in RADII], rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("text", CLOSED)
def test_common_terms_have_a_closed_potential(text):
    """The usual terms are integrated symbolically."""
    assert RadialKernel.parse(text).pieces[0][1].antiderivative() is not None


@pytest.mark.parametrize("text", NUMERICAL)
def test_hard_terms_are_not_tried(text):
    """What sympy would chew on, or answer outside the whitelist, has no closed form; r**8*exp(-r) fails the check."""
    summands = RadialKernel.parse(text).pieces[0][1].summands()
    assert all(_closed(s, 0.0) is None for s in summands if not s.unbounded_at_zero())


def test_quadrature_does_not_depend_on_the_company_of_a_radius():
    """A value of the numerical potential has the same bits alone, in any order and beside far radii."""
    kernel = RadialKernel.parse("sqrt(abs(r-1))*exp(-r)")
    radii = np.linspace(0, 12, 1001)
    together = kernel.potential(radii)
    np.testing.assert_array_equal(kernel.potential(radii[::-1].reshape(7, 143))[::-1, ::-1].ravel(), together)
    assert kernel.potential(radii[17:18])[0] == together[17]
    assert kernel.potential(radii[:0]).shape == (0,)


def test_too_fast_or_valueless_integrands_end():
    """A formula that changes too fast is refused by name, and one without values gives nan; both at once."""
    with pytest.raises(RunError, match=r"sin\(1e20\*r\) changes too fast to be integrated: use a smoother formula"):
        RadialKernel.parse("sin(1e20*r)").potential(RADII)
    found = integrate_numerically(lambda x: np.where(x < 1, 1.0, np.nan), 0.0, np.array([0.1, 3.0]))
    assert found[0] == pytest.approx(0.1)
    assert np.isnan(found[1])


def test_quadrature_of_a_polynomial_is_exact():
    """Sixteen nodes integrate degree 31 to rounding."""
    found = integrate_numerically(lambda x: 32 * x**31, 0.0, np.array([0.5, 1.0, 2.0]))
    np.testing.assert_allclose(found, [0.5**32, 1.0, 2.0**32], rtol=1e-14)


def test_cutoff_freezes_the_singular_summand_alone():
    """Of phi = r - r**-1.5, r goes on below it, the other summand stays."""
    kernel = RadialKernel.parse("r - r**-1.5", 0.05)
    r = np.array([0.0, 0.01, 0.05, 0.3])
    np.testing.assert_allclose(kernel(r), r - np.maximum(r, 0.05) ** -1.5, rtol=1e-14)
    assert RadialKernel.parse("r**2", 0.05)(0.01) == pytest.approx(1e-4)


def test_removable_points_are_filled():
    """0/0 at r = 0 becomes the limit."""
    assert RadialKernel.parse("sin(r)/r")(np.array([0.0, 1.0])).tolist() == [1.0, math.sin(1.0)]


def test_pieces_join_at_their_upper_ends():
    """The end of a piece belongs to it; the potential is continuous and adds up."""
    kernel = RadialKernel.from_pieces([(1.5, "0.5*r"), (2.0, "r"), (None, "0")])
    np.testing.assert_array_equal(kernel(np.array([0.0, 1.5, 1.6, 2.0, 2.1])), [0.0, 0.75, 1.6, 2.0, 0.0])
    np.testing.assert_allclose(kernel.potential(np.array([1.5, 2.0, 7.0])), [0.5625, 1.4375, 1.4375], rtol=1e-14)
    assert kernel.name == "{0.5*r|r<=1.5;r|r<=2;0}"
    assert kernel.latex() == r"\begin{cases} \frac{r}{2} & r \le 1.5 \\ r & r \le 2 \\ 0 & \text{beyond} \end{cases}"


def test_pieces_may_be_singular_within_the_cutoff():
    """Only the piece at 0 is frozen, and Phi agrees with quadrature."""
    kernel = RadialKernel.from_pieces([(1.5, "1 - 1/r"), (None, "r**-2")], 0.05)
    np.testing.assert_allclose(kernel(np.array([0.01, 3.0])), [1 - 20.0, 1 / 9], rtol=1e-14)
    np.testing.assert_allclose(kernel.potential(RADII), [reference(kernel, r) for r in RADII], rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("text", [*CLOSED, *SINGULAR, *NUMERICAL])
def test_source_is_the_kernel(text):
    """The source for scalar loops has the values of the kernel, inside the cut-off too."""
    kernel = RadialKernel.parse(text, 0.05 if text in SINGULAR else None)
    r = np.array([0.011, 0.05, 0.4, 1.5, 1.51, 3.0])
    found = [eval(kernel.source(), {"math": math, "np": np, "r": float(x)}) for x in r]
    np.testing.assert_allclose(found, kernel(r), rtol=1e-13)


def test_source_of_pieces():
    """Pieces become conditional expressions."""
    kernel = RadialKernel.from_pieces([(1.5, "r-1/r"), (2.0, "r"), (None, "0")], 0.05)
    r = np.array([0.01, 1.5, 1.7, 2.0, 5.0])
    found = [eval(kernel.source(), {"math": math, "np": np, "r": float(x)}) for x in r]
    np.testing.assert_allclose(found, kernel(r), rtol=1e-14)


def test_equality_and_pickle():
    """Kernels are values."""
    kernel = RadialKernel.parse("r - r**-1.5", 0.05)
    assert kernel == RadialKernel.parse("r-r**-1.5", 0.05) == pickle.loads(pickle.dumps(kernel))
    assert kernel != RadialKernel.parse("r-r**-1.5", 0.1)
    assert len({kernel, RadialKernel.parse("r-r**-1.5", 0.05)}) == 1


FINITE = "use abs() inside sqrt and log, or end the formula at a distance with system.pieces"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: RadialKernel.parse("r - r**-1.5"),
            "`system.kernel` has -r**-1.5 unbounded at r = 0 and no cut-off; got r-r**-1.5; "
            "set system.cutoff, for example system.cutoff = 0.05",
        ),
        (
            lambda: RadialKernel.parse("exp(-r)/r", None, "dictionary.terms"),
            "`dictionary.terms` has exp(-r)/r unbounded at r = 0 and no cut-off; got exp(-r)/r; "
            "set dictionary.cutoff, for example dictionary.cutoff = 0.05",
        ),
        (
            lambda: RadialKernel.parse("log(r-5)"),
            "`system.kernel` must be a finite real number at every distance, and is not at r = 0.003; "
            f"got log(r-5); {FINITE}",
        ),
        (
            lambda: RadialKernel.parse("sqrt(2-r)"),
            "`system.kernel` must be a finite real number at every distance, and is not at r = 2.05; "
            f"got sqrt(2-r); {FINITE}",
        ),
        (
            lambda: RadialKernel.parse("exp(r**4)"),
            "`system.kernel` must be a finite real number at every distance, and is not at r = 5.2; "
            f"got exp(r**4); {FINITE}",
        ),
        (
            lambda: RadialKernel.parse("1/(r-2)**2"),
            "`system.kernel` must be a finite real number at every distance, and is not at r = 2; "
            f"got 1/(r-2)**2; {FINITE}",
        ),
        (
            lambda: RadialKernel.parse("r", -1.0),
            "`system.cutoff` must be a positive distance inside the first piece; got -1.0; for example 0.05",
        ),
        (
            lambda: RadialKernel.from_pieces([(0.01, "1/r"), (None, "0")], 0.05),
            "`system.cutoff` must be a positive distance inside the first piece; got 0.05; for example 0.05",
        ),
        (
            lambda: RadialKernel.from_pieces([(2.0, "r"), (1.0, "r"), (None, "0")]),
            "`system.pieces` must have increasing positive ends upto; got [2.0, 1.0]; sort the pieces by distance",
        ),
        (
            lambda: RadialKernel.from_pieces([(2.0, "r")]),
            "`system.pieces` must have upto in all pieces but the last; got [2.0]; the last piece reaches to infinity",
        ),
    ],
)
def test_refusals(make, message):
    """A kernel that cannot be one is refused with the key that helps."""
    with pytest.raises(InputError) as refused:
        make()
    assert str(refused.value) == message


def test_jumps_of_pieces():
    """The end of every piece with the step of phi there, 0 for a kink; none for one formula."""
    kernel = RadialKernel.from_pieces([(1.5, "0.5*r"), (2.0, "r"), (3.0, "4-r"), (None, "0")])
    assert kernel.jumps() == ((1.5, 0.75), (2.0, 0.0), (3.0, -1.0))
    assert RadialKernel.parse("r").jumps() == ()


def test_a_single_piece_is_named_by_its_interval():
    """A term that is 0 but on one piece says where; its LaTeX has an indicator, and several pieces their cases."""
    first = RadialKernel.from_pieces([(1.50412, "r"), (None, "0")])
    middle = RadialKernel.from_pieces([(1.50412, "0"), (2.0, "r**2"), (None, "0")])
    last = RadialKernel.from_pieces([(2.0, "0"), (None, "1")])
    assert [k.name for k in (first, middle, last)] == ["r on (0, 1.504]", "r**2 on (1.504, 2]", "1 on (2, inf)"]
    assert first.latex() == r"r\,1_{(0, 1.504]}"
    assert last.latex().endswith(r"1_{(2, \infty)}")
    assert RadialKernel.from_pieces([(2.0, "1"), (None, "r")]).name == "{1|r<=2;r}"
