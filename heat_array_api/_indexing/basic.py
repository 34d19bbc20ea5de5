"""Boxes of an array: what integers, slices and new axes select.

A box is planned from the layout and the key, once for each pair: the index of this rank's shard and
the result's layout. Only an integer or a negative step on the split axis sends anything.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

from .._caching import cached
from .._comm.division import Division
from .._core.array import Array
from .._core.collectives import broadcast_rows
from .._core.dtypes import carrier, uncarry
from .._core.layout import Layout, Shape, longest_axis, resized
from .._core.redistribute import resplit
from .._manipulation import flip
from .keys import Basic, Range, parse_basic

# Elements of a row that a broadcast brings to every rank as fast as a single one.
_LATENCY_BOUND_ROW = 1024


# ---------------------------------------------------------------------- views


class View(NamedTuple):
    """A basic key that is a view of each rank's shard.

    Attributes
    ----------
    where : tuple
        The index of this rank's shard.
    result : Layout
        The result's.
    is_linked : bool
        Whether the result is a view of the array, and not the value that integers alone select.
    """

    where: tuple[Any, ...]
    result: Layout
    is_linked: bool


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


def is_same_key(key: Any, other: Any) -> bool:
    """Return whether two keys are basic and alike."""
    items = hashable(key)
    return items is not None and items == hashable(other)


def is_basic(key: Any) -> bool:
    """Return whether a key has integers, slices, None and Ellipsis only."""
    return hashable(key) is not None


@cached
def plan_view(layout: Layout, items: tuple[Any, ...]) -> View | None:
    """Return the view that a basic key is, or None if messages or reversals are needed."""
    key = tuple(slice(*item) if type(item) is tuple else item for item in items)
    basic = parse_basic(key, layout.shape)
    kept = [item for item in basic if item is not None]
    if any(isinstance(item, Range) and item.step < 0 for item in kept):
        return None
    if layout.split is not None and isinstance(kept[layout.split], int) and layout.comm.size > 1:
        return None
    where = box_index(layout, basic)
    assert where is not None
    result = box_layout(layout, basic)
    return View(where, result, bool(result.shape) or Ellipsis in items)


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
    assert layout.division is not None
    begin, end = layout.division.interval(rank)
    step = item.step
    first = min(max(-((item.start - begin) // step), 0), item.length)
    last = min(max(-((item.start - end) // step), 0), item.length)
    return first, last


@cached
def _range_division(start: int, step: int, length: int, division: Division) -> Division:
    """Return how many elements of an ascending range each rank holds."""
    return division.map(lambda bounds: np.clip(-((start - bounds) // step), 0, length))


def box_layout(layout: Layout, basic: tuple[Basic, ...]) -> Layout:
    """Return the layout of the box of basic items; the split axis, if any, keeps its range."""
    split = None
    division = None
    axis = position = 0
    for item in basic:
        if item is not None:
            if axis == layout.split and isinstance(item, Range):
                assert layout.division is not None
                split, division = position, _range_division(*item.ascending, layout.division)
            axis += 1
        position += not isinstance(item, int)
    return Layout.of(_box_shape(basic), split, division, layout.comm)


def box_index(layout: Layout, basic: tuple[Basic, ...]) -> tuple[Any, ...] | None:
    """Return the index of this rank's shard that selects its part of a box; None if it has none.

    All ranges are ascending, or of one element at most.
    """
    index: list[Any] = []
    axis = 0
    for item in basic:
        if item is None:
            index.append(None)
            continue
        offset = layout.start if axis == layout.split else 0
        if isinstance(item, int):
            if axis == layout.split and not 0 <= item - offset < layout.count:
                return None
            index.append(item - offset)
        else:
            start, step, length = item.ascending
            if axis == layout.split:
                first, last = _local_range(item.ascending, layout, layout.comm.rank)
                start, length = start + first * step - offset, last - first
            stop = start + (length - 1) * step + 1
            index.append(slice(start, stop, step) if length else slice(0, 0))
        axis += 1
    # A trailing slice makes a view of what would be the shard's own tensor object.
    return (*index, Ellipsis)


def box(t: Tensor, layout: Layout, basic: tuple[Basic, ...]) -> tuple[Tensor, Layout]:
    """Return this rank's part of the box, and the box's layout. Sends nothing.

    On the split axis the item must be a Range of positive step, or of at most one element.
    """
    where = box_index(layout, basic)
    assert where is not None
    kept = [item for item in basic if not isinstance(item, int)]
    backwards = [isinstance(i, Range) and i.step < 0 and i.length > 1 for i in kept]
    part = carrier(t)[where]
    if any(backwards):
        part = part.flip([dim for dim, back in enumerate(backwards) if back])
    return uncarry(part, t.dtype), box_layout(layout, basic)


def _select_row(x: Array, basic: tuple[Basic, ...], index: int) -> Array:
    """Return the box where an integer selects from the split axis: the owner broadcasts it."""
    layout = x._layout
    assert layout.split is not None
    comm = layout.comm
    kept = [item for item in basic if item is not None]
    size = math.prod(item.length for item in kept if isinstance(item, Range))
    assert layout.division is not None
    owner = layout.division.owner(index)
    split = layout.split
    shape = resized(x.shape, split, 1)
    position = [i for i, item in enumerate(basic) if item is not None][split]
    at_zero = (*basic[:position], 0, *basic[position + 1 :])
    if comm.rank == owner:
        local = x._local.narrow(split, index - layout.start, 1)
    else:
        local = x._local.narrow(split, 0, 0)
    if size > 1 and size * comm.size > x.size - (size > _LATENCY_BOUND_ROW):
        # No more rows than ranks: a row on every rank would be a share of the array or more.
        others = [i for i, item in enumerate(kept) if isinstance(item, Range)]
        axis = longest_axis(x.shape, others)
        row = Array(local, Layout.of(shape, split, np.arange(comm.size) == owner, comm))
        return select(resplit(row, axis), at_zero)
    if comm.rank == owner:
        local = box(local, Layout.replicated(shape, comm), at_zero)[0]
    shape = _box_shape(basic)
    t = broadcast_rows(local, shape, owner, comm)
    return Array(t, Layout.replicated(shape, comm))


def _box_shape(basic: tuple[Basic, ...]) -> Shape:
    return tuple(1 if item is None else item.length for item in basic if not isinstance(item, int))
