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

from torch import Tensor

from .._comm.recording import breaks
from .._core.array import Array
from .._core.dtypes import ANY
from .._core.layout import Shape, normalize_axis
from .._core.lift import check_array
from .._manipulation import expand_dims, permute_dims
from .._reshape import reshape
from .local import argsort_last, sort_last
from .samplesort import argsort_split, sort_split

__all__ = ["argsort", "sort"]


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
    return t.movedim(axis, -1).contiguous()


def _back(t: Tensor, axis: int) -> Tensor:
    """Undo the move of `_last`."""
    return t.movedim(-1, axis)


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
