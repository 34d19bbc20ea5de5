"""Utility functions (the standard's chapter of that name), and NumPy's ufuncs on our arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from ._core.array import Array
from ._core.layout import Axis, Shape, normalize_axes, normalize_axis
from ._core.lift import as_floating, check_array, reduction
from ._creation import asarray
from ._manipulation import concat
from ._reshape import reshape

__all__ = ["all", "any", "diff", "gradient"]


def _truth(torch_kernel: Any) -> Any:
    def kernel(t: Tensor, axes: Shape, keepdims: bool) -> Tensor:
        reduced: Tensor = torch_kernel(t, dim=axes, keepdim=keepdims) if axes else t.view_as(t)
        return reduced

    return kernel


_any = _truth(torch.any)


_all = _truth(torch.all)


def _as_bool(x: Array) -> Array:
    if x._local.dtype is torch.bool:
        return x
    return Array(x._local.to(torch.bool), x._layout)


def any(x: Array, /, *, axis: Axis = None, keepdims: bool = False) -> Array:
    """Whether any element is nonzero (NaN is), over axes. Layout and messages as for `sum`."""
    x = _as_bool(check_array("any", "x", x))
    return reduction("any", _any, x, axis, keepdims, combine="max")


def all(x: Array, /, *, axis: Axis = None, keepdims: bool = False) -> Array:
    """Whether all elements are nonzero (NaN is), over axes. Layout and messages as for `sum`."""
    x = _as_bool(check_array("all", "x", x))
    return reduction("all", _all, x, axis, keepdims, combine="min")


def diff(
    x: Array,
    /,
    n: int = 1,
    *,
    axis: int = -1,
    prepend: Array | None = None,
    append: Array | None = None,
) -> Array:
    """Differences of neighbours along an axis, `n` times over.

    Parameters
    ----------
    x : Array
        Any layout; dtype numeric (boolean: whether neighbours differ).
    n : int
        How many times to take differences; 0 returns `x`.
    axis : int
    prepend, append : Array, optional
        Values to put before and after `x` along `axis` first.

    Returns
    -------
    Array
        Split as ``x[1:]`` along `axis`. Messages, if `axis` is the split axis: one
        exchange of boundary rows between neighbours a time.
    """
    check_array("diff", "x", x)
    if n < 0:
        raise ValueError(f"diff: n is {n}; it must not be negative")
    axis = normalize_axis("diff", axis, x.ndim)
    parts = [part for part in (prepend, x, append) if part is not None]
    result = (
        concat(parts, axis=axis) if len(parts) > 1 else Array(x._local.view_as(x._local), x._layout)
    )
    before = (slice(None),) * axis
    for _ in range(n):
        high, low = result[(*before, slice(1, None))], result[(*before, slice(None, -1))]
        result = high != low if result._local.dtype is torch.bool else high - low
    return result


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
    f = as_floating("gradient", f, "f")
    if edge_order not in (1, 2):
        raise ValueError(f"gradient: edge_order is {edge_order!r}; expected 1 or 2")
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
        steps = steps[:1] if n > 2 and bool(all(steps == steps[0])) else steps
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
