"""The slow, obvious twins of the fast roads: double loops, direct sums, stacked rows."""

import math
from fractions import Fraction

import numpy as np

# --- equations: pair sums by broadcasting over all pairs ------------------------------------------------------------


def pair_velocity(dictionary, positions):
    """V_k(X_i) = -(1/N) sum_{j != i} phi_k(r_ij) (X_i - X_j)/r_ij, exact: (M, N, d)."""
    n = len(positions)
    difference = positions[:, None] - positions[None]
    distance = np.sqrt((difference**2).sum(axis=-1))
    np.fill_diagonal(distance, 1.0)
    direction = difference / distance[..., None]
    return -np.stack([(term(distance)[..., None] * direction).sum(axis=1) for term in dictionary.terms]) / n


def pair_gram(dictionary, positions):
    """sum_i V_k(X_i) . V_l(X_i) with exact pair forces (M, M)."""
    velocity = pair_velocity(dictionary, positions)
    return np.einsum("kia,lia->kl", velocity, velocity)


# --- direct sums: one pair at a time, functions of a radial basis -----------------------------------------------------


def pair_fields(basis, positions, others):
    """V_m(X_i) and div_i V_m(X_i) times N of particles in ``positions`` pushed by ``others``: (n, d, M) and (n, M)."""
    n, d = positions.shape
    velocity, divergence = np.zeros((n, d, len(basis))), np.zeros((n, len(basis)))
    for i, x in enumerate(positions):
        for y in others:
            r = math.sqrt(((x - y) ** 2).sum())
            if 0 < r <= basis.reach:
                value, slope = basis.values(r), basis.derivatives(r, 1)
                velocity[i] -= np.outer((x - y) / r, value)
                divergence[i] -= slope + (d - 1) * value / r
    return velocity, divergence


def interval_by_pairs(tracks, k, basis):
    """Gram, midpoint integral and divergence of the interval after slice k, by particles and pairs of them."""
    half = 0.5 * (tracks.times[k + 1] - tracks.times[k])
    ends = [dict(zip(s[0].tolist(), s[1], strict=True)) for s in (tracks.slice(k), tracks.slice(k + 1))]
    both = sorted(ends[0].keys() & ends[1].keys())
    gram, midpoint, divergence = np.zeros((len(basis), len(basis))), np.zeros(len(basis)), np.zeros(len(basis))
    mean = 0.5 * (1 / len(ends[0]) + 1 / len(ends[1]))
    for end in ends:
        for p in both:
            v, div = pair_fields(basis, end[p][None], np.array(list(end.values())))
            gram += half * np.einsum("am,al->ml", v[0], v[0]) / len(end) ** 2
            divergence += half * div[0] / len(end)
            strangers = [x for q, x in end.items() if q not in both]
            push = pair_fields(basis, end[p][None], strangers)[0][0] / len(end)
            midpoint += 0.5 * (ends[1][p] - ends[0][p]) @ push
    for n, p in enumerate(both):
        for q in both[:n]:
            before, after = (float(np.linalg.norm(end[p] - end[q])) for end in ends)
            midpoint -= mean * (basis.potentials(after) - basis.potentials(before))
    return gram, midpoint, divergence


# --- strong form and learning: stacked rows, double loops ------------------------------------------------------------


def strong_rows(densities, times, grid, dictionary, diffusion, slope=None):
    """Target (P, inner) and features (P, M, inner) of the strong form, one point and one neighbour at a time.

    ``slope(axis, point)`` is the gradient of an external potential.
    """
    d, h = len(grid.cells), grid.spacing
    axes = grid.axes()
    points = list(np.ndindex(*[n + 1 for n in grid.cells]))
    inner = [p for p in points if all(0 < i < n for i, n in zip(p, grid.cells, strict=True))]

    def moved(p, axis, by):
        return tuple(i + by * (a == axis) for a, i in enumerate(p))

    def velocity(u, term, p, axis):
        total = 0.0
        for q in points:
            lag = [(i - j) * step for i, j, step in zip(p, q, h, strict=True)]
            r = np.sqrt(sum(x * x for x in lag))
            if r > 0:
                total += float(term(np.array([r]))[0]) * lag[axis] / r * u[q]
        return total * np.prod(h)

    target, features = [], []
    for n in range(len(times) - 1):
        u = densities[n]
        y, f = [], []
        for p in inner:
            lap = sum((u[moved(p, a, 1)] - 2 * u[p] + u[moved(p, a, -1)]) / h[a] ** 2 for a in range(d))
            y.append((densities[n + 1][p] - u[p]) / (times[n + 1] - times[n]) - diffusion / 2 * lap)
            for a in range(d) if slope else ():
                up, down = moved(p, a, 1), moved(p, a, -1)
                flux = [u[q] * slope(a, [x[i] for x, i in zip(axes, q, strict=True)]) for q in (up, down)]
                y[-1] -= (flux[0] - flux[1]) / (2 * h[a])
        for term in dictionary.terms:
            column = []
            for p in inner:
                total = 0.0
                for a in range(d):
                    up, down = moved(p, a, 1), moved(p, a, -1)
                    total += (u[up] * velocity(u, term, up, a) - u[down] * velocity(u, term, down, a)) / (2 * h[a])
                column.append(total)
            f.append(column)
        target.append(y)
        features.append(f)
    return np.array(target), np.array(features)


def coordinate_descent(gram, moment, weight, sweeps=20000):
    """Minimise z'Az/2 - b'z + weight |z|_1 one coordinate at a time."""
    z = np.zeros(len(moment))
    for _ in range(sweeps):
        for k in range(len(z)):
            rest = moment[k] - gram[k] @ z + gram[k, k] * z[k]
            z[k] = np.sign(rest) * max(abs(rest) - weight, 0.0) / gram[k, k]
    return z


# --- densities: binning particle by particle, windows by direct sums, energies by double sums -----------------------


def linear_counts(positions, mesh):
    """Particles per node of positions (N, d) on the mesh, each shared linearly in float64 (nodes...)."""
    weights = np.zeros(mesh.shape)
    for x in positions / mesh.spacing - np.array(mesh.lower):
        cell = np.floor(x).astype(int)
        share = x - cell
        for corner in np.ndindex(*[2] * len(x)):
            weights[tuple(cell + corner)] += np.prod(np.where(corner, share, 1.0 - share))
    return weights


def direct_window(positions, axes, bandwidths):
    """Gaussian window estimate of positions (N, d) at the points of the axes, particle by particle (points...)."""
    points = np.meshgrid(*axes, indexing="ij")
    total = np.zeros(points[0].shape)
    for x in positions:
        scaled = sum(((p - a) / h) ** 2 for p, a, h in zip(points, x, bandwidths, strict=True))
        total += np.exp(-0.5 * scaled)
    return total / (len(positions) * np.prod(np.sqrt(2.0 * np.pi) * np.asarray(bandwidths)))


def double_sum_energy(density, grid, diffusion, potential, external=None):
    """Free energy by the sum over all pairs of grid points."""
    points = np.stack([x.ravel() for x in np.meshgrid(*grid.axes(), indexing="ij")], axis=-1)
    mass = density.ravel() * np.prod(grid.spacing)
    distance = np.sqrt(((points[:, None] - points[None]) ** 2).sum(axis=-1))
    entropy = sum(m * np.log(u) for m, u in zip(mass, density.ravel(), strict=True) if u > 0)
    outside = 0.0 if external is None else mass @ external(*points.T)
    return 0.5 * diffusion * entropy + 0.5 * mass @ potential(distance) @ mass + outside


# --- particles: scalars and Python integers, corner by corner ---------------------------------------------------------


def philox_scalar(counter, key):
    """Philox4x32-10 of one counter (4 words) and key (2 words), in Python integers."""
    c, k = list(counter), list(key)
    for _ in range(10):
        left, right = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [right >> 32 ^ c[1] ^ k[0], right & 0xFFFFFFFF, left >> 32 ^ c[3] ^ k[1], left & 0xFFFFFFFF]
        k = [(k[0] + 0x9E3779B9) & 0xFFFFFFFF, (k[1] + 0xBB67AE85) & 0xFFFFFFFF]
    return c


def corner_weights(position, mesh):
    """Integer weights of one particle by node (tuple of array indices), splitting axis by axis, half up."""
    weights = {(): 65536}
    for x, low in zip(position, mesh.lower, strict=True):
        cell = math.floor(x / mesh.spacing)
        share = math.floor((x / mesh.spacing - cell) * 65536 + 0.5)
        split = {}
        for node, weight in weights.items():
            upper = math.floor(Fraction(weight * share, 65536) + Fraction(1, 2))
            split[(*node, cell - low)] = weight - upper
            split[(*node, cell - low + 1)] = upper
        weights = split
    return weights


def slow_deposit(positions, mesh, offsets):
    """Return count (nodes...) and products (offsets, nodes...) of positions (N, d), particle by particle."""
    count = np.zeros(mesh.shape, dtype=object)
    products = np.zeros((len(offsets), *mesh.shape), dtype=object)
    for position in positions:
        weights = corner_weights(position, mesh)
        for node, weight in weights.items():
            count[node] += weight
            for k, offset in enumerate(offsets):
                products[(k, *node)] += weight * weights.get(tuple(np.add(node, offset)), 0)
    return count, products


def slow_flux(before, after, mesh):
    """Flux (d, nodes...) and squared move of particles, one by one."""
    flux, square = np.zeros((mesh.dimension, *mesh.shape), dtype=object), 0
    for x, y in zip(before, after, strict=True):
        shift = (y - x) / mesh.spacing
        square += round(float((shift**2).sum()) * 2**20)
        for node, weight in corner_weights(x, mesh).items():
            for a in range(mesh.dimension):
                flux[(a, *node)] += weight * round(float(shift[a]) * 2**20)
    return flux, square


def euler_step(positions, drift, mesh, dt, scale, noise):
    """(X + dt f(X)) + scale noise in NumPy, f linear along the last axis first: (N, d)."""
    scaled = positions / mesh.spacing
    cell = np.floor(scaled).astype(int)
    share = scaled - cell
    cell = cell - mesh.lower

    def value(field, axis, node):
        if axis == mesh.dimension:
            return field[tuple(node)]
        near = value(field, axis + 1, [*node, cell[:, axis]])
        far = value(field, axis + 1, [*node, cell[:, axis] + 1])
        return near + share[:, axis] * (far - near)

    force = np.stack([value(field, 0, []) for field in drift], axis=1)
    return (positions + dt * force) + scale * noise.astype(np.float64)


def pair_drift(phi, positions):
    """-(1/N) sum_j phi(r_ij) (X_i - X_j)/r_ij by a double loop (N, d)."""
    drift = np.zeros_like(positions)
    for i, x in enumerate(positions):
        for j, y in enumerate(positions):
            r = math.sqrt(((x - y) ** 2).sum())
            if i != j and r > 0:
                drift[i] -= float(phi(r)) * (x - y) / r
    return drift / len(positions)


# --- whole systems: case cubic by sorting and prefix sums, NumPy alone ----------------------------------------------


def prefix_sum_tracks(particles, steps, step, every, seed):
    """Return times (T,) and positions (T, N) of phi = 3 r**2, sigma**2 = 2, from two clouds at -1 and 1."""
    random = np.random.default_rng(seed)
    x = np.where(random.random(particles) < 0.5, 1.0, -1.0) + 0.5 * random.standard_normal(particles)
    slices = [x.copy()]
    for k in range(steps):
        y = np.sort(x)
        below = np.searchsorted(y, x)
        first, second = (np.concatenate([[0.0], np.cumsum(y**p)]) for p in (1, 2))
        left = below * x**2 - 2 * x * first[below] + second[below]
        right = (particles - below) * x**2 - 2 * x * (first[-1] - first[below]) + second[-1] - second[below]
        x = x - 3 * step * (left - right) / particles + np.sqrt(2 * step) * random.standard_normal(particles)
        if (k + 1) % every == 0:
            slices.append(x.copy())
    return np.arange(len(slices)) * step * every, np.array(slices)


# --- weak form: sums over particles without a mesh, least squares in loops -------------------------------------------


def particle_pairings(dictionary, fields, positions):
    """Return gram (M, M), energy (M,) and Laplacian (M,) of terms, then fields, by sums over particles (N, d).

    A field has value, gradient and laplacian at positions. The Laplacian of the terms is left out (NaN).
    """
    n = len(positions)
    difference = positions[:, None] - positions[None]
    distance = np.sqrt((difference**2).sum(axis=-1))[~np.eye(n, dtype=bool)]
    velocity = [*pair_velocity(dictionary, positions), *(-field.gradient(positions) for field in fields)]
    gram = np.array([[(a * b).sum() for b in velocity] for a in velocity])
    energy = [*dictionary.potentials(distance).sum(axis=1) / (2 * n), *(f.value(positions).sum() for f in fields)]
    laplacian = [*(np.nan for _ in dictionary.terms), *(f.laplacian(positions).sum() for f in fields)]
    return gram, np.array(energy), np.array(laplacian)


def weak_sums(pairings, times, terms, tests, diffusion, seeing=False):
    """Return A, b of the weak form by the trapezoid's rule, panel by panel, sigma^2 unknown where it is None.

    Instruments come from the first slice of a panel; with ``seeing`` from the panel itself, which is least squares.
    """
    rows = range(terms, terms + tests)
    gram = pairings.gram[:, rows][:, :, rows]
    columns = [pairings.gram[:, rows, k] for k in range(terms)]
    if diffusion is None:
        columns.append(-0.5 * pairings.laplacian[:, rows])
    columns = np.stack(columns, axis=-1)
    regressors = noise = moments = 0.0
    for n in range(len(times) - 1):
        gap = times[n + 1] - times[n]
        x, g = gap / 2 * (columns[n] + columns[n + 1]), gap / 2 * (gram[n] + gram[n + 1])
        y = pairings.energy[n, rows] - pairings.energy[n + 1, rows]
        if diffusion is not None:
            y = y + diffusion * gap / 4 * (pairings.laplacian[n, rows] + pairings.laplacian[n + 1, rows])
        seen = (g / gap, x / gap) if seeing else (gram[n], columns[n])
        c = np.linalg.solve(seen[0] + 10.0 * np.eye(tests), seen[1])
        regressors, noise, moments = regressors + c.T @ x, noise + c.T @ g @ c, moments + c.T @ y
    half = np.linalg.solve(noise, regressors)
    return regressors.T @ half, half.T @ moments
