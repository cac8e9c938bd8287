"""The same files through ipsdist and its peers: right terms, errors, seconds and peak memory of each.

    python benchmarks/peers.py                          everything that is installed, 5 seeds, resumes where it stopped
    python benchmarks/peers.py --only ipsdist "SFI, all particles, columns by hand" --laws cubic --seeds 10
    python benchmarks/peers.py --show                   the table of what is there

The peers are no dependency: pip install StochasticForceInference pysindy. One that is missing is named and skipped.
The files come from a few lines of NumPy that share nothing with any of the tools. Each tool is a process of its own;
its seconds and its peak memory (os.wait4) hold everything: start, imports, compilation, reading the file.
Rows go to benchmarks/results/peers.jsonl, one a run; a row that is there is not done again.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import PackageNotFoundError, version
from math import comb
from pathlib import Path
from typing import Any

import numpy as np

Kept = dict[int, tuple[float, float | None]]
"""Power of r: coefficient and the tool's own standard error."""
ROWS = Path(__file__).parent / "results" / "peers.jsonl"
LAWS: dict[str, dict[int, float]] = {"cubic": {2: 3.0}, "two terms": {1: -2.0, 3: 1.0}}
"""phi(r) by powers of r. The second is there because a greedy search that stops early is always right on one term."""
DICTIONARIES = {"r^0..r^3": range(4), "r^0..r^6": range(7)}
DT, N, EVERY, DIFFUSION = 1e-4, 20_000, 100, 2.0
SPACING = DT * EVERY


def pulls(x: Any, powers: range | list[int], xp: Any = np) -> tuple[Any, Any]:
    """Return the order of x (N,) and, in that order, the drifts of phi = r^k (N, powers): exact, by prefix sums."""
    order = xp.argsort(x)
    y = x[order]
    sums = [xp.cumsum(y**m) for m in range(max(powers) + 1)]
    columns = []
    for k in powers:
        weights = [comb(k, m) * (-1) ** m * y ** (k - m) for m in range(k + 1)]
        left = sum(w * sums[m] for m, w in enumerate(weights)) - (k == 0)
        right = (-1) ** k * sum(w * (sums[m][-1] - sums[m]) for m, w in enumerate(weights))
        columns.append((right - left) / len(y))
    return order, xp.stack(columns, -1)


def make(law: str, seed: int, file: Path) -> None:
    """Write 101 labelled slices 0.01 apart and the Cramer-Rao bound of the law's coefficients."""
    random = np.random.default_rng(seed)
    powers, z = list(LAWS[law]), np.array(list(LAWS[law].values()))
    x = np.where(random.random(N) < 0.5, 1.0, -1.0) + 0.5 * random.standard_normal(N)
    slices, gram = [x], np.zeros((len(z), len(z)))
    for k in range(10_000):
        order, columns = pulls(x, powers)
        if k % EVERY == 0:
            gram += SPACING * columns.T @ columns
        drift = np.empty(N)
        drift[order] = columns @ z
        x = x + DT * drift + np.sqrt(DIFFUSION * DT) * random.standard_normal(N)
        if (k + 1) % EVERY == 0:
            slices.append(x)
    bound = np.sqrt(DIFFUSION * np.diag(np.linalg.inv(gram)))
    np.savez(file, times=np.arange(101) * SPACING, positions=np.array(slices)[:, :, None], bound=bound)


def ipsdist(file: Path, powers: range) -> Kept:
    """Leave every setting at its default. With sigma^2 given, as here, it makes no use of the labels."""
    import ipsdist as ips

    names = {"1" if k == 0 else "r" if k == 1 else f"r**{k}": k for k in powers}
    data = np.load(file)
    outcome = ips.learn(data["positions"], data["times"], DIFFUSION, terms=list(names))
    return {names[t["name"]]: (t["coefficient"], t["standard_error"]) for t in outcome.result["terms"]}


def sfi(file: Path, powers: range, preset: str, particles: int | None) -> Kept:
    """Do StochasticForceInference's linear estimator and PASTIS selection, as its documentation lays out.

    Its pair interactions are all pairs, so ``particles`` of the file are what it can take in reasonable time (1000: a
    minute; the time grows with the square). With None, all of them, by a basis written here from its public parts.
    ``clean`` is the preset that it documents for data without measurement noise, WeakNoise its estimate of sigma^2 for
    them (a known sigma^2 it cannot take here). Left alone it takes ``robust``: at this spacing the drift makes its
    estimate of the measurement noise positive. Float64, because the dictionary is ill-conditioned.
    """
    os.environ |= {"JAX_ENABLE_X64": "1", "JAX_PLATFORMS": "cpu"}
    import jax.numpy as jnp
    from SFI import Basis, OverdampedLangevinInference, TrajectoryCollection
    from SFI.bases.pairs import power_kernels, radial_pair_basis
    from SFI.statefunc.nodes.contract import Rank
    from SFI.statefunc.nodes.leaf import BaseLeaf

    def collective(x: Any) -> Any:
        order, columns = pulls(x[:, 0], powers, jnp)
        return jnp.zeros((len(x), 1, len(powers))).at[order, 0].set(columns)

    if particles:
        basis, scale = radial_pair_basis(power_kernels(powers), dim=1).dispatch_pairs(), particles
    else:
        shape = {"rank": Rank(1), "dim": 1, "n_features": len(powers), "pdepth": 1, "particles_input": True}
        basis, scale = Basis(BaseLeaf(func=collective, **shape)), 1
    x = np.load(file)["positions"][:, :particles]
    fit = OverdampedLangevinInference(TrajectoryCollection.from_arrays(X=x, dt=SPACING))
    fit.compute_diffusion_constant("WeakNoise" if preset == "clean" else "auto")
    fit.infer_force_linear(basis, preset=preset)
    fit.sparsify_force(criterion="PASTIS")
    fit.compute_force_error()
    answer = zip(fit.force_support, fit.force_coefficients, fit.force_coefficients_stderr, strict=True)
    return {powers[int(k)]: (scale * float(z), scale * float(error)) for k, z, error in answer}


def densities(file: Path, powers: range, dx: float, window: float) -> tuple[Any, Any, list[Any]]:
    """Return cell centres (G,), density u (G, T) and the fluxes u (K_k * u): PySINDy has no non-local terms."""
    from scipy.ndimage import gaussian_filter1d

    x = np.load(file)["positions"][:, :, 0]
    half = (np.ceil(np.abs(x).max() / dx) + 10) * dx
    edges = np.linspace(-half, half, 2 * round(half / dx) + 1)
    centres = (edges[1:] + edges[:-1]) / 2
    u = np.array([np.histogram(s, edges)[0] for s in x]) / (x.shape[1] * dx)
    if window:
        silverman = 1.06 * x.std(axis=1) * x.shape[1] ** -0.2
        u = np.array([gaussian_filter1d(row, window * h / dx) for row, h in zip(u, silverman, strict=True)])
    z = centres[:, None] - centres
    return centres, u.T, [u.T * (np.sign(z) * np.abs(z) ** k * dx @ u.T) for k in powers]


def pysindy_weak(file: Path, powers: range, kappa: float | None) -> Kept:
    """Regress PySINDy's weak integrals; u_t - (sigma^2/2) u_xx on the left, as sigma^2 is known.

    A histogram, because the test functions smooth. Its default subdomains (a twentieth of the extent, 100 of them) are
    too few and, in time, too short for this noise: half-lengths 0.5 and 0.1 and 4000 of them did best of five choices.
    """
    import pysindy as ps

    centres, u, fluxes = densities(file, powers, 0.1, 0.0)
    grid = np.stack(np.meshgrid(centres, np.arange(u.shape[1]) * SPACING, indexing="ij"), -1)
    np.random.seed(0)  # noqa: NPY002 (the library draws its subdomains from NumPy's global generator)
    identity = ps.PolynomialLibrary(1, include_bias=False)
    domains = {"spatiotemporal_grid": grid, "K": 4000, "H_xt": [0.5, 0.1]}
    library = ps.WeakPDELibrary(identity, derivative_order=2, include_interaction=False, **domains)
    fields = ps.AxesArray(np.stack([u, *fluxes], -1), {"ax_spatial": [0], "ax_time": 1, "ax_coord": 2})
    integrals = np.asarray(library.fit(fields).transform(fields))  # the fields, their d/dx, their d2/dx2
    m = 1 + len(fluxes)
    target = np.asarray(library.convert_u_dot_integral(fields[..., :1]))[:, 0] - DIFFUSION / 2 * integrals[:, 2 * m]
    return sparse(integrals[:, m + 1 : 2 * m], target, powers, kappa)


def pysindy_strong(file: Path, powers: range, kappa: float | None) -> Kept:
    """Regress a kernel density's residual by PySINDy's finite differences; half of Silverman's bandwidth is best."""
    import pysindy as ps

    dx = 0.05
    _, u, fluxes = densities(file, powers, dx, 0.5)

    def derivative(f: Any, order: int, axis: int) -> Any:
        method = ps.FiniteDifference(order=4, d=order, axis=axis)
        return np.ravel(method._differentiate(f, SPACING if axis else dx))

    target = derivative(u, 1, 1) - DIFFUSION / 2 * derivative(u, 2, 0)
    return sparse(np.stack([derivative(f, 1, 0) for f in fluxes], 1), target, powers, kappa)


def sparse(columns: Any, target: Any, powers: range, kappa: float | None) -> Kept:
    """Select by FROLS with this kappa, or by STLSQ, on normalised columns as in PySINDy's examples of PDEs.

    kappa (1e-5 in those examples) and the threshold are the best of five or more, chosen with the truth in sight.
    """
    import pysindy as ps

    stlsq = {"alpha": 1e-5, "threshold": 1.0}
    method = ps.FROLS(normalize_columns=True, kappa=kappa) if kappa else ps.STLSQ(normalize_columns=True, **stlsq)
    z = method.fit(columns, target[:, None]).coef_[0]
    return {powers[int(k)]: (float(z[k]), None) for k in np.flatnonzero(z)}


TOOLS: dict[str, tuple[str, Callable[[Path, range], Kept]]] = {
    "ipsdist": ("ipsdist", ipsdist),
    "SFI, 1000 particles": ("StochasticForceInference", lambda f, p: sfi(f, p, "clean", 1000)),
    "SFI, 1000 particles, default preset": ("StochasticForceInference", lambda f, p: sfi(f, p, "auto", 1000)),
    "SFI, all particles, columns by hand": ("StochasticForceInference", lambda f, p: sfi(f, p, "clean", None)),
    "PySINDy weak, FROLS": ("pysindy", lambda f, p: pysindy_weak(f, p, 1e-5)),
    "PySINDy weak, STLSQ": ("pysindy", lambda f, p: pysindy_weak(f, p, None)),
    "PySINDy strong, FROLS": ("pysindy", lambda f, p: pysindy_strong(f, p, 1e-7)),
}
"""Name: the distribution that it needs, and what it does."""


def installed(tool: str) -> str | None:
    try:
        return version(TOOLS[tool][0])
    except PackageNotFoundError:
        return None


def one(law: str, seed: int, dictionary: str, tool: str, file: Path) -> dict[str, Any]:
    """Run a tool in a process of its own."""
    out, err = file.with_name("out"), file.with_name("err")
    start = time.perf_counter()
    with out.open("w") as stdout, err.open("w") as stderr:
        command = [sys.executable, __file__, "--child", tool, dictionary, str(file)]
        process = subprocess.Popen(command, stdout=stdout, stderr=stderr)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = status  # or Popen warns that it still runs
    wall = time.perf_counter() - start
    kept = {f"r^{k}": v for k, v in json.loads(out.read_text().splitlines()[-1]).items()} if status == 0 else {}
    truth = {f"r^{k}": z for k, z in LAWS[law].items()}
    bounds = dict(zip(truth, np.load(file)["bound"], strict=True))
    asked = {"law": law, "seed": seed, "dictionary": dictionary, "tool": tool, "version": installed(tool)}
    return asked | {
        "failed": err.read_text().strip().rpartition("\n")[2] if status else None,
        "kept": kept,
        "right": set(kept) == set(truth),
        "errors": {term: (kept[term][0] - z) / bounds[term] for term, z in truth.items() if term in kept},
        "bounds": bounds,
        "seconds": wall,
        "cpu_seconds": usage.ru_utime + usage.ru_stime,
        "peak_gb": usage.ru_maxrss * 1024 / 1e9,
    }


def load() -> list[dict[str, Any]]:
    return [json.loads(line) for line in ROWS.read_text().splitlines()] if ROWS.exists() else []


def table(rows: list[dict[str, Any]]) -> str:
    """Return one line a law, dictionary, tool and true term; errors, of right answers, in bounds."""
    lines = [
        f"{'law':10} {'dictionary':10} {'tool':36} {'right':>8} {'seconds':>7} {'CPU-s':>6} {'GB':>5}  "
        f"{'term':5} {'mean':>6} {'RMSE':>6} {'worst':>6} {'own se':>6}"
    ]
    for law, dictionary, tool in ((w, d, t) for w in LAWS for d in DICTIONARIES for t in TOOLS):
        mine = [r for r in rows if (r["law"], r["dictionary"], r["tool"]) == (law, dictionary, tool)]
        hits = [r for r in mine if r["right"]]
        if not mine:
            continue
        cost = [float(np.median([r[key] for r in mine])) for key in ("seconds", "cpu_seconds", "peak_gb")]
        first = f"{law:10} {dictionary:10} {tool:36} {len(hits):3} / {len(mine):2}"
        first += f" {cost[0]:7.1f} {cost[1]:6.1f} {cost[2]:5.2f}"
        for term in [f"r^{k}" for k in LAWS[law]] if hits else []:
            errors = np.array([r["errors"][term] for r in hits])
            own = [r["kept"][term][1] / r["bounds"][term] for r in hits if r["kept"][term][1] is not None]
            lines.append(
                f"{first:88}  {term:5} {errors.mean():6.2f} {np.sqrt((errors**2).mean()):6.2f}"
                f" {np.abs(errors).max():6.2f} {f'{np.mean(own):6.2f}' if own else '     -'}"
            )
            first = ""
        if not hits:
            lines.append(first)
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--only", nargs="*", choices=TOOLS, default=list(TOOLS), metavar="TOOL")
    parser.add_argument("--laws", nargs="*", choices=LAWS, default=list(LAWS), metavar="LAW")
    parser.add_argument("--processes", type=int, default=1, help="more than one spoils the seconds")
    parser.add_argument("--show", action="store_true")
    parser.add_argument("--child", nargs="+", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        what, *rest, file = args.child
        if what == "make":
            make(rest[0], int(rest[1]), Path(file))
        else:
            print(json.dumps(TOOLS[what][1](Path(file), DICTIONARIES[rest[0]])))
        return
    for tool in args.only:
        if installed(tool) is None:
            print(f"skipped: {tool} ({TOOLS[tool][0]} is not installed)")
    tools = [t for t in args.only if installed(t)]
    done = {(r["law"], r["seed"], r["dictionary"], r["tool"]) for r in load()}
    pairs = [(law, seed) for law in args.laws for seed in range(args.seeds)]
    wanted = [[(*pair, d, t) for d in DICTIONARIES for t in tools if (*pair, d, t) not in done] for pair in pairs]

    def file_of_runs(runs: list[tuple[str, int, str, str]]) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "tracks.npz"
            law, seed = runs[0][:2]
            subprocess.run([sys.executable, __file__, "--child", "make", law, str(seed), str(path)], check=True)
            for run in runs:
                row = one(*run, path)
                with ROWS.open("a") as rows:
                    rows.write(json.dumps(row) + "\n")
                print(*run, "right" if row["right"] else row["failed"] or "wrong", row["kept"], flush=True)

    if not args.show:
        ROWS.parent.mkdir(exist_ok=True)
        with ThreadPoolExecutor(args.processes) as pool:
            list(pool.map(file_of_runs, filter(None, wanted)))
    rows = load()
    versions = {f"{TOOLS[r['tool']][0]} {r['version']}" for r in rows}
    print(table(rows), f"\nPython {platform.python_version()},", ", ".join(sorted(versions)))


if __name__ == "__main__":
    main()
