"""Statistical functions (the standard's chapter "Statistical Functions").

A reduction over the split axis is a local reduction and one allreduce of the result,
which is then replicated and bitwise equal on all ranks; over other axes the result stays
split and nothing is sent. Where the result would be bigger than one rank's share of the
operand, the operand is first split along a kept axis (`_op.plan_reduction`).
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from ._comm.communicator import Communicator
from ._comm.recording import SMALL, capturing
from ._core.array import Array
from ._core.collectives import exscan, gather, preduce, pvary
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
from ._core.lift import ReductionPlan, as_floating, cast, check_array, plan_reduction, reduction
from ._core.redistribute import move
from ._core.tape import tracked
from ._data_type import astype
from ._elementwise import abs as absolute
from ._elementwise import divide, isnan, logical_not, square, subtract
from ._reshape import reshape
from ._searching import argmax, argmin
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


# ---------------------------------------------------------------------- local kernels


def _sum(t: Tensor, axes: Shape, keepdims: bool) -> Tensor:
    return torch.sum(t, dim=axes, keepdim=keepdims) if axes else t.view_as(t)


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


_max = _extremum(torch.amax, "max")


_min = _extremum(torch.amin, "min")


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


def sum(x: Array, /, *, axis: Axis = None, dtype: Any = None, keepdims: bool = False) -> Array:
    """Sum over axes.

    Parameters
    ----------
    x : Array
        Any layout; dtype numeric or boolean.
    axis : int or tuple of int, optional
        All axes by default.
    dtype : dtype, optional
        Of the sum; by default the default integer dtype (int64, uint64) for integers,
        else that of `x`.
    keepdims : bool
        Keep the reduced axes with length 1.

    Returns
    -------
    Array
        Layout and messages: see the module's notes. The sum of no elements is 0.
    """
    return _accumulate("sum", _sum, x, axis, dtype, keepdims)


def prod(x: Array, /, *, axis: Axis = None, dtype: Any = None, keepdims: bool = False) -> Array:
    """Multiply over axes; the product of no elements is 1. As `sum` otherwise."""
    return _accumulate("prod", _prod, x, axis, dtype, keepdims)


def _accumulate(func: str, kernel: Any, x: Array, axis: Axis, dtype: Any, keepdims: bool) -> Array:
    check_array(func, "x", x)
    if dtype is None and x._local.dtype in FLOATING.all:
        return reduction(func, kernel, x, axis, keepdims, combine=func)
    t, target = _as_accumulator(x._local, dtype, func)
    result = reduction(func, kernel, Array(t, x._layout), axis, keepdims, combine=func)
    return Array(_from_accumulator(result._local, target), result._layout)


def cumulative_sum(
    x: Array, /, *, axis: int | None = None, dtype: Any = None, include_initial: bool = False
) -> Array:
    """Running sums along an axis.

    Parameters
    ----------
    x : Array
        Any layout; dtype numeric.
    axis : int, optional
        May be omitted for one axis only.
    dtype : dtype, optional
        As for `sum`.
    include_initial : bool
        Begin with 0: one more element along `axis`, held by the first rank.

    Returns
    -------
    Array
        Split as `x`. Messages: one exscan of the shards' totals if `axis` is the split
        axis, else none.
    """
    return _scan("cumulative_sum", torch.cumsum, "sum", x, axis, dtype, include_initial)


def cumulative_prod(
    x: Array, /, *, axis: int | None = None, dtype: Any = None, include_initial: bool = False
) -> Array:
    """Running products along an axis; parameters, layout and messages as for `cumulative_sum`."""
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
    t, target = _as_accumulator(x._local, dtype, func)
    layout = x._layout
    local = kernel(t, dim=axis)
    neutral = 0 if op == "sum" else 1
    if layout.split == axis and layout.comm.size > 1:
        empty = t.shape[axis] == 0
        if empty:  # on the tape still
            total = torch.sum(local, dim=axis, keepdim=True) + neutral
        else:
            total = local.narrow(axis, t.shape[axis] - 1, 1)
        before = _before(total, op, axis, layout.comm)
        local = add(local, before) if op == "sum" else local * before
    if include_initial:
        local, layout = _with_initial(local, layout, axis, neutral)
    return Array(_from_accumulator(local, target), layout)


def cumsum(x: Array, /, axis: int | None = None, dtype: Any = None) -> Array:
    """Running sums, as NumPy's: of the flattened array without `axis`; see `cumulative_sum`."""
    return cumulative_sum(_checked("cumsum", x, axis, dtype), axis=axis, dtype=dtype)


def cumprod(x: Array, /, axis: int | None = None, dtype: Any = None) -> Array:
    """Running products, as NumPy's: of the flattened array without `axis`."""
    return cumulative_prod(_checked("cumprod", x, axis, dtype), axis=axis, dtype=dtype)


def _checked(func: str, x: Array, axis: int | None, dtype: Any) -> Array:
    """Return `x`, flattened where no axis is named; errors name `func`."""
    check_array(func, "x", x)
    if dtype is not None:
        to_torch_dtype(dtype, func)
    if axis is not None:
        normalize_axis(func, axis, x.ndim)
    return x if axis is not None or x.ndim == 1 else reshape(x, (-1,))


def _before(total: Tensor, op: str, axis: int, comm: Communicator) -> Tensor:
    """Combine the totals of the ranks before this one, along an axis of length 1."""
    if not tracked(total):
        return exscan(total, op, comm)
    shape = resized(total.shape, axis, comm.size)
    everyone = gather(total, Layout.of(shape, axis, (1,) * comm.size, comm))
    earlier = pvary(everyone, comm).narrow(axis, 0, comm.rank)
    return (torch.sum if op == "sum" else torch.prod)(earlier, dim=axis, keepdim=True)


def _with_initial(local: Tensor, layout: Layout, axis: int, neutral: int) -> tuple[Tensor, Layout]:
    counts = tuple(n + (rank == 0) for rank, n in enumerate(layout.counts))
    grown = layout.with_length(axis, layout.shape[axis] + 1, counts)
    if layout.split == axis and layout.comm.rank != 0:
        return local, grown
    first = local.new_full(resized(local.shape, axis, 1), neutral)
    return torch.cat([first, local], dim=axis), grown


# ---------------------------------------------------------------------- extrema


def max(x: Array, /, *, axis: Axis = None, keepdims: bool = False) -> Array:
    """Maximum over axes; NaN where any element is NaN.

    Parameters
    ----------
    x : Array
        Any layout; dtype real (boolean too). The reduced axes must not be empty.
    axis : int or tuple of int, optional
        All axes by default.
    keepdims : bool
        Keep the reduced axes with length 1.

    Returns
    -------
    Array
        Layout and messages: see the module's notes.
    """
    return _extreme("max", _max, 0, x, axis, keepdims)


def min(x: Array, /, *, axis: Axis = None, keepdims: bool = False) -> Array:
    """Minimum over axes; NaN where any element is NaN. As `max` otherwise."""
    return _extreme("min", _min, 1, x, axis, keepdims)


def _extreme(func: str, kernel: Any, identity: int, x: Array, axis: Axis, keepdims: bool) -> Array:
    """Reduce by the kernel; `identity` says which of the dtype's `limits` leaves others alone."""
    check_array(func, "x", x, ORDERED)
    axes = normalize_axes(func, axis, x.ndim)
    if 0 in [x.shape[i] for i in axes]:
        raise ValueError(
            f"{func}: x has shape {x.shape}; axis {axes} has no elements to choose from"
        )
    neutral = limits(x._local.dtype)[identity]
    return reduction(func, kernel, x, axes, keepdims, combine=func, identity=neutral)


# ---------------------------------------------------------------------- moments


def mean(x: Array, /, *, axis: Axis = None, keepdims: bool = False) -> Array:
    """Arithmetic mean over axes.

    Parameters
    ----------
    x : Array
        Any layout; integers are averaged as the default real dtype.
    axis : int or tuple of int, optional
        All axes by default.
    keepdims : bool
        Keep the reduced axes with length 1.

    Returns
    -------
    Array
        NaN where there are no elements. Layout and messages as for `sum`.
    """
    x = as_floating("mean", x)
    axes = normalize_axes("mean", axis, x.ndim)
    # float16 sums overflow where the mean does not: sum in float32.
    half = x._local.dtype in HALVES
    wide = Array(x._local.to(torch.float32), x._layout) if half else x
    total = reduction("mean", _sum, wide, axes, keepdims, combine="sum")
    n = math.prod(x.shape[i] for i in axes)
    return Array(
        cast(total._local / n if n else total._local * math.nan, x._local.dtype), total._layout
    )


def degrees(func: str, correction: float, ddof: float | None) -> float:
    """Return the degrees of freedom to subtract, by the standard's name or by NumPy's."""
    if ddof is not None and correction:
        raise TypeError(f"{func}: correction={correction} and ddof={ddof}; pass one of them")
    return float(correction if ddof is None else ddof)


def var(
    x: Array,
    /,
    *,
    axis: Axis = None,
    correction: float = 0.0,
    keepdims: bool = False,
    ddof: float | None = None,
) -> Array:
    """Variance over axes: the sum of squared distances from the mean, over ``n - correction``.

    Parameters
    ----------
    x : Array
        Any layout; integers as the default real dtype; of complex numbers, the squared
        absolute distances.
    axis : int or tuple of int, optional
        All axes by default.
    correction : float
        Degrees of freedom to subtract; 1 gives the unbiased estimate.
    keepdims : bool
        Keep the reduced axes with length 1.
    ddof : float, optional
        NumPy's name for `correction`.

    Returns
    -------
    Array
        Real. Layout as for `sum`; messages over the split axis: two allreduces, one in compiled
        functions.

    References
    ----------
    Chan, Golub, LeVeque (1983), "Algorithms for computing the sample variance": the two-pass
    algorithm; in compiled functions, the ranks' moments are combined.
    """
    return _variance("var", x, axis, degrees("var", correction, ddof), keepdims)


def _variance(func: str, x: Array, axis: Axis, correction: float, keepdims: bool) -> Array:
    x = as_floating(func, x)
    plan = plan_reduction(func, x._layout, axis, keepdims)
    t = move(x._local, x._layout, plan.source)
    real = t.real.dtype if t.is_complex() else t.dtype
    wide = cast(t, torch.float32) if real in HALVES else t
    n = math.prod(x.shape[i] for i in plan.axes)
    squares = _squared_distances(wide, plan, n, keepdims)
    # No elements left to divide by: the sign of infinity or NaN is NumPy's, 0/0 or x/0.
    divisor = n - correction
    result = squares / divisor if divisor > 0 else squares * (math.nan if n == 0 else math.inf)
    return Array(cast(result, real), plan.result)


def _squared_distances(t: Tensor, plan: ReductionPlan, n: int, keepdims: bool) -> Tensor:
    """Return the sum over the plan's axes of the squared distances from the global mean."""
    if capturing() and n and plan.axes and not t.is_complex() and _moments_are_few(t, plan):
        return _squares_by_moments(t, plan, n, keepdims)
    mean = _sum(t, plan.axes, True)
    if plan.combines:
        mean = pvary(preduce(mean, "sum", plan.result.comm), plan.result.comm)
    squares = _squares_about(t, mean / (n or 1), plan.axes, keepdims)
    return preduce(squares, "sum", plan.result.comm) if plan.combines else squares


def _moments_are_few(t: Tensor, plan: ReductionPlan) -> bool:
    """Return whether those of all ranks fit into a small message."""
    per_rank = 2 * math.prod(plan.result.shape) * t.itemsize
    return not plan.combines or plan.result.comm.size * per_rank <= SMALL


def _squares_by_moments(t: Tensor, plan: ReductionPlan, n: int, keepdims: bool) -> Tensor:
    """Return the same from the ranks' own means and squared distances: one allreduce.

    Compiled code has them from one pass over the elements, with their sum; eagerly they are slow.
    """
    if t.numel():
        count = math.prod(t.shape[i] for i in plan.axes)
        variance, mean = torch.var_mean(t, dim=plan.axes, correction=0, keepdim=True)
        moments = torch.stack([mean, variance * count])
    else:  # zeros, on the tape as on other ranks
        moments = torch.stack([_sum(t, plan.axes, True)] * 2)
    squares = _combined(moments, plan, n) if plan.combines else moments[1]
    return squares if keepdims else squares.squeeze(plan.axes)


def _combined(moments: Tensor, plan: ReductionPlan, n: int) -> Tensor:
    """Return the squared distances of all ranks from the mean of all (Chan et al.'s update)."""
    comm = plan.result.comm
    before, after = comm.rank, comm.size - comm.rank - 1
    zeros = [moments.new_zeros((k, *moments.shape)) for k in (before, after)]
    everyone = preduce(torch.cat([zeros[0], moments[None], zeros[1]]), "sum", comm)
    means, squares = everyone[:, 0], everyone[:, 1]
    rows = plan.source.shape[plan.source.split or 0]
    weights = torch.tensor(plan.source.counts, dtype=means.dtype, device=means.device) * (n // rows)
    weights = weights.reshape(-1, *[1] * (means.ndim - 1))
    mean = torch.sum(weights * means, 0) / n
    return torch.sum(squares + weights * (means - mean) ** 2, 0)


# Elements whose temporaries stay in a core's cache.
_BLOCK = 1 << 17


def _squares_about(t: Tensor, center: Tensor, axes: Shape, keepdims: bool) -> Tensor:
    """Return the sum over `axes` of ``abs(t - center) ** 2``, block by block.

    The blocks keep the differences in cache: 20 times faster than `torch.var` on the
    first axis of a tall matrix, whose running moments do not vectorise.
    """
    if t.numel() <= _BLOCK or capturing():
        distance = torch.abs(t - center)
        return _sum(distance * distance, axes, keepdims)
    blocks = t.split(_BLOCK * t.shape[0] // t.numel() or 1)  # type: ignore[no-untyped-call]
    if 0 in axes:
        parts = [_squares_about(block, center, axes, keepdims) for block in blocks]
        return torch.sum(torch.stack(parts), dim=0)
    centers = center.split(blocks[0].shape[0])  # type: ignore[no-untyped-call]
    pairs = zip(blocks, centers, strict=True)
    return torch.cat([_squares_about(block, c, axes, keepdims) for block, c in pairs])


def std(
    x: Array,
    /,
    *,
    axis: Axis = None,
    correction: float = 0.0,
    keepdims: bool = False,
    ddof: float | None = None,
) -> Array:
    """Standard deviation over axes: the square root of `var`. As `var` otherwise."""
    variance = _variance("std", x, axis, degrees("std", correction, ddof), keepdims)
    return Array(root_of_sum(variance._local), variance._layout)


def _nan_axes(func: str, x: Array, axis: Axis, dtype: Any = None) -> Shape:
    """Return the axes to reduce; errors name `func`, not what it is made of."""
    if dtype is not None:
        to_torch_dtype(dtype, func)
    return normalize_axes(func, axis, check_array(func, "x", x).ndim)


def _filled(x: Array, value: float) -> Array:
    """Return `x` with `value` for NaN."""
    return Array(torch.where(torch.isnan(x._local), value, x._local), x._layout)


def _has_nan(x: Array) -> bool:
    """Return whether the dtype has NaN at all."""
    return x._local.dtype in FLOATING.all


def nansum(x: Array, /, *, axis: Axis = None, dtype: Any = None, keepdims: bool = False) -> Array:
    """Sum over axes, NaN as 0. As `sum` otherwise."""
    axis = _nan_axes("nansum", x, axis, dtype)
    return sum(_filled(x, 0.0) if _has_nan(x) else x, axis=axis, dtype=dtype, keepdims=keepdims)


def nanprod(x: Array, /, *, axis: Axis = None, dtype: Any = None, keepdims: bool = False) -> Array:
    """Multiply over axes, NaN as 1. As `prod` otherwise."""
    axis = _nan_axes("nanprod", x, axis, dtype)
    return prod(_filled(x, 1.0) if _has_nan(x) else x, axis=axis, dtype=dtype, keepdims=keepdims)


def nanmax(x: Array, /, *, axis: Axis = None, keepdims: bool = False) -> Array:
    """Maximum over axes without NaN; NaN where all are NaN. Messages: two reductions."""
    return _nan_extreme(max, -math.inf, x, _nan_axes("nanmax", x, axis), keepdims)


def nanmin(x: Array, /, *, axis: Axis = None, keepdims: bool = False) -> Array:
    """Minimum over axes without NaN; NaN where all are NaN. Messages: two reductions."""
    return _nan_extreme(min, math.inf, x, _nan_axes("nanmin", x, axis), keepdims)


def _nan_extreme(reduce: Any, identity: float, x: Array, axis: Axis, keepdims: bool) -> Array:
    result: Array = reduce(
        _filled(x, identity) if x._local.dtype in REAL_FLOATING.all else x,
        axis=axis,
        keepdims=keepdims,
    )
    if not _has_nan(x):
        return result
    void = all_(isnan(x), axis=axis, keepdims=keepdims)
    return Array(torch.where(void._local, math.nan, result._local), result._layout)


def _wanted(x: Array, dtype: Any) -> Array:
    """Return `x` in the dtype in which the caller wants the moments, if any."""
    return x if dtype is None else astype(x, dtype, copy=False)


def nanmean(x: Array, /, *, axis: Axis = None, dtype: Any = None, keepdims: bool = False) -> Array:
    """Mean over axes of what is not NaN; NaN where all are. Messages: two reductions.

    `dtype`, as NumPy has it, is that of the sums and the result.
    """
    axis = _nan_axes("nanmean", x, axis, dtype)
    x = _wanted(x, dtype)
    if not _has_nan(x):
        return mean(x, axis=axis, keepdims=keepdims)
    wide = _wide(x)
    result = divide(nansum(wide, axis=axis, keepdims=keepdims), _count(wide, axis, keepdims))
    return Array(result._local.to(x._local.dtype), result._layout)


def _wide(x: Array) -> Array:
    """Return float16 and bfloat16 as float32, whose sums do not overflow."""
    half = x._local.dtype in HALVES
    return Array(x._local.float(), x._layout) if half else x


def _count(x: Array, axis: Axis, keepdims: bool) -> Array:
    """Return how many elements are not NaN, in the real dtype of `x`."""
    n = sum(logical_not(isnan(x)), axis=axis, keepdims=keepdims)
    real = x._local.real.dtype if x._local.dtype in COMPLEX.all else x._local.dtype
    return Array(n._local.to(real), n._layout)


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
    """Variance over axes of what is not NaN; NaN where too few are left.

    Messages: four reductions. `ddof` is NumPy's name for `correction`; `dtype` as for `nanmean`.
    """
    axis = _nan_axes("nanvar", x, axis, dtype)
    correction = degrees("nanvar", correction, ddof)
    x = _wanted(x, dtype)
    if not _has_nan(x):
        return var(x, axis=axis, correction=correction, keepdims=keepdims)
    wide = _wide(x)
    distance = absolute(subtract(wide, nanmean(wide, axis=axis, keepdims=True)))
    squares = nansum(square(distance), axis=axis, keepdims=keepdims)
    left = _count(wide, axis, keepdims)
    freedom = torch.where(left._local > correction, left._local - correction, math.nan)
    return Array((squares._local / freedom).to(x._local.real.dtype), squares._layout)


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
    """Standard deviation over axes of what is not NaN: the square root of `nanvar`."""
    axis = _nan_axes("nanstd", x, axis, dtype)
    correction = degrees("nanstd", correction, ddof)
    x = _wanted(x, dtype)
    if not _has_nan(x):
        return std(x, axis=axis, correction=correction, keepdims=keepdims)
    variance = nanvar(x, axis=axis, correction=correction, keepdims=keepdims)
    return Array(root_of_sum(variance._local), variance._layout)


# ---------------------------------------------------------------------- indices and running sums


def nanargmax(x: Array, /, *, axis: int | None = None, keepdims: bool = False) -> Array:
    """Index of the first maximum along an axis, without NaN.

    Raises
    ------
    ValueError
        On all ranks, where all elements are NaN.

    Notes
    -----
    Layout as for `argmax`; messages too, and two reductions that look for rows of NaN only.
    """
    return _nan_arg("nanargmax", argmax, -math.inf, x, axis, keepdims)


def nanargmin(x: Array, /, *, axis: int | None = None, keepdims: bool = False) -> Array:
    """Index of the first minimum along an axis, without NaN. As `nanargmax` otherwise."""
    return _nan_arg("nanargmin", argmin, math.inf, x, axis, keepdims)


def _nan_arg(
    func: str, find: Any, identity: float, x: Array, axis: int | None, keepdims: bool
) -> Array:
    axes = _nan_axes(func, x, axis)
    result: Array = find(_filled(x, identity) if _has_nan(x) else x, axis=axis, keepdims=keepdims)
    if _has_nan(x) and bool(any_(all_(isnan(x), axis=axes))):
        raise ValueError(f"{func}: along axis {axis} all elements are NaN somewhere")
    return result


def nancumsum(x: Array, /, *, axis: int | None = None, dtype: Any = None) -> Array:
    """Running sums, NaN as 0. As `cumsum` otherwise."""
    _nan_axes("nancumsum", x, axis, dtype)
    return cumsum(_filled(x, 0.0) if _has_nan(x) else x, axis=axis, dtype=dtype)


def nancumprod(x: Array, /, *, axis: int | None = None, dtype: Any = None) -> Array:
    """Running products, NaN as 1. As `cumprod` otherwise."""
    _nan_axes("nancumprod", x, axis, dtype)
    return cumprod(_filled(x, 1.0) if _has_nan(x) else x, axis=axis, dtype=dtype)
