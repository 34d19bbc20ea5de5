"""Writing by index: ``x[key] = value``.

The value travels to where the selection lies; nothing else moves. A plan says where; it is
made once for a layout and a key, and executed on the tensors.

============================  =======================================================
value                         messages
============================  =======================================================
scalar or replicated          none
split                         one all-to-all to the selection's layout, or none if it
                              lies there
replicated `x`, split value   none if `x` becomes split as the value, else an allgather
index arrays, split `x`       the rows of a split index travel to their owners
============================  =======================================================

A shard whose memory others use is copied first (`Array.writable`); views of the array are told by
the caller (`Array.__setitem__`).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from .._caching import cached
from .._comm.alike import check_alike
from .._comm.assumptions import assumed, kept_of
from .._comm.debug import DEBUG
from .._comm.division import Division
from .._comm.recording import breaks, may_break
from .._core.array import Array, common_communicator
from .._core.collectives import divided, gather, pvary, shard
from .._core.dtypes import (
    BOOL,
    COMPLEX,
    INTEGER,
    REAL_FLOATING,
    carrier,
    on_bits,
    to_numpy_dtype,
    uncarry,
)
from .._core.fetch import place, store_rows
from .._core.layout import Layout, Shape, longest_axis
from .._core.lift import broadcast_shape, filled
from .._core.redistribute import move, redistribute
from .._core.tape import attached, tracked
from .._core.views import permute
from .._creation import as_array, scalar_dtype
from .._manipulation import flip
from .._reshape import broadcast_to, reshape
from .._searching import nonzero
from .basic import box_index, box_layout, is_basic
from .keys import Basic, Key, Range, is_mask, parse, parse_basic
from .read import aligned_indices, as_mask, indexed_first, mask_in_order


def setitem(x: Array, key: Any, value: Any) -> None:
    """Write `value` into ``x[key]``; keys as for reading, errors before anything is written.

    The value broadcasts to the selection, and its dtype converts to that of `x` within its kind or
    from a lower one. Where an index array names an element twice, the last value in row-major order
    stands. `x` keeps its layout but for one case: a replicated array becomes split where a split
    array (value, index or mask) is written that is more than a P-th as big, for that would have to
    be gathered.
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
    rows = layout.division if like else Division.balanced(n, layout.comm.size)
    if not x.is_input():
        x.cut(Layout.of(x.shape, axis, rows, x.comm))


def _cut_for_mask(x: Array, mask: Array, value: Array) -> None:
    rest = x.ndim - mask.ndim
    if mask.split is not None:
        _cut_like(x, mask.split, mask)
    elif value.split is not None:
        own = value.split - value.ndim + x.ndim
        lists_elements = value.ndim > rest and value.split == 0
        _cut_like(x, longest_axis(x.shape, range(mask.ndim)) if lists_elements else own, value)


def _cut_for_points(x: Array, parsed: Key, value: Array, index_ndim: int) -> None:
    axes = _plan_box(x._layout, parsed.basic).axes
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
        if DEBUG:
            check_alike(x.comm, value=value)
        _check_kind(x, scalar_dtype(value))
        local = filled("__setitem__", (), value, dtype, x._local.device)
        return Array(local, Layout.replicated((), x.comm))
    if not isinstance(value, Array):
        options = {"split": None, "comm": x.comm, "device": x.device}
        value = as_array("__setitem__", "value", value, **options)
    common_communicator("__setitem__", x, value)
    _check_kind(x, value._local.dtype)
    return Array(value._local.to(dtype), value._layout)


def _check_kind(x: Array, given: torch.dtype) -> None:
    """Raise unless a value of dtype `given` is of the kind of `x` or of a lower one."""
    kinds = (BOOL.all, INTEGER.all, REAL_FLOATING.all, COMPLEX.all)
    own, other = (next(i for i, k in enumerate(kinds) if d in k) for d in (x._local.dtype, given))
    if other > own:
        raise TypeError(
            f"__setitem__: cannot store {to_numpy_dtype(given)} in an array of {x.dtype}; convert "
            "the value with astype"
        )


def _fitted(value: Array, layout: Layout, x: Array) -> Tensor:
    """Return this rank's part of the value, broadcast to the selection of `layout` from `x`."""
    fitted = _broadcast(value, layout)
    # A part of a split array may be selected on all ranks; one of them writes it.
    return pvary(fitted, layout.comm) if layout.split is None and x.split is not None else fitted


def _check_shape(value: Array, shape: Shape) -> None:
    """Raise unless a value broadcasts to the shape of the selection."""
    own = value.shape
    while len(own) > len(shape) and own[0] == 1:  # leading axes of length 1, as NumPy allows
        own = own[1:]
    missing = len(shape) - len(own)
    if missing < 0 or any(m not in (1, n) for m, n in zip(own, shape[missing:], strict=True)):
        raise ValueError(
            f"__setitem__: value has shape {value.shape}; expected one that broadcasts to {shape}, "
            "the shape of the selection"
        )


def _broadcast(value: Array, layout: Layout) -> Tensor:
    _check_shape(value, layout.shape)
    extra = value.ndim - layout.ndim
    if extra > 0:
        value = reshape(value, value.shape[extra:])
    if value.split is None:
        full = value._local.expand(layout.shape)
        return shard(full, layout)
    grown = broadcast_to(value, layout.shape)
    return move(grown._local, grown._layout, layout)


# ---------------------------------------------------------------------- boxes


class _BoxPlan(NamedTuple):
    """How a basic key is written to a layout.

    Attributes
    ----------
    where : tuple or None
        The index of this rank's shard, all slices ascending; None if the selection is on another.
    target : Layout
        The selection's.
    descending : tuple of int
        The selection's axes that the key runs through backwards.
    axes : tuple of (int or None)
        Which axis of the array each axis of the selection is (None: a new one).
    """

    where: tuple[Any, ...] | None
    target: Layout
    descending: Shape
    axes: tuple[int | None, ...]


@cached
def _plan_box(layout: Layout, basic: tuple[Basic, ...]) -> _BoxPlan:
    ascending = tuple(item.ascending if isinstance(item, Range) else item for item in basic)
    kept = [item for item in basic if not isinstance(item, int)]
    backwards = [isinstance(i, Range) and i.step < 0 and i.length > 1 for i in kept]
    axes: list[int | None] = []
    axis = 0
    for item in basic:
        if not isinstance(item, int):
            axes.append(None if item is None else axis)
        axis += item is not None
    return _BoxPlan(
        box_index(layout, ascending),
        box_layout(layout, ascending),
        tuple(i for i, back in enumerate(backwards) if back),
        tuple(axes),
    )


def _write_box(x: Array, basic: tuple[Basic, ...], value: Array) -> None:
    plan = _plan_box(x._layout, basic)
    split = value._layout.split
    if x._layout.split is None and split is not None:
        _check_shape(value, plan.target.shape)
        if value.shape[split] != 1:
            _cut_like(x, plan.axes[split - value.ndim], value)
            plan = _plan_box(x._layout, basic)
    local = _fitted(_flipped(value, plan.descending, plan.target.ndim), plan.target, x)
    if plan.where is not None:
        carrier(x.writable())[plan.where].copy_(carrier(local))
    elif tracked(local):
        x._local = attached(x.writable(), local)


def _flipped(value: Array, descending: Iterable[int], ndim: int) -> Array:
    """Reverse the value along the selection's axes (of `ndim`) that are written backwards."""
    axes = [axis - ndim for axis in descending]
    axes = [axis for axis in axes if -axis <= value.ndim and value.shape[axis] > 1]
    return flip(value, axis=tuple(axes)) if axes else value


# ---------------------------------------------------------------------- masks


@breaks
def _write_masked(x: Array, key: Any, value: Array) -> None:
    mask = as_mask(key, x)
    rest = x.shape[mask.ndim :]
    if value.ndim <= len(rest):  # the same for every selected element
        _check_shape(value, rest)
    if x._layout.split is None:
        _cut_for_mask(x, mask, value)
    if value.ndim <= len(rest):
        _fill_masked(x, mask, value)
        return
    ordered, local = mask_in_order(x, mask)
    layout = ordered._layout
    n = kept_of(local.numel()) if assumed() else int(torch.count_nonzero(local))
    if layout.split is None or layout.split >= mask.ndim:
        target = layout.drop(*range(mask.ndim)).insert(0, length=n)
    else:
        rows = divided(n, x.comm)
        target = Layout.of((rows.total, *rest), 0, rows, x.comm)
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


# ---------------------------------------------------------------------- points


class _PointsPlan(NamedTuple):
    """How index arrays are written to a layout, whatever their values.

    Attributes
    ----------
    where : tuple
        The index of this rank's shard that selects the box of the basic part.
    order : tuple of int
        The permutation of the box that puts the indexed axes first.
    rows : Layout
        Of the box in this order.
    descending : tuple of int
        The axes behind the indexed ones that the key runs through backwards.
    """

    where: tuple[Any, ...]
    order: Shape
    rows: Layout
    descending: Shape


@cached
def _plan_points(layout: Layout, basic: tuple[Basic, ...], axes: Shape) -> _PointsPlan:
    box = _plan_box(layout, basic)
    assert box.where is not None  # beside arrays there are no integers
    order = indexed_first(box.target, axes)
    behind = tuple(i for i, axis in enumerate(order[len(axes) :]) if axis in box.descending)
    return _PointsPlan(box.where, order, box.target.permuted(order), behind)


@may_break
def _write_points(x: Array, parsed: Key, value: Array) -> None:
    if x._layout.split is None:
        index_shape = broadcast_shape("index", *(index.shape for index in parsed.arrays))
        _cut_for_points(x, parsed, value, len(index_shape))
    plan = _plan_points(x._layout, parsed.basic, parsed.axes)
    box_shape = _plan_box(x._layout, parsed.basic).target.shape
    indices, layout = aligned_indices(parsed, box_shape)
    k = len(indices)
    rest = plan.rows.shape[k:]
    value = _in_front(value, parsed, layout, len(rest))
    remote = plan.rows.split is not None and plan.rows.split < k
    if remote and layout.split is None and layout.shape:
        layout = layout.split_along(0)
        indices = [shard(index, layout) for index in indices]
    elif not remote:  # every rank needs the whole index
        indices = [gather(index, layout) for index in indices]
        layout = Layout.replicated(layout.shape, x.comm)
    selection = layout.with_shape((*layout.shape, *rest), layout.split)
    if not remote and plan.rows.split is not None:
        selection = plan.rows.with_shape(selection.shape, plan.rows.split - k + layout.ndim)
    descending = [layout.ndim + axis for axis in plan.descending]
    local = _fitted(_flipped(value, descending, selection.ndim), selection, x)
    t = x.writable()
    view = uncarry(carrier(t)[plan.where].permute(plan.order), t.dtype)
    columns, positions = [index.reshape(-1) for index in indices], _positions(layout)
    local = local.reshape(len(columns[0]), *view.shape[k:])
    if not remote:
        place(view, columns, local, positions)
        return
    if not layout.shape and x.comm.rank != 0:  # one element: rank 0 asks
        columns = [column[:0] for column in columns]
        positions, local = positions[:0], local[:0]
    store_rows(view, plan.rows, columns, local, positions)


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
