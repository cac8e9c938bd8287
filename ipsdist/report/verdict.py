"""How far an answer can be trusted, in words, from what the fit says about itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ipsdist.report.terms import number

__all__ = ["Verdict", "evidence", "judge", "strength"]

_FAR = 3.0
"""Error of the time rule, in standard errors of the answer, beyond which the answer is the rule's."""
_SOME = 60
"""Share of the distances, in percent, below which it is said where they lie."""
_WELL, _CARE, _NOT = "Well determined", "Read with care", "Not determined"


@dataclass(frozen=True)
class Verdict:
    """A level in words and the sentences it rests on; ``doubts`` lower the level, ``facts`` do not."""

    level: str
    doubts: tuple[str, ...]
    facts: tuple[str, ...]

    @property
    def rank(self) -> int:
        """0 well determined, 1 with care, 2 not determined."""
        return (_WELL, _CARE, _NOT).index(self.level)


def strength(difference: float) -> str:
    """Return the evidence of a score difference in words; the score is on the scale of -2 log-likelihood."""
    for limit, words in ((2.0, "not distinguishable"), (6.0, "weak evidence"), (10.0, "strong evidence")):
        if difference < limit:
            return words
    return "very strong evidence"


def evidence(form: str, difference: float | None) -> str:
    """Return the evidence against a runner-up in words; residuals of the strong form give none."""
    if difference is None:
        return "unknown"
    return strength(difference) if form in ("action", "likelihood", "weak") else "no scale of evidence for this form"


def judge(result: Mapping[str, Any], name: Callable[[str], str] = str, text: Callable[[str], str] = str) -> Verdict:
    """Weigh score distance, standard errors, confounded groups, condition number and warnings of a result.

    ``name`` writes the name of a term and ``text`` any other words of the result: HTML needs markup or escapes.
    """
    doubts: list[str] = []
    facts: list[str] = []
    rank = max(_runner_up(result, name, doubts, facts), _errors(result, name, doubts, facts))
    groups = (", ".join(map(name, group)) for group in result["confounded"])
    doubts.extend(f"The data cannot tell these terms apart: {group}." for group in groups)
    told_apart = facts if not result["confounded"] else []
    _condition(result["condition"], result["form"], doubts, told_apart)
    if (result.get("slice_error") or 0.0) > _FAR and result.get("settled") is None:
        rank = 2
    _against_zero(result.get("nonparametric"), doubts if rank else facts)
    _off_the_band(result, doubts)
    doubts.extend(text(warning) for warning in result.get("warnings", ()))
    if result.get("settled") is False:
        simulated = result["system"].get("source") == "simulate"
        fix = "a smaller time.observe_every" if simulated else "slices closer together"
        doubts.append(f"The slices are far apart, and the answer, solved forward, does not lead to itself; try {fix}.")
        rank = 2
    level = (_WELL, _CARE, _NOT)[max(rank, 1 if doubts else 0)]
    return Verdict(level, tuple(doubts), tuple(facts))


def _runner_up(result: Mapping[str, Any], name: Callable[[str], str], doubts: list[str], facts: list[str]) -> int:
    alternatives = result["alternatives"]
    gap = alternatives[0]["score_difference"] if alternatives else None
    if gap is None:
        doubts.append("No other choice of terms was weighed against this one.")
        return 1
    names = " + ".join(map(name, alternatives[0]["terms"])) or "no term at all"
    words = evidence(result["form"], gap)
    side, end = "worse" if gap >= 0 else "better", " for the chosen terms." if words.endswith("evidence") else "."
    sentence = f"The runner-up is {names}, {number(abs(gap), 3)} {side} in score: {words}{end}"
    rank = 2 if gap < 0 or words == strength(0.0) else 0 if words in (strength(6.0), strength(10.0)) else 1
    (doubts if rank else facts).append(sentence)
    return rank


def _errors(result: Mapping[str, Any], name: Callable[[str], str], doubts: list[str], facts: list[str]) -> int:
    terms = result["terms"]
    if not terms:
        doubts.append("No term was kept.")
        return 2
    unknown = [name(t["name"]) for t in terms if t["standard_error"] is None]
    open_ends = [name(t["name"]) for t in terms if t["interval95"] and t["interval95"][0] <= 0 <= t["interval95"][1]]
    if unknown:
        doubts.append(f"There is no standard error for {', '.join(unknown)}.")
    if open_ends:
        doubts.append(f"The 95 % interval holds 0 for {', '.join(open_ends)}.")
    if not unknown and not open_ends:
        share, worst = max((100 * t["standard_error"] / abs(t["coefficient"]), t["name"]) for t in terms)
        facts.append(f"The largest relative standard error is {number(share, 2)} % ({name(worst)}).")
    return 2 if open_ends else 0


def _against_zero(curve: Mapping[str, Any] | None, sentences: list[str]) -> None:
    """Say where the kernel without a dictionary is told from 0."""
    if curve is None:
        return
    r, lower, upper = curve["r"], curve["everywhere"]["lower"], curve["everywhere"]["upper"]
    apart = [k for k in range(len(r)) if lower[k] > 0 or upper[k] < 0]
    if not apart:
        sentences.append("Without a dictionary, the 95 % band of phi (at all distances at once) holds 0.")
        return
    share = 100 * len(apart) / len(r)
    where = "at every distance seen" if share == 100 else f"at {share:.0f} % of the distances seen"
    if share < _SOME:
        where += f", between {r[apart[0]]:.3g} and {r[apart[-1]]:.3g}"
    sentences.append(f"Without a dictionary, the 95 % band of phi leaves 0 out {where}: particles do interact.")


def _off_the_band(result: Mapping[str, Any], doubts: list[str]) -> None:
    """Say where the chosen formula leaves the band that holds phi without a dictionary: terms are missing there."""
    curve, band = result.get("nonparametric"), result.get("band")
    if curve is None or band is None or curve["r"] != band["r"] or result.get("breakpoints"):
        return  # a smooth curve does not hold a jump; a kernel in pieces is weighed against smooth ones by its score
    rows = zip(curve["r"], curve["everywhere"]["lower"], band["value"], curve["everywhere"]["upper"], strict=True)
    off = [r for r, low, phi, high in rows if None not in (low, phi, high) and not low <= phi <= high]
    if off:
        where = f"between {off[0]:.3g} and {off[-1]:.3g}" if len(off) > 1 else f"at {off[0]:.3g}"
        doubts.append(f"The chosen terms leave the 95 % band without a dictionary {where}: a term may be missing.")


def _condition(condition: float | None, form: str, doubts: list[str], facts: list[str]) -> None:
    words = f"(condition number {number(condition, 2)})"
    # The few tests of the weak form never part all terms, and need not.
    if condition is None or (condition >= 1e15 and form != "weak"):
        doubts.append("The terms of the dictionary are linearly dependent on these data to the last digit.")
    elif condition >= 1e6:
        facts.append(
            f"The dictionary's terms look alike on these data {words}: the choice of terms rests on the score, "
            "not on a fit of all of them at once."
        )
    else:
        facts.append(f"These data separate the dictionary's terms well {words}.")
