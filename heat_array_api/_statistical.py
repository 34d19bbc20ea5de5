"""Statistical functions: sums, products, extrema, moments, running sums, and versions without NaN.

The standard's chapter "Statistical Functions", and NumPy's functions that skip NaN and its
`cumsum` and `cumprod`, which xarray and other libraries use.

A reduction over the split axis is a local reduction and one allreduce of the result, which is
then replicated and bitwise equal on all ranks (`_core.lift.reduction`). The functions that skip
NaN are composites: they replace NaN by the reduction's identity, or do not count it.
"""

from __future__ import annotations

import math
from typing import Any, Final

import torch
from torch import Tensor

from ._comm.assumptions import truth
from ._comm.communicator import Communicator
from ._core.arguments import as_flag, as_real
from ._core.array import Array, check_array
from ._core.collectives import exscan, gather, pvary
from ._core.docstrings import SHARED, filled_in
from ._core.dtypes import (
    COMPLEX,
    FLOATING,
    HALVES,
    INTEGER_OR_BOOL,
    ORDERED,
    REAL_FLOATING,
    WIDE_UNSIGNED,
    check_conversion,
    limits,
    numpy_kernel,
    to_torch_dtype,
)
from ._core.kernels import add, root_of_sum
from ._core.layout import Axis, Layout, Shape, normalize_axes, normalize_axis, resized
from ._core.lift import as_floating, cast, plan_reduction, reduction
from ._core.moments import squared_distances, sum_over
from ._core.redistribute import move
from ._core.tape import tracked
from ._data_type import astype
from ._elementwise import abs as absolute
from ._elementwise import divide, isnan, logical_not, square, subtract
from ._reshape import reshape
from ._searching import arg_extreme
from ._utility import all as all_
from ._utility import any as any_

__all__ = [
    "cumprod",
    "cumsum",
    "cumulative_prod",
    "cumulative_sum",
    "max",
    "mean",
    "min",
    "nanargmax",
    "nanargmin",
    "nancumprod",
    "nancumsum",
    "nanmax",
    "nanmean",
    "nanmin",
    "nanprod",
    "nanstd",
    "nansum",
    "nanvar",
    "prod",
    "std",
    "sum",
    "var",
]


# ---------------------------------------------------------------------- texts of docstrings

_DTYPE: Final = """dtype : dtype, optional
    Of the result; by default int64 or uint64 for integers and booleans, else that of `x`.
{keepdims}"""

_SUM: Final = {"x": "Numeric or boolean.", "options": _DTYPE, "result": "Of dtype `dtype`."}

_SCAN: Final = """Parameters
----------
x : Array
    Numeric.
axis : int, optional
    {axis}
dtype : dtype, optional
    Of the result; by default int64 or uint64 for integers, else that of `x`.
{options}

Returns
-------
Array
    Split as `x`. Sends nothing, or, if `axis` is the split axis, one exscan of the shards'
    totals; without `axis` also the messages of `reshape`.

{raises}"""

_CUMULATIVE: Final = {
    "axis": "The axis to run along; may be omitted if there is only one.",
    "options": """include_initial : bool, optional
    Begin with the value for no elements: one more element along `axis`, on the first rank.""",
    "raises": f"""{SHARED["raises"]}
ValueError
    If `x` is 0-d, or has several axes and `axis` is omitted.""",
    "rest": _SCAN.replace("; without `axis` also the messages of `reshape`", ""),
}

_RUNNING: Final = {
    "axis": "The axis to run along; by default the array is flattened first, as `reshape` does.",
    "rest": _SCAN.replace("{options}\n", ""),
}

_EXTREMUM: Final = {
    "x": "Real or boolean.",
    "result": "Of the dtype of `x`.",
    "raises": f"""{SHARED["raises"]}
ValueError
    If there are no elements to choose from.""",
}

_MOMENT: Final = {
    "x": "Integers and booleans count as the default real dtype.",
    "result": "NaN where there are no elements.",
}

_SPREAD: Final = {
    "x": _MOMENT["x"],
    "options": """correction : float, optional
    The degrees of freedom to subtract from the number of elements n: the sum of squared distances
    is divided by ``n - correction``. By default 0; 1 gives the unbiased estimate.
{keepdims}
ddof : float, optional
    NumPy's name for `correction`.""",
    "result": """Real: of complex numbers, the squared absolute distances count. NaN or infinity
where `correction` leaves nothing to divide by.""",
    "reduced": f"{SHARED['reduced']}\nTwo such reductions, one after the other.",
}

_IF_NAN: Final = f"{SHARED['reduced']}\nTwo such reductions, if the dtype of `x` has NaN."

_FLOAT_DTYPE: Final = """dtype : dtype, optional
    Of the sums and the result; by default that of `x`, if it is floating-point.
{keepdims}"""

_NAN_MOMENT: Final = _MOMENT | {"options": _FLOAT_DTYPE, "reduced": _IF_NAN}

_NAN_SPREAD: Final = _SPREAD | {
    "options": _FLOAT_DTYPE.replace("{keepdims}", _SPREAD["options"]),
    "reduced": _IF_NAN.replace("Two", "Four"),
}

_INDEX: Final = """Parameters
----------
x : Array
    Real or boolean.
axis : int, optional
    The axis to search along; by default the array counts as flattened (row-major).
{keepdims}

Returns
-------
Array
    int64. Split as for `argmax`, with the same messages and, if the dtype of `x` has NaN, one
    small allreduce that looks for slices of NaN only.

Raises
------
ValueError
    If there are no elements to choose from, or a slice has NaN only: on every rank."""


# ---------------------------------------------------------------------- local kernels


def _prod(t: Tensor, axes: Shape, keepdims: bool) -> Tensor:
    t = t.view_as(t)
    for axis in reversed(axes):  # torch.prod takes one axis
        t = torch.prod(t, dim=axis, keepdim=keepdims)
    return t


def _extremum(torch_kernel: Any, name: str) -> Any:
    def kernel(t: Tensor, axes: Shape, keepdims: bool) -> Tensor:
        if not axes:
            return t.view_as(t)
        if t.dtype in WIDE_UNSIGNED:
            return numpy_kernel(name, t, axis=axes, keepdims=keepdims)
        reduced: Tensor = torch_kernel(t, dim=axes, keepdim=keepdims)
        return reduced

    return kernel


# The kernel, and the index of its neutral element in `limits`.
_EXTREMA = {"max": (_extremum(torch.amax, "max"), 0), "min": (_extremum(torch.amin, "min"), 1)}


def _as_accumulator(t: Tensor, dtype: Any, func: str) -> tuple[Tensor, torch.dtype]:
    """Return `t` in the dtype that sums and products of it have, and the result's dtype.

    The standard: integers accumulate in the default integer dtype of their signedness.
    uint64 is summed as int64, whose arithmetic modulo 2**64 is the same.
    """
    if dtype is not None:
        target = to_torch_dtype(dtype, func)
        check_conversion(func, t.dtype, target)
    elif t.dtype in INTEGER_OR_BOOL.all:
        signed = t.dtype is torch.bool or t.dtype.is_signed
        target = torch.int64 if signed else torch.uint64
    else:
        target = t.dtype
    t = cast(t, target)
    if target in WIDE_UNSIGNED:
        t = t.view(torch.int64) if target is torch.uint64 else t.to(torch.int64)
    return t, target


def _from_accumulator(t: Tensor, target: torch.dtype) -> Tensor:
    if target is torch.uint64:
        return t.view(torch.uint64)
    return cast(t, target)


# ---------------------------------------------------------------------- sums and products


@filled_in(**_SUM)
def sum(x: Array, /, *, axis: Axis = None, dtype: Any = None, keepdims: bool = False) -> Array:
    """Sum over axes; the sum of no elements is 0.

    {reduction}

    Examples
    --------
    >>> x = xp.arange(6, split=0)
    >>> print(xp.sum(x))
    15
    """
    return _accumulate("sum", sum_over, x, axis, dtype, keepdims)


@filled_in(**_SUM)
def prod(x: Array, /, *, axis: Axis = None, dtype: Any = None, keepdims: bool = False) -> Array:
    """Multiply over axes; the product of no elements is 1.

    {reduction}

    Examples
    --------
    >>> print(xp.prod(xp.arange(1, 5, split=0)))
    24
    """
    return _accumulate("prod", _prod, x, axis, dtype, keepdims)


def _accumulate(func: str, kernel: Any, x: Array, axis: Axis, dtype: Any, keepdims: bool) -> Array:
    check_array(func, "x", x)
    if dtype is None and x._local.dtype in FLOATING.all:
        return reduction(func, kernel, x, axis, keepdims, combine=func)
    t, target = _as_accumulator(x._local, dtype, func)
    result = reduction(func, kernel, Array(t, x._layout), axis, keepdims, combine=func)
    return Array(_from_accumulator(result._local, target), result._layout)


@filled_in(**_CUMULATIVE)
def cumulative_sum(
    x: Array, /, *, axis: int | None = None, dtype: Any = None, include_initial: bool = False
) -> Array:
    """Compute the running sums along an axis.

    {rest}

    Examples
    --------
    >>> print(xp.cumulative_sum(xp.arange(1, 5, split=0), include_initial=True))
    [ 0  1  3  6 10]
    """
    return _scan("cumulative_sum", torch.cumsum, "sum", x, axis, dtype, include_initial)


@filled_in(**_CUMULATIVE)
def cumulative_prod(
    x: Array, /, *, axis: int | None = None, dtype: Any = None, include_initial: bool = False
) -> Array:
    """Compute the running products along an axis.

    {rest}

    Examples
    --------
    >>> print(xp.cumulative_prod(xp.arange(1, 5, split=0)))
    [ 1  2  6 24]
    """
    return _scan("cumulative_prod", torch.cumprod, "prod", x, axis, dtype, include_initial)


def _scan(
    func: str, kernel: Any, op: str, x: Array, axis: int | None, dtype: Any, include_initial: bool
) -> Array:
    check_array(func, "x", x)
    if x.ndim == 0:
        raise ValueError(f"{func}: x is 0-d; expected at least one axis")
    if axis is None:
        if x.ndim != 1:
            raise ValueError(f"{func}: x has {x.ndim} axes; name one with axis=")
        axis = 0
    axis = normalize_axis(func, axis, x.ndim)
    include_initial = as_flag(func, "include_initial", include_initial)
    t, target = _as_accumulator(x._local, dtype, func)
    layout = x._layout
    local = kernel(t, dim=axis)
    neutral = 0 if op == "sum" else 1
    if layout.split == axis and layout.comm.size > 1:
        empty = t.shape[axis] == 0
        if empty:  # stays on the tape
            total = torch.sum(local, dim=axis, keepdim=True) + neutral
        else:
            total = local.narrow(axis, t.shape[axis] - 1, 1)
        before = _combined_before(total, op, axis, layout.comm)
        local = add(local, before) if op == "sum" else local * before
    if include_initial:
        local, layout = _with_initial(local, layout, axis, neutral)
    return Array(_from_accumulator(local, target), layout)


@filled_in(**_RUNNING)
def cumsum(x: Array, /, axis: int | None = None, dtype: Any = None) -> Array:
    """Compute the running sums along an axis, or of the flattened array (NumPy's `cumsum`).

    {rest}

    Examples
    --------
    >>> print(xp.cumsum(xp.asarray([[1, 2], [3, 4]], split=0)))
    [ 1  3  6 10]
    """
    return cumulative_sum(_flat_without_axis("cumsum", x, axis, dtype), axis=axis, dtype=dtype)


@filled_in(**_RUNNING)
def cumprod(x: Array, /, axis: int | None = None, dtype: Any = None) -> Array:
    """Compute the running products along an axis, or of the flattened array (NumPy's `cumprod`).

    {rest}

    Examples
    --------
    >>> print(xp.cumprod(xp.asarray([[1, 2], [3, 4]], split=0)))
    [ 1  2  6 24]
    """
    return cumulative_prod(_flat_without_axis("cumprod", x, axis, dtype), axis=axis, dtype=dtype)


def _flat_without_axis(func: str, x: Array, axis: int | None, dtype: Any) -> Array:
    """Return `x`, flattened if `axis` is None; errors name `func`."""
    check_array(func, "x", x)
    if dtype is not None:
        check_conversion(func, x._local.dtype, to_torch_dtype(dtype, func))
    if axis is not None:
        normalize_axis(func, axis, x.ndim)
    return x if axis is not None or x.ndim == 1 else reshape(x, (-1,))


def _combined_before(total: Tensor, op: str, axis: int, comm: Communicator) -> Tensor:
    """Combine the totals of the ranks before this one, along an axis of length 1."""
    if not tracked(total):
        return exscan(total, op, comm)
    shape = resized(total.shape, axis, comm.size)
    everyone = gather(total, Layout.balanced(shape, axis, comm))
    earlier = pvary(everyone, comm).narrow(axis, 0, comm.rank)
    return (torch.sum if op == "sum" else torch.prod)(earlier, dim=axis, keepdim=True)


def _with_initial(local: Tensor, layout: Layout, axis: int, neutral: int) -> tuple[Tensor, Layout]:
    counts = None
    if layout.division is not None:
        counts = layout.division.lengths
        counts[0] += 1
    grown = layout.with_length(axis, layout.shape[axis] + 1, counts)
    if layout.split == axis and layout.comm.rank != 0:
        return local, grown
    first = local.new_full(resized(local.shape, axis, 1), neutral)
    return torch.cat([first, local], dim=axis), grown


# ---------------------------------------------------------------------- extrema


@filled_in(**_EXTREMUM)
def max(x: Array, /, *, axis: Axis = None, keepdims: bool = False) -> Array:
    """Return the maximum over axes; NaN if an element is NaN.

    {reduction}

    Examples
    --------
    >>> print(xp.max(xp.asarray([[1, 5], [3, 4]], split=0), axis=0))
    [3 5]
    """
    return _extreme("max", "max", x, axis, keepdims)


@filled_in(**_EXTREMUM)
def min(x: Array, /, *, axis: Axis = None, keepdims: bool = False) -> Array:
    """Return the minimum over axes; NaN if an element is NaN.

    {reduction}

    Examples
    --------
    >>> print(xp.min(xp.asarray([[1, 5], [3, 4]], split=0), axis=1))
    [1 3]
    """
    return _extreme("min", "min", x, axis, keepdims)


def _extreme(func: str, kind: str, x: Array, axis: Axis, keepdims: bool) -> Array:
    """Reduce to the extremum, of which `kind` is "max" or "min"; errors name `func`."""
    check_array(func, "x", x, ORDERED)
    axes = normalize_axes(func, axis, x.ndim)
    if 0 in [x.shape[i] for i in axes]:
        raise ValueError(
            f"{func}: x has shape {x.shape}; axis {axes} has no elements to choose from"
        )
    kernel, loser = _EXTREMA[kind]
    neutral = limits(x._local.dtype)[loser]
    return reduction(func, kernel, x, axes, keepdims, combine=kind, identity=neutral)


# ---------------------------------------------------------------------- moments


@filled_in(**_MOMENT)
def mean(x: Array, /, *, axis: Axis = None, keepdims: bool = False) -> Array:
    """Return the arithmetic mean over axes.

    {reduction}

    Examples
    --------
    >>> print(xp.mean(xp.arange(4, split=0)))
    1.5
    """
    x = as_floating("mean", x)
    axes = normalize_axes("mean", axis, x.ndim)
    total = reduction("mean", sum_over, _halves_as_float32(x), axes, keepdims, combine="sum")
    n = math.prod(x.shape[i] for i in axes)
    return Array(
        cast(total._local / n if n else total._local * math.nan, x._local.dtype), total._layout
    )


def _halves_as_float32(x: Array) -> Array:
    """Return float16 and bfloat16 as float32, whose sums do not overflow."""
    half = x._local.dtype in HALVES
    return Array(x._local.float(), x._layout) if half else x


def degrees(func: str, correction: float, ddof: float | None) -> float:
    """Return the degrees of freedom to subtract, by the standard's name or by NumPy's."""
    correction = as_real(func, "correction", correction)
    if ddof is None:
        return correction
    if correction:
        raise TypeError(f"{func}: correction={correction} and ddof={ddof}; pass one of them")
    return as_real(func, "ddof", ddof)


@filled_in(**_SPREAD)
def var(
    x: Array,
    /,
    *,
    axis: Axis = None,
    correction: float = 0.0,
    keepdims: bool = False,
    ddof: float | None = None,
) -> Array:
    """Return the variance over axes: the mean squared distance from the mean.

    The two-pass algorithm of Chan, Golub and LeVeque (1983), "Algorithms for computing the sample
    variance"; compiled functions combine the moments of the ranks instead, by one allreduce.

    {reduction}

    Examples
    --------
    >>> print(xp.var(xp.arange(4, split=0)))
    1.25
    """
    return _variance("var", x, axis, degrees("var", correction, ddof), keepdims)


def _variance(func: str, x: Array, axis: Axis, correction: float, keepdims: bool) -> Array:
    x = as_floating(func, x)
    plan = plan_reduction(func, x._layout, axis, keepdims)
    t = move(x._local, x._layout, plan.source)
    real = t.real.dtype if t.is_complex() else t.dtype
    wide = cast(t, torch.float32) if real in HALVES else t
    n = math.prod(x.shape[i] for i in plan.axes)
    squares = squared_distances(wide, plan, n)
    # Without degrees of freedom the result is NumPy's: 0/0 or x/0.
    divisor = n - correction
    result = squares / divisor if divisor > 0 else squares * (math.nan if n == 0 else math.inf)
    return Array(cast(result, real), plan.result)


@filled_in(**_SPREAD)
def std(
    x: Array,
    /,
    *,
    axis: Axis = None,
    correction: float = 0.0,
    keepdims: bool = False,
    ddof: float | None = None,
) -> Array:
    """Return the standard deviation over axes: the square root of `var`.

    {reduction}

    Examples
    --------
    >>> print(xp.std(xp.asarray([1.0, 3.0, 5.0], split=0), correction=1))
    2.0
    """
    variance = _variance("std", x, axis, degrees("std", correction, ddof), keepdims)
    return Array(root_of_sum(variance._local), variance._layout)


# ---------------------------------------------------------------------- without NaN


def _nan_axes(func: str, x: Array, axis: Axis, keepdims: bool = False, dtype: Any = None) -> Shape:
    """Return the axes to reduce; errors name `func`, not the functions that it calls."""
    check_array(func, "x", x)
    as_flag(func, "keepdims", keepdims)
    if dtype is not None:
        check_conversion(func, x._local.dtype, to_torch_dtype(dtype, func))
    return normalize_axes(func, axis, x.ndim)


def _replace_nan(x: Array, value: float) -> Array:
    """Return `x` with `value` for NaN; `x` itself if its dtype has no NaN."""
    if not _has_nan(x):
        return x
    return Array(torch.where(torch.isnan(x._local), value, x._local), x._layout)


def _has_nan(x: Array) -> bool:
    """Return whether the dtype of `x` has NaN."""
    return x._local.dtype in FLOATING.all


def _converted(x: Array, dtype: Any) -> Array:
    """Return `x` converted to `dtype`, if one is given."""
    return x if dtype is None else astype(x, dtype, copy=False)


def _count_numbers(x: Array, axis: Axis, keepdims: bool) -> Array:
    """Return how many elements are not NaN, in the real dtype of `x`."""
    n = sum(logical_not(isnan(x)), axis=axis, keepdims=keepdims)
    real = x._local.real.dtype if x._local.dtype in COMPLEX.all else x._local.dtype
    return Array(n._local.to(real), n._layout)


@filled_in(**_SUM)
def nansum(x: Array, /, *, axis: Axis = None, dtype: Any = None, keepdims: bool = False) -> Array:
    """Sum over axes; NaN counts as 0.

    {reduction}

    Examples
    --------
    >>> print(xp.nansum(xp.asarray([1.0, xp.nan, 4.0], split=0)))
    5.0
    """
    axis = _nan_axes("nansum", x, axis, keepdims, dtype)
    return sum(_replace_nan(x, 0.0), axis=axis, dtype=dtype, keepdims=keepdims)


@filled_in(**_SUM)
def nanprod(x: Array, /, *, axis: Axis = None, dtype: Any = None, keepdims: bool = False) -> Array:
    """Multiply over axes; NaN counts as 1.

    {reduction}

    Examples
    --------
    >>> print(xp.nanprod(xp.asarray([2.0, xp.nan, 4.0], split=0)))
    8.0
    """
    axis = _nan_axes("nanprod", x, axis, keepdims, dtype)
    return prod(_replace_nan(x, 1.0), axis=axis, dtype=dtype, keepdims=keepdims)


@filled_in(**_EXTREMUM, reduced=_IF_NAN)
def nanmax(x: Array, /, *, axis: Axis = None, keepdims: bool = False) -> Array:
    """Return the maximum over axes of the elements that are not NaN; NaN where all are.

    {reduction}

    Examples
    --------
    >>> print(xp.nanmax(xp.asarray([2.0, xp.nan, 4.0], split=0)))
    4.0
    """
    return _nan_extreme("nanmax", "max", x, axis, keepdims)


@filled_in(**_EXTREMUM, reduced=_IF_NAN)
def nanmin(x: Array, /, *, axis: Axis = None, keepdims: bool = False) -> Array:
    """Return the minimum over axes of the elements that are not NaN; NaN where all are.

    {reduction}

    Examples
    --------
    >>> print(xp.nanmin(xp.asarray([2.0, xp.nan, 4.0], split=0)))
    2.0
    """
    return _nan_extreme("nanmin", "min", x, axis, keepdims)


# What replaces NaN, so that any other value wins.
_LOSERS = {"max": -math.inf, "min": math.inf}


def _nan_extreme(func: str, kind: str, x: Array, axis: Axis, keepdims: bool) -> Array:
    axis = _nan_axes(func, x, axis, keepdims)
    numbers = _replace_nan(x, _LOSERS[kind]) if x._local.dtype in REAL_FLOATING.all else x
    result = _extreme(func, kind, numbers, axis, keepdims)
    if not _has_nan(x):
        return result
    void = all_(isnan(x), axis=axis, keepdims=keepdims)
    return Array(torch.where(void._local, math.nan, result._local), result._layout)


@filled_in(**_NAN_MOMENT)
def nanmean(x: Array, /, *, axis: Axis = None, dtype: Any = None, keepdims: bool = False) -> Array:
    """Return the mean over axes of the elements that are not NaN.

    {reduction}

    Examples
    --------
    >>> print(xp.nanmean(xp.asarray([1.0, xp.nan, 4.0], split=0)))
    2.5
    """
    axis = _nan_axes("nanmean", x, axis, keepdims, dtype)
    x = _converted(x, dtype)
    if not _has_nan(x):
        return mean(x, axis=axis, keepdims=keepdims)
    wide = _halves_as_float32(x)
    result = divide(
        nansum(wide, axis=axis, keepdims=keepdims), _count_numbers(wide, axis, keepdims)
    )
    return Array(result._local.to(x._local.dtype), result._layout)


@filled_in(**_NAN_SPREAD)
def nanvar(
    x: Array,
    /,
    *,
    axis: Axis = None,
    dtype: Any = None,
    correction: float = 0.0,
    keepdims: bool = False,
    ddof: float | None = None,
) -> Array:
    """Return the variance over axes of the elements that are not NaN.

    {reduction}

    Examples
    --------
    >>> print(xp.nanvar(xp.asarray([1.0, xp.nan, 5.0], split=0)))
    4.0
    """
    axis = _nan_axes("nanvar", x, axis, keepdims, dtype)
    correction = degrees("nanvar", correction, ddof)
    x = _converted(x, dtype)
    if not _has_nan(x):
        return var(x, axis=axis, correction=correction, keepdims=keepdims)
    wide = _halves_as_float32(x)
    distance = absolute(subtract(wide, nanmean(wide, axis=axis, keepdims=True)))
    squares = nansum(square(distance), axis=axis, keepdims=keepdims)
    left = _count_numbers(wide, axis, keepdims)
    freedom = torch.where(left._local > correction, left._local - correction, math.nan)
    return Array((squares._local / freedom).to(x._local.real.dtype), squares._layout)


@filled_in(**_NAN_SPREAD)
def nanstd(
    x: Array,
    /,
    *,
    axis: Axis = None,
    dtype: Any = None,
    correction: float = 0.0,
    keepdims: bool = False,
    ddof: float | None = None,
) -> Array:
    """Return the standard deviation over axes of the elements that are not NaN.

    {reduction}

    Examples
    --------
    >>> print(xp.nanstd(xp.asarray([1.0, xp.nan, 5.0], split=0)))
    2.0
    """
    axis = _nan_axes("nanstd", x, axis, keepdims, dtype)
    correction = degrees("nanstd", correction, ddof)
    x = _converted(x, dtype)
    if not _has_nan(x):
        return std(x, axis=axis, correction=correction, keepdims=keepdims)
    variance = nanvar(x, axis=axis, correction=correction, keepdims=keepdims)
    return Array(root_of_sum(variance._local), variance._layout)


@filled_in(rest=_INDEX)
def nanargmax(x: Array, /, *, axis: int | None = None, keepdims: bool = False) -> Array:
    """Return the index of the first maximum along an axis, NaN not counted.

    {rest}

    Examples
    --------
    >>> print(xp.nanargmax(xp.asarray([1.0, xp.nan, 5.0], split=0)))
    2
    """
    return _nan_arg("nanargmax", "max", x, axis, keepdims)


@filled_in(rest=_INDEX)
def nanargmin(x: Array, /, *, axis: int | None = None, keepdims: bool = False) -> Array:
    """Return the index of the first minimum along an axis, NaN not counted.

    {rest}

    Examples
    --------
    >>> print(xp.nanargmin(xp.asarray([xp.nan, 1.0, 5.0], split=0)))
    1
    """
    return _nan_arg("nanargmin", "min", x, axis, keepdims)


def _nan_arg(func: str, kind: str, x: Array, axis: int | None, keepdims: bool) -> Array:
    axes = _nan_axes(func, x, axis, keepdims)
    result = arg_extreme(func, kind, _replace_nan(x, _LOSERS[kind]), axis, keepdims)
    if _has_nan(x) and truth(any_(all_(isnan(x), axis=axes)), False, "no line is all NaN"):
        raise ValueError(f"{func}: along axis {axis} all elements are NaN somewhere")
    return result


@filled_in(**_RUNNING)
def nancumsum(x: Array, /, *, axis: int | None = None, dtype: Any = None) -> Array:
    """Compute the running sums along an axis, or of the flattened array; NaN counts as 0.

    {rest}

    Examples
    --------
    >>> print(xp.nancumsum(xp.asarray([1.0, xp.nan, 4.0], split=0)))
    [1. 1. 5.]
    """
    x = _flat_without_axis("nancumsum", x, axis, dtype)
    return cumsum(_replace_nan(x, 0.0), axis=axis, dtype=dtype)


@filled_in(**_RUNNING)
def nancumprod(x: Array, /, *, axis: int | None = None, dtype: Any = None) -> Array:
    """Compute the running products along an axis, or of the flattened array; NaN counts as 1.

    {rest}

    Examples
    --------
    >>> print(xp.nancumprod(xp.asarray([2.0, xp.nan, 4.0], split=0)))
    [2. 2. 8.]
    """
    x = _flat_without_axis("nancumprod", x, axis, dtype)
    return cumprod(_replace_nan(x, 1.0), axis=axis, dtype=dtype)
