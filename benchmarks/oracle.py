"""Kernels that no case ships, against an oracle: the exact pair likelihood at every step, exhaustive selection.

    python benchmarks/oracle.py                         every kernel, 20 seeds, resumes where it stopped
    python benchmarks/oracle.py --only "r*exp(-r)" --seeds 30
    python benchmarks/oracle.py --show                  the table of what is there
    python benchmarks/oracle.py --check                 the oracle against direct sums over all pairs

The oracle makes the particles (1-D, the noise of the program, exact forces), sees every step of every one of them and
every pair, knows sigma^2, and compares all models of up to four terms. Nobody who has that data can do better, so a law
that it misses is not to be had. The tool sees every tenth step of the same particles, as positions in an array, with
its default settings. Rows go to benchmarks/results/oracle.jsonl, one a run; a row that is there is not done again.
"""

from __future__ import annotations

import itertools
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from _rows import arguments, complete, load
from numba import njit

ROWS = Path(__file__).parent / "results" / "oracle.jsonl"
DT, EVERY = 1e-3, 10
MAX_TERMS = 4
TERMS: dict[str, tuple[int, complex, bool]] = {
    "1": (0, 0, False),
    "r": (1, 0, False),
    "r**2": (2, 0, False),
    "r**3": (3, 0, False),
    "exp(-r)": (0, -1, False),
    "exp(-r/2)": (0, -0.5, False),
    "r*exp(-r)": (1, -1, False),
    "r*exp(-r/2)": (1, -0.5, False),
    "sin(r)": (0, 1j, True),
    "cos(r)": (0, 1j, False),
}
"""The dictionary: power p and rate a of r**p exp(a r), and whether the imaginary part is meant."""


@dataclass(frozen=True)
class Law:
    """A kernel by its coefficients, and the experiment that is to find it."""

    truth: dict[str, float]
    particles: int
    diffusion: float
    horizon: float
    means: tuple[float, ...] = (-1.0, 1.0)
    """Modes of the initial law, equally likely, of variance 0.25."""


LAWS = {
    "r*exp(-r)": Law({"r*exp(-r)": 1.0}, 20_000, 0.5, 2.0),
    "exp(-r) - 0.5*exp(-r/2)": Law({"exp(-r)": 1.0, "exp(-r/2)": -0.5}, 20_000, 0.5, 2.0),
    "2*r*exp(-r/2) - 0.5*r": Law({"r*exp(-r/2)": 2.0, "r": -0.5}, 10_000, 0.2, 1.0),
    "1.5*exp(-r) + 0.2*r**2": Law({"exp(-r)": 1.5, "r**2": 0.2}, 10_000, 0.2, 1.0),
    "2*sin(r)": Law({"sin(r)": 2.0}, 5_000, 1.0, 1.0),
    "2 - 3*r*exp(-r)": Law({"1": 2.0, "r*exp(-r)": -3.0}, 10_000, 0.5, 1.0),
    "r - 2*exp(-r)": Law({"r": 1.0, "exp(-r)": -2.0}, 20_000, 0.3, 1.0, (-1.5, 1.5)),
}


Model = tuple[float, tuple[tuple[str, float, float], ...]]
"""Score, and for every term its name, coefficient and standard error."""


# --- the oracle -----------------------------------------------------------------------------------------------------


@njit(cache=True)
def odd_sums(gaps, decay, out):  # type: ignore[no-untyped-def]
    """Add sum_j sgn(x_i - x_j) |x_i - x_j|**p exp(a |x_i - x_j|) of sorted particles to ``out`` (4, N), p = 0 .. 3.

    ``gaps`` (N - 1,) between neighbours, ``decay`` = exp(a gaps). From one particle to the next the sums over those
    passed move by the binomial theorem; for real a all is positive, so nothing cancels.
    """
    n = out.shape[1]
    for side in range(2):
        s0 = s1 = s2 = s3 = 0 * decay[0]
        for k in range(n):
            i = k if side == 0 else n - 1 - k
            if k:
                d, e = (gaps[i - 1], decay[i - 1]) if side == 0 else (gaps[i], decay[i])
                s0 += 1
                s3 = e * (s3 + d * (3 * s2 + d * (3 * s1 + d * s0)))
                s2 = e * (s2 + d * (2 * s1 + d * s0))
                s1 = e * (s1 + d * s0)
                s0 = e * s0
            sign = 1 - 2 * side
            out[0, i] += sign * s0
            out[1, i] += sign * s1
            out[2, i] += sign * s2
            out[3, i] += sign * s3


def velocities(x: np.ndarray) -> np.ndarray:
    """Return V_k (K, N) of all terms at sorted positions (N,), exact where no two particles are at one place."""
    gaps = np.diff(x)
    sums = {}
    for rate in {rate for _, rate, _ in TERMS.values()}:
        real = np.imag(rate) == 0
        sums[rate] = np.zeros((4, len(x)), dtype=float if real else complex)
        odd_sums(gaps, np.exp((np.real(rate) if real else rate) * gaps), sums[rate])
    rows = [sums[rate][power].imag if imag else sums[rate][power].real for power, rate, imag in TERMS.values()]
    return np.array(rows) / -len(x)


def experiment(law: Law, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Step the particles by Euler-Maruyama with exact forces; return the likelihood of all steps, and the slices.

    Gram matrix (K, K), moment (K,) and positions (T, N). The noise is that of the program for this seed.
    """
    from ipsdist.model.system import Mixture
    from ipsdist.numerics.device.step import move
    from ipsdist.numerics.particles.initial import sample
    from ipsdist.numerics.particles.noise import NORMAL_TABLE, STEPPING, seed_words, stream_of

    modes = len(law.means)
    start = Mixture((1 / modes,) * modes, tuple((m,) for m in law.means), (0.25,) * modes)
    x = sample(start, 1, seed, 0, 0, law.particles)[:, 0]
    z = np.array([law.truth.get(name, 0.0) for name in TERMS])
    noise = np.uint64(stream_of(0, STEPPING)), *seed_words(seed)
    gram, moment, positions = np.zeros((len(z), len(z))), np.zeros(len(z)), [x.copy()]
    drift = np.empty_like(x)
    for step in range(round(law.horizon / DT)):
        order = np.argsort(x)
        before = x[order]
        v = velocities(before)
        drift[order] = z @ v
        move(x, drift, DT, math.sqrt(law.diffusion * DT), NORMAL_TABLE, np.uint64(0), np.uint64(step), *noise)
        gram += DT * (v @ v.T)
        moment += v @ (x[order] - before)
        if (step + 1) % EVERY == 0:
            positions.append(x.copy())
    return gram, moment, np.array(positions)


def exhaustive(gram: np.ndarray, moment: np.ndarray, law: Law) -> list[Model]:
    """Return all models of up to `MAX_TERMS` terms by EBIC, best first."""
    names, size = list(TERMS), len(TERMS)
    scale = np.sqrt(np.diag(gram))
    gram, moment = gram / np.outer(scale, scale), moment / scale
    models: list[Model] = [(0.0, ())]
    for k in range(1, MAX_TERMS + 1):
        subsets = np.array(list(itertools.combinations(range(size), k)))
        inverse = np.linalg.inv(gram[subsets[:, :, None], subsets[:, None, :]])
        z = np.einsum("nij,nj->ni", inverse, moment[subsets])
        gain = np.einsum("ni,ni->n", z, moment[subsets]) / law.diffusion
        score = k * math.log(law.particles) + 2 * math.log(math.comb(size, k)) - gain
        error = np.sqrt(law.diffusion * np.diagonal(inverse, axis1=1, axis2=2))
        for n, subset in enumerate(subsets):
            values = zip(subset, z[n] / scale[subset], error[n] / scale[subset], strict=True)
            models.append((float(score[n]), tuple((names[j], float(a), float(b)) for j, a, b in values)))
    return sorted(models, key=lambda model: model[0])


# --- one run of both ------------------------------------------------------------------------------------------------


def one(name: str, seed: int) -> dict[str, Any]:
    """Do one row."""
    import ipsdist as ips
    from ipsdist.model.radial import RadialKernel

    law = LAWS[name]
    start = time.process_time()
    gram, moment, positions = experiment(law, seed)
    ranked = exhaustive(gram, moment, law)
    middle = time.process_time()
    times = np.arange(len(positions)) * (EVERY * DT)
    result = ips.learn(positions, times, law.diffusion, terms=tuple(TERMS)).result
    assert result is not None
    end = time.process_time()
    oracle = {term: [z, error] for term, z, error in ranked[0][1]}
    tool = {t["name"]: [t["coefficient"], t["standard_error"]] for t in result["terms"]}
    answers = [(0.0, set(tool)), *((a["score_difference"], set(a["terms"])) for a in result["alternatives"])]
    disputed = (set(law.truth) - set(tool)) or (set(tool) - set(law.truth))
    return {
        "kernel": name,
        "seed": seed,
        "oracle": oracle,
        "tool": tool,
        "oracle_right": set(oracle) == set(law.truth),
        "tool_right": set(tool) == set(law.truth),
        "oracle_lead": lead(law, [(score, {term for term, *_ in terms}) for score, terms in ranked]),
        "tool_lead": lead(law, answers),
        "confounded": result["confounded"],
        "named": all(any(t in group for group in result["confounded"]) for t in disputed) if disputed else None,
        **coverage(RadialKernel.parse(name), positions, result["nonparametric"]),
        "oracle_seconds": middle - start,
        "tool_seconds": end - middle,
    }


def lead(law: Law, ranked: list[tuple[float, set[str]]]) -> float | None:
    """Return by how much the score of the true terms beats the best other model; None where they are not ranked."""
    true = [score for score, terms in ranked if terms == set(law.truth)]
    others = [score for score, terms in ranked if terms != set(law.truth)]
    return others[0] - true[0] if true and others else None


def coverage(phi: Any, positions: np.ndarray, band: dict[str, Any] | None) -> dict[str, float | None]:
    """Return the shares of pairs at whose distance the bands without a dictionary hold the kernel phi.

    The pointwise band, and the one for all distances at once. Pairs are drawn from all slices; those beyond the last
    radius do not count.
    """
    if band is None:
        return {"covered_pairs": None, "held_pairs": None}
    r, everywhere = np.array(band["r"]), band["everywhere"]
    slices, particles = positions.shape
    random = np.random.default_rng(0)
    at, (i, j) = random.integers(slices, size=200_000), random.integers(particles, size=(2, 200_000))
    pairs = np.abs(positions[at, i] - positions[at, j])
    pairs = pairs[(i != j) & (pairs >= r[0]) & (pairs <= r[-1])]
    shares = []
    for lower, upper in ((band["lower"], band["upper"]), (everywhere["lower"], everywhere["upper"])):
        off = np.maximum(np.array(lower) - phi(r), phi(r) - np.array(upper))
        shares.append(float((np.interp(pairs, r, off) <= 0).mean()))
    return {"covered_pairs": shares[0], "held_pairs": shares[1]}


# --- table and check ------------------------------------------------------------------------------------------------


def table(rows: list[dict[str, Any]]) -> str:
    """Return one line a kernel: hits of both, how often they give the same terms, what the tool says where it is wrong.

    The error of the oracle's hits is binomial at the rate (hits + 1) / (n + 2). "in band" is the mean share of pairs in
    the pointwise band; "held" counts runs whose band for all distances at once holds 99 % of the pairs, "where lost"
    those among the runs that the oracle gets wrong.
    """
    lines = [
        f"{'kernel':24} {'oracle':>7} {'+-':>4} {'tool':>7} {'same':>7} {'named':>7}"
        f" {'in band':>8} {'held':>8} {'where lost':>11} {'CPU-s: oracle, tool':>20}"
    ]
    for name in LAWS:
        mine = [r for r in rows if r["kernel"] == name]
        if not mine:
            continue
        n = len(mine)
        oracle, tool = (sum(r[f"{who}_right"] for r in mine) for who in ("oracle", "tool"))
        rate = (oracle + 1) / (n + 2)
        same = sum(set(r["oracle"]) == set(r["tool"]) for r in mine)
        named = sum(bool(r["named"]) for r in mine)
        shares = np.array([r["covered_pairs"] or 0.0 for r in mine])
        held = np.array([r["held_pairs"] or 0.0 for r in mine]) >= 0.99
        lost = np.array([not r["oracle_right"] for r in mine])
        seconds = [np.mean([r[f"{who}_seconds"] for r in mine]) for who in ("oracle", "tool")]
        lines.append(
            f"{name:24} {oracle:4}/{n:<2} {math.sqrt(n * rate * (1 - rate)):4.1f} {tool:4}/{n:<2} {same:4}/{n:<2}"
            f" {named:4}/{n - tool:<2} {shares.mean():8.3f} {held.sum():5}/{n:<2}"
            f" {held[lost].sum():8}/{lost.sum():<2} {seconds[0]:14.1f} {seconds[1]:5.1f}"
        )
    return "\n".join(lines)


def check() -> None:
    """Compare the oracle with direct sums, with the program's own stepping by direct sums, and with its selection."""
    from ipsdist.learning.subset import best_subset
    from ipsdist.model.dictionary import Dictionary
    from ipsdist.model.normal_equations import NormalEquations
    from ipsdist.model.radial import RadialKernel
    from ipsdist.model.system import System
    from ipsdist.numerics.particles.stepping import Stepper

    x = np.sort(np.random.default_rng(0).standard_normal(1500) * 2)
    z = x[:, None] - x
    terms = Dictionary.parse(tuple(TERMS))
    direct = -np.array([(term(np.abs(z)) * np.sign(z)).sum(1) for term in terms]) / len(x)
    error = np.abs(velocities(x) - direct).max(axis=1) / np.abs(direct).max(axis=1)
    print(f"velocities off direct sums by {error.max():.1e}")
    assert error.max() < 1e-12

    for name, given in LAWS.items():
        law = Law(given.truth, 1000, given.diffusion, 0.05, given.means)
        gram, moment, positions = experiment(law, 7)
        kernel = RadialKernel.parse(name)
        stepper = Stepper(System(1, law.particles, 1, kernel, None, law.diffusion), DT, 7, 0, 0.05, "direct")
        state = stepper.start(positions[0][:, None])
        stepper.advance(state, round(law.horizon / DT))
        moved = np.abs(state.positions[:, 0] - positions[-1]).max()
        truth = [law.truth.get(term, 0.0) for term in TERMS]
        off = np.abs(kernel(np.abs(x)) - truth @ terms.values(np.abs(x))).max()
        best = tuple(term for term, *_ in exhaustive(gram, moment, law)[0][1])
        equations = NormalEquations("likelihood", tuple(TERMS), gram[None], moment[None], None, law.particles)
        fit = best_subset(equations, law.diffusion, max_terms=MAX_TERMS)
        print(f"{name}: positions off by {moved:.1e}, kernel by {off:.1e}, best model {best}")
        assert moved < 1e-12
        assert off < 1e-12
        assert best == tuple(fit.basis[k] for k in fit.terms)


def main() -> None:
    parser = arguments(__doc__, LAWS, "KERNEL")
    parser.add_argument("--check", action="store_true")
    args = parser.parse_args()
    if args.check:
        check()
        return
    if not args.show:
        wanted = ((n, s) for s in range(args.seeds) for n in args.only)
        complete(
            ROWS,
            ("kernel", "seed"),
            wanted,
            one,
            args.processes,
            lambda row: f"right: oracle {row['oracle_right']}, tool {row['tool_right']}",
        )
    print(table(load(ROWS)))


if __name__ == "__main__":
    main()
