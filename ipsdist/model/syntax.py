"""Formulas as small frozen trees: read from text through a whitelist, written back as text or as Python source.

Nothing of a formula is ever evaluated as code. A text becomes tokens (every character and name is checked), the
tokens an ``ast`` (checked node by node), and that a tree of the six nodes below, with the numbers as exact rationals.
Length, depth, the size of numbers and of exponents are bounded, so that no text costs more than milliseconds.
"""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from ipsdist.model.errors import InputError

__all__ = [
    "FUNCTIONS", "Binary", "Call", "Negative", "Node", "Number", "Power", "Variable",
    "binary", "negative", "parse", "power", "python_source", "shown", "to_text",
]  # fmt: skip

FUNCTIONS = ("exp", "log", "sin", "cos", "sqrt", "abs", "sign")

_MAX_LENGTH = 500
_MAX_DEPTH = 64
_MAX_EXPONENT = 64
_MAX_DIGITS = 100
"""Constants, folded ones too, are 0 or between 1e-100 and 1e100 in size."""

_TOKEN = re.compile(
    r"(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)|(?P<name>[A-Za-z_]\w*)|(?P<operator>\*\*|[-+*/(),])"
)
_OPERATORS: dict[type[ast.operator], Literal["+", "-", "*", "/"]] = {
    ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Number:
    """An exact rational number."""

    value: Fraction


@dataclass(frozen=True, slots=True)
class Variable:
    """A variable."""

    name: str


@dataclass(frozen=True, slots=True)
class Negative:
    """Minus ``operand``."""

    operand: Node


@dataclass(frozen=True, slots=True)
class Binary:
    """``left operator right``; not both sides are numbers."""

    operator: Literal["+", "-", "*", "/"]
    left: Node
    right: Node


@dataclass(frozen=True, slots=True)
class Power:
    """``base`` to a constant exponent other than 0 and 1."""

    base: Node
    exponent: Fraction


@dataclass(frozen=True, slots=True)
class Call:
    """One of FUNCTIONS of one argument."""

    function: str
    argument: Node


Node = Number | Variable | Negative | Binary | Power | Call


def negative(node: Node) -> Node:
    """Return ``-node``, numbers folded."""
    return Number(-node.value) if isinstance(node, Number) else Negative(node)


def binary(operator: Literal["+", "-", "*", "/"], left: Node, right: Node) -> Node:
    """Return ``left operator right``, numbers folded; raises ZeroDivisionError for a number divided by 0."""
    if not (isinstance(left, Number) and isinstance(right, Number)):
        return Binary(operator, left, right)
    a, b = left.value, right.value
    match operator:
        case "+":
            return Number(a + b)
        case "-":
            return Number(a - b)
        case "*":
            return Number(a * b)
        case "/":
            return Number(a / b)


def power(base: Node, exponent: Fraction) -> Node:
    """Return ``base**exponent``, whole powers of numbers folded; raises OverflowError where that is no sane number."""
    if exponent == 1:
        return base
    if exponent == 0:
        return Number(Fraction(1))
    if isinstance(base, Number) and exponent.denominator == 1:
        if base.value and abs(float(exponent) * math.log10(abs(base.value))) > _MAX_DIGITS:
            raise OverflowError
        return Number(base.value**exponent.numerator)
    return Power(base, exponent)


def shown(text: str) -> str:
    """Return ``text`` quoted for an error message: one line, printable, shortened."""
    return repr(text if len(text) <= 60 else text[:57] + "...")


def parse(text: str, variables: tuple[str, ...], argument: str) -> tuple[str, Node]:
    """Read a formula in ``variables``; return its text without spaces and its tree.

    Raises InputError, which names ``argument``, for anything that is not on the whitelist or not bounded.
    """
    if not isinstance(text, str):
        raise InputError(argument, "must be a formula in quotes", repr(text))
    if len(text) > _MAX_LENGTH:
        raise InputError(argument, f"must have at most {_MAX_LENGTH} characters", f"{len(text)} characters")
    if not text.strip():
        raise InputError(argument, "must not be empty", shown(text), _allowed(variables))
    reader = _Reader(text, variables, argument)
    name = reader.check_tokens()
    return name, reader.tree()


def _allowed(variables: tuple[str, ...]) -> str:
    return f"allowed are numbers, {', '.join((*variables, *FUNCTIONS))} and + - * / ** ( )"


@dataclass(frozen=True)
class _Reader:
    text: str
    variables: tuple[str, ...]
    argument: str

    def refuse(self, rule: str, fix: str = "") -> InputError:
        return InputError(self.argument, rule, shown(self.text), fix)

    def check_tokens(self) -> str:
        """Check every token; return them joined without spaces."""
        place, tokens = 0, []
        text = " ".join(self.text.split())
        while place < len(text):
            if text[place] == " ":
                place += 1
                continue
            token = _TOKEN.match(text, place)
            if token is None:
                fix = "write powers with **" if text[place] == "^" else _allowed(self.variables)
                raise self.refuse(f"has a forbidden character {text[place]!r}", fix)
            if token.lastgroup == "name" and token.group() not in (*self.variables, *FUNCTIONS):
                raise self.refuse(f"has a forbidden name {token.group()!r}", _allowed(self.variables))
            tokens.append(token.group())
            place = token.end()
        return "".join(tokens)

    def tree(self) -> Node:
        source = " ".join(self.text.split())
        try:
            body = ast.parse(source, mode="eval").body
        except (SyntaxError, ValueError, MemoryError, RecursionError):
            raise self.refuse("is not a formula", "check its parentheses and operators, for example 3*r**2") from None
        tree = self.node(body, source, 0)
        self.bound_exponents(tree, Fraction(1))
        return tree

    def node(self, item: ast.expr, source: str, depth: int) -> Node:
        if depth > _MAX_DEPTH:
            raise self.refuse(f"must nest at most {_MAX_DEPTH} operations", "use fewer parentheses or summands")
        match item:
            case ast.Constant():
                return self.number(ast.get_source_segment(source, item) or "")
            case ast.Name(id=name) if name in self.variables:
                return Variable(name)
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return negative(self.node(operand, source, depth + 1))
            case ast.UnaryOp(op=ast.UAdd(), operand=operand):
                return self.node(operand, source, depth + 1)
            case ast.BinOp(op=operator, left=left, right=right):
                return self.operation(operator, self.node(left, source, depth + 1), self.node(right, source, depth + 1))
            case ast.Call(func=ast.Name(id=name), args=[operand], keywords=[]) if name in FUNCTIONS:
                return Call(name, self.node(operand, source, depth + 1))
            case ast.Call(func=ast.Name(id=name)) if name in FUNCTIONS:
                raise self.refuse(f"must give {name} one argument", f"for example {name}({self.variables[0]})")
            case ast.Call():
                raise self.refuse("calls what is not a function", "write products with *")
            case ast.Name(id=name):
                raise self.refuse(f"uses {name} without an argument", f"for example {name}({self.variables[0]})")
        raise self.refuse("is not a formula", _allowed(self.variables))

    def number(self, literal: str) -> Number:
        # Judged as float before it is made exact: Fraction would build the power of ten of 1e999999999, of 0e999999999 too.
        if not re.search("[1-9]", literal.lower().partition("e")[0]):
            return Number(Fraction(0))
        if not 10.0**-_MAX_DIGITS <= float(literal) <= 10.0**_MAX_DIGITS:
            raise self.refuse(f"must use numbers between 1e-{_MAX_DIGITS} and 1e{_MAX_DIGITS}")
        return Number(Fraction(literal))

    def operation(self, operator: ast.operator, left: Node, right: Node) -> Node:
        try:
            if isinstance(operator, ast.Pow):
                result = power(left, self.exponent(right))
            elif type(operator) in _OPERATORS:
                result = binary(_OPERATORS[type(operator)], left, right)
            else:
                raise self.refuse("has an operator that is not allowed", _allowed(self.variables))
        except ZeroDivisionError:
            raise self.refuse("divides by zero") from None
        except OverflowError:
            result = None
        if result is None or (isinstance(result, Number) and not self.bounded(result.value)):
            raise self.refuse(f"must use numbers between 1e-{_MAX_DIGITS} and 1e{_MAX_DIGITS}")
        return result

    @staticmethod
    def bounded(value: Fraction) -> bool:
        # Numerator and denominator each: (1 + 1e-90)**64 is near 1 and still has thousands of digits.
        limit = 10**_MAX_DIGITS
        return value == 0 or (limit >= abs(value) >= Fraction(1, limit) and value.denominator.bit_length() <= 8192)

    def exponent(self, node: Node) -> Fraction:
        if not isinstance(node, Number):
            raise self.refuse("must have numbers as exponents", "write a**b with a variable b as exp(b*log(a))")
        if abs(node.value) > _MAX_EXPONENT:
            raise self.refuse(f"must have exponents between -{_MAX_EXPONENT} and {_MAX_EXPONENT}")
        return node.value

    def bound_exponents(self, node: Node, product: Fraction) -> None:
        """Refuse powers of powers beyond the bound of one exponent: ((r**64)**64)**64 grows like its product."""
        match node:
            case Power(base, exponent):
                product *= max(abs(exponent), Fraction(1))
                if product > _MAX_EXPONENT:
                    raise self.refuse(
                        f"must have exponents between -{_MAX_EXPONENT} and {_MAX_EXPONENT}, those of powers of powers multiplied"
                    )
                self.bound_exponents(base, product)
            case Negative(operand) | Call(_, operand):
                self.bound_exponents(operand, product)
            case Binary(_, left, right):
                self.bound_exponents(left, product)
                self.bound_exponents(right, product)


_SUM, _PRODUCT, _UNARY, _ATOM = 1, 2, 3, 5


def to_text(node: Node) -> str:
    """Write a tree as a formula without spaces that :func:`parse` reads back."""
    return _write(node, 0)


def python_source(node: Node, variables: Mapping[str, str] | None = None) -> str:
    """Write a tree as a Python expression over floats, ``math`` and ``np.sign``, for scalar loops.

    ``variables`` may put other atoms (a name or a call) for the variables.
    """
    return _write_source(node, variables or {})


def _rational(value: Fraction) -> tuple[str, int]:
    """Text and precedence of a number: decimals where they are exact."""
    size = abs(value)
    if size.denominator == 1:
        text, rank = str(size.numerator), _ATOM
    elif Fraction(repr(float(size))) == size:
        text, rank = repr(float(size)), _ATOM
    else:
        text, rank = f"{size.numerator}/{size.denominator}", _PRODUCT
    return (text, rank) if value >= 0 else (f"-{text}", min(rank, _UNARY))


def _write(node: Node, rank: int) -> str:
    match node:
        case Number(value):
            text, own = _rational(value)
        case Variable(name):
            text, own = name, _ATOM
        case Negative(operand):
            text, own = f"-{_write(operand, _PRODUCT)}", _UNARY if not isinstance(operand, Binary) else _PRODUCT
        case Binary(operator, left, right):
            own = _SUM if operator in "+-" else _PRODUCT
            second = _write(right, own + 1)
            text = f"{_write(left, own)}{operator}{f'({second})' if second.startswith('-') else second}"
        case Power(base, exponent):
            own = _ATOM - 1
            text = f"{_write(base, _ATOM)}**{_bracket(*_rational(exponent), _UNARY)}"
        case Call(function, operand):
            text, own = f"{function}({_write(operand, 0)})", _ATOM
    return _bracket(text, own, rank)


def _bracket(text: str, own: int, rank: int) -> str:
    return text if own >= rank else f"({text})"


def _write_source(node: Node, variables: Mapping[str, str]) -> str:
    match node:
        case Number(value):
            return repr(float(value)) if value >= 0 else f"({float(value)!r})"
        case Variable(name):
            return variables.get(name, name)
        case Negative(operand):
            return f"(-{_write_source(operand, variables)})"
        case Binary(operator, left, right):
            return f"({_write_source(left, variables)} {operator} {_write_source(right, variables)})"
        case Power(base, exponent):
            return _power_source(_write_source(base, variables), exponent, repeat=isinstance(base, Variable))
        case Call(function, operand):
            name = {"abs": "abs", "sign": "np.sign"}.get(function, f"math.{function}")
            return f"{name}({_write_source(operand, variables)})"


def _power_source(base: str, exponent: Fraction, repeat: bool) -> str:
    # Roots and products round correctly and are several times faster than pow; a long base is not written twice.
    if exponent.denominator == 1:
        whole_power = f"{base}**{abs(exponent.numerator)}" if abs(exponent) != 1 else base
        return f"({whole_power})" if exponent > 0 else f"(1.0 / {whole_power})"
    if exponent.denominator == 2 and (repeat or abs(exponent) == Fraction(1, 2)):
        whole = abs(exponent.numerator) // 2
        factor = "" if whole == 0 else f"{base} * " if whole == 1 else f"{base}**{whole} * "
        root = f"({factor}math.sqrt({base}))"
        return root if exponent > 0 else f"(1.0 / {root})"
    return f"({base}**{float(exponent)!r})"
