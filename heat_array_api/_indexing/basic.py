"""Boxes of an array: what integers, slices and new axes select.

A slice of positive step is a view of every rank's shard; its plan is made once for a
layout and a key.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .._core.array import Array
from .._core.collectives import broadcast_rows
from .._core.dtypes import on_bits
from .._core.layout import Layout, Shape, longest_axis, resized
from .._core.redistribute import resplit
from .._manipulation import flip
from .keys import Basic, Range, parse_basic

__all__ = ["View", "box", "box_layout", "hashable", "is_basic", "plan_view", "select"]


# Elements of a row that a broadcast brings to every rank as fast as a single one.
_SMALL_ROW = 1024


# ---------------------------------------------------------------------- views


class View(NamedTuple):
    """A basic key that is a view of each rank's shard: the shard's own index, and the layout."""

    where: tuple[Any, ...]
    result: Layout


def hashable(key: Any) -> tuple[Any, ...] | None:
    """Return a basic key as a cache's key (slices are not hashable); None if it is not basic."""
    items = []
    for item in key if type(key) is tuple else (key,):
        kind = type(item)
        if kind is int or item is None or item is Ellipsis:
            items.append(item)
        elif kind is slice:
            ends = (item.start, item.stop, item.step)
            for end in ends:
                if end is not None and type(end) is not int:
                    return None
            items.append(ends)
        else:
            return None
    return tuple(items)


def is_basic(key: Any) -> bool:
    """Return whether a key has integers, slices, None and Ellipsis only."""
    return hashable(key) is not None


@lru_cache(maxsize=4096)
def plan_view(layout: Layout, items: tuple[Any, ...]) -> View | None:
    """Return the view that a basic key is, or None if messages or reversals are needed."""
    key = tuple(slice(*item) if type(item) is tuple else item for item in items)
    basic = parse_basic(key, layout.shape)
    index: list[Any] = []
    axis = 0
    for item in basic:
        if item is None:
            index.append(None)
            continue
        if isinstance(item, int):
            if axis == layout.split and layout.comm.size > 1:
                return None
            index.append(item)
        else:
            if item.step < 0:
                return None
            start, length = item.start, item.length
            if axis == layout.split:
                first, last = _local_range(item, layout, layout.comm.rank)
                start, length = start + first * item.step - layout.start, last - first
            stop = start + (length - 1) * item.step + 1
            index.append(slice(start, stop, item.step) if length else slice(0, 0))
        axis += 1
    # A trailing slice makes a view of what would be the shard's own tensor object.
    return View((*index, Ellipsis), box_layout(layout, basic))


# ---------------------------------------------------------------------- boxes


def select(x: Array, basic: tuple[Basic, ...]) -> Array:
    """Return the box of the basic items: one per axis, and None for new axes."""
    layout = x._layout
    split = layout.split
    if split is not None:
        own = [item for item in basic if item is not None][split]
        if isinstance(own, int):
            return _select_row(x, basic, own)
        if own.step < 0 and own.length > 1:
            result = select(x, _ascending(basic, split))
            axis = _position(basic, split)
            return flip(result, axis=axis)
    t, result_layout = box(x._local, layout, basic)
    return Array(t, result_layout)


def _ascending(basic: tuple[Basic, ...], split: int) -> tuple[Basic, ...]:
    """Return the items with the range of axis `split` in ascending order."""
    items = list(basic)
    axis = -1
    for i, item in enumerate(items):
        if item is not None:
            axis += 1
            if axis == split:
                assert isinstance(item, Range)
                items[i] = item.ascending
    return tuple(items)


def _position(basic: tuple[Basic, ...], axis: int) -> int:
    """Return which axis of the box axis `axis` of the array becomes."""
    position = taken = 0
    for item in basic:
        if item is not None:
            if taken == axis:
                break
            taken += 1
        position += not isinstance(item, int)
    return position


def _local_range(item: Range, layout: Layout, rank: int) -> tuple[int, int]:
    """Return which of an ascending range's elements a rank holds, as first and one past last."""
    begin, end = layout.offsets[rank], layout.offsets[rank + 1]
    step = item.step
    first = min(max(-((item.start - begin) // step), 0), item.length)
    last = min(max(-((item.start - end) // step), 0), item.length)
    return first, last


def box_layout(layout: Layout, basic: tuple[Basic, ...]) -> Layout:
    """Return the layout of the box of basic items; the split axis, if any, keeps its range."""
    split = None
    counts: Shape = ()
    axis = position = 0
    for item in basic:
        if item is not None:
            if axis == layout.split and isinstance(item, Range):
                ranks = range(layout.comm.size)
                ends = [_local_range(item.ascending, layout, rank) for rank in ranks]
                split, counts = position, tuple(last - first for first, last in ends)
            axis += 1
        position += not isinstance(item, int)
    return Layout.of(_box_shape(basic), split, counts, layout.comm)


def box(t: Tensor, layout: Layout, basic: tuple[Basic, ...]) -> tuple[Tensor, Layout]:
    """Return a view of this rank's part of the box, and the box's layout. Sends nothing.

    On the split axis the item must be a Range of positive step, or of at most one element.
    """
    view = t
    axis = dim = 0  # of the array, of the view as it shrinks and grows
    for item in basic:
        if item is None:
            view = view.unsqueeze(dim)
            dim += 1
            continue
        if isinstance(item, int):
            view = view.select(dim, item)
            axis += 1
            continue
        up = item.ascending
        begin, length = up.start, up.length
        if axis == layout.split:
            first, last = _local_range(up, layout, layout.comm.rank)
            begin, length = begin + first * up.step - layout.start, last - first
        view = _strided(view, dim, begin, up.step, length)
        if item.step < 0 and item.length > 1 and axis != layout.split:
            view = on_bits(torch.flip, view, dims=(dim,))
        axis += 1
        dim += 1
    return view.view_as(view) if view is t else view, box_layout(layout, basic)


def _strided(t: Tensor, dim: int, start: int, step: int, length: int) -> Tensor:
    if length == t.shape[dim] and step == 1:
        return t
    if length == 0:
        return t.narrow(dim, 0, 0)
    if step == 1:
        return t.narrow(dim, start, length)
    index = [slice(None)] * dim + [slice(start, start + (length - 1) * step + 1, step)]
    return t[tuple(index)]


def _select_row(x: Array, basic: tuple[Basic, ...], index: int) -> Array:
    """Return the box where an integer selects from the split axis: the owner broadcasts it."""
    layout = x._layout
    assert layout.split is not None
    comm = layout.comm
    kept = [item for item in basic if item is not None]
    size = math.prod(item.length for item in kept if isinstance(item, Range))
    owner = next(r for r in range(comm.size) if layout.offsets[r + 1] > index)
    split = layout.split
    shape = resized(x.shape, split, 1)
    position = [i for i, item in enumerate(basic) if item is not None][split]
    at_zero = (*basic[:position], 0, *basic[position + 1 :])
    if comm.rank == owner:
        local = x._local.narrow(split, index - layout.start, 1)
    else:
        local = x._local.narrow(split, 0, 0)
    if size > 1 and size * comm.size > x.size - (size > _SMALL_ROW):
        # No more rows than ranks: a row on every rank would be a share of the array or more.
        others = [i for i, item in enumerate(kept) if isinstance(item, Range)]
        axis = longest_axis(x.shape, others)
        counts = tuple(int(rank == owner) for rank in range(comm.size))
        row = Array(local, Layout.of(shape, split, counts, comm))
        return select(resplit(row, axis), at_zero)
    if comm.rank == owner:
        local = box(local, Layout.replicated(shape, comm), at_zero)[0]
    shape = _box_shape(basic)
    t = broadcast_rows(local, shape, owner, comm)
    return Array(t, Layout.replicated(shape, comm))


def _box_shape(basic: tuple[Basic, ...]) -> Shape:
    return tuple(1 if item is None else item.length for item in basic if not isinstance(item, int))
