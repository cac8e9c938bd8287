"""The slow, obvious twins of the fast roads: double loops, direct sums, stacked rows."""

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


# --- densities: binning particle by particle, windows by direct sums, energies by double sums --------------------------


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
    """Gaussian window estimate of positions (N, d) at the points of the axes, one particle after another (points...)."""
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
