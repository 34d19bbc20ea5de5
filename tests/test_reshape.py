"""reshape and broadcasting against NumPy, on every layout; where results are split; messages."""

from __future__ import annotations

import math

import ml_dtypes
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import heat_array_api as xp
from comparing import comparison
from heat_array_api._core.layout import Layout
from layouts import divide, layouts, make

NAMES = "bool int8 uint8 uint16 uint32 uint64 int64 float16 float32 complex64 complex128"
DTYPES = [*NAMES.split(), ml_dtypes.bfloat16]


def numbers(shape, dtype="float64"):
    """Return distinct values (but for bool and small integers)."""
    values = np.arange(math.prod(shape)).reshape(shape)
    return (values % 2 if np.dtype(dtype) == bool else values).astype(dtype)


def balanced(shape, split, comm):
    return make(numbers(shape), Layout.balanced(shape, split, comm))


# ---------------------------------------------------------------------- reshape: values


CASES = [
    ((12,), (12,)),
    ((12,), (3, 4)),
    ((12,), (1, 12, 1)),
    ((3, 4), (12,)),
    ((3, 4), (4, 3)),
    ((3, 4), (2, 6)),
    ((2, 3, 4), (6, 4)),
    ((2, 3, 4), (2, 12)),
    ((2, 3, 4), (4, 6)),
    ((2, 3, 4), (3, 2, 4)),
    ((4, 1, 6), (4, 6)),
    ((4, 1, 6), (1, 8, 3)),
    ((6, 1), (2, 3)),
    ((1, 5), (5, 1, 1)),
    ((5, 6, 4), (5, 8, 3)),
    ((1, 1), (1,)),
    ((1, 1), ()),
    ((), (1, 1, 1)),
    ((), ()),
    ((0,), (0, 3)),
    ((0, 3), (3, 0, 2)),
    ((2, 0, 3), (0,)),
]


@pytest.mark.parametrize(("old", "new"), CASES, ids=str)
def test_reshape(old, new, same):
    values = numbers(old)
    for layout in layouts(old):
        y = xp.reshape(make(values, layout), new)
        same(y, values.reshape(new))
        if layout.split is None or not new:
            assert y.split is None
        else:
            assert y.split is not None


def test_reshape_dtypes(same):
    for dtype in DTYPES:
        values = numbers((4, 6), dtype)
        for layout in layouts(values.shape, few=True):
            x = make(values, layout)
            same(xp.reshape(x, (3, 8)), values.reshape(3, 8))
            same(xp.reshape(xp.permute_dims(x, (1, 0)), (8, 3)), values.T.reshape(8, 3))


@st.composite
def reshapes(draw):
    """Draw a layout and a shape of as many elements."""
    comm = xp.world()
    size = draw(st.sampled_from([0, 1, 6, 12, 24, 60, 64, 97, 210]))

    def shape():
        rest, lengths = size, []
        while rest > 1 and len(lengths) < 4:
            n = draw(st.sampled_from([n for n in range(1, rest + 1) if rest % n == 0]))
            lengths.append(n)
            rest //= n
        return (*lengths, *([rest] if rest != 1 or not lengths else []))

    old, new = shape(), shape()
    if size == 0:
        old, new = ((*draw(st.permutations([0, 2, 3])),) for _ in range(2))
    split = draw(st.sampled_from([None, *range(len(old))]))
    weights = draw(st.lists(st.integers(0, 4), min_size=comm.size, max_size=comm.size))
    if split is None:
        return Layout.replicated(old, comm), new
    return Layout.of(
        old, split, divide(old[split], weights if any(weights) else [1] * comm.size), comm
    ), new


@given(case=reshapes())
def test_reshape_any(case):
    with comparison(bitwise=True) as same:
        layout, new = case
        values = numbers(layout.shape)
        x = make(values, layout)
        with xp.trace() as t:
            y = xp.reshape(x, new)
        same(y, values.reshape(new))
        assert t.count() <= 2
        assert t.count("alltoall") + t.count("exchange") == t.count()
        if layout.split is not None and y.size > 1:
            # No rank ends up with much more than it had, or than its share.
            share = max(
                max(layout.counts) * layout.size / max(layout.shape[layout.split], 1),
                layout.size / layout.comm.size,
            )
            longest = max(y.shape)
            assert y.local.numel() <= 2 * share + layout.size / min(longest, layout.comm.size)


def test_reshape_chooses_an_axis_that_divides_evenly(comm, same):
    """Of three rows one of two ranks would hold two; of a thousand columns each holds its half."""
    if comm.size not in (2, 4):
        pytest.skip("three and five rows divide evenly")
    rows = comm.size + 1
    values = numbers((rows * 1000,))
    y = xp.reshape(xp.asarray(values, split=0), (rows, 1000))
    assert y.split == 1
    same(y, values.reshape(rows, 1000))


def test_reshape_fills_in_one_length(comm, same):
    values = numbers((4, 6))
    for layout in layouts(values.shape, few=True):
        x = make(values, layout)
        same(xp.reshape(x, (-1,)), values.reshape(-1))
        same(xp.reshape(x, (2, -1, 3)), values.reshape(2, -1, 3))
        same(xp.reshape(x, -1), values.reshape(-1))
        same(x.reshape(8, 3), values.reshape(8, 3))
        same(x.ravel(), values.ravel())
        same(x.flatten(), values.ravel())
    empty = numbers((0, 3))
    for layout in layouts(empty.shape, few=True):
        same(xp.reshape(make(empty, layout), (-1, 3)), empty)
        same(xp.reshape(make(empty, layout), [3, np.int64(-1)]), empty.reshape(3, 0))


# ---------------------------------------------------------------------- reshape: layout, messages


def test_reshape_keeps_a_leading_split_without_messages(comm):
    n = 4 * comm.size
    x = balanced((n, 3, 2), 0, comm)
    column, row = balanced((5, 7, n), 2, comm), balanced((n, 7), 0, comm)
    with xp.trace() as t:
        merged = xp.reshape(x, (n * 6,))
        inner = xp.reshape(x, (n, 6))
        longer = xp.reshape(x, (n * 3, 2))
        cut = xp.reshape(x, (2 * comm.size, 2, 6))
        again = xp.reshape(merged, (n, 3, 2))
        same = xp.reshape(x, x.shape)
        last = xp.reshape(column, (35, n // 2, 2))
        tail = xp.reshape(row, (1, 1, n, 7, 1))
    assert t.events == []
    for y in (merged, inner, longer, cut, again, same):
        assert y.split == 0
        assert y.is_balanced
        assert y.local.data_ptr() == x.local.data_ptr()
        assert y.local is not x.local
    assert (last.split, tail.split) == (1, 2)
    assert same.layout is x.layout


def test_reshape_of_uneven_rows_stays_where_it_is(comm, same):
    counts = divide(12, [rank % 3 for rank in range(comm.size)] if comm.size > 1 else [1])
    x = make(numbers((12, 5)), Layout.of((12, 5), 0, counts, comm))
    with xp.trace() as t:
        y = xp.reshape(x, (60,))
        z = xp.reshape(y, (12, 5))
    assert t.events == []
    assert y.layout.counts == tuple(5 * n for n in counts)
    assert z.layout == x.layout
    same(y, numbers((60,)))


def test_reshape_of_what_one_rank_holds_sends_nothing(comm, same):
    layout = Layout.of((6, 4), 1, (0,) * (comm.size - 1) + (4,), comm)
    x = make(numbers((6, 4)), layout)
    row = balanced((1, 6), 0, comm)
    with xp.trace() as t:
        y = xp.reshape(x, (3, 8))
        z = xp.reshape(row, (2, 3))
    assert t.events == []
    assert y.layout.counts == (0,) * (comm.size - 1) + (3,)
    same(y, numbers((3, 8)))
    same(z, numbers((2, 3)))


def test_reshape_moves_only_rows_across_bounds(comm, same):
    if comm.size == 1:
        pytest.skip("nothing moves on one rank")
    n = 6 * comm.size
    x = balanced((n * 4 + 4,), 0, comm)  # bounds at 25, 50 or so; rows of four
    with xp.trace() as t:
        y = xp.reshape(x, (n + 1, 4))
    assert t.collectives == ["exchange"]
    assert t.bytes() <= 2 * 3 * 8  # at most half a row at each of two bounds, and rounding
    same(y, numbers((n + 1, 4)), split=0)


def test_reshape_of_an_inner_split_is_one_all_to_all(comm, same):
    n = 4 * comm.size
    x = balanced((n, n), 1, comm)
    with xp.trace() as t:
        y = xp.reshape(x, (-1,))
    assert t.collectives == ["alltoall"] * (comm.size > 1)
    assert t.bytes() == (comm.size - 1) * (n // comm.size) ** 2 * 8
    assert y.is_balanced
    same(y, numbers((n * n,)), split=0)


def test_reshape_avoids_an_axis_shorter_than_the_ranks(comm, same):
    if comm.size < 3:
        pytest.skip("two rows are enough for two ranks")
    n = 60 * comm.size
    x = balanced((n,), 0, comm)
    with xp.trace() as t:
        y = xp.reshape(x, (2, n // 2))
    assert t.collectives in (["alltoall"], [])
    same(y, numbers((2, n // 2)), split=1 if t.events else 0)
    assert y.local.numel() <= n // comm.size + 2
    z = xp.reshape(y, (4, n // 4))
    same(z, numbers((4, n // 4)))
    assert z.local.numel() <= 2 * n // comm.size


def test_reshape_beside_the_group_is_local(comm, same):
    x = balanced((6, 2 * comm.size, 10), 1, comm)
    with xp.trace() as t:
        y = xp.reshape(x, (2, 3, 2 * comm.size, 5, 2))
    assert t.events == []
    same(y, numbers((2, 3, 2 * comm.size, 5, 2)), split=2)


# ---------------------------------------------------------------------- reshape: copies, errors


def test_reshape_copy(comm, same):
    n = 2 * comm.size
    x = balanced((n, 6), 0, comm)
    y = xp.reshape(x, (n * 6,), copy=True)
    assert y.local.data_ptr() != x.local.data_ptr()
    z = xp.reshape(x, (n * 6,), copy=False)
    assert z.local.data_ptr() == x.local.data_ptr()
    same(y, numbers((n * 6,)))
    same(z, numbers((n * 6,)))
    moved = xp.permute_dims(balanced((n, 6), 1, comm), (1, 0))
    same(xp.reshape(moved, (6 * n,), copy=True), numbers((n, 6)).T.reshape(-1))


def test_a_reshaped_copy_is_a_value_and_a_reshaped_array_a_view(comm, same):
    x = balanced((2 * comm.size, 3), 0, comm)
    for copy in (True, None):
        y = xp.reshape(x, (6 * comm.size,), copy=copy)
        y += 1
        same(x, numbers((2 * comm.size, 3)) + (copy is None))
        same(y, numbers((6 * comm.size,)) + 1)


def test_reshape_refuses_a_copy_on_every_rank(comm):
    n = 2 * comm.size
    with pytest.raises(ValueError, match="copy is False"):
        xp.reshape(xp.permute_dims(balanced((6, n), 0, comm), (1, 0)), (6 * n,), copy=False)
    with pytest.raises(ValueError, match="copy is False"):
        xp.reshape(xp.permute_dims(make(numbers((3, 4))), (1, 0)), (12,), copy=False)
    if comm.size > 1:
        x = balanced((6, n), 1, comm)
        with xp.trace() as t, pytest.raises(ValueError, match="must change rank"):
            xp.reshape(x, (6 * n,), copy=False)
        assert t.events == []
        x = balanced((1, 1), 0, comm)
        with pytest.raises(ValueError, match="must change rank"):
            xp.reshape(x, (), copy=False)
    # Strides differ from rank to rank: only the last one would need a copy.
    layout = Layout.of((3, 2), 0, (0,) * (comm.size - 1) + (3,), comm)
    x = xp.permute_dims(make(numbers((2, 3)), Layout.of((2, 3), 1, layout.counts, comm)), (1, 0))
    with pytest.raises(ValueError, match="copy is False"):
        xp.reshape(x, (6,), copy=False)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ((3, 4), (5, 2)),
        ((3, 4), (-1, 5)),
        ((3, 4), (-1, -1)),
        ((3, 4), (-3, -4)),
        ((0, 3), (-1, 0)),
        ((3, 4), ()),
        ((0,), ()),
    ],
)
def test_reshape_that_does_not_fit(old, new):
    for layout in layouts(old, few=True):
        with pytest.raises(ValueError, match="reshape: cannot turn shape") as caught:
            xp.reshape(make(numbers(old), layout), new)
        assert str(caught.value) == f"reshape: cannot turn shape {old} into {new}"


def test_shapes_become_plain_ints():
    x = make(numbers((3, 4)))
    y = xp.reshape(x, (True, np.uint8(12), True))
    assert [type(n) for n in y.shape] == [int, int, int]
    assert xp.reshape(x, np.asarray([2, 6])).shape == (2, 6)
    assert xp.reshape(x, np.int64(12)).shape == (12,)


def test_reshape_wants_ints_and_arrays():
    x = make(numbers((3, 4)))
    for wrong in (None, "12", (2.0, 6), 12.0, ([3], 4)):
        with pytest.raises(TypeError, match="reshape: shape is"):
            xp.reshape(x, wrong)
    with pytest.raises(TypeError, match="reshape: x is ndarray"):
        xp.reshape(numbers((3, 4)), (12,))


# ---------------------------------------------------------------------- broadcasting


def test_broadcast_shapes():
    assert xp.broadcast_shapes() == ()
    assert xp.broadcast_shapes((3, 1), [4], (1, 1, 1)) == (1, 3, 4)
    assert all(type(n) is int for n in xp.broadcast_shapes((np.int64(3), 1), (2,)))
    with pytest.raises(ValueError, match=r"broadcast_shapes: shapes \(2,\), \(3,\)"):
        xp.broadcast_shapes((2,), (3,))


BROADCASTS = [
    ((), (3, 2)),
    ((5,), (5,)),
    ((5,), (2, 5)),
    ((5, 1), (5, 4)),
    ((1, 5), (4, 5)),
    ((1, 5), (9, 5)),
    ((1, 1), (3, 4)),
    ((1,), (7,)),
    ((1,), (0,)),
    ((1, 1), (0, 5)),
    ((1, 1), (5, 0)),
    ((1, 1), (0, 0)),
    ((1, 1, 1), (1, 0, 4)),
    ((2, 1, 1), (2, 0, 4)),
    ((1, 1), (1, 5)),
    ((1, 1, 3), (2, 6, 4, 3)),
    ((0, 1), (2, 0, 3)),
    ((4, 1, 3), (2, 4, 5, 3)),
]


@pytest.mark.parametrize(("old", "new"), BROADCASTS, ids=str)
def test_broadcast_to(old, new, comm, same):
    values = numbers(old)
    for layout in layouts(old):
        x = make(values, layout)
        with xp.trace() as t:
            y = xp.broadcast_to(x, new)
        same(y, np.broadcast_to(values, new))
        if layout.split is None:
            assert y.split is None
            assert t.events == []
            continue
        position = len(new) - len(old) + layout.split
        if old[layout.split] == new[position]:
            assert t.events == []
            assert y.split == position
            assert y.layout.counts == layout.counts
        elif comm.size > 1:
            assert t.count() == (0 not in old)
            assert y.is_balanced
            assert y.split is not None


def test_broadcast_to_dtypes(same):
    for dtype in DTYPES:
        values = numbers((3, 1), dtype)
        for layout in layouts(values.shape, few=True):
            same(
                xp.broadcast_to(make(values, layout), (2, 3, 4)), np.broadcast_to(values, (2, 3, 4))
            )


def test_broadcast_to_is_a_view_and_safe_to_write(comm, same):
    x = balanced((1, 2 * comm.size), 1, comm)
    y = xp.broadcast_to(x, (3, 2 * comm.size))
    assert y.local.stride()[0] == 0
    y += 1
    same(x, numbers((1, 2 * comm.size)))
    same(y, np.broadcast_to(numbers((1, 2 * comm.size)), y.shape) + 1)


def test_broadcast_to_spreads_a_long_row(comm):
    """A row that one rank holds never becomes a copy on all of them."""
    n = 100 * comm.size
    x = balanced((1, n), 0, comm)
    with xp.trace() as t:
        y = xp.broadcast_to(x, (5, n))
    assert t.collectives == ["alltoall"] * (comm.size > 1)
    assert y.split == (1 if comm.size > 1 else y.split)
    assert y.is_balanced
    x = balanced((1, 3), 0, comm)
    with xp.trace() as t:
        z = xp.broadcast_to(x, (n, 3))
    assert t.collectives == ["allgather"] * (comm.size > 1)
    assert z.split == 0


def test_broadcast_to_errors():
    for layout in layouts((3, 2), few=True):
        x = make(numbers((3, 2)), layout)
        for shape in ((3,), (2, 2), (3, 0), (-1, 2), ()):
            with pytest.raises(ValueError, match=r"broadcast_to: cannot broadcast shape \(3, 2\)"):
                xp.broadcast_to(x, shape)
    with pytest.raises(TypeError, match="broadcast_to: shape is None"):
        xp.broadcast_to(make(numbers((3, 2))), None)


def test_broadcast_arrays(same):
    a, b = numbers((3, 1)), numbers((4,), "int32")
    expected = tuple(np.broadcast_arrays(a, b))
    for first in layouts(a.shape, few=True):
        for second in layouts(b.shape, few=True):
            same(xp.broadcast_arrays(make(a, first), make(b, second)), expected)
    assert xp.broadcast_arrays() == ()
    with pytest.raises(ValueError, match="broadcast_arrays: shapes"):
        xp.broadcast_arrays(make(numbers((3,))), make(numbers((2,))))
    with pytest.raises(TypeError, match=r"broadcast_arrays: arrays\[1\] is float"):
        xp.broadcast_arrays(make(a), 1.0)


def test_views_are_new_tensors(comm):
    """Two arrays never share a tensor object, so that each can be rebound alone."""
    x = balanced((2, 3), 0, comm)
    results = [xp.reshape(x, (2, 3)), xp.broadcast_to(x, (2, 3)), *xp.broadcast_arrays(x, x)]
    assert all(y.local is not x.local for y in results)
    assert isinstance(results[0].local, torch.Tensor)
