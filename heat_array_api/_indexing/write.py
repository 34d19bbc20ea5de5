"""Writing by index: `x[key] = value`.

The value travels to where the selection lies; nothing else moves. Only the array itself
changes: a shard that a view can see is copied first (`Array.writable`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .._comm.recording import breaks, may_break
from .._core.array import Array, common_communicator
from .._core.collectives import counts_of, gather, pvary, shard
from .._core.dtypes import BOOL, COMPLEX, INTEGER, REAL_FLOATING, carrier, on_bits
from .._core.fetch import place, store_rows
from .._core.layout import Layout, Shape, balanced_counts, longest_axis
from .._core.lift import broadcast_shape, filled
from .._core.redistribute import move, redistribute
from .._core.tape import attached, tracked
from .._core.views import permute
from .._creation import asarray, scalar_dtype
from .._manipulation import flip
from .._reshape import broadcast_to, reshape
from .._searching import nonzero
from .basic import box, is_basic
from .keys import Basic, Key, Range, is_mask, parse, parse_basic
from .read import aligned_indices, as_mask, indexed_first, mask_in_order

__all__ = ["setitem"]


def setitem(x: Array, key: Any, value: Any) -> None:
    """Write `value` into ``x[key]``; keys as for reading.

    Parameters
    ----------
    x : Array
        Any layout; only it changes, and it keeps its dtype. It keeps its layout too, but for one
        case: a replicated array becomes split where a split array (value, index or mask) is
        written that is more than a P-th as big, for that would have to be gathered.
    key
        As for `getitem`. Where an index array names an element twice, the last value in
        row-major order stands.
    value : Array, NumPy array or scalar
        Broadcasts to the selection; of a dtype that converts to that of `x` within its
        kind or from a lower one.

    Raises
    ------
    IndexError, ValueError, TypeError
        On every rank, before anything is written.

    Notes
    -----
    Messages: none for a scalar or a replicated value, unless index arrays select along the
    split axis and are split themselves; a split value is redistributed to the selection by
    one all-to-all, or none where it lies there already.
    """
    x.is_input()  # refuses while the tape is recording
    written = _as_value(x, value)
    if is_basic(key):
        _write_box(x, parse_basic(key, x.shape), written)
    elif is_mask(key):
        _write_masked(x, key, written)
    else:
        parsed = parse(key, x.shape, x.comm, nonzero)
        if parsed.arrays:
            _write_points(x, parsed, written)
        else:
            _write_box(x, parsed.basic, written)


# ---------------------------------------------------------------------- layout of the result


def _cut_like(x: Array, axis: int | None, leader: Array) -> None:
    """Split a replicated `x` along `axis` as `leader`, which is split and about to be written.

    What code that knows no layouts makes to be filled (``zeros(n)``) is replicated; gathering n
    values into it would take each rank P times its share of memory. An array no bigger than
    one rank's share of `leader` stays as it is, and so does an input of the tape.
    """
    layout = leader._layout
    if axis is None or layout.split is None or x.size * layout.comm.size <= leader.size:
        return
    n = x.shape[axis]
    like = n == layout.shape[layout.split]
    counts = layout.counts if like else balanced_counts(n, layout.comm.size)
    if not x.is_input():
        x.cut(Layout.of(x.shape, axis, counts, x.comm))


def _axes_of(basic: Sequence[Basic]) -> list[int | None]:
    """Return which axis of the array each axis of a basic selection is (None: a new one)."""
    axes: list[int | None] = []
    axis = 0
    for item in basic:
        if not isinstance(item, int):
            axes.append(None if item is None else axis)
        axis += item is not None
    return axes


def _cut_for_box(x: Array, basic: Sequence[Basic], value: Array) -> None:
    axes = _axes_of(basic)
    if value.split is None or value.shape[value.split] == 1:
        return
    _cut_like(x, axes[value.split - value.ndim], value)


def _cut_for_mask(x: Array, mask: Array, value: Array) -> None:
    rest = x.ndim - mask.ndim
    if mask.split is not None:
        _cut_like(x, mask.split, mask)
    elif value.split is not None:
        own = value.split - value.ndim + x.ndim
        lists_elements = value.ndim > rest and value.split == 0
        _cut_like(x, longest_axis(x.shape, range(mask.ndim)) if lists_elements else own, value)


def _cut_for_points(x: Array, parsed: Key, value: Array, index_ndim: int) -> None:
    axes = _axes_of(parsed.basic)
    indexed = longest_axis(x.shape, [a for i in parsed.axes if (a := axes[i]) is not None])
    for index in parsed.arrays:
        _cut_like(x, indexed if x.split is None else None, index)
    if x.split is not None or value.split is None or value.shape[value.split] == 1:
        return
    rest = [axis for i, axis in enumerate(axes) if i not in parsed.axes]
    at = 0 if parsed.front else parsed.axes[0]
    selection = [*rest[:at], *[indexed] * index_ndim, *rest[at:]]
    _cut_like(x, selection[value.split - value.ndim], value)


# ---------------------------------------------------------------------- values


def _as_value(x: Array, value: Any) -> Array:
    """Return the value as an Array of the dtype of `x`."""
    dtype = x._local.dtype
    if isinstance(value, (bool, int, float, complex)) and not isinstance(value, np.generic):
        _check_kind(x, scalar_dtype(value))
        local = filled("__setitem__", (), value, dtype, x._local.device)
        return Array(local, Layout.replicated((), x.comm))
    if not isinstance(value, Array):
        value = asarray(value, split=None, comm=x.comm, device=x.device)
    common_communicator("setitem", x, value)
    _check_kind(x, value._local.dtype)
    return Array(value._local.to(dtype), value._layout)


def _check_kind(x: Array, given: torch.dtype) -> None:
    """Raise unless a value of dtype `given` is of the kind of `x` or of a lower one."""
    kinds = (BOOL.all, INTEGER.all, REAL_FLOATING.all, COMPLEX.all)
    own, other = (next(i for i, k in enumerate(kinds) if d in k) for d in (x._local.dtype, given))
    if other > own:
        raise TypeError(
            f"setitem: cannot store {given} in an array of {x.dtype}; convert the value with astype"
        )


def _fitted(value: Array, layout: Layout, x: Array) -> Tensor:
    """Return this rank's part of the value, broadcast to the selection of `layout` from `x`."""
    fitted = _broadcast(value, layout)
    # A part of a split array may be selected on all ranks; one of them writes it.
    return pvary(fitted, layout.comm) if layout.split is None and x.split is not None else fitted


def _check_shape(value: Array, shape: Shape) -> None:
    """Raise unless a value broadcasts to the shape of the selection."""
    broadcast_shape("setitem", value.shape, shape)
    extra = value.ndim - len(shape)
    if any(n != 1 for n in value.shape[: max(extra, 0)]) or any(
        m not in (1, n) for m, n in zip(reversed(value.shape), reversed(shape), strict=False)
    ):
        raise ValueError(f"setitem: a value of shape {value.shape} does not broadcast to {shape}")


def _broadcast(value: Array, layout: Layout) -> Tensor:
    _check_shape(value, layout.shape)
    extra = value.ndim - layout.ndim
    if extra > 0:  # leading axes of length 1, as NumPy allows
        value = reshape(value, value.shape[extra:])
    if value.split is None:
        full = value._local.expand(layout.shape)
        return shard(full, layout)
    grown = broadcast_to(value, layout.shape)
    return move(grown._local, grown._layout, layout)


def _write_box(x: Array, basic: tuple[Basic, ...], value: Array) -> None:
    if x._layout.split is None and value._layout.split is not None:
        lengths = [1 if i is None else i.length for i in basic if not isinstance(i, int)]
        _check_shape(value, tuple(lengths))
        _cut_for_box(x, basic, value)
    layout = x._layout
    descending = [
        axis
        for axis, item in enumerate(i for i in basic if not isinstance(i, int))
        if isinstance(item, Range) and item.step < 0 and item.length > 1
    ]
    ascending = tuple(item.ascending if isinstance(item, Range) else item for item in basic)
    own = None
    if layout.split is not None:
        own = [item for item in ascending if item is not None][layout.split]
    if not isinstance(own, int):
        target = box(x._local, layout, ascending)[1]
        values = _flipped(value, descending, target)
        local = _fitted(values, target, x)
        box(x.writable(), layout, ascending)[0].copy_(local)
        return
    assert layout.split is not None
    shape = tuple(1 if i is None else i.length for i in ascending if not isinstance(i, int))
    target = Layout.replicated(shape, layout.comm)
    local = _fitted(_flipped(value, descending, target), target, x)
    t = x.writable()
    if layout.start <= own < layout.start + layout.count:
        position = [i for i, item in enumerate(ascending) if item is not None][layout.split]
        here = (*ascending[:position], own - layout.start, *ascending[position + 1 :])
        whole = Layout.replicated(tuple(t.shape), layout.comm)
        box(t, whole, here)[0].copy_(local)
    elif tracked(local):
        x._local = attached(t, local)


def _flipped(value: Array, axes: list[int], target: Layout) -> Array:
    """Reverse the value along the selection's axes that are written in descending order."""
    axes = [axis - target.ndim for axis in axes]
    axes = [axis for axis in axes if -axis <= value.ndim and value.shape[axis] > 1]
    return flip(value, axis=tuple(axes)) if axes else value


@breaks
def _write_masked(x: Array, key: Any, value: Array) -> None:
    mask = as_mask(key, x)
    rest = x.shape[mask.ndim :]
    if value.ndim <= len(rest):  # the same for every selected element
        broadcast_shape("setitem", value.shape, rest)
    if x._layout.split is None:
        _cut_for_mask(x, mask, value)
    if value.ndim <= len(rest):
        _fill_masked(x, mask, value)
        return
    ordered, local = mask_in_order(x, mask)
    layout = ordered._layout
    n = int(torch.count_nonzero(local))
    if layout.split is None or layout.split >= mask.ndim:
        target = layout.drop(*range(mask.ndim)).insert(0, length=n)
    else:
        counts = counts_of(n, x.comm)
        target = Layout.of((sum(counts), *rest), 0, counts, x.comm)
    values = _fitted(value, target, x)
    if layout == x._layout:
        carrier(x.writable())[local] = carrier(values)
        return
    t = ordered._local.clone()
    carrier(t)[local] = carrier(values)
    x.become(redistribute(Array(t, layout), x._layout)._local)


def _fill_masked(x: Array, mask: Array, value: Array) -> None:
    layout = x._layout
    if layout.split is None or layout.split >= mask.ndim:
        local = mask.full_tensor()
    else:
        local = move(mask._local, mask._layout, layout.with_shape(mask.shape, layout.split))
    local = local.reshape((*local.shape, *[1] * (x.ndim - mask.ndim)))
    values = _fitted(value, layout.drop(*range(mask.ndim)), x)
    x.become(on_bits(lambda a, b: torch.where(local, a, b), values, x._local))


@may_break
def _write_points(x: Array, parsed: Key, value: Array) -> None:
    if x._layout.split is None:
        index_shape = broadcast_shape("index", *(index.shape for index in parsed.arrays))
        _cut_for_points(x, parsed, value, len(index_shape))
    layout = x._layout
    ascending = tuple(i.ascending if isinstance(i, Range) else i for i in parsed.basic)
    target_box = box(x._local, layout, ascending)[1]
    indices, index_layout = aligned_indices(parsed, target_box.shape)
    order = indexed_first(target_box, parsed.axes)
    rows = target_box.permuted(order)
    k = len(indices)
    rest = rows.shape[k:]
    value = _in_front(value, parsed, index_layout, len(rest))
    descending = _descending(parsed, order, k, index_layout.ndim)
    if (rows.split is not None and rows.split >= k) or rows.split is None:
        _place_locally(x, ascending, order, rows, indices, index_layout, value, descending)
        return
    if index_layout.split is None:
        index_layout = index_layout.split_along(0) if index_layout.shape else index_layout
        indices = [shard(index, index_layout) for index in indices]
    selection = index_layout.with_shape((*index_layout.shape, *rest), index_layout.split)
    local = _fitted(_flipped(value, descending, selection), selection, x)
    positions = _positions(index_layout)
    view = box(x.writable(), layout, ascending)[0].permute(order)
    columns = [index.reshape(-1) for index in indices]
    if not index_layout.shape and x.comm.rank != 0:  # one element: rank 0 asks
        columns = [column[:0] for column in columns]
        positions, local = positions[:0], local.reshape(1, *rest)[:0]
    store_rows(view, rows, columns, local.reshape(len(columns[0]), *view.shape[k:]), positions)


def _descending(parsed: Key, order: tuple[int, ...], k: int, ndim: int) -> list[int]:
    """Return which axes of the selection, after the index's `ndim`, run in descending order."""
    kept = [item for item in parsed.basic if not isinstance(item, int)]
    rest = [kept[axis] for axis in order[k:]]
    return [
        ndim + i
        for i, item in enumerate(rest)
        if isinstance(item, Range) and item.step < 0 and item.length > 1
    ]


def _in_front(value: Array, parsed: Key, index_layout: Layout, rest: int) -> Array:
    """Move the value's index axes, which lie where NumPy puts them, to the front."""
    at = 0 if parsed.front else parsed.axes[0]
    n = index_layout.ndim
    if at == 0 or value.ndim <= rest - at:
        return value
    missing = n + rest - value.ndim
    if missing > 0:
        value = Array(
            value._local.reshape((*[1] * missing, *value._local.shape)),
            value._layout.insert(*range(missing)),
        )
    order = (*range(at, at + n), *range(at), *range(at + n, value.ndim))
    return permute(value, order)


def _positions(layout: Layout) -> Tensor:
    """Return the row-major position, in the whole index, of this rank's elements."""
    flat = torch.zeros((1,) * layout.ndim, dtype=torch.int64)
    for axis, n in enumerate(layout.local_shape):
        first = layout.start if layout.split == axis else 0
        line = torch.arange(first, first + n)
        flat = flat * layout.shape[axis] + line.reshape(
            [-1 if i == axis else 1 for i in range(layout.ndim)]
        )
    return flat.reshape(-1)


def _place_locally(
    x: Array,
    ascending: tuple[Basic, ...],
    order: tuple[int, ...],
    rows: Layout,
    indices: list[Tensor],
    index_layout: Layout,
    value: Array,
    descending: list[int],
) -> None:
    """Write points where no indexed axis is split: every rank needs the whole index."""
    k = len(indices)
    indices = [gather(index, index_layout) for index in indices]
    full = Layout.replicated(index_layout.shape, x.comm)
    shape = (*full.shape, *rows.shape[k:])
    split = None if rows.split is None else rows.split - k + full.ndim
    selection = rows.with_shape(shape, split)
    local = _fitted(_flipped(value, descending, selection), selection, x)
    view = box(x.writable(), x._layout, ascending)[0].permute(order)
    columns = [index.reshape(-1) for index in indices]
    place(view, columns, local.reshape(len(columns[0]), *view.shape[k:]), _positions(full))
