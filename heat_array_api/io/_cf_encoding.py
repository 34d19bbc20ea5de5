"""Encoding for NetCDF: packed values and fill values by the CF conventions."""

from __future__ import annotations

from typing import Any

import numpy as np

from .._core.array import Array
from .._data_type import astype
from .._elementwise import isnan
from .._elementwise import round as round_
from .._searching import where
from .._statistical import max as max_
from .._statistical import min as min_

ENCODING = ("scale_factor", "add_offset", "_FillValue", "missing_value", "_Unsigned")
"""The attributes that describe how values are stored."""


def encoded(
    func: str, name: str, x: Array, attributes: dict[str, Any], encoding: dict[str, Any]
) -> tuple[Array, dict[str, Any], Any]:
    """Pack an array: (x - add_offset) / scale_factor, with a fill value for missing values.

    Returns the array, its attributes and its fill value. Sends nothing, except one allreduce each
    of the minimum and the maximum if values may not fit into integers.
    """
    unknown = encoding.keys() - {"dtype", *ENCODING}
    if unknown:
        raise ValueError(f"{func}: encoding of {name!r} has {sorted(unknown)}, which is unknown")
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
