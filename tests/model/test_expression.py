"""Formulas: the whitelist and its refusals, values, limits at zero, derivatives, source and LaTeX."""

import math
import pickle
import subprocess
import sys
import time
from fractions import Fraction

import numpy as np
import pytest
import sympy
from hypothesis import given, settings
from hypothesis import strategies as st

from ipsdist.model.errors import InputError
from ipsdist.model.expression import Expression

RADII = np.array([0.01, 0.3, 1.0, 1.7, 4.2])
NAMES = "allowed are numbers, r, exp, log, sin, cos, sqrt, abs, sign and + - * / ** ( )"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3*r**2", 3 * RADII**2),
        ("r - r**-1.5", RADII - RADII**-1.5),
        ("-r**2", -(RADII**2)),
        ("2**3**2 * r / 4 / 2", 64 * RADII),
        ("exp(-r)*sin(3*r) + cos(r)/2", np.exp(-RADII) * np.sin(3 * RADII) + np.cos(RADII) / 2),
        ("sqrt(abs(r-1)) - sign(r-1)*log(r)", np.sqrt(np.abs(RADII - 1)) - np.sign(RADII - 1) * np.log(RADII)),
        ("r**(1/3)", np.cbrt(RADII)),
        ("1e-3*r + .5", 1e-3 * RADII + 0.5),
        ("+r**-2", RADII**-2.0),
    ],
)
def test_values_are_numpys(text, value):
    """A formula has the values of the same formula written in NumPy, and so has its source scalar by scalar."""
    expression = Expression.parse(text)
    np.testing.assert_allclose(expression(RADII), value, rtol=1e-14)
    code = expression.source()
    scalars = [eval(code, {"math": math, "np": np, "r": float(r)}) for r in RADII]
    np.testing.assert_allclose(scalars, value, rtol=1e-14)


@pytest.mark.parametrize("exponent", [-64, -3, -1, 2, 3, 7, 64])
def test_whole_powers_round_little(exponent):
    """Powers by products stay within a few roundings of the exact power."""
    values = Expression.parse(f"r**{exponent}")(RADII)
    for r, value in zip(RADII, values, strict=True):
        exact = Fraction(float(r)) ** exponent
        assert abs(Fraction(float(value)) / exact - 1) < 64 * 2.0**-52


def test_shapes_dtype_and_ownership():
    """Constants take the shape of the argument, integers become float64, and the caller's array is never returned."""
    assert Expression.parse("2")(np.zeros((3, 4))).shape == (3, 4)
    assert Expression.parse("r")(np.arange(3)).dtype == np.float64
    assert Expression.parse("r")(1.5).shape == ()
    r = np.ones(3)
    assert not np.shares_memory(Expression.parse("r")(r), r)
    assert Expression.parse("x*y", ("x", "y"))(np.ones((3, 1)), np.ones(4)).shape == (3, 4)
    with pytest.raises(TypeError, match=r"takes 2 arrays \(x, y\); got 1"):
        Expression.parse("x*y", ("x", "y"))(1.0)


def test_no_warning_at_singular_points():
    """A singular point gives inf or nan and no warning (warnings are errors here)."""
    assert np.isinf(Expression.parse("r**-1.5")(np.array([0.0]))[0])
    assert np.isnan(Expression.parse("log(r)*0")(np.array([0.0]))[0])


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("os.system('x')", f"has a forbidden name 'os'; got \"os.system('x')\"; {NAMES}"),
        ("__import__", f"has a forbidden name '__import__'; got '__import__'; {NAMES}"),
        ("r.real", f"has a forbidden character '.'; got 'r.real'; {NAMES}"),
        ("x*r", f"has a forbidden name 'x'; got 'x*r'; {NAMES}"),
        ("r if r else 1", f"has a forbidden name 'if'; got 'r if r else 1'; {NAMES}"),
        ("r[0]", f"has a forbidden character '['; got 'r[0]'; {NAMES}"),
        ("r^2", "has a forbidden character '^'; got 'r^2'; write powers with **"),
        ("r\x1b[31m", f"has a forbidden character '\\x1b'; got 'r\\x1b[31m'; {NAMES}"),
        ("r//2", f"has an operator that is not allowed; got 'r//2'; {NAMES}"),
        ("r,r", f"is not a formula; got 'r,r'; {NAMES}"),
        ("3*(r", "is not a formula; got '3*(r'; check its parentheses and operators, for example 3*r**2"),
        ("2r", "is not a formula; got '2r'; check its parentheses and operators, for example 3*r**2"),
        ("  ", f"must not be empty; got ' '; {NAMES}"),
        ("r(2)", "calls what is not a function; got 'r(2)'; write products with *"),
        ("exp", "uses exp without an argument; got 'exp'; for example exp(r)"),
        ("exp(r,r)", "must give exp one argument; got 'exp(r,r)'; for example exp(r)"),
        ("r**r", "must have numbers as exponents; got 'r**r'; write a**b with a variable b as exp(b*log(a))"),
        ("r**(10**9)", "must have exponents between -64 and 64; got 'r**(10**9)'"),
        ("9**9**9**9", "must have exponents between -64 and 64; got '9**9**9**9'"),
        (
            "((r**64)**64)**64",
            "must have exponents between -64 and 64, those of powers of powers multiplied; got '((r**64)**64)**64'",
        ),
        ("1e999999999*r", "must use numbers between 1e-100 and 1e100; got '1e999999999*r'"),
        ("1e-999999999*r", "must use numbers between 1e-100 and 1e100; got '1e-999999999*r'"),
        ("10**60*10**60*r", "must use numbers between 1e-100 and 1e100; got '10**60*10**60*r'"),
        ("(1+1e-90)**64", "must use numbers between 1e-100 and 1e100; got '(1+1e-90)**64'"),
        ("1/0", "divides by zero; got '1/0'"),
        ("r" * 501, "must have at most 500 characters; got 501 characters"),
        (
            "(" * 240 + "r" + ")" * 240,
            f"is not a formula; got '{'(' * 57}...'; check its parentheses and operators, for example 3*r**2",
        ),
        (
            "-" * 300 + "r",
            f"must nest at most 64 operations; got '{'-' * 57}...'; use fewer parentheses or summands",
        ),
    ],
)
def test_refusals_name_argument_rule_and_text(text, rule):
    """What is not on the whitelist, or not bounded, is refused at once in one line."""
    start = time.process_time()
    with pytest.raises(InputError) as refused:
        Expression.parse(text, argument="system.kernel")
    assert str(refused.value) == f"`system.kernel` {rule}"
    assert time.process_time() - start < 0.1


def test_text_that_is_no_text_is_refused():
    """A number in place of a formula is refused by name."""
    with pytest.raises(InputError, match=r"`dictionary.terms` must be a formula in quotes; got 3"):
        Expression.parse(3, argument="dictionary.terms")


@given(st.text(alphabet="r0123456789.+-*/() explogsincqtabn_e,", max_size=40))
@settings(max_examples=300, deadline=None)
def test_any_text_is_a_formula_or_an_input_error(text):
    """No text raises anything but InputError, and what parses also evaluates and parses again from its own text."""
    try:
        expression = Expression.parse(text)
    except InputError:
        return
    value = expression(RADII)
    assert value.shape == RADII.shape
    np.testing.assert_array_equal(Expression.parse(expression.text)(RADII), value)
    np.testing.assert_allclose(Expression.from_tree(expression.tree, ("r",))(RADII), value)


TREES = st.recursive(
    st.sampled_from(["r", "1", "2.5", "0.1", "3"]),
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from("+-*/"), inner).map(lambda t: f"({t[0]}){t[1]}({t[2]})"),
        inner.map(lambda t: f"-({t})"),
        st.tuples(inner, st.sampled_from(["2", "-1", "0.5", "-1.5", "(1/3)"])).map(lambda t: f"({t[0]})**{t[1]}"),
        st.tuples(st.sampled_from(["exp", "sin", "cos", "sqrt", "abs", "log", "sign"]), inner).map(
            lambda t: f"{t[0]}({t[1]})"
        ),
    ),
    max_leaves=8,
)


@given(TREES)
@settings(max_examples=200, deadline=None)
def test_text_written_from_a_tree_means_the_same(text):
    """A tree written as text, without its own brackets, has the same values; so have its summands added up."""
    try:
        expression = Expression.parse(text)
    except InputError:
        return
    value = expression(RADII)
    again = Expression.parse(Expression.from_tree(expression.tree, ("r",)).text)
    np.testing.assert_array_equal(again(RADII), value)
    parts = np.array([s(RADII) for s in expression.summands()])
    finite = np.isfinite(value) & np.isfinite(parts).all(0)
    total, scale = parts[:, finite].sum(0), np.abs(parts[:, finite]).sum(0)
    assert np.all(np.abs(total - value[finite]) <= 1e-12 * scale)


def test_name_equality_hash_and_pickle():
    """The name is the text without spaces; equal texts are equal and hash alike, also after pickling."""
    expression = Expression.parse(" r - r ** -1.5 ")
    assert expression.text == "r-r**-1.5"
    assert expression == Expression.parse("r-r**-1.5") == pickle.loads(pickle.dumps(expression))
    assert len({expression, Expression.parse("r-r**-1.5"), Expression.parse("r")}) == 2


@pytest.mark.parametrize(
    ("text", "unbounded", "limit"),
    [
        ("r**2", False, 0.0),
        ("cos(r)", False, 1.0),
        ("exp(2-r)", False, math.exp(2)),
        ("r**-0.5*sqrt(r)", False, 1.0),
        ("sin(3*r)/r", False, 3.0),
        ("(1-cos(r))/r**2", False, 0.5),
        ("(exp(r)-1-r)/r**2", False, 0.5),
        ("r*log(r)", False, 0.0),
        ("exp(-1/r)/r**3", False, 0.0),
        ("log(1+r)/r", False, 1.0),
        ("abs(r-2)*sign(r-1)", False, -2.0),
        ("r**-0.5", True, None),
        ("exp(-r)/r", True, None),
        ("log(r)", True, None),
        ("log(log(2+1/r))", True, None),
        ("(exp(r)-1-r)/r**3", True, None),
        ("exp(exp(1/r))", True, None),
        ("sin(1/r)", True, None),
        ("sign(r-1.5)/r", True, None),
        ("(1e60*r)**-3", True, None),
    ],
)
def test_behaviour_at_zero(text, unbounded, limit):
    """Whether a formula is bounded at 0, and its limit: by hand, and sympy's limit agrees where it is quick."""
    expression = Expression.parse(text)
    assert expression.unbounded_at_zero() is unbounded
    if limit is not None:
        assert expression.at_zero() == pytest.approx(limit, rel=1e-12, abs=1e-30)
    if "1/r" not in text and "log(log" not in text:
        found = sympy.limit(expression.sympy, sympy.Symbol("r", positive=True), 0, "+")
        assert bool(found.is_infinite) is unbounded


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("r - r**-1.5", ["r", "-r**-1.5"]),
        ("-(r - 1/r) + 2", ["-r", "1/r", "2"]),
        ("2*(r-1/r)/4", ["1/2*r", "-1/2*(1/r)"]),
        ("r*(1-r)", ["r*(1-r)"]),
    ],
)
def test_summands(text, parts):
    """Top-level sums fall apart with their signs; numbers before a sum are multiplied out, other factors are not."""
    found = [s.text.replace("0.5", "1/2") for s in Expression.parse(text).summands()]
    assert found == parts


@pytest.mark.parametrize(
    ("text", "derivative"),
    [
        ("x**2/2 + y", "x"),
        ("exp(-x)*y**2", "-y**2*exp(-x)"),
        ("log(1+x**2)", "2*x/(x**2+1)"),
        ("abs(x)", "sign(x)"),
        ("sign(x-y)", "0"),
        ("sin(x)*cos(x)", "-sin(x)**2+cos(x)**2"),
    ],
)
def test_derivative(text, derivative):
    """Derivatives in x, and their text; central differences agree."""
    expression = Expression.parse(text, ("x", "y"))
    found = expression.derivative("x")
    assert found.text == derivative
    x, y, h = np.array([-1.3, 0.4, 2.2]), np.array([0.3, -1.1, 0.9]), 1e-5
    numerical = (expression(x + h, y) - expression(x - h, y)) / (2 * h)
    np.testing.assert_allclose(found(x, y), numerical, atol=1e-8)


def test_sympy_is_exact_and_built_without_evaluating_text():
    """Decimals become rationals in sympy."""
    r = sympy.Symbol("r", positive=True)
    assert Expression.parse("0.1*r**-1.5").sympy == r ** sympy.Rational(-3, 2) / 10
    assert Expression.parse("abs(r)").sympy == r


def test_latex():
    """The LaTeX is sympy's."""
    assert Expression.parse("3*r**2").latex() == "3 r^{2}"


def test_values_do_not_import_sympy():
    """Parsing and values do not pay for sympy's import."""
    code = "import sys; from ipsdist.model.expression import Expression as E; E.parse('r-r**-1.5')([1.0]); "
    code += "E.parse('exp(-r)/r').unbounded_at_zero(); sys.exit('sympy' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
