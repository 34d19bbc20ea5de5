"""Manipulation functions that move or repeat rows: flip, roll, repeat, tile, pad.

Off the split axis they are local. Along it the rows that change rank travel in one
all-to-all (`_assemble`).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from ._array import Array, common_communicator
from ._assemble import Fetch, Segment, Want, arrange, arrange_locally, fetch, join, plan_fetch
from ._capturing import breaks
from ._dtypes import INTEGER, carrier, uncarry
from ._layout import Layout, Shape, normalize_axes, normalize_axis
from ._manipulation import concat
from ._op import check_array
from ._primitives import counts_of
from ._redistribute import move
from ._reshape import as_ints, reshape

__all__ = ["flip", "pad", "repeat", "roll", "tile"]


def flip(x: Array, /, *, axis: int | Sequence[int] | None = None) -> Array:
    """Return the array with the order of elements reversed along axes.

    Parameters
    ----------
    x : Array
        Any layout and dtype.
    axis : int or tuple of int, optional
        The axes to reverse; None: all.

    Returns
    -------
    Array
        With the layout of `x`.

    Raises
    ------
    IndexError
        If an axis is out of range.

    Notes
    -----
    Messages: none if the split axis keeps its order, else one all-to-all of the rows that
    change rank. The standard: "Manipulation Functions", flip.
    """
    check_array("flip", "x", x)
    layout = x._layout
    axes = normalize_axes("flip", axis, layout.ndim)
    t = x._local
    if layout.split in axes:
        assert layout.split is not None
        n = layout.shape[layout.split]
        t = arrange(t, layout, layout, (Segment(n - 1, n, -1),))
        axes = tuple(i for i in axes if i != layout.split)
        if not axes:
            return Array(t, layout)
    return Array(uncarry(carrier(t).flip(axes), t.dtype), layout)


def roll(
    x: Array,
    /,
    shift: int | Sequence[int],
    *,
    axis: int | Sequence[int] | None = None,
) -> Array:
    """Return the array with elements moved along axes; what leaves at one end enters at the other.

    Parameters
    ----------
    x : Array
        Any layout and dtype.
    shift : int or tuple of int
        By how many places, towards higher indices.
    axis : int or tuple of int, optional
        Along which axes: as many as shifts, or one of the two is a single number for all
        of the other. An axis named twice is rolled twice. None: along the flattened array.

    Returns
    -------
    Array
        With the layout of `x`; for ``axis=None`` possibly another split, where `x` is not
        split along its first axis (see `reshape`).

    Raises
    ------
    IndexError
        If an axis is out of range.
    ValueError
        If there are several shifts and another number of axes.

    Notes
    -----
    Messages: none if the split axis is not rolled, else one all-to-all of the rows that
    change rank. ``axis=None``: also those of two `reshape`. The standard: "Manipulation
    Functions", roll.
    """
    check_array("roll", "x", x)
    if axis is None:
        flat = roll(reshape(x, (-1,)), sum(as_ints("roll", "shift", shift)), axis=0)
        return reshape(flat, x.shape)
    layout = x._layout
    shifts = _shifts(shift, axis, layout)
    t = x._local
    if layout.split is not None and (by := shifts.pop(layout.split, 0)):
        n = layout.shape[layout.split]
        t = arrange(t, layout, layout, (Segment(n - by, by, 1), Segment(0, n - by, 1)))
    if shifts:
        t = uncarry(carrier(t).roll(tuple(shifts.values()), tuple(shifts)), t.dtype)
    return Array(t.view_as(t) if t is x._local else t, layout)


def _shifts(
    shift: int | Sequence[int], axis: int | Sequence[int], layout: Layout
) -> dict[int, int]:
    """Return the shift of each axis that moves, in ``(0, length)``."""
    by = as_ints("roll", "shift", shift)
    axes = [normalize_axis("roll", i, layout.ndim) for i in as_ints("roll", "axis", axis)]
    if len(by) == 1:
        by *= len(axes)
    elif len(axes) == 1:
        axes *= len(by)
    if len(by) != len(axes):
        raise ValueError(f"roll: {len(by)} shifts for {len(axes)} axes; give as many of both")
    total: dict[int, int] = {}
    for i, n in zip(axes, by, strict=True):
        total[i] = total.get(i, 0) + n
    moved = {i: n % layout.shape[i] for i, n in total.items() if layout.shape[i]}
    return {i: n for i, n in moved.items() if n}


# ---------------------------------------------------------------------- repetition


def repeat(x: Array, repeats: int | Array | Sequence[int], /, *, axis: int | None = None) -> Array:
    """Repeat each element a number of times.

    Parameters
    ----------
    x : Array
        Any layout and dtype.
    repeats : int or Array of int
        How often: one number for all rows, or one per row along `axis` (an array of one
        axis and any layout, a NumPy array or a sequence).
    axis : int, optional
        Along which axis; None: flatten the array first.

    Returns
    -------
    Array
        Split as `x`: every rank holds the copies of its own rows.

    Raises
    ------
    IndexError
        If `axis` is out of range.
    TypeError
        If `repeats` is not of integers.
    ValueError
        If `repeats` has another length than the axis, or is negative somewhere.

    Notes
    -----
    Messages: none if `repeats` is a number or replicated. Else `repeats` is brought to the
    layout of `x` (one all-to-all of it, or one allgather if `x` is not split along `axis`)
    and one small allgather completes the new layout. ``axis=None``: also those of
    `reshape`. The standard: "Manipulation Functions", repeat.
    """
    check_array("repeat", "x", x)
    if axis is None:
        x, axis = reshape(x, (-1,)), 0
    layout = x._layout
    axis = normalize_axis("repeat", axis, layout.ndim)
    per_row = _repeats(x, repeats)
    if isinstance(per_row, int):
        return _repeat_all(x, per_row, axis)
    n = layout.shape[axis]
    if per_row.shape != (n,):
        raise ValueError(
            f"repeat: repeats has shape {per_row.shape}; expected an int or ({n},), the "
            f"length of axis {axis}"
        )
    return _repeat_unevenly(x, per_row, axis)


@breaks
def _repeat_unevenly(x: Array, per_row: Array, axis: int) -> Array:
    layout = x._layout
    numbers, counts = _repeats_here(per_row, layout, axis)
    t = carrier(x._local).repeat_interleave(numbers, dim=axis)
    shape = (*layout.shape[:axis], sum(counts), *layout.shape[axis + 1 :])
    if layout.split == axis:
        result = Layout.of(shape, axis, counts, layout.comm)
    else:
        result = layout.with_shape(shape, layout.split)
    return Array(uncarry(t, x._local.dtype), result)


def _repeat_all(x: Array, n: int, axis: int) -> Array:
    if n < 0:
        raise ValueError(f"repeat: repeats is {n}; expected 0 or more")
    layout = x._layout
    shape = (*layout.shape[:axis], layout.shape[axis] * n, *layout.shape[axis + 1 :])
    if layout.split == axis:
        result = Layout.of(shape, axis, tuple(n * count for count in layout.counts), layout.comm)
    else:
        result = layout.with_shape(shape, layout.split)
    t = carrier(x._local).repeat_interleave(n, dim=axis)
    return Array(uncarry(t, x._local.dtype), result)


def _repeats(x: Array, repeats: Any) -> int | Array:
    """Return `repeats` as one number, or as an array of one number per row."""
    if not isinstance(repeats, (Array, np.ndarray, list, tuple)):
        return as_ints("repeat", "repeats", repeats)[0]
    if not isinstance(repeats, Array):
        values = np.asarray(repeats)
        if values.dtype.kind not in "iu" and values.size:
            raise TypeError(f"repeat: repeats has dtype {values.dtype}; expected integers")
        t = torch.from_numpy(values.astype(np.int64)).to(x._local.device)
        repeats = Array(t, Layout.replicated(tuple(t.shape), x._layout.comm))
    check_array("repeat", "repeats", repeats, INTEGER)
    common_communicator("repeat", x, repeats)
    return int(repeats.item()) if repeats.size == 1 and repeats.ndim <= 1 else repeats


def _repeats_here(repeats: Array, layout: Layout, axis: int) -> tuple[Tensor, Shape]:
    """Return the repeats of this rank's rows, and every rank's number of rows in the result."""
    comm = layout.comm
    target = (
        Layout.of(repeats.shape, 0, layout.counts, comm)
        if layout.split == axis
        else Layout.replicated(repeats.shape, comm)
    )
    numbers = repeats._local.to(torch.int64)
    if repeats._layout.split is None:
        negative = bool((numbers < 0).any())
        parts = [numbers[a:b] for a, b in pairwise(target.offsets)] or [numbers]
        counts = tuple(int(part.sum()) for part in parts)
        numbers = parts[comm.rank] if target.split is not None else numbers
    else:
        numbers = move(numbers, repeats._layout, target)
        total = -1 if bool((numbers < 0).any()) else int(numbers.sum())
        counts = counts_of(total, comm) if target.split is not None else (total,)
        negative = min(counts) < 0
    if negative:
        raise ValueError("repeat: repeats has negative elements; expected 0 or more")
    return numbers, counts


def tile(x: Array, repetitions: Sequence[int], /) -> Array:
    """Return copies of the array laid side by side.

    Parameters
    ----------
    x : Array
        Any layout and dtype.
    repetitions : tuple of int
        The number of copies along each axis; the shorter one of it and the shape is
        extended by ones in front.

    Returns
    -------
    Array
        Split as `x`; with even counts if there are several copies along the split axis.

    Raises
    ------
    ValueError
        If a number of copies is negative.

    Notes
    -----
    Messages: none if there is one copy along the split axis, else one all-to-all in which
    each rank gets each row that it needs once. The standard: "Manipulation Functions",
    tile.
    """
    check_array("tile", "x", x)
    copies = as_ints("tile", "repetitions", repetitions)
    if min(copies, default=0) < 0:
        raise ValueError(f"tile: repetitions is {copies}; expected 0 or more copies")
    layout = x._layout
    lead = max(len(copies) - layout.ndim, 0)
    copies = (1,) * (layout.ndim - len(copies)) + copies
    shape = (1,) * lead + layout.shape
    result_shape = tuple(n * k for n, k in zip(shape, copies, strict=True))
    t = x._local
    if layout.split is None:
        result = Layout.replicated(result_shape, layout.comm)
    elif copies[axis := lead + layout.split] == 1:
        result = layout.with_shape(result_shape, axis)
    else:
        result = Layout.balanced(result_shape, axis, layout.comm)
        t = _tile_rows(t, layout, result)
        copies = (*copies[:axis], 1, *copies[axis + 1 :])
    return Array(uncarry(carrier(t).repeat(copies), t.dtype), result)


def _tile_rows(t: Tensor, layout: Layout, result: Layout) -> Tensor:
    """Return this rank's rows of the copies laid one after another along the split axis."""
    axis = layout.split
    assert axis is not None
    n = layout.shape[axis]
    rows = join(fetch([t], _plan_tile(layout, result.offsets)), axis)
    if n == 0 or result.count < n:
        return rows
    index = torch.arange(result.start, result.start + result.count, device=t.device) % n
    return uncarry(carrier(rows).index_select(axis, index), t.dtype)


@lru_cache(maxsize=1024)
def _plan_tile(layout: Layout, offsets: Shape) -> Fetch:
    """Plan which rows every rank needs, each once."""
    axis = layout.split
    assert axis is not None
    n = layout.shape[axis]
    wants = []
    for begin, end in pairwise(offsets):
        first, length = begin % n if n else 0, end - begin
        if length >= n:
            wants.append([Want(0, 0, n)])
        elif first + length <= n:
            wants.append([Want(0, first, first + length)])
        else:
            wants.append([Want(0, first, n), Want(0, 0, first + length - n)])
    return plan_fetch([layout], axis, wants)


# ---------------------------------------------------------------------- padding

_MODES: Final = ("constant", "edge", "reflect", "symmetric", "wrap")


def pad(x: Array, pad_width: Any, mode: str = "constant", *, constant_values: Any = 0) -> Array:
    """Return the array with rows added at the ends of its axes, as NumPy's ``pad``.

    Parameters
    ----------
    x : Array
        Any layout and dtype.
    pad_width : int or sequence
        How many rows: ``((before_0, after_0), ...)`` for each axis, ``(before, after)``
        for all axes, or one int for all ends.
    mode : {"constant", "edge", "reflect", "symmetric", "wrap"}
        What they hold: `constant_values`; the last row; the mirror image without and with
        the last row; the other end.
    constant_values : scalar or sequence
        In the forms of `pad_width`.

    Returns
    -------
    Array
        Split as `x`; with even counts if the split axis grows.

    Raises
    ------
    ValueError
        If a width is negative or does not fit the axes, the mode is unknown, or an empty
        axis is to be padded from its own rows.

    Notes
    -----
    Messages: none if the split axis does not grow, else one all-to-all of the rows that
    change rank.
    """
    check_array("pad", "x", x)
    widths = _widths(pad_width, x.ndim)
    if mode not in _MODES:
        raise ValueError(f"pad: mode is {mode!r}; expected one of {', '.join(_MODES)}")
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
        return np.broadcast_to(np.asarray(value), (ndim, 2)).tolist()
    except ValueError:
        raise ValueError(
            f"pad: {name} is {value!r}; expected a scalar, a pair, or a pair for each of the "
            f"{ndim} axes"
        ) from None


def _widths(pad_width: Any, ndim: int) -> list[Shape]:
    widths = _per_end("pad_width", pad_width, ndim)
    pairs = [as_ints("pad", "pad_width", pair) for pair in widths]
    if any(n < 0 for pair in pairs for n in pair):
        raise ValueError(f"pad: pad_width is {pad_width!r}; expected 0 or more rows")
    return pairs


def _pad_constant(x: Array, axis: int, widths: Shape, values: Sequence[complex]) -> Array:
    layout = x._layout
    t = x._local
    # One element each, expanded.
    ends = [torch.tensor(value, dtype=t.dtype, device=t.device) for value in values]
    if layout.split == axis:
        shapes = [(*layout.shape[:axis], n, *layout.shape[axis + 1 :]) for n in widths]
        rows = [
            Array(end.expand(shape), Layout.replicated(shape, layout.comm))
            for end, shape in zip(ends, shapes, strict=True)
        ]
        return concat([rows[0], x, rows[1]], axis=axis)
    first, last = (
        end.expand(*t.shape[:axis], n, *t.shape[axis + 1 :])
        for end, n in zip(ends, widths, strict=True)
    )
    return Array(torch.cat([first, t, last], dim=axis), _longer(layout, axis, sum(widths)))


def _longer(layout: Layout, axis: int, more: int) -> Layout:
    """Return a layout with more rows along an axis: evenly spread if that is the split axis."""
    shape = (*layout.shape[:axis], layout.shape[axis] + more, *layout.shape[axis + 1 :])
    if layout.split == axis:
        return Layout.balanced(shape, axis, layout.comm)
    return layout.with_shape(shape, layout.split)


def _pad_rows(x: Array, axis: int, before: int, after: int, mode: str) -> Array:
    layout = x._layout
    n = layout.shape[axis]
    if n == 0:
        raise ValueError(f"pad: axis {axis} is empty; mode {mode!r} has no rows to pad it with")
    segments = _segments(n, before, after, mode)
    result = _longer(layout, axis, before + after)
    if layout.split == axis:
        return Array(arrange(x._local, layout, result, segments), result)
    return Array(arrange_locally(x._local, axis, segments), result)


def _segments(n: int, before: int, after: int, mode: str) -> tuple[Segment, ...]:
    """Return the runs of rows that a padded axis of `n` rows is made of."""
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
        for start, length, step in turns:
            low = max(position, -before)
            high = min(position + length, n + after)
            if high > low:
                runs.append(Segment(start + step * (low - position), high - low, step))
            position += length
    return tuple(runs)
