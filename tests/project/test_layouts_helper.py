"""The tests' own helper: arrays of every layout make the round trip, and errors are seen by all."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from comparing import comparison
from layouts import assert_equal, describe, difference, divide, layouts, make

SHAPES = [(), (0,), (1,), (7,), (5, 3), (0, 4), (3, 0, 2), (2, 9, 4)]
NAMES = "bool int8 uint16 uint64 float16 float32 float64 complex64 complex128"
DTYPES = [*NAMES.split(), ml_dtypes.bfloat16]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_round_trip(shape, dtype):
    values = (np.arange(np.prod(shape, dtype=int)).reshape(shape) % 5).astype(dtype)
    for layout in layouts(shape):
        x = make(values, layout)
        assert x.layout == layout
        assert_equal(x, values, split=layout.split)


def test_layouts_are_distinct_and_complete(comm):
    found = list(layouts((60, 2)))
    assert len(found) == len({describe(layout) for layout in found})
    assert {layout.split for layout in found} == {None, 0, 1}
    assert set(layouts((60, 2), few=True)) <= set(found)
    if comm.size > 1:
        assert any(0 in layout.counts for layout in found)
        assert any(not layout.is_balanced and 0 not in layout.counts for layout in found)


def test_divide():
    assert divide(7, [1, 0, 2]) == (2, 0, 5)
    assert divide(0, [1, 1]) == (0, 0)


def test_a_wrong_value_on_one_rank_is_an_error_on_all(comm):
    values = np.arange(8.0)
    x = make(values, next(layout for layout in layouts((8,)) if layout.split == 0))
    if comm.rank == comm.size - 1:
        x.local[-1] = 99
    with pytest.raises(AssertionError):
        assert_equal(x, values)


def test_unequal_copies_are_an_error_on_all(comm):
    x = make(np.zeros(3))
    if comm.rank == comm.size - 1:
        x.local[0] = 1e-300
    if comm.size > 1:
        with pytest.raises(AssertionError, match="bitwise"):
            assert_equal(x, np.zeros(3))


@pytest.mark.parametrize("bitwise", [False, True])
def test_a_comparison_fails_on_all_ranks_at_its_end(bitwise, comm):
    values = np.arange(8.0)
    layout = next(layout for layout in layouts((8,)) if layout.split == 0)
    x = make(values, layout)
    if comm.rank == comm.size - 1:
        x.local[-1] = 99
    with pytest.raises(AssertionError), comparison(bitwise=bitwise) as compare:
        compare(x, values)
    with comparison(bitwise=bitwise) as compare:
        compare((make(values), make(values, layout)), (values, values), split=...)
    with pytest.raises(AssertionError, match="expected split"), comparison() as compare:
        compare(make(values), values, split=0)


def test_only_bytes_tell_signed_zeros(comm):
    zero = np.zeros(1)
    with comparison() as compare:
        compare(make(-zero), zero)
    with pytest.raises(AssertionError), comparison(bitwise=True) as compare:
        compare(make(-zero), zero)


@pytest.mark.parametrize(
    ("actual", "expected", "equal"),
    [
        ([1.0, np.nan, np.inf], [1 + 1e-15, np.nan, np.inf], True),
        ([1.0], [1 + 1e-9], False),
        ([np.inf], [np.nan], False),
        ([np.inf], [-np.inf], False),
        ([1 + 2j], [1 + 2j], True),
        ([1 + 2j], [1 + 2.1j], False),
        ([1], [2], False),
        ([1e-16, 1.0], [0.0, 1.0], True),
    ],
)
def test_difference(actual, expected, equal):
    assert (difference(np.asarray(actual), np.asarray(expected)) is None) == equal


def test_difference_of_signed_zeros():
    zero = np.zeros(1)
    assert difference(zero, -zero) is None
    assert difference(zero, -zero, signed_zeros=True)
