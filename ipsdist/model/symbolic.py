"""Formula trees through sympy: LaTeX, derivatives, antiderivatives. The only module that imports sympy, and lazily."""

from __future__ import annotations

from fractions import Fraction
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from ipsdist.model.trees import Binary, Call, Negative, Node, Number, Power, Variable, binary, negative, power

if TYPE_CHECKING:
    import sympy

__all__ = ["antiderivative", "derivative", "to_latex", "to_sympy"]

_MAX_WAVES = 2
_MAX_POWER = 8
_HUGE = 10**300
_ONE = Number(Fraction(1))


@lru_cache(maxsize=256)
def to_sympy(tree: Node, variables: tuple[str, ...]) -> sympy.Expr:
    """Return the sympy expression of a tree, built node by node; r is positive, other variables are real."""
    import sympy

    symbols = _symbols(variables)
    functions = {
        "exp": sympy.exp, "log": sympy.log, "sin": sympy.sin, "cos": sympy.cos,
        "sqrt": sympy.sqrt, "abs": sympy.Abs, "sign": sympy.sign,
    }  # fmt: skip

    def build(node: Node) -> Any:
        match node:
            case Number(value):
                return sympy.Rational(value.numerator, value.denominator)
            case Variable(name):
                return symbols[name]
            case Negative(operand):
                return -build(operand)
            case Power(base, exponent):
                return sympy.Pow(build(base), sympy.Rational(exponent.numerator, exponent.denominator))
            case Call(function, operand):
                return functions[function](build(operand))
            case Binary("+", left, right):
                return build(left) + build(right)
            case Binary("-", left, right):
                return build(left) - build(right)
            case Binary("*", left, right):
                return build(left) * build(right)
            case Binary(_, left, right):
                return build(left) / build(right)

    return build(tree)


def _symbols(variables: tuple[str, ...]) -> dict[str, Any]:
    import sympy

    return {v: sympy.Symbol(v, positive=True) if v == "r" else sympy.Symbol(v, real=True) for v in variables}


def to_latex(tree: Node, variables: tuple[str, ...]) -> str:
    """Return the LaTeX of a tree."""
    import sympy

    return str(sympy.latex(to_sympy(tree, variables)))


def derivative(tree: Node, variables: tuple[str, ...], variable: str) -> Node:
    """Return the tree of the derivative; raises ValueError where the whitelist has no words for it."""
    import sympy

    found = sympy.diff(to_sympy(tree, variables), _symbols(variables)[variable])
    # The derivative of a jump has no value on a null set; everywhere else it is 0.
    found = found.replace(sympy.DiracDelta, lambda *_: sympy.Integer(0))
    try:
        return _from_sympy(found)
    except ArithmeticError as error:
        raise ValueError(f"the derivative of {tree} leaves the range of float64") from error


@lru_cache(maxsize=256)
def antiderivative(tree: Node, variables: tuple[str, ...]) -> Node | None:
    """Return a closed antiderivative in the first variable, or None where sympy would be slow or leave the whitelist.

    Only products of powers of the variable, at most one whole power up to 8 beside others, and exp, sin, cos of
    linear arguments are tried: sympy is quick on those, and may search for seconds on the rest.
    """
    if not _simple(tree, variables[0]):
        return None
    import sympy

    found = sympy.integrate(to_sympy(tree, variables), _symbols(variables)[variables[0]])
    try:
        return _from_sympy(found)
    except (ValueError, ArithmeticError):
        return None


def _simple(tree: Node, variable: str) -> bool:
    """Tell whether a tree is c * r**p * (at most two of exp, sin, cos of linear arguments), p whole beside those."""
    found = _factors(tree, variable)
    if found is None:
        return False
    exponent, waves = found
    return waves == 0 or (waves <= _MAX_WAVES and exponent.denominator == 1 and 0 <= exponent <= _MAX_POWER)


def _factors(node: Node, variable: str) -> tuple[Fraction, int] | None:
    """Return (power of the variable, number of exp, sin, cos factors) of a product, or None for anything else."""
    match node:
        case Number():
            return Fraction(0), 0
        case Variable(name):
            return Fraction(name == variable), 0
        case Negative(operand):
            return _factors(operand, variable)
        case Power(base, exponent):
            inner = _factors(base, variable)
            return (inner[0] * exponent, 0) if inner is not None and inner[1] == 0 else None
        case Call("sqrt", operand):
            return _factors(Power(operand, Fraction(1, 2)), variable)
        case Call("exp" | "sin" | "cos", operand):
            return (Fraction(0), 1) if _linear(operand) else None
        case Binary("*" | "/" as operator, left, right):
            a, b = _factors(left, variable), _factors(right, variable)
            if a is None or b is None or (operator == "/" and b[1]):
                return None
            return (a[0] + b[0], a[1] + b[1]) if operator == "*" else (a[0] - b[0], a[1])
    return None


def _linear(node: Node) -> bool:
    match node:
        case Number() | Variable():
            return True
        case Negative(operand):
            return _linear(operand)
        case Binary("+" | "-", left, right):
            return _linear(left) and _linear(right)
        case Binary("*", left, right):
            return (isinstance(left, Number) and _linear(right)) or (isinstance(right, Number) and _linear(left))
        case Binary("/", left, Number()):
            return _linear(left)
    return False


def _from_sympy(found: Any) -> Node:
    """Return the tree of a sympy expression in sympy's printing order, which no hash seed changes.

    Raises ValueError for functions outside the whitelist, unevaluated integrals and complex numbers.
    """
    if found.is_Rational:
        return _number(found.p, found.q)
    if found.is_Symbol:
        return Variable(str(found))
    if found.is_Add:
        return _sum([_from_sympy(term) for term in found.as_ordered_terms()])
    if found.is_Mul:
        return _product(found)
    if found.is_Pow and found.exp.is_Rational:
        return power(_from_sympy(found.base), Fraction(found.exp.p, found.exp.q))
    name = {"Abs": "abs"}.get(found.func.__name__, found.func.__name__)
    if name in ("exp", "log", "sin", "cos", "abs", "sign") and len(found.args) == 1:
        return Call(name, _from_sympy(found.args[0]))
    raise ValueError(f"{found} is not a formula of the whitelist")


def _number(numerator: Any, denominator: Any = 1) -> Number:
    value = Fraction(int(numerator), int(denominator))
    if value and not Fraction(1, _HUGE) < abs(value) < _HUGE:
        raise ValueError("a number leaves the range of float64")
    return Number(value)


def _sum(terms: list[Node]) -> Node:
    total = terms[0]
    for term in terms[1:]:
        match term:
            case Negative(operand):
                total = Binary("-", total, operand)
            case Number(value) if value < 0:
                total = binary("-", total, Number(-value))
            case Binary("*" | "/" as operator, Number(value), right) if value < 0:
                total = Binary("-", total, Binary(operator, Number(-value), right))
            case _:
                total = binary("+", total, term)
    return total


def _product(found: Any) -> Node:
    """Write a product as a fraction with the sign in front: -r**3/3, not -1/3*r**3."""
    coefficient, rest = found.as_coeff_Mul(rational=True)
    above: list[Node] = [_number(abs(coefficient.p))]
    below: list[Node] = [_number(coefficient.q)]
    for factor in rest.as_ordered_factors():
        if factor.is_Pow and factor.exp.is_Rational and factor.exp < 0:
            below.append(power(_from_sympy(factor.base), Fraction(-factor.exp.p, factor.exp.q)))
        else:
            above.append(_from_sympy(factor))
    node, divisor = _multiply(above), _multiply(below)
    if divisor != _ONE:
        node = binary("/", node, divisor)
    return negative(node) if coefficient < 0 else node


def _multiply(factors: list[Node]) -> Node:
    first, *others = [f for f in factors if f != _ONE] or [_ONE]
    for factor in others:
        first = binary("*", first, factor)
    return first
