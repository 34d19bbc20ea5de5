"""Writing by index against NumPy: every kind of key and value, and that nothing else changes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, note
from hypothesis import strategies as st

import heat_array_api as xp
from index_cases import Case, cases, numbers, values_for
from layouts import assert_equal, layouts, make


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
    assert x.layout == case.layout
    assert_equal(x, expected)
    assert_equal(view, case.values)


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
        assert_equal(slice_, source[1:4])
        assert_equal(shape, source.reshape(2, 3))
        assert_equal(same, source)
        slice_[0] = 7.0
        assert_equal(x, np.asarray([0, 1, -1, 3, 4, 5.0]))


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
