"""Axes, joining, flip, roll, repeat, tile and pad against NumPy, on every layout; messages."""

from __future__ import annotations

import math

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import heat_array_api as xp
from comparing import comparison
from heat_array_api._core.layout import Layout
from layouts import divide, layouts, make

NAMES = "bool int8 uint8 uint16 uint32 uint64 int64 float16 float32 complex64 complex128"
DTYPES = [*NAMES.split(), ml_dtypes.bfloat16]


def numbers(shape, dtype="float64", start=0):
    """Return distinct values (but for bool and small integers)."""
    values = np.arange(start, start + math.prod(shape)).reshape(shape)
    return (values % 2 if np.dtype(dtype) == bool else values % 100).astype(dtype)


def balanced(shape, split, comm):
    return make(numbers(shape), Layout.balanced(shape, split, comm))


@st.composite
def drawn_layouts(draw, shape):
    """Draw a layout of a shape."""
    comm = xp.world()
    split = draw(st.sampled_from([None, *range(len(shape))]))
    if split is None:
        return Layout.replicated(shape, comm)
    weights = draw(st.lists(st.integers(0, 3), min_size=comm.size, max_size=comm.size))
    counts = divide(shape[split], weights if any(weights) else [1] * comm.size)
    return Layout.of(shape, split, counts, comm)


shapes = st.lists(st.integers(0, 5), min_size=1, max_size=3).map(tuple)


# ---------------------------------------------------------------------- axes


@pytest.mark.parametrize("axes", [(0, 1, 2), (2, 0, 1), (1, 0, 2), (-1, -2, 0), [2, 1, 0]], ids=str)
def test_permute_dims(axes, same):
    values = numbers((4, 3, 5))
    for layout in layouts(values.shape):
        x = make(values, layout)
        with xp.trace() as t:
            y = xp.permute_dims(x, axes)
        assert t.events == []
        split = None if layout.split is None else [a % 3 for a in axes].index(layout.split)
        same(y, values.transpose(axes), split=split)
        assert y.layout.counts == layout.counts
        assert y.local.data_ptr() == x.local.data_ptr()
        assert y.local is not x.local


def test_transpose_is_numpys(same):
    values = numbers((2, 3, 4))
    for layout in layouts(values.shape, few=True):
        x = make(values, layout)
        same(xp.transpose(x), values.transpose())
        same(xp.transpose(x, (1, 0, 2)), values.transpose(1, 0, 2))
        same(x.transpose(2, 0, 1), values.transpose(2, 0, 1))
        same(x.transpose(), values.transpose())
    same(xp.transpose(make(numbers(()))), numbers(()))


@pytest.mark.parametrize(
    ("source", "destination"),
    [(0, 2), (-1, 0), (1, 1), ((0, 1), (1, 0)), ((2, 0), (0, -1)), ((), ())],
)
def test_moveaxis(source, destination, same):
    values = numbers((4, 3, 5))
    for layout in layouts(values.shape):
        x = make(values, layout)
        with xp.trace() as t:
            y = xp.moveaxis(x, source, destination)
        assert t.events == []
        same(y, np.moveaxis(values, source, destination))
        assert y.layout.counts == layout.counts


def test_swapaxes(same):
    values = numbers((4, 3, 5))
    for layout in layouts(values.shape, few=True):
        same(make(values, layout).swapaxes(0, -1), values.swapaxes(0, -1))


@pytest.mark.parametrize("axis", [0, 1, -1, 2, (0, 1), (0, -1), (1, 3), ()], ids=str)
def test_expand_dims(axis, same):
    values = numbers((4, 3))
    for layout in layouts(values.shape):
        x = make(values, layout)
        with xp.trace() as t:
            y = xp.expand_dims(x, axis)
        assert t.events == []
        same(y, np.expand_dims(values, axis))
        assert y.layout.counts == layout.counts
        assert y.local is not x.local
    same(xp.expand_dims(make(numbers(())), 0), np.zeros(1))


@pytest.mark.parametrize("axis", [0, 2, -1, (0, 2), (), (-1, 0)], ids=str)
def test_squeeze(axis, comm, same):
    values = numbers((1, 5, 1))
    for layout in layouts(values.shape):
        x = make(values, layout)
        with xp.trace() as t:
            y = xp.squeeze(x, axis)
        same(y, np.squeeze(values, axis))
        goes = layout.split in ([a % 3 for a in axis] if isinstance(axis, tuple) else [axis % 3])
        if goes:
            assert t.collectives == ["alltoall"] * (comm.size > 1)
            assert y.is_balanced
            assert y.split == (1 if np.squeeze(values, axis).ndim == 2 and axis == 2 else y.split)
        else:
            assert t.events == []
            assert y.layout.counts == layout.counts


def test_squeeze_to_a_single_element(comm, same):
    for shape in ((1,), (1, 1)):
        for layout in layouts(shape):
            y = xp.squeeze(make(np.ones(shape), layout), tuple(range(len(shape))))
            same(y, np.ones(()), split=None)
    same(balanced((1, 1), 0, comm).squeeze(), np.zeros(()))


def test_axes_of_all_dtypes(same):
    for dtype in DTYPES:
        values = numbers((4, 1, 3), dtype)
        for layout in layouts(values.shape, few=True):
            x = make(values, layout)
            same(xp.permute_dims(x, (2, 0, 1)), values.transpose(2, 0, 1))
            same(xp.squeeze(x, 1), values[:, 0])
            same(xp.expand_dims(x, (0, 2)), np.expand_dims(values, (0, 2)))


ERRORS = [
    (lambda x: xp.permute_dims(x, (0,)), ValueError, "permute_dims: axes is (0,)"),
    (lambda x: xp.permute_dims(x, (0, 0)), ValueError, "permute_dims: axes is (0, 0)"),
    (lambda x: xp.permute_dims(x, (0, 2)), IndexError, "permute_dims: axes 2"),
    (lambda x: xp.permute_dims(x, (0, 1.0)), TypeError, "permute_dims: axes is (0, 1.0)"),
    (lambda x: xp.moveaxis(x, 0, (0, 1)), ValueError, "moveaxis: source names 1"),
    (lambda x: xp.moveaxis(x, (0, -2), (0, 1)), ValueError, "moveaxis: source (0, -2)"),
    (lambda x: xp.moveaxis(x, 0, 2), IndexError, "moveaxis: destination 2"),
    (lambda x: xp.expand_dims(x, 3), IndexError, "expand_dims: axis 3"),
    (lambda x: xp.expand_dims(x, -4), IndexError, "expand_dims: axis -4"),
    (lambda x: xp.expand_dims(x, (0, -4)), ValueError, "expand_dims: axis (0, -4)"),
    (lambda x: xp.squeeze(x, 0), ValueError, "squeeze: axis 0 of shape (3, 2)"),
    (lambda x: xp.squeeze(x, 2), IndexError, "squeeze: axis 2"),
    (lambda x: xp.concat([]), ValueError, "concat: arrays is empty"),
    (lambda x: xp.concat([x, x[None]]), ValueError, "concat: arrays[1] has shape (1, 3, 2)"),
    (lambda x: xp.concat([x, x.T]), ValueError, "concat: arrays[1] has shape (2, 3)"),
    (lambda x: xp.concat([x, x], axis=2), IndexError, "concat: axis 2"),
    (lambda x: xp.concat([x, 1.0]), TypeError, "concat: arrays[1] is float"),
    (lambda x: xp.stack([]), ValueError, "stack: arrays is empty"),
    (lambda x: xp.stack([x, x.T]), ValueError, "stack: arrays[1] has shape (2, 3)"),
    (lambda x: xp.stack([x], axis=3), IndexError, "stack: axis 3"),
    (lambda x: xp.unstack(x, axis=2), IndexError, "unstack: axis 2"),
    (lambda x: xp.flip(x, axis=2), IndexError, "flip: axis 2"),
    (lambda x: xp.flip(x, axis=(0, 0)), ValueError, "flip: axis (0, 0)"),
    (lambda x: xp.roll(x, 1, axis=2), IndexError, "roll: axis 2"),
    (lambda x: xp.roll(x, (1, 2, 3), axis=(0, 1)), ValueError, "roll: 3 shifts for 2 axes"),
    (lambda x: xp.roll(x, 1.5, axis=0), TypeError, "roll: shift is 1.5"),
    (lambda x: xp.repeat(x, -1, axis=0), ValueError, "repeat: repeats is -1"),
    (lambda x: xp.repeat(x, 1.5, axis=0), TypeError, "repeat: repeats is 1.5"),
    (lambda x: xp.repeat(x, [1, 2], axis=0), ValueError, "repeat: repeats has shape (2,)"),
    (lambda x: xp.repeat(x, [1, 2, -1], axis=0), ValueError, "repeat: repeats has negative"),
    (lambda x: xp.repeat(x, [1.0, 2, 1], axis=0), TypeError, "repeat: repeats has dtype"),
    (lambda x: xp.repeat(x, 2, axis=2), IndexError, "repeat: axis 2"),
    (lambda x: xp.tile(x, (2, -1)), ValueError, "tile: repetitions is (2, -1)"),
    (lambda x: xp.tile(x, (1.5,)), TypeError, "tile: repetitions is (1.5,)"),
    (lambda x: xp.pad(x, -1), ValueError, "pad: pad_width is -1"),
    (lambda x: xp.pad(x, ((1, 2, 3),)), ValueError, "pad: pad_width is ((1, 2, 3),)"),
    (lambda x: xp.pad(x, 1.5), TypeError, "pad: pad_width"),
    (lambda x: xp.pad(x, 1, mode="mean"), ValueError, "pad: mode is 'mean'"),
    (lambda x: xp.pad(x[:0], 1, mode="edge"), ValueError, "pad: axis 0 is empty"),
]


def test_errors():
    values = numbers((3, 2))
    for layout in layouts(values.shape, few=True):
        x = make(values, layout)
        for call, error, text in ERRORS:
            with pytest.raises(error) as caught:
                call(x)
            assert text in str(caught.value)


def test_only_arrays():
    names = "expand_dims flip pad permute_dims repeat roll squeeze tile unstack"
    for function in names.split():
        arguments = () if function in ("flip", "unstack") else (1,)
        with pytest.raises(TypeError, match=f"{function}: x is list; expected a heat_array_api"):
            getattr(xp, function)([1, 2], *arguments)


# ---------------------------------------------------------------------- concat, stack, unstack


@pytest.mark.parametrize("axis", [0, 1, -1, None])
def test_concat_of_all_layouts(axis, same):
    a, b = numbers((4, 3)), numbers((4, 3), start=50)
    expected = np.concatenate([a, b], axis=axis)
    for first in layouts(a.shape, few=True):
        for second in layouts(b.shape, few=True):
            y = xp.concat([make(a, first), make(b, second)], axis=axis)
            same(y, expected)
            assert (y.split is None) == (first.split is None and second.split is None)


@given(data=st.data())
def test_concat_any(data):
    with comparison(bitwise=True) as same:
        shape = data.draw(shapes)
        axis = data.draw(st.integers(0, len(shape) - 1))
        values, arrays = [], []
        for n in data.draw(st.lists(st.integers(0, 6), min_size=1, max_size=5)):
            own = (*shape[:axis], n, *shape[axis + 1 :])
            values.append(numbers(own, start=20 * len(values)))
            arrays.append(make(values[-1], data.draw(drawn_layouts(own))))
        with xp.trace() as t:
            y = xp.concat(arrays, axis=axis)
        same(y, np.concatenate(values, axis=axis))
        # An operand that is split along another axis comes by itself, all others together.
        across = sum(x.split not in (None, y.split) for x in arrays) * (y.comm.size > 1)
        assert t.collectives in (["alltoall"] * across, ["alltoall"] * across + ["exchange"])


def test_joining_of_all_dtypes(same):
    for dtype in DTYPES:
        values = numbers((5, 2), dtype)
        for layout in layouts(values.shape, few=True):
            x, y = make(values, layout), make(values)
            same(xp.concat([x, y, x]), np.concatenate([values] * 3))
            same(xp.concat([x, y], axis=1), np.concatenate([values] * 2, axis=1))
            same(xp.stack([y, x], axis=1), np.stack([values] * 2, axis=1))
            same(xp.unstack(x), tuple(values))


def test_concat_promotes(same):
    for dtypes in (
        ("int8", "uint8"),
        ("float32", "float64"),
        ("uint16", "uint64"),
        ("float32", "complex64"),
        ("bool", "bool"),
        ("int64", "float32"),
    ):
        values = [numbers((3, 2), dtype) for dtype in dtypes]
        for layout in layouts((3, 2), few=True):
            arrays = [make(values[0], layout), make(values[1])]
            same(xp.concat(arrays), np.concatenate(values))
            same(xp.stack(arrays[::-1], axis=-1), np.stack(values[::-1], axis=-1))


def test_concat_along_the_split_is_balanced_and_one_message(comm):
    n = 3 * comm.size
    a, b, c = balanced((n, 2), 0, comm), balanced((2 * n, 2), 0, comm), make(numbers((5, 2)))
    with xp.trace() as t:
        y = xp.concat([a, b, c])
    assert t.collectives == ["exchange"] * (comm.size > 1)
    assert y.split == 0
    assert y.is_balanced
    # Only the rows that change rank travel; the replicated ones none.
    bounds = y.layout.offsets
    stay = 0
    for x, begin in ((a, 0), (b, n)):
        first, last = (begin + x.layout.offsets[comm.rank + i] for i in (0, 1))
        stay += max(min(last, bounds[comm.rank + 1]) - max(first, bounds[comm.rank]), 0)
    assert t.bytes() == (a.layout.count + b.layout.count - stay) * 2 * 8


def test_concat_beside_the_split_is_local(comm):
    n = 3 * comm.size + 1
    a, b, c = balanced((n, 2), 0, comm), balanced((n, 3), 0, comm), make(numbers((n, 1)))
    with xp.trace() as t:
        y = xp.concat([a, b, c], axis=1)
        z = xp.stack([a, a], axis=0)
        w = xp.concat([make(np.ones((2, 2))), make(np.ones((2, 2)))])
    assert [e for e in t.events if e.operation != "from_local"] == []
    assert y.layout == Layout.balanced((n, 6), 0, comm)
    assert z.layout == Layout.balanced((2, n, 2), 1, comm)
    assert w.split is None


def test_concat_takes_the_layout_of_the_larger(comm, same):
    n = 4 * comm.size
    large, small = balanced((n, n), 1, comm), balanced((1, n), 0, comm)
    with xp.trace() as t:
        y = xp.concat([small, large])
    assert y.layout == Layout.balanced((n + 1, n), 1, comm)
    assert t.bytes() <= n * 8
    same(y, np.concatenate([numbers((1, n)), numbers((n, n))]))


def test_concat_of_many_and_of_numpy(comm, same):
    parts = [numbers((n % 3, 2), start=n) for n in range(20)]
    arrays = [make(p, Layout.balanced(p.shape, 0, comm)) for p in parts]
    same(xp.concat(tuple(arrays)), np.concatenate(parts), split=0)
    same(xp.concat([arrays[1], parts[2]]), np.concatenate(parts[1:3]), split=0)
    with pytest.raises(ValueError, match="they may differ along axis 0 only"):
        xp.concat([make(numbers(())), make(numbers((1,)))][::-1])


def test_concat_of_one_array(comm, same):
    x = balanced((5, 2), 0, comm)
    y = xp.concat([x])
    same(y, numbers((5, 2)), split=0)
    y += 1
    same(x, numbers((5, 2)))


def test_arrays_of_two_communicators_do_not_mix(comm):
    part = comm.split(comm.rank % 2)
    values = numbers((6, 2))
    x, y = (make(values, Layout.balanced((6, 2), 0, c)) for c in (comm, part))
    for call in (
        lambda: xp.concat([x, y]),
        lambda: xp.stack([y, x]),
        lambda: xp.broadcast_arrays(x, y),
        lambda: xp.repeat(x, make(np.ones(6, int), Layout.balanced((6,), 0, part)), axis=0),
    ):
        with pytest.raises(xp.CommunicatorMismatchError, match="different communicators"):
            call()
    z = xp.flip(xp.concat([y, y]), axis=0)
    assert z.comm is part
    assert np.array_equal(np.asarray(z), np.flip(np.concatenate([values, values]), 0))


@pytest.mark.parametrize("axis", [0, 1, 2, -1])
def test_stack(axis, same):
    a, b = numbers((4, 3)), numbers((4, 3), start=50)
    for first in layouts(a.shape, few=True):
        for second in layouts(b.shape, few=True):
            y = xp.stack([make(a, first), make(b, second)], axis=axis)
            same(y, np.stack([a, b], axis=axis))
    same(xp.stack([make(numbers(())), make(numbers(()))]), np.zeros(2), split=None)


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_unstack(axis, comm, same):
    values = numbers((4, 3, 5))
    for layout in layouts(values.shape):
        x = make(values, layout)
        with xp.trace() as t:
            parts = xp.unstack(x, axis=axis)
        if layout.split == axis % 3:
            assert t.collectives == ["alltoall"] * (comm.size > 1)
        else:
            assert t.events == []
        assert all((p.split is None) == (layout.split is None) for p in parts)
        same(parts, tuple(np.moveaxis(values, axis, 0)))


def test_unstack_of_a_vector_is_one_gather(comm, same):
    x = balanced((7,), 0, comm)
    with xp.trace() as t:
        parts = xp.unstack(x)
    assert t.collectives == ["allgather"] * (comm.size > 1)
    same(parts, tuple(np.arange(7.0)))
    parts = xp.unstack(balanced((3, 1), 0, comm))
    same(parts, tuple(np.arange(3.0)[:, None]))
    assert xp.unstack(balanced((0, 3), 0, comm)) == ()
    assert [float(value) for value in x] == list(range(7))


def test_writing_to_a_slice_leaves_the_rest(comm, same):
    x = balanced((3, 2 * comm.size), 1, comm)
    first, second, _ = xp.unstack(x)
    first += 100
    same(second, numbers((3, 2 * comm.size))[1])
    same(x, numbers((3, 2 * comm.size)))


# ---------------------------------------------------------------------- flip, roll


@pytest.mark.parametrize("axis", [None, 0, 1, -1, (0, 1), (), (-1, 0)], ids=str)
@pytest.mark.parametrize("shape", [(7, 3), (1, 4), (0, 2), (2, 3, 4)], ids=str)
def test_flip(shape, axis, same):
    values = numbers(shape)
    for layout in layouts(shape, few=True):
        x = make(values, layout)
        with xp.trace() as t:
            y = xp.flip(x, axis=axis)
        same(y, np.flip(values, axis))
        assert y.layout is x.layout
        assert t.collectives in ([], ["exchange"])
        listed = [axis] if isinstance(axis, int) else range(len(shape)) if axis is None else axis
        if layout.split not in [a % len(shape) for a in listed]:
            assert t.events == []


def test_flip_of_0d(same):
    same(xp.flip(make(np.ones(()))), np.ones(()))


def test_flip_sends_each_row_once(comm):
    n = 4 * comm.size
    x = balanced((n, 3), 0, comm)
    with xp.trace() as t:
        y = xp.flip(x, axis=0)
    stays = comm.size % 2 == 1 and comm.rank == comm.size // 2
    assert t.bytes() == (0 if stays else 4 * 3 * 8)
    with xp.trace() as t:
        _ = y + x
    assert t.events == []


ROLLS = [
    (1, 0),
    (-2, 0),
    (2, 1),
    (100, -1),
    (0, 0),
    ((1, 2), (0, 1)),
    ((1, 2), (0, 0)),
    (3, (0, 1)),
    ((5, -5), (-1, -1)),
    (4, None),
    ((1, 2), None),
    ((1, 2), 0),
]


@pytest.mark.parametrize(("shift", "axis"), ROLLS, ids=str)
def test_roll(shift, axis, same):
    for shape in ((7, 3), (1, 4), (0, 2)):
        values = numbers(shape)
        for layout in layouts(shape, few=True):
            y = xp.roll(make(values, layout), shift, axis=axis)
            same(y, np.roll(values, shift, axis))
            if axis is not None:
                assert y.layout == layout


def test_roll_of_0d(same):
    same(xp.roll(make(np.ones(())), 3), np.ones(()))


def test_roll_moves_only_the_rows_that_change_rank(comm):
    n = 10 * comm.size
    x = balanced((n, 3), 0, comm)
    for shift in (1, -2):
        with xp.trace() as t:
            y = xp.roll(x, shift, axis=0)
        assert t.collectives == ["exchange"] * (comm.size > 1)
        assert t.bytes() == (abs(shift) * 3 * 8 if comm.size > 1 else 0)
        assert y.layout is x.layout
    with xp.trace() as t:
        xp.roll(x, 1, axis=1)
        xp.roll(x, n, axis=0)
        if comm.size == 1:
            xp.roll(x, 1)
    assert t.events == []
    with xp.trace() as t:
        y = xp.roll(x, 1)
    assert t.bytes() == (8 if comm.size > 1 else 0)
    assert y.layout == x.layout


@given(data=st.data())
def test_flip_and_roll_any(data):
    with comparison(bitwise=True) as same:
        shape = data.draw(shapes)
        values = numbers(shape)
        x = make(values, data.draw(drawn_layouts(shape)))
        axes = tuple(data.draw(st.lists(st.integers(0, len(shape) - 1), max_size=3)))
        shifts = tuple(data.draw(st.integers(-9, 9)) for _ in axes)
        same(xp.roll(x, shifts, axis=axes), np.roll(values, shifts, axes))
        distinct = tuple(set(axes))
        same(xp.flip(x, axis=distinct), np.flip(values, distinct))


def test_moving_rows_of_all_dtypes(same):
    for dtype in DTYPES:
        values = numbers((5, 3), dtype)
        for layout in layouts(values.shape, few=True):
            x = make(values, layout)
            same(xp.flip(x), np.flip(values))
            same(xp.roll(x, (2, 1), axis=(0, 1)), np.roll(values, (2, 1), (0, 1)))
            same(xp.repeat(x, 2, axis=0), np.repeat(values, 2, 0))
            same(xp.repeat(x, np.array([1, 0, 2]), axis=1), np.repeat(values, [1, 0, 2], 1))
            same(xp.tile(x, (3, 2)), np.tile(values, (3, 2)))
            same(xp.pad(x, 1), np.pad(values, 1))
            if values.dtype.kind != "V" and dtype is not ml_dtypes.bfloat16:
                same(xp.pad(x, 2, mode="reflect"), np.pad(values, 2, mode="reflect"))


# ---------------------------------------------------------------------- repeat, tile


@pytest.mark.parametrize("axis", [None, 0, 1, -1])
@pytest.mark.parametrize("repeats", [0, 1, 3])
def test_repeat(repeats, axis, same):
    values = numbers((5, 3))
    for layout in layouts(values.shape):
        x = make(values, layout)
        with xp.trace() as t:
            y = xp.repeat(x, repeats, axis=axis)
        same(y, np.repeat(values, repeats, axis))
        assert (y.split is None) == (layout.split is None)
        if axis is not None:
            assert t.events == []
            assert y.split == layout.split


def test_repeat_by_arrays(same):
    values, repeats = numbers((5, 3)), np.array([2, 0, 1, 3, 1])
    expected = np.repeat(values, repeats, 0)
    for layout in layouts(values.shape, few=True):
        x = make(values, layout)
        for second in layouts(repeats.shape, few=True):
            for dtype in ("int64", "uint16"):
                y = xp.repeat(x, make(repeats.astype(dtype), second), axis=0)
                same(y, expected, split=layout.split)
        same(xp.repeat(x, repeats.tolist(), axis=0), expected)
        same(x.repeat(repeats, 0), expected)
        same(xp.repeat(x, [2], axis=1), np.repeat(values, [2], 1))
        same(xp.repeat(x, make(np.array(2)), axis=1), np.repeat(values, 2, 1))
        many = np.arange(15) % 3
        same(
            xp.repeat(x, make(many, Layout.balanced((15,), 0, xp.world()))), np.repeat(values, many)
        )


def test_repeat_messages(comm, same):
    n = 3 * comm.size
    x, repeats = balanced((n, 2), 0, comm), np.arange(n) % 4
    whole, parts = make(repeats), make(repeats, Layout.balanced((n,), 0, comm))
    with xp.trace() as t:
        y = xp.repeat(x, whole, axis=0)
    assert t.events == []
    with xp.trace() as t:
        z = xp.repeat(x, parts, axis=0)
    assert t.collectives == ["allgather_ints"] * (comm.size > 1)
    assert y.layout == z.layout
    bad = make(np.arange(n) - 1, parts.layout)  # the negative one is on rank 0 only
    with pytest.raises(ValueError, match="repeat: repeats has negative elements"):
        xp.repeat(x, bad, axis=0)
    same(xp.repeat(balanced((0, 2), 0, comm), make(np.zeros(0, int)), axis=0), numbers((0, 2)))


@pytest.mark.parametrize(
    "repetitions",
    [(), (1,), (2,), (3, 1), (1, 4), (2, 3), (2, 1, 2), (2, 2, 1, 1), (0, 2), (7, 1)],
    ids=str,
)
def test_tile(repetitions, same):
    for shape in ((5, 3), (1, 2), (0, 2)):
        values = numbers(shape)
        for layout in layouts(shape, few=True):
            x = make(values, layout)
            with xp.trace() as t:
                y = xp.tile(x, repetitions)
            same(y, np.tile(values, repetitions))
            assert (y.split is None) == (layout.split is None)
            # If there are about as many copies as ranks, every rank needs all rows.
            assert t.collectives in ([], ["exchange"], ["allgather"])
    for layout in layouts((4,), few=True):
        same(xp.tile(make(numbers((4,)), layout), repetitions), np.tile(numbers((4,)), repetitions))
    same(xp.tile(make(numbers(())), repetitions), np.tile(numbers(()), repetitions))


@given(data=st.data())
def test_repeat_and_tile_any(data):
    with comparison(bitwise=True) as same:
        shape = data.draw(shapes)
        values = numbers(shape)
        x = make(values, data.draw(drawn_layouts(shape)))
        axis = data.draw(st.integers(0, len(shape) - 1))
        n = shape[axis]
        repeats = np.array(data.draw(st.lists(st.integers(0, 3), min_size=n, max_size=n)), int)
        spread = make(repeats, data.draw(drawn_layouts((n,))))
        if n != 1:
            same(xp.repeat(x, spread, axis=axis), np.repeat(values, repeats, axis))
        copies = tuple(data.draw(st.lists(st.integers(0, 3), max_size=4)))
        same(xp.tile(x, copies), np.tile(values, copies))


def test_tile_messages(comm):
    n = 4 * comm.size
    x = balanced((n, 2), 0, comm)
    with xp.trace() as t:
        y = xp.tile(x, (1, 3))
        z = xp.tile(x, (2, 1, 1))
    assert t.events == []
    assert y.layout == Layout.balanced((n, 6), 0, comm)
    assert z.layout == Layout.balanced((2, n, 2), 1, comm)
    with xp.trace() as t:
        y = xp.tile(x, (100, 1))
    assert y.layout.counts == Layout.balanced((100 * n,), 0, comm).counts
    assert t.collectives == ["allgather"] * (comm.size > 1)
    assert t.bytes() == 4 * 2 * 8 * (comm.size > 1)  # each row goes to all ranks once


# ---------------------------------------------------------------------- pad

MODES = ["constant", "edge", "reflect", "symmetric", "wrap"]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    "width", [0, 1, (2, 0), ((0, 3),), ((1, 2), (0, 1)), ((9, 11), (4, 7))], ids=str
)
def test_pad(width, mode, same):
    for shape in ((5, 3), (1, 2)):
        values = numbers(shape)
        for layout in layouts(shape, few=True):
            x = make(values, layout)
            with xp.trace() as t:
                y = xp.pad(x, width, mode=mode)
            same(y, np.pad(values, width, mode=mode), split=layout.split)
            assert t.collectives in ([], ["exchange"])
            assert y.local is not x.local


def test_pad_constants(same):
    values = numbers((4, 3), "int16")
    for layout in layouts(values.shape, few=True):
        x = make(values, layout)
        for constants in (7, (1, 2), ((1, 2), (3, 4)), ((5,), (6,)), 2.7):
            y = xp.pad(x, ((1, 2), (3, 1)), constant_values=constants)
            same(y, np.pad(values, ((1, 2), (3, 1)), constant_values=constants))
    values = numbers((2, 0))
    for layout in layouts(values.shape, few=True):
        same(xp.pad(make(values, layout), 1, constant_values=np.nan), np.full((4, 2), np.nan))
    values = numbers((3,), "uint64")
    for layout in layouts(values.shape, few=True):
        y = xp.pad(make(values, layout), 1, constant_values=2**64 - 1)
        same(y, np.pad(values, 1, constant_values=2**64 - 1))
    same(xp.pad(make(np.ones(())), ()), np.ones(()))


@given(data=st.data())
def test_pad_any(data):
    with comparison(bitwise=True) as same:
        shape = data.draw(st.lists(st.integers(1, 5), min_size=1, max_size=2).map(tuple))
        values = numbers(shape)
        x = make(values, data.draw(drawn_layouts(shape)))
        width = [(data.draw(st.integers(0, 12)), data.draw(st.integers(0, 12))) for _ in shape]
        mode = data.draw(st.sampled_from(MODES))
        same(xp.pad(x, width, mode=mode), np.pad(values, width, mode=mode))


def test_pad_messages(comm):
    n = 5 * comm.size
    x = balanced((n, 4), 0, comm)
    with xp.trace() as t:
        y = xp.pad(x, ((0, 0), (2, 1)), mode="reflect")
        z = xp.pad(x, ((0, 0), (2, 1)))
    assert t.events == []
    assert y.layout == z.layout == Layout.balanced((n, 7), 0, comm)
    with xp.trace() as t:
        y = xp.pad(x, ((comm.size, 0), (0, 0)), mode="edge")
    assert t.collectives == ["exchange"] * (comm.size > 1)
    assert t.bytes() <= (comm.size + 1) * 4 * 8
    assert y.is_balanced
