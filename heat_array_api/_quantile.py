"""Quantiles and the median, as NumPy's, which xarray and other libraries use.

The reduced axes are merged into one and sorted, and the elements on either side of each
quantile are taken: composites, differentiable as `sort` is. Only the median over the split
axis needs no sorted array: `_sorting.samplesort.find_cuts` finds its elements.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from ._comm.assumptions import numbers
from ._comm.recording import breaks
from ._core.arguments import as_choice, as_flag
from ._core.array import Array, check_array
from ._core.collectives import preduce
from ._core.docstrings import filled_in
from ._core.dtypes import COMPLEX, ORDERED, REAL_FLOATING, to_torch_dtype
from ._core.layout import Axis, Layout, Shape, normalize_axes, normalize_axis
from ._core.lift import as_floating, varying
from ._core.redistribute import redistribute, resplit
from ._core.tape import tracked
from ._elementwise import isnan, logical_not
from ._errors import shown
from ._indexing.read import take, take_along_axis
from ._manipulation import expand_dims, moveaxis, permute_dims
from ._reshape import reshape
from ._searching import where
from ._sorting import sort, to_last_axis
from ._sorting.local import from_raw_keys, raw_keys, sort_keys, sort_last
from ._sorting.samplesort import find_cuts
from ._statistical import sum as sum_

__all__ = ["median", "nanmedian", "nanquantile", "quantile"]
Places = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


# Hyndman and Fan (1996), "Sample quantiles in statistical packages": the constants (alpha,
# beta) of the continuous definitions, whose position is q (n + 1 - alpha - beta) + alpha - 1.
_CONTINUOUS: Final[dict[str, tuple[float, float]]] = {
    "linear": (1.0, 1.0),
    "lower": (1.0, 1.0),
    "higher": (1.0, 1.0),
    "midpoint": (1.0, 1.0),
    "nearest": (1.0, 1.0),
    "interpolated_inverted_cdf": (0.0, 1.0),
    "hazen": (0.5, 0.5),
    "weibull": (0.0, 0.0),
    "median_unbiased": (1 / 3, 1 / 3),
    "normal_unbiased": (3 / 8, 3 / 8),
}

_ROUNDED: Final[dict[str, Callable[[torch.Tensor], torch.Tensor]]] = {
    "lower": torch.floor,
    "higher": torch.ceil,
    "nearest": torch.round,  # a half to the even position, as NumPy does
}

_QUANTILE: Final = """Parameters
----------
x : Array
    Real, in any layout; integers and booleans count as the default real dtype.
q : float, sequence or array
    Probabilities from 0 to 1, the same on every rank. The derivative by a probability is the slope
    between the elements around the quantile; 0 where `method` jumps between them.
{axis}
method : str, optional
    "linear", "lower", "higher", "midpoint", "nearest", or another of NumPy's continuous ones:
    "interpolated_inverted_cdf", "hazen", "weibull", "median_unbiased", "normal_unbiased"
    (Hyndman and Fan (1996), "Sample quantiles in statistical packages").
{keepdims}

Returns
-------
Array
    The axes of `q` come first. Of the dtype of `x` if `q` is a number or the method "lower",
    "higher" or "nearest", otherwise promoted with that of `q`.
    {reduced}

Raises
------
TypeError
    If `q` is not numeric.
ValueError
    If a probability is not in [0, 1], or the method is unknown."""

_REDUCED: Final = """Split as `x`, and nothing is sent, if the split axis is kept. Otherwise, if
there are at least as many other elements as ranks, one all-to-all splits `x` along its longest
other axis, and the result is split along it; if not, the result is replicated, and the ranks
"""

_MEDIAN: Final = {
    "x": "Real, in any layout; integers and booleans count as the default real dtype.",
    "result": "Of the dtype of `x`.",
    "reduced": f"""{_REDUCED}find the middle elements by small allreduces, or sort `x` together
if the median is differentiated.""",
}

_NAN_MEDIAN: Final = _MEDIAN | {"reduced": f"{_REDUCED}sort `x` together (see `sort`)."}


# ---------------------------------------------------------------------- quantiles


@breaks
@filled_in(rest=_QUANTILE, reduced=_NAN_MEDIAN["reduced"])
def quantile(
    x: Array, /, q: Any, axis: Axis = None, *, method: str = "linear", keepdims: bool = False
) -> Array:
    """Return quantiles over axes; NaN where there is a NaN or no element.

    {rest}

    Examples
    --------
    >>> print(xp.quantile(xp.asarray([3.0, 1.0, 2.0, 5.0], split=0), [0.0, 0.5]))
    [1.  2.5]
    """
    return _quantile("quantile", x, q, axis, method, keepdims)


@breaks
@filled_in(rest=_QUANTILE, reduced=_NAN_MEDIAN["reduced"])
def nanquantile(
    x: Array, /, q: Any, axis: Axis = None, *, method: str = "linear", keepdims: bool = False
) -> Array:
    """Return quantiles over axes of the elements that are not NaN; NaN where all are.

    One reduction counts these elements first.

    {rest}

    Examples
    --------
    >>> print(xp.nanquantile(xp.asarray([3.0, xp.nan, 2.0, 4.0], split=0), 0.25))
    2.5
    """
    return _quantile("nanquantile", x, q, axis, method, keepdims, skips_nan=True)


def _quantile(
    func: str, x: Array, q: Any, axis: Axis, method: str, keepdims: bool, skips_nan: bool = False
) -> Array:
    x = as_floating(func, check_array(func, "x", x, ORDERED))
    as_choice(func, "method", method, _CONTINUOUS)
    keepdims = as_flag(func, "keepdims", keepdims)
    axes = normalize_axes(func, axis, x.ndim)
    at, dtype = _probabilities(func, q, x)
    if method in _ROUNDED:  # which computes nothing with `q`
        dtype = x._local.dtype
    lines = _with_whole_lines(_merge_last(x, axes))
    flat = reshape(at, (-1,))
    whole = lines.split in (None, lines.ndim - 1)  # then the result is replicated
    places = flat._local if whole else varying(flat)
    if skips_nan or lines.shape[-1] == 0:
        result = _quantiles_of_numbers(lines, places, method, dtype)
    else:
        result = _quantiles_of_all(lines, places, method, dtype)
    result = moveaxis(result, -1, 0)
    result = _with_axes(result, axes, 1) if keepdims else result
    return reshape(result, (*at.shape, *result.shape[1:]))


def _quantiles_of_all(lines: Array, at: torch.Tensor, method: str, dtype: torch.dtype) -> Array:
    """Return the quantiles of each line, on a last axis; NaN where the line has a NaN."""
    n = lines.shape[-1]
    low, high, weight = _places(at, torch.tensor(n, device=at.device), method)
    places = torch.cat([low, high, torch.full_like(low[:1], n - 1)])
    index = Array(places, Layout.replicated(tuple(places.shape), lines.comm))
    found = take(sort(lines, axis=-1), index, axis=-1)
    if found.split == found.ndim - 1:  # few lines
        found = resplit(found, None)
    k = at.shape[0]
    t = found._local
    result = _interpolate(t[..., :k], t[..., k : 2 * k], weight, dtype)
    last = t[..., 2 * k :]
    result = torch.where(last != last, math.nan, result)
    return Array(result, found._layout.with_length(found.ndim - 1, k))


def _quantiles_of_numbers(lines: Array, at: torch.Tensor, method: str, dtype: torch.dtype) -> Array:
    """Return the quantiles of the elements of each line that are not NaN, on a last axis."""
    n = _lengths_without_nan(lines)
    low, high, weight = _places(at, n._local[..., None], method)
    k = at.shape[0]
    found = _take_from_sorted(lines, Array(torch.cat([low, high], dim=-1), _with_last(n, 2 * k)))
    t = found._local
    return Array(_interpolate(t[..., :k], t[..., k:], weight, dtype), _with_last(n, k))


def _probabilities(func: str, q: Any, x: Array) -> tuple[Array, torch.dtype]:
    """Return the probabilities, float64 and replicated, and the dtype of the result."""
    if isinstance(q, Array) and q._local.dtype in COMPLEX.all:  # before its values are gathered
        raise TypeError(f"{func}: q has dtype {q.dtype}; expected probabilities")
    everywhere = resplit(q, None) if isinstance(q, Array) else None
    try:
        values = np.asarray(q if everywhere is None else everywhere.detach())
    except ValueError as error:
        raise ValueError(f"{func}: q is not an array of probabilities: {error}") from None
    if values.dtype.kind not in "biuf":
        raise TypeError(f"{func}: q has dtype {values.dtype}; expected probabilities")
    if not np.all((values >= 0) & (values <= 1)):
        raise ValueError(f"{func}: q is {shown(q)}; expected probabilities from 0 to 1")
    dtype = x._local.dtype
    if not isinstance(q, (int, float)) and values.dtype.kind == "f":
        dtype = torch.promote_types(dtype, to_torch_dtype(values.dtype, func))
    if everywhere is not None and tracked(everywhere._local):
        local = everywhere._local.to(torch.float64)
    else:
        local = torch.from_numpy(values.astype(np.float64))
    return Array(local.to(x._local.device), Layout.replicated(values.shape, x.comm)), dtype


def _places(q: torch.Tensor, n: torch.Tensor, method: str) -> Places:
    """Return the positions around each quantile of `n` elements, and the upper one's weight."""
    alpha, beta = _CONTINUOUS[method]
    n = n.to(torch.float64)  # otherwise an integer tensor and a number make float32
    last = torch.clamp(n - 1, min=0.0)
    # Exact for "linear", because the position may be rounded up or down.
    linear = alpha == beta == 1
    place = q * (n - 1) if linear else n * q + (alpha + q * (1 - alpha - beta)) - 1
    place = torch.clamp(place, min=0.0)
    place = torch.where(place > last, last, place)
    if method in _ROUNDED:
        place = _ROUNDED[method](place)
    if method in _ROUNDED or method == "midpoint":
        place = place.detach()  # the quantile jumps
    low = torch.floor(place.detach())
    if tracked(q):  # the slope at the greatest element is that before it
        low = torch.minimum(low, torch.clamp(last - 1, min=0.0))
    weight = place - low
    if method == "midpoint":
        weight = torch.where((weight > 0) & (weight < 1), 0.5, weight)
    high = torch.minimum(low + 1, last)
    return low.to(torch.int64), high.to(torch.int64), weight


def _interpolate(
    low: torch.Tensor, high: torch.Tensor, weight: torch.Tensor, dtype: torch.dtype
) -> torch.Tensor:
    """Interpolate from the nearer end, so that the result is monotonic in the weight."""
    wide = torch.promote_types(dtype, torch.float32)
    a, b, t = low.to(wide), high.to(wide), weight.to(wide)
    distance = b - a
    # Equal infinities have no distance, and an element alone may be beside an infinity. But its
    # slope matters where `t` is differentiated.
    alone = (t == 0) | (t == 1)
    none = alone & ~torch.isfinite(distance) if tracked(weight) else alone
    distance = torch.where(none | (a == b), 0.0, distance)
    return torch.where(t < 0.5, a + distance * t, b - distance * (1 - t)).to(dtype)


# ---------------------------------------------------------------------- medians


@breaks
@filled_in(**_MEDIAN)
def median(x: Array, /, axis: int | Sequence[int] | None = None, keepdims: bool = False) -> Array:
    """Return the median over axes, the middle element or the mean of both; NaN if one is NaN.

    {reduction}

    Examples
    --------
    >>> print(xp.median(xp.asarray([3.0, 1.0, 2.0, 5.0], split=0)))
    2.5
    """
    x = as_floating("median", check_array("median", "x", x, ORDERED))
    keepdims = as_flag("median", "keepdims", keepdims)
    if axis is not None and not isinstance(axis, int):
        axes = normalize_axes("median", axis, x.ndim)
        result = median(_merge_last(x, axes), axis=-1)
        return _with_axes(result, axes) if keepdims else result
    layout = x._layout
    shape = tuple(1 for _ in x.shape) if keepdims else ()
    if tracked(x._local) and layout.split is not None and layout.comm.size > 1:
        if axis is None:
            return reshape(_median_by_sorting(reshape(x, (-1,)), 0, keepdims), shape)
        return _median_by_sorting(x, normalize_axis("median", axis, x.ndim), keepdims)
    if axis is None:
        if layout.split is None or layout.comm.size == 1:
            values = _median_of_sorted_rows(sort_last(x._local.reshape(1, -1)))
        else:
            values = _median_over_ranks([x._local.reshape(-1)], layout.size, layout)
        return Array(values.view(shape), Layout.replicated(shape, layout.comm))
    axis = normalize_axis("median", axis, x.ndim)
    return _median_along(x, axis, keepdims)


@breaks
@filled_in(**_NAN_MEDIAN)
def nanmedian(x: Array, /, *, axis: Axis = None, keepdims: bool = False) -> Array:
    """Return the median over axes of the elements that are not NaN; NaN where all are.

    {reduction}

    Examples
    --------
    >>> print(xp.nanmedian(xp.asarray([3.0, xp.nan, 2.0, 4.0], split=0)))
    3.0
    """
    check_array("nanmedian", "x", x, ORDERED)
    keepdims = as_flag("nanmedian", "keepdims", keepdims)
    if x._local.dtype not in REAL_FLOATING.all:
        return median(x, axis=axis, keepdims=keepdims)
    axes = normalize_axes("nanmedian", axis, x.ndim)
    lines = _with_whole_lines(_merge_last(x, axes))
    n = _lengths_without_nan(lines)
    middle = torch.stack([(n._local - 1) // 2, n._local // 2], dim=-1)
    t = _take_from_sorted(lines, Array(middle, _with_last(n, 2)))._local
    result = Array(_mean_of_two(t[..., 0], t[..., 1]), n._layout)
    return _with_axes(result, axes) if keepdims else result


def _median_by_sorting(x: Array, axis: int, keepdims: bool) -> Array:
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
    lines = math.prod(layout.drop(axis).shape)
    if layout.split == axis and lines >= layout.comm.size > 1:
        layout = layout.split_off((axis,))
        x = redistribute(x, layout)
    result = layout.drop(axis, keepdims=keepdims)
    rows = to_last_axis(x._local, axis)
    if layout.split == axis and layout.comm.size > 1:
        if not layout.nonempty:
            return Array(x._local.new_full(result.shape, math.nan), result)
        each = list(rows.reshape(lines, layout.count).unbind(0))
        return Array(_median_over_ranks(each, n, layout).view(result.shape), result)
    values = _median_of_sorted_rows(sort_last(rows))
    return Array(values.unsqueeze(axis) if keepdims else values, result)


def _median_of_sorted_rows(rows: Tensor) -> Tensor:
    """Return the medians of sorted rows (along the last axis)."""
    n = rows.shape[-1]
    if n == 0:
        return rows.new_full(rows.shape[:-1], math.nan)
    high = rows[..., n // 2]
    values = high.clone() if n % 2 else _mean_of_two(rows[..., n // 2 - 1], high)
    last = rows[..., -1]
    return torch.where(last != last, last, values)


def _median_over_ranks(rows: list[Tensor], n: int, layout: Layout) -> Tensor:
    """Return the replicated medians of rows of `n` elements that are split over all ranks."""
    comm = layout.comm
    dtype, device = rows[0].dtype, rows[0].device
    if n == 0:
        return rows[0].new_full((1,), math.nan)
    runs = [sort_keys(raw_keys(row.contiguous())) for row in rows]
    places = [n // 2] if n % 2 else [n // 2 - 1, n // 2]
    cuts = find_cuts([(run,) for run in runs], places, n, comm)
    # The element at a position is the least element behind the cuts of all ranks.
    greatest = torch.iinfo(torch.int64).max
    keys = torch.tensor(
        [
            [*(_key_at(run, c) if c < run.shape[0] else greatest for c in cut), ~_last_key(run)]
            for run, cut in zip(runs, cuts, strict=True)
        ],
        dtype=torch.int64,
    )
    keys = preduce(keys, "min", comm)
    keys[:, -1] = ~keys[:, -1]
    ordered = from_raw_keys(keys.to(runs[0].dtype), dtype).to(device)
    last = ordered[:, -1]
    values = ordered[:, 0] if n % 2 else _mean_of_two(ordered[:, 0], ordered[:, 1])
    return torch.where(last != last, last, values)


def _key_at(run: Tensor, place: int) -> int:
    return numbers(run[place].view(1), [0], "")[0]


def _last_key(run: Tensor) -> int:
    return _key_at(run, -1) if run.shape[0] else torch.iinfo(torch.int64).min


def _mean_of_two(low: Tensor, high: Tensor) -> Tensor:
    """Return the mean of the two middle elements, as NumPy rounds it."""
    wide = torch.float32 if low.dtype.itemsize == 2 else low.dtype
    return ((low.to(wide) + high.to(wide)) / 2).to(low.dtype)


# ---------------------------------------------------------------------- merged axes


def _merge_last(x: Array, axes: Shape) -> Array:
    """Return the array with axes merged into a last one, in any order of the elements.

    The split axis comes first among them, so that nothing is sent.
    """
    kept = [i for i in range(x.ndim) if i not in axes]
    merged = sorted(axes, key=lambda i: i != x.split)
    n = math.prod(x.shape[i] for i in axes)
    return reshape(permute_dims(x, (*kept, *merged)), (*(x.shape[i] for i in kept), n))


def _with_axes(x: Array, axes: Shape, before: int = 0) -> Array:
    """Return a reduced array with axes of length 1 where `axes` were, behind `before` others."""
    for axis in sorted(axes):
        x = expand_dims(x, axis=axis + before)
    return x


def _with_whole_lines(lines: Array) -> Array:
    """Return the lines split along another axis than the last, if there are enough lines."""
    layout = lines._layout
    last = layout.ndim - 1
    if layout.split != last or math.prod(layout.shape[:-1]) < layout.comm.size:
        return lines
    if layout.comm.size == 1:
        return lines
    return redistribute(lines, layout.split_off((last,)))


def _lengths_without_nan(lines: Array) -> Array:
    """Return how many elements of each line are not NaN, as integers to compute positions from."""
    return sum_(logical_not(isnan(lines)), axis=-1)


def _take_from_sorted(lines: Array, index: Array) -> Array:
    """Return elements of the sorted lines, at positions that differ from line to line."""
    last = lines.shape[-1] - 1
    if last < 0:
        empty = torch.full(index._local.shape, math.nan, dtype=lines._local.dtype)
        return Array(empty.to(index._local.device), index._layout)
    clipped = torch.clamp(index._local, 0, last)
    ordered = sort(lines, axis=-1)
    if lines.split != lines.ndim - 1:
        return Array(torch.take_along_dim(ordered._local, clipped, dim=-1), index._layout)
    found = take_along_axis(ordered, Array(clipped, index._layout), axis=-1)
    return redistribute(found, index._layout)  # few lines: replicated as the index is


def _with_last(x: Array, n: int) -> Layout:
    """Return the layout of `x` with an additional last axis of length `n`."""
    return x._layout.insert(x.ndim, length=n)
