"""Layouts, and the way from any of them to any other."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import heat_array_api as xp
from heat_array_api._comm.division import Division
from heat_array_api._core.layout import Layout, normalize_axes, normalize_axis
from layouts import assert_equal, layouts, make


def test_balanced_counts():
    assert Division.balanced(10, 4).counts == (3, 3, 2, 2)
    assert Division.balanced(2, 4).counts == (1, 1, 0, 0)
    assert Division.balanced(0, 3).counts == (0, 0, 0)


def test_a_layout_is_complete():
    comm = xp.world()
    for layout in layouts((7, 3)):
        if layout.split is None:
            assert layout.counts == ()
            assert layout.local_shape == (7, 3)
            assert layout.is_balanced
            continue
        assert sum(layout.counts) == layout.shape[layout.split]
        assert layout.offsets[0] == 0
        assert layout.offsets[-1] == layout.shape[layout.split]
        assert layout.start == layout.offsets[comm.rank]
        assert layout.count == layout.counts[comm.rank]
        assert layout.local_shape == layout.shape_of(comm.rank)
        assert layout.size == 21
        assert layout.nonempty


def test_layouts_are_values():
    comm = xp.world()
    a, b = (
        Layout.balanced((4, 3), 0, comm),
        Layout.of((4, 3), 0, Division.balanced(4, comm.size), comm),
    )
    assert a == b
    assert hash(a) == hash(b)
    assert a != Layout.balanced((4, 3), 1, comm)
    with pytest.raises(AttributeError):
        a.split = 1


def test_other_lengths():
    comm = xp.world()
    layout = Layout.balanced((4, 3), 1, comm)
    assert layout.with_length(0, 9) == Layout.of((9, 3), 1, layout.counts, comm)
    assert layout.with_length(1, 9) == Layout.balanced((4, 9), 1, comm)
    counts = (9, *[0] * (comm.size - 1))
    assert layout.with_length(1, 9, counts) == Layout.of((4, 9), 1, counts, comm)
    assert layout.split_along(None).with_length(0, 2) == Layout.replicated((2, 3), comm)


def test_axes_come_and_go():
    comm = xp.world()
    layout = Layout.of((4, 3, 5), 1, (3, *[0] * (comm.size - 1)), comm)
    assert layout.insert(0, 3, length=2) == layout.with_shape((2, 4, 3, 2, 5), 2)
    assert layout.insert(0, 3, length=2).drop(0, 3) == layout
    assert layout.drop(0, 2) == layout.with_shape((3,), 0)
    assert layout.drop(0, keepdims=True) == layout.with_shape((1, 3, 5), 1)
    assert layout.drop(1) == Layout.replicated((4, 5), comm)
    assert layout.drop(1, keepdims=True) == Layout.replicated((4, 1, 5), comm)


def test_other_splits():
    comm = xp.world()
    layout = Layout.balanced((2, 7, 7), 0, comm)
    assert layout.split_along(2) == Layout.balanced((2, 7, 7), 2, comm)
    assert layout.split_off(()) == layout.split_off((0,)) == layout.split_along(1)
    assert layout.split_off((1, 2)) == layout
    assert layout.split_off((0, 1, 2)) == layout.split_along(None)


def test_counts_must_fit():
    comm = xp.world()
    for counts in ((3,) * comm.size, (4,) + (0,) * comm.size):
        with pytest.raises(ValueError, match="counts"):
            Layout((4,), 0, Division.of(counts), comm)


def test_layouts_that_make_no_sense():
    comm = xp.world()
    rest = (0,) * (comm.size - 1)
    for shape, split, counts, message in (
        ((4, 3), -1, (3, *rest), "split is -1; expected None or an axis"),
        ((4, 3), 2, (3, *rest), "split is 2"),
        ((), 0, (1, *rest), "split is 0"),
        ((4,), None, (4, *rest), "split is None, but counts"),
        ((4,), 0, (), "do not divide axis 0"),
        ((4,), 0, (4, 0, *rest), "do not divide axis 0"),
    ):
        with pytest.raises(ValueError, match=f"Layout: .*{message}"):
            Layout(shape, split, Division.of(counts), comm)
    if comm.size > 1:
        with pytest.raises(ValueError, match="do not divide"):
            Layout((4,), 0, Division.of((5, -1, *rest[1:])), comm)


def test_axes():
    assert normalize_axis("f", -1, 3) == 2
    assert normalize_axes("f", None, 2) == (0, 1)
    assert normalize_axes("f", (2, -3), 3) == (0, 2)
    with pytest.raises(IndexError, match="f: axis 3 is out of range for an array of 3"):
        normalize_axis("f", 3, 3)
    with pytest.raises(TypeError, match=r"f: axis is 1\.5"):
        normalize_axis("f", 1.5, 3)
    with pytest.raises(ValueError, match="twice"):
        normalize_axes("f", (0, -3), 3)


# ---------------------------------------------------------------------- redistribution


@pytest.mark.parametrize("shape", [(7,), (5, 4), (3, 1, 4), (0, 3), (1, 1)])
def test_any_layout_to_any_other(shape):
    values = np.arange(np.prod(shape), dtype="float64").reshape(shape)
    for source, target in itertools.product(layouts(shape, few=True), layouts(shape, few=True)):
        y = xp.redistribute(make(values, source), target)
        assert y.layout == target
        assert_equal(y, values)


@pytest.mark.parametrize(
    "dtype", ["bool", "int8", "uint16", "uint32", "uint64", "float16", "complex64", "complex128"]
)
def test_redistribution_of_every_dtype(dtype):
    values = np.arange(20).reshape(5, 4).astype(dtype)
    for layout in layouts((5, 4), few=True):
        x = make(values, layout)
        for axis in (None, 0, 1, -1):
            y = xp.resplit(x, axis)
            assert y.split == (None if axis is None else axis % 2)
            assert_equal(y, values)


def test_rebalance():
    for layout in layouts((9, 2)):
        y = xp.rebalance(make(np.arange(18).reshape(9, 2), layout))
        assert y.is_balanced
        assert y.split == layout.split
        assert_equal(y, np.arange(18).reshape(9, 2))


def test_messages_of_redistribution():
    comm = xp.world()
    x = xp.ones((40, 12), split=0)
    for call, expected in (
        (lambda: xp.resplit(x, 1), "alltoall"),
        (lambda: xp.resplit(x, None), "allgather"),
        (lambda: xp.resplit(x, 0), None),
        (lambda: xp.rebalance(x), None),
        (lambda: xp.resplit(xp.ones((40, 12), split=None), 1), None),
    ):
        with xp.trace() as t:
            call()
        assert t.collectives == ([expected] if expected and comm.size > 1 else [])
        assert t.bytes() <= x.local.nbytes


def test_redistribution_moves_only_what_changes_rank():
    comm = xp.world()
    if comm.size < 2:
        pytest.skip("needs several ranks")
    n = 100 * comm.size
    counts = (101, 99, *(100,) * (comm.size - 2))
    x = xp.redistribute(xp.zeros(n, split=0), Layout.of((n,), 0, counts, comm))
    with xp.trace() as t:
        xp.rebalance(x)
    assert t.bytes() == (8 if comm.rank == 0 else 0)


def test_redistribute_errors():
    x = xp.zeros((4, 3), split=0)
    with pytest.raises(ValueError, match="redistribute: layout has shape"):
        xp.redistribute(x, Layout.balanced((4,), 0, x.comm))
    with pytest.raises(IndexError, match="resplit"):
        xp.resplit(x, 2)
    assert xp.resplit(xp.asarray(1.0), 0).split is None


def test_results_are_values_of_their_own():
    values = np.arange(6.0)
    for layout in layouts((6,)):
        x = make(values, layout)
        for y in (xp.resplit(x, layout.split), xp.rebalance(x), xp.redistribute(x, layout)):
            y[0] = 99.0
            assert_equal(x, values)


# ---------------------------------------------------------------------- communicators


def test_arrays_on_a_part_of_the_ranks():
    comm = xp.world()
    part = comm.split(comm.rank % 2)
    values = np.arange(15.0).reshape(5, 3) + comm.rank % 2
    x = xp.asarray(values, split=0, comm=part)
    assert x.comm is part
    assert np.array_equal(np.asarray(xp.sum(x, axis=0)), values.sum(axis=0))
    assert np.array_equal(np.asarray(xp.resplit(x, 1)), values)
    assert np.array_equal(np.asarray(xp.sort(x, axis=0, descending=True)), values[::-1])
    assert xp.zeros_like(x).comm is part
    with pytest.raises(xp.CommunicatorMismatchError, match="add: the arrays live on different"):
        x + xp.zeros((5, 3), split=0)
    with pytest.raises(xp.CommunicatorMismatchError, match="concat"):
        xp.concat([x, xp.zeros((5, 3), split=0)])
    with pytest.raises(ValueError, match="lives on"):
        xp.asarray(x, comm=comm)
