"""The band over many draws of the noise, its ends, and what it refuses."""

import numpy as np
import pytest

from ipsdist.learning.band import kernel_band, roughness
from ipsdist.model.normal_equations import NormalEquations
from ipsdist.model.radial_basis import RadialBasis

DIFFUSION, PARTICLES = 2.0, 20000
BASIS = RadialBasis.graded(6.0, 1 / 16)
KINKED = RadialBasis.graded(6.0, 1 / 128, 0.05)


def gram(basis, spread=0.7):
    """E sum_i V_k(X_i) V_l(X_i) of independent particles, u two clouds, over one unit of time, by sums over a grid."""
    x = np.linspace(-3, 3, 241)
    u = sum(np.exp(-0.5 * ((x - c) / spread) ** 2) for c in (-0.6, 0.6))
    u /= u.sum()
    lag = x[:, None] - x[None]
    force = (basis.values(np.abs(lag)) * np.sign(lag)).reshape(len(basis), -1)
    velocity = force.reshape(len(basis), len(x), -1) @ u
    return PARTICLES * (velocity * u) @ velocity.T + (force * np.outer(u, u).ravel()) @ force.T


def draws(basis, phi, seeds, amount=1.0):
    """Equations of data with the kernel phi: b = A f + sigma A^(1/2) noise."""
    a = amount * gram(basis)
    values, vectors = np.linalg.eigh(a)
    root = vectors * np.sqrt(np.maximum(values, 0))
    f = basis.coordinates(lambda r: phi(r)[None])[:, 0]
    for seed in range(seeds):
        noise = np.random.default_rng(seed).standard_normal(len(a))
        moment = a @ f + np.sqrt(DIFFUSION) * root @ noise
        yield NormalEquations("action", basis.names, a[None], moment[None], None, PARTICLES)


@pytest.mark.parametrize(
    ("basis", "phi"),
    [
        (BASIS, lambda r: 3 * r**2),
        (BASIS, lambda r: 5 * r * np.exp(-r)),
        (BASIS, lambda r: np.exp(-r) - 0.5 * np.exp(-0.5 * r)),
        (BASIS, lambda r: 2 * np.sin(2 * r)),
        (KINKED, lambda r: r - np.maximum(r, 0.05) ** -0.5),
    ],
    ids=["cubic", "bump", "two exponentials", "wave", "singular"],
)
def test_band_covers_the_truth_at_its_level(basis, phi):
    """Over 25 draws of the noise more than 90 % of the distances have the truth in their band, which is not vague.

    The band for all distances at once holds it at all of them so often that a level of 90 % is not refused.
    """
    r = np.linspace(0.02, 3.2, 101)
    covered, whole, errors, halves = [], [], [], []
    for equations in draws(basis, phi, 25):
        band = kernel_band(equations, basis, DIFFUSION, r, resolution=0.25)
        covered.append(((band.lower <= phi(r)) & (phi(r) <= band.upper)).mean())
        whole.append(((band.lower_everywhere <= phi(r)) & (phi(r) <= band.upper_everywhere)).all())
        errors.append(np.mean((band.value - phi(r)) ** 2))
        halves.append(np.mean((band.upper - band.lower) ** 2) / 4)
    assert np.mean(covered) > 0.9
    assert np.mean(whole) > 0.9 - 3 * np.sqrt(0.9 * 0.1 / 25)
    assert np.sqrt(np.mean(halves)) < 6 * np.sqrt(np.mean(errors))


def test_much_data_give_the_kernel_back():
    """With a hundred thousand times the data the band closes around phi, phi(0) included."""
    r = np.linspace(0, 3, 61)
    equations = next(draws(BASIS, lambda r: np.cos(r) + 1, 1, amount=1e5))
    band = kernel_band(equations, BASIS, DIFFUSION, r, resolution=0.0)
    np.testing.assert_allclose(band.value, np.cos(r) + 1, atol=0.05)
    assert (band.upper - band.lower).max() < 0.2
    assert band.degrees_of_freedom > 5


def test_more_data_narrow_the_band_and_free_more_coefficients():
    """A hundred times the data: a narrower band, more degrees of freedom; the wider level holds the narrower one."""
    r = np.linspace(0.1, 3, 31)
    few, many = (
        kernel_band(next(draws(BASIS, np.sin, 1, amount=a)), BASIS, DIFFUSION, r, resolution=0.2) for a in (1.0, 100.0)
    )
    assert np.mean(many.upper - many.lower) < 0.5 * np.mean(few.upper - few.lower)
    assert many.degrees_of_freedom > few.degrees_of_freedom
    wide = kernel_band(next(draws(BASIS, np.sin, 1)), BASIS, DIFFUSION, r, resolution=0.2, level=0.99)
    assert (wide.lower < few.lower).all()
    assert (wide.upper > few.upper).all()


def test_band_opens_where_pairs_are_few():
    """At contact and at the far end the band is wider than in the middle."""
    band = kernel_band(next(draws(BASIS, np.sin, 1)), BASIS, DIFFUSION, [0.0, 1.5, 5.0], resolution=0.2)
    near, middle, far = band.upper - band.lower
    assert min(near, far) > 2 * middle


def test_a_wrong_moment_of_contact_does_not_matter():
    """The first function's moment may be off by any amount: it is not used."""
    equations = next(draws(BASIS, np.sin, 1))
    coarse = BASIS.coarsened(0.2, 3.0)
    moved = equations.moment.copy()
    # A shift of the coarse basis' first moment alone, written in the fine basis.
    shift = np.linalg.lstsq(BASIS.coordinates(coarse.values).T, np.eye(len(coarse))[0], rcond=None)[0]
    moved[0] += 50.0 * shift
    r = np.linspace(0, 3.0, 31)
    one, other = (
        kernel_band(
            NormalEquations("action", BASIS.names, equations.gram, b, None, PARTICLES),
            BASIS,
            DIFFUSION,
            r,
            resolution=0.2,
        )
        for b in (equations.moment, moved)
    )
    np.testing.assert_allclose(one.value, other.value, rtol=1e-6, atol=1e-6)


def test_roughness_is_the_integral_of_the_third_derivative():
    """|C'f|^2 for r**4 is the sum of h^5 int (24 r)^2; parabolas have none; a tilt weighs the far end more."""
    f = BASIS.coordinates(lambda r: r[None] ** 4)[:, 0]
    ends = BASIS.breaks
    h = np.diff(ends)
    h[-1] = min(h[-2:])
    want = np.sum(h**5 * 192 * (ends[1:] ** 3 - ends[:-1] ** 3))
    assert np.sum((roughness(BASIS).T @ f) ** 2) == pytest.approx(want, rel=1e-9)
    parabola = BASIS.coordinates(lambda r: (3 + r - 2 * r**2)[None])[:, 0]
    assert np.sum((roughness(BASIS).T @ parabola) ** 2) < 1e-18 * want
    far = BASIS.coordinates(lambda r: np.maximum(r - 5.0, 0)[None] ** 4)[:, 0]
    assert np.sum((roughness(BASIS, 4.0).T @ far) ** 2) > 5 * np.sum((roughness(BASIS).T @ far) ** 2)


def test_refusals():
    """Equations that are no likelihood, another basis, distances outside, an impossible level."""
    good = next(draws(BASIS, np.sin, 1))
    strong = NormalEquations("strong", BASIS.names, good.gram, good.moment, np.ones(1), PARTICLES)
    for equations, basis, r, level, message in (
        (strong, BASIS, [1.0], 0.95, "likelihood"),
        (good, KINKED, [1.0], 0.95, "functions of"),
        (good, BASIS, [7.0], 0.95, "between 0 and 6"),
        (good, BASIS, [], 0.95, "between 0 and 6"),
        (good, BASIS, [1.0], 95, "between 0 and 1"),
    ):
        with pytest.raises(ValueError, match=message):
            kernel_band(equations, basis, DIFFUSION, r, resolution=0.2, level=level)
