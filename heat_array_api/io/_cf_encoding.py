"""Encoding for NetCDF: packed values and fill values by the CF conventions."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from .._core.arguments import as_choice, as_real
from .._core.array import Array
from .._core.dtypes import TO_TORCH
from .._data_type import astype
from .._elementwise import isnan
from .._elementwise import round as round_
from .._errors import shown
from .._searching import where
from .._statistical import max as max_
from .._statistical import min as min_

ENCODING = ("scale_factor", "add_offset", "_FillValue", "missing_value", "_Unsigned")
"""The attributes that describe how values are stored."""


def checked_encodings(
    func: str, arrays: Mapping[str, Array], encodings: Mapping[str, Any]
) -> dict[str, dict[str, Any]]:
    """Return how the arrays are encoded, with values of the types that attributes have."""
    return {
        name: _checked(func, name, arrays[name].dtype, encoding)
        for name, encoding in encodings.items()
        if name in arrays
    }


def _checked(
    func: str, name: str, dtype: np.dtype[Any], encoding: Mapping[str, Any]
) -> dict[str, Any]:
    unknown = encoding.keys() - {"dtype", *ENCODING}
    if unknown:
        raise ValueError(
            f"{func}: encoding of {name!r} has {sorted(map(str, unknown))}, which is unknown"
        )
    found = {key: value for key, value in encoding.items() if value is not None}
    for key, value in found.items():
        if isinstance(value, Array) and value.shape:
            raise TypeError(f"{func}: {key} of {name!r} is {shown(value)}; expected one value")
    if "dtype" in found:
        dtype = found["dtype"] = _dtype(func, name, found["dtype"])
    if "_Unsigned" in found:
        given = found["_Unsigned"]
        text = str(given).lower() if isinstance(given, (bool, str)) else given
        found["_Unsigned"] = as_choice(func, f"_Unsigned of {name!r}", text, ("true", "false"))
    for key in found.keys() & {"scale_factor", "add_offset"}:
        value, what = found[key], f"{key} of {name!r}"
        number = as_real(func, what, value)
        if not math.isfinite(number) or (key == "scale_factor" and number == 0.0):
            raise ValueError(f"{func}: {what} is {number}; expected a finite number, not 0")
        typed = isinstance(value, (np.integer, np.floating))  # a float32 decodes to float32
        found[key] = value if typed else number
    for key in found.keys() & {"_FillValue", "missing_value"}:
        found[key] = _missing(func, f"{key} of {name!r}", found[key], dtype, "_Unsigned" in found)
    return found


def _dtype(func: str, name: str, given: Any) -> np.dtype[Any]:
    try:
        dtype: np.dtype[Any] = np.dtype(given)
    except (TypeError, ValueError):
        dtype = np.dtype(object)
    if dtype.newbyteorder("=") not in TO_TORCH:
        raise TypeError(
            f"{func}: dtype of {name!r} is {shown(given)}; expected a dtype of numbers, "
            "such as 'int16'"
        )
    return dtype


def _missing(func: str, what: str, given: Any, dtype: np.dtype[Any], unsigned: bool) -> Any:
    """Return the number that stands for a missing value; the first, where a file has several."""
    try:
        values = np.asarray(given).reshape(-1)
    except (TypeError, ValueError):
        values = np.asarray(())
    if values.dtype.kind not in "iuf" or not values.size:
        raise TypeError(f"{func}: {what} is {shown(given)}; expected a number of {dtype}")
    number = values[0]
    if dtype.kind in "iu":
        lowest = int(np.iinfo(dtype).min)
        highest = int(np.iinfo(f"u{dtype.itemsize}" if unsigned else dtype).max)
        if not (lowest <= number <= highest and number == int(number)):
            raise ValueError(f"{func}: {what} is {number}; expected a number of {dtype}")
    return number if isinstance(given, np.generic) else given


def encoded(
    func: str, name: str, x: Array, attributes: dict[str, Any], encoding: dict[str, Any]
) -> tuple[Array, dict[str, Any], Any]:
    """Pack an array: (x - add_offset) / scale_factor, with a fill value for missing values.

    Returns the array, its attributes and its fill value. Sends nothing, except one allreduce each
    of the minimum and the maximum if values may not fit into integers.
    """
    target = np.dtype(encoding["dtype"]) if encoding.get("dtype") is not None else x.dtype
    unsigned = target.kind == "i" and str(encoding.get("_Unsigned", "false")).lower() == "true"
    values = np.dtype(f"u{target.itemsize}") if unsigned else target
    fill = encoding.get("_FillValue", attributes.pop("_FillValue", None))
    absent = encoding.get("missing_value") if fill is None else fill
    attributes |= {key: encoding[key] for key in ENCODING if encoding.get(key) is not None}
    attributes.pop("_FillValue", None)
    missing = isnan(x) if absent is not None and x._local.is_floating_point() else None
    x = _packed(x, encoding.get("scale_factor"), encoding.get("add_offset"))
    if values.kind in "iu" and x._local.is_floating_point():
        x = round_(x)
    if missing is not None:
        number = np.asarray(absent).reshape(-1)[0]
        x = where(missing, float(number.astype(target).astype(values)), x)
    if values != x.dtype:
        _check_fits(func, name, x, values)
        x = astype(x, values)
    if unsigned:
        x = astype(x, target)
    if "missing_value" in attributes:
        attributes["missing_value"] = np.asarray(attributes["missing_value"]).astype(target)[()]
    return x, attributes, None if fill is None else target.type(np.asarray(fill).reshape(-1)[0])


def _packed(x: Array, scale: Any, offset: Any) -> Array:
    if offset is not None:
        x = x - float(offset)
    return x if scale is None else x / float(scale)


def _check_fits(func: str, name: str, x: Array, dtype: np.dtype[Any]) -> None:
    """Raise if values would overflow the integers of `dtype`."""
    if dtype.kind not in "iu" or x.dtype.kind not in "iuf" or not x.size:
        return
    low, high = min_(x).item(), max_(x).item()
    limits = np.iinfo(dtype)
    if not (limits.min <= low and high <= limits.max):
        raise ValueError(
            f"{func}: {name!r} would be stored as numbers from {low} to {high}, which {dtype} "
            "cannot hold; choose another dtype, scale_factor or add_offset, or a _FillValue for NaN"
        )
