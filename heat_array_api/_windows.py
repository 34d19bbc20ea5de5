"""Windows and slopes along axes, as NumPy's: beyond the standard; xarray looks for them.

A window that reaches over the end of a shard needs rows of the next ranks: they are fetched
by one all-to-all, in which only those rows travel.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np

from ._array import Array
from ._assemble import Fetch, Want, fetch, plan_fetch
from ._conversion import asarray
from ._dtypes import FLOATING, carrier, default_float, uncarry
from ._layout import Layout, normalize_axes, normalize_axis
from ._manipulation import concat
from ._op import check_array
from ._reshape import as_ints, reshape
from ._utility import all as all_
from ._utility import diff

__all__ = ["gradient", "sliding_window_view"]

Axis = int | Sequence[int] | None


def sliding_window_view(
    x: Array, window_shape: int | Sequence[int], axis: Axis = None, *, writeable: bool = False
) -> Array:
    """Return all windows of neighbouring elements along axes.

    Parameters
    ----------
    x : Array
        Any layout and dtype.
    window_shape : int or sequence of int
        How many elements a window has along each axis of `axis`.
    axis : int or sequence of int, optional
        All axes by default; an axis may be named several times.
    writeable : bool
        Must be False: the windows share memory, and what is written to the result is not
        written to `x`.

    Returns
    -------
    Array
        An axis for each window after those of `x`, of which a windowed one is shorter by the
        window's length less 1. Split as `x`, at most the last ranks have fewer rows. A rank's shard
        is a view of its rows: it takes no memory beyond theirs.

    Raises
    ------
    ValueError
        If a window does not fit its axis.

    Notes
    -----
    Messages: none if the split axis has no windows, else one all-to-all of the rows after each
    shard that its windows reach.
    """
    func = "sliding_window_view"
    check_array(func, "x", x)
    if writeable:
        raise ValueError(f"{func}: writeable is True; arrays are values, pass False")
    lengths = as_ints(func, "window_shape", window_shape)
    if axis is None:
        axes: tuple[int, ...] = tuple(range(x.ndim))
    else:
        named = axis if isinstance(axis, (tuple, list)) else (axis,)
        axes = tuple(normalize_axis(func, a, x.ndim) for a in named)
    if len(lengths) != len(axes):
        raise ValueError(f"{func}: {len(lengths)} windows for {len(axes)} axes; expected as many")
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
    shape = list(layout.shape)
    shape[axis] += 1 - length
    shape.append(length)
    t = x._local
    if layout.split != axis:
        result = layout.with_shape(tuple(shape), layout.split)
    else:
        plan, counts = _plan_windows(layout, length)
        (t,) = fetch([t], plan)
        result = Layout.of(tuple(shape), axis, counts, layout.comm)
        if not result.count:
            none = carrier(t).narrow(axis, 0, 0)[..., None]
            return Array(uncarry(none.expand(*none.shape[:-1], length), t.dtype), result)
    return Array(uncarry(carrier(t).unfold(axis, length, 1), t.dtype), result)


@lru_cache(maxsize=1024)
def _plan_windows(layout: Layout, length: int) -> tuple[Fetch, tuple[int, ...]]:
    """Return which rows each rank needs, and how many windows begin in its shard."""
    axis = layout.split
    assert axis is not None
    last = layout.shape[axis] + 1 - length
    ranges = [(min(begin, last), min(end, last)) for begin, end in pairwise(layout.offsets)]
    wants = [
        [Want(0, begin, end + length - 1) if end > begin else Want(0, 0, 0)]
        for begin, end in ranges
    ]
    return plan_fetch([layout], axis, wants), tuple(end - begin for begin, end in ranges)


# ---------------------------------------------------------------------- slopes


def gradient(
    f: Array, /, *varargs: Any, axis: Axis = None, edge_order: int = 1
) -> Array | tuple[Array, ...]:
    """Slopes of samples along axes, by central differences.

    Parameters
    ----------
    f : Array
        Any layout; dtype floating-point (integers as the default real dtype).
    *varargs : number or 1-D array
        For all axes or for each: the distance of neighbours, or the places of the samples.
        NumPy arrays count as replicated. By default the distance is 1.
    axis : int or sequence of int, optional
        All axes by default.
    edge_order : {1, 2}
        At the ends: of the difference of two samples, or of the parabola through three.

    Returns
    -------
    Array, or tuple of Array
        Of the shape of `f`, for each axis; one for a single one. Split along the same axis, with
        even counts where that is `axis`.

    Raises
    ------
    ValueError
        If an axis has less than ``edge_order + 1`` samples, or the numbers of places do not fit.

    Notes
    -----
    Messages along the split axis: exchanges of boundary rows, and one all-to-all of the
    rows that change rank.
    """
    check_array("gradient", "f", f)
    if edge_order not in (1, 2):
        raise ValueError(f"gradient: edge_order is {edge_order!r}; expected 1 or 2")
    if f._local.dtype not in FLOATING.all:
        f = Array(f._local.to(default_float()), f._layout)
    axes = normalize_axes("gradient", axis, f.ndim)
    if isinstance(axis, (tuple, list)):
        axes = tuple(normalize_axis("gradient", a, f.ndim) for a in axis)
    steps = varargs * len(axes) if len(varargs) == 1 else varargs or (1.0,) * len(axes)
    if len(steps) != len(axes):
        raise ValueError(f"gradient: {len(varargs)} distances for {len(axes)} axes")
    slopes = tuple(
        _slopes(f, a, _distances(f, a, step), edge_order)
        for a, step in zip(axes, steps, strict=True)
    )
    return slopes[0] if len(slopes) == 1 else slopes


def _distances(f: Array, axis: int, step: Any) -> Array:
    """Return the distances of the samples along an axis: one, where all are equal."""
    n = f.shape[axis]
    places = step if isinstance(step, Array) else np.asarray(step)
    if places.ndim and places.shape != (n,):
        raise ValueError(f"gradient: places of shape {places.shape} for axis {axis} of length {n}")
    if not places.ndim:
        steps = places
    elif isinstance(places, Array):
        steps = diff(places)
        steps = steps[:1] if n > 2 and bool(all_(steps == steps[0])) else steps
    else:
        steps = np.diff(places)
        steps = steps[:1] if n > 2 and np.all(steps == steps[0]) else steps
    if not isinstance(steps, Array):
        steps = asarray(steps, split=None, comm=f.comm, device=f.device)
    steps = Array(steps._local.to(f._local.real.dtype), steps._layout)
    return reshape(steps, (*(1,) * axis, -1, *(1,) * (f.ndim - axis - 1)))


def _slopes(f: Array, axis: int, distances: Array, edge_order: int) -> Array:
    n = f.shape[axis]
    if n <= edge_order:
        raise ValueError(
            f"gradient: axis {axis} has length {n}; expected at least {edge_order + 1}"
        )

    def rows(x: Array, begin: int | None, end: int | None) -> Array:
        if x.shape[axis] == 1 and n > 2:  # the only distance
            return x
        return x[(*(slice(None),) * axis, slice(begin, end))]

    slopes = diff(f, axis=axis) / distances
    before, after = rows(distances, None, -1), rows(distances, 1, None)
    low, high = rows(slopes, None, -1), rows(slopes, 1, None)
    if distances.shape[axis] == 1:  # the element between does not count, be it NaN
        inside = (rows(f, 2, None) - rows(f, None, -2)) / (2 * distances)
    else:
        inside = (after * low + before * high) / (before + after)
    first, last = rows(slopes, None, 1), rows(slopes, -1, None)
    if edge_order == 2:  # the parabola's slope goes on with the change of the slopes
        bend = (high - low) / (before + after)
        first = first - rows(bend, None, 1) * rows(distances, None, 1)
        last = last + rows(bend, -1, None) * rows(distances, -1, None)
    return concat([first, inside, last], axis=axis)
