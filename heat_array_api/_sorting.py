"""Sorting functions (the standard's chapter "Sorting Functions"), and the median.

Both orders are exact and stable whatever the layout, and the result has exactly the
layout of the operand. Along another axis than the split axis nothing is sent. Along the
split axis (`_samplesort`): where there are at least as many rows (the other axes, taken
together) as ranks, whole rows are given to the ranks and their pieces given back, two
all-to-alls; else the ranks sort each row together, with one all-to-all of the data and
some small messages.

NaN is the greatest value, so it comes last in ascending order and first in descending
order (the standard leaves it open; so do torch and array-api-compat). -0.0 and 0.0 are
equal. Complex numbers, which the standard does not order, have NumPy's order: by real,
then by imaginary part.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ._array import Array
from ._capturing import breaks
from ._dtypes import ANY, ORDERED, REAL_FLOATING, carrier, default_float, uncarry
from ._kernels import argsort_last, from_raw_keys, raw_keys, sort_keys, sort_last
from ._layout import Layout, Shape, normalize_axes, normalize_axis
from ._manipulation import expand_dims, permute_dims
from ._op import check_array
from ._primitives import preduce
from ._redistribute import redistribute
from ._reshape import reshape
from ._samplesort import argsort_split, find_cuts, sort_split
from ._searching import where
from ._tape import tracked

__all__ = ["argsort", "as_last_axis", "mean_of", "median", "sort", "with_axes"]


@breaks
def sort(x: Array, /, *, axis: int = -1, descending: bool = False, stable: bool = True) -> Array:
    """Sort along an axis.

    Parameters
    ----------
    x : Array
        Any layout and dtype, not 0-d.
    axis : int
        The last by default.
    descending : bool
        From the greatest to the smallest.
    stable : bool
        The sort is always stable.

    Returns
    -------
    Array
        Shape, dtype and layout of `x`.

    Raises
    ------
    IndexError
        If `axis` is out of range.

    Notes
    -----
    Messages: none along other axes than the split axis; else see the module's notes. No
    rank ever holds more than its own shard and what it sends and receives.
    """
    check_array("sort", "x", x, ANY)
    layout = x._layout
    axis = normalize_axis("sort", axis, x.ndim)
    if layout.split == axis and layout.comm.size > 1:
        return Array(sort_split(x._local, layout, descending), layout)
    rows = _last(x._local, axis)
    return Array(_back(sort_last(rows, descending), axis), layout)


@breaks
def argsort(x: Array, /, *, axis: int = -1, descending: bool = False, stable: bool = True) -> Array:
    """Return the indices that sort `x` along an axis.

    Parameters
    ----------
    x : Array
        Any layout and dtype, not 0-d.
    axis : int
        The last by default.
    descending : bool
        From the greatest to the smallest.
    stable : bool
        The order is always stable: equal elements stand in their original order.

    Returns
    -------
    Array
        int64; shape and layout of `x`.

    Raises
    ------
    IndexError
        If `axis` is out of range.

    Notes
    -----
    Messages: as for `sort`, but the indices travel with the data.
    """
    check_array("argsort", "x", x, ANY)
    layout = x._layout
    axis = normalize_axis("argsort", axis, x.ndim)
    if layout.split == axis and layout.comm.size > 1:
        return Array(argsort_split(x._local, layout, descending), layout)
    rows = _last(x._local, axis)
    return Array(_back(argsort_last(rows, descending), axis), layout)


def _last(t: Tensor, axis: int) -> Tensor:
    """Return `t` with `axis` moved to the end, contiguous."""
    return uncarry(carrier(t).movedim(axis, -1).contiguous(), t.dtype)


def _back(t: Tensor, axis: int) -> Tensor:
    """Undo the move of `_last`."""
    return uncarry(carrier(t).movedim(-1, axis), t.dtype)


# ---------------------------------------------------------------------- median


def as_last_axis(x: Array, axes: Shape) -> Array:
    """Return the array with some axes made one, the last, of which the order is left open.

    The split axis comes first among them, so that nothing is sent.
    """
    kept = [i for i in range(x.ndim) if i not in axes]
    merged = sorted(axes, key=lambda i: i != x.split)
    n = math.prod(x.shape[i] for i in axes)
    return reshape(permute_dims(x, (*kept, *merged)), (*(x.shape[i] for i in kept), n))


def with_axes(x: Array, axes: Shape, before: int = 0) -> Array:
    """Return a reduced array with axes of length 1 where `axes` were, after `before` others."""
    for axis in sorted(axes):
        x = expand_dims(x, axis=axis + before)
    return x


@breaks
def median(x: Array, /, axis: int | Sequence[int] | None = None, keepdims: bool = False) -> Array:
    """Median over axes: the middle element, or the mean of the two middle ones.

    Beyond the standard; values as NumPy's.

    Parameters
    ----------
    x : Array
        Any layout; dtype real (integers and booleans as the default real dtype).
    axis : int or tuple of int, optional
        All elements by default.
    keepdims : bool
        Keep the reduced axes with length 1.

    Returns
    -------
    Array
        NaN where there is a NaN or no element. Over the split axis: replicated, or split
        along another axis where that would be more than one rank's share of `x`.

    Notes
    -----
    Messages: none if the split axis is kept. Else no data travels: each rank sorts its
    shard, and the search for splitters (`_samplesort`) finds the middle elements by some
    small allreduces; where there are at least as many other elements as ranks, one
    all-to-all of `x` first, which splits it along its longest other axis. While it is being
    differentiated: those of `sort`, and of taking the middle elements.
    """
    check_array("median", "x", x, ORDERED)
    if x._local.dtype not in REAL_FLOATING.all:
        x = Array(x._local.to(default_float()), x._layout)
    if axis is not None and not isinstance(axis, int):
        axes = normalize_axes("median", axis, x.ndim)
        result = median(as_last_axis(x, axes), axis=-1)
        return with_axes(result, axes) if keepdims else result
    layout = x._layout
    shape = tuple(1 for _ in x.shape) if keepdims else ()
    if tracked(x._local) and layout.split is not None and layout.comm.size > 1:
        if axis is None:
            return reshape(_median_of_sorted(reshape(x, (-1,)), 0, keepdims), shape)
        return _median_of_sorted(x, normalize_axis("median", axis, x.ndim), keepdims)
    if axis is None:
        if layout.split is None or layout.comm.size == 1:
            values = _middle(sort_last(x._local.reshape(1, -1)))
        else:
            values = _median_split([x._local.reshape(-1)], layout.size, layout)
        return Array(values.view(shape), Layout.replicated(shape, layout.comm))
    axis = normalize_axis("median", axis, x.ndim)
    return _median_along(x, axis, keepdims)


def _median_of_sorted(x: Array, axis: int, keepdims: bool) -> Array:
    """Return the median as a function of the sorted array, which is differentiable."""
    n = x.shape[axis]
    ordered = sort(x, axis=axis)

    def at(place: int) -> Array:
        item = slice(place, place + 1) if keepdims else place
        found: Array = ordered[(*[slice(None)] * axis, item)]
        return found

    if n == 0:
        return _median_along(Array(x._local.detach(), x._layout), axis, keepdims)
    high, last = at(n // 2), at(n - 1)
    values = high if n % 2 else (at(n // 2 - 1) + high) / 2
    result: Array = where(last != last, last, values)
    return result


def _median_along(x: Array, axis: int, keepdims: bool) -> Array:
    layout = x._layout
    n = x.shape[axis]
    rest = tuple(m for i, m in enumerate(x.shape) if i != axis)
    if layout.split == axis and math.prod(rest) >= layout.comm.size > 1:
        longest = max((i for i in range(x.ndim) if i != axis), key=lambda i: x.shape[i])
        x = redistribute(x, Layout.balanced(x.shape, longest, layout.comm))
        layout = x._layout
    rows = _last(x._local, axis)
    kept = (*x.shape[:axis], 1, *x.shape[axis + 1 :]) if keepdims else rest
    if layout.split == axis and layout.comm.size > 1:
        if not layout.nonempty:
            empty = x._local.new_full(kept, math.nan)
            return Array(empty, Layout.replicated(kept, layout.comm))
        each = list(rows.reshape(math.prod(rest), layout.count).unbind(0))
        values = _median_split(each, n, layout)
        return Array(values.view(kept), Layout.replicated(kept, layout.comm))
    values = _middle(sort_last(rows))
    values = values.unsqueeze(axis) if keepdims else values
    if layout.split is None or layout.split == axis:
        return Array(values, Layout.replicated(kept, layout.comm))
    split = layout.split - (0 if keepdims or layout.split < axis else 1)
    return Array(values, layout.with_shape(kept, split))


def mean_of(low: Tensor, high: Tensor) -> Tensor:
    """Return the mean of the two middle elements, as NumPy rounds it."""
    wide = torch.float32 if low.dtype.itemsize == 2 else low.dtype
    return ((low.to(wide) + high.to(wide)) / 2).to(low.dtype)


def _middle(rows: Tensor) -> Tensor:
    """Return the medians of sorted rows (along the last axis)."""
    n = rows.shape[-1]
    if n == 0:
        return rows.new_full(rows.shape[:-1], math.nan)
    high = rows[..., n // 2]
    values = high.clone() if n % 2 else mean_of(rows[..., n // 2 - 1], high)
    last = rows[..., -1]
    return torch.where(last != last, last, values)


def _median_split(rows: list[Tensor], n: int, layout: Layout) -> Tensor:
    """Return the medians of rows of `n` elements, each held in parts by all ranks: replicated."""
    comm = layout.comm
    dtype, device = rows[0].dtype, rows[0].device
    if n == 0:
        return rows[0].new_full((1,), math.nan)
    runs = [sort_keys(raw_keys(row.contiguous())) for row in rows]
    places = [n // 2] if n % 2 else [n // 2 - 1, n // 2]
    cuts = find_cuts([(run,) for run in runs], places, n, comm)
    # The element at a place is the least of those that the ranks have after their cuts.
    greatest = torch.iinfo(torch.int64).max
    keys = torch.tensor(
        [
            [*(int(run[c]) if c < run.shape[0] else greatest for c in cut), ~_last_key(run)]
            for run, cut in zip(runs, cuts, strict=True)
        ],
        dtype=torch.int64,
    )
    keys = preduce(keys, "min", comm)
    keys[:, -1] = ~keys[:, -1]
    ordered = from_raw_keys(keys.to(runs[0].dtype), dtype).to(device)
    last = ordered[:, -1]
    values = ordered[:, 0] if n % 2 else mean_of(ordered[:, 0], ordered[:, 1])
    return torch.where(last != last, last, values)


def _last_key(run: Tensor) -> int:
    return int(run[-1]) if run.shape[0] else torch.iinfo(torch.int64).min
