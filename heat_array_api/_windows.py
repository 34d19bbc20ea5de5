"""All windows along axes, as NumPy's `sliding_window_view`, which xarray uses.

A window that reaches over the end of a shard needs rows of the next ranks: one message from
each of them fetches those rows, and no others.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ._caching import cached
from ._comm.division import Division
from ._core.arguments import as_flag
from ._core.array import Array, check_array
from ._core.fetch import Fetch, Request, Segment, fetch_intervals, plan_fetch
from ._core.layout import Axis, Layout, as_ints, normalize_axis


def sliding_window_view(
    x: Array, window_shape: int | Sequence[int], axis: Axis = None, *, writeable: bool = False
) -> Array:
    """Return all windows of neighbouring elements along axes (NumPy's `sliding_window_view`).

    Parameters
    ----------
    x : Array
        Any layout and dtype.
    window_shape : int or sequence of int
        The length of the windows along each of the axes.
    axis : int or sequence of int, optional
        The axes to move along, by default all; an axis may be named several times.
    writeable : bool, optional
        Must be False: the windows share memory, and writing into the result does not write
        into `x`.

    Returns
    -------
    Array
        With an additional axis for each window at the end; the axis that it moves along is shorter
        by the window's length less 1. Split as `x`; only the last ranks may have fewer rows. A
        shard is a view of the rows on its rank. Sends nothing if there are no windows along the
        split axis; otherwise one exchange of the rows behind each shard that its windows reach.

    Raises
    ------
    ValueError
        If a window does not fit its axis, the numbers of windows and axes differ, or `writeable`
        is True.
    IndexError
        If an axis is out of range.

    Examples
    --------
    >>> print(xp.lib.stride_tricks.sliding_window_view(xp.arange(4, split=0), 3))
    [[0 1 2]
     [1 2 3]]
    """
    func = "sliding_window_view"
    check_array(func, "x", x)
    if as_flag(func, "writeable", writeable):
        raise ValueError(f"{func}: writeable is True; arrays are values, pass False")
    lengths = as_ints(func, "window_shape", window_shape)
    if axis is None:
        axes: tuple[int, ...] = tuple(range(x.ndim))
    else:
        named = axis if isinstance(axis, (tuple, list)) else (axis,)
        axes = tuple(normalize_axis(func, a, x.ndim) for a in named)
    if len(lengths) != len(axes):
        raise ValueError(
            f"{func}: window_shape has {len(lengths)} lengths; expected {len(axes)}, one for each "
            "axis"
        )
    result = Array(x._local.view_as(x._local), x._layout)
    for length, a in zip(lengths, axes, strict=True):
        n = result.shape[a]
        if not 1 <= length <= n:
            raise ValueError(
                f"{func}: window_shape is {length} along axis {a} of length {n}; expected 1 to {n}"
            )
        result = _windowed(result, length, a)
    return result


def _windowed(x: Array, length: int, axis: int) -> Array:
    layout = x._layout
    t = x._local
    windows = None
    if layout.split == axis:
        plan, windows = _plan_windows(layout, length)
        (t,) = fetch_intervals([t], plan)
    shorter = layout.with_length(axis, layout.shape[axis] + 1 - length, windows)
    result = shorter.insert(layout.ndim, length=length)
    if windows is not None and not result.count:
        return Array(t.narrow(axis, 0, 0)[..., None].expand(result.local_shape), result)
    return Array(t.unfold(axis, length, 1), result)


@cached
def _plan_windows(layout: Layout, length: int) -> tuple[Fetch, Division]:
    """Return what this rank fetches, and how many windows begin in each shard."""
    division = layout.division
    assert division is not None
    n = division.total
    windows = Division(np.minimum(division.offsets, n + 1 - length))
    begins, ends = windows.offsets[:-1], windows.offsets[1:]
    needed = np.where(ends > begins, ends + length - 1, begins)
    return plan_fetch([layout], [Request((Segment(0, n),), begins, needed)]), windows
