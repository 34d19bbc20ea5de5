"""Reductions, scans and moments against NumPy: axes, layouts, dtypes, and what they send."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

import heat_array_api as xp
from layouts import agree, assert_equal, layouts, make

INTEGER = ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]
FLOATING = ["float16", "float32", "float64", "complex64", "complex128"]
AXES = [None, 0, 1, -1, (0, 1), (0, 2), (), (2, 0, 1)]
SHAPE = (5, 3, 4)


def values_of(dtype: str, shape: tuple[int, ...] = SHAPE, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    kind = np.dtype(dtype).kind
    if kind == "b":
        return rng.random(shape) < 0.7
    if kind in "iu":
        return rng.integers(1 if kind == "u" else -3, 5, shape).astype(dtype)
    if kind == "f":
        return rng.uniform(0.5, 2.0, shape).astype(dtype)
    return (rng.uniform(-1, 1, shape) + 1j * rng.uniform(-1, 1, shape)).astype(dtype)


def accumulated(func: str, values: np.ndarray, **options: object) -> np.ndarray:
    """Return NumPy's sum or product in the dtype that the standard asks for."""
    kind = values.dtype.kind
    dtype = {"b": "int64", "i": "int64", "u": "uint64"}.get(kind, values.dtype)
    return np.asarray(getattr(np, func)(values, dtype=dtype, **options))


@pytest.mark.parametrize("func", ["sum", "prod", "max", "min", "mean", "any", "all", "var", "std"])
@pytest.mark.parametrize("axis", AXES, ids=str)
def test_axes_and_layouts(func, axis):
    values = values_of("float64")
    for keepdims in (False, True):
        expected = np.asarray(getattr(np, func)(values, axis=axis, keepdims=keepdims))
        for layout in layouts(SHAPE, few=True):
            y = getattr(xp, func)(make(values, layout), axis=axis, keepdims=keepdims)
            assert_equal(y, expected)


@pytest.mark.parametrize("func", ["sum", "prod"])
@pytest.mark.parametrize("dtype", ["bool", *INTEGER, *FLOATING])
def test_accumulation_dtypes(func, dtype):
    values = values_of(dtype)
    for layout in layouts(SHAPE, few=True):
        x = make(values, layout)
        for axis in (None, 0, 2):
            assert_equal(getattr(xp, func)(x, axis=axis), accumulated(func, values, axis=axis))


def test_accumulation_in_a_given_dtype():
    values = values_of("int32")
    for layout in layouts(SHAPE, few=True):
        x = make(values, layout)
        assert_equal(xp.sum(x, dtype=xp.float32), np.sum(values, dtype=np.float32))
        assert_equal(xp.sum(x, axis=0, dtype=xp.uint8), np.sum(values, axis=0, dtype=np.uint8))
        assert_equal(xp.prod(x, axis=1, dtype=xp.int16), np.prod(values, axis=1, dtype=np.int16))


def test_unsigned_sums_wrap_as_numpy():
    values = np.full(4, 2**63, dtype=np.uint64) + np.arange(4, dtype=np.uint64)
    for layout in layouts((4,)):
        assert_equal(xp.sum(make(values, layout)), np.asarray(values.sum()))


@pytest.mark.parametrize("func", ["max", "min"])
@pytest.mark.parametrize("dtype", ["bool", *INTEGER, "float16", "float32", "float64"])
def test_extrema_dtypes(func, dtype):
    values = values_of(dtype)
    for layout in layouts(SHAPE, few=True):
        for axis in (None, 0, (0, 2)):
            expected = np.asarray(getattr(np, func)(values, axis=axis))
            assert_equal(getattr(xp, func)(make(values, layout), axis=axis), expected)


def test_extrema_with_nan_and_signed_zeros():
    values = np.asarray([[1.0, np.nan], [-0.0, 5.0], [0.0, -np.inf], [-1.0, np.inf], [2.0, 0.0]])
    for layout in layouts(values.shape):
        x = make(values, layout)
        for axis in (None, 0, 1):
            assert_equal(xp.max(x, axis=axis), np.asarray(np.max(values, axis=axis)))
            assert_equal(xp.min(x, axis=axis), np.asarray(np.min(values, axis=axis)))


@pytest.mark.parametrize("func", ["max", "min"])
def test_extrema_of_nothing(func):
    for layout in layouts((0, 3), few=True):
        x = make(np.zeros((0, 3)), layout)
        with pytest.raises(ValueError, match=f"{func}: x has shape"):
            getattr(xp, func)(x, axis=0)
        assert_equal(getattr(xp, func)(x, axis=1), np.zeros(0))


@pytest.mark.parametrize("func", ["sum", "prod", "any", "all"])
def test_reductions_of_nothing(func):
    for layout in layouts((0, 3)):
        values = np.zeros((0, 3))
        for axis in (None, 0, 1):
            expected = np.asarray(getattr(np, func)(values, axis=axis))
            assert_equal(getattr(xp, func)(make(values, layout), axis=axis), expected)


def test_moments_of_nothing_are_nan():
    for layout in layouts((0, 3)):
        x = make(np.zeros((0, 3)), layout)
        for func in (xp.mean, xp.var, xp.std):
            assert_equal(func(x, axis=0), np.full(3, np.nan))
            assert_equal(func(x), np.asarray(np.nan))


@pytest.mark.parametrize("dtype", ["bool", *INTEGER, *FLOATING])
def test_moments_dtypes(dtype):
    values = values_of(dtype)
    for layout in layouts(SHAPE, few=True):
        x = make(values, layout)
        wide = values if values.dtype.kind in "fc" else values.astype("float64")
        assert_equal(xp.mean(x, axis=(0, 2)), np.mean(wide, axis=(0, 2)))
        assert_equal(xp.var(x, axis=0), np.var(wide, axis=0))
        assert_equal(xp.std(x), np.asarray(np.std(wide)))


def test_correction():
    values = values_of("float64")
    for layout in layouts(SHAPE, few=True):
        x = make(values, layout)
        for correction in (0.0, 1, 1.5):
            expected = np.var(values, axis=0, ddof=correction)
            assert_equal(xp.var(x, axis=0, correction=correction), expected)
    one = xp.asarray([[1.0, 2.0]], split=0)
    assert_equal(xp.var(one, axis=0, correction=1), np.full(2, np.nan))


def test_variance_is_accurate_far_from_zero():
    values = np.random.default_rng(0).random(10_000) + 1e8
    for layout in layouts((10_000,), few=True):
        assert_equal(xp.var(make(values, layout)), np.asarray(np.var(values)), rtol=1e-6)


def test_variance_in_blocks():
    values = np.random.default_rng(0).random((60_000, 5)).astype(np.float32)
    for layout in layouts(values.shape, few=True):
        x = make(values, layout)
        for axis in (None, 0, 1):
            expected = np.asarray(np.var(values.astype(np.float64), axis=axis)).astype(np.float32)
            assert_equal(xp.var(x, axis=axis), expected, rtol=1e-5)


def test_half_precision_means_do_not_overflow():
    values = np.full(1000, 1000.0, dtype=np.float16)
    for layout in layouts((1000,), few=True):
        assert_equal(xp.mean(make(values, layout)), np.asarray(1000.0, dtype=np.float16))


def test_infinities_and_nan_pass_through():
    values = np.asarray([1.0, np.inf, 2.0, np.nan, -np.inf])
    for layout in layouts((5,)):
        for part in (slice(0, 3), slice(0, 4), slice(None)):
            x = make(values, layout)[part]
            for func in ("sum", "mean", "max", "min"):
                with np.errstate(all="ignore"):
                    expected = np.asarray(getattr(np, func)(values[part]))
                assert_equal(getattr(xp, func)(x), expected)


# ---------------------------------------------------------------------- scans


@pytest.mark.parametrize("func", ["cumulative_sum", "cumulative_prod"])
@pytest.mark.parametrize("dtype", ["bool", "int8", "uint16", "uint64", "float32", "complex128"])
def test_scans(func, dtype):
    values = values_of(dtype)
    plain = getattr(np, func)
    wide = values.astype(accumulated("sum", values).dtype)
    for layout in layouts(SHAPE):
        x = make(values, layout)
        for axis in range(3):
            expected = plain(wide, axis=axis)
            y = getattr(xp, func)(x, axis=axis)
            assert y.layout == layout
            assert_equal(y, expected)
            expected = plain(wide, axis=axis, include_initial=True)
            assert_equal(getattr(xp, func)(x, axis=axis, include_initial=True), expected)


def test_scans_of_one_axis_and_of_nothing():
    for layout in layouts((7,)):
        assert_equal(xp.cumulative_sum(make(np.arange(7), layout)), np.arange(7).cumsum())
    for layout in layouts((0,)):
        x = make(np.zeros(0), layout)
        assert_equal(xp.cumulative_sum(x, include_initial=True), np.zeros(1))


def test_scan_errors():
    with pytest.raises(ValueError, match="cumulative_sum: x has 2 axes"):
        xp.cumulative_sum(xp.zeros((2, 2), split=0))
    with pytest.raises(ValueError, match="0-d"):
        xp.cumulative_prod(xp.asarray(1.0))


# ---------------------------------------------------------------------- messages


def collectives(function, *arrays, **options):
    with xp.trace() as t:
        result = function(*arrays, **options)
    return t, result


def test_one_allreduce_of_the_result():
    comm = xp.world()
    x = xp.ones((40, 6), split=0)
    one = ["allreduce"] if comm.size > 1 else []
    for func in (xp.sum, xp.prod, xp.max, xp.min, xp.any, xp.all, xp.mean):
        t, y = collectives(func, x, axis=0)
        assert t.collectives == one
        assert t.bytes() <= 6 * 8
        assert y.split is None
    for func in (xp.var, xp.std):
        t, _ = collectives(func, x, axis=0)
        assert t.collectives == one * 2


def test_other_axes_send_nothing():
    x = xp.ones((40, 6), split=0)
    for func in (xp.sum, xp.prod, xp.max, xp.min, xp.any, xp.all, xp.mean, xp.var, xp.std):
        t, y = collectives(func, x, axis=1)
        assert t.events == []
        assert y.split == 0
    for func in (xp.cumulative_sum, xp.cumulative_prod):
        t, y = collectives(func, x, axis=1)
        assert t.events == []


def test_a_scan_is_one_exscan():
    t, y = collectives(xp.cumulative_sum, xp.ones((40, 6), split=0), axis=0)
    assert t.collectives == (["exscan"] if xp.world().size > 1 else [])
    assert y.split == 0


def test_a_result_bigger_than_a_share_is_born_split():
    comm = xp.world()
    if comm.size < 2:
        pytest.skip("needs several ranks")
    values = values_of("float64", (comm.size - 1, 30))
    for func in ("sum", "max", "var"):
        t, y = collectives(getattr(xp, func), xp.asarray(values, split=0), axis=0)
        assert y.split == 0
        assert t.collectives == ["alltoall"]
        assert_equal(y, getattr(np, func)(values, axis=0))


def test_replicated_results_have_the_same_bits_on_all_ranks():
    comm = xp.world()
    values = np.random.default_rng(0).standard_normal((1001, 7)).astype(np.float32)
    x = xp.asarray(values, split=0)
    for func in (xp.sum, xp.mean, xp.var, xp.std, xp.prod):
        bits = func(x, axis=0).local.numpy().tobytes()
        everyone = comm.allgather_object(bits)
        agree(None if len(set(everyone)) == 1 else f"{func.__name__} differs", comm)


def test_axis_errors_come_before_messages():
    x = xp.ones((4, 3), split=0)
    for axis in (2, -3, (0, 2)):
        with xp.trace() as t, pytest.raises(IndexError, match="sum: axis"):
            xp.sum(x, axis=axis)
        assert t.events == []
    with pytest.raises(ValueError, match="twice"):
        xp.sum(x, axis=(0, 0))
    with pytest.raises(TypeError, match="complex"):
        xp.max(x + 1j)


# ---------------------------------------------------------------------- passing over NaN


@pytest.mark.parametrize(
    "func", ["nansum", "nanprod", "nanmax", "nanmin", "nanmean", "nanvar", "nanstd"]
)
@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "complex128"])
def test_nan_reductions(func, dtype):
    values = values_of(dtype)
    if dtype == "complex128" and func in ("nanmax", "nanmin"):
        return
    if values.dtype.kind in "fc":
        values[np.random.default_rng(1).random(SHAPE) < 0.3] = np.nan
        values[:, 1, 2] = 1.0
        values[2, :, :] = 2.0
    for layout in layouts(SHAPE, few=True):
        x = make(values, layout)
        for axis in (None, 0, (0, 2)):
            for keepdims in (False, True):
                expected = np.asarray(getattr(np, func)(values, axis=axis, keepdims=keepdims))
                assert_equal(getattr(xp, func)(x, axis=axis, keepdims=keepdims), expected)


@pytest.mark.parametrize("func", ["var", "std", "nanvar", "nanstd"])
def test_degrees_of_freedom_by_numpys_name(func):
    values = values_of("float64")
    for layout in layouts(SHAPE, few=True):
        found = getattr(xp, func)(make(values, layout), axis=0, ddof=1)
        assert_equal(found, getattr(np, func)(values, axis=0, ddof=1))
    with pytest.raises(TypeError, match=f"{func}: correction=1.0 and ddof=1"):
        getattr(xp, func)(xp.ones(3), correction=1.0, ddof=1)


@pytest.mark.parametrize("func", ["nanmean", "nanvar", "nanstd"])
def test_moments_in_a_given_dtype(func):
    values = values_of("float32")
    for layout in layouts(SHAPE, few=True):
        found = getattr(xp, func)(make(values, layout), axis=0, dtype=xp.float64)
        assert_equal(found, getattr(np, func)(values.astype(np.float64), axis=0))


@pytest.mark.parametrize("func", ["nanargmax", "nanargmin"])
def test_places_of_extrema_without_nan(func):
    values = np.round(values_of("float64"), 1)
    values[np.random.default_rng(1).random(SHAPE) < 0.3] = np.nan
    values[:, :, 0] = values[0] = 1.0
    for layout in layouts(SHAPE, few=True):
        x = make(values, layout)
        for axis in (None, 0, -1):
            for keepdims in (False, True):
                expected = getattr(np, func)(values, axis=axis, keepdims=keepdims)
                assert_equal(getattr(xp, func)(x, axis=axis, keepdims=keepdims), expected)
        assert_equal(
            getattr(xp, func)(xp.asarray([3, 1, 2])), np.asarray(func == "nanargmin"), dtype="int64"
        )
        x[:, 1, 1] = np.nan
        with pytest.raises(ValueError, match=f"{func}: along axis 0 all elements are NaN"):
            getattr(xp, func)(x, axis=0)


@pytest.mark.parametrize("func", ["cumsum", "cumprod", "nancumsum", "nancumprod"])
@pytest.mark.parametrize("dtype", ["float64", "int32", "complex64"])
def test_running_sums_by_numpys_names(func, dtype):
    values = values_of(dtype)
    if dtype != "int32" and func.startswith("nan"):
        values[1, :, 2] = np.nan
    for layout in layouts(SHAPE, few=True):
        x = make(values, layout)
        for axis in (None, 0, -1):
            assert_equal(getattr(xp, func)(x, axis=axis), getattr(np, func)(values, axis=axis))
        found = getattr(xp, func)(x, axis=1, dtype=xp.complex128)
        assert_equal(found, getattr(np, func)(values, axis=1, dtype=np.complex128))


def test_nan_reductions_of_only_nan():
    x = xp.asarray([[np.nan, 1.0], [np.nan, 3.0]], split=0)
    assert_equal(xp.nanmean(x, axis=0), np.asarray([np.nan, 2.0]))
    assert_equal(xp.nanmax(x, axis=0), np.asarray([np.nan, 3.0]))
    assert_equal(xp.nanmin(x, axis=0), np.asarray([np.nan, 1.0]))
    assert_equal(xp.nanvar(x, axis=0, correction=1), np.asarray([np.nan, 2.0]))
    assert_equal(xp.nansum(x, axis=0), np.asarray([0.0, 4.0]))


# ---------------------------------------------------------------------- diff


@pytest.mark.parametrize("dtype", ["float64", "int32", "uint16", "bool"])
def test_diff(dtype):
    values = values_of(dtype, (6, 4))
    for layout in layouts((6, 4), few=True):
        x = make(values, layout)
        for n in (0, 1, 2, 5):
            for axis in (0, 1, -1):
                assert_equal(xp.diff(x, n=n, axis=axis), np.diff(values, n=n, axis=axis))
        ends = {"prepend": values[:1], "append": values[-2:]}
        ours = {name: xp.asarray(value) for name, value in ends.items()}
        assert_equal(xp.diff(x, axis=0, **ours), np.diff(values, axis=0, **ends))
    with pytest.raises(ValueError, match="diff: n is -1"):
        xp.diff(xp.zeros(3), n=-1)


@pytest.mark.parametrize("dtype", [np.dtype("float16"), np.dtype(ml_dtypes.bfloat16)], ids=str)
def test_means_of_half_precision_without_nan_do_not_overflow(dtype):
    values = np.full(3000, 100.0, dtype=dtype)
    values[1::2] = 300.0
    values[::30] = np.nan
    left = values[~np.isnan(values)].astype(np.float64)
    for layout in layouts((3000,), few=True):
        x = make(values, layout)
        assert_equal(xp.nanmean(x), np.asarray(left.mean()).astype(dtype), rtol=0.02)
        assert_equal(xp.nanvar(x), np.asarray(left.var()).astype(dtype), rtol=0.02)
        assert_equal(xp.nanstd(x), np.asarray(left.std()).astype(dtype), rtol=0.02)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision(dtype):
    values = values_of("float32").astype(np.dtype(dtype))
    wide = values.astype(np.float32)
    for layout in layouts(SHAPE, few=True):
        x = make(values, layout)
        for func in ("sum", "prod", "max", "min", "mean", "var", "std"):
            expected = np.asarray(getattr(np, func)(wide, axis=0)).astype(values.dtype)
            assert_equal(getattr(xp, func)(x, axis=0), expected)
        expected = np.cumsum(wide, axis=0).astype(values.dtype)
        assert_equal(xp.cumulative_sum(x, axis=0), expected)


def test_axes_of_every_kind():
    values = values_of("float64")
    for axis in (np.int64(1), [0, 2], np.asarray(2), xp.asarray(0)):
        plain = tuple(axis) if isinstance(axis, list) else int(axis)
        for layout in layouts(SHAPE, few=True):
            assert_equal(xp.sum(make(values, layout), axis=axis), np.sum(values, axis=plain))
    with pytest.raises(TypeError, match="sum: axis is"):
        xp.sum(xp.asarray(values, split=0), axis=np.asarray([0, 1]))


def test_complex_does_not_become_real():
    z = xp.ones((4, 3), dtype="complex64", split=0)
    for func in (xp.sum, xp.prod, xp.cumulative_sum, xp.nansum):
        with xp.trace() as t, pytest.raises(TypeError, match="loses the imaginary part"):
            func(z, axis=0, dtype="float64")
        assert t.events == []
    assert_equal(xp.sum(z, axis=0, dtype="bool"), np.full(3, True))


@pytest.mark.parametrize("func", ["nansum", "nanmean", "nanmax", "nanvar"])
def test_nan_reductions_send_what_their_docstrings_say(func):
    x = xp.ones((40, 6), split=0)
    most = {"nansum": 1, "nanmean": 2, "nanmax": 2, "nanvar": 4}[func]
    t, y = collectives(getattr(xp, func), x, axis=0)
    assert t.collectives == (["allreduce"] * most if xp.world().size > 1 else [])
    assert y.split is None
    t, y = collectives(getattr(xp, func), x, axis=1)
    assert t.events == []
    assert y.split == 0


def test_nothing_but_nan_free_integers():
    values = np.arange(12).reshape(4, 3)
    for layout in layouts((4, 3), few=True):
        x = make(values, layout)
        for func in ("nansum", "nanprod", "nanmax", "nanmin", "nanmean", "nanvar", "nanstd"):
            expected = np.asarray(getattr(np, func)(values, axis=0))
            assert_equal(getattr(xp, func)(x, axis=0), expected)
