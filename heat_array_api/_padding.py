"""`pad`, as NumPy's: rows added at the ends of axes.

Constant rows are joined to the array (`_manipulation.concat`). Other rows repeat runs of the
array's rows; one exchange sends those that change rank.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import torch

from ._core.arguments import as_choice, check_size
from ._core.array import Array, check_array
from ._core.fetch import Segment, arrange, arrange_locally
from ._core.layout import Shape, as_ints, resized
from ._core.lift import filled
from ._errors import shown
from ._manipulation import concat

__all__ = ["pad"]

_MODES: Final = ("constant", "edge", "reflect", "symmetric", "wrap")


def pad(x: Array, pad_width: Any, mode: str = "constant", *, constant_values: Any = 0) -> Array:
    """Return the array with rows added at the ends of its axes (NumPy's `pad`).

    Parameters
    ----------
    x : Array
        Any layout and dtype.
    pad_width : int or sequence
        How many rows to add: ``((before_0, after_0), ...)`` for each axis, ``(before, after)``
        for all axes, or one int for all ends.
    mode : {"constant", "edge", "reflect", "symmetric", "wrap"}, optional
        Their content: `constant_values`; the last row; the mirror image without the last row,
        or with it; the rows of the other end.
    constant_values : scalar or sequence, optional
        In the forms of `pad_width`; by default 0.

    Returns
    -------
    Array
        Split as `x`. Sends nothing if the split axis does not grow; otherwise the result is split
        evenly, by one exchange of the rows that change rank.

    Raises
    ------
    ValueError
        If a width is negative or does not fit the axes, the mode is unknown, or an empty axis is
        to be padded from its own rows.

    Examples
    --------
    >>> print(xp.pad(xp.arange(1, 4, split=0), (1, 2), mode="edge"))
    [1 1 2 3 3 3]
    """
    check_array("pad", "x", x)
    widths = _widths(pad_width, x.ndim)
    as_choice("pad", "mode", mode, _MODES)
    padded = [n + sum(pair) for n, pair in zip(x.shape, widths, strict=True)]
    check_size("pad", padded, x._layout.comm.size if x.split is not None else 1)
    values = _per_end("constant_values", constant_values, x.ndim) if mode == "constant" else None
    for axis, (before, after) in enumerate(widths):
        if not before and not after:
            continue
        if values is None:
            x = _pad_rows(x, axis, before, after, mode)
        else:
            x = _pad_constant(x, axis, (before, after), values[axis])
    return Array(x._local.view_as(x._local), x._layout)


def _per_end(name: str, value: Any, ndim: int) -> Any:
    """Return `value` as one pair for each axis."""
    if ndim == 0:
        return []
    try:
        if hasattr(value, "shape"):  # before the values of a split array are gathered
            np.broadcast_shapes(value.shape, (ndim, 2))
        return np.broadcast_to(np.asarray(value), (ndim, 2)).tolist()
    except ValueError:
        raise ValueError(
            f"pad: {name} is {shown(value)}; expected a scalar, a pair, or a pair for each of the "
            f"{ndim} axes"
        ) from None


def _widths(pad_width: Any, ndim: int) -> list[Shape]:
    widths = _per_end("pad_width", pad_width, ndim)
    pairs = [as_ints("pad", "pad_width", pair) for pair in widths]
    if any(n < 0 for pair in pairs for n in pair):
        raise ValueError(f"pad: pad_width is {shown(pad_width)}; expected 0 or more rows")
    return pairs


def _pad_constant(x: Array, axis: int, widths: Shape, values: Sequence[complex]) -> Array:
    layout = x._layout
    t = x._local
    # One element for each end, expanded.
    ends = [filled("pad", (), value, t.dtype, t.device) for value in values]
    if layout.split == axis:
        whole = layout.split_along(None)
        layouts = [whole.with_length(axis, n) for n in widths]
        rows = [Array(end.expand(to.shape), to) for end, to in zip(ends, layouts, strict=True)]
        return concat([rows[0], x, rows[1]], axis=axis)
    first, last = (
        end.expand(resized(t.shape, axis, n)) for end, n in zip(ends, widths, strict=True)
    )
    result = layout.with_length(axis, layout.shape[axis] + sum(widths))
    return Array(torch.cat([first, t, last], dim=axis), result)


def _pad_rows(x: Array, axis: int, before: int, after: int, mode: str) -> Array:
    layout = x._layout
    n = layout.shape[axis]
    if n == 0:
        raise ValueError(f"pad: axis {axis} is empty; mode {mode!r} has no rows to pad it with")
    segments = _runs_of_rows(n, before, after, mode)
    result = layout.with_length(axis, before + n + after)
    if layout.split == axis:
        return Array(arrange(x._local, layout, result, segments), result)
    return Array(arrange_locally(x._local, axis, segments), result)


def _runs_of_rows(n: int, before: int, after: int, mode: str) -> tuple[Segment, ...]:
    """Return the runs of rows that make up a padded axis of `n` rows."""
    if mode == "edge" or (mode == "reflect" and n == 1):
        runs = [Segment(0, before, 0), Segment(0, n, 1), Segment(n - 1, after, 0)]
        return tuple(run for run in runs if run.length)
    if mode == "wrap":
        turns = [Segment(0, n, 1)]
    elif mode == "symmetric":
        turns = [Segment(0, n, 1), Segment(n - 1, n, -1)]
    else:
        turns = [Segment(0, n - 1, 1), Segment(n - 1, n - 1, -1)]
    # The axis is a window of the periodic continuation of these turns.
    period = sum(turn.length for turn in turns)
    position = -(-before // period) * -period
    runs = []
    while position < n + after:
        for start, length, step, _ in turns:
            low = max(position, -before)
            high = min(position + length, n + after)
            if high > low:
                runs.append(Segment(start + step * (low - position), high - low, step))
            position += length
    return tuple(runs)
