"""argmax, argmin, count_nonzero, nonzero, where, searchsorted, bincount against NumPy."""

from __future__ import annotations

import hypothesis.extra.numpy as hnp
import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import heat_array_api as xp
from heat_array_api._core.layout import Layout
from layouts import assert_consistent, assert_exact, divide, layouts, make

INTEGERS = ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]
FLOATS = ["float16", "float32", "float64"]
COMPLEX = ["complex64", "complex128"]
REAL = ["bool", *INTEGERS, *FLOATS]
SHAPES = [(1,), (13,), (4, 5), (2, 3, 5)]


def values_of(shape, dtype, seed=0):
    """Return few distinct values: many ties, and zeros."""
    rng = np.random.default_rng(seed)
    dtype = np.dtype(dtype)
    values = rng.integers(-2, 3, shape)
    if dtype.kind == "u":
        return (values.astype(dtype) + dtype.type(np.iinfo(dtype).max // 2)).astype(dtype)
    return values.astype(dtype)


def layout_of(shape, split, weights, comm):
    """Return a layout with counts by weight."""
    weights = weights if any(weights) else [1] * comm.size
    return Layout.of(shape, split, divide(shape[split], weights), comm)


# ---------------------------------------------------------------- extremes


@pytest.mark.parametrize("name", ["argmax", "argmin"])
@pytest.mark.parametrize("dtype", REAL)
def test_arg_extremes_dtypes(name, dtype):
    values = values_of((3, 7), dtype)
    for layout in layouts(values.shape, few=True):
        x = make(values, layout)
        for axis in (None, 0, 1):
            result = getattr(xp, name)(x, axis=axis)
            assert_exact(result, np.asarray(getattr(np, name)(values, axis=axis)), dtype=np.int64)


@pytest.mark.parametrize("name", ["argmax", "argmin"])
@pytest.mark.parametrize("shape", SHAPES)
def test_arg_extremes_layouts(name, shape):
    values = values_of(shape, "float32", seed=1)
    for layout in layouts(shape):
        x = make(values, layout)
        for axis in (None, *range(-1, len(shape) - 1)):
            result = getattr(xp, name)(x, axis=axis, keepdims=axis == 0)
            expected = getattr(np, name)(values, axis=axis, keepdims=axis == 0)
            assert_exact(result, np.asarray(expected))


@pytest.mark.parametrize("name", ["argmax", "argmin"])
def test_arg_extremes_special(name):
    function, reference = getattr(xp, name), getattr(np, name)
    nan = np.array([[1.0, np.nan, 3], [np.nan, 7, -8], [2, np.nan, np.inf], [0, 1, -np.inf]])
    infinite = np.full((5, 3), -np.inf if name == "argmax" else np.inf)
    low = np.full((5, 2), np.iinfo(np.int64).min if name == "argmax" else np.iinfo(np.int64).max)
    for values in (nan, infinite, low, np.zeros((6, 2)), np.where(np.eye(4), -0.0, 0.0)):
        for layout in layouts(values.shape, few=values.dtype.kind == "i"):
            x = make(values, layout)
            results = tuple(function(x, axis=axis) for axis in (None, 0, 1))
            assert_exact(results, [reference(values, axis=axis) for axis in (None, 0, 1)])


def test_arg_extremes_of_a_wide_array_are_split(comm):
    values = values_of((2, 40), "int32")
    for layout in layouts(values.shape):
        result = xp.argmax(make(values, layout), axis=0)
        assert_exact(result, np.argmax(values, axis=0))
        if layout.split == 0 and comm.size > 2:
            assert result.split == 0


def test_arg_extremes_bfloat16():
    values = values_of((9,), "float32").astype(ml_dtypes.bfloat16)
    for layout in layouts(values.shape, few=True):
        x = make(values, layout)
        assert_exact(xp.argmax(x), np.asarray(np.argmax(values.astype(np.float32))))
        assert_exact(xp.argmin(x, axis=0), np.asarray(np.argmin(values.astype(np.float32))))


def test_arg_extremes_errors():
    for function in (xp.argmax, xp.argmin):
        for layout in layouts((0, 3), few=True):
            x = make(np.zeros((0, 3)), layout)
            with pytest.raises(ValueError, match="no elements"):
                function(x)
            with pytest.raises(ValueError, match="no elements"):
                function(x, axis=0)
            assert_exact(function(x, axis=1), np.zeros(0, dtype=np.int64))
        with pytest.raises(IndexError, match="axis"):
            function(x, axis=2)
        with pytest.raises(TypeError, match="complex"):
            function(make(np.ones(3, dtype=np.complex64), None))
        assert_exact(function(make(np.float32(3), None)), np.asarray(0))


def test_arg_extremes_messages(comm):
    x = make(values_of((40, 3), "float64"), Layout.balanced((40, 3), 0, comm))
    with xp.trace() as trace:
        xp.argmax(x)
    assert trace.collectives == (["allreduce"] * 2 if comm.size > 1 else [])
    assert trace.bytes() == (16 if comm.size > 1 else 0)
    with xp.trace() as trace:
        xp.argmax(x, axis=1)
    assert trace.events == []


# ---------------------------------------------------------------- nonzero


@pytest.mark.parametrize("dtype", [*REAL, *COMPLEX])
def test_nonzero_dtypes(dtype):
    values = np.random.default_rng(0).integers(0, 2, (4, 5)).astype(dtype)
    if values.dtype.kind in "fc":
        values[0, 0], values[1, 1] = np.nan, -0.0
    for layout in layouts(values.shape, few=True):
        x = make(values, layout)
        assert_exact(xp.nonzero(x), np.nonzero(values))
        assert_exact(xp.count_nonzero(x), np.asarray(np.count_nonzero(values)))
        assert_exact(xp.count_nonzero(x, axis=0), np.count_nonzero(values, axis=0))


@pytest.mark.parametrize("shape", [*SHAPES, (0,), (0, 3), (3, 0)])
def test_nonzero_layouts(shape, comm):
    values = values_of(shape, "int32", seed=2)
    for layout in layouts(shape):
        x = make(values, layout)
        found = xp.nonzero(x)
        assert_exact(found, np.nonzero(values))
        assert all(index.split == (None if layout.split is None else 0) for index in found)
        axes = (None, *range(len(shape)), (0, -1)[: len(shape)])
        results = tuple(xp.count_nonzero(x, axis=axis, keepdims=axis == 0) for axis in axes)
        expected = [np.count_nonzero(values, axis=axis, keepdims=axis == 0) for axis in axes]
        assert_exact(results, expected)


def test_nonzero_messages(comm):
    x = make(values_of((40, 3), "float64"), Layout.balanced((40, 3), 0, comm))
    with xp.trace() as trace:
        xp.nonzero(x)
    assert trace.collectives == (["allgather_ints"] if comm.size > 1 else [])


def test_nonzero_errors():
    with pytest.raises(ValueError, match="0-d"):
        xp.nonzero(make(np.float64(1), None))


# ---------------------------------------------------------------- where


@pytest.mark.parametrize("dtype", [*REAL, *COMPLEX])
def test_where_dtypes(dtype, comm):
    condition = values_of((4, 5), "bool")
    first, second = values_of((4, 5), dtype, 1), values_of((4, 5), dtype, 2)
    for layout in layouts((4, 5), few=True):
        result = xp.where(make(condition, layout), make(first, layout), make(second, layout))
        assert result.layout == layout
        assert_exact(result, np.where(condition, first, second))


def test_where_layouts():
    """Every pair of layouts of condition and x1; x2 broadcasts, and promotes."""
    condition = values_of((6, 3), "bool")
    first, second = values_of((6, 3), "int16", 1), values_of((3,), "float32", 2)
    for one in layouts((6, 3), few=True):
        for other in layouts((6, 3), few=True):
            result = xp.where(make(condition, one), make(first, other), make(second, None))
            assert_exact(result, np.where(condition, first, second))
    for layout in layouts((3,), few=True):
        result = xp.where(make(condition, one), make(first, one), make(second, layout))
        assert_exact(result, np.where(condition, first, second))


def test_where_scalars():
    condition = values_of((6,), "bool")
    numbers = values_of((6,), "float32", 1)
    small = values_of((6,), "uint8", 2)
    for layout in layouts((6,), few=True):
        c, x, y = make(condition, layout), make(numbers, layout), make(small, layout)
        assert_exact(xp.where(c, x, 1), np.where(condition, numbers, np.float32(1)))
        assert_exact(xp.where(c, 0.5, x), np.where(condition, np.float32(0.5), numbers))
        assert_exact(xp.where(c, y, 3), np.where(condition, small, np.uint8(3)))
        assert_exact(xp.where(c, 1.0, 0.0), np.where(condition, 1.0, 0.0))
        assert_exact(xp.where(c, 1, 0), np.where(condition, 1, 0))
        assert_exact(xp.where(c, True, False), condition)
        assert_exact(xp.where(c), np.nonzero(condition))


def test_where_errors():
    x = make(np.ones(3), None)
    with pytest.raises(TypeError, match="condition"):
        xp.where(x, x, x)
    with pytest.raises(TypeError, match="only one"):
        xp.where(x > 0, x)
    with pytest.raises(ValueError, match="broadcast"):
        xp.where(x > 0, x, make(np.ones(2), None))


# ---------------------------------------------------------------- searchsorted


@pytest.mark.parametrize("dtype", [*REAL, *COMPLEX])
def test_searchsorted_dtypes(dtype):
    ordered, queries = np.sort(values_of((20,), dtype)), values_of((30,), dtype, 1)
    for one in layouts((20,), few=True):
        for other in layouts((30,), few=True):
            for side in ("left", "right"):
                result = xp.searchsorted(make(ordered, one), make(queries, other), side=side)
                assert_exact(result, np.searchsorted(ordered, queries, side=side))
                assert result.split == other.split


@pytest.mark.parametrize(
    ("n", "shape"), [(40, (37,)), (500, (4, 3)), (4, (200,)), (0, (6,)), (9, (0,))]
)
def test_searchsorted_layouts(n, shape):
    rng = np.random.default_rng(0)
    ordered = np.sort(np.round(rng.normal(size=n), 1))
    ordered[n - n // 10 :] = np.nan
    queries = np.round(rng.normal(size=shape), 1)
    queries.reshape(-1)[: queries.size // 5] = np.nan
    for one in layouts((n,)):
        for other in layouts(shape, few=True):
            for side in ("left", "right"):
                result = xp.searchsorted(make(ordered, one), make(queries, other), side=side)
                assert_exact(result, np.searchsorted(ordered, queries, side=side))
                assert result.layout.counts == other.counts


def test_searchsorted_one_owner(comm):
    """All queries fall into one rank's shard: the shards go round instead."""
    n = 4000
    ordered, queries = np.arange(float(n)), np.full(n, 3.5)
    queries[-1] = n
    layout = Layout.balanced((n,), 0, comm)
    with xp.trace() as trace:
        result = xp.searchsorted(make(ordered, layout), make(queries, layout))
    assert_exact(result, np.searchsorted(ordered, queries))
    if comm.size > 4:
        assert trace.count("sendrecv") == comm.size - 1
    assert trace.count("allgather") == (1 if comm.size > 1 else 0)


def test_searchsorted_ring(comm, monkeypatch):
    from heat_array_api._searching import _Queries

    monkeypatch.setattr(_Queries, "_routed", _Queries._round_the_ring)
    ordered, queries = np.sort(values_of((31,), "float32")), values_of((29,), "float32", 1)
    for layout in layouts((31,)):
        other = Layout.balanced((29,), 0, comm)
        result = xp.searchsorted(make(ordered, layout), make(queries, other), side="right")
        assert_exact(result, np.searchsorted(ordered, queries, side="right"))


def test_searchsorted_is_exact_for_any_two_integer_dtypes():
    big = 2**53
    signed = np.array([-(2**63), -1, 0, 5, big, big + 1, 2**63 - 1])
    unsigned = np.array([0, 5, big, big + 1, 2**63 - 1, 2**63, 2**64 - 1], dtype=np.uint64)
    for ordered, queries in ((signed, unsigned), (unsigned, signed)):
        numbers = [int(v) for v in ordered]
        expected = {
            "left": [sum(v < int(q) for v in numbers) for q in queries],
            "right": [sum(v <= int(q) for v in numbers) for q in queries],
        }
        for layout in layouts((7,), few=True):
            x1, x2 = make(ordered, layout), make(queries, layout)
            for side, places in expected.items():
                assert_exact(xp.searchsorted(x1, x2, side=side), np.array(places))


def test_searchsorted_sorter_and_scalars(comm):
    values = values_of((20,), "float64")
    order = np.argsort(values, kind="stable")
    queries = values_of((5,), "float32", 1)
    for layout in layouts((20,), few=True):
        x1 = make(values, layout)
        result = xp.searchsorted(x1, make(queries, None), sorter=make(order, layout))
        assert_exact(result, np.searchsorted(values, queries, sorter=order))
        ordered = xp.sort(x1)
        assert_exact(xp.searchsorted(ordered, 0.5), np.searchsorted(values[order], 0.5))
        assert_exact(xp.searchsorted(ordered, 0, side="right"), np.sum(values <= 0))


def test_searchsorted_errors():
    x = make(np.arange(3.0), None)
    with pytest.raises(ValueError, match="side"):
        xp.searchsorted(x, x, side="middle")
    with pytest.raises(ValueError, match="one axis"):
        xp.searchsorted(make(np.ones((2, 2)), None), x)
    with pytest.raises(ValueError, match="sorter"):
        xp.searchsorted(x, x, sorter=make(np.arange(2), None))


def test_searchsorted_messages(comm):
    n = 4000
    ordered = np.arange(float(n))
    queries = np.random.default_rng(0).permutation(ordered)
    layout = Layout.balanced((n,), 0, comm)
    split, whole = make(ordered, layout), make(ordered, None)
    with xp.trace() as trace:
        xp.searchsorted(whole, make(queries, layout))
    assert trace.bytes() == 0
    x2 = make(queries[:10], None)
    with xp.trace() as trace:
        xp.searchsorted(split, x2)
    assert trace.collectives == (["allreduce"] if comm.size > 1 else [])
    x2 = make(queries, layout)
    with xp.trace() as trace:
        xp.searchsorted(split, x2)
    assert trace.bytes("alltoall") <= 2 * x2.local.nbytes + 8 * comm.size
    assert trace.bytes() - trace.bytes("alltoall") <= 100


# ---------------------------------------------------------------- bincount


@pytest.mark.parametrize("dtype", ["bool", *INTEGERS])
def test_bincount(dtype):
    values = np.random.default_rng(0).integers(0, 2 if dtype == "bool" else 9, 50).astype(dtype)
    weights = values_of((50,), "float32")
    for layout in layouts((50,), few=dtype != "int64"):
        x = make(values, layout)
        assert_exact(xp.bincount(x), np.bincount(values.astype(np.int64)))
        assert_exact(
            xp.bincount(x, minlength=20), np.bincount(values.astype(np.int64), minlength=20)
        )
        for other in layouts((50,), few=True):
            result = xp.bincount(x, weights=make(weights, other))
            assert_exact(result, np.bincount(values.astype(np.int64), weights), rtol=1e-12)


def test_bincount_long_and_empty(comm):
    values = np.array([5000, 3, 3, 70])
    for layout in layouts((4,), few=True):
        result = xp.bincount(make(values, layout))
        assert_exact(result, np.bincount(values))
        assert comm.size == 1 or result.split == layout.split
    for layout in layouts((0,), few=True):
        x = make(np.zeros(0, dtype=np.int32), layout)
        assert_exact(xp.bincount(x), np.zeros(0, dtype=np.int64))
        assert_exact(xp.bincount(x, minlength=3), np.zeros(3, dtype=np.int64))


def test_bincount_errors(comm):
    for layout in layouts((9,), few=True):
        x = make(np.array([1, 2, 3, 4, -5, 6, 7, 8, 9]), layout)
        with pytest.raises(ValueError, match="-5"):
            xp.bincount(x)
    with pytest.raises(ValueError, match="one axis"):
        xp.bincount(make(np.ones((2, 2), dtype=np.int64), None))
    with pytest.raises(ValueError, match="minlength"):
        xp.bincount(make(np.ones(2, dtype=np.int64), None), minlength=-1)
    with pytest.raises(ValueError, match="weights"):
        xp.bincount(make(np.ones(2, dtype=np.int64), None), make(np.ones(3), None))
    with pytest.raises(TypeError, match="integer"):
        xp.bincount(make(np.ones(2), None))


def test_bincount_messages(comm):
    x = make(np.arange(4000) % 7, Layout.balanced((4000,), 0, comm))
    with xp.trace() as trace:
        xp.bincount(x)
    assert trace.collectives == (["allreduce"] * 2 if comm.size > 1 else [])
    assert trace.bytes() <= 16 + 56


# ---------------------------------------------------------------- any shape


@given(data=st.data())
def test_any_shape(data, comm):
    dtype = data.draw(st.sampled_from(["float32", "int16", "uint64", "bool"]))
    shape = data.draw(hnp.array_shapes(max_dims=3, max_side=7))
    values = data.draw(hnp.arrays(np.dtype(dtype), shape))
    split = data.draw(st.integers(0, len(shape) - 1))
    weights = data.draw(st.lists(st.integers(0, 3), min_size=comm.size, max_size=comm.size))
    axis = data.draw(st.one_of(st.none(), st.integers(-len(shape), len(shape) - 1)))
    keepdims = data.draw(st.booleans())
    x = make(values, layout_of(shape, split, weights, comm))
    for name in ("argmax", "argmin", "count_nonzero"):
        result = getattr(xp, name)(x, axis=axis, keepdims=keepdims)
        expected = getattr(np, name)(values, axis=axis, keepdims=keepdims)
        assert_consistent(result)
        assert_exact(result, np.asarray(expected))
    assert_exact(xp.nonzero(x), np.nonzero(values))
