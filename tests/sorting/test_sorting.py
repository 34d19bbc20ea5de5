"""sort, argsort and median against NumPy, on every layout; their messages; the local kernels."""

from __future__ import annotations

import warnings

import hypothesis.extra.numpy as hnp
import ml_dtypes
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import heat_array_api as xp
from heat_array_api._core.layout import Layout
from heat_array_api._sorting import local as _kernels
from heat_array_api._sorting import samplesort as _samplesort
from heat_array_api._sorting.samplesort import find_cuts
from layouts import assert_consistent, assert_exact, divide, layouts, make

INTEGERS = ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]
FLOATS = ["float16", "float32", "float64"]
COMPLEX = ["complex64", "complex128"]
DTYPES = ["bool", *INTEGERS, *FLOATS, *COMPLEX]


def values_of(shape, dtype, seed=0, special=True):
    """Return values with duplicates, extremes, and (for floats) NaN, infinities and both zeros."""
    rng = np.random.default_rng(seed)
    dtype = np.dtype(dtype)
    if dtype.kind == "b":
        return rng.random(shape) < 0.5
    if dtype.kind in "iu":
        info = np.iinfo(dtype)
        narrow = rng.integers(0, 5, shape).astype(dtype)
        wide = rng.integers(info.min, info.max, shape, dtype=dtype, endpoint=True)
        return np.where(rng.random(shape) < 0.5, narrow, wide)
    values = np.where(
        rng.random(shape) < 0.5, np.round(rng.normal(size=shape)), rng.normal(size=shape)
    )
    if special:
        for number in (np.nan, np.inf, -np.inf, -0.0, 0.0):
            values[rng.random(shape) < 0.08] = number
    if dtype.kind == "c":
        parts = np.stack([values, np.roll(values, 1)], axis=-1)
        return parts.view(np.complex128)[..., 0].astype(dtype)
    return values.astype(dtype)


def order_of(values, axis, descending=False):
    """Return NumPy's stable order; descending: NaN first, equal elements in their order."""
    if not descending:
        return np.argsort(values, axis=axis, kind="stable")
    order = np.argsort(np.flip(values, axis), axis=axis, kind="stable")
    return values.shape[axis] - 1 - np.flip(order, axis)


def check(values, layout, axis, descending=False):
    """Compare both functions with NumPy, bit for bit."""
    x = make(values, layout)
    order = order_of(values, axis, descending)
    indices = xp.argsort(x, axis=axis, descending=descending)
    result = xp.sort(x, axis=axis, descending=descending)
    assert indices.layout == x.layout
    assert result.layout == x.layout
    expected = np.take_along_axis(values, order, axis)
    assert_exact((indices, result), (order, expected), signed_zeros=True)


# ---------------------------------------------------------------- values


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("descending", [False, True])
def test_dtypes(dtype, descending):
    values = values_of((37,), dtype)
    for layout in layouts(values.shape, few=True):
        check(values, layout, 0, descending)
    values = values_of((2, 19), dtype, seed=1)
    for axis in (0, 1):
        check(values, Layout.balanced(values.shape, 1, layout.comm), axis, descending)


@pytest.mark.parametrize("shape", [(1,), (2,), (101,), (3, 20), (20, 3), (3, 2, 7)])
def test_layouts(shape):
    values = values_of(shape, "float32", seed=2)
    for layout in layouts(shape):
        for axis in range(len(shape)):
            check(values, layout, axis - len(shape) * (axis % 2))


@pytest.mark.parametrize("shape", [(0,), (0, 3), (3, 0), (2, 0, 5)])
def test_empty(shape):
    values = np.zeros(shape, dtype=np.float32)
    for layout in layouts(shape, few=True):
        for axis in range(len(shape)):
            check(values, layout, axis)


@pytest.mark.parametrize("descending", [False, True])
def test_bfloat16(descending, comm):
    values = values_of((41,), "float32", seed=3).astype(ml_dtypes.bfloat16)
    wide = values.astype(np.float32)
    order = order_of(wide, 0, descending)
    for layout in layouts((41,), few=True):
        x = make(values, layout)
        assert_exact(xp.argsort(x, descending=descending), order)
        result = xp.astype(xp.sort(x, descending=descending), xp.float32)
        assert_exact(result, wide[order], signed_zeros=True)


@pytest.mark.parametrize(
    "values",
    [
        np.full(50, 7.0, dtype=np.float32),
        np.full(50, np.nan),
        np.where(np.arange(60) % 3, 0.0, -0.0),
        np.repeat([3, 1, 2], 20).astype(np.int64),
        np.concatenate([np.zeros(45), np.arange(5.0)]),
        np.arange(50)[::-1].astype(np.int32),
        np.array([np.iinfo(np.int64).min, np.iinfo(np.int64).max] * 20),
        np.array([0, np.iinfo(np.uint64).max] * 20, dtype=np.uint64),
        np.full(40, 1 + 2j),
        np.tile(np.array([1 + 2j, complex(1, np.nan), complex(np.nan, 1), 1 - 1j]), 10),
        np.tile([5e-324, -5e-324, 0.0, -0.0], 10),
    ],
    ids=["equal", "nan", "zeros", "blocks", "skewed", "reversed", "extremes", "unsigned",
         "complex", "complex nan", "subnormal"],
)  # fmt: skip
@pytest.mark.parametrize("descending", [False, True])
def test_distributions(values, descending):
    for layout in layouts(values.shape):
        check(values, layout, 0, descending)


def test_negative_nan_is_last():
    values = np.array([1.0, -np.nan, 3.0, np.nan, -np.inf, np.inf] * 5)
    assert np.signbit(values[1])
    for layout in layouts(values.shape, few=True):
        x = make(values, layout)
        assert_exact(xp.sort(x), np.sort(values))
        assert_exact(xp.argsort(x), np.argsort(values, kind="stable"))


@given(data=st.data())
def test_any_values(data, comm):
    dtype = np.dtype(data.draw(st.sampled_from(["float64", "float16", "int8", "uint64", "bool"])))
    shape = data.draw(hnp.array_shapes(max_dims=3, max_side=9))
    values = data.draw(hnp.arrays(dtype, shape))
    axis = data.draw(st.integers(0, len(shape) - 1))
    split = data.draw(st.integers(0, len(shape) - 1))
    weights = data.draw(st.lists(st.integers(0, 3), min_size=comm.size, max_size=comm.size))
    counts = divide(shape[split], weights if any(weights) else [1] * comm.size)
    layout = Layout.of(shape, split, counts, comm)
    check(values, layout, axis, data.draw(st.booleans()))
    if dtype.kind != "b":
        assert_consistent(xp.median(make(values, layout), axis=axis))


def test_long(comm):
    """Long enough for the kernels of long arrays; sorted by several runs."""
    for dtype in ("float32", "float64", "int64", "uint32", "float16"):
        values = values_of((150_000,), dtype, special=dtype != "float64")
        check(values, Layout.balanced(values.shape, 0, comm), 0)
    values = values_of((3, 40_000), "float32", special=False)
    check(values, None, 1, descending=True)
    check(values.astype(np.float64), Layout.balanced(values.shape, 0, comm), 1)


def test_does_not_touch_its_operand():
    values = values_of((30,), "int32")
    for layout in layouts(values.shape, few=True):
        x = make(values, layout)
        for function in (xp.sort, xp.argsort):
            result = function(x)
            assert result.local.data_ptr() != x.local.data_ptr() or not x.local.numel()
        assert_exact(x, values)


def test_errors():
    x = make(np.arange(3.0), None)
    for function in (xp.sort, xp.argsort):
        with pytest.raises(IndexError, match="axis 1"):
            function(x, axis=1)
        with pytest.raises(IndexError):
            function(make(np.float64(1), None))
        with pytest.raises(TypeError, match="x is list"):
            function([1, 2])


def test_gradient_of_a_local_sort(comm):
    """Along an axis that is not split, torch's own tape goes through; indices carry none."""
    t = torch.tensor([[3.0, 1.0, 2.0]] * comm.size, requires_grad=True)
    x = xp.Array(t[comm.rank : comm.rank + 1], Layout.balanced((comm.size, 3), 0, comm))
    result = xp.sort(x, axis=1)
    (result.local * torch.tensor([1.0, 10.0, 100.0])).sum().backward()
    assert t.grad[comm.rank].tolist() == [100.0, 1.0, 10.0]
    for index in (xp.argsort(x), xp.argsort(x, axis=0), xp.argmax(x), xp.argmin(x, axis=0)):
        assert not index.local.requires_grad
    assert_exact(xp.sort(x, axis=0).detach(), t.detach().numpy().repeat(1, 0))


# ---------------------------------------------------------------- messages


@pytest.mark.parametrize("dtype", ["float32", "float64", "int16"])
def test_sort_moves_the_data_once(dtype, comm):
    n = 40_000
    rng = np.random.default_rng(0)
    values = (rng.normal(size=n) * 1000).astype(dtype)
    for layout in (
        Layout.balanced((n,), 0, comm),
        Layout.of((n,), 0, divide(n, range(comm.size) if comm.size > 1 else [1]), comm),
    ):
        x = make(values, layout)
        with xp.trace() as trace:
            xp.sort(x)
        assert trace.bytes("alltoall") <= x.local.nbytes + 8 * comm.size
        assert trace.count("alltoall") == (2 if comm.size > 1 else 0)  # counts, data
        assert trace.bytes("allgather") <= 257 * 8  # samples
        assert trace.bytes("allreduce") <= 12 * 32768 + 64
        assert trace.count() <= 14


def test_argsort_moves_values_and_indices_once(comm):
    n = 40_000
    x = make(np.random.default_rng(0).normal(size=n), Layout.balanced((n,), 0, comm))
    with xp.trace() as trace:
        xp.argsort(x)
    assert trace.bytes("alltoall") <= x.local.nbytes * 12 // 8 + 8 * comm.size
    assert trace.count("alltoall") <= 3
    assert trace.bytes("allgather") <= 257 * 8  # samples


def test_skew_gives_no_rank_more_than_its_share(comm):
    """Equal values spread over the ranks: what a rank receives is its shard."""
    n = 10_000
    layout = Layout.balanced((n,), 0, comm)
    x = make(np.zeros(n, dtype=np.int64), layout)
    with xp.trace() as trace:
        result = xp.sort(x)
    assert result.local.shape == (layout.count,)
    assert trace.bytes("alltoall") <= 8 * comm.size  # every element is where it belongs


def test_other_axes_send_nothing(comm):
    x = make(values_of((8, 6), "float32"), Layout.balanced((8, 6), 0, comm))
    with xp.trace() as trace:
        xp.sort(x, axis=1)
        xp.argsort(x, axis=1)
        xp.median(x, axis=1)
    assert trace.events == []


def test_many_rows_take_two_all_to_alls(comm):
    shape = (64, 32)
    x = make(values_of(shape, "float32"), Layout.balanced(shape, 0, comm))
    with xp.trace() as trace:
        xp.sort(x, axis=0)
    assert trace.collectives == (["alltoall", "alltoall"] if comm.size > 1 else [])
    assert trace.bytes() <= 2 * x.local.nbytes


# ---------------------------------------------------------------- splitters


@given(data=st.data())
def test_cuts_are_exact(data, comm):
    """The cuts of all ranks add up to the targets, and what lies before is no greater."""
    n = data.draw(st.integers(1, 60))
    top = data.draw(st.sampled_from([0, 3, 1 << 20, (1 << 63) - 1]))
    values = np.array(
        data.draw(st.lists(st.integers(-top - (top > 3), top), min_size=n, max_size=n)), np.int64
    )
    counts = divide(n, data.draw(st.permutations(range(1, comm.size + 1))))
    bounds = np.concatenate([[0], np.cumsum(counts)])
    mine = np.sort(values[bounds[comm.rank] : bounds[comm.rank + 1]])
    targets = sorted(data.draw(st.lists(st.integers(0, n), min_size=1, max_size=4)))
    (cuts,) = find_cuts([(torch.from_numpy(mine),)], targets, n, comm)
    ordered = np.sort(values)
    for target, cut in zip(targets, cuts, strict=True):
        everyone = [c[0] for c in comm.allgather_ints((cut,))]
        assert sum(everyone) == target
        if cut and target < n:
            assert mine[cut - 1] <= ordered[target]
        if cut < len(mine) and target:
            assert mine[cut] >= ordered[target - 1]


def test_search_without_samples(comm, monkeypatch):
    """With very many splitters the search starts from the extremes, and takes fewer probes."""
    monkeypatch.setattr(_samplesort, "SAMPLES", 0)
    monkeypatch.setattr(_samplesort, "PROBES", 1)
    for dtype in ("int64", "float32", "complex128"):
        values = values_of((40,), dtype, seed=5)
        for layout in layouts(values.shape, few=True):
            check(values, layout, 0)


# ---------------------------------------------------------------- local kernels


@pytest.mark.parametrize("radix", [False, True])
@pytest.mark.parametrize("dtype", ["int32", "int64", "uint32", "float32", "float64", "complex128"])
def test_kernels_agree(dtype, radix, monkeypatch):
    """Whichever kernel is the fastest, the bits are the same."""
    monkeypatch.setattr(_kernels, "_radix_is_faster", lambda dtype, stable: radix)
    for shape in ((40_000,), (2, 33_000)):
        values = values_of(shape, dtype, seed=4)
        order = np.argsort(values, axis=-1, kind="stable")
        t = torch.from_numpy(values)
        np.testing.assert_array_equal(_kernels.argsort_last(t).numpy(), order)
        result = _kernels.sort_last(t).numpy()
        expected = np.take_along_axis(values, order, -1)
        np.testing.assert_array_equal(result, expected)
        if values.dtype.kind == "f":
            zeros = expected == 0
            np.testing.assert_array_equal(np.signbit(result[zeros]), np.signbit(expected[zeros]))


def test_kernel_is_measured():
    _kernels._radix_is_faster.cache_clear()
    for dtype in (torch.int32, torch.int64):
        for stable in (False, True):
            assert _kernels._radix_is_faster(dtype, stable) in (False, True)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_raw_keys_are_reversible(dtype):
    t = torch.tensor(
        [0.0, -0.0, 1.5, -1.5, torch.inf, -torch.inf, torch.finfo(dtype).tiny, torch.nan],
        dtype=dtype,
    )
    again = _kernels.from_raw_keys(_kernels.raw_keys(t), dtype)
    assert torch.equal(again[:7], t[:7])
    assert torch.isnan(again[7])
    assert torch.equal(torch.signbit(again[:7]), torch.signbit(t[:7]))


# ---------------------------------------------------------------- median


def numpy_median(values, axis, keepdims=False):
    if values.dtype.kind == "b":
        values = values.astype(np.float64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return np.median(values, axis=axis, keepdims=keepdims)


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint64", "int64", *FLOATS])
@pytest.mark.parametrize("shape", [(1,), (2,), (40,), (41,), (2, 21), (5, 4, 3)])
def test_median(shape, dtype):
    values = values_of(shape, dtype, special=False)
    for layout in layouts(shape, few=True):
        x = make(values, layout)
        axes = (None, *range(len(shape)))
        results = tuple(xp.median(x, axis=axis) for axis in axes)
        assert_exact(results, [numpy_median(values, axis) for axis in axes])
    assert_exact(xp.median(x, axis=-1, keepdims=True), numpy_median(values, -1, True))
    assert_exact(xp.median(x, keepdims=True), numpy_median(values, None, True))


@pytest.mark.parametrize("shape", [(0,), (0, 3), (3, 0)])
def test_median_of_nothing(shape):
    values = np.zeros(shape)
    for layout in layouts(shape, few=True):
        for axis in (None, *range(len(shape))):
            assert_exact(xp.median(make(values, layout), axis=axis), numpy_median(values, axis))


def test_median_with_nan():
    values = values_of((2, 30), "float32", special=False)
    values[0, 3] = -np.nan
    for layout in layouts(values.shape):
        x = make(values, layout)
        assert_exact(xp.median(x), numpy_median(values, None))
        assert_exact(xp.median(x, axis=1), numpy_median(values, 1))


def test_median_sends_no_data(comm):
    n = 20_000
    x = make(np.random.default_rng(0).normal(size=n), Layout.balanced((n,), 0, comm))
    with xp.trace() as trace:
        xp.median(x)
    assert trace.count("alltoall") == trace.count("exchange") == 0
    assert trace.bytes("allgather") <= 257 * 8  # samples


def test_median_errors():
    with pytest.raises(TypeError, match="median"):
        xp.median(make(np.ones(3, dtype=np.complex64), None))
    with pytest.raises(IndexError, match="axis"):
        xp.median(make(np.ones(3), None), axis=2)
