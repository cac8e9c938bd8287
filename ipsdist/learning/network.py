"""Break points by a neural network, [S]'s road: f(r) fitted to the residual, |f'| ranked (docs/method.md, 7).

The only home of JAX, equinox and optax (the extra ``neural``); they are imported when a network is fitted.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ipsdist.model.normal_equations import NormalEquations
from ipsdist.model.radial_basis import RadialBasis

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["NEEDED", "NetworkFit", "fit_network", "network_installed"]

Array = npt.NDArray[np.float64]

NEEDED = ("jax", "equinox", "optax")
"""What the extra ``neural`` installs."""
_WIDTH, _DEPTH = 64, 2
"""Units of a hidden layer, and hidden layers."""
_WARM, _TURNS, _MEMORY = 1000, 3000, 20
"""Turns of Adam, turns of L-BFGS after them, and how many of its steps it remembers."""
_RATE = 3e-3
_POINTS = 800
"""Distances at which the network is evaluated in a turn, about; at least one for every hat."""
_SMOOTHED = 1e-3
"""Change of f from point to point, in scales of f, below which the penalty is smooth."""
_GRID, _RANKED = 500, 50
"""Distances at which |f'| is looked at, and how many of the largest are ranked, as in [S]."""
_VALLEY = 0.5
"""Two peaks of |f'| are two candidates where it falls below this share of the lower one between them."""
_SEEN = 1e-5
"""Share of the information of all nodes, beyond the reach."""
_BUMPS = 40
"""Bumps of f, side by side from 0 to the reach, whose heights say where f is determined, and its scale."""
_ROUGH = 1e-2
"""Singular values of the bumps' scaled columns, as a share of the largest, below which their heights are noise."""
_TOLD = 0.1
"""Largest standard error of such a height, in scales of f, where |f'| is ranked."""
_RANK = 1e-12
"""Eigenvalues of the Gram below this share of the largest are rounding."""


@dataclass(frozen=True, eq=False)
class NetworkFit:
    """A network f with phi(r) = f(r) r, and the break points that its slopes propose."""

    radii: Array
    """(G,) distances, increasing, as far as pairs are seen (length)."""
    values: Array
    """(G,) f, 1 / time."""
    slopes: Array
    """(G,) f' by automatic differentiation, 1 / (length time)."""
    seen: npt.NDArray[np.bool_]
    """(G,) whether the equations determine f there; elsewhere no slope is ranked."""
    ranked: npt.NDArray[np.intp]
    """Indices of the largest |f'| among those seen, increasing; at most 50."""
    candidates: Array
    """(C,) places that the ranked points gather at, increasing (length)."""
    loss: Array
    """What was minimised, turn by turn, in units of sigma^2: the misfit less that of phi = 0, plus the penalty."""
    reason: str | None = None
    """Why no network was fitted, and the arrays are empty; None where one was."""


def network_installed() -> bool:
    """Tell whether the extra ``neural`` is there."""
    return all(find_spec(name) is not None for name in NEEDED)


def fit_network(equations: NormalEquations, basis: RadialBasis, diffusion: float, seed: int) -> NetworkFit:
    """Return a network fitted to equations over hats, and the candidates for break points that it proposes.

    The loss is (z'Az - 2 b'z) / sigma^2 at z_m, the mean of f(r) r under hat m: the misfit of the mean-field equation
    in the H^-1(u) norm, where [S] takes L2; a turn touches neither particles nor densities. Increments of f from node
    to node have a Laplace law of unknown scale a priori: n nodes add 2 n ln(total variation of f) to the loss. Without
    it the noise at distances hardly seen has the largest slopes of all. The network is tanh(1, 64, 64, 1), its first
    layer steps spread evenly over the distances, since smooth networks blur jumps; Adam, then L-BFGS.

    The 50 largest |f'| of 500 even distances gather at candidates: runs of ranked neighbours, parted where |f'| falls
    to half between two peaks. A candidate's place is the mean of its points, weighted by |f'|.

    Parameters
    ----------
    equations : action or likelihood form over the hats ``basis`` (degree 1, even knots).
    diffusion : sigma**2, length**2 / time.
    seed : of the weights that the network begins with.

    Raises ValueError for equations of another form or basis. The same bits for the same versions on one thread of XLA
    only: its matrix products split their sums by the number of threads (`ipsdist.runtime.threads.single_xla_thread`).
    """
    problem = _Problem.of(equations, basis, diffusion)
    radii = (np.arange(_GRID) + 0.5) * problem.reach / _GRID
    seen = np.interp(radii, problem.centres, problem.errors) < _TOLD * problem.scale
    if not seen.any():
        none, nothing = np.zeros(0), np.zeros(0, dtype=np.intp)
        reason = "at no distance do the equations tell f from 0 well enough to rank its slopes"
        return NetworkFit(none, none, none, np.zeros(0, dtype=np.bool_), nothing, none, none, reason)
    values, slopes, loss = _train(problem, radii, seed)
    ranked, candidates = _gathered(radii, np.where(seen, np.abs(slopes), 0.0))
    return NetworkFit(radii, values, slopes, seen, ranked, candidates, loss)


@dataclass(frozen=True, eq=False)
class _Problem:
    """Residuals |F f - y|^2 of values f at points, and what is known of f before a network is fitted."""

    matrix: Array
    """(k, P)"""
    target: Array
    """(k,)"""
    points: Array
    """(P,)"""
    nodes: int
    reach: float
    scale: float
    """Root mean square of f."""
    centres: Array
    errors: Array
    """Standard error of the height of a bump of f, each for itself, by the bump's centre."""

    @classmethod
    def of(cls, equations: NormalEquations, basis: RadialBasis, diffusion: float) -> _Problem:
        sites = np.asarray(basis.knots)[1:-1]
        if equations.energy is not None or equations.basis != basis.names:
            raise ValueError(f"equations of a likelihood over the basis are needed; got the form {equations.form}")
        if basis.degree != 1 or not np.allclose(np.diff(sites), sites[1] - sites[0], rtol=1e-9):
            raise ValueError("the basis must be hats on even knots")
        gram, moment = equations.gram.sum(axis=0) / diffusion, equations.moment.sum(axis=0) / diffusion
        width = float(sites[1] - sites[0])
        beyond = np.cumsum(np.diag(gram)[::-1])[::-1]
        last = max(2, int(np.flatnonzero(beyond >= _SEEN * beyond[0])[-1]))
        points, means = _hat_means(len(moment), last, max(1, _POINTS // last))
        size, vectors = np.linalg.eigh(gram)
        kept = size > _RANK * max(size[-1], np.finfo(np.float64).tiny)
        root, vectors = np.sqrt(size[kept]), vectors[:, kept]
        matrix = (root[:, None] * vectors.T) @ (means * (points * width))
        target = (vectors.T @ moment) / root
        reach = last * width
        centres = (np.arange(_BUMPS) + 0.5) * reach / _BUMPS
        bumps = np.maximum(1.0 - np.abs(points[:, None] * width - centres) * (_BUMPS / reach), 0.0)
        columns = matrix @ bumps
        errors = 1.0 / np.maximum(np.linalg.norm(columns, axis=0), np.finfo(np.float64).tiny)
        heights = errors * np.linalg.lstsq(columns * errors, target, rcond=_ROUGH)[0]
        scale = float(np.sqrt(np.mean(heights**2)))
        return cls(matrix, target, points * width, last, reach, scale, centres, errors)


def _hat_means(hats: int, last: int, parts: int) -> tuple[Array, Array]:
    """Return points from 0 to node ``last``, ``parts`` in a cell, and the means (hats, points) under hats.

    Distances are in widths of a hat. Means, not values at nodes: they keep the place of a jump between two nodes. What
    lies beyond the last point is taken to be as there.
    """
    count = last * parts + 1
    result = np.zeros((hats, count))
    for step in range(1 - parts, parts):
        at = np.abs(np.arange(hats) * parts + step)
        np.add.at(result, (np.arange(hats), np.minimum(at, count - 1)), (1.0 - abs(step) / parts) / parts)
    return np.arange(count) / parts, result


def _train(problem: _Problem, radii: Array, seed: int) -> tuple[Array, Array, Array]:
    """Return f and f' at ``radii``, and the loss by turn."""
    import equinox as eqx
    import jax
    import jax.numpy as jnp

    with jax.default_device(jax.devices("cpu")[0]):
        matrix, target = jnp.asarray(problem.matrix, jnp.float32), jnp.asarray(problem.target, jnp.float32)
        stretch = float(_WIDTH / problem.reach)
        points = jnp.asarray(problem.points * stretch, jnp.float32)
        network, rest = eqx.partition(_beginning(seed), eqx.is_array)

        def value(network: Any, x: Any) -> Any:
            return eqx.combine(network, rest)(x[None])[0]

        def loss(network: Any) -> Any:
            f = jax.vmap(value, (None, 0))(network, points)
            left = matrix @ (problem.scale * f) - target
            variation = jnp.sum(jnp.sqrt(jnp.diff(f) ** 2 + _SMOOTHED**2))
            return left @ left + 2.0 * problem.nodes * jnp.log(variation)

        network, history = _minimised(loss, network)
        x = jnp.asarray(radii * stretch, jnp.float32)
        f, slope = jax.jit(jax.vmap(jax.value_and_grad(value, argnums=1), (None, 0)))(network, x)
        values, slopes = (np.asarray(part, dtype=np.float64) * problem.scale for part in (f, slope))
        # phi = 0 is taken off here: in single precision it would swallow what the line search looks for.
        return values, slopes * stretch, history - float(problem.target @ problem.target)


def _beginning(seed: int) -> Any:
    """Return the network before training; its input is 0 .. 64, and unit k of the first layer is a step at k + 1/2."""
    import equinox as eqx
    import jax
    import jax.numpy as jnp

    key = jax.random.key(seed % 2**32)
    network = eqx.nn.MLP(1, 1, _WIDTH, _DEPTH, activation=jnp.tanh, dtype=jnp.float32, key=key)
    steep = np.where(np.arange(_WIDTH) % 2, 1.0, -1.0)
    weight, bias = steep[:, None], -steep * (np.arange(_WIDTH) + 0.5)
    layer = network.layers[0]
    changed = [jnp.asarray(part, layer.weight.dtype) for part in (weight, bias)]
    return eqx.tree_at(lambda n: (n.layers[0].weight, n.layers[0].bias), network, changed)


def _minimised(loss: Callable[[Any], Any], network: Any) -> tuple[Any, Array]:
    """Minimise by Adam with a rate that rises and falls, then by L-BFGS; return the network and the loss by turn."""
    import jax
    import optax

    adam = optax.adam(optax.cosine_onecycle_schedule(_WARM, _RATE, 0.1))
    search = optax.scale_by_zoom_linesearch(max_linesearch_steps=15)
    newton = optax.lbfgs(memory_size=_MEMORY, linesearch=search)
    known = optax.value_and_grad_from_state(loss)

    def first(carry: Any, _: None) -> Any:
        network, state = carry
        now, slope = jax.value_and_grad(loss)(network)
        change, state = adam.update(slope, state)
        return (optax.apply_updates(network, change), state), now

    def then(carry: Any, _: None) -> Any:
        network, state = carry
        now, slope = known(network, state=state)
        change, state = newton.update(slope, state, network, value=now, grad=slope, value_fn=loss)
        return (optax.apply_updates(network, change), state), now

    def run(network: Any) -> Any:
        (network, _), early = jax.lax.scan(first, (network, adam.init(network)), None, length=_WARM)
        (network, _), late = jax.lax.scan(then, (network, newton.init(network)), None, length=_TURNS)
        return network, early, late

    network, early, late = jax.jit(run)(network)
    return network, np.concatenate([np.asarray(early), np.asarray(late)]).astype(np.float64)


def _gathered(radii: Array, slopes: Array) -> tuple[npt.NDArray[np.intp], Array]:
    """Return the indices of the largest slopes and the places that they gather at; slopes of 0 are not looked at."""
    largest = np.sort(np.argsort(-slopes, kind="stable")[:_RANKED])
    ranked = largest[slopes[largest] > 0]
    places = [
        np.average(radii[part], weights=slopes[part])
        for run in np.split(ranked, np.flatnonzero(np.diff(ranked) > 1) + 1)
        for part in _parted(run, slopes)
        if len(part)
    ]
    return ranked, np.array(places, dtype=np.float64)


def _parted(run: npt.NDArray[np.intp], slopes: Array) -> list[npt.NDArray[np.intp]]:
    """Part a run of neighbours at its deepest valley, again and again, where that is deep for both sides."""
    height = slopes[run]
    before, after = np.maximum.accumulate(height), np.maximum.accumulate(height[::-1])[::-1]
    depth = height / np.maximum(np.minimum(before, after), np.finfo(np.float64).tiny)
    n = int(np.argmin(depth)) if len(run) else 0
    if not len(run) or depth[n] >= _VALLEY:
        return [run]
    return [*_parted(run[:n], slopes), *_parted(run[n:], slopes)]
