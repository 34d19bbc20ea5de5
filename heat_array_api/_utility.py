"""Utility functions (the standard's chapter of that name), and NumPy's ufuncs on our arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from ._array import Array
from ._layout import Shape, normalize_axis
from ._manipulation import concat
from ._op import check_array, reduction
from ._operators import namespace

__all__ = ["all", "any", "array_ufunc", "diff"]

Axis = int | Sequence[int] | None


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


# NumPy's names where they differ from the standard's.
_UFUNCS: Final[dict[str, str]] = {
    "absolute": "abs",
    "fabs": "abs",
    "arccos": "acos",
    "arccosh": "acosh",
    "arcsin": "asin",
    "arcsinh": "asinh",
    "arctan": "atan",
    "arctan2": "atan2",
    "arctanh": "atanh",
    "conjugate": "conj",
    "invert": "bitwise_invert",
    "left_shift": "bitwise_left_shift",
    "mod": "remainder",
    "power": "pow",
    "rint": "round",
    "right_shift": "bitwise_right_shift",
    "true_divide": "divide",
}
_REDUCTIONS: Final[dict[str, str]] = {
    "add": "sum",
    "multiply": "prod",
    "maximum": "max",
    "minimum": "min",
    "logical_and": "all",
    "logical_or": "any",
}


def array_ufunc(
    ufunc: np.ufunc, method: str, inputs: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    """Run a NumPy ufunc as the namespace's function of the same meaning (`Array.__array_ufunc__`).

    ``np.add(x, 1)``, ``np.float64(2) * x`` and ``np.add.reduce(x)`` stay distributed.
    SciPy's ufuncs are looked up in `heat_array_api.special`. What has no counterpart
    here returns NotImplemented, and NumPy raises TypeError.
    """
    xp = namespace()
    if kwargs.get("where") is True:
        del kwargs["where"]
    if _any_given(kwargs, "out", "where", "casting", "order", "signature"):
        return NotImplemented
    name = ufunc.__name__
    if method == "reduce" and name in _REDUCTIONS and len(inputs) == 1:
        options = {k: v for k, v in kwargs.items() if k in ("axis", "keepdims")}
        return getattr(xp, _REDUCTIONS[name])(inputs[0], **{"axis": 0, **options})
    if method != "__call__":
        return NotImplemented
    name = _UFUNCS.get(name, name)
    function = getattr(xp, name, None) or getattr(xp.special, name, None)
    if function is None or isinstance(function, np.dtype):
        return NotImplemented
    if ufunc.__name__ in ("fabs", "rint") and xp.isdtype(inputs[0].dtype, "integral"):
        inputs = (xp.astype(inputs[0], xp.get_options()["default_dtype"]),)  # floats, as NumPy's
    result = function(*inputs)
    dtype = kwargs.get("dtype")
    return result if dtype is None else xp.astype(result, dtype, copy=False)


def _any_given(kwargs: dict[str, Any], *names: str) -> bool:
    """Return whether any of the named keyword arguments was given and is not None."""
    return next((True for name in names if kwargs.get(name) is not None), False)
