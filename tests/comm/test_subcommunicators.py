"""Arrays that live on a part of the ranks: every chapter, and what happens at the border."""

from __future__ import annotations

import copy
import pickle
import threading

import numpy as np
import pytest
from mpi4py import MPI

import heat_array_api as xp
from heat_array_api._comm.communicator import as_communicator
from heat_array_api._core.layout import Layout
from layouts import assert_equal, layouts, make, same_everywhere

WORLD = xp.world()
SHAPE = (7, 3)


@pytest.fixture(scope="module", params=["halves", "odd and even", "alone", "reversed"])
def part(request):
    """Return the communicator of a part of the ranks; each part has values of its own."""
    rank, size = WORLD.rank, WORLD.size
    color, key = {
        "halves": (int(rank >= (size + 1) // 2), 0),
        "odd and even": (rank % 2, 0),
        "alone": (rank, 0),
        "reversed": (0, size - rank),
    }[request.param]
    return WORLD.split(color, key)


@pytest.fixture
def values():
    return np.random.default_rng(0).standard_normal(SHAPE)


def test_layouts_and_redistribution(part, values):
    for source in layouts(SHAPE, part, few=True):
        x = make(values, source)
        assert x.comm is part
        assert_equal(x, values)
        for target in layouts(SHAPE, part, few=True):
            y = xp.redistribute(x, target)
            assert y.layout == target
            assert_equal(y, values)


@pytest.mark.parametrize(
    ("name", "function", "expected"),
    [
        ("add", lambda x: x + x, lambda v: v + v),
        ("other split", lambda x: x * xp.resplit(x, 1), lambda v: v * v),
        ("scalar", lambda x: 2.0 - x, lambda v: 2.0 - v),
        ("numpy", lambda x: x - np.ones(3), lambda v: v - np.ones(3)),
        ("sum", xp.sum, lambda v: v.sum()),
        ("mean", lambda x: xp.mean(x, axis=0), lambda v: v.mean(axis=0)),
        ("std", lambda x: xp.std(x, axis=1), lambda v: v.std(axis=1)),
        ("cumulative_sum", lambda x: xp.cumulative_sum(x, axis=0), lambda v: v.cumsum(axis=0)),
        ("sort", lambda x: xp.sort(x, axis=0), lambda v: np.sort(v, axis=0)),
        ("index", lambda x: x[::-2, 1:], lambda v: v[::-2, 1:]),
        ("mask", lambda x: x[x > 0], lambda v: v[v > 0]),
        ("matmul", lambda x: x.T @ x, lambda v: v.T @ v),
        ("reshape", lambda x: xp.reshape(x, (3, 7)), lambda v: v.reshape(3, 7)),
        ("concat", lambda x: xp.concat([x, x]), lambda v: np.concatenate([v, v])),
        ("roll", lambda x: xp.roll(x, 2, axis=0), lambda v: np.roll(v, 2, axis=0)),
        ("argmax", lambda x: xp.argmax(x, axis=0), lambda v: v.argmax(axis=0)),
        ("nanmean", lambda x: xp.nanmean(x, axis=0), lambda v: np.nanmean(v, axis=0)),
        ("diff", lambda x: xp.diff(x, axis=0), lambda v: np.diff(v, axis=0)),
    ],
)
def test_functions_stay_on_the_communicator(part, values, name, function, expected):
    for layout in layouts(SHAPE, part, few=True):
        y = function(make(values, layout))
        assert y.comm is part
        assert_equal(y, expected(values))


def test_creation(part, values):
    for split in (None, 0):
        for x, expected in (
            (xp.zeros(SHAPE, split=split, comm=part), np.zeros(SHAPE)),
            (xp.ones(SHAPE, split=split, comm=part), np.ones(SHAPE)),
            (xp.full(SHAPE, 3, split=split, comm=part), np.full(SHAPE, 3)),
            (xp.arange(7, split=split, comm=part), np.arange(7)),
            (xp.linspace(0, 1, 7, split=split, comm=part), np.linspace(0, 1, 7)),
            (xp.eye(4, split=split, comm=part), np.eye(4)),
            (xp.asarray(values, split=split, comm=part), values),
            (xp.from_dlpack(values, split=split, comm=part), values),
        ):
            assert x.comm is part
            assert x.split == split
            assert_equal(x, expected)
            assert xp.zeros_like(x).comm is part
            assert xp.asarray(x).comm is part


def test_every_part_computes_on_its_own(part):
    with xp.trace() as t:
        x = xp.arange(10, split=0, comm=part) + WORLD.rank * 0
        total = int(xp.sum(x))
    assert total == 45
    assert all(event.nranks == part.size for event in t.events)


def test_an_mpi4py_communicator_is_taken_once():
    mine = MPI.COMM_WORLD.Split(WORLD.rank % 2)
    x = xp.zeros(5, split=0, comm=mine)
    y = xp.ones(5, split=0, comm=mine)
    assert x.comm is y.comm
    assert x.comm.size == mine.size
    assert_equal(x + y, np.ones(5))
    assert as_communicator("test", MPI.COMM_WORLD) is WORLD
    for wrong in (MPI.COMM_NULL, 3, "world"):
        with pytest.raises(TypeError, match="expected a Communicator"):
            xp.zeros(3, comm=wrong)


def test_copies_and_pickles(part, values):
    x = xp.asarray(values, split=0, comm=part)
    assert copy.copy(x).comm is part
    assert copy.deepcopy(x).comm is part
    with pytest.raises(TypeError, match="is not the communicator of all ranks") as caught:
        pickle.dumps(x)
    same_everywhere("the error", str(caught.value), part)


# ---------------------------------------------------------------------- mixing


MIXED = {
    "add": lambda x, y: x + y,
    "add of replicated": lambda x, y: xp.resplit(x, None) + xp.resplit(y, None),
    "greater": lambda x, y: x > y,
    "iadd": lambda x, y: x.__iadd__(y),
    "where": lambda x, y: xp.where(x > 0, x, y),
    "clip": xp.clip,
    "matmul": lambda x, y: x @ y.T,
    "vecdot": xp.vecdot,
    "tensordot": xp.tensordot,
    "einsum": lambda x, y: xp.einsum("ij,ij->i", x, y),
    "concat": lambda x, y: xp.concat([x, y]),
    "stack": lambda x, y: xp.stack([x, y]),
    "broadcast_arrays": xp.broadcast_arrays,
    "meshgrid": lambda x, y: xp.meshgrid(x[0], y[0]),
    "take": lambda x, y: xp.take(x, xp.astype(y[0], "int64"), axis=0),
    "take_along_axis": lambda x, y: xp.take_along_axis(x, xp.astype(y, "int64"), axis=0),
    "isin": xp.isin,
    "searchsorted": lambda x, y: xp.searchsorted(x[0], y[0]),
    "getitem": lambda x, y: x[y > 0],
    "setitem": lambda x, y: x.__setitem__(..., y),
    "diff": lambda x, y: xp.diff(x, prepend=y),
    "asarray": lambda x, y: xp.asarray(x, comm=y.comm),
    "redistribute": lambda x, y: xp.redistribute(x, y.layout),
    "bincount": lambda x, y: xp.bincount(xp.astype(x[0], "int64"), weights=y[0]),
}


@pytest.mark.parametrize("name", MIXED)
def test_mixing_communicators_raises_on_all_ranks_before_any_message(name):
    part = WORLD.split(0, WORLD.size - WORLD.rank)
    x, y = xp.zeros(SHAPE, split=0), xp.zeros(SHAPE, split=0, comm=part)
    x[0], y[0]  # what the calls themselves need of messages comes before
    with pytest.raises(xp.CommunicatorMismatchError) as caught:
        MIXED[name](x, y)
    same_everywhere("the error", str(caught.value))


@pytest.mark.parametrize("name", ["add", "iadd", "where", "matmul", "concat", "setitem", "clip"])
def test_the_error_says_what_to_do_and_nothing_was_sent(name):
    part = WORLD.split(0)
    x, y = xp.zeros(SHAPE, split=0), xp.zeros(SHAPE, split=1, comm=part)
    with xp.trace() as t, pytest.raises(xp.CommunicatorMismatchError, match="comm="):
        MIXED[name](x, y)
    assert t.events == []


def test_redistribute_says_what_differs():
    part = WORLD.split(0)
    x = xp.zeros(SHAPE, split=0)
    with pytest.raises(ValueError, match=r"redistribute: .*shape \(3, 7\)"):
        xp.redistribute(x, Layout.balanced((3, 7), 0, WORLD))
    with pytest.raises(xp.CommunicatorMismatchError, match="redistribute"):
        xp.redistribute(x, Layout.balanced(SHAPE, 0, part))
    with pytest.raises(TypeError, match="redistribute: layout is 0; expected a Layout"):
        xp.redistribute(x, 0)


# ---------------------------------------------------------------------- their number and end


def test_an_equal_division_gives_the_same_communicator():
    """MPI's communicators were used up after 2,044 calls."""
    first = WORLD.split(0)
    for _ in range(3000):
        assert WORLD.split(0) is first
    assert WORLD.split(0, -WORLD.rank) is not first or WORLD.size == 1
    # The same call of this rank, another division.
    other = WORLD.split(0 if WORLD.rank == 0 else 1)
    assert other is not first or WORLD.size == 1
    assert WORLD.split(0) is first


def test_a_freed_communicator_carries_nothing():
    for _ in range(3):
        with WORLD.split(0, 7 * WORLD.rank) as comm:
            x = xp.ones(4 * WORLD.size, split=0, comm=comm)
            assert float(xp.sum(x)) == 4 * WORLD.size
        y = x + 1  # no message
        if WORLD.size > 1:
            with pytest.raises(RuntimeError, match="has been freed"):
                xp.sum(y)
        assert WORLD.split(0, 7 * WORLD.rank) is not comm
        comm.free()  # once more
        WORLD.split(0, 7 * WORLD.rank).free()
    with pytest.raises(ValueError, match="free: "):
        WORLD.free()


def test_many_communicators_one_after_the_other():
    for i in range(2100 if WORLD.size > 1 else 10):
        WORLD.split(0, i * (WORLD.rank + 1)).free()
    assert len(WORLD._splits) < 100  # what is freed is forgotten


def test_messages_of_another_thread_are_refused():
    """They gave wrong values silently: the ranks' threads run in any order."""
    x = xp.ones(3 * WORLD.size, split=0)
    errors = []

    def sum_there():
        try:
            errors.append(float(xp.sum(x)))
        except RuntimeError as error:
            errors.append(str(error))

    thread = threading.Thread(target=sum_there)
    thread.start()
    thread.join()
    if WORLD.size == 1:
        assert errors == [3.0]
    else:
        assert "another thread" in errors[0]
    assert float(xp.sum(x)) == 3 * WORLD.size
