"""How far an answer can be trusted, in words, from what the fit says about itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ipsdist.report.terms import number

__all__ = ["Verdict", "judge", "strength"]

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
    """Return the evidence of a score difference in words (scores are on the scale of twice a log-likelihood)."""
    for limit, words in ((2.0, "not distinguishable"), (6.0, "weak evidence"), (10.0, "strong evidence")):
        if difference < limit:
            return words
    return "very strong evidence"


def judge(result: Mapping[str, Any]) -> Verdict:
    """Weigh score distance, standard errors, confounded groups, condition number and warnings of a result."""
    doubts: list[str] = []
    facts: list[str] = []
    rank = max(_runner_up(result, doubts, facts), _errors(result, doubts, facts))
    for group in result["confounded"]:
        doubts.append(f"The data cannot tell these terms apart: {', '.join(group)}.")
    _condition(result["condition"], doubts, facts)
    doubts.extend(str(warning) for warning in result.get("warnings", ()))
    level = (_WELL, _CARE, _NOT)[max(rank, 1 if doubts else 0)]
    return Verdict(level, tuple(doubts), tuple(facts))


def _runner_up(result: Mapping[str, Any], doubts: list[str], facts: list[str]) -> int:
    alternatives = result["alternatives"]
    gap = alternatives[0]["score_difference"] if alternatives else None
    if gap is None:
        doubts.append("No other choice of terms was weighed against this one.")
        return 1
    names = " + ".join(alternatives[0]["terms"]) or "no term at all"
    sentence = f"The runner-up is {names}, {number(gap, 3)} worse in score: {strength(gap)}"
    if gap < 2:
        doubts.append(f"{sentence} from the chosen terms.")
        return 2
    (doubts if gap < 6 else facts).append(f"{sentence} for the chosen terms.")
    return 1 if gap < 6 else 0


def _errors(result: Mapping[str, Any], doubts: list[str], facts: list[str]) -> int:
    terms = result["terms"]
    if not terms:
        doubts.append("No term was kept.")
        return 2
    unknown = [t["name"] for t in terms if t["standard_error"] is None]
    open_ends = [t["name"] for t in terms if t["interval95"] and t["interval95"][0] <= 0 <= t["interval95"][1]]
    if unknown:
        doubts.append(f"There is no standard error for {', '.join(unknown)}.")
    if open_ends:
        doubts.append(f"The 95 % interval holds 0 for {', '.join(open_ends)}.")
    if not unknown and not open_ends:
        worst = max(terms, key=lambda t: t["standard_error"] / max(abs(t["coefficient"]), 1e-300))
        share = 100 * worst["standard_error"] / abs(worst["coefficient"])
        facts.append(f"The largest relative standard error is {number(share, 2)} % ({worst['name']}).")
    return 2 if open_ends else 0


def _condition(condition: float | None, doubts: list[str], facts: list[str]) -> None:
    if condition is None or condition >= 1e15:
        doubts.append("The terms of the dictionary are linearly dependent on these data to the last digit.")
    elif condition >= 1e6:
        facts.append(
            f"The dictionary's terms look alike on these data (condition number {number(condition, 2)}): the choice of terms "
            "rests on the score, not on a fit of all of them at once."
        )
    else:
        facts.append(f"The dictionary's terms are well separated by these data (condition number {number(condition, 2)}).")
