"""The CUDA text of initial positions against NumPy, bit for bit."""

import numpy as np
import pytest

from ipsdist.model.system import Mixture, Uniform
from ipsdist.numerics.particles.initial import sample
from ipsdist.numerics.particles.noise import INITIAL_NORMALS, INITIAL_UNIFORMS, NORMAL_TABLE, seed_words, stream_of
from tests.host_device import COMPILER
from tests.numerics.device.cuda_launches import DTYPES, Particles

pytestmark = pytest.mark.skipif(COMPILER is None, reason="no g++ to compile CUDA text for the host")
cases = pytest.mark.parametrize(("dimension", "real"), [(d, real) for d in (1, 2, 3) for real in DTYPES])
SEED, REPLICA = 0x123456789ABCDEF, 5


@cases
@pytest.mark.parametrize("first", [0, 4, 7, 2**34 + 3])
def test_mixture(dimension, real, first):
    """Positions of any particles of a mixture are those of NumPy, rounded once."""
    weights = (0.2, 0.5, 0.3)
    law = Mixture(weights, tuple((float(k),) * dimension for k in (-3, 1, 8)), (0.5, 2.0, 0.1))
    expected = sample(law, dimension, SEED, REPLICA, first, 205).astype(DTYPES[real])
    edges = np.cumsum(weights) / np.sum(weights)
    x = np.empty((205, dimension), DTYPES[real])
    low, high = (np.uint32(word) for word in seed_words(SEED))
    streams = [np.uint32(stream_of(REPLICA, use)) for use in (INITIAL_NORMALS, INITIAL_UNIFORMS)]
    Particles(dimension, real, threads=2).launch(
        "draw_mixture", x, np.uint64(205), np.uint64(first), NORMAL_TABLE.copy(), *streams, low, high, edges,
        np.array(law.means), np.sqrt(law.variances), np.uint32(3),
    )  # fmt: skip
    assert np.array_equal(x, expected)
    assert len({round(float(v)) for v in x[:, 0]}) > 5


@cases
@pytest.mark.parametrize("first", [0, 6, 2**35 + 1])
def test_uniform(dimension, real, first):
    """Positions in a box are those of NumPy, rounded once."""
    law = Uniform((-1.5,) * dimension, (0.1, 7.3, 2.0)[:dimension])
    expected = sample(law, dimension, SEED, REPLICA, first, 103).astype(DTYPES[real])
    x = np.empty((103, dimension), DTYPES[real])
    low, high = (np.uint32(word) for word in seed_words(SEED))
    lower, upper = np.array(law.lower), np.array(law.upper)
    stream = np.uint32(stream_of(REPLICA, INITIAL_UNIFORMS))
    Particles(dimension, real).launch(
        "draw_uniform", x, np.uint64(103), np.uint64(first), stream, low, high, lower, upper - lower
    )
    assert np.array_equal(x, expected)
