"""The set functions against NumPy, on every layout; their messages."""

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
DTYPES = ["bool", *INTEGERS, "float16", "float32", "float64", "complex64", "complex128"]


def values_of(shape, dtype, seed=0):
    """Return values with duplicates, and (for floats) NaN and zeros of both signs."""
    rng = np.random.default_rng(seed)
    dtype = np.dtype(dtype)
    values = rng.integers(-4, 5, shape)
    if dtype.kind == "u":
        return (values.astype(dtype) + dtype.type(np.iinfo(dtype).max // 2)).astype(dtype)
    values = values.astype(dtype)
    if dtype.kind in "fc":
        values[rng.random(shape) < 0.1] = np.nan
        values[rng.random(shape) < 0.1] = -0.0
    if dtype.kind == "c":
        values = np.where(rng.random(shape) < 0.5, values, values.real + dtype.type(2j))
        values[rng.random(shape) < 0.1] = complex(1, np.nan)
    return values


def expected_unique(values):
    """Return NumPy's values, indices, inverse, counts; each NaN is distinct."""
    flat = values.reshape(-1)
    order = np.argsort(flat, kind="stable")
    ordered = flat[order]
    new = np.ones(flat.shape, dtype=bool)
    new[1:] = ordered[1:] != ordered[:-1]
    starts = np.flatnonzero(new)
    inverse = np.empty(flat.shape, dtype=np.int64)
    inverse[order] = np.cumsum(new) - 1
    counts = np.diff(np.append(starts, flat.size))
    return flat[order[starts]], order[starts], inverse.reshape(values.shape), counts


def check(values, layout):
    x = make(values, layout)
    expected = expected_unique(values)
    result = xp.unique_all(x)
    assert result._fields == ("values", "indices", "inverse_indices", "counts")
    split = None if x.split is None else 0
    assert result.values.split == result.indices.split == result.counts.split == split
    assert result.inverse_indices.layout == x.layout
    counts, inverse = xp.unique_counts(x), xp.unique_inverse(x)
    assert counts._fields == ("values", "counts")
    assert inverse._fields == ("values", "inverse_indices")
    assert_exact(
        (*result, *counts, *inverse, xp.unique_values(x)),
        (*expected, expected[0], expected[3], expected[0], expected[2], expected[0]),
    )
    assert_exact(result.values, expected[0], signed_zeros=True)


# ---------------------------------------------------------------- unique


@pytest.mark.parametrize("dtype", DTYPES)
def test_unique_dtypes(dtype):
    values = values_of((40,), dtype)
    for layout in layouts(values.shape, few=True):
        check(values, layout)
    check(values_of((5, 6), dtype, 1), Layout.balanced((5, 6), 1, layout.comm))


@pytest.mark.parametrize("shape", [(), (1,), (60,), (7, 5), (1, 20), (2, 3, 4)])
def test_unique_layouts(shape):
    values = values_of(shape, "float64", 2) if shape else np.array(3.0)
    for layout in layouts(shape):
        check(values, layout)


@pytest.mark.parametrize("shape", [(0,), (0, 3), (3, 0)])
def test_unique_of_nothing(shape):
    for layout in layouts(shape, few=True):
        check(np.zeros(shape, dtype=np.float32), layout)


@pytest.mark.parametrize(
    "values",
    [
        np.full(50, 7),
        np.full(50, np.nan),
        np.arange(50)[::-1],
        np.repeat([3.0, 1.0, np.nan], 15),
        np.tile([0.0, -0.0], 20),
        np.concatenate([np.zeros(40), np.arange(5.0)]),
        np.tile(np.array([1 + 2j, complex(1, np.nan), complex(np.nan, 1), 1 - 1j]), 8),
        np.tile(np.array([1, complex(np.nan, np.nan)], dtype=np.complex64), 12),
    ],
    ids=["equal", "nan", "distinct", "blocks", "zeros", "skewed", "complex nan", "complex64 nan"],
)
def test_unique_distributions(values):
    for layout in layouts(values.shape):
        check(values, layout)


def test_unique_bfloat16():
    values = np.round(np.random.default_rng(0).normal(size=30)).astype(ml_dtypes.bfloat16)
    expected = expected_unique(values.astype(np.float32))
    for layout in layouts(values.shape, few=True):
        found, indices, inverse, counts = xp.unique_all(make(values, layout))
        assert found.dtype == values.dtype
        assert_exact(xp.astype(found, xp.float32), expected[0])
        assert_exact((indices, inverse, counts), expected[1:])


@given(data=st.data())
def test_unique_any_values(data, comm):
    dtype = np.dtype(data.draw(st.sampled_from(["float32", "int8", "uint64", "bool"])))
    shape = data.draw(hnp.array_shapes(max_dims=3, max_side=8))
    values = data.draw(hnp.arrays(dtype, shape))
    split = data.draw(st.integers(0, len(shape) - 1))
    weights = data.draw(st.lists(st.integers(0, 3), min_size=comm.size, max_size=comm.size))
    counts = divide(shape[split], weights if any(weights) else [1] * comm.size)
    layout = Layout.of(shape, split, counts, comm)
    check(values, layout)
    for result in xp.unique_all(make(values, layout)):
        assert_consistent(result)


def test_unique_messages(comm):
    """Equal values travel once from each rank; distinct ones are shared evenly."""
    n = 8000
    layout = Layout.balanced((n,), 0, comm)
    few = make(np.arange(n) % 5, layout)
    with xp.trace() as trace:
        xp.unique_values(few)
    assert trace.bytes("alltoall") <= 5 * 8 + 8 * comm.size
    assert trace.bytes("allgather") <= 257 * 8  # samples
    distinct = make(np.random.default_rng(0).permutation(n), layout)
    with xp.trace() as trace:
        result = xp.unique_values(distinct)
    assert trace.bytes("alltoall") <= distinct.local.nbytes + 8 * comm.size
    assert max(result.layout.counts) <= n // comm.size + comm.size
    with xp.trace() as trace:
        xp.unique_all(distinct)
    assert trace.bytes("alltoall") <= 4 * distinct.local.nbytes + 8 * comm.size


def test_nan_is_shared_evenly(comm):
    n = 400
    result = xp.unique_counts(make(np.full(n, np.nan), Layout.balanced((n,), 0, comm)))
    assert max(result.values.layout.counts) - min(result.values.layout.counts) <= 1


# ---------------------------------------------------------------- isin


def expected_isin(values, members):
    return np.isin(values, members) & (values == values)


@pytest.mark.parametrize("dtype", DTYPES)
def test_isin_dtypes(dtype):
    values, members = values_of((30,), dtype), values_of((25,), dtype, 1)[:9]
    for one in layouts((30,), few=True):
        for other in layouts((9,), few=True):
            result = xp.isin(make(values, one), make(members, other))
            assert_exact(result, expected_isin(values, members))


@pytest.mark.parametrize(
    ("one", "other"),
    [((30,), (40,)), ((5, 6), (2, 30)), ((100,), (3,)), ((0,), (5,)), ((4,), (0,))],
)
def test_isin_layouts(one, other):
    rng = np.random.default_rng(0)
    values = rng.integers(0, 50, one).astype(np.float32)
    members = rng.integers(0, 50, other).astype(np.float32)
    values.reshape(-1)[::7] = np.nan
    members.reshape(-1)[::5] = np.nan
    expected = expected_isin(values, members)
    for first in layouts(one):
        for second in layouts(other, few=True):
            x1, x2 = make(values, first), make(members, second)
            result = xp.isin(x1, x2)
            assert_exact(result, expected)
            assert result.layout.counts == first.counts
    assert_exact(xp.isin(x1, x2, invert=True), ~expected)
    assert_exact(xp.isin(x1, x2, assume_unique=True), expected)


def test_isin_is_exact_for_any_two_integer_dtypes():
    signed = np.array([-1, 0, 2**53, 2**53 + 1, 2**63 - 1, 5, 6, 7])
    unsigned = np.array([2**64 - 1, 0, 2**53 + 1, 2**63, 5, 9, 10, 11], dtype=np.uint64)
    for one, other in ((signed, unsigned), (unsigned, signed)):
        expected = np.array([int(v) in {int(m) for m in other} for v in one])
        for layout in layouts((8,), few=True):
            assert_exact(xp.isin(make(one, layout), make(other, layout)), expected)
    small = np.array([0, 1, 2, 200], dtype=np.uint8)
    assert_exact(xp.isin(make(small, None), make(np.array([-56, 1]), None)), small == 1)
    assert_exact(xp.isin(make(small, None), make(np.array([True]), None)), small == 1)


def test_isin_scalars():
    values = np.array([1.0, 2.0, np.nan, 1.0])
    for layout in layouts((4,), few=True):
        x = make(values, layout)
        assert_exact(xp.isin(x, 1), values == 1)
        assert_exact(xp.isin(x, np.nan), np.zeros(4, dtype=bool))
        assert_exact(xp.isin(2, x), np.array(True))
        assert_exact(xp.isin(x, [2.0, 5]), values == 2)
    with pytest.raises(TypeError, match="isin"):
        xp.isin(1, 2)


def test_isin_messages(comm):
    n = 4000
    rng = np.random.default_rng(0)
    layout = Layout.balanced((n,), 0, comm)
    x1, x2 = make(rng.permutation(n), layout), make(rng.permutation(n) + n // 2, layout)
    with xp.trace() as trace:
        xp.isin(x1, x2)
    # The values of both, a mark and an answer for each.
    assert trace.bytes("alltoall") <= (8 + 1 + 1) * 2 * n // comm.size + 2000
    assert trace.bytes("allgather") <= 257 * 8  # samples
    whole = make(np.arange(5), None)
    with xp.trace() as trace:
        xp.isin(x1, whole)
    assert trace.events == []
