"""Equations drawn from their exact law, b = A z + sigma A^(1/2) xi panel by panel: cheap, and the truth is known."""

import numpy as np

from ipsdist.model.dictionary import Dictionary
from ipsdist.model.normal_equations import NormalEquations


def drawn(gram, z, diffusion, rng, *, basis=None, particles=20_000, panels=1, form="action"):
    """Return equations of a Gram (M, M) for coefficients z (M,), the Gram shared evenly by the panels."""
    scale = np.sqrt(np.diag(gram) / panels)
    values, vectors = np.linalg.eigh(gram / panels / np.outer(scale, scale))
    root = scale[:, None] * vectors * np.sqrt(np.maximum(values, 0.0))
    noise = rng.standard_normal((panels, len(z))) @ root.T
    return NormalEquations(
        form=form,
        basis=tuple(basis) if basis is not None else tuple(f"f{k}" for k in range(len(z))),
        gram=np.repeat(gram[None] / panels, panels, axis=0),
        moment=gram @ z / panels + np.sqrt(diffusion) * noise,
        energy=None,
        particles=particles,
    )


def random_gram(terms, condition, rng):
    """Return a Gram (M, M) with unit diagonal and eigenvalues that fall evenly over about ``condition``."""
    q, _ = np.linalg.qr(rng.standard_normal((terms, terms)))
    gram = q * np.geomspace(1.0, 1.0 / condition, terms) @ q.T
    scale = np.sqrt(np.diag(gram))
    return 0.5 * (gram + gram.T) / np.outer(scale, scale)


def pair_gram(texts, particles, rng):
    """Return sum_i V_k(X_i) V_l(X_i), per particle, of particles on a line about -1 and 1."""
    x = rng.choice([-1.0, 1.0], particles) + 0.5 * rng.standard_normal(particles)
    apart = x[:, None] - x
    velocity = -(Dictionary.parse(texts).values(np.abs(apart).ravel()).reshape(-1, *apart.shape) * np.sign(apart))
    velocity = velocity.mean(axis=2)
    return velocity @ velocity.T / particles
