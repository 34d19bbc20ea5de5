"""Parts, norms, powers and pseudo-inverses of matrices against NumPy, on all layouts."""

from __future__ import annotations

import math

import numpy as np
import pytest

import heat_array_api as xp
from heat_array_api._core.layout import Layout
from layouts import assert_equal, layouts, make

linalg = xp.linalg

SHAPES = [(4, 4), (5, 3), (3, 5), (1, 6), (9, 1), (2, 3, 4), (5, 2, 2), (2, 2, 3, 3)]
DTYPES = ("float32", "float64", "complex64", "complex128")
NUMERIC = ("int8", "uint8", "int32", "uint16", "uint64", "int64", *DTYPES)


def matrices(shape, dtype="float64", seed=0):
    rng = np.random.default_rng([seed, *shape])
    if np.dtype(dtype).kind in "iu":
        return rng.integers(0, 5, size=shape).astype(dtype)
    values = rng.standard_normal(shape)
    if np.dtype(dtype).kind == "c":
        values = values + 1j * rng.standard_normal(shape)
    return values.astype(dtype)


# ---------------------------------------------------------------------- diagonal and trace


@pytest.mark.parametrize("shape", [*SHAPES, (0, 3), (3, 0), (0, 2, 2)], ids=str)
def test_diagonal_and_trace(shape):
    values = matrices(shape)
    for layout in layouts(shape):
        x = make(values, layout)
        for offset in (0, 1, -1, 2, -3, 7, -9):
            expected = np.diagonal(values, offset=offset, axis1=-2, axis2=-1)
            with xp.trace() as t:
                result = linalg.diagonal(x, offset=offset)
            assert t.events == []
            assert_equal(result, expected)
            assert (result.split is None) == (layout.split is None)
            assert_equal(
                linalg.trace(x, offset=offset),
                np.trace(values, offset=offset, axis1=-2, axis2=-1),
                atol=1e-13,
            )


@pytest.mark.parametrize("dtype", ["bool", *NUMERIC])
def test_diagonal_and_trace_dtypes(dtype):
    values = matrices((5, 4), "int8").astype(dtype)
    for layout in layouts((5, 4), few=True):
        x = make(values, layout)
        assert_equal(linalg.diagonal(x), np.diagonal(values))
        if dtype == "bool":
            continue
        assert_equal(linalg.trace(x), np.trace(values, dtype=xp.sum(x).dtype))
        wide = "complex128" if np.dtype(dtype).kind == "c" else "float64"
        assert_equal(linalg.trace(x, dtype=wide), np.trace(values.astype(wide)))


def test_a_writable_copy_not_a_view_that_shares():
    for layout in layouts((4, 4), few=True):
        x = make(np.zeros((4, 4)), layout)
        d = linalg.diagonal(x)
        d += 1
        assert_equal(x, np.zeros((4, 4)))


# ---------------------------------------------------------------------- products


@pytest.mark.parametrize("dtype", NUMERIC)
def test_outer(dtype):
    a, b = matrices((5,), dtype), matrices((7,), dtype, 1)
    for layout in layouts((5,), few=True):
        for other in layouts((7,), few=True):
            result = linalg.outer(make(a, layout), make(b, other))
            assert_equal(result, np.multiply.outer(a, b))
            if layout.split is not None or other.split is not None:
                assert result.split is not None


CROSSES = [
    ((3,), (3,), -1),
    ((5, 3), (5, 3), -1),
    ((3, 5), (3, 5), 0),
    ((3, 5), (3, 5), -2),
    ((5, 3), (3,), -1),
    ((1, 3), (4, 3), -1),
    ((2, 3, 4), (2, 3, 4), 1),
    ((2, 3, 4), (3, 1), -2),
    ((0, 3), (0, 3), 1),
]


@pytest.mark.parametrize(("shape", "other", "axis"), CROSSES, ids=str)
def test_cross(shape, other, axis):
    a, b = matrices(shape), matrices(other, seed=1)
    back = axis if axis < 0 else axis - len(shape)
    expected = np.moveaxis(np.cross(np.moveaxis(a, back, -1), np.moveaxis(b, back, -1)), -1, back)
    for one in layouts(shape, few=True):
        for two in layouts(other, few=True):
            assert_equal(linalg.cross(make(a, one), make(b, two), axis=axis), expected, atol=1e-14)


@pytest.mark.parametrize("dtype", NUMERIC)
def test_cross_dtypes(dtype):
    a, b = matrices((4, 3), dtype), matrices((4, 3), dtype, 1)
    with np.errstate(over="ignore"):
        expected = np.cross(a, b)
    for layout in layouts((4, 3), few=True):
        assert_equal(linalg.cross(make(a, layout), make(b, layout)), expected)


# ---------------------------------------------------------------------- norms


@pytest.mark.parametrize("ord", [2, 1, 0, -1, 3, 0.5, -2.5, math.inf, -math.inf])
@pytest.mark.parametrize("shape", [(7,), (4, 5), (2, 3, 4)], ids=str)
def test_vector_norm(ord, shape):
    values = matrices(shape)
    values.flat[1] = 0 if ord >= 0 else 1.5
    axes = [None, 0, -1] + ([(0, 1), (1, 0)] if len(shape) > 1 else [])
    for layout in layouts(shape, few=True):
        x = make(values, layout)
        for axis in axes:
            for keepdims in (False, True):
                expected = np.linalg.vector_norm(values, axis=axis, keepdims=keepdims, ord=ord)
                result = linalg.vector_norm(x, axis=axis, keepdims=keepdims, ord=ord)
                assert_equal(result, expected, rtol=1e-13)


@pytest.mark.parametrize("dtype", ["int64", "float16", *DTYPES])
def test_vector_norm_dtypes(dtype):
    values = matrices((6, 4), dtype)
    real = np.abs(values).dtype if np.dtype(dtype).kind in "fc" else np.dtype("float64")
    for layout in layouts((6, 4), few=True):
        for ord in (2, 1, math.inf):
            expected = np.linalg.vector_norm(values.astype(complex), axis=0, ord=ord)
            result = linalg.vector_norm(make(values, layout), axis=0, ord=ord)
            assert_equal(result, expected.astype(real))


ORDERS = ["fro", None, "nuc", 1, -1, 2, -2, math.inf, -math.inf]


@pytest.mark.parametrize("ord", ORDERS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_matrix_norm(ord, shape):
    values = matrices(shape)
    for layout in layouts(shape, few=True):
        for keepdims in (False, True):
            result = linalg.matrix_norm(make(values, layout), keepdims=keepdims, ord=ord)
            expected = np.linalg.norm(values, ord=ord, axis=(-2, -1), keepdims=keepdims)
            assert_equal(result, expected, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("dtype", DTYPES)
def test_matrix_norm_dtypes(dtype):
    values = matrices((6, 4), dtype)
    for layout in layouts((6, 4), few=True):
        for ord in ORDERS:
            result = linalg.matrix_norm(make(values, layout), ord=ord)
            assert_equal(result, np.linalg.norm(values, ord=ord))


# ---------------------------------------------------------------------- powers and inverses


@pytest.mark.parametrize(
    "shape", [(4, 4), (1, 1), (3, 2, 2), (0, 0), (2, 0, 0), (0, 2, 2)], ids=str
)
@pytest.mark.parametrize("n", [0, 1, 2, 3, 7, -1, -3])
def test_matrix_power(shape, n):
    values = matrices(shape) + 3 * np.eye(shape[-1])
    expected = np.linalg.matrix_power(values, n)
    for layout in layouts(shape, few=True):
        result = linalg.matrix_power(make(values, layout), n)
        assert_equal(result, expected, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int32", "int64", "uint64", "float32"])
@pytest.mark.parametrize("n", [0, 1, 2, 5, -1])
def test_powers_keep_their_dtype(dtype, n):
    """Those of integers once were floating-point numbers, which are not exact."""
    values = np.asarray([[1, 1, 0], [0, 1, 0], [1, 0, 1]], dtype)
    if dtype in ("int64", "uint64") and n > 0:
        values[0, 0] = 6401
    kept = np.linalg.matrix_power(values, n) if dtype != "bool" or n >= 0 else None
    expected = np.linalg.matrix_power(values.astype("float64"), n) if n < 0 else kept
    for layout in layouts(values.shape, few=True):
        result = linalg.matrix_power(make(values, layout), n)
        if n < 0:
            expected = expected.astype("float32" if dtype == "float32" else "float64")
        assert_equal(result, expected)


INTEGERS = {
    "cross": (lambda x: linalg.cross(x, x[::-1]), lambda x: np.cross(x, x[::-1])),
    "diagonal": (linalg.diagonal, np.diagonal),
    "matmul": (lambda x: linalg.matmul(x, x), lambda x: x @ x),
    "matrix_transpose": (linalg.matrix_transpose, np.matrix_transpose),
    "outer": (lambda x: linalg.outer(x[0], x[1]), lambda x: np.outer(x[0], x[1])),
    "tensordot": (lambda x: linalg.tensordot(x, x), lambda x: np.tensordot(x, x)),
    "trace": (linalg.trace, np.linalg.trace),
    "vecdot": (lambda x: linalg.vecdot(x, x), lambda x: np.vecdot(x, x)),
    "det": (linalg.det, np.linalg.det),
    "inv": (linalg.inv, np.linalg.inv),
    "matrix_norm": (linalg.matrix_norm, np.linalg.norm),
    "pinv": (linalg.pinv, np.linalg.pinv),
    "solve": (lambda x: linalg.solve(x, x), lambda x: np.linalg.solve(x, x)),
    "svdvals": (linalg.svdvals, np.linalg.svdvals),
    "vector_norm": (linalg.vector_norm, np.linalg.vector_norm),
}


@pytest.mark.parametrize("dtype", ["bool", "int32", "int64", "float32"])
@pytest.mark.parametrize("name", INTEGERS)
def test_dtypes_of_results_are_numpys(name, dtype):
    function, of_numpy = INTEGERS[name]
    values = np.asarray([[1, 1, 0], [0, 1, 0], [1, 0, 1]], dtype)
    if dtype == "bool" and name in ("cross", "trace"):
        with pytest.raises(TypeError, match=f"{name}: .* bool; expected a numeric dtype"):
            function(make(values))
        return
    expected = np.asarray(of_numpy(values))
    for layout in layouts(values.shape, few=True):
        result = function(make(values, layout))
        assert_equal(result, expected, rtol=1e-5, atol=1e-5)


def low_rank(shape, rank):
    a = matrices((*shape[:-1], rank))
    return a @ matrices((*shape[:-2], rank, shape[-1]), seed=1)


@pytest.mark.parametrize("shape", [(6, 4), (4, 6), (40, 3), (3, 40), (5, 5), (5, 4, 3), (2, 3, 4)])
@pytest.mark.parametrize("rank", [0, 1, 2, 3])
def test_rank_and_pseudo_inverse(shape, rank):
    values = low_rank(shape, rank) if rank else np.zeros(shape)
    for layout in layouts(shape, few=True):
        x = make(values, layout)
        assert_equal(linalg.matrix_rank(x), np.full(shape[:-2], rank), dtype="int64")
        result = linalg.pinv(x, rtol=1e-10)
        assert_equal(result, np.linalg.pinv(values, rtol=1e-10), atol=1e-9)


@pytest.mark.parametrize("dtype", DTYPES)
def test_rank_and_pseudo_inverse_dtypes(dtype):
    for shape in ((6, 4), (3, 9)):
        values = matrices(shape, dtype)
        for layout in layouts(shape, few=True):
            x = make(values, layout)
            expected = np.linalg.pinv(values)
            assert_equal(linalg.pinv(x), expected, atol=200 * float(np.finfo(dtype).eps))
            assert int(linalg.matrix_rank(x)) == min(shape)


def test_rtol_of_every_matrix():
    values = np.stack([np.diag([1.0, 1e-3, 1e-6])] * 4)
    rtol = np.asarray([1e-9, 1e-5, 1e-2, 2.0])
    for layout in layouts(values.shape, few=True):
        for other in layouts((4,), few=True):
            x = make(values, layout)
            ranks = linalg.matrix_rank(x, rtol=make(rtol, other))
            assert_equal(ranks, np.asarray([3, 2, 1, 0]))
            expected = np.linalg.pinv(values, rtol=rtol)
            assert_equal(linalg.pinv(x, rtol=make(rtol, other)), expected)
    assert int(linalg.matrix_rank(xp.asarray(values[0]), rtol=1e-5)) == 2


def test_empty_matrices():
    for shape in ((0, 3), (3, 0), (2, 0, 3), (0, 2, 3)):
        values = np.zeros(shape)
        for layout in layouts(shape, few=True):
            x = make(values, layout)
            assert_equal(linalg.pinv(x), np.linalg.pinv(values))
            assert_equal(linalg.matrix_rank(x), np.zeros(shape[:-2], dtype="int64"))


def test_least_squares_of_a_tall_system_sends_little(comm):
    m, n = 100 * comm.size, 4
    a, b = matrices((m, n)), matrices((m,), seed=1)
    x = make(a, Layout.balanced((m, n), 0, comm))
    y = make(b, Layout.balanced((m,), 0, comm))
    with xp.trace() as t:
        solution = xp.matmul(linalg.pinv(x), y)
    assert_equal(solution, np.linalg.lstsq(a, b)[0])
    assert t.bytes() <= 4096


# ---------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda x: linalg.diagonal(x[0]),
            ValueError,
            r"diagonal: x has shape \(2,\); expected two",
        ),
        (
            lambda x: linalg.trace(xp.ones((2, 2), dtype="bool")),
            TypeError,
            "trace: x has dtype bool",
        ),
        (lambda x: linalg.trace(x[0]), ValueError, r"trace: x has shape \(2,\); expected two"),
        (lambda x: linalg.trace(x, dtype="U3"), TypeError, "trace: dtype 'U3' is not"),
        (lambda x: linalg.pinv(x, rtol="a"), TypeError, "pinv: rtol is '"),
        (lambda x: linalg.matrix_rank(x, rtol=[0.1]), TypeError, "matrix_rank: rtol is ."),
        (
            lambda x: linalg.matrix_rank(xp.ones((2, 3, 3)), rtol=xp.ones(3)),
            ValueError,
            "matrix_rank: shapes .* do not broadcast",
        ),
        (lambda x: linalg.outer(x, x), ValueError, r"outer: x1 has shape \(3, 2\); expected a vec"),
        (
            lambda x: linalg.cross(x, x),
            ValueError,
            r"cross: x1 has shape \(3, 2\); expected length",
        ),
        (lambda x: linalg.cross(x, x, axis=2), IndexError, "cross: axis 2 is out of range"),
        (
            lambda x: linalg.cross(x, x[0], axis=0),
            ValueError,
            "cross: axis is 0, but x1 and x2 have",
        ),
        (lambda x: linalg.vector_norm(x, ord="fro"), ValueError, "vector_norm: ord is 'fro'; exp"),
        (
            lambda x: linalg.vector_norm(x, axis=3),
            IndexError,
            "vector_norm: axis 3 is out of range",
        ),
        (
            lambda x: linalg.matrix_norm(x, ord=3),
            ValueError,
            "matrix_norm: ord is 3; expected 'fro'",
        ),
        (lambda x: linalg.matrix_power(x, 2), ValueError, r"matrix_power: x has shape .* square"),
        (lambda x: linalg.matrix_power(x.T @ x, 1.5), TypeError, r"matrix_power: n is 1\.5"),
    ],
)
def test_errors(call, error, message):
    x = xp.asarray(np.arange(6.0).reshape(3, 2), split=0)
    with pytest.raises(error, match=f"^{message}"):
        call(x)


VECTOR_ORDERS = (0, 1, 2, 3, 0.5, np.inf, -np.inf)
MATRIX_ORDERS = ("fro", "nuc", 1, -1, 2, -2, np.inf, -np.inf)


@pytest.mark.parametrize("shape", [(0,), (0, 3), (3, 0), (2, 0, 3), (2, 3, 0), (0, 2, 2), (0, 0)])
def test_norms_of_empty_arrays(shape):
    """As NumPy's: the largest of no moduli is 0, the smallest does not exist."""
    values = np.zeros(shape)
    kinds = [("vector_norm", {"ord": o, "axis": a}) for o in VECTOR_ORDERS for a in (None, 0, -1)]
    if len(shape) > 1:
        kinds += [("matrix_norm", {"ord": o}) for o in MATRIX_ORDERS]
    for layout in layouts(shape, few=True):
        for name, options in kinds:
            try:
                expected = getattr(np.linalg, name)(values, **options)
            except ValueError:
                with pytest.raises(ValueError, match=f"{name}: ord is -"):
                    getattr(linalg, name)(make(values, layout), **options)
            else:
                with np.errstate(all="ignore"):
                    found = getattr(linalg, name)(make(values, layout), **options)
                assert_equal(found, expected)


@pytest.mark.parametrize("dtype", ["float32", "complex64", "complex128"])
def test_tolerances_of_complex_matrices_are_real(dtype):
    values = np.arange(6).reshape(3, 2).astype(dtype)
    for layout in layouts(values.shape, few=True):
        x = make(values, layout)
        for rtol in (0.5, np.float32(0.5), np.asarray(0.5, "float32"), xp.asarray(0.5)):
            assert_equal(linalg.matrix_rank(x, rtol=rtol), np.linalg.matrix_rank(values, rtol=0.5))
            assert_equal(linalg.pinv(x, rtol=rtol), np.linalg.pinv(values, rtol=0.5), atol=1e-5)
    for wrong in (1j, xp.asarray(1j)):
        for function in (linalg.pinv, linalg.matrix_rank):
            with pytest.raises(TypeError, match="rtol"):
                function(make(values), rtol=wrong)
