"""Formulas from text, through a whitelist.

A text becomes tokens (every character and name is checked), the tokens an ``ast``, and that, node by node, a tree of
trees.py. Length, depth, the size of numbers and of exponents are bounded, so that no text costs more than milliseconds.
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from fractions import Fraction

from ipsdist.model.errors import InputError
from ipsdist.model.trees import (
    MAX_DIGITS,
    Binary,
    Call,
    Negative,
    Node,
    Number,
    Operator,
    Power,
    Variable,
    binary,
    negative,
    power,
)

__all__ = ["FUNCTIONS", "parse"]

FUNCTIONS = ("exp", "log", "sin", "cos", "sqrt", "abs", "sign")

_MAX_LENGTH = 500
_MAX_DEPTH = 64
_MAX_EXPONENT = 64

_TOKEN = re.compile(
    r"(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)|(?P<name>[A-Za-z_]\w*)|(?P<operator>\*\*|[-+*/(),])"
)
_OPERATORS: dict[type[ast.operator], Operator] = {
    ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/",
}  # fmt: skip


def _shown(text: str) -> str:
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
        raise InputError(argument, "must not be empty", _shown(text), _allowed(variables))
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
        return InputError(self.argument, rule, _shown(self.text), fix)

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
        # Judged as float before it is made exact: Fraction would build the power of ten in 1e999999999.
        if not re.search("[1-9]", literal.lower().partition("e")[0]):
            return Number(Fraction(0))
        if not 10.0**-MAX_DIGITS <= float(literal) <= 10.0**MAX_DIGITS:
            raise self.refuse(f"must use numbers between 1e-{MAX_DIGITS} and 1e{MAX_DIGITS}")
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
            raise self.refuse(f"must use numbers between 1e-{MAX_DIGITS} and 1e{MAX_DIGITS}")
        return result

    @staticmethod
    def bounded(value: Fraction) -> bool:
        # Numerator and denominator each: (1 + 1e-90)**64 is near 1 and still has thousands of digits.
        limit = 10**MAX_DIGITS
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
                    rule = f"must have exponents between -{_MAX_EXPONENT} and {_MAX_EXPONENT}"
                    raise self.refuse(f"{rule}, those of powers of powers multiplied")
                self.bound_exponents(base, product)
            case Negative(operand) | Call(_, operand):
                self.bound_exponents(operand, product)
            case Binary(_, left, right):
                self.bound_exponents(left, product)
                self.bound_exponents(right, product)
