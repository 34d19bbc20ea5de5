"""Sorting functions, the standard's chapter of that name.

Both orders are exact and stable, and the result has exactly the layout of the operand. Along
another axis than the split axis nothing is sent. Along the split axis (`samplesort`): if there
are at least as many rows (slices along the axis) as ranks, the ranks get whole rows, sort them
locally and send the parts back; otherwise they sort each row together.

NaN is the greatest value: last in ascending order, first in descending order (the standard
leaves it open; torch and array-api-compat do the same). -0.0 and 0.0 are equal. Complex
numbers, which the standard does not order, have NumPy's order: by real, then by imaginary part.
"""

from __future__ import annotations

from typing import Final

from torch import Tensor

from .._comm.recording import breaks
from .._core.arguments import as_flag
from .._core.array import Array, check_array
from .._core.docstrings import filled_in
from .._core.dtypes import ANY
from .._core.layout import normalize_axis
from .local import argsort_last, sort_last
from .samplesort import argsort_split, sort_split

__all__ = ["argsort", "sort"]

_SORT: Final = """Parameters
----------
x : Array
    Any layout and dtype, not 0-d.
axis : int, optional
    The axis to sort along; by default the last.
descending : bool, optional
    From the greatest to the smallest.
stable : bool, optional
    Without effect: equal elements always keep their order.

Returns
-------
Array
    With the shape and layout of `x`.
    {result}
    Sends nothing along other axes than the split axis. Along it: two all-to-alls of the data if
    there are at least as many rows as ranks; otherwise one, and some small messages that find
    where each rank's shard is to be cut. A rank holds no more than its shard and what it sends
    and receives.

Raises
------
IndexError
    If `axis` is out of range."""


@breaks
@filled_in(rest=_SORT, result="Of the dtype of `x`.")
def sort(x: Array, /, *, axis: int = -1, descending: bool = False, stable: bool = True) -> Array:
    """Sort along an axis: exactly, stably, NaN as the greatest value.

    {rest}

    Examples
    --------
    >>> print(xp.sort(xp.asarray([3, 1, 2], split=0), descending=True))
    [3 2 1]
    """
    check_array("sort", "x", x, ANY)
    layout = x._layout
    axis = normalize_axis("sort", axis, x.ndim)
    descending = _checked_order("sort", descending, stable)
    if layout.split == axis and layout.comm.size > 1:
        return Array(sort_split(x._local, layout, descending), layout)
    rows = to_last_axis(x._local, axis)
    return Array(_from_last_axis(sort_last(rows, descending), axis), layout)


@breaks
@filled_in(rest=_SORT, result="int64. The indices are sent with the data.")
def argsort(x: Array, /, *, axis: int = -1, descending: bool = False, stable: bool = True) -> Array:
    """Return the indices that sort an array along an axis.

    {rest}

    Examples
    --------
    >>> print(xp.argsort(xp.asarray([3, 1, 2], split=0)))
    [1 2 0]
    """
    check_array("argsort", "x", x, ANY)
    layout = x._layout
    axis = normalize_axis("argsort", axis, x.ndim)
    descending = _checked_order("argsort", descending, stable)
    if layout.split == axis and layout.comm.size > 1:
        return Array(argsort_split(x._local, layout, descending), layout)
    rows = to_last_axis(x._local, axis)
    return Array(_from_last_axis(argsort_last(rows, descending), axis), layout)


def _checked_order(func: str, descending: bool, stable: bool) -> bool:
    """Return `descending`, checked; `stable` as well, though every sort here is stable."""
    as_flag(func, "stable", stable)
    return as_flag(func, "descending", descending)


def to_last_axis(t: Tensor, axis: int) -> Tensor:
    """Return `t` with an axis moved to the end, contiguous."""
    return t.movedim(axis, -1).contiguous()


def _from_last_axis(t: Tensor, axis: int) -> Tensor:
    """Undo `to_last_axis`."""
    return t.movedim(-1, axis)
