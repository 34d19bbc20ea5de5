"""NumPy's ufuncs on our arrays: ``np.add(x, 1)`` is the namespace's `add`."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from .operators import namespace


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
    if function is None or isinstance(function, type):
        return NotImplemented
    if ufunc.__name__ in ("fabs", "rint") and xp.isdtype(inputs[0].dtype, "integral"):
        inputs = (xp.astype(inputs[0], xp.get_options()["default_dtype"]),)  # floats, as NumPy's
    result = function(*inputs)
    dtype = kwargs.get("dtype")
    return result if dtype is None else xp.astype(result, dtype, copy=False)


def _any_given(kwargs: dict[str, Any], *names: str) -> bool:
    """Return whether any of the named keyword arguments was given and is not None."""
    return next((True for name in names if kwargs.get(name) is not None), False)


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
