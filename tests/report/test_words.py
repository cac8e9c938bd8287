"""Numbers with errors, names of terms, the verdict and the summary in words."""

from __future__ import annotations

import subprocess
import sys

import pytest

from ipsdist.report.summary import summary_lines
from ipsdist.report.terms import as_factor, figure_name, html_name, html_number, number, with_error
from ipsdist.report.verdict import judge, strength
from tests.report.samples import sample_result


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (3.00312, 0.01168, "3.003 ± 0.012"),
        (-1.00123, 0.00312, "−1.0012 ± 0.0031"),
        (0.5, 0.0996, "0.50 ± 0.10"),
        (1234.5, 27.0, "1234 ± 27"),
        (1.23e-7, 2e-9, "(1.230 ± 0.020) × 10⁻⁷"),
        (2.0, None, "2"),
        (2.0, 0.0, "2"),
        (2.0, float("nan"), "2"),
        (-3e9, None, "−3 × 10⁹"),
        (0.0, 0.5, "0.00 ± 0.50"),
    ],
)
def test_error_has_two_digits(value, error, text):
    """The error is given to two digits and the value to the same place."""
    assert with_error(value, error) == text


def test_plain_text_is_ascii():
    """For terminals of any encoding the same text stays in ASCII."""
    assert with_error(-1.23e-7, 2e-9, plain=True) == "(-1.230 +- 0.020) * 1e-7"


@pytest.mark.parametrize(
    ("name", "html", "mathtext", "factor"),
    [
        ("1", "1", "$1$", ""),
        ("r**2", "<i>r</i><sup>2</sup>", "$r^{2}$", "r**2"),
        ("r**-1.5", "<i>r</i><sup>−1.5</sup>", "$r^{-1.5}$", "r**-1.5"),
        ("exp(-r)", "e<sup>−<i>r</i></sup>", "$e^{-r}$", "exp(-r)"),
        ("sin(r)", "sin(<i>r</i>)", r"$\mathrm{sin}(r)$", "sin(r)"),
        ("r-r**-1.5", "<i>r</i>−<i>r</i><sup>−1.5</sup>", "$r-r^{-1.5}$", "(r-r**-1.5)"),
        ("sin(r+1)", "sin(<i>r</i>+1)", r"$\mathrm{sin}(r+1)$", "sin(r+1)"),
        ("<b>&", "&lt;b&gt;&amp;", "<b>&", "<b>&"),
        ("$x_{1}$", "$x_{1}$", r"\$x_{1}\$", "$x_{1}$"),
    ],
)
def test_names_of_terms(name, html, mathtext, factor):
    """Names get superscripts in HTML and in figures; text that is no expression is escaped and no mathtext."""
    assert (html_name(name), figure_name(name), as_factor(name)) == (html, mathtext, factor)


def test_long_names_are_cut_in_figures():
    """A label of a figure has a bounded length."""
    assert len(figure_name("+".join(["r**2"] * 80))) == 24


def test_numbers_of_tables():
    """Missing numbers are dashes, whole numbers come in groups, powers of ten are written out."""
    assert [number(None), number(float("nan")), number(-3.1e11, 2)] == ["–", "–", "−3.1 × 10¹¹"]
    assert [html_number(20000), html_number(True), html_number(-0.5)] == ["20\u202f000", "yes", "−0.5"]


@pytest.mark.parametrize(
    ("difference", "words"),
    [(1.9, "not distinguishable"), (2.0, "weak"), (6.0, "strong"), (9.99, "strong"), (10.0, "very strong")],
)
def test_strength_of_evidence(difference, words):
    """The words change at 2, 6 and 10."""
    assert strength(difference).startswith(words)


def runner_up(gap):
    return [{"terms": ["r", "r**3"], "coefficients": [1.0, 1.0], "score_difference": gap}]


def term(**changes):
    return {
        "name": "r",
        "kind": "kernel",
        "coefficient": 1.0,
        "standard_error": 0.1,
        "interval95": [0.8, 1.2],
    } | changes


def free(lower, upper, farther=2.0):
    """A band without a dictionary at two distances; the learnt kernel of the sample is 0 and 3 there."""
    everywhere = {"lower": [lower, farther], "upper": [upper, upper]}
    return {"r": [0.0, 1.0], "value": [0.0, 2.0], "lower": [0, 0], "upper": [1, 1], "everywhere": everywhere}


@pytest.mark.parametrize(
    ("change", "level", "words"),
    [
        ({}, "Well determined", "very strong evidence"),
        ({"alternatives": runner_up(1.0)}, "Not determined", "not distinguishable"),
        ({"alternatives": runner_up(-3.0)}, "Not determined", "3 better in score"),
        ({"alternatives": runner_up(4.0)}, "Read with care", "weak evidence"),
        ({"alternatives": runner_up(40.0), "form": "strong"}, "Read with care", "no scale of evidence"),
        ({"alternatives": []}, "Read with care", "No other choice"),
        ({"terms": []}, "Not determined", "No term was kept"),
        ({"terms": [term(interval95=[-0.1, 0.4])]}, "Not determined", "holds 0 for r"),
        ({"terms": [term(standard_error=None, interval95=None)]}, "Read with care", "no standard error for r"),
        ({"confounded": [["r", "sin(r)"]]}, "Read with care", "cannot tell these terms apart: r, sin"),
        ({"condition": None}, "Read with care", "linearly dependent"),
        ({"condition": 12.0}, "Well determined", "separate the dictionary's terms well"),
        ({"condition": 1e16, "form": "weak"}, "Well determined", "look alike on these data"),
        ({"nonparametric": free(-1.0, 4.0)}, "Well determined", "leaves 0 out at 50 % of the distances seen"),
        ({"nonparametric": free(-1.0, 2.5)}, "Read with care", "leave the 95 % band without a dictionary"),
        ({"nonparametric": free(-1.0, 4.0, -0.5)}, "Well determined", "(at all distances at once) holds 0"),
        ({"settled": False}, "Not determined", "does not lead to itself; try slices closer together."),
        ({"settled": False, "system": {"source": "simulate"}}, "Not determined", "try a smaller time.observe_every."),
        ({"warnings": ["Slices are far apart."]}, "Read with care", "Slices are far apart."),
    ],
)
def test_verdict(change, level, words):
    """Every doubt lowers the verdict and is said."""
    verdict = judge(sample_result(**change))
    assert verdict.level == level
    assert any(words in sentence for sentence in verdict.doubts + verdict.facts)


def test_summary_of_the_cubic_run():
    """The terminal's lines hold formula, sigma^2, runner-up, error and verdict."""
    assert summary_lines(sample_result()) == [
        "phi(r) = (3.003 +- 0.012) r**2",
        "sigma^2 = 2 (given)",
        "runner-up: r**2 + sin(r); score 11.9 worse (very strong evidence)",
        "error of phi: 0.104 % (relative L2 over the distances seen); the right terms",
        "trust: well determined",
    ]


def test_summary_of_a_kernel_in_pieces():
    """Break points have their intervals, with the digits that these allow."""
    places = [
        {"place": 1.50848, "interval95": [1.49170, 1.52690]},
        {"place": 1.99330, "interval95": [1.98642, 1.99978]},
    ]
    assert summary_lines(sample_result(breakpoints=places))[1] == (
        "break points: 1.508 (1.492 to 1.527); 1.993 (1.986 to 2.000); 95 % intervals"
    )


def test_names_on_pieces():
    """They are written as names are, and a constant leaves its 1 out."""
    assert figure_name("r**2 on (0, 1.5]") == r"$r^{2}\ \mathrm{on}\ (0{,}\ 1.5]$"
    assert html_name("r**2 on (0, 1.5]") == "<i>r</i><sup>2</sup> on (0, 1.5]"
    assert as_factor("1 on (0, 1.5]") == "on (0, 1.5]"


def test_summary_of_a_doubtful_run():
    """Signs, constants, learnt sigma^2, a potential and doubts are said; unknown truth is left out."""
    terms = [
        term(name="1", coefficient=-0.5, standard_error=0.02, interval95=[-0.54, -0.46]),
        term(name="r-r**2", coefficient=-2.0, standard_error=None, interval95=None),
        term(name="x**2", kind="potential", coefficient=0.25),
    ]
    result = sample_result(
        terms=terms, diffusion={"value": 1.998, "standard_error": 0.003}, errors=None, alternatives=[]
    )
    assert summary_lines(result) == [
        "phi(r) = -(0.500 +- 0.020) - 2 (r-r**2)",
        "V = (0.25 +- 0.10) x**2",
        "sigma^2 = 1.9980 +- 0.0030",
        "trust: read with care",
        "  - No other choice of terms was weighed against this one.",
        "  - There is no standard error for r-r**2.",
    ]


def test_summary_needs_no_matplotlib():
    """The summary, the schema and the page's module load without matplotlib."""
    code = "import ipsdist.report.summary, ipsdist.report.page, sys; print('matplotlib' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
