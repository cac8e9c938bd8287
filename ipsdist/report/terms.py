"""Names of terms and numbers with errors as people write them: in HTML, in a figure, in plain text."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

__all__ = [
    "as_factor",
    "figure_name",
    "formulas",
    "html_name",
    "html_number",
    "in_sum",
    "number",
    "plain_label",
    "signed",
    "value_and_error",
    "with_error",
]

_LEFT = {
    "kernel": ("phi(r)", "<i>φ</i>(<i>r</i>)"),
    "potential": ("V", "<i>V</i>"),
    "drift": ("drift", "drift"),
}
"""Left-hand sides of what is learnt, by kind: ASCII and HTML."""
_TOKEN = re.compile(
    r"\*\*\((?P<group>[^()]*)\)|\*\*(?P<power>-?[\d.]+)|\bexp\((?P<exp>[^()]*)\)"
    r"|(?P<word>[a-z]{2,})|(?P<symbol>[a-z])|(?P<times>\*)|(?P<minus>-)|(?P<other>.)",
    re.DOTALL,
)
_KNOWN = re.compile(r"[a-z0-9+\-*/()., \]]*")
_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def number(value: float | None, digits: int = 5) -> str:
    """Return a number with so many significant digits, true minus, powers of ten; a dash for None or not finite."""
    if value is None or not math.isfinite(value):
        return "–"
    mantissa, _, exponent = f"{value:.{digits}g}".partition("e")
    mantissa = mantissa.replace("-", "−")
    return mantissa if not exponent else f"{mantissa} × 10{str(int(exponent)).translate(_SUPERSCRIPT)}"


def html_number(value: object) -> str:
    """Return a value for a table's cell, escaped: floats as `number` writes them, whole numbers in groups of three."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}".replace(",", "\u202f").replace("-", "−")
    if isinstance(value, float) or value is None:
        return number(value)
    return escape(str(value))


def value_and_error(value: float, error: float | None) -> tuple[str, str, int]:
    """Return texts of |value| and error and a shared power of ten: the error to two digits, the value alike.

    The power is 0 for sizes from 1e-3 to 1e5. Without an error (None, 0, not finite) the value has six digits.
    """
    known = error is not None and math.isfinite(error) and error > 0
    size = max(abs(value), error if known and error is not None else 0.0)
    power = math.floor(math.log10(size)) if size > 0 else 0
    power = power if not -3 <= power < 5 else 0
    scaled = abs(value) / 10.0**power
    if not known or error is None:
        return f"{scaled:.6g}", "", power
    scaled_error = error / 10.0**power
    exponent = int(f"{scaled_error:.1e}".partition("e")[2])
    places = min(max(1 - exponent, 0), 15)
    return f"{scaled:.{places}f}", f"{scaled_error:.{places}f}", power


def with_error(value: float, error: float | None, *, plain: bool = False) -> str:
    """Return "3.003 ± 0.012" with its sign; ``plain`` keeps to ASCII ("+-", "* 1e-7") for any terminal."""
    size, spread, power = value_and_error(value, error)
    text = ("−" if value < 0 else "") + (f"{size} ± {spread}" if spread else size)
    if power:
        text = f"({text})" if spread else text
        text += f" * 1e{power}" if plain else f" × 10{str(power).translate(_SUPERSCRIPT)}"
    return text.replace("−", "-").replace("±", "+-") if plain else text


def formulas(terms: Sequence[Mapping[str, Any]], *, plain: bool = False) -> list[tuple[str, str]]:
    """Return (left, right) of the learnt kernel, potential and drift, as HTML or ASCII; the kernel even if it is 0."""
    there = {"kernel", *(item["kind"] for item in terms)}
    return [(left[not plain], in_sum(terms, kind, plain=plain)) for kind, left in _LEFT.items() if kind in there]


def in_sum(terms: Sequence[Mapping[str, Any]], kind: str, *, plain: bool = False) -> str:
    """Return the terms of a kind as a sum with standard errors: HTML, or ASCII unless a name is not; "0" for none."""
    text = ""
    for item in terms:
        if item["kind"] != kind:
            continue
        size = _in_brackets(with_error(abs(item["coefficient"]), item["standard_error"], plain=plain))
        factor = as_factor(item["name"])
        part = f"{size} {factor}" if plain else f'<span class="number">{size}</span> {html_name(factor)}'
        text += signed(text, item["coefficient"], part.rstrip(), plain=plain)
    return text or "0"


def signed(before: str, value: float, size: str, *, plain: bool = False) -> str:
    """Return what follows ``before`` in a sum: the sign of ``value``, then ``size``, which has none."""
    minus = "-" if plain else "−"
    return (f" {minus if value < 0 else '+'} " if before else minus if value < 0 else "") + size


def _in_brackets(size: str) -> str:
    """Return a coefficient as it stands before its term: in brackets when it has an error or a power of ten."""
    return f"({size})" if " " in size and not size.startswith("(") else size


def as_factor(name: str) -> str:
    """Return the name of a term as it stands after its coefficient: nothing for 1, in brackets when it is a sum."""
    if name == "1" or name.startswith("1 on "):
        return name[2:]
    bare, before = name, ""
    while bare != before:
        before, bare = bare, re.sub(r"\([^()]*\)", "", bare)
    return f"({name})" if re.search(r"(?<!\*)(?<!^)[+-]", bare) else name


def html_name(name: str) -> str:
    """Return the name of a term as escaped HTML: ``r**-1.5`` becomes an italic r with a superscript."""
    return escape(name) if not _KNOWN.fullmatch(name) else "".join(_html(match) for match in _TOKEN.finditer(name))


def figure_name(name: str, longest: int = 24) -> str:
    """Return the name of a term as mathtext; other or longer text stays plain, cut to ``longest``."""
    if len(name) > longest:
        return plain_label(name[: longest - 1] + "…")
    if not _KNOWN.fullmatch(name):
        return plain_label(name)
    return "$" + "".join(_mathtext(match) for match in _TOKEN.finditer(name)) + "$"


def plain_label(text: str) -> str:
    """Return text from outside for a label of a figure: dollars are escaped so that nothing is read as mathtext."""
    return text.replace("\\", "\u2216").replace("$", r"\$")


def _html(match: re.Match[str]) -> str:
    kind, text = _part(match)
    if kind in ("group", "power"):
        return f"<sup>{html_name(text)}</sup>"
    if kind == "exp":
        return f"e<sup>{html_name(text)}</sup>"
    if kind == "symbol":
        return f"<i>{text}</i>"
    return {"times": "\u202f", "minus": "−"}.get(kind, escape(text))


def _mathtext(match: re.Match[str]) -> str:
    kind, text = _part(match)
    if kind in ("group", "power", "exp"):
        inner = "".join(_mathtext(m) for m in _TOKEN.finditer(text))
        return f"{'e' if kind == 'exp' else ''}^{{{inner}}}"
    if kind == "word":
        return rf"\mathrm{{{text}}}"
    return {"times": r"\,", "other": {" ": r"\ ", ",": "{,}"}.get(text, text)}.get(kind, text)


def _part(match: re.Match[str]) -> tuple[str, str]:
    kind = match.lastgroup or "other"
    return kind, match.group(kind)
