"""Reading by index: ``x[key]``, `take`, `take_along_axis`.

=================================  =====================  =======================================
key                                result is split        messages
=================================  =====================  =======================================
slice                              as `x`                 none
slice of negative step, split      as `x`                 one exchange
integer, another axis              as `x`                 none
integer, split axis                replicated, or along   one broadcast of the row (large rows:
                                   another axis           one all-to-all)
integer array, other axes          as `x`                 none; the index is gathered if split
integer array, split axis          as the index           all-to-alls of numbers, indices, rows
the same, replicated and small     replicated             one allgather of the rows
mask from the first axis on        first axis, unevenly   one allgather of counts
mask, `x` split along its others   the same               an all-to-all before
=================================  =====================  =======================================
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .._comm.assumptions import assumed, division_of, truth
from .._comm.division import Division
from .._comm.recording import breaks, capturing, checked_later, may_break
from .._core.array import Array, check_array, common_communicator
from .._core.collectives import divided, gather, preduce, pvary, shard
from .._core.dtypes import ANY, INTEGER, carrier, on_bits, uncarry
from .._core.fetch import SPREAD, fetch_rows, owners, pick
from .._core.layout import Layout, Shape, longest_axis, normalize_axis, resized
from .._core.lift import broadcast_shape, varying
from .._core.redistribute import move, redistribute, resplit
from .._core.views import linked, permute
from .._creation import as_array, asarray, zeros
from .._reshape import broadcast_to
from .._searching import nonzero
from .basic import hashable, plan_view, select
from .keys import Key, Range, as_key, is_mask, parse, parse_basic

MOST_REPLICATED_ROWS = 1024
"""Up to so many rows that a replicated index takes are replicated, more are split."""


def getitem(x: Array, key: Any) -> Array:
    """Return ``x[key]``, by NumPy's rules; see the table above.

    A replicated index on the split axis gives a replicated result if that is no bigger than one
    rank's share of `x` and has at most `MOST_REPLICATED_ROWS` rows: it is a choice of rows, not a
    part of the data.
    """
    items = hashable(key)
    if items is not None:
        view = plan_view(x._layout, items)
        if view is not None and x._local.dtype in ANY.direct:
            result = Array(x._local[view.where], view.result)
            return linked(result, x, "index", key) if view.is_linked else result
        result = select(x, parse_basic(key, x._layout.shape))
        return result if _is_value(result, key) else linked(result, x, "index", key)
    if is_mask(key):
        return _masked(x, as_mask(key, x))
    parsed = parse(key, x.shape, x.comm, nonzero)
    box = select(x, parsed.basic)
    if not parsed.arrays:  # integers and slices of other types, which may change later
        items = key if type(key) is tuple else (key,)
        if any(isinstance(item, (Array, np.ndarray)) for item in items):
            return box  # as in NumPy, where an index array of no axes makes a copy
        return box if _is_value(box, key) else linked(box, x, "index", as_key(parsed.basic))
    return _pick_points(box, parsed)


def _is_value(result: Array, key: Any) -> bool:
    """Return whether a key is of integers alone, which select a value, as NumPy's scalars."""
    if result._layout.shape:
        return False
    return not any(item is Ellipsis for item in (key if type(key) is tuple else (key,)))


# ---------------------------------------------------------------------- points


def check_bounds(func: str, index: Array, n: int, axis: int) -> Tensor:
    """Return this rank's index values counted from the front; raise on all ranks if one is out.

    One small allreduce if the index is split.
    """
    t = index._local.to(torch.int64)
    bad = torch.any((t < -n) | (t >= n))
    if index.split is not None:
        bad = preduce(bad.reshape(1), "max", index.comm)
    error = IndexError(
        f"{func}: the index array for axis {axis}, of length {n}, has a value out of range"
    )
    t = torch.where(t < 0, t + n, t)
    if checked_later(bad, error):
        return t.clamp(0, max(n - 1, 0))
    if truth(bad, False, "indices are in range"):
        raise error
    return t


def aligned_indices(parsed: Key, shape: Shape, func: str = "index") -> tuple[list[Tensor], Layout]:
    """Broadcast the index arrays together: return this rank's part of each, and their layout."""
    common_communicator("index", *parsed.arrays)
    common = broadcast_shape("index", *(index.shape for index in parsed.arrays))
    checked = [
        Array(check_bounds(func, index, shape[axis], axis), index._layout)
        for index, axis in zip(parsed.arrays, parsed.axes, strict=True)
    ]
    grown = [broadcast_to(index, common) for index in checked]
    layout = next((g._layout for g in grown if g.split is not None), grown[0]._layout)
    return [move(g._local, g._layout, layout) for g in grown], layout


def indexed_first(layout: Layout, axes: tuple[int, ...]) -> tuple[int, ...]:
    """Return the permutation that puts the indexed axes first."""
    return (*axes, *(i for i in range(layout.ndim) if i not in axes))


@may_break
def _pick_points(x: Array, parsed: Key, func: str = "index") -> Array:
    indices, layout = aligned_indices(parsed, x.shape, func)
    k = len(indices)
    order = indexed_first(x._layout, parsed.axes)
    rows = x._layout.permuted(order)
    rest = rows.shape[k:]
    comm = rows.comm
    inner = rows.split is not None and rows.split >= k
    if inner and layout.split is not None:
        if layout.size * k * comm.size <= x.size:  # a small index goes to every rank
            indices = [gather(index, layout) for index in indices]
            layout = layout.split_along(None)
        else:
            x = resplit(x, parsed.axes[0])
            rows = x._layout.permuted(order)
            inner = False
    t = carrier(x._local).permute(order)
    if rows.split is None and layout.split is not None:
        t = pvary(t, comm)
    shape = (*layout.shape, *rest)
    if rows.split is None or inner:
        values = t[tuple(indices)]
        split = layout.split if not inner else rows.split - k + layout.ndim  # type: ignore[operator]
        result = (rows if inner else layout).with_shape(shape, split)
    else:
        values, result = _fetch_points(t, rows, indices, layout, shape)
    found = Array(uncarry(values, x._local.dtype), result)
    return _placed(found, parsed, layout.ndim)


def _fetch_points(
    t: Tensor, rows: Layout, indices: list[Tensor], layout: Layout, shape: Shape
) -> tuple[Tensor, Layout]:
    """Fetch from the owners along the split axis, one of the indexed ones."""
    comm = rows.comm
    few = layout.size <= MOST_REPLICATED_ROWS and math.prod(shape) * comm.size <= rows.size
    if layout.split is None and (few or not layout.ndim):
        return _gather_points(t, rows, indices, shape), Layout.replicated(shape, comm)
    if layout.split is None:
        layout = layout.split_off(())
        indices = [shard(index, layout) for index in indices]
    values = fetch_rows(t, rows, [index.reshape(-1) for index in indices])
    result = layout.with_shape(shape, layout.split)
    return values.reshape(result.local_shape), result


def _gather_points(t: Tensor, rows: Layout, indices: list[Tensor], shape: Shape) -> Tensor:
    """Return the points of a replicated index on every rank: one allgather from the owners."""
    split = rows.split
    assert split is not None
    columns = [index.reshape(-1) for index in indices]
    owner = owners(columns[split].contiguous(), rows)
    mine = owner == rows.comm.rank
    if capturing():
        return _sum_points(t, rows, columns, mine).reshape(shape)
    usual = Division.balanced(len(owner), rows.comm.size)
    counts = division_of(torch.bincount(owner, minlength=rows.comm.size), usual, SPREAD)
    places = mine if not assumed() else torch.arange(counts[rows.comm.rank], device=t.device)
    asked = [column[places] for column in columns]
    asked[split] = asked[split] - rows.start
    found = pick(t, asked)
    layout = Layout.of((len(owner), *found.shape[1:]), 0, counts, rows.comm)
    everything = gather(found, layout)
    result = torch.empty_like(everything)
    result[torch.argsort(owner, stable=True)] = everything
    return result.reshape(shape)


def _sum_points(t: Tensor, rows: Layout, columns: list[Tensor], mine: Tensor) -> Tensor:
    """Return the same by a sum over the ranks, whose message does not depend on the index."""
    split = rows.split
    assert split is not None
    if rows.count == 0:  # something to pick, on the tape still
        t = torch.cat([t, t.new_zeros(resized(t.shape, split, 1))], dim=split)
    asked = list(columns)
    asked[split] = torch.where(mine, asked[split] - rows.start, torch.zeros_like(asked[split]))
    found = pick(t, asked)
    # -0.0 is the number that changes none in a sum.
    nothing = torch.full((), -0.0 if found.is_floating_point() else 0, dtype=found.dtype)
    mask = mine.reshape(-1, *(1 for _ in found.shape[1:]))
    return preduce(torch.where(mask, found, nothing.to(found.device)), "sum", rows.comm)


def _placed(found: Array, parsed: Key, ndim: int) -> Array:
    """Move the index axes, which are first, to where NumPy puts them."""
    at = 0 if parsed.front else parsed.axes[0]
    if at == 0:
        return found
    order = (*range(ndim, ndim + at), *range(ndim), *range(ndim + at, found.ndim))
    return permute(found, order)


# ---------------------------------------------------------------------- masks


def as_mask(key: Any, x: Array) -> Array:
    """Return a boolean key as an array that covers the first axes of `x`.

    An axis of length 0 fits any other, as in NumPy: such a mask selects nothing.
    """
    mask = key if isinstance(key, Array) else asarray(key, split=None, comm=x.comm)
    common_communicator("index", x, mask)
    shape = x.shape[: mask.ndim]
    if mask.shape == shape:
        return mask
    if mask.ndim > x.ndim or any(m not in (n, 0) for m, n in zip(mask.shape, shape, strict=True)):
        raise IndexError(f"index: a mask of shape {mask.shape} for an array of shape {x.shape}")
    return zeros(shape, dtype="bool", device=x.device, split=None, comm=x.comm)


def mask_in_order(x: Array, mask: Array) -> tuple[Array, Tensor]:
    """Bring array and mask to layouts in which every rank's selection is a run of the result.

    Selections are in row-major order, so where a masked axis is split it must be the
    first. Returns the array so laid out and this rank's mask.
    """
    split = x._layout.split
    masked = mask._layout.split
    if split is None and masked is None:
        return x, mask._local
    if split is not None and split >= mask.ndim:
        return x, mask.full_tensor()
    if split is None:
        layout = mask._layout
        if masked != 0:
            layout = layout.split_along(0)
    else:
        x = resplit(x, 0)
        layout = x._layout.with_shape(mask.shape, 0)
    x = redistribute(x, layout.with_shape(x.shape, 0))
    return x, move(mask._local, mask._layout, layout)


@breaks
def _masked(x: Array, mask: Array) -> Array:
    if mask.ndim == 0:
        mask = Array(mask._local.reshape(1), Layout.replicated((1,), x.comm))
        x = select(x, (None, *(Range(0, 1, n) for n in x.shape)))
    x, local = mask_in_order(x, mask)
    values = pick(x._local, [local])
    rest = x._layout.drop(*range(mask.ndim))
    if x.split is None or x.split >= mask.ndim:
        return Array(values, rest.insert(0, length=values.shape[0]))
    rows = divided(values.shape[0], x.comm)
    return Array(values, Layout.of((rows.total, *rest.shape), 0, rows, x.comm))


# ---------------------------------------------------------------------- functions


@may_break
def take(x: Array, indices: Any, /, *, axis: int | None = None) -> Array:
    """Return the elements of an axis at given indices (the standard, "Indexing Functions").

    Parameters
    ----------
    x : Array
        Any layout and dtype.
    indices : Array of integers
        One axis, any layout; NumPy arrays and lists count as replicated. Negative ones count from
        the end.
    axis : int, optional
        The axis of `x`; it may be left out if there is only one.

    Returns
    -------
    Array
        The dtype of `x`, the shape of `x` with the axis as long as `indices`. If another axis is
        split, so is the result, and nothing is sent (an allgather of `indices` if they are split).
        Along the split axis it is split like `indices`, after three all-to-alls (numbers, indices,
        rows); for few replicated indices it is replicated, after one allgather of the rows.

    Raises
    ------
    IndexError
        If an index or the axis is out of range.
    TypeError
        If `indices` are not integers.
    ValueError
        If `axis` is left out and `x` has not one axis.

    Examples
    --------
    >>> x = xp.asarray([10.0, 20.0, 30.0, 40.0], split=0)
    >>> print(xp.take(x, xp.asarray([3, 0, -1])))
    [40. 10. 40.]
    """
    check_array("take", "x", x)
    if axis is None:
        if x.ndim != 1:
            raise ValueError(f"take: x has {x.ndim} axes; name one with axis=")
        axis = 0
    axis = normalize_axis("take", axis, x.ndim)
    index = indices
    if not isinstance(index, Array):
        index = as_array("take", "indices", indices, split=None, comm=x.comm)
    if index.size == 0 and not isinstance(indices, Array):
        index = asarray(index, dtype="int64")
    check_array("take", "indices", index, INTEGER)
    common_communicator("take", x, index)
    basic = tuple(Range(0, 1, n) for n in x.shape)
    return _pick_points(x, Key(basic, (index,), (axis,), False), "take")


@may_break
def take_along_axis(x: Array, indices: Array, /, *, axis: int = -1) -> Array:
    """Return the elements along an axis at indices of their own for every line along it.

    The standard, "Indexing Functions".

    Parameters
    ----------
    x : Array
        Any layout and dtype.
    indices : Array of integers
        As many axes as `x`; all but `axis` broadcast with those of `x`. Any layout.
    axis : int
        The axis of `x`; the last by default.

    Returns
    -------
    Array
        The dtype of `x`, the shape of `indices` after broadcasting. If `x` is split along another
        axis, so is the result, after one all-to-all of `indices` unless they are split likewise;
        else it is split like `indices`, and the rows are fetched by three all-to-alls.

    Raises
    ------
    IndexError
        If an index or the axis is out of range.
    TypeError
        If `indices` are not integers.
    ValueError
        If the numbers of axes differ, or the shapes do not broadcast.

    Examples
    --------
    >>> x = xp.asarray([[3, 1, 2], [9, 8, 7]], split=0)
    >>> print(xp.take_along_axis(x, xp.argsort(x, axis=1), axis=1))
    [[1 2 3]
     [7 8 9]]
    """
    check_array("take_along_axis", "x", x)
    check_array("take_along_axis", "indices", indices, INTEGER)
    common_communicator("take_along_axis", x, indices)
    if indices.ndim != x.ndim:
        raise ValueError(
            f"take_along_axis: indices has {indices.ndim} axes but x has {x.ndim}; they must agree"
        )
    axis = normalize_axis("take_along_axis", axis, x.ndim)
    others = [resized(a.shape, axis, 1) for a in (x, indices)]
    common = broadcast_shape("take_along_axis", *others)
    with_axis = [resized(common, axis, a.shape[axis]) for a in (x, indices)]
    x, indices = broadcast_to(x, with_axis[0]), broadcast_to(indices, with_axis[1])
    if x.split == axis:
        return _along_split(x, indices, axis)
    layout = x._layout
    if layout.split is None:
        if indices.split == axis:  # every index of a line sees the same full line
            target = indices._layout
        else:
            target = indices._layout
            x = redistribute(x, target.with_shape(x.shape, target.split))
    else:
        target = layout.with_shape(indices.shape, layout.split)
    local = move(indices._local, indices._layout, target)
    index = check_bounds("take_along_axis", Array(local, target), x.shape[axis], axis)
    # Each rank takes other elements of an array that all of them hold.
    source = varying(x) if x.split is None and target.split is not None else x._local
    return Array(on_bits(torch.take_along_dim, source, indices=index, dim=axis), target)


def _along_split(x: Array, indices: Array, axis: int) -> Array:
    """Take along the split axis: ask the owners, by an index for every axis."""
    if indices.split is None:
        indices = resplit(indices, longest_axis(indices.shape))
    layout = indices._layout
    wanted = check_bounds("take_along_axis", indices, x.shape[axis], axis)
    columns = []
    for i in range(x.ndim):
        if i == axis:
            columns.append(wanted.reshape(-1))
            continue
        first = layout.start if layout.split == i else 0
        line = torch.arange(first, first + wanted.shape[i], device=wanted.device)
        line = line.reshape([-1 if j == i else 1 for j in range(x.ndim)])
        columns.append(line.expand(wanted.shape).reshape(-1))
    values = fetch_rows(x._local, x._layout, columns)
    return Array(values.reshape(wanted.shape), layout)
