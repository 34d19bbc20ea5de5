"""Writing by index against NumPy: every kind of key and value, and that nothing else changes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, note
from hypothesis import strategies as st

import heat_array_api as xp
from heat_array_api._core.layout import Layout
from index_cases import Case, cases, numbers, values_for
from layouts import assert_equal, divide, layouts, make


def check(case: Case, data: st.DataObject) -> None:
    note(f"shape {case.values.shape}, {case.layout.split} {case.layout.counts}, key {case.key}")
    try:
        selection = case.values[case.key]
    except IndexError:
        return
    value, ours = data.draw(values_for(np.shape(selection), case.values.dtype))
    expected = case.values.copy()
    try:
        expected[case.key] = value
    except ValueError:  # NumPy refuses some shapes for a mask
        return
    x = case.array()
    view = x[...]
    x[case.our_key] = ours
    if x.layout != case.layout:  # replicated, and something split and not much smaller was written
        assert case.layout.split is None
        written = [ours, *(case.our_key if isinstance(case.our_key, tuple) else [case.our_key])]
        split = [w for w in written if isinstance(w, xp.Array) and w.split is not None]
        assert any(w.size < x.size * x.comm.size for w in split)
    assert_equal(x, expected)
    assert_equal(view, expected)


@given(cases("basic"), st.data())
def test_basic(case, data):
    check(case, data)


@given(cases("arrays"), st.data())
def test_arrays(case, data):
    check(case, data)


@given(cases("mask"), st.data())
def test_mask(case, data):
    check(case, data)


def test_last_of_equal_indices_wins():
    index = np.asarray([3, 1, 3, 0, 3, 1])
    value = np.arange(6.0)
    expected = np.zeros(5)
    expected[index] = value
    for layout in layouts((5,)):
        for index_layout in layouts((6,)):
            x = make(np.zeros(5), layout)
            x[make(index, index_layout)] = make(value, index_layout)
            assert_equal(x, expected)


def test_last_of_equal_indices_wins_in_row_major_order():
    index = np.asarray([[0, 1, 2], [2, 1, 0], [1, 1, 1]])
    value = np.arange(9.0).reshape(3, 3)
    expected = np.zeros(4)
    expected[index] = value
    for layout in layouts((4,), few=True):
        for index_layout in layouts((3, 3), few=True):
            x = make(np.zeros(4), layout)
            x[make(index, index_layout)] = make(value, index_layout)
            assert_equal(x, expected)


def test_values_of_other_dtypes():
    for layout in layouts((4,), few=True):
        x = make(np.zeros(4, dtype=np.float32), layout)
        x[0] = 1
        x[1] = True
        x[2:] = xp.asarray([2, 3])
        assert_equal(x, np.asarray([1, 1, 2, 3], dtype=np.float32))
        y = make(np.zeros(4, dtype=np.uint64), layout)
        y[1:3] = 2**64 - 1
        assert_equal(y, np.asarray([0, 2**64 - 1, 2**64 - 1, 0], dtype=np.uint64))


@pytest.mark.parametrize(
    ("dtype", "value"),
    [
        ("int64", 1.5),
        ("float64", 1j),
        ("bool", 2),
        ("int8", np.asarray([0.5])),
        ("float32", 1 + 0j),
    ],
)
def test_kinds_that_do_not_fit(dtype, value):
    x = xp.zeros(3, dtype=dtype, split=0)
    with pytest.raises(TypeError, match="astype"):
        x[0] = value


def test_integers_that_do_not_fit():
    x = xp.zeros(3, dtype="int8", split=0)
    with pytest.raises(OverflowError):
        x[0] = 300


@pytest.mark.parametrize("shape", [(2,), (4, 1), (1, 2), (2, 3, 3)])
def test_shapes_that_do_not_fit(shape):
    for layout in layouts((3, 3), few=True):
        x = make(np.zeros((3, 3)), layout)
        with xp.trace() as t, pytest.raises(ValueError, match="setitem"):
            x[...] = xp.zeros(shape)
        assert t.events == []
        assert_equal(x, np.zeros((3, 3)))


def test_writes_do_not_show_elsewhere():
    source = np.arange(6.0)
    for layout in layouts((6,)):
        x = make(source, layout)
        slice_, shape, same = x[1:4], xp.reshape(x, (2, 3)), xp.positive(x)
        x[2] = -1.0
        assert_equal(slice_, [1.0, -1, 3])  # views
        assert_equal(shape, np.asarray([[0.0, 1, -1], [3, 4, 5]]))
        assert_equal(same, source)
        same += 1.0
        assert_equal(x, np.asarray([0, 1, -1, 3, 4, 5.0]))


def test_writes_go_through_a_basic_selection():
    def program(x):
        """Whatever NumPy's views do here."""
        first, column, backwards = x[0], x[:, 1], x[::-1, 2:]
        first[2] = 10.0
        column *= 2.0
        backwards[0, :] = 20.0
        inner = x[1:][1:, :3][0]
        inner[...] = 30.0
        x[3][1:3] = 40.0
        for row in x[4:]:
            row += 50.0
        x[np.int64(1), 0:2] -= 1.0
        x.T[4, 2:5] = 70.0
        x.reshape((5, 7))[1, 3:] += 80.0
        x.T[1:3].T[5][1] = 90.0
        x[...][None, :, 3][0, -2] = 60.0
        return x

    values = np.arange(35.0).reshape(7, 5)
    expected = program(values.copy())
    for layout in layouts((7, 5)):
        assert_equal(program(make(values, layout)), expected)


def test_a_selection_shows_what_is_written():
    for layout in layouts((6,), few=True):
        x = make(np.arange(6.0), layout)
        part = x[2:4]
        x[...] = 0.0
        assert_equal(part, [0.0, 0.0])
        part[0] = 9.0
        assert_equal(part, [9.0, 0.0])
        assert_equal(x, [0.0, 0, 9, 0, 0, 0])


def test_an_update_in_place_is_written_once():
    x = xp.zeros((8, 3), split=0)
    row = xp.ones((4, 3), split=0)
    with xp.trace() as t:
        x[2:6] += row
    moved = t.count()
    with xp.trace() as t:
        part = x[2:6]
        part = part + row
        x[2:6] = part
    assert moved == t.count()
    part = x[2:6]
    part += 1.0
    x[...] = 0.0
    x[2:6] = part  # it has changed with the array
    assert_equal(x[2:6], np.zeros((4, 3)))
    part += 3.0
    x[:4] = part  # another key
    assert_equal(x[:6], np.full((6, 3), 3.0))


def test_writes_through_are_differentiated():
    def f(w):
        x = w * 1.0
        x[1][0] = x[0, 1] * 3.0
        x[:, 2] *= 2.0
        return xp.sum(x * x)

    def g(w):
        return w[0, 0] ** 2 + 10 * w[0, 1] ** 2 + 4 * w[0, 2] ** 2 + w[1, 1] ** 2 + 4 * w[1, 2] ** 2

    values = np.arange(1.0, 7.0).reshape(2, 3)
    expected = np.asarray(xp.autograd.grad(g)(xp.asarray(values, split=None)))
    for layout in layouts((2, 3)):
        assert_equal(xp.autograd.grad(f)(make(values, layout)), expected)


def test_user_memory_is_never_written():
    comm = xp.world()
    shard = np.arange(3.0)
    x = xp.from_local(shard, split=0)
    x[...] = 5.0
    assert shard.tolist() == [0.0, 1.0, 2.0]
    assert_equal(x, np.full(3 * comm.size, 5.0))


def test_repeated_writes_do_not_copy():
    x = xp.zeros(1000, split=0)
    x[0] = 1.0
    before = x.local.data_ptr()
    for i in range(10):
        x[i] = 2.0
    assert x.local.data_ptr() == before


def test_self_assignment():
    values = numbers((7,), "int64", 0)
    expected = values.copy()
    expected[1:] = values[:-1]
    for layout in layouts((7,)):
        x = make(values, layout)
        x[1:] = x[:-1]
        assert_equal(x, expected)


def test_messages():
    values = numbers((60, 4), "float64", 0)
    x = xp.asarray(values, split=0)
    with xp.trace() as t:
        x[3:40] = 1.0
        x[7] = xp.zeros(4, split=None)
        x[x > 50.0] = 0.0
        x[10:20] += xp.ones((10, 4), split=None)
    assert t.events == []
    expected = values.copy()
    expected[3:40] = 1
    expected[7] = 0
    expected[expected > 50] = 0
    expected[10:20] += 1
    assert_equal(x, expected)


def test_a_split_value_moves_once():
    x = xp.zeros((60, 4), split=0)
    value = xp.ones((30, 4), split=0)
    with xp.trace() as t:
        x[30:] = value
    assert t.count() <= 1
    assert t.count("allgather") == 0


def test_a_replicated_array_becomes_split_where_split_values_are_written(comm):
    counts = divide(60, [2, 0, 1, 1][: comm.size] if comm.size > 1 else [1])
    column, table = np.arange(60.0), np.arange(180.0).reshape(60, 3)
    split_column = make(column, Layout.of((60,), 0, counts, comm))
    split_table = make(table, Layout.of((60, 3), 0, counts, comm))
    where = make(column % 2 == 0, Layout.of((60,), 0, counts, comm))
    classes = make(np.arange(60) % 4, Layout.of((60,), 0, counts, comm))
    writes = {
        "box": ((slice(None), slice(1, 4)), split_table, table),
        "column": ((slice(None), 2), split_column, column),
        "mask, a scalar": (where, -1.0, -1.0),
        "mask, a row": (where, xp.asarray([1.0, 2, 3, 4], split=None), [1.0, 2, 3, 4]),
        "points": ((xp.arange(60, split=None), classes), 1.0, 1.0),
    }
    for name, (key, value, expected_value) in writes.items():
        plain = np.zeros((60, 4))
        numpy_key = (
            tuple(np.asarray(k) if isinstance(k, xp.Array) else k for k in key)
            if (isinstance(key, tuple))
            else np.asarray(key)
        )
        plain[numpy_key] = expected_value
        x = xp.zeros((60, 4), split=None)
        view = x[...]
        with xp.trace() as t:
            x[key] = value
        assert (x.split, x.layout.counts) == (0, counts), name
        assert_equal(x, plain)
        assert view.split == 0, name
        assert_equal(view, plain)
        assert t.count("allgather") == 0, name
        if name != "points":
            assert t.count() == 0, f"{name}: {t}"


def test_a_part_of_a_replicated_array_is_written():
    x, value = xp.zeros((60, 4), split=None), xp.ones((30, 4), split=0)
    with xp.trace() as t:
        x[30:] = value
    assert x.layout == Layout.balanced((60, 4), 0, x.comm)
    assert t.count("allgather") == 0
    assert_equal(x, np.repeat([[0.0], [1.0]], 30, axis=0) * np.ones(4))
    y = xp.zeros(60, split=None)
    y[np.arange(59, 19, -1)] = xp.arange(40.0, split=0)
    assert y.layout == Layout.balanced((60,), 0, x.comm)
    assert_equal(y, np.concatenate([np.zeros(20), np.arange(39.0, -1, -1)]))


def test_a_small_array_stays_replicated(comm):
    """No bigger than one rank's share of what is written: as any result of an operation."""
    x = xp.zeros(3, split=None)
    index = xp.arange(60 * comm.size, split=0) % 3
    x[index] = xp.astype(index, xp.float64)
    assert x.split is None
    assert_equal(x, np.arange(3.0))
    x[index[:2]] = 9.0  # of about its own size
    assert x.split == 0
    assert_equal(x, [9.0, 9.0, 2.0])


def test_an_input_of_the_tape_keeps_its_layout():
    w = xp.zeros((8, 3), split=None).requires_grad_()
    with xp.autograd.no_grad():
        w[...] = xp.ones((8, 3), split=0)
        w -= xp.full((8, 3), 0.5, split=0)
    assert w.split is None
    assert_equal(w.detach(), np.full((8, 3), 0.5))


def test_values_of_length_1_fit_any_selection():
    """Split or not, also where the selection is empty, or has fewer axes than the value."""
    values = np.arange(15.0).reshape(5, 3)
    keys = [..., slice(0, 0), (slice(None), slice(2, 2)), slice(1, 4), (slice(None), 1), 2]
    for key in [*keys, np.asarray([3, 0]), np.asarray([], dtype="int64")]:
        for shape in ((1,), (1, 1), (1, 1, 1), (1, 3), (1, 1, 3)):
            value = np.full(shape, 7.0)
            expected = values.copy()
            try:
                expected[key] = value
            except ValueError:
                continue
            for layout in layouts(values.shape, few=True):
                for other in layouts(shape, few=True):
                    x = make(values, layout)
                    x[key] = make(value, other)
                    assert_equal(x, expected)
