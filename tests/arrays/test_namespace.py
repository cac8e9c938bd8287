"""The functions over array libraries: NumPy's bits as before, and a device that never falls back to NumPy."""

from dataclasses import dataclass

import array_api_strict as strict
import numpy as np
import pytest
import scipy.fft

from ipsdist.arrays import namespace as arrays

DEVICE = strict.Device("device1")


def on_device(values):
    return strict.asarray(values, device=DEVICE)


def numbers(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def test_stand_in_refuses_numpy():
    """What these tests lean on: an array of the stand-in's device does not turn into one of NumPy by itself."""
    x = on_device(numbers(3))
    for fall_back in (lambda: np.asarray(x), lambda: np.sum(x), lambda: x * np.ones(3), lambda: x + strict.ones(3)):
        with pytest.raises((RuntimeError, TypeError, ValueError)):
            fall_back()


def test_numpy_is_numpy():
    """Arrays of the host are handed to numpy itself and are moved nowhere."""
    x = numbers(4)
    assert arrays.namespace(x) is np
    assert arrays.like(x, np.zeros(2)) is x
    assert arrays.host(x) is x


def test_there_and_back():
    """`like` takes values to the device of another array, `host` brings them back, with shape, type and bits."""
    for values in (numbers(2, 3), np.arange(5), numbers(4) + 1j):
        there = arrays.like(values, on_device(np.zeros(1)))
        assert there.device == DEVICE
        back = arrays.host(there)
        assert isinstance(back, np.ndarray)
        assert back.dtype == values.dtype
        np.testing.assert_array_equal(back, values)


@pytest.mark.parametrize("power", [-16, -32, 3])
def test_scaling_by_a_power_of_two_is_division(power):
    """Integers times 2**-k have the bits of the quotient by 2**k, here and there, also where float64 rounds them."""
    integers = np.array([0, 1, -7, 2**40 + 3, 2**62 + 1, -(2**62) - 513])
    want = integers / 2.0**-power
    np.testing.assert_array_equal(arrays.scaled(integers, 2.0**power), want)
    np.testing.assert_array_equal(arrays.host(arrays.scaled(on_device(integers), 2.0**power)), want)


@pytest.mark.parametrize("shape", [(7,), (3, 6), (2, 4, 5), (2, 3, 4, 5)])
def test_transforms_are_those_of_scipy(shape):
    """Padded real transforms over the last axes and back: SciPy's bits for NumPy, the same numbers on a device."""
    values = numbers(*shape)
    for d in range(1, len(shape) + 1):
        lengths, axes = [n + 5 for n in shape[-d:]], range(-d, 0)
        want = scipy.fft.rfftn(values, lengths, axes=axes)
        np.testing.assert_array_equal(arrays.rfftn(values, lengths), want)
        for norm in ("backward", "forward"):
            inverse = scipy.fft.irfftn(want, lengths, axes=axes, norm=norm)
            np.testing.assert_array_equal(arrays.irfftn(want, lengths, norm), inverse)
        there = arrays.rfftn(on_device(values), lengths)
        np.testing.assert_allclose(arrays.host(there), want, atol=1e-13)
        back = arrays.host(arrays.irfftn(there, lengths))[tuple(slice(0, n) for n in values.shape)]
        np.testing.assert_allclose(back, values, atol=1e-13)


@pytest.mark.parametrize("lead", [(), (4,)])
@pytest.mark.parametrize("columns", [3, 40], ids=["short rows", "more columns than a row is long"])
def test_contracted_sums_over_parts_and_rows(lead, columns):
    """A product of few rows with long ones: einsum is the reference; on the host the bits are those of one product."""
    a, b = numbers(*lead, 5, 6, 20, seed=1), numbers(*lead, columns, 6, 20, seed=2)
    want = np.einsum("...apk,...bpk->...ab", a, b)
    here = arrays.contracted(a, b)
    flat = a.reshape(*lead, 5, -1), b.reshape(*lead, columns, -1)
    np.testing.assert_array_equal(here, flat[0] @ flat[1].swapaxes(-1, -2))
    np.testing.assert_allclose(here, want, atol=1e-12)
    there = arrays.contracted(on_device(a), on_device(b))
    assert there.device == DEVICE
    np.testing.assert_allclose(arrays.host(there), want, atol=1e-12)


def test_zeros_are_of_the_kind_of_another():
    """Shape as asked; library, device and type of the other array."""
    for dtype in (np.int64, np.float64):
        there = arrays.zeros((2, 3), on_device(np.ones(4, dtype)))
        assert there.device == DEVICE
        np.testing.assert_array_equal(arrays.host(there), np.zeros((2, 3), dtype), strict=True)
        np.testing.assert_array_equal(arrays.zeros((2,), np.ones(4, dtype)), np.zeros(2, dtype), strict=True)


def test_batches_cover_all_once(monkeypatch):
    """Groups follow each other, none larger than allowed, but one thing at least each."""
    monkeypatch.setattr(arrays, "_BATCH", 1000)
    assert [(b.start, b.stop) for b in arrays.batches(7, 300)] == [(0, 3), (3, 6), (6, 7)]
    assert [(b.start, b.stop) for b in arrays.batches(2, 10**6)] == [(0, 1), (1, 2)]
    assert list(arrays.batches(0, 1)) == []


@dataclass(frozen=True)
class Tables:
    """Arrays, some of which go to the device."""

    small: np.ndarray
    large: np.ndarray
    several: tuple[np.ndarray, ...]
    missing: np.ndarray | None


def test_tables_are_moved_once():
    """Named fields lie on the device, the others stay; asked again, the same arrays are there; NumPy gets itself."""
    tables, names = Tables(numbers(2), numbers(9), (numbers(3), numbers(4)), None), ("large", "several", "missing")
    there = arrays.moved(tables, names, on_device(np.zeros(1)))
    assert there is arrays.moved(tables, names, on_device(np.ones(5)))
    assert there.small is tables.small
    assert there.missing is None
    assert {x.device for x in (there.large, *there.several)} == {DEVICE}
    np.testing.assert_array_equal(arrays.host(there.several[1]), tables.several[1])
    other = arrays.moved(tables, names, strict.asarray(np.zeros(1), device=strict.Device("device2")))
    assert other.large.device != DEVICE
    assert arrays.moved(tables, names, np.zeros(1)) is tables
