"""Sliding windows and slopes against NumPy, on every layout; what they send."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view as numpy_windows

import heat_array_api as xp
from layouts import assert_equal, assert_exact, layouts, make

SHAPE = (7, 3, 4)
VALUES = np.random.default_rng(0).standard_normal(SHAPE)
windows = xp.lib.stride_tricks.sliding_window_view
CASES = [(3, 0), (1, 0), (7, 0), (2, -1), ((2, 3), (0, 2)), ((2, 2), (0, 0)), ((2, 2, 3), None)]


@pytest.mark.parametrize("dtype", ["float64", "bool", "uint16", "complex64"])
def test_windows(dtype):
    values = (VALUES > 0) if dtype == "bool" else (10 * np.abs(VALUES)).astype(dtype)
    for layout in layouts(SHAPE):
        x = make(values, layout)
        for length, axis in CASES:
            found = windows(x, length, axis=axis)
            assert_exact(found, numpy_windows(values, length, axis=axis))
            assert found.split == x.split


def test_a_window_sends_the_rows_that_it_reaches(comm):
    n = 100 * comm.size
    x = xp.asarray(np.arange(float(n)), split=0)
    with xp.trace() as t:
        y = windows(x, 5)
    assert t.count() == t.count("exchange") <= 1
    assert t.bytes() <= 8 * 4
    assert y.layout.counts == ((100,) * (comm.size - 1) + (96,) if comm.size > 1 else (96,))
    with xp.trace() as t:
        windows(xp.asarray(VALUES, split=0), 2, axis=1)
    assert t.events == []


def test_windows_are_values():
    """They share memory with each other, so what is written is written to a copy."""
    for layout in layouts((6,), few=True):
        x = make(np.arange(6.0), layout)
        y = windows(x, 3)
        expected = numpy_windows(np.arange(6.0), 3).copy()
        del x
        y[1, 1] = -1.0
        expected[1, 1] = -1.0
        assert_equal(y, expected)
        z = windows(make(np.arange(6.0), layout), 3)
        z += 1.0
        assert_equal(z, numpy_windows(np.arange(6.0), 3) + 1.0)


def test_window_errors():
    x = xp.asarray(VALUES, split=0)
    for length in (0, 8, -1):
        with pytest.raises(ValueError, match=f"window_shape is {length} along axis 0 of length 7"):
            windows(x, length, axis=0)
    with pytest.raises(ValueError, match="has 2 lengths; expected 1, one for each axis"):
        windows(x, (2, 2), axis=0)
    with pytest.raises(ValueError, match="writeable is True"):
        windows(x, 2, axis=0, writeable=True)
    with pytest.raises(TypeError, match="sliding_window_view: x is ndarray"):
        windows(VALUES, 2, axis=0)


# ---------------------------------------------------------------------- slopes

PLACES = np.cumsum(np.asarray([1.0, 0.5, 2.0, 1.0, 0.25, 3.0, 1.0]))


@pytest.mark.parametrize("edge_order", [1, 2])
@pytest.mark.parametrize("steps", [(), (2.0,), (PLACES,), (np.arange(7.0) * 3,)], ids=len)
def test_gradient(steps, edge_order):
    values = VALUES.copy()
    values[3, 1, 1] = np.nan
    for layout in layouts(SHAPE):
        x = make(values, layout)
        for axis in (0, -3, (0,)):
            expected = np.gradient(values, *steps, axis=axis, edge_order=edge_order)
            expected = expected[0] if isinstance(expected, tuple | list) else expected
            assert_equal(xp.gradient(x, *steps, axis=axis, edge_order=edge_order), expected)


def test_gradient_along_several_axes():
    for layout in layouts(SHAPE, few=True):
        x = make(VALUES, layout)
        assert_equal(xp.gradient(x), tuple(np.gradient(VALUES)))
        expected = np.gradient(VALUES, 2.0, PLACES, axis=(2, 0))
        assert_equal(xp.gradient(x, 2.0, PLACES, axis=(2, 0)), tuple(expected))
        places = xp.asarray(PLACES, split=0)
        assert_equal(xp.gradient(x, places, axis=0), np.gradient(VALUES, PLACES, axis=0))


@pytest.mark.parametrize("n", [2, 3])
def test_gradient_of_few_samples(n):
    values = VALUES[:n, 0]
    for layout in layouts(values.shape):
        for order in range(1, n):
            for steps in ((), (PLACES[:n],)):
                options = {"axis": 0, "edge_order": order}
                expected = np.gradient(values, *steps, **options)
                assert_equal(xp.gradient(make(values, layout), *steps, **options), expected)


def test_gradient_of_integers():
    x = xp.asarray([1, 4, 9, 16], split=0)
    assert_equal(xp.gradient(x), np.gradient(np.asarray([1.0, 4.0, 9.0, 16.0])))


def test_gradient_errors():
    x = xp.asarray(VALUES, split=0)
    with pytest.raises(ValueError, match="axis 1 has length 1; expected at least 2"):
        xp.gradient(x[:, :1], axis=1)
    with pytest.raises(ValueError, match="edge_order is 3"):
        xp.gradient(x, edge_order=3)
    with pytest.raises(ValueError, match="2 distances for 3 axes"):
        xp.gradient(x, 1.0, 2.0)
    with pytest.raises(ValueError, match=r"places of shape \(7,\) for axis 1 of length 3"):
        xp.gradient(x, PLACES, axis=1)
