"""Utility functions, the standard's chapter of that name, and NumPy's `gradient`."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from ._core.arguments import as_choice, as_int
from ._core.array import Array, check_array, common_communicator
from ._core.docstrings import filled_in
from ._core.layout import Axis, Shape, normalize_axes, normalize_axis, resized
from ._core.lift import as_floating, reduction
from ._core.operators import no_out
from ._creation import asarray
from ._errors import shown
from ._manipulation import concat
from ._reshape import reshape

__all__ = ["all", "any", "diff", "gradient"]
_TRUTH: Final = {
    "x": "Any layout and dtype.",
    "result": "Boolean.",
    "options": """
        {keepdims}
        out : None
            Accepted because callers of NumPy's function pass it; another value raises TypeError.
        """,
}


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


@filled_in(**_TRUTH)
def any(x: Array, /, *, axis: Axis = None, keepdims: bool = False, out: None = None) -> Array:
    """Tell whether any element is nonzero, over axes; NaN is nonzero.

    {reduction}

    Examples
    --------
    >>> print(xp.any(xp.asarray([[0, 0], [0, 2]], split=0), axis=0))
    [False  True]
    """
    no_out("any", out)
    x = _as_bool(check_array("any", "x", x))
    return reduction("any", _any, x, axis, keepdims, combine="max")


@filled_in(**_TRUTH)
def all(x: Array, /, *, axis: Axis = None, keepdims: bool = False, out: None = None) -> Array:
    """Tell whether all elements are nonzero, over axes; NaN is nonzero.

    {reduction}

    Examples
    --------
    >>> print(xp.all(xp.asarray([1.0, xp.nan, 2.0], split=0)))
    True
    """
    no_out("all", out)
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
    """Return the differences of neighbours along an axis, `n` times over.

    Parameters
    ----------
    x : Array
        Any layout; numeric or boolean (whether neighbours differ).
    n : int, optional
        How many times to take differences; 0 returns the elements themselves.
    axis : int, optional
        The axis to move along; by default the last.
    prepend, append : Array, optional
        Elements to put before and after `x` along `axis` first, as `concat` does.

    Returns
    -------
    Array
        Split as `x`, with `n` elements less along `axis`. Sends nothing, or, if `axis` is the
        split axis, one row to each neighbour, `n` times.

    Raises
    ------
    ValueError
        If `n` is negative.
    IndexError
        If `axis` is out of range.

    Examples
    --------
    >>> print(xp.diff(xp.asarray([1, 4, 9, 16], split=0)))
    [3 5 7]
    """
    check_array("diff", "x", x)
    n = as_int("diff", "n", n, least=0)
    axis = normalize_axis("diff", axis, x.ndim)
    for name, part in (("prepend", prepend), ("append", append)):
        if part is not None:
            common_communicator("diff", x, check_array("diff", name, part))
            if part.ndim != x.ndim or resized(part.shape, axis, 0) != resized(x.shape, axis, 0):
                raise ValueError(
                    f"diff: {name} has shape {part.shape}, x {x.shape}; they may differ along axis "
                    f"{axis} only"
                )
    parts = [part for part in (prepend, x, append) if part is not None]
    result = (
        concat(parts, axis=axis) if len(parts) > 1 else Array(x._local.view_as(x._local), x._layout)
    )
    before = (slice(None),) * axis
    for _ in range(min(n, result.shape[axis])):  # then it has no elements
        high, low = result[(*before, slice(1, None))], result[(*before, slice(None, -1))]
        result = high != low if result._local.dtype is torch.bool else high - low
    return result


# ---------------------------------------------------------------------- slopes


def gradient(
    f: Array, /, *varargs: Any, axis: Axis = None, edge_order: int = 1
) -> Array | tuple[Array, ...]:
    """Return the slopes of samples along axes, by central differences (NumPy's `gradient`).

    Parameters
    ----------
    f : Array
        Any layout; integers count as the default real dtype.
    *varargs : number or Array, optional
        The distance of neighbouring samples, or their positions (of one axis): one for all
        axes, or one for each. NumPy arrays count as replicated. By default the distance is 1.
    axis : int or sequence of int, optional
        The axes to move along; by default all.
    edge_order : {1, 2}, optional
        How the slopes at both ends are computed: from two samples, or from the parabola through
        three.

    Returns
    -------
    Array or tuple of Array
        The slopes along each axis (not in a tuple if there is one), with the shape and split of
        `f`. Sends nothing along other axes than the split axis; along it, neighbours exchange
        rows, and one exchange sends the rows that change rank.

    Raises
    ------
    ValueError
        If an axis has fewer than ``edge_order + 1`` samples, or the distances or positions do not
        fit the axes.
    IndexError
        If an axis is out of range.

    Examples
    --------
    >>> print(xp.gradient(xp.asarray([0.0, 1.0, 4.0, 9.0], split=0)))
    [1. 2. 4. 5.]
    """
    f = as_floating("gradient", f, "f")
    as_choice("gradient", "edge_order", edge_order, (1, 2))
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
    """Return the distances of the samples along an axis, or a single one if all are equal."""
    n = f.shape[axis]
    places = step if isinstance(step, Array) else _as_places(step)
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


def _as_places(step: Any) -> Any:
    """Return a distance, or positions, as a NumPy array of real numbers."""
    try:
        return np.asarray(step, dtype=np.float64)
    except (TypeError, ValueError):
        raise TypeError(
            f"gradient: the distance is {shown(step)}; expected a number or an array of positions"
        ) from None


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
    if distances.shape[axis] == 1:  # the element between does not count, not even a NaN
        inside = (rows(f, 2, None) - rows(f, None, -2)) / (2 * distances)
    else:
        inside = (after * low + before * high) / (before + after)
    first, last = rows(slopes, None, 1), rows(slopes, -1, None)
    if edge_order == 2:  # continue the slope of the parabola
        bend = (high - low) / (before + after)
        first = first - rows(bend, None, 1) * rows(distances, None, 1)
        last = last + rows(bend, -1, None) * rows(distances, -1, None)
    return concat([first, inside, last], axis=axis)
