"""Every elementwise function against NumPy: dtypes, layouts, scalars, special values, messages."""

from __future__ import annotations

import itertools
import math
import operator
import re

import ml_dtypes
import numpy as np
import pytest
import torch

import heat_array_api as xp
from jobs import alone, run
from layouts import assert_equal, layouts, make

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
SIGNED = ["int8", "int16", "int32", "int64"]
UNSIGNED = ["uint8", "uint16", "uint32", "uint64"]
REAL_FLOATING = ["float16", "float32", "float64"]
COMPLEX = ["complex64", "complex128"]
INTEGER = SIGNED + UNSIGNED
REAL = INTEGER + REAL_FLOATING
NUMERIC = REAL + COMPLEX
ANY = ["bool", *NUMERIC]
SHAPE = (5, 4)

UNARY = {
    "abs": NUMERIC,
    "acos": REAL_FLOATING + COMPLEX,
    "acosh": REAL_FLOATING + COMPLEX,
    "asin": REAL_FLOATING + COMPLEX,
    "asinh": REAL_FLOATING + COMPLEX,
    "atan": REAL_FLOATING + COMPLEX,
    "atanh": REAL_FLOATING + COMPLEX,
    "bitwise_invert": ["bool", *INTEGER],
    "ceil": REAL,
    "conj": NUMERIC,
    "cos": REAL_FLOATING + COMPLEX,
    "cosh": REAL_FLOATING + COMPLEX,
    "exp": REAL_FLOATING + COMPLEX,
    "expm1": REAL_FLOATING + COMPLEX,
    "floor": REAL,
    "imag": COMPLEX,
    "isfinite": NUMERIC,
    "isinf": NUMERIC,
    "isnan": NUMERIC,
    "log": REAL_FLOATING + COMPLEX,
    "log10": REAL_FLOATING + COMPLEX,
    "log1p": REAL_FLOATING + COMPLEX,
    "log2": REAL_FLOATING + COMPLEX,
    "logical_not": ANY,
    "negative": NUMERIC,
    "positive": NUMERIC,
    "real": COMPLEX,
    "reciprocal": REAL_FLOATING + COMPLEX,
    "round": NUMERIC,
    "sign": NUMERIC,
    "signbit": REAL_FLOATING,
    "sin": REAL_FLOATING + COMPLEX,
    "sinh": REAL_FLOATING + COMPLEX,
    "sqrt": REAL_FLOATING + COMPLEX,
    "square": NUMERIC,
    "tan": REAL_FLOATING + COMPLEX,
    "tanh": REAL_FLOATING + COMPLEX,
    "trunc": REAL,
}
BINARY = {
    "add": NUMERIC,
    "atan2": REAL_FLOATING,
    "bitwise_and": ["bool", *INTEGER],
    "bitwise_left_shift": INTEGER,
    "bitwise_or": ["bool", *INTEGER],
    "bitwise_right_shift": INTEGER,
    "bitwise_xor": ["bool", *INTEGER],
    "copysign": REAL_FLOATING,
    "divide": REAL_FLOATING + COMPLEX,
    "equal": ANY,
    "floor_divide": REAL,
    "greater": REAL,
    "greater_equal": REAL,
    "hypot": REAL_FLOATING,
    "less": REAL,
    "less_equal": REAL,
    "logaddexp": REAL_FLOATING,
    "logical_and": ANY,
    "logical_or": ANY,
    "logical_xor": ANY,
    "maximum": REAL,
    "minimum": REAL,
    "multiply": NUMERIC,
    "nextafter": REAL_FLOATING,
    "not_equal": ANY,
    "pow": NUMERIC,
    "remainder": REAL,
    "subtract": NUMERIC,
}


def values_of(dtype: str, seed: int, shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    """Draw values that no function of the tables overflows on, negative ones too."""
    rng = np.random.default_rng(seed)
    kind = np.dtype(dtype).kind
    if kind == "b":
        return rng.random(shape) < 0.5
    if kind == "c":
        return (rng.uniform(-2, 2, shape) + 1j * rng.uniform(-2, 2, shape)).astype(dtype)
    if kind == "f":
        return rng.uniform(-3, 3, shape).astype(dtype)
    return rng.integers(0 if kind == "u" else -4, 6, shape).astype(dtype)


def in_domain(name: str, values: np.ndarray) -> np.ndarray:
    if values.dtype.kind != "f":
        return values
    if name in ("log", "log2", "log10", "sqrt"):
        return np.abs(values) + values.dtype.type(0.5)
    if name == "log1p":
        return np.abs(values)
    if name in ("acos", "asin", "atanh"):
        return values / values.dtype.type(4)
    if name == "acosh":
        return np.abs(values) + values.dtype.type(1)
    return values


@pytest.mark.parametrize("name", UNARY)
def test_unary(name):
    for seed, dtype in enumerate(UNARY[name]):
        values = in_domain(name, values_of(dtype, seed))
        expected = getattr(np, name)(values)
        for layout in layouts(SHAPE, few=True):
            x = make(values, layout)
            with xp.trace() as t:
                y = getattr(xp, name)(x)
            assert t.events == [], (name, dtype)
            assert y.layout == layout
            assert y is not x
            assert y.local is not x.local
            assert_equal(y, expected)


@pytest.mark.parametrize("name", BINARY)
def test_binary(name):
    for seed, dtype in enumerate(BINARY[name]):
        a, b = values_of(dtype, seed), values_of(dtype, seed + 100)
        if name == "pow":
            b = np.abs(b).astype(dtype)
            a = np.abs(a).astype(dtype) if np.dtype(dtype).kind == "f" else a
        if name.endswith("shift"):
            b = np.abs(b)
        with np.errstate(all="ignore"):
            expected = getattr(np, name)(a, b)
        if name in ("floor_divide", "remainder") and np.dtype(dtype).kind == "f":
            assert not np.isnan(expected).any()
        for layout in layouts(SHAPE, few=True):
            x, y = make(a, layout), make(b, layout)
            with xp.trace() as t:
                z = getattr(xp, name)(x, y)
            assert t.events == [], (name, dtype)
            assert z.layout == layout
            assert_equal(z, expected)


@pytest.mark.parametrize("shape", [(), (0,), (3, 0), (1,), (2, 1, 3)])
def test_shapes(shape):
    values = values_of("float64", 0, shape)
    for layout in layouts(shape):
        x = make(values, layout)
        assert_equal(xp.exp(x), np.exp(values))
        assert_equal(x + x, values + values)
        assert_equal(x < 0, values < 0)


def test_bfloat16():
    values = values_of("float32", 0).astype(BFLOAT16)
    x = make(values, None)
    assert x.dtype == BFLOAT16
    assert_equal(x + x, values + values)
    assert_equal(x * 2.0, values * BFLOAT16.type(2))
    assert_equal(-x, -values)
    assert (x + make(values.astype(np.float32), None)).dtype == np.float32


# ---------------------------------------------------------------------- mixed operands


def test_promotion_of_arrays():
    for a, b in itertools.product(ANY, ANY):
        x, y = values_of(a, 0), values_of(b, 1)
        if a == b == "bool":
            continue
        expected = x + y
        ours = make(x, None) + make(y, None)
        assert ours.dtype == expected.dtype, (a, b)
        assert_equal(ours, expected)


@pytest.mark.parametrize("scalar", [True, 2, -3, 2.5, 1 - 2j, np.float64(1.5), np.int64(2)])
def test_scalars(scalar):
    python = scalar.item() if isinstance(scalar, np.generic) else scalar
    for dtype in NUMERIC:
        if isinstance(python, int) and python < 0 and np.dtype(dtype).kind == "u":
            continue
        values = values_of(dtype, 0)
        for layout in layouts(SHAPE, few=True):
            x = make(values, layout)
            assert_equal(x + scalar, values + python)
            assert_equal(scalar * x, python * values)
            assert_equal(python - x, python - values)
            assert_equal(x == scalar, values == python)


def test_scalars_that_do_not_fit():
    for dtype, scalar in (("int8", 300), ("uint16", -1), ("uint64", 2**64), ("int64", 2**63)):
        with pytest.raises(OverflowError, match="does not fit"):
            xp.zeros(3, dtype=dtype, split=0) + scalar


def test_numpy_operands_count_as_replicated():
    values = values_of("float64", 0)
    row = np.arange(4.0)
    for layout in layouts(SHAPE):
        x = make(values, layout)
        assert_equal(x + row, values + row)
        assert_equal(row + x, row + values)
        assert_equal(np.float64(2.0) * x, 2.0 * values)
        assert isinstance(row + x, xp.Array)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ((5, 4), (5, 4)),
        ((5, 4), (4,)),
        ((5, 4), (1, 4)),
        ((5, 4), (5, 1)),
        ((5, 1), (1, 4)),
        ((1, 1), (5, 4)),
        ((5, 4), ()),
        ((3, 1, 4), (5, 1)),
        ((0, 4), (1, 4)),
        ((1,), (0,)),
    ],
)
def test_broadcasting_of_any_two_layouts(first, second):
    a, b = values_of("float64", 0, first), values_of("float64", 1, second)
    for one in layouts(first, few=True):
        for two in layouts(second, few=True):
            x, y = make(a, one), make(b, two)
            assert_equal(x + y, a + b)
            assert_equal(y < x, b < a)


def test_operands_that_do_not_broadcast():
    for layout in layouts((5, 4), few=True):
        x, y = make(np.zeros((5, 4)), layout), xp.zeros(5, split=0)
        with xp.trace() as t, pytest.raises(ValueError, match=r"add: shapes \(5, 4\), \(5,\)"):
            x + y
        assert t.events == []


# ---------------------------------------------------------------------- messages


def test_a_replicated_operand_sends_nothing():
    x, y = xp.ones((40, 6), split=0), xp.ones((40, 6), split=None)
    with xp.trace() as t:
        z = x + y
        w = y - xp.ones(6, split=None) * x
    assert t.events == []
    assert z.layout == w.layout == x.layout


def test_the_smaller_operand_moves():
    comm = xp.world()
    large, small = (
        xp.ones((40, 6), dtype="float64", split=0),
        xp.ones((40, 6), dtype="float32", split=1),
    )
    for pair in ((large, small), (small, large)):
        with xp.trace() as t:
            z = xp.add(*pair)
        assert z.layout == large.layout
        assert t.collectives == (["alltoall"] if comm.size > 1 else [])
        assert t.bytes() <= small.local.nbytes


def test_a_tie_goes_to_the_first():
    a, b = xp.ones((40, 6), split=0), xp.ones((40, 6), split=1)
    assert (a + b).split == 0
    assert (b + a).split == 1


def test_shifted_slices_meet_half_the_way():
    """Neither takes the other's counts: later operations with the array send nothing then."""
    values = np.random.default_rng(0).standard_normal((80, 6))
    for x in (make(values, layout) for layout in layouts(values.shape, few=True)):
        near = x.split == 0 and x.comm.size > 1 and min(x.layout.counts) > 9
        with xp.trace() as t:
            inner = x[:-2] + x[2:]
        if near:
            assert t.collectives == ["exchange", "exchange"]
            assert all(event.bytes <= 6 * 8 for event in t.events)
        with xp.trace() as t:
            result = inner * 0.5 + x[1:-1]
            y = x * 1.0
            y[1:-1] = result
        assert t.events == [] or not near
        expected = values.copy()
        expected[1:-1] = (values[:-2] + values[2:]) * 0.5 + values[1:-1]
        assert_equal(y, expected)
        for first, second in ((x[:-1], x[1:]), (x[1:], x[:-1])):
            assert_equal(first - second, np.asarray(first) - np.asarray(second))
            assert not near or (first - second).layout == x[:-1].layout


def test_counts_that_are_far_apart_are_the_first_ones():
    comm = xp.world()
    if comm.size == 1:
        pytest.skip("one rank has all rows")
    a = xp.ones((40, 6), split=0)
    for rank in range(comm.size):
        counts = tuple(40 * (r == rank) for r in range(comm.size))
        moved = xp.redistribute(a, xp.Layout.of((40, 6), 0, counts, comm))
        assert (a + moved).layout == a.layout
        assert (moved + a).layout == moved.layout


# ---------------------------------------------------------------------- special values


def test_integer_division_by_zero_is_zero():
    for dtype in INTEGER:
        a = np.asarray([5, 0, 7], dtype=dtype)
        zero = np.zeros(3, dtype=dtype)
        for layout in layouts((3,)):
            assert_equal(make(a, layout) // make(zero, layout), zero)
            assert_equal(make(a, layout) % make(zero, layout), zero)


def test_least_integer_divided_by_minus_one():
    for dtype in SIGNED:
        least = np.asarray([np.iinfo(dtype).min], dtype=dtype)
        minus = np.asarray([-1], dtype=dtype)
        assert_equal(make(least, None) // make(minus, None), least)
        assert_equal(make(least, None) % make(minus, None), np.zeros(1, dtype=dtype))


def test_largest_unsigned():
    values = np.asarray([0, 1, 2**63, 2**64 - 1], dtype=np.uint64)
    for layout in layouts((4,), few=True):
        x = make(values, layout)
        assert_equal(x + x, values + values)
        assert_equal(x // 3, values // np.uint64(3))
        assert_equal(x > 2**63, values > np.uint64(2**63))
        assert_equal(x >> 1, values >> np.uint64(1))
        assert_equal(xp.astype(x, xp.float64), values.astype(np.float64))


SPECIAL = np.asarray([np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0, -1.0, 2.5, -2.5, 0.5, 1.5])


UNARY_SPECIAL = (
    "abs ceil exp expm1 floor isfinite isinf isnan negative round sign signbit sqrt square "
    "tanh trunc atan log log1p"
)
BINARY_SPECIAL = "add atan2 copysign divide hypot maximum minimum remainder pow"


@pytest.mark.parametrize("name", UNARY_SPECIAL.split())
def test_special_values(name):
    with np.errstate(all="ignore"):
        expected = getattr(np, name)(SPECIAL)
    assert_equal(getattr(xp, name)(make(SPECIAL, None)), expected, signed_zeros=True)


@pytest.mark.parametrize("name", BINARY_SPECIAL.split())
def test_special_pairs(name):
    a, b = (g.ravel() for g in np.meshgrid(SPECIAL, SPECIAL))
    with np.errstate(all="ignore"):
        expected = getattr(np, name)(a, b)
    assert_equal(getattr(xp, name)(make(a, None), make(b, None)), expected)


def test_floor_divide_of_infinities_follows_the_standard():
    inf = np.inf
    cases = [
        (inf, 2.0, inf),
        (inf, -2.0, -inf),
        (-inf, 2.0, -inf),
        (1.0, -inf, -0.0),
        (-1.0, inf, -0.0),
    ]
    a, b, expected = (np.asarray(column) for column in zip(*cases, strict=True))
    assert_equal(make(a, None) // make(b, None), expected, signed_zeros=True)


def test_python_floor_division():
    a = np.asarray([7.0, -7.0, 7.0, -7.0, 0.3, 1e16, 6.0])
    b = np.asarray([2.0, 2.0, -2.0, -2.0, 0.1, 3.0, 0.1])
    assert_equal(make(a, None) // make(b, None), a // b)
    assert_equal(make(a, None) % make(b, None), a % b)


def test_integers_in_floating_functions_are_floats_as_in_numpy():
    values = np.arange(1, 5)
    for layout in layouts((4,), few=True):
        assert_equal(xp.exp(make(values, layout)), np.exp(values))
        assert_equal(make(values, layout) / 2, values / 2)
        assert_equal(xp.divide(make(values, layout), make(values, layout)), values / values)
    with xp.set_options(default_dtype=xp.float32):
        assert xp.sqrt(xp.arange(3)).dtype == np.float32


# ---------------------------------------------------------------------- clip


@pytest.mark.parametrize("dtype", REAL)
def test_clip(dtype):
    values = values_of(dtype, 0)
    low, high = values_of(dtype, 1, (4,)), values_of(dtype, 2, (5, 1))
    for layout in layouts(SHAPE, few=True):
        x = make(values, layout)
        assert_equal(xp.clip(x, 1, 3), np.clip(values, 1, 3))
        assert_equal(xp.clip(x, 1), np.maximum(values, np.asarray(1, dtype)))
        assert_equal(xp.clip(x, max=2), np.minimum(values, np.asarray(2, dtype)))
        assert_equal(xp.clip(x), values)
        bounds = make(low, None), make(high, None)
        assert_equal(xp.clip(x, *bounds), np.minimum(np.maximum(values, low), high))


def test_clip_of_nan_and_crossed_bounds():
    x = xp.asarray([1.0, float("nan"), 3.0])
    assert_equal(xp.clip(x, 0.0, 2.0), np.asarray([1.0, np.nan, 2.0]))
    assert_equal(xp.clip(x, 2.0, 1.0), np.asarray([1.0, np.nan, 1.0]))
    assert_equal(xp.clip(xp.asarray([1, 2, 3]), -float("inf"), float("inf")), np.asarray([1, 2, 3]))


# ---------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: xp.bitwise_and(x, x), "bitwise_and: got float64, float64; expected integer"),
        (xp.imag, "imag: x has dtype float64; expected a complex"),
        (lambda x: xp.less(x + 1j, x), "less: got complex128, float64; expected real"),
        (lambda x: xp.add(1, 2), "add: expected at least one array"),
        (lambda x: xp.add(x, "a"), "add: x2 is str"),
        (lambda x: xp.exp(np.zeros(3)), "exp: x is ndarray"),
        (lambda x: xp.clip(x + 1j, 0, 1), "clip: x has dtype complex128"),
        (lambda x: xp.negative(x > 0), "negative: x has dtype bool"),
    ],
)
def test_errors(call, message):
    x = xp.zeros(3, split=0)
    with xp.trace() as t, pytest.raises(TypeError, match=message):
        call(x)
    assert t.events == []


def test_unknown_operands_get_their_own_turn():
    class Other:
        def __radd__(self, other):
            return "theirs"

    assert xp.zeros(3) + Other() == "theirs"
    with pytest.raises(TypeError):
        xp.zeros(3) + "a"
    assert (xp.zeros(3) == "a") is False


# ---------------------------------------------------------------------- where torch differs


@pytest.mark.parametrize("name", [n for n in UNARY if "float16" in UNARY[n]])
def test_unary_of_bfloat16(name):
    values = in_domain(name, values_of("float32", 0)).astype(BFLOAT16)
    expected = getattr(np, name)(values.astype(np.float32))
    expected = expected if expected.dtype == bool else expected.astype(BFLOAT16)
    for layout in layouts(SHAPE, few=True):
        assert_equal(getattr(xp, name)(make(values, layout)), expected)


@pytest.mark.parametrize("name", [n for n in BINARY if "float16" in BINARY[n] and n != "nextafter"])
def test_binary_of_bfloat16(name):
    a, b = (values_of("float32", seed).astype(BFLOAT16) for seed in (0, 1))
    a = np.abs(a) if name == "pow" else a
    expected = getattr(np, name)(a.astype(np.float32), b.astype(np.float32))
    expected = expected if expected.dtype == bool else expected.astype(BFLOAT16)
    for layout in layouts(SHAPE, few=True):
        assert_equal(getattr(xp, name)(make(a, layout), make(b, layout)), expected)


def test_complex_sums_of_infinities_go_part_by_part():
    a = np.asarray([1j, complex(np.inf, 1), complex(1, -np.inf), complex(-0.0, -0.0)])
    b = np.asarray([complex(np.inf, 0), complex(2, np.inf), 3, complex(-0.0, -0.0)])
    for dtype in COMPLEX:
        x, y = a.astype(dtype), b.astype(dtype)
        for layout in layouts((4,), few=True):
            ours = make(x, layout), make(y, layout)
            assert_equal(ours[0] + ours[1], x + y, signed_zeros=True)
            assert_equal(ours[0] - ours[1], x - y, signed_zeros=True)
            assert_equal(ours[0] + 1e300, x + dtype_of(1e300, x))
            assert_equal(xp.cumulative_sum(ours[0]), np.cumsum(x))


def dtype_of(scalar, values):
    with np.errstate(over="ignore"):
        return values.dtype.type(scalar)


def test_branches_of_complex_functions_lie_where_the_signs_of_zeros_say():
    values = np.asarray([complex(-2.5, 0.0), complex(-2.5, -0.0), complex(2.5, -0.0), -0.5j])
    x = make(values, None)
    for name in ("log", "log1p", "log2", "log10", "sqrt", "acos", "asin", "atanh", "acosh"):
        assert_equal(getattr(xp, name)(x), getattr(np, name)(values))


def test_parts_of_real_numbers():
    for dtype in REAL:
        values = values_of(dtype, 0)
        for layout in layouts(SHAPE, few=True):
            x = make(values, layout)
            y = xp.real(x)
            assert_equal(y, values)
            assert_equal(x.imag, np.zeros_like(values))
            y[0] = 1
            assert_equal(x, values)


@pytest.mark.parametrize("dtype", INTEGER)
def test_shifts_by_the_width_and_more(dtype):
    info = np.iinfo(dtype)
    values = np.asarray([info.max, 1, 0, info.min], dtype=dtype)
    for by in (0, 1, info.bits - 1, info.bits, info.bits + 3, 100):
        shift = np.full(4, by, dtype=dtype)
        for layout in layouts((4,), few=True):
            x, y = make(values, layout), make(shift, layout)
            assert_equal(x >> y, values >> shift)
            assert_equal(x << y, values << shift)
            assert_equal(x >> by, values >> shift)


@pytest.mark.parametrize("dtype", INTEGER)
def test_comparisons_with_integers_beyond_the_dtype(dtype):
    values = np.asarray([np.iinfo(dtype).min, 0, np.iinfo(dtype).max], dtype=dtype)
    exact = [int(v) for v in values]
    for scalar in (-1, 256, -(2**63) - 1, 2**63, 2**64, 2**200):
        for layout in layouts((3,), few=True):
            x = make(values, layout)
            assert_equal(x == scalar, np.asarray([v == scalar for v in exact]))
            assert_equal(x != scalar, np.asarray([v != scalar for v in exact]))
            assert_equal(x < scalar, np.asarray([v < scalar for v in exact]))
            assert_equal(x >= scalar, np.asarray([v >= scalar for v in exact]))
            assert_equal(scalar > x, np.asarray([scalar > v for v in exact]))


def test_large_python_integers_beside_floats():
    values = values_of("float64", 0)
    for scalar in (2**63, 2**64, -(2**70), 10**300):
        for layout in layouts(SHAPE, few=True):
            x = make(values, layout)
            assert_equal(x + scalar, values + float(scalar))
            assert_equal(scalar * x, scalar * values)
            assert_equal(x < scalar, values < scalar)


def test_numpy_operands_of_every_kind():
    values = values_of("float64", 0)
    for operand in (
        np.arange(4.0).astype(">f8"),
        np.arange(8.0)[::-2],
        np.arange(20.0).reshape(4, 5).T,
        np.broadcast_to(np.float64(2), SHAPE),
        np.arange(4, dtype="uint16"),
        np.asarray(3.0),
        np.float32(0.5),
        np.bool_(True),
        np.uint8(200),
    ):
        for layout in layouts(SHAPE, few=True):
            x = make(values, layout)
            assert_equal(x + operand, values + operand)
            assert_equal(operand * x, operand * values)
    x = make(np.ones(4, dtype=BFLOAT16), None)
    assert_equal(x + np.ones(4, dtype=BFLOAT16), np.full(4, 2, dtype=BFLOAT16))


# ---------------------------------------------------------------------- docstrings

STATED = {"numeric": NUMERIC, "real numeric": REAL, "real floating-point": REAL_FLOATING}
STATED |= {"floating-point": REAL_FLOATING + COMPLEX, "complex floating-point": COMPLEX}
STATED |= {"integer": INTEGER, "integer or boolean": ["bool", *INTEGER], "any": ANY}
STATED |= {"real or boolean": ["bool", *REAL]}


@pytest.mark.parametrize("name", [*UNARY, *BINARY, "clip"])
def test_docstrings_state_the_dtypes_that_are_taken(name):
    function = getattr(xp, name)
    text = " ".join(function.__doc__.split())
    stated = re.search(r"with (?:an? )?([a-z -]+) dtype\.|of (?:an? )?([a-z -]+) dtype\.", text)
    takes = set(STATED[stated[1] or stated[2]])
    if "converted to the default real dtype" in text:
        takes |= {"bool", *INTEGER}
    for dtype in ANY:
        x = make(np.ones(3, dtype), None)
        try:
            function(*[x] * (1 if name in UNARY or name == "clip" else 2))
        except TypeError:
            assert dtype not in takes
        else:
            assert dtype in takes
    result = function(*[make(np.ones(3, sorted(takes)[-1]), None)] * (1 if name in UNARY else 2))
    assert (result.dtype == "bool") == ("Of dtype bool" in text)


@alone
def test_there_are_no_docstrings_under_oo():
    job = run(
        "import heat_array_api as xp; print(xp.add.__doc__, xp.zeros.__doc__)", PYTHONOPTIMIZE="2"
    )
    assert job.stdout.split() == ["None", "None"], job.stderr


# ---------------------------------------------------------------------- scalars beside arrays

OPERATORS = {
    "add": operator.add,
    "subtract": operator.sub,
    "multiply": operator.mul,
    "divide": operator.truediv,
    "floor_divide": operator.floordiv,
    "remainder": operator.mod,
    "pow": operator.pow,
    "bitwise_and": operator.and_,
    "bitwise_or": operator.or_,
    "bitwise_xor": operator.xor,
    "bitwise_left_shift": operator.lshift,
    "bitwise_right_shift": operator.rshift,
    "equal": operator.eq,
    "not_equal": operator.ne,
    "less": operator.lt,
    "less_equal": operator.le,
    "greater": operator.gt,
    "greater_equal": operator.ge,
}
IN_PLACE = {
    "add": operator.iadd,
    "subtract": operator.isub,
    "multiply": operator.imul,
    "divide": operator.itruediv,
    "floor_divide": operator.ifloordiv,
    "remainder": operator.imod,
    "pow": operator.ipow,
    "bitwise_and": operator.iand,
    "bitwise_or": operator.ior,
    "bitwise_xor": operator.ixor,
    "bitwise_left_shift": operator.ilshift,
    "bitwise_right_shift": operator.irshift,
}
WITH_SCALARS = [*BINARY, "clip", "where"]
COMPARES = {"equal", "not_equal", "less", "less_equal", "greater", "greater_equal"}
INTEGERS = [0, 1, -1, 2, -2, 3, 7, 2**31, -(2**31), 2**62, 2**63, 2**64 - 1, -(2**63), 2**65]
FLOATS = [0.0, -0.0, 0.5, -0.5, 1.0, -1.0, 1.5, 2.0, -2.0, 3.0, 1 / 3, 0.1, 70000.0, 1e39, 1e-46]
FLOATS += [1e300, 1e-300, math.inf, -math.inf, math.nan]
COMPLEX_NUMBERS = [1j, complex(1, -0.0), complex(math.nan, 1), complex(-math.inf, 2)]


def special_values(dtype):
    """Return special values of a dtype as a NumPy array."""
    dtype = BFLOAT16 if dtype == "bfloat16" else np.dtype(dtype)
    if dtype.kind == "b":
        return np.asarray([False, True])
    if dtype.kind in "iu":
        info = np.iinfo(dtype)
        return np.asarray(
            [0, 1, 2, 3, 7, 100, info.max, info.max - 1, info.min, info.min + 1], dtype
        )
    reals = [0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 2.0, -2.0, 3.0, -3.5, 7.25, 1e-4, -1e4, 3e38]
    reals += [math.inf, -math.inf, math.nan]
    with np.errstate(over="ignore"):
        if dtype.kind == "c":
            return np.asarray([complex(a, b) for a in reals for b in reals], dtype)
        return np.asarray(reals).astype(dtype)


def call_with(name, x1, x2, mask):
    if name == "where":
        return xp.where(mask, x1, x2)
    return xp.clip(x1, x2, None) if name == "clip" else getattr(xp, name)(x1, x2)


def outcome(function, *args):
    try:
        return function(*args)
    except (TypeError, ValueError, OverflowError) as error:
        return error


def assert_same(name, result, wanted, where):
    """Compare bit by bit, NaNs as one value; finite powers may differ in rounding."""
    assert type(result) is type(wanted), f"{where}: {result!r}, with arrays {wanted!r}"
    if isinstance(result, Exception):
        return
    assert (result.dtype, result.layout) == (wanted.dtype, wanted.layout), where
    a, b = result.local, wanted.local
    if a.is_complex():
        a, b = torch.view_as_real(a), torch.view_as_real(b)
    same = (a == b) | ((a != a) & (b != b))
    if a.is_floating_point():
        same &= (torch.signbit(a) == torch.signbit(b)) | (a != a)
        if name == "pow":
            info = torch.finfo(a.dtype)
            same |= torch.isfinite(b) & (abs(a - b) <= 2 * info.eps * abs(b) + info.smallest_normal)
    assert bool(torch.all(same)), f"{where}: {a[~same]}, with arrays {b[~same]}"


def as_array_beside(values, scalar):
    """Return a 0-d array of the dtype that the standard gives `scalar` beside `values`."""
    kind = "b" if isinstance(scalar, bool) else np.asarray(scalar).dtype.kind
    dtype = values.dtype
    if dtype.kind == "b" and kind != "b":
        dtype = np.dtype({"f": "float64", "c": "complex128"}.get(kind, "int64"))
    if dtype.kind in "iu" and kind in "fc":
        dtype = np.dtype({"f": "float64", "c": "complex128"}[kind])
    return xp.asarray(scalar, dtype=dtype)


@pytest.mark.parametrize("dtype", [*ANY, "bfloat16"])
@pytest.mark.parametrize("name", WITH_SCALARS)
def test_scalars_give_what_arrays_give(name, dtype):
    values = special_values(dtype)
    x = xp.asarray(values, split=0)
    mask = xp.asarray(np.arange(len(values)) % 2 == 0, split=0)
    floats = values.dtype.kind in "fV"
    scalars = [True, *INTEGERS, *FLOATS, *(COMPLEX_NUMBERS if values.dtype.kind == "c" else [])]
    for s in scalars:
        try:
            y = as_array_beside(x, s)
        except OverflowError:
            if name not in COMPARES:
                with pytest.raises((OverflowError, TypeError, ValueError)):
                    call_with(name, x, s, mask)
            continue
        if name == "clip" and y.dtype != x.dtype:
            continue
        if name == "pow" and type(s) is int and s < 0 and values.dtype.kind in "ib":
            with pytest.raises(ValueError, match=f"pow: x1 has dtype {dtype} and x2 is {s}"):
                call_with(name, x, s, mask)
            continue
        where = f"{name}({dtype}, {s!r})"
        by_array = outcome(call_with, name, x, y, mask)
        assert_same(name, outcome(call_with, name, x, s, mask), by_array, where)
        if name in OPERATORS:
            assert_same(name, outcome(OPERATORS[name], x, s), by_array, f"x op s: {where}")
        if name in IN_PLACE and floats and not isinstance(by_array, Exception):
            own = xp.asarray(values, split=0)
            assert_same(name, IN_PLACE[name](own, s), by_array, f"x op= s: {where}")
        if name == "clip":
            continue
        of_array = outcome(call_with, name, y, x, mask)
        assert_same(name, outcome(call_with, name, s, x, mask), of_array, f"s first: {where}")
        if name in OPERATORS:
            assert_same(name, outcome(OPERATORS[name], s, x), of_array, f"s op x: {where}")


def test_scalar_powers_have_the_special_cases_of_the_standard():
    x = xp.asarray([0.0, -0.0, math.inf, -math.inf, math.nan, -1.0, 4.0], split=0)
    for dtype in ("float32", "float64"):
        x = xp.astype(x, dtype)
        for power in (lambda x, s: x**s, xp.pow):
            root, inverse = power(x, 0.5), power(x, -0.5)
            expected = [0.0, 0.0, math.inf, math.inf, math.nan, math.nan, 2.0]
            assert_equal(root, np.asarray(expected, dtype))
            assert not bool(xp.any(xp.signbit(root[:4])))
            expected = [math.inf, math.inf, 0.0, 0.0, math.nan, math.nan, 0.5]
            assert_equal(inverse, np.asarray(expected, dtype))
            assert not bool(xp.any(xp.signbit(inverse[:4])))
    assert_equal(xp.asarray([1e30], dtype="float32") ** -1.25, np.float32([1e30]) ** -1.25)
    assert_equal(xp.asarray([3e19], dtype="float32") ** -2, np.float32([3e19]) ** np.float32(-2))


def test_derivatives_of_scalar_powers():
    x = xp.asarray([0.5, 1.0, 2.0, 6.25], split=0)
    for exponent in (0.5, -0.5, -2, -1, 0, 1, 2, 3, 1.7):
        gradient = xp.autograd.grad(lambda x, e=exponent: xp.sum(x**e))(x)
        assert_equal(gradient, exponent * np.asarray([0.5, 1.0, 2.0, 6.25]) ** (exponent - 1.0))


def test_compiled_scalars_give_what_arrays_give():
    names = ["multiply", "divide", "pow", "copysign", "less"]

    @xp.compile
    def compiled(x, scalars):
        return [getattr(xp, name)(x, s) for s in scalars for name in names]

    x = xp.asarray(special_values("float32"), split=0)
    for scalars in ((0.5, -0.5, 1 / 3), (2, 3, -2), (math.inf, math.nan, -0.0)):
        results = iter(compiled(x, scalars))
        for s in scalars:
            for name in names:
                wanted = getattr(xp, name)(x, xp.asarray(s, dtype=x.dtype))
                assert_same("pow", next(results), wanted, f"{name}(float32, {s!r})")
