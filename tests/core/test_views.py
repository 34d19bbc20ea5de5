"""Views share values with their source, as in NumPy; all other arrays are values of their own.

Views are basic selections, arrays with exchanged axes, and reshaped arrays that NumPy would not
copy. No other write is seen through another array, or in anybody else's memory.
"""

from __future__ import annotations

import copy
import gc
import pickle
import weakref

import numpy as np
import pytest
import torch

import heat_array_api as xp
from layouts import assert_equal, describe, layouts, make, shard_of

RANK, SIZE = xp.world().rank, xp.world().size
SHAPE = (5, 4)
VALUES = np.arange(20.0).reshape(SHAPE)

# What may hand out a view of its argument's memory.
VIEWS = {
    "x[...]": lambda x: x[...],
    "x[1:, :2]": lambda x: x[1:, :2],
    "x[2]": lambda x: x[2],
    "x[:, ::2]": lambda x: x[:, ::2],
    "x[None]": lambda x: x[None],
    "x.T": lambda x: x.T,
    "x.mT": lambda x: x.mT,
    "x.real": lambda x: x.real,
    "x.imag": lambda x: x.imag,
    "windows": lambda x: xp.lib.stride_tricks.sliding_window_view(x, 2, axis=0)[..., 0],
    "+x": lambda x: +x,
    "copy.copy": copy.copy,
    "copy.deepcopy": copy.deepcopy,
    "pickle": lambda x: pickle.loads(pickle.dumps(x)),
    "asarray(copy=True)": lambda x: xp.asarray(x, copy=True),
    "astype": lambda x: xp.astype(x, x.dtype),
    "reshape": lambda x: xp.reshape(x, (20,)),
    "reshape(4, 5)": lambda x: xp.reshape(x, (4, 5)),
    "reshape of a transpose": lambda x: xp.reshape(x.T, (2, 2, 5)),
    "reshape of columns": lambda x: xp.reshape(x[:, ::-2], (5, 1, 2, 1)),
    "permute_dims": lambda x: xp.permute_dims(x, (1, 0)),
    "expand_dims": lambda x: xp.expand_dims(x, axis=1),
    "squeeze": lambda x: xp.squeeze(xp.expand_dims(x, axis=0), axis=0),
    "moveaxis": lambda x: xp.moveaxis(x, 0, 1),
    "broadcast_to": lambda x: xp.broadcast_to(x, (2, *SHAPE)),
    "broadcast_arrays": lambda x: xp.broadcast_arrays(x, xp.zeros((1, 4)))[0],
    "flip": xp.flip,
    "roll": lambda x: xp.roll(x, 0),
    "tile": lambda x: xp.tile(x, (1, 1)),
    "concat": lambda x: xp.concat([x], axis=0),
    "unstack": lambda x: xp.unstack(x)[1],
    "sum of no axis": lambda x: xp.sum(x, axis=()),
    "max of no axis": lambda x: xp.max(x, axis=()),
    "mean of no axis": lambda x: xp.mean(x, axis=()),
    "cumulative_sum": lambda x: xp.cumulative_sum(x, axis=0),
    "positive": xp.positive,
    "round": xp.round,
    "floor": xp.floor,
    "conj": xp.conj,
    "real": xp.real,
    "clip": xp.clip,
    "tril": xp.tril,
    "resplit(0)": lambda x: xp.resplit(x, 0),
    "resplit(None)": lambda x: xp.resplit(x, None),
    "rebalance": xp.rebalance,
    "redistribute": lambda x: xp.redistribute(x, x.layout),
    "from_local": lambda x: xp.from_local(x.local, split=x.split),
    "take": lambda x: xp.take(x, xp.arange(5), axis=0),
    "diff(n=0)": lambda x: xp.diff(x, n=0),
    "where": lambda x: xp.where(xp.ones(SHAPE, dtype="bool"), x, x),
    "sort": lambda x: xp.sort(x, axis=0),
    "pad": lambda x: xp.pad(x, 0),
    "repeat": lambda x: xp.repeat(x, 1, axis=0),
    "transpose": xp.transpose,
    "x.to_device(x.device)[...]": lambda x: x.to_device("cpu")[...],
    "meshgrid": lambda x: xp.meshgrid(x[0], x[1])[0],
    "copy": lambda x: x.copy(),
    "ravel": lambda x: x.ravel(),
}

LINKED = {name: VIEWS.pop(name) for name in list(VIEWS) if name.endswith("]")}
for _name in ("x.T", "x.mT", "reshape", "reshape(4, 5)", "permute_dims", "expand_dims", "squeeze"):
    LINKED[_name] = VIEWS.pop(_name)
for _name in ("moveaxis", "transpose", "ravel", "reshape of a transpose", "reshape of columns"):
    LINKED[_name] = VIEWS.pop(_name)
# The same of NumPy's arrays, where it has other names.
NUMPYS = {
    "x.mT": lambda x: x.T,
    "permute_dims": lambda x: x.transpose((1, 0)),
    "reshape": lambda x: x.reshape(20),
    "reshape(4, 5)": lambda x: x.reshape(4, 5),
    "reshape of a transpose": lambda x: x.T.reshape(2, 2, 5),
    "reshape of columns": lambda x: x[:, ::-2].reshape(5, 1, 2, 1),
    "expand_dims": lambda x: x[:, None],
    "squeeze": lambda x: x[None][0],
    "moveaxis": lambda x: x.T,
    "transpose": lambda x: x.T,
    "x.to_device(x.device)[...]": lambda x: x[...],
}

# How an array can be written.
WRITES = {
    "x[...] = 7": lambda x: x.__setitem__(..., 7),
    "x[0] = 7": lambda x: x.__setitem__(0, 7),
    "x += 100": lambda x: x.__iadd__(100),
}


def written(values: np.ndarray, write: str) -> np.ndarray:
    values = values.copy()
    WRITES[write](values)
    return values


@pytest.mark.parametrize("dtype", ["float64", "uint16"])
@pytest.mark.parametrize("view", VIEWS)
def test_views_and_their_sources_are_independent(view, dtype, check):
    values = VALUES.astype(dtype)
    for layout in layouts(SHAPE, few=True):
        for name, write in WRITES.items():
            what = f"{name}, {describe(layout)}"
            x = make(values, layout)
            y = VIEWS[view](x)
            before = shard_of(y)
            write(x)
            check(x, written(values, name), f"source after {what}")
            same = np.array_equal(shard_of(y), before)
            check(xp.asarray(same, split=None), True, f"view after {what} of its source")

            x = make(values, layout)
            y = VIEWS[view](x)
            if y is not x:
                write(y)
                check(x, values, f"source after {what} of its view")


@pytest.mark.parametrize("dtype", ["float64", "uint16"])
@pytest.mark.parametrize("view", LINKED)
def test_views_and_their_sources_show_each_others_writes(view, dtype, check):
    of_numpy = NUMPYS.get(view, LINKED[view])
    values = VALUES.astype(dtype)
    for layout in layouts(SHAPE, few=True):
        for name, write in WRITES.items():
            what = f"{name}, {describe(layout)}"
            x = make(values, layout)
            y = LINKED[view](x)
            write(x)
            check(x, written(values, name), f"source after {what}")
            check(y, of_numpy(written(values, name)), f"view after {what} of its source")
            x, expected = make(values, layout), values.copy()
            write(LINKED[view](x))
            write(of_numpy(expected))
            check(x, expected, f"source after {what} of its view")


def test_chains_of_views(check):
    for layout in layouts(SHAPE, few=True):
        x = make(VALUES, layout)
        base = VALUES.copy()
        chains = [
            lambda x: x,
            lambda x: x.T,
            lambda x: x.T[1:],
            lambda x: x.T[1:][:, ::-1],
            lambda x: x[...],
        ]
        arrays, expected = [f(x) for f in chains], [f(base) for f in chains]
        for i in (2, 0, 4, 1, 3):
            arrays[i][0] = -float(i)
            expected[i][0] = -float(i)
            check(x, base, f"write {i}, {describe(layout)}")
            check(arrays[i], expected[i], f"view {i}, {describe(layout)}")


def test_integers_alone_select_a_value(check):
    """As NumPy's scalars; with an Ellipsis, or fewer integers than axes, the result is a view."""
    for layout in layouts((4, 3), few=True):
        values = np.arange(12.0).reshape(4, 3)
        x = make(values, layout)
        total = x[0, 0]
        total += x[1, 2]
        total += x[np.int64(2)][1]
        check(total, np.asarray(12.0), describe(layout))
        check(x, values, f"read, {describe(layout)}")
        one, other = x[3, 2], x[3, 2, ...]
        x[3] = -1.0
        check(one, np.asarray(11.0), f"a value, {describe(layout)}")
        check(other, np.asarray(-1.0), f"a view, {describe(layout)}")
        other[...] = 5.0
        values[3] = (-1.0, -1.0, 5.0)
        check(x, values, f"written, {describe(layout)}")


def test_a_stale_view_tells_what_it_is_on_one_rank_alone():
    x = xp.zeros((6, 3), split=0)
    views = [x[2], x[::-1], xp.reshape(x, (3, 6)), x[:, 1], x.T]
    x += 1.0
    if xp.world().rank == 0:
        facts = [(v.shape, v.ndim, v.size, v.dtype, v.nbytes, v.device, v.comm) for v in views]
        assert [fact[0] for fact in facts] == [(3,), (6, 3), (3, 6), (6,), (3, 6)]
        assert all(repr(v).startswith(f"Array(shape={v.shape}") for v in views)
        assert all("requires_grad" in dir(v) and not v.requires_grad for v in views)
    assert all(np.all(np.asarray(v) == 1.0) for v in views)


def test_a_view_is_refreshed_once_and_only_where_it_is_used():
    x = xp.zeros((6, 3), split=0)
    row, column = x[2], x[:, 1]
    with xp.trace() as t:
        for _ in range(3):
            x += 1.0
            column += 1.0
    assert not t.collectives
    with xp.trace() as t:
        assert column.local.shape[0] == x.local.shape[0]
        assert float(xp.sum(row) + xp.sum(row)) == 24.0
    assert t.count("bcast") == (xp.world().size > 1)


def test_an_array_with_views_is_written_in_place():
    """Its views give up its memory, so that a loop of writes copies it never."""
    x = xp.zeros((100, 3), split=0)
    column = x[:, 1]
    x[0] = 1.0
    address = x.local.data_ptr()
    for i in range(5):
        x[i] = 2.0
        column += 1.0
        assert x.local.data_ptr() == address
    assert np.asarray(column)[:6].tolist() == [7.0, 6.0, 5.0, 4.0, 3.0, 5.0]


def test_views_on_the_tape(check):
    """A view of what depends on a parameter goes on doing so after a write."""
    for layout in layouts((4,), few=True):
        p = make(np.arange(4.0), layout)
        p.requires_grad_()
        x = p * 2.0
        view, back = x[1:], x[::-1]
        x[0] = 7.0
        x[2] = 3.0 * p[3]
        xp.sum(view * view + back[:3]).backward()
        expected = np.zeros(4)
        expected[1] = 2 * 4 * 1 + 2  # d/dp1 of (2 p1)^2 + 2 p1
        expected[3] = 2 * 9 * 3 + 2 * 2 * 6 + 3 + 2
        check(p.grad, expected, describe(layout))


def test_views_of_parameters(check):
    """An optimiser's step shows in a view, which stays on the tape."""
    for layout in layouts((4,), few=True):
        p = make(np.arange(4.0), layout)
        p.requires_grad_()
        view = p[1:]
        with xp.autograd.no_grad():
            off = p[1:]
            p -= 1.0
            check(view.detach(), np.arange(3.0), describe(layout))
        check(off.detach(), np.arange(3.0), describe(layout))
        xp.sum(view * off.detach()).backward()
        check(p.grad, np.asarray([0.0, 0.0, 1.0, 2.0]), describe(layout))


def test_a_view_that_is_a_parameter(check):
    for layout in layouts((4,), few=True):
        x = make(np.arange(4.0), layout)
        view = x[1:]
        view.requires_grad_()
        x += 1.0
        y = xp.sum(view * view)
        y.backward()
        check(view.grad, np.asarray([4.0, 6.0, 8.0]), describe(layout))
        with xp.autograd.no_grad():
            view -= view.grad
        check(x, np.asarray([1.0, -2.0, -3.0, -4.0]), describe(layout))


def test_exchanged_axes_show_later_writes(check):
    """Through any of them, as SciPy's quadratures and its overlap-and-add expect."""
    for layout in layouts(SHAPE, few=True):
        x, expected = make(VALUES, layout), VALUES.copy()
        halves, again, moved = xp.reshape(x.T, (2, 2, 5)), x.T.T, xp.moveaxis(x.T[1:], 0, 1)
        of_numpy = expected.T.reshape(2, 2, 5)
        halves[1][halves[1] > 10] = -1.0
        of_numpy[1][of_numpy[1] > 10] = -1.0
        check(again, expected, describe(layout))
        again[0, 2] = -2.0
        expected[0, 2] = -2.0
        check(x, expected, f"written, {describe(layout)}")
        part = x.T[:, 1:]
        whole = part.T
        whole.T[2:][0] += 5.0
        expected[1:, 2] += 5.0
        check(x, expected, f"a part, {describe(layout)}")
        check(whole, expected[1:], f"a part's transpose, {describe(layout)}")
        check(moved, expected.T[1:].T, f"a selection, {describe(layout)}")


def test_what_numpy_copies_is_not_written_through(check):
    """Reshaped selections and reshaped transposes; `copy=True`."""
    for layout in layouts(SHAPE, few=True):
        x = make(VALUES, layout)
        for y in (
            xp.reshape(x.T, (-1,)),
            xp.reshape(x[:, 1:3], (-1,)),
            xp.reshape(x, (-1,), copy=True),
        ):
            y[...] = -1.0
        check(x, VALUES, describe(layout))
        xp.reshape(x[2], (2, 2))[0] = -1.0
        expected = VALUES.copy()
        expected[2].reshape(2, 2)[0] = -1.0
        check(x, expected, f"a row, {describe(layout)}")


def test_broadcast_arrays_are_written_element_by_element(check):
    for layout in layouts((4,), few=True):
        x = xp.broadcast_to(make(np.arange(4.0), layout), (3, 4))
        x[1, 2] = 9.0
        expected = np.broadcast_to(np.arange(4.0), (3, 4)).copy()
        expected[1, 2] = 9.0
        check(x, expected, describe(layout))


def test_an_owner_writes_in_place():
    x = xp.zeros(1000, split=0)
    address = x.local.data_ptr()
    x[:10] = 1.0
    assert x.local.data_ptr() == address
    view, same = x[5:], +x
    x[:10] = 2.0
    assert x.local.data_ptr() != address
    del same
    address = x.local.data_ptr()
    x[:10] = 3.0
    assert x.local.data_ptr() == address
    assert float(view[0]) == 3.0


# ---------------------------------------------------------------------- the memory of others


def test_tensors_of_the_user_stay_as_they_are():
    for write in WRITES.values():
        tensor = torch.arange(6.0)
        before = tensor.clone()
        for x in (xp.from_local(tensor, split=0), xp.asarray(tensor), xp.from_dlpack(tensor)):
            write(x)
            assert torch.equal(tensor, before)
        write(xp.from_dlpack(tensor, copy=False, split=None))
        assert torch.equal(tensor, before)


def test_numpy_arrays_of_the_user_stay_as_they_are():
    for write in WRITES.values():
        for values in (np.arange(6.0), np.arange(12.0)[::2], np.arange(6.0)[::-1]):
            before = values.copy()
            for x in (xp.from_local(values, split=0), xp.asarray(values), xp.from_dlpack(values)):
                write(x)
                assert np.array_equal(values, before)
        values = np.arange(6.0)
        write(xp.from_dlpack(values, copy=False, split=None))
        assert np.array_equal(values, np.arange(6.0))
        x = xp.zeros(6, split=0)
        write(x + values)
        write(values + x)
        assert np.array_equal(values, np.arange(6.0))


def test_read_only_and_foreign_numpy_arrays(check):
    frozen = np.arange(4.0)
    frozen.flags.writeable = False
    swapped = np.arange(4.0).astype(">f8")
    for values in (frozen, swapped, np.broadcast_to(np.float64(2), (4,))):
        native = values.astype(float)
        check(xp.asarray(values, split=None), native, "asarray")
        check(xp.asarray(values, split=0), native, "asarray, split")
        check(xp.from_local(values), native, "from_local")
        check(xp.zeros(4, split=None) + values, native, "operand")


def test_later_writes_of_the_user(check):
    values = np.arange(4.0)
    tensor = torch.arange(4.0, dtype=torch.float64)
    made = [xp.asarray(values), xp.asarray(tensor), xp.from_dlpack(values), xp.from_dlpack(tensor)]
    made += [xp.zeros(4) + values, xp.asarray([values])[0]]
    values[:] = -1
    tensor[:] = -1
    for i, x in enumerate(made):
        check(x, np.arange(4.0), i)


def test_what_is_handed_out_cannot_change_the_array(check):
    for split in (None, 0):
        x = xp.asarray(np.arange(4.0), split=split)
        np.asarray(x)[:] = -1
        np.array(x)[:] = -1
        x.__array__()[:] = -1
        np.asarray(x, dtype="float32")[:] = -1
        torch.from_dlpack(x)[:] = -1
        x.full_tensor()
        check(x, np.arange(4.0), f"split {split}")
    x = xp.asarray(np.arange(4.0), split=None)
    shared = np.asarray(x, copy=False)
    with pytest.raises(ValueError, match="read-only"):
        shared[:] = -1
    check(x, np.arange(4.0), "copy=False")


def test_a_consumer_keeps_what_it_was_given():
    x = xp.asarray(np.arange(4.0), split=None)
    given = [
        np.asarray(x),
        np.from_dlpack(x),
        torch.from_dlpack(x).numpy(),
        np.asarray(x, copy=False),
    ]
    x[...] = -1.0
    x += 5.0
    for values in given:
        assert np.array_equal(values, np.arange(4.0))


def test_a_pickle_holds_the_shard_only():
    x = xp.zeros(100_000, split=None)
    assert len(pickle.dumps(x[:10])) < 10_000


# ---------------------------------------------------------------------- found in review


def matrix():
    return xp.reshape(xp.arange(4000.0, split=0), (40, 100))


def test_an_update_of_a_selection_moves_its_rows_once():
    x = matrix()
    with xp.trace() as t:
        x[0] += 1
    assert t.count("bcast") <= 1
    assert t.count(operation="__setitem__") == 0  # Python's writing back
    v = x[2:5]
    v += 1
    assert not v._is_stale
    assert_equal(v, np.asarray(x)[2:5])


@pytest.mark.parametrize("make_index", [xp.asarray, np.array])
def test_a_view_keeps_the_selection_that_it_was_made_by(make_index):
    x, i = xp.arange(12, split=0), make_index(1)
    v = x[i : i + 3]
    i += 4
    x[0] = 100
    assert np.asarray(v).tolist() == [1, 2, 3]
    v[0] = -1
    assert np.asarray(x)[:3].tolist() == [100, -1, 2]
    y = xp.reshape(xp.arange(12, split=0), (3, 4))
    copy = y[make_index(1)]  # as in NumPy: an index array of no axes makes a copy
    copy += 100
    assert_equal(y, np.arange(12).reshape(3, 4))


@pytest.mark.parametrize("key", [np.array([0, 2]), np.array([True, False, True, False]), True])
def test_a_view_is_written_where_another_key_says(key):
    values = np.arange(12.0).reshape(4, 3)
    x = xp.reshape(xp.arange(12.0, split=0), (4, 3))
    x[key] = x[1]
    values[key] = values[1].copy()
    assert_equal(x, values)


def test_one_rank_may_ask_for_the_metadata_of_a_stale_view():
    x = matrix()
    views = [x[30], x[5:30], x.T, x[::-1], xp.reshape(x, (100, 40))]
    before = [(v.shape, v.split, v.is_balanced, v.layout) for v in views]
    x += 1
    assert all(v._is_stale for v in views)
    if RANK == SIZE - 1:
        assert [(v.shape, v.split, v.is_balanced, v.layout) for v in views] == before
    assert all(v._is_stale for v in views)
    for v, (*_, layout) in zip(views, before, strict=True):
        assert v.local is not None  # refreshes it, on all ranks
        assert v.layout == layout


def test_a_view_of_a_replicated_array_that_becomes_split():
    x = xp.zeros((8, 3), split=None)
    v = x[2:8]
    x[...] = xp.ones((8, 3), split=0)
    assert v.layout == x[2:8].layout
    assert_equal(v, np.ones((6, 3)))


def test_a_write_that_is_refused_leaves_views_and_sources_alone():
    p = xp.arange(6.0, split=0).requires_grad_()
    v = p[0:3]
    for write in (lambda: v.__iadd__(10), lambda: v.__setitem__(0, 10.0)):
        with pytest.raises(RuntimeError, match="requires_grad"):
            write()
    assert_equal(v.detach(), np.arange(3.0))


def test_exchanged_axes_of_a_derived_class():
    class Derived(xp.Array):
        __slots__ = ()

    x = matrix()
    d = Derived(x.local.clone(), x.layout)
    t = d.T
    d[1] = 5.0
    assert_equal(t[:, 1], np.full(100, 5.0))


@pytest.mark.parametrize("rows", [slice(1, 3), 0])
def test_views_that_are_stale_when_a_compiled_function_returns(rows):
    x = matrix()
    v = x[rows]
    values = np.asarray(x).copy()

    @xp.compile(fullgraph=True, backend="eager")
    def double(x, v):
        x += 1
        return x * 2

    @xp.compile(fullgraph=True, backend="eager")
    def selected(x):
        y = x[rows]
        x += 1
        return y

    assert_equal(double(x, v), (values + 1) * 2)
    assert_equal(v, (values + 1)[rows])
    assert_equal(selected(x), (values + 2)[rows])


# ---------------------------------------------------------------------- chains keep nothing


def test_a_chain_of_views_keeps_its_source_alone():
    """It once kept every array in between: a hundred reversed copies of one array."""
    x = xp.zeros(10_000, split=0)
    x = x[::-1]
    between = [weakref.ref(x)]
    for _ in range(50):
        x = x[::-1]
        between.append(weakref.ref(x))
    gc.collect()
    assert sum(r() is not None for r in between) == 1
    assert len(x._link.steps) <= 8


STEPS = {
    "x[1:]": lambda x: x[1:],
    "x[::-1]": lambda x: x[::-1],
    "x[:, ::-1]": lambda x: x[:, ::-1],
    "x.T": lambda x: x.T,
    "x[1:].T": lambda x: x[1:].T,
    "x[None][0]": lambda x: x[None][0],
    "x[:, None][:, 0]": lambda x: x[:, None][:, 0],
    "expand, squeeze": lambda x: xp.squeeze(xp.expand_dims(x, axis=0), axis=0),
    "x[...]": lambda x: x[...],
    "x[1:][None][0]": lambda x: x[1:][None][0],
    "reshape, x[1:]": lambda x: x.reshape(-1, 3)[1:],
    "x[1:], flat and back": lambda x: x[1:].reshape(-1)[::-1].reshape(-1, 3),
    "x[3:] of the flat": lambda x: x.reshape(-1)[3:].reshape(-1, 3),
    "unit axes": lambda x: x[1:].reshape(-1, 1, 3, 1)[..., 0][:, 0],
    "x.T, unit axes": lambda x: x[1:].T[None].transpose(2, 0, 1)[:, 0],
}
OF_NUMPY = STEPS | {"expand, squeeze": lambda x: np.expand_dims(x, 0)[0]}
LONG = ("x[1:]", "x[1:][None][0]", "reshape, x[1:]", "x[1:], flat and back")


@pytest.mark.parametrize("name", STEPS)
def test_long_chains_of_views(name):
    """It was a RecursionError to write to the end of a chain of 1,200 views."""
    n = 1200
    values = np.arange(3.0 * (n + 4)).reshape(-1, 3)
    for layout in layouts(values.shape, few=True):
        x, expected = make(values, layout), values.copy()
        y, of_numpy = x, expected
        for _ in range(n if name in LONG and layout.split is None else 40):
            y, of_numpy = STEPS[name](y), OF_NUMPY[name](of_numpy)
        y[0] = -1.0
        of_numpy[0] = -1.0
        assert_equal(y, of_numpy)
        assert_equal(x, expected)
        x[...] = 5.0
        assert_equal(y, np.full(of_numpy.shape, 5.0))
        assert len(y._link.steps) <= 8
        assert y._link.source is x


@pytest.mark.parametrize("name", STEPS)
def test_long_chains_of_views_on_the_tape(name):
    """In a recomputed function, in a compiled one, under `no_grad`."""
    n = 4 if name == "x[1:].T" else 9  # which makes both axes shorter

    def chain(x):
        for _ in range(n):
            x = STEPS[name](x)
        return x

    def loss(p):
        x = p * 2.0
        y = chain(x)
        y[0] = 7.0
        x[-1] = p[0]
        return xp.sum(y * y) * xp.sum(p[:1])

    values = np.arange(60.0).reshape(-1, 3) + 1
    for layout in layouts(values.shape, few=True):
        p = make(values, layout)
        expected = xp.autograd.value_and_grad(loss)(make(values))
        for f in (loss, xp.autograd.checkpoint(loss), xp.compile(loss, backend="eager")):
            value, gradient = xp.autograd.value_and_grad(f)(p)
            assert_equal(value, np.asarray(expected[0]))
            assert_equal(gradient, np.asarray(expected[1]))
        p.requires_grad_()
        with xp.autograd.no_grad():
            view = chain(p)
            p -= 1.0
            view[0] = -1.0
        of_numpy = selected = values - 1.0
        for _ in range(n):
            selected = OF_NUMPY[name](selected)
        selected[0] = -1.0
        assert view._link.source is p
        assert_equal(p.detach(), of_numpy)
        assert_equal(view.detach(), selected)


@pytest.mark.parametrize("name", [name for name in VIEWS if name != "from_local"])
def test_what_is_made_of_a_parameter_off_the_tape_is_no_parameter(name):
    """A write to it once was one to the parameter, and it asked for gradients on some ranks."""
    for layout in layouts(SHAPE, few=True):
        p = make(VALUES, layout).requires_grad_()
        with xp.autograd.no_grad():
            y = VIEWS[name](p)
            y[...] = -1.0
        assert y is p or not y.requires_grad
        assert y is p or np.array_equal(p.detach(), VALUES)


def test_a_long_chain_sends_what_its_last_view_would():
    for split in (0, 1):
        x = xp.zeros((30, 4), split=split)
        y = x
        for _ in range(29):
            y = y[1:].T[None][0].T
        x += 1.0
        with xp.trace() as t:
            assert y.local.shape == y.layout.local_shape  # renews it
        assert not t.collectives
        assert_equal(y, np.ones((1, 4)))


def test_views_of_views_with_the_one_between_written():
    for layout in layouts(SHAPE, few=True):
        x, expected = make(VALUES, layout), VALUES.copy()
        y, z = x[::-1], x[::-1][1:3, ::2].T
        of_y, of_z = expected[::-1], expected[::-1][1:3, ::2].T
        y[1] = 9.0
        of_y[1] = 9.0
        assert_equal(z, of_z)
        z[0] += 1.0
        of_z[0] += 1.0
        assert_equal(y, of_y)
        assert_equal(x, expected)


def test_a_view_of_an_input_of_the_tape_leads_to_the_input():
    x = xp.asarray(VALUES, split=0)
    a = x[1:]
    a.requires_grad_()
    xp.sum(a[1:, ::2] ** 2).backward()
    expected = np.zeros(a.shape)
    expected[1:, ::2] = 2 * VALUES[2:, ::2]
    assert_equal(a.grad, expected)
