"""matmul, vecdot, tensordot and matrix_transpose against NumPy on all layouts; their messages."""

from __future__ import annotations

import itertools

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import heat_array_api as xp
from heat_array_api._core.layout import Layout
from layouts import assert_equal, describe, divide, layouts, make, to_numpy

INTEGERS = ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]
FLOATS = ["float32", "float64", "complex64", "complex128"]
HALF = ["float16", "bfloat16"]

SHAPES = [
    ((5, 4), (4, 6)),
    ((7,), (7,)),
    ((7,), (7, 3)),
    ((3, 7), (7,)),
    ((2, 3, 4), (4, 5)),
    ((3, 4), (2, 4, 5)),
    ((3, 2, 4), (3, 4, 5)),
    ((1, 3, 4), (5, 4, 2)),
    ((3, 1, 2, 4), (5, 4, 3)),
    ((2, 3, 1, 4), (2, 1, 4, 3)),
    ((4,), (2, 4, 3)),
    ((5, 0), (0, 3)),
    ((0, 4), (4, 3)),
    ((20, 2), (2, 20)),
    ((2, 20), (20, 2)),
    ((1, 9), (9, 1)),
    ((9, 1), (1, 9)),
]


def values(shape, dtype="float64", seed=0):
    rng = np.random.default_rng(seed)
    dtype = np.dtype(dtype)
    if dtype.kind in "iu":
        info = np.iinfo(dtype)
        return rng.integers(info.min, info.max, shape, dtype=dtype, endpoint=True)
    drawn = rng.integers(-8, 9, shape) / 4
    return (drawn + 1j * np.flip(drawn) if dtype.kind == "c" else drawn).astype(dtype)


# ---------------------------------------------------------------- values


@pytest.mark.parametrize(("shape1", "shape2"), SHAPES)
def test_matmul_all_layouts(shape1, shape2, check):
    a, b = values(shape1), values(shape2, "float32", seed=1)
    expected = a @ b
    every = len(shape1) + len(shape2) < 5  # of stacks, not all pairs of layouts
    pairs = [
        *itertools.product(layouts(shape1, few=not every), layouts(shape2, few=True)),
        *itertools.product(layouts(shape1, few=True), layouts(shape2, few=not every)),
    ]
    for one, two in dict.fromkeys(pairs):
        what = f"{describe(one)} @ {describe(two)}"
        check(xp.matmul(make(a, one), make(b, two)), expected, what)


@pytest.mark.parametrize(("shape1", "shape2"), SHAPES[:7])
def test_matmul_is_consistent(shape1, shape2):
    a, b = values(shape1), values(shape2, seed=1)
    for one, two in itertools.product(layouts(shape1, few=True), layouts(shape2, few=True)):
        if (one.split, two.split) != (None, None):
            assert_equal(make(a, one) @ make(b, two), a @ b)


def exact_product(a, b, dtype):
    """Return NumPy's product, in which half precision is rounded once."""
    wide = np.float32 if np.dtype(dtype).itemsize == 2 and np.dtype(dtype).kind != "i" else None
    if wide is None or np.dtype(dtype).kind == "u":
        return a @ b
    return (a.astype(wide) @ b.astype(wide)).astype(dtype)


@pytest.mark.parametrize("dtype", [*INTEGERS, *FLOATS, *HALF])
def test_matmul_dtypes(dtype, check):
    dtype = np.dtype(ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype)
    if dtype.kind in "iu":
        a, b = values((5, 6), dtype), values((6, 7), dtype, seed=1)
    else:
        a, b = (values(s, "float64", i).astype(dtype) for i, s in enumerate([(5, 6), (6, 7)]))
    expected = exact_product(a, b, dtype)
    for one, two in itertools.product(layouts(a.shape, few=True), layouts(b.shape, few=True)):
        check(make(a, one) @ make(b, two), expected, f"{describe(one)} @ {describe(two)}")


@pytest.mark.parametrize(
    ("first", "second"),
    [("uint16", "int16"), ("int8", "uint32"), ("float32", "complex64"), ("float32", "float64")],
)
def test_matmul_promotes(first, second, check):
    a, b = values((4, 5), first), values((5, 3), second, seed=1)
    for one, two in itertools.product(layouts(a.shape, few=True), layouts(b.shape, few=True)):
        check(make(a, one) @ make(b, two), a @ b, f"{describe(one)} @ {describe(two)}")


def test_matmul_with_numpy_and_transposes(check):
    a, b = values((6, 4)), values((6, 5), seed=1)
    for layout in layouts(a.shape):
        x = make(a, layout)
        check(x.T @ b, a.T @ b, describe(layout))
        check(b.T @ x, b.T @ a, describe(layout))
        check(x.T @ x, a.T @ a, describe(layout))
        check(x @ x.T, a @ a.T, describe(layout))


@st.composite
def products(draw):
    """Draw the shapes of two stacks that can be multiplied, their splits and weights."""
    ndim = draw(st.integers(0, 2))
    stack = draw(st.lists(st.integers(0, 4), min_size=ndim, max_size=ndim))
    m, k, n = (draw(st.integers(0, 6)) for _ in range(3))
    found = []
    for matrix in ((m, k), (k, n)):
        own = [size if draw(st.booleans()) else 1 for size in stack]
        shape = (*own[draw(st.integers(0, ndim)) :], *matrix)
        split = draw(st.one_of(st.none(), st.integers(0, len(shape) - 1)))
        weights = draw(st.lists(st.integers(0, 3), min_size=4, max_size=4))
        found.append((shape, split, weights))
    return found


@given(products())
def test_matmul_property(comm, drawn):
    arrays, operands = [], []
    for seed, (shape, split, weights) in enumerate(drawn):
        arrays.append(values(shape, seed=seed))
        layout = Layout.replicated(shape, comm)
        if split is not None:
            weights = [weights[rank % 4] + (rank == 0) for rank in range(comm.size)]
            layout = Layout.of(shape, split, divide(shape[split], weights), comm)
        operands.append(make(arrays[-1], layout))
    assert_equal(operands[0] @ operands[1], arrays[0] @ arrays[1])


# ---------------------------------------------------------------- where results are, and messages


def traced(function, *args):
    with xp.trace() as t:
        result = function(*args)
    return result, t


def split_array(shape, split, comm, dtype="float64", seed=0):
    return make(values(shape, dtype, seed), Layout.balanced(shape, split, comm))


CASES = [
    # shape 1, split, shape 2, split: result's split, messages
    ((60, 4), 0, (4, 3), None, 0, []),
    ((60, 4), None, (4, 50), 1, 1, []),
    ((8, 5, 4), 0, (4, 3), None, 0, []),
    ((8, 5, 4), 0, (8, 4, 3), 0, 0, []),
    ((8, 5, 4), 0, (8, 4, 3), 1, 0, ["alltoall"]),
    ((8, 50, 4), 2, (8, 4, 3), 0, 0, ["alltoall"]),
    ((4, 60), 1, (60, 3), 0, None, ["allreduce"]),
    ((4, 60), 1, (60, 3), None, None, ["allreduce"]),
    ((4, 60), None, (60, 3), 0, None, ["allreduce"]),
    ((60,), 0, (60,), 0, None, ["allreduce"]),
    ((60,), 0, (60, 3), 0, None, ["allreduce"]),
    ((60, 8), 0, (8,), 0, 0, ["allgather"]),
    ((90, 4), 0, (4, 4), 0, 0, ["allgather"]),
    ((90, 4), 0, (4, 4), 1, 0, ["allgather"]),
    ((4, 4), 0, (4, 90), 1, 1, ["allgather"]),
    ((12, 12), 0, (12, 12), 0, 0, ["ring"]),
    ((12, 12), 0, (12, 12), 1, 0, ["ring"]),
    ((12, 12), 1, (12, 12), 1, 1, ["ring"]),
    ((12, 12), 1, (12, 12), 0, 0, ["ring"]),
    ((12, 12), 1, (12, 12), None, 0, ["ring"]),
    ((12, 12), 0, (12, 12), None, 0, []),
    ((40, 2), 0, (2, 40), 0, 0, ["ring"]),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_matmul_messages(case, comm):
    shape1, split1, shape2, split2, split, messages = case
    x1, x2 = split_array(shape1, split1, comm), split_array(shape2, split2, comm, seed=1)
    result, t = traced(xp.matmul, x1, x2)
    if comm.size == 1:
        messages = []
    elif messages == ["ring"]:
        messages = ["sendrecv"] * (comm.size - 1)
    assert result.split == split
    assert t.collectives == messages


@pytest.mark.parametrize(("split1", "split2"), [(0, 0), (0, 1), (1, 0), (1, 1)])
def test_square_product_never_holds_a_full_operand(split1, split2, comm):
    n = 24
    x1, x2 = split_array((n, n), split1, comm), split_array((n, n), split2, comm, seed=1)
    _, t = traced(xp.matmul, x1, x2)
    assert t.count() == t.count("sendrecv") == comm.size - 1
    share = 8 * n * -(-n // comm.size)
    assert all(event.bytes <= share for event in t.events)


def test_gram_matrix_is_one_allreduce_of_the_result(comm):
    x = split_array((200, 5), 0, comm)
    _, t = traced(lambda: x.T @ x)
    assert t.collectives == ["allreduce"] * (comm.size > 1)
    assert t.bytes() == 5 * 5 * 8 * (comm.size > 1)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_large_gram_matrices_are_symmetric(dtype, check):
    """One triangle is computed, and mirrored, where a shard is large."""
    a = np.random.default_rng(0).standard_normal((9001, 17)).astype(dtype)
    for layout in layouts(a.shape, few=True):
        x = make(a, layout)
        cases = {
            "x.T @ x": (x.T @ x, a.T @ a),
            "y @ y.T, y = x.T": (x.T @ x.T.T, a.T @ a),
            "a copy": (xp.asarray(x.T, copy=True) @ x, a.T @ a),
            "columns": (x[:, 1:].T @ x[:, 1:], a[:, 1:].T @ a[:, 1:]),
            "rows reversed": (xp.flip(x, axis=0).T @ x, a[::-1].T @ a),
        }
        for name, (product, expected) in cases.items():
            check(product, expected, f"{name}, {describe(layout)}", atol=1e-2)
        if layout.split is None:
            gram = to_numpy(x.T @ x)
            assert np.array_equal(gram, gram.T)


def test_gram_matrices_have_derivatives(comm):
    a = np.random.default_rng(0).standard_normal((5000, 16))
    x = make(a, Layout.balanced(a.shape, 0, comm))
    gradient = xp.autograd.grad(lambda x: xp.sum((x.T @ x) ** 2))(x)
    assert_equal(gradient, 4 * a @ (a.T @ a), atol=1e-3)


def test_different_counts_of_the_contracted_axis_move_the_smaller_operand(comm):
    uneven = Layout.of((200, 2), 0, divide(200, [1 + 2 * r for r in range(comm.size)]), comm)
    x, y = split_array((200, 5), 0, comm), make(values((200, 2), seed=1), uneven)
    result, t = traced(lambda: x.T @ y)
    assert t.collectives == ["exchange", "allreduce"] * (comm.size > 1)
    assert t.bytes("exchange") <= 200 * 2 * 8
    assert_equal(result, to_numpy(x).T @ to_numpy(y))


def test_replicated_results_are_bitwise_equal(comm):
    a = np.random.default_rng(0).standard_normal((1000, 7)) * 10.0 ** np.arange(7)
    for layout in layouts(a.shape, few=True):
        if layout.split == 0:
            assert_equal(make(a, layout).T @ make(a, layout), a.T @ a, split=None)


def test_matmul_errors(comm):
    x, y = xp.ones((3, 4)), xp.ones((5, 4))
    with pytest.raises(ValueError, match=r"x1.shape\[-1\] is 4 but x2.shape\[-2\] is 5"):
        xp.matmul(x, y)
    with pytest.raises(ValueError, match="x2 is 0-d"):
        x @ xp.ones(())
    with pytest.raises(ValueError, match=r"^matmul: shapes .* do not broadcast"):
        xp.matmul(xp.ones((2, 3, 4)), xp.ones((3, 4, 5)))
    with pytest.raises(TypeError, match="x2 is str"):
        xp.matmul(x, "y")
    other = comm.split(0)
    with pytest.raises(xp.CommunicatorMismatchError):
        xp.matmul(x, xp.ones((4, 3), comm=other))


# ---------------------------------------------------------------- the other functions


def test_matrix_transpose(check):
    for shape in ((3, 4), (2, 3, 4), (0, 3)):
        for dtype in ("float64", "uint32", "complex64"):
            a = values(shape, dtype)
            for layout in layouts(shape, few=True):
                x = make(a, layout)
                result, t = traced(xp.matrix_transpose, x)
                check(result, a.mT, describe(layout))
                assert not t.events
                assert result.local is not x.local
    with pytest.raises(ValueError, match="two axes or more"):
        xp.matrix_transpose(xp.ones(3))


@pytest.mark.parametrize(
    ("shape1", "shape2", "axis"),
    [
        ((7,), (7,), -1),
        ((3, 1, 4), (2, 4), -1),
        ((3, 1, 4), (3, 2, 4), 0),
        ((4, 3), (4, 1), -2),
        ((5, 0), (5, 0), -1),
        ((2, 9, 2), (2, 9, 1), 1),
    ],
)
@pytest.mark.parametrize("dtype", ["complex128", "float32", "uint16"])
def test_vecdot(shape1, shape2, axis, dtype, check):
    a, b = values(shape1, dtype), values(shape2, dtype, seed=1)
    expected = np.vecdot(a, b, axis=axis)
    for one, two in itertools.product(layouts(shape1, few=True), layouts(shape2, few=True)):
        what = f"{describe(one)} . {describe(two)}"
        check(xp.vecdot(make(a, one), make(b, two), axis=axis), expected, what)


def test_vecdot_messages_and_errors(comm):
    x = split_array((60, 3), 0, comm)
    assert traced(xp.vecdot, x, x)[1].collectives == []
    _, t = traced(lambda: xp.vecdot(x, x, axis=0))
    assert t.collectives == ["allreduce"] * (comm.size > 1)
    with pytest.raises(ValueError, match="length 3 along axis -1, x2 1"):
        xp.vecdot(x, xp.ones((60, 1)))
    with pytest.raises(ValueError, match="count it from the end"):
        xp.vecdot(x, xp.ones(60), axis=0)
    with pytest.raises(ValueError, match=r"^vecdot: shapes .* do not broadcast"):
        xp.vecdot(x, xp.ones((2, 3)))
    with pytest.raises(IndexError, match=r"^vecdot: "):
        xp.vecdot(x, x, axis=-3)


AXES = [0, 2, ([1, 2], [0, 1]), ([2, 1], [1, 0]), (2, 1), ([], []), ([-1], [-2])]


@pytest.mark.parametrize("axes", AXES, ids=str)
def test_tensordot(axes, check):
    a, b = values((3, 2, 4)), values((2, 4, 5), seed=1)
    expected = np.tensordot(a, b, axes=axes)
    for one, two in itertools.product(layouts(a.shape, few=True), layouts(b.shape, few=True)):
        what = f"{describe(one)} x {describe(two)}"
        check(xp.tensordot(make(a, one), make(b, two), axes=axes), expected, what)


def test_tensordot_sends_as_little_as_matmul(comm):
    x, y = split_array((3, 40, 2), 1, comm), split_array((40, 2, 5), 0, comm, seed=1)
    result, t = traced(lambda: xp.tensordot(x, y, axes=2))
    assert result.split is None
    assert t.collectives == ["allreduce"] * (comm.size > 1)
    wide = split_array((3, 40, 2), 1, comm)
    result, t = traced(lambda: xp.tensordot(wide, xp.ones((2, 3), split=None), axes=1))
    assert result.split == 1
    assert not t.events


def test_tensordot_errors():
    x, y = xp.ones((3, 4)), xp.ones((4, 3))
    with pytest.raises(ValueError, match="axis 0 of x1 has length 3, axis 0 of x2 has length 4"):
        xp.tensordot(x, y, axes=2)
    with pytest.raises(ValueError, match="axes is 3"):
        xp.tensordot(x, y, axes=3)
    with pytest.raises(ValueError, match="names 1 axes of x1 but 2 of x2"):
        xp.tensordot(x, y, axes=([0], [0, 1]))
    with pytest.raises(ValueError, match="twice"):
        xp.tensordot(x, y, axes=([0, 0], [1, 1]))
    with pytest.raises(TypeError, match="pair of sequences"):
        xp.tensordot(x, y, axes=([0], [0], [0]))
    with pytest.raises(IndexError):
        xp.tensordot(x, y, axes=([2], [0]))


BROADCAST_STACKS = [
    ((1, 0, 4, 1), (0, 0, 4, 1)),
    ((1, 3), (4, 3)),
    ((1, 1), (4, 1)),
    ((1, 0), (4, 0)),
    ((1, 1, 5), (2, 3, 5)),
    ((3, 1, 0), (1, 2, 0)),
    ((1, 2, 1), (1, 1, 1)),
]


@pytest.mark.parametrize(("shape", "other"), BROADCAST_STACKS, ids=str)
def test_stack_axes_of_length_1_that_are_split(shape, other):
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal(shape), rng.standard_normal(other)
    for one in layouts(shape, few=True):
        for two in layouts(other, few=True):
            assert_equal(xp.vecdot(make(a, one), make(b, two)), np.vecdot(a, b))
            assert_equal(xp.vecdot(make(b, two), make(a, one)), np.vecdot(b, a))
            columns = make(b[..., None], Layout.of((*other, 1), two.split, two.counts, two.comm))
            rows = make(a[..., None, :], row_layout(one))
            assert_equal(xp.matmul(rows, columns), a[..., None, :] @ b[..., None])


def row_layout(layout):
    """Return the layout with an axis of length 1 before the last."""
    n = layout.ndim - 1
    split = layout.split if layout.split is None or layout.split < n else layout.split + 1
    return Layout.of((*layout.shape[:n], 1, layout.shape[n]), split, layout.counts, layout.comm)


# ---------------------------------------------------------------------- masks


MASKS = np.random.default_rng(5).random((2, 4, 300, 3)) > 0.5
CONTRACTIONS = {
    "matmul": (lambda xp, a, b: xp.matmul(a.T, b)),
    "tensordot": (lambda xp, a, b: xp.tensordot(a, b, ((0,), (0,)))),
    "vecdot": (lambda xp, a, b: xp.vecdot(a.T, b.T)),
    "einsum": (lambda xp, a, b: xp.einsum("ij,ik->jk", a, b)),
    "outer": (lambda xp, a, b: (xp.outer if xp is np else xp.linalg.outer)(a[:, 0], b[:, 1])),
    "dot": (lambda _, a, b: a.T.dot(b)),
}


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int64", "uint64", "float32", "complex128"])
@pytest.mark.parametrize("name", sorted(CONTRACTIONS))
def test_masks_count_as_numbers_and_two_give_a_mask(name, dtype):
    """Sums of ones do not wrap round to 0, either: 300 rows are true in one column."""
    contract = CONTRACTIONS[name]
    mask = MASKS[0, 0].copy()
    mask[:, 0] = True
    other = mask if dtype == "bool" else np.arange(900).reshape(300, 3).astype(dtype)
    every = list(layouts(mask.shape, few=True))
    for first, second in zip(every, every[1:] + every[:1], strict=True):
        for a, b in ((mask, other), (other, mask)):
            expected = contract(np, a, b)
            found = contract(xp, make(a, first), make(b, second))
            if dtype == "uint8":  # NumPy's sums wrap, too
                assert found.dtype == expected.dtype
            assert_equal(found, expected, rtol=1e-6)
    empty = np.zeros((0, 3), bool)
    assert_equal(xp.matmul(make(empty).T, make(empty)), empty.T @ empty)


def test_dot_of_a_stack_is_not_matmul():
    """NumPy's `dot` contracts the last axis but one, and keeps the stack of the second operand."""
    a, b = np.arange(12.0).reshape(4, 3), np.arange(30.0).reshape(2, 3, 5)
    for layout in layouts(b.shape, few=True):
        assert_equal(make(a).dot(make(b, layout)), a.dot(b))
        assert_equal(
            make(b, layout).transpose(0, 2, 1).dot(make(a.T)), b.transpose(0, 2, 1).dot(a.T)
        )


def test_axes_of_tensordot_by_position():
    """As autoray, cotengra and opt_einsum pass them."""
    a = np.arange(6.0).reshape(2, 3)
    assert_equal(
        xp.tensordot(make(a), make(a), ((0, 1), (0, 1))), np.tensordot(a, a, ((0, 1), (0, 1)))
    )
    assert_equal(xp.tensordot(make(a), make(a), 0), np.tensordot(a, a, 0))
