"""Bandwidth rules against their definitions, SciPy's, theory, and the published fixed-point recursion."""

import math

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import gaussian_kde

from ipsdist.model.errors import InputError
from ipsdist.model.mesh import Mesh
from ipsdist.numerics.densities.bandwidth import _plug_in, bandwidths, improved_sheather_jones, standard_deviations
from ipsdist.numerics.densities.binning import bin_positions
from tests.references import linear_counts


def counted(positions, spacing):
    mesh = Mesh.around(positions.min(0), positions.max(0), spacing)
    return mesh, bin_positions(positions, mesh)[1] / 2**16


def test_scott_and_silverman_are_scipys():
    """In one dimension both rules are gaussian_kde's, to the binning error and the n - 1 in its variance."""
    x = np.random.default_rng(1).gamma(2.0, size=(3000, 1))
    mesh, weights = counted(x, 2.0**-6)
    for rule in ("scott", "silverman"):
        peer = math.sqrt(gaussian_kde(x[:, 0], bw_method=rule).covariance[0, 0])
        assert bandwidths(rule, weights, mesh, 3000)[0] == pytest.approx(peer, rel=1e-3)


def test_rules_scale_axis_by_axis():
    """In two dimensions each axis has its own deviation and the exponent is 1 / (d + 4)."""
    x = np.random.default_rng(2).normal(size=(4000, 2)) * [0.5, 2.0]
    mesh, weights = counted(x, 2.0**-5)
    np.testing.assert_allclose(bandwidths("scott", weights, mesh, 4000), x.std(0) * 4000 ** (-1 / 6), rtol=1e-3)
    np.testing.assert_allclose(bandwidths("silverman", weights, mesh, 4000), x.std(0) * 4000 ** (-1 / 6), rtol=1e-3)


def test_deviation_loses_the_binning_variance():
    """The deviation of counts on a coarse mesh is that of the particles, not of their spread-out shares."""
    x = np.random.default_rng(3).normal(size=(20_000, 1))
    mesh = Mesh.around(x.min(0), x.max(0), 0.5)
    weights = linear_counts(x, mesh)
    assert standard_deviations(weights, mesh)[0] == pytest.approx(x.std(), rel=1e-3)
    nodes = mesh.axes()[0]
    raw = math.sqrt(weights @ (nodes - weights @ nodes / 20_000) ** 2 / 20_000)
    assert raw > 1.015 * x.std()


def test_number_and_factor():
    """A number is the bandwidth of every axis; the factor multiplies numbers and rules alike."""
    x = np.random.default_rng(4).normal(size=(1000, 2))
    mesh, weights = counted(x, 2.0**-5)
    np.testing.assert_array_equal(bandwidths(0.5, weights, mesh, 1000, 0.5), [0.25, 0.25])
    np.testing.assert_allclose(
        bandwidths("scott", weights, mesh, 1000, 0.5), 0.5 * bandwidths("scott", weights, mesh, 1000)
    )


def test_rules_stop_at_the_mesh_spacing():
    """A rule that asks for less than the mesh carries gets the spacing; a number that does is refused."""
    x = np.random.default_rng(5).normal(size=(1000, 1))
    mesh, weights = counted(x, 0.5)
    assert bandwidths("scott", weights, mesh, 1000)[0] == 0.5
    with pytest.raises(InputError) as caught:
        bandwidths(0.4, weights, mesh, 1000)
    assert str(caught.value) == (
        "`density.bandwidth` (times bandwidth_factor) must be finite and at least the spacing 0.5 of the force mesh; "
        "got 0.4; give a larger density.bandwidth or a smaller force.spacing"
    )


def direct_plug_in(t, cosines, particles, stages=7):
    """Return xi gamma^[7](t) of Botev, Grotowski and Kroese, loops over modes, double factorials spelt out."""

    def norm(s, pilot):
        total = 0.0
        for k, c in enumerate(cosines, start=1):
            total += (k * math.pi) ** (2 * s) * c * c / 2.0 * math.exp(-((k * math.pi) ** 2) * pilot)
        return total

    squared = norm(stages, t)
    for s in range(stages - 1, 1, -1):
        double_factorial = math.factorial(2 * s) / (2**s * math.factorial(s))
        time = ((1 + 2 ** -(s + 0.5)) / 3 * double_factorial / (particles * math.sqrt(math.pi / 2) * squared)) ** (
            2 / (3 + 2 * s)
        )
        squared = norm(s, time)
    return (2 * particles * math.sqrt(math.pi) * squared) ** (-2 / 5)


@pytest.mark.parametrize("t", [1e-5, 1e-4, 1e-3])
def test_plug_in_is_the_published_recursion(t):
    """The vectorised recursion, with its negligible modes left out, is the one written out mode by mode."""
    cosines = np.random.default_rng(6).normal(size=200) * np.exp(-0.02 * np.arange(200)) * 0.5
    wave = (math.pi * np.arange(1.0, 201.0)) ** 2
    assert _plug_in(t, wave, cosines**2 / 2, 1000) == pytest.approx(direct_plug_in(t, cosines, 1000), rel=1e-10)


def test_isj_of_a_normal_is_the_optimum():
    """For normal data the optimal bandwidth is std (4 / (3 N))**(1/5); the rule finds it within 3 per cent at 1e5."""
    x = np.random.default_rng(7).normal(size=(100_000, 1))
    mesh, weights = counted(x, 2.0**-7)
    assert bandwidths("isj", weights, mesh, 100_000)[0] == pytest.approx((4 / 3e5) ** 0.2, rel=0.03)


def test_isj_of_a_mixture_is_the_optimum():
    """For two modes it finds (2 sqrt(pi) N |f''|**2)**(-1/5), where Scott's rule is more than three times as wide."""

    def curvature(x):
        parts = [(2.0, 0.5), (-3.0, 1.0)]
        return sum(
            0.5 * math.exp(-0.5 * ((x - m) / s) ** 2) * (((x - m) / s) ** 2 - 1) / (s**3 * math.sqrt(2 * math.pi))
            for m, s in parts
        )

    norm = quad(lambda x: curvature(x) ** 2, -9, 6, limit=200)[0]
    optimum = (2 * math.sqrt(math.pi) * 200_000 * norm) ** -0.2
    rng = np.random.default_rng(8)
    first = rng.random(200_000) < 0.5
    x = np.where(first, 2 + 0.5 * rng.normal(size=200_000), -3 + rng.normal(size=200_000))[:, None]
    mesh, weights = counted(x, 2.0**-7)
    assert bandwidths("isj", weights, mesh, 200_000)[0] == pytest.approx(optimum, rel=0.05)
    assert bandwidths("scott", weights, mesh, 200_000)[0] > 3 * optimum


def test_isj_does_not_depend_on_the_mesh():
    """A mesh four times finer, and one with twice the empty room, change the bandwidth by less than two per cent."""
    x = np.random.default_rng(9).normal(size=(20_000, 1))
    found = []
    for lower, nodes, spacing in [(-5, 10, 2.0**-5), (-5, 10, 2.0**-7), (-10, 20, 2.0**-5)]:
        mesh = Mesh(spacing, (round(lower / spacing),), (round(nodes / spacing) + 1,))
        found.append(improved_sheather_jones(bin_positions(x, mesh)[1] / 2**16, spacing, 20_000))
    np.testing.assert_allclose(found, found[0], rtol=0.02)


def test_isj_of_a_point_mass_stops_at_the_mesh():
    """Particles narrower than a cell give the mesh spacing."""
    mesh = Mesh(0.25, (-8,), (17,))
    assert improved_sheather_jones(linear_counts(np.zeros((1000, 1)), mesh), 0.25, 1000) == 0.25


def test_wrong_rules_are_refused():
    """Unknown names, isj in the plane, too few particles for isj and a factor of zero are refused by key."""
    mesh, weights = Mesh(1.0, (0, 0), (4, 4)), np.ones((4, 4))
    with pytest.raises(InputError) as caught:
        bandwidths("scot", weights, mesh, 16)
    assert str(caught.value) == (
        "`density.bandwidth` must be one of scott, silverman, isj, self_consistent or a number; got 'scot'; use scott"
    )
    with pytest.raises(InputError, match=r"`density\.bandwidth` isj is for one dimension; got 2 dimensions; use scott"):
        bandwidths("isj", weights, mesh, 16)
    with pytest.raises(InputError, match=r"`density\.bandwidth_factor` must be a positive number; got 0"):
        bandwidths("scott", weights, mesh, 16, 0.0)
    with pytest.raises(InputError, match="isj finds no bandwidth for these particles; got 2 of them; use scott or a n"):
        improved_sheather_jones(np.array([1.0, 0.0, 0.0, 1.0]), 1.0, 2)
