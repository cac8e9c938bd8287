"""Convolutions on the mesh: the transform axis by axis against one n-dimensional transform, to the last bit."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.fft

from ipsdist.model.mesh import Mesh
from ipsdist.numerics.convolution import convolve, force_spectra, force_table, forward, padded_lengths, spectrum, trim

SHAPES = [(37,), (31, 18), (9, 14, 12)]


def case(shape):
    """Return a mesh, weights on it and the spectra of phi = 3 r^2."""
    mesh = Mesh(0.125, tuple(-n // 2 for n in shape), shape)
    return mesh, np.random.default_rng(1).random(shape), force_spectra(mesh, lambda r: 3 * r**2)


@pytest.mark.parametrize("shape", SHAPES)
def test_transforms_axis_by_axis_keep_the_bits(shape):
    """Leaving out rows of zeros and borders that are cut off changes no bit of the forward and inverse transforms."""
    mesh, weights, spectra = case(shape)
    lengths, axes = padded_lengths(mesh), tuple(range(-len(shape), 0))
    whole = scipy.fft.rfftn(weights, lengths)
    assert np.array_equal(forward(weights, mesh), whole)
    inverse = scipy.fft.irfftn(spectra * whole, lengths, axes=axes)
    nodes = tuple(slice(0, n) for n in shape)
    assert np.array_equal(convolve(spectra, weights, mesh), inverse[(..., *nodes)])


@pytest.mark.parametrize("shape", SHAPES)
def test_tables_may_be_stacked(shape):
    """Spectra of several terms give the product of each; weights and spectra are left as they were."""
    mesh, weights, spectra = case(shape)
    before = spectra.copy(), weights.copy()
    stacked = np.stack([spectra, -2 * spectra])
    both = convolve(stacked, weights, mesh)
    assert both.shape == (2, len(shape), *shape)
    assert np.array_equal(both[0], convolve(spectra, weights, mesh))
    assert np.array_equal(both[1], -2 * both[0])
    assert np.array_equal(spectra, before[0])
    assert np.array_equal(weights, before[1])


@pytest.mark.parametrize("shape", SHAPES)
def test_convolution_is_the_sum_over_nodes(shape):
    """One weight at a node brings the table itself, seen from there (to rounding): nothing wraps around."""
    mesh = Mesh(0.25, (0,) * len(shape), shape)
    weights = np.zeros(shape)
    weights[(1,) * len(shape)] = 1.0
    table = force_table(mesh, np.exp)
    spectra = np.stack([spectrum(trim(t, mesh), mesh) for t in table])
    seen = tuple(slice(n - 2, 2 * n - 2) for n in shape)
    expected = np.stack([trim(t, mesh)[seen] for t in table])
    assert np.allclose(convolve(spectra, weights, mesh), expected, rtol=0, atol=1e-9 * np.abs(expected).max())
