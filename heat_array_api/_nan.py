"""Reductions and running sums that pass over NaN, as NumPy's.

Beyond the standard, because xarray and others look for them.

All are composites: NaN is replaced by the reduction's identity, or counted out.
Layout and messages are those of the reductions they are made of.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch

from ._array import Array
from ._comparison import isnan, logical_not
from ._data_type import astype
from ._dtypes import COMPLEX, FLOATING, REAL_FLOATING, to_torch_dtype
from ._elementwise import abs as absolute
from ._elementwise import divide, square, subtract
from ._elementwise_kernels import root_of_sum
from ._layout import Shape, normalize_axes
from ._op import check_array
from ._searching import argmax, argmin
from ._statistical import cumprod, cumsum, degrees, mean, prod, std, var
from ._statistical import max as max_
from ._statistical import min as min_
from ._statistical import sum as sum_
from ._utility import all as all_
from ._utility import any as any_

__all__ = [
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
]

Axis = int | Sequence[int] | None


def _axes(func: str, x: Array, axis: Axis, dtype: Any = None) -> Shape:
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
    axis = _axes("nansum", x, axis, dtype)
    return sum_(_filled(x, 0.0) if _has_nan(x) else x, axis=axis, dtype=dtype, keepdims=keepdims)


def nanprod(x: Array, /, *, axis: Axis = None, dtype: Any = None, keepdims: bool = False) -> Array:
    """Multiply over axes, NaN as 1. As `prod` otherwise."""
    axis = _axes("nanprod", x, axis, dtype)
    return prod(_filled(x, 1.0) if _has_nan(x) else x, axis=axis, dtype=dtype, keepdims=keepdims)


def nanmax(x: Array, /, *, axis: Axis = None, keepdims: bool = False) -> Array:
    """Maximum over axes without NaN; NaN where all are NaN. Messages: two reductions."""
    return _extreme(max_, -math.inf, x, _axes("nanmax", x, axis), keepdims)


def nanmin(x: Array, /, *, axis: Axis = None, keepdims: bool = False) -> Array:
    """Minimum over axes without NaN; NaN where all are NaN. Messages: two reductions."""
    return _extreme(min_, math.inf, x, _axes("nanmin", x, axis), keepdims)


def _extreme(reduce: Any, identity: float, x: Array, axis: Axis, keepdims: bool) -> Array:
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
    axis = _axes("nanmean", x, axis, dtype)
    x = _wanted(x, dtype)
    if not _has_nan(x):
        return mean(x, axis=axis, keepdims=keepdims)
    wide = _wide(x)
    result = divide(nansum(wide, axis=axis, keepdims=keepdims), _count(wide, axis, keepdims))
    return Array(result._local.to(x._local.dtype), result._layout)


def _wide(x: Array) -> Array:
    """Return float16 and bfloat16 as float32, whose sums do not overflow."""
    half = x._local.dtype in (torch.float16, torch.bfloat16)
    return Array(x._local.float(), x._layout) if half else x


def _count(x: Array, axis: Axis, keepdims: bool) -> Array:
    """Return how many elements are not NaN, in the real dtype of `x`."""
    n = sum_(logical_not(isnan(x)), axis=axis, keepdims=keepdims)
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
    axis = _axes("nanvar", x, axis, dtype)
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
    axis = _axes("nanstd", x, axis, dtype)
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
    axes = _axes(func, x, axis)
    result: Array = find(_filled(x, identity) if _has_nan(x) else x, axis=axis, keepdims=keepdims)
    if _has_nan(x) and bool(any_(all_(isnan(x), axis=axes))):
        raise ValueError(f"{func}: along axis {axis} all elements are NaN somewhere")
    return result


def nancumsum(x: Array, /, *, axis: int | None = None, dtype: Any = None) -> Array:
    """Running sums, NaN as 0. As `cumsum` otherwise."""
    _axes("nancumsum", x, axis, dtype)
    return cumsum(_filled(x, 0.0) if _has_nan(x) else x, axis=axis, dtype=dtype)


def nancumprod(x: Array, /, *, axis: int | None = None, dtype: Any = None) -> Array:
    """Running products, NaN as 1. As `cumprod` otherwise."""
    _axes("nancumprod", x, axis, dtype)
    return cumprod(_filled(x, 1.0) if _has_nan(x) else x, axis=axis, dtype=dtype)
