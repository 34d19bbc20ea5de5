"""Quantiles and medians, with and without NaN, against NumPy; what they send."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import heat_array_api as xp
from heat_array_api._core.layout import Layout
from layouts import assert_equal, layouts, make

SHAPE = (7, 3, 4)
AXES = (None, 0, -1, (0, 2), (2, 0, 1), ())
RNG = np.random.default_rng(0)
VALUES = np.round(RNG.standard_normal(SHAPE), 1)
HOLES = np.where(RNG.random(SHAPE) < 0.3, np.nan, VALUES)
HOLES[:, 0, 0] = np.nan
METHODS = (
    "linear",
    "lower",
    "higher",
    "midpoint",
    "nearest",
    "interpolated_inverted_cdf",
    "hazen",
    "weibull",
    "median_unbiased",
    "normal_unbiased",
)


def numpys(func, *args, **options):
    """Call a function of NumPy's, which warns of rows of NaN."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return np.asarray(getattr(np, func)(*args, **options))


MATRIX = [[0.5, 0.1], [0.9, 0.7]]


@pytest.mark.parametrize(
    ("func", "q"),
    [
        ("quantile", 0.3),
        ("quantile", (0.0, 0.25, 1.0)),
        ("quantile", MATRIX),  # nanquantile of NumPy 2.4 puts the axes of a matrix elsewhere
        ("nanquantile", 0.3),
        ("nanquantile", (0.0, 0.25, 1.0)),
    ],
)
def test_quantiles(func, q):
    values = VALUES if func == "quantile" else HOLES
    for layout in layouts(SHAPE, few=True):
        x = make(values, layout)
        for axis in AXES:
            for keepdims in (False, True):
                expected = numpys(func, values, q, axis=axis, keepdims=keepdims)
                assert_equal(getattr(xp, func)(x, q, axis, keepdims=keepdims), expected)


@pytest.mark.parametrize("method", METHODS)
def test_methods(method):
    q = np.linspace(0.0, 1.0, 11)
    for func, values in (("quantile", VALUES[:, 0]), ("nanquantile", HOLES[:, :, 1])):
        for layout in layouts(values.shape):
            x = make(values, layout)
            for axis in (0, 1):
                expected = numpys(func, values, q, axis=axis, method=method)
                assert_equal(getattr(xp, func)(x, q, axis, method=method), expected)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("method", ["lower", "higher", "nearest"])
def test_picked_elements_keep_their_dtype(method, dtype):
    values = np.asarray([3.5, 1.25, 2.0, 8.0, -1.0], dtype=dtype)
    for layout in layouts(values.shape, few=True):
        for func in ("quantile", "nanquantile"):
            for q in (0.3, [0.1, 0.9], np.asarray(0.3), xp.asarray([0.1, 0.9])):
                expected = getattr(np, func)(values, np.asarray(q), method=method)
                assert expected.dtype == dtype
                assert_equal(getattr(xp, func)(make(values, layout), q, method=method), expected)


def test_nan_is_the_quantile_of_what_has_nan():
    for layout in layouts(SHAPE, few=True):
        x = make(HOLES, layout)
        assert_equal(xp.quantile(x, 0.5, axis=0), numpys("quantile", HOLES, 0.5, axis=0))
        assert_equal(xp.median(x, axis=(0, 1)), numpys("median", HOLES, axis=(0, 1)))


@pytest.mark.parametrize("dtype", ["float16", "float32", "int16", "uint64", "bool"])
def test_dtypes(dtype):
    values = (4 * VALUES > 1) if dtype == "bool" else np.abs(10 * VALUES).astype(dtype)
    as_numpy = values.astype(np.float64) if dtype == "bool" else values
    for layout in layouts(SHAPE, few=True):
        x = make(values, layout)
        for q in (0.4, np.asarray([0.2, 0.9])):
            expected = np.quantile(as_numpy, q, axis=0)
            assert_equal(xp.quantile(x, q, axis=0), expected, rtol=2e-3)
            assert_equal(xp.nanquantile(x, q, axis=0), expected, rtol=2e-3)
        assert_equal(xp.nanmedian(x, axis=(0, 1)), np.nanmedian(as_numpy, axis=(0, 1)), rtol=2e-3)


def test_infinities():
    """Of equal infinities no difference is taken."""
    values = np.asarray([-np.inf, -np.inf, 1.0, np.inf, np.inf])
    for layout in layouts(values.shape):
        x = make(values, layout)
        found = xp.quantile(x, [0.0, 0.1, 0.5, 0.9, 1.0])
        assert_equal(found, np.asarray([-np.inf, -np.inf, 1.0, np.inf, np.inf]))
        assert_equal(xp.nanmedian(x[3:]), np.asarray(np.inf))


@pytest.mark.parametrize("shape", [(0,), (0, 3), (3, 0)])
def test_quantiles_of_nothing(shape):
    for layout in layouts(shape, few=True):
        x = make(np.zeros(shape), layout)
        for axis in range(len(shape)):
            rest = shape[:axis] + shape[axis + 1 :]
            for func in (xp.quantile, xp.nanquantile):
                assert_equal(func(x, [0.1, 0.5], axis=axis), np.full((2, *rest), np.nan))
            assert_equal(xp.nanmedian(x, axis=axis), np.full(rest, np.nan))


def test_medians_over_several_axes():
    for layout in layouts(SHAPE, few=True):
        x, y = make(VALUES, layout), make(HOLES, layout)
        for axis in (*AXES, 1):
            for keepdims in (False, True):
                options = {"axis": axis, "keepdims": keepdims}
                # NumPy has no median over no axes.
                expected = VALUES if axis == () else np.median(VALUES, **options)
                assert_equal(xp.median(x, **options), expected)
                expected = HOLES if axis == () else numpys("nanmedian", HOLES, **options)
                assert_equal(xp.nanmedian(y, **options), expected)


def test_probabilities_may_be_arrays():
    x = xp.asarray(VALUES, split=0)
    q = np.asarray([0.1, 0.6])
    for layout in layouts(q.shape):
        assert_equal(xp.quantile(x, make(q, layout), axis=1), np.quantile(VALUES, q, axis=1))
    narrow = xp.quantile(xp.astype(x, xp.float32), xp.asarray(q, dtype=xp.float32))
    assert narrow.dtype == xp.float32


def test_quantiles_stay_where_they_are():
    n = 40 * xp.world().size
    x = xp.asarray(RNG.standard_normal((n, 8)), split=0)
    for func in (xp.quantile, xp.nanquantile):
        with xp.trace() as t:
            found = func(x, [0.1, 0.5], axis=1)
        assert t.events == []
        assert found.shape == (2, n)
        assert found.split == 1
        with xp.trace() as t:
            found = func(x, [0.1, 0.5], axis=0)
        assert t.count("allgather") == 0
        assert t.count("alltoall") <= 1
        assert found.split == (1 if xp.world().size > 1 else found.split)
    with xp.trace() as t:
        found = xp.quantile(x[:, 0], 0.5)
    assert t.gathers == []
    assert (
        max((e.result for e in t.events if e.collective == "allgather"), default=0) <= 8 * 1024 * n
    )
    assert found.split is None


def test_quantiles_along_an_uneven_split_axis(comm):
    n = 60
    counts = (n,) + (0,) * (comm.size - 1)
    values = RNG.standard_normal((n, 2))
    x = make(values, Layout.of((n, 2), 0, counts, comm))
    assert_equal(xp.quantile(x, 0.3, axis=0), np.quantile(values, 0.3, axis=0))
    assert_equal(xp.nanquantile(x, [0.3], axis=0), np.quantile(values, [0.3], axis=0))


def test_errors():
    x = xp.ones((3, 4), split=0)
    with pytest.raises(ValueError, match=r"quantile: q is 1.5; expected probabilities"):
        xp.quantile(x, 1.5)
    with pytest.raises(ValueError, match="nanquantile: q is"):
        xp.nanquantile(x, [0.1, np.nan])
    with pytest.raises(TypeError, match="q has dtype complex128"):
        xp.quantile(x, 1j)
    with pytest.raises(ValueError, match="method is 'mean'; expected 'linear', 'lower'"):
        xp.quantile(x, 0.5, method="mean")
    with pytest.raises(TypeError, match="quantile: x has dtype complex128"):
        xp.quantile(x * 1j, 0.5)
    with pytest.raises(TypeError, match="nanmedian"):
        xp.nanmedian(x * 1j)
    with pytest.raises(IndexError, match="quantile: axis"):
        xp.quantile(x, 0.5, axis=2)
    with pytest.raises(ValueError, match="median: axis"):
        xp.median(x, axis=(0, 0))


@pytest.mark.parametrize("func", ["quantile", "nanquantile"])
def test_derivatives_by_the_probability(func):
    """They once were 0. Between elements it is the slope; at one, that behind it, if it has one."""
    values = np.asarray([0.0, 10.0, 4.0, 1.0])
    for layout in layouts(values.shape, few=True):
        x = make(values, layout)
        for q, slope in [(0.0, 1), (0.1, 1), (1 / 3, 3), (0.5, 3), (0.8, 6), (1.0, 6)]:
            function = lambda q, x=x: getattr(xp, func)(x, q)  # noqa: E731
            value, gradient = xp.autograd.value_and_grad(function)(xp.asarray(q))
            assert_equal(value, getattr(np, func)(values, q))
            assert_equal(gradient, np.asarray(3.0 * slope))
        for method in ("lower", "higher", "nearest", "midpoint"):
            function = lambda q, m=method, x=x: getattr(xp, func)(x, q, method=m)  # noqa: E731
            for q in (0.0, 0.4, 1.0):
                value, gradient = xp.autograd.value_and_grad(function)(xp.asarray(q))
                assert_equal(value, getattr(np, func)(values, q, method=method))
                assert_equal(gradient, np.asarray(0.0))
    infinite = xp.asarray([-xp.inf, 1.0, 2.0, xp.inf])
    for q, expected in [(0.0, -xp.inf), (1 / 3, 1.0), (2 / 3, 2.0), (1.0, xp.inf)]:
        value = xp.autograd.value_and_grad(lambda q: getattr(xp, func)(infinite, q))(xp.asarray(q))
        assert_equal(value[0], np.asarray(expected))
