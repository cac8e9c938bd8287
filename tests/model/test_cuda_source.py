"""Formulas as CUDA source: every operation a call, the operations and the order of the Python source."""

import math
import re
from importlib.resources import files

import numpy as np
import pytest

from ipsdist.model.cuda_source import cuda_number, cuda_source
from ipsdist.model.errors import InputError
from ipsdist.model.expression import Expression
from ipsdist.model.radial import RadialKernel
from tests.model.test_expression import RADII

FORMULAS = [
    "3*r**2", "r-r**-1.5", "-(r+1)/2", "1/r**3", "r**2.5+r**0.5", "(1+r)**1.5*(1+r)**-0.5", "(1+r)**0.3",
    "exp(-r)*sin(3*r)+cos(r)/2", "sqrt(abs(r-1))-sign(r-1)*log(r)", "r**64/1e50", "1-(2-(3-r))",
]  # fmt: skip


def _power(n):
    """x**n by squares, as formulas.cuh takes it."""

    def whole(x):
        result, bits = 1.0, abs(n)
        while bits:
            result, x, bits = result * x if bits & 1 else result, x * x, bits >> 1
        return result if n > 0 else 1.0 / result

    return whole


def _root_power(n):
    def root(x):
        whole = _power(abs(n) // 2)(x) if abs(n) > 1 else 1.0
        return whole * math.sqrt(x) if n > 0 else 1.0 / (whole * math.sqrt(x))

    return root


NAMES = {
    "add": lambda a, b: a + b, "subtract": lambda a, b: a - b, "multiply": lambda a, b: a * b,
    "divide": lambda a, b: a / b, "real_power": lambda x, p: x**p, "real": float, "exp": math.exp, "log": math.log,
    "sin": math.sin, "cos": math.cos, "sqrt": math.sqrt, "abs": abs, "sign": np.sign, "power": _power,
    "root_power": _root_power, "max": max,
}  # fmt: skip


def _value(source, r):
    """The value of a source, its templates written as calls."""
    return eval(re.sub(r"power<(-?\d+)>", r"power(\1)", source), dict(NAMES, r=r))


@pytest.mark.parametrize("text", FORMULAS)
def test_values_are_those_of_numpy(text):
    """The source means the formula, and where only products, quotients and roots occur it has the bits of NumPy."""
    expression = Expression.parse(text)
    found = np.array([_value(expression.cuda_source(), float(r)) for r in RADII])
    np.testing.assert_allclose(found, expression(RADII), rtol=1e-14)
    if not any(name in expression.cuda_source() for name in ("exp", "sin", "log", "real_power")):
        assert np.array_equal(found, expression(RADII))


@pytest.mark.parametrize(
    ("text", "source"),
    [
        ("3*r**2", "multiply(real(3.0), power<2>(r))"),
        ("r-r**-1.5", "subtract(r, root_power<-3>(r))"),
        ("r**-1", "power<-1>(r)"),
        ("(1+r)**1.5", "real_power(add(real(1.0), r), real(1.5))"),
        ("sqrt(1+r)", "sqrt(add(real(1.0), r))"),
        ("-exp(-r/3)", "(-exp(divide((-r), real(3.0))))"),
        ("-0.1", "real(-0.1)"),
        ("1e-30*r", "multiply(real(1e-30), r)"),
    ],
)
def test_source(text, source):
    """Nothing that could be contracted, every constant of the type of the others."""
    assert Expression.parse(text).cuda_source() == source


def test_other_atoms_for_variables():
    """A variable can be another atom."""
    expression = Expression.parse("x*y", ("x", "y"))
    assert cuda_source(expression.tree, {"y": "p[1]"}) == "multiply(x, p[1])"


def test_kernel_with_a_cutoff_and_pieces():
    """The cut-off freezes the unbounded summand alone, pieces are conditions with the ends as constants."""
    kernel = RadialKernel.from_pieces([(1.5, "r-1/r"), (2.0, "r"), (None, "0")], 0.05)
    frozen = "add(r, (-divide(real(1.0), max(r, real(0.05)))))"
    assert kernel.cuda_source() == f"(r <= real(1.5) ? {frozen} : (r <= real(2.0) ? r : real(0.0)))"
    alone = RadialKernel.parse("r-r**-1.5", 0.05)
    found = [_value(alone.cuda_source(), r) for r in (0.01, 0.05, 2.0)]
    np.testing.assert_array_equal(found, alone(np.array([0.01, 0.05, 2.0])))


def test_every_function_is_in_the_device_code():
    """What the printer writes is what formulas.cuh gives."""
    text = (files("ipsdist.numerics.device.cuda") / "formulas.cuh").read_text(encoding="utf-8")
    for name in set(NAMES) - {"real"}:
        assert re.search(rf"INLINE (real|double) {name}\(", text), name
    assert "typedef WORK real;" in text


def test_numbers_are_read_back():
    """A constant is the shortest text of its double."""
    for value in (1 / 3, 1e100, -2.5e-17, 3.0):
        assert float(cuda_number(value)[len("real(") : -1]) == value


def test_no_text_of_a_user_reaches_the_compiler():
    """What is no formula never becomes source."""
    with pytest.raises(InputError):
        RadialKernel.parse('r); asm("trap;"')
