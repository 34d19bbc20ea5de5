"""Reading by index against NumPy: every kind of key on every layout, and what it sends."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, note
from hypothesis import strategies as st

import heat_array_api as xp
from index_cases import DTYPES, Case, cases, layouts_of, numbers, shapes
from layouts import assert_equal, layouts, make


def check(case: Case) -> None:
    note(f"shape {case.values.shape}, {case.layout.split} {case.layout.counts}, key {case.key}")
    try:
        expected = case.values[case.key]
    except IndexError:  # NumPy's: index arrays that do not broadcast together
        with pytest.raises((IndexError, ValueError)):
            case.array()[case.our_key]
        return
    assert_equal(case.array()[case.our_key], np.asarray(expected))


@given(cases("basic"))
def test_basic(case):
    check(case)


@given(cases("arrays"))
def test_arrays(case):
    check(case)


@given(cases("mask"))
def test_mask(case):
    check(case)


@pytest.mark.parametrize("dtype", [*DTYPES, "int8", "uint8", "uint32", "float32", "complex128"])
def test_every_dtype(dtype):
    values = numbers((5, 4), dtype, 0)
    for layout in layouts((5, 4), few=True):
        x = make(values, layout)
        assert_equal(x[1:, ::2], values[1:, ::2])
        assert_equal(x[::-2], values[::-2])
        assert_equal(x[2], values[2])
        assert_equal(x[[3, 0, 3]], values[[3, 0, 3]])
        assert_equal(x[values > 40], values[values > 40])


def test_zero_dimensional():
    x = xp.asarray(3.5)
    for key in ((), Ellipsis, None, True, False, (None, Ellipsis)):
        assert_equal(x[key], np.asarray(3.5)[key])


def test_numpy_and_list_keys():
    values = numbers((6, 3), "int64", 1)
    for layout in layouts((6, 3)):
        x = make(values, layout)
        assert_equal(x[np.int64(2)], values[2])
        assert_equal(x[np.asarray([1, -1])], values[[1, -1]])
        assert_equal(x[[0, 5], [2, 1]], values[[0, 5], [2, 1]])
        assert_equal(x[[]], values[[]])
        assert_equal(x[values[:, 0] > 50], values[values[:, 0] > 50])
        assert_equal(x[[True, False] * 3], values[[True, False] * 3])
        assert_equal(x[xp.asarray(4)], values[4])


def test_mask_with_other_items():
    values = numbers((4, 3, 5), "float64", 2)
    mask = values[:, 0, 0] > 40
    columns = np.asarray([True, False, True, True, False])
    for layout in layouts((4, 3, 5), few=True):
        x = make(values, layout)
        assert_equal(x[mask, 1:], values[mask, 1:])
        assert_equal(x[:, 1, columns], values[:, 1, columns])
        assert_equal(x[..., columns], values[..., columns])


@pytest.mark.parametrize(
    "key",
    [
        7,
        -8,
        (0, 3),
        (slice(None), -4),
        (0, 0, 0),
        (Ellipsis, Ellipsis),
        "a",
        1.5,
        ([0, 7],),
        ([0.5],),
    ],
)
def test_errors_on_all_ranks(key):
    for layout in layouts((7, 3), few=True):
        x = make(numbers((7, 3), "float64", 0), layout)
        with xp.trace() as t, pytest.raises(IndexError, match="index"):
            x[key]
        assert t.count("alltoall") == t.count("exchange") == 0


def test_out_of_range_in_a_split_index_raises_everywhere():
    comm = xp.world()
    x = xp.arange(10, split=0)
    index = xp.arange(comm.size, split=0) * 100  # out of range on every rank but the first
    if comm.size > 1:
        with pytest.raises(IndexError, match="out of range"):
            x[index]


def test_mask_of_another_shape():
    x = xp.zeros((4, 3), split=0)
    with pytest.raises(IndexError, match="mask of shape"):
        x[xp.asarray([True, False])]


# ---------------------------------------------------------------------- messages


def split_array(n: int, d: int) -> tuple[np.ndarray, xp.Array]:
    values = numbers((n, d), "float64", 3)
    return values, xp.asarray(values, split=0)


def test_slices_send_nothing():
    values, x = split_array(50, 4)
    for key in (
        slice(3, 40, 3),
        (slice(None), 2),
        (None, slice(1, None)),
        (Ellipsis, slice(None, None, -1)),
    ):
        with xp.trace() as t:
            y = x[key]
        assert t.events == []
        assert_equal(y, values[key])
        assert y.split is not None


def test_a_row_is_one_broadcast():
    values, x = split_array(50, 4)
    with xp.trace() as t:
        y = x[37]
    assert t.collectives == (["bcast"] if x.comm.size > 1 else [])
    assert t.bytes() == (32 if x.comm.size > 1 else 0)
    assert y.split is None
    assert_equal(y, values[37])


def test_reversal_is_one_exchange_at_most():
    values, x = split_array(48, 4)
    with xp.trace() as t:
        y = x[::-1]
    assert t.collectives in ([], ["exchange"])
    assert t.bytes() <= x.local.nbytes
    assert_equal(y, values[::-1])


def test_a_few_rows_do_not_move_the_array():
    values, x = split_array(4000, 4)
    index = np.asarray([5, 3999, 17])
    with xp.trace() as t:
        y = x[index]
    assert y.split is None
    assert t.collectives == (["allgather"] if x.comm.size > 1 else [])
    assert t.bytes() <= 3 * 32
    assert_equal(y, values[index])


def test_a_split_index_gives_a_split_result():
    values, x = split_array(4000, 4)
    index = np.random.default_rng(0).integers(0, 4000, 1000)
    with xp.trace() as t:
        y = x[xp.asarray(index, split=0)]
    assert y.split == 0
    assert t.count("allgather") == 0
    assert t.bytes("alltoall") <= 2 * 1000 * (8 + 32)
    assert_equal(y, values[index])


def test_a_large_replicated_index_gives_a_result_split_along_its_longest_axis():
    values, x = split_array(1000, 3)
    index = np.arange(2000).reshape(2, 1000) % 1000
    y = x[index]
    assert y.split == 1
    assert_equal(y, values[index])


def test_single_elements_are_asked_for_one_by_one():
    values, x = split_array(1000, 300)
    rng = np.random.default_rng(0)
    rows, columns = rng.integers(0, 1000, 500), rng.integers(0, 300, 500)
    with xp.trace() as t:
        y = x[xp.asarray(rows, split=0), xp.asarray(columns, split=0)]
    assert t.bytes("alltoall") <= 500 * (8 + 8 + 8) + 1000  # never whole rows
    assert_equal(y, values[rows, columns])


def test_a_mask_sends_counts_only():
    values, x = split_array(100, 4)
    mask = x[:, 0] > 50.0
    with xp.trace() as t:
        y = x[mask]
    assert t.collectives == (["allgather_ints"] if x.comm.size > 1 else [])
    assert y.split == 0
    assert_equal(y, values[values[:, 0] > 50])


def test_more_ranks_than_rows_gives_a_split_row():
    comm = xp.world()
    if comm.size < 2:
        pytest.skip("needs several ranks")
    values = numbers((comm.size, 2000), "float64", 0)
    for count in range(1, comm.size + 1):
        few = xp.asarray(values[:count], split=0)
        for index in range(count):
            with xp.trace() as t:
                y = few[index]
            assert y.split == 0
            assert t.collectives == ["alltoall"]
            assert t.bytes() <= 2000 * 8  # of the row alone
            assert_equal(y, values[index])


def test_short_rows_are_replicated(comm):
    values = numbers((comm.size, 3), "float64", 0)
    assert_equal(xp.asarray(values, split=0)[0], values[0], split=None)


# ---------------------------------------------------------------------- take


@given(shapes(), st.data())
def test_take(shape, data):
    if not shape:
        return
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    n = shape[axis]
    values = numbers(shape, data.draw(st.sampled_from(DTYPES)), 0)
    index = np.asarray(
        data.draw(st.lists(st.integers(-n, n - 1), max_size=6)) if n else [], dtype=np.int64
    )
    x = make(values, data.draw(layouts_of(shape)))
    indices = make(index, data.draw(layouts_of(index.shape)))
    assert_equal(xp.take(x, indices, axis=axis), np.take(values, index, axis=axis))


def test_take_needs_an_axis():
    with pytest.raises(ValueError, match="axis"):
        xp.take(xp.zeros((2, 2)), xp.asarray([0]))
    with pytest.raises(TypeError, match="indices"):
        xp.take(xp.zeros(2), xp.asarray([0.5]))


@given(shapes(), st.data())
def test_take_along_axis(shape, data):
    if not shape:
        return
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    n = shape[axis]
    length = data.draw(st.integers(0, 4)) if n else 0
    target = list(shape)
    target[axis] = length
    index = np.random.default_rng(data.draw(st.integers(0, 99))).integers(-n, n or 1, target)
    values = numbers(shape, data.draw(st.sampled_from(DTYPES)), 0)
    x = make(values, data.draw(layouts_of(shape)))
    indices = make(index, data.draw(layouts_of(index.shape)))
    expected = np.take_along_axis(values, index, axis=axis)
    assert_equal(xp.take_along_axis(x, indices, axis=axis), expected)


def test_take_along_axis_broadcasts():
    values = numbers((4, 1, 3), "float64", 0)
    index = np.asarray([[[0], [2]]])
    expected = np.take_along_axis(
        np.broadcast_to(values, (4, 2, 3)), np.broadcast_to(index, (4, 2, 1)), axis=2
    )
    for layout in layouts(values.shape, few=True):
        x = make(values, layout)
        assert_equal(xp.take_along_axis(x, xp.asarray(index), axis=2), expected)


@pytest.mark.parametrize("shape", [(0,), (0, 3), (4, 0), (0, 0), (0, 3, 0)], ids=str)
def test_a_mask_with_an_axis_of_length_0_fits_any_array(shape):
    values = np.arange(24.0).reshape(4, 3, 2)
    none = np.zeros(shape, dtype=bool)
    for layout in layouts(values.shape, few=True):
        for mask in layouts(shape, few=True):
            x = make(values, layout)
            assert_equal(x[make(none, mask)], values[none])
            x[make(none, mask)] = 7.0
            assert_equal(x, values)
            if len(shape) < 3:
                assert_equal(x[..., :1][make(none, mask), 0], values[..., :1][none, 0])
            with pytest.raises(IndexError, match="a mask of shape"):
                x[:3, :2][make(np.zeros((0, 5, 2), dtype=bool))]
