"""Dtypes and constants: the standard's chapters "Data Types", "Data Type Functions", "Constants".

As in NumPy's namespace, ``xp.float64`` is NumPy's scalar type, and the dtype of an array is a
``np.dtype``, equal to it. Nothing here sends anything.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import reduce
from typing import Any, Final

import numpy as np
import torch

from ._core.arguments import as_flag
from ._core.array import Array, Device, check_array
from ._core.docstrings import template
from ._core.dtypes import (
    TO_NUMPY,
    DType,
    check_conversion,
    default_complex,
    default_float,
    promote,
    promote_scalar,
    to_numpy_dtype,
    to_torch_dtype,
)
from ._core.lift import Scalar
from ._creation import as_array, local_device
from ._errors import shown

__all__ = [
    "__array_namespace_info__", "astype", "can_cast", "complex64", "complex128", "e", "finfo",
    "float16", "float32", "float64", "iinfo", "inf", "int8", "int16", "int32", "int64", "isdtype",
    "nan", "newaxis", "pi", "result_type", "uint8", "uint16", "uint32", "uint64",
]  # fmt: skip

bool_: Final = np.bool
int8: Final = np.int8
int16: Final = np.int16
int32: Final = np.int32
int64: Final = np.int64
uint8: Final = np.uint8
uint16: Final = np.uint16
uint32: Final = np.uint32
uint64: Final = np.uint64
float16: Final = np.float16
float32: Final = np.float32
float64: Final = np.float64
complex64: Final = np.complex64
complex128: Final = np.complex128

e: Final = math.e
inf: Final = math.inf
nan: Final = math.nan
newaxis: Final = None
pi: Final = math.pi


def astype(
    x: Array | np.ndarray[Any, Any], dtype: Any, /, *, copy: bool = True, device: Any = None
) -> Array:
    """Convert an array to a dtype.

    Parameters
    ----------
    x : Array or NumPy array
        Of any layout; a NumPy array counts as replicated.
    dtype : dtype
        Complex numbers become real by `real` or `abs` only.
    copy : bool
        False returns `x` itself if nothing changes.
    device : Device or str, optional
        Where the result's shards are stored, "cpu" or "cuda"; by default that of `x`.

    Returns
    -------
    Array
        Of the shape and layout of `x`. Sends nothing.

    Raises
    ------
    TypeError
        If `x` is not an array, no array can have the dtype, or imaginary parts would be lost.
    ValueError
        If there is no such device.

    Examples
    --------
    >>> x = xp.asarray([0.5, 1.5], split=0)
    >>> print(xp.astype(x, xp.int64))
    [0 1]
    """
    x = check_array(
        "astype", "x", as_array("astype", "x", x, split=None) if isinstance(x, np.ndarray) else x
    )
    target = to_torch_dtype(dtype, "astype")
    where = x._local.device if device is None else local_device("astype", device, x.comm)
    source = x._local.dtype
    check_conversion("astype", source, target)
    copy = as_flag("astype", "copy", copy)
    if source is target and where == x._local.device and not copy:
        return x
    return Array(x._local.to(device=where, dtype=target, copy=True), x._layout)


def can_cast(from_: Any, to: Any, /) -> bool:
    """Return whether the promotion rules turn dtype `from_` into dtype `to`.

    Parameters
    ----------
    from_ : dtype or Array
        An array stands for its dtype.
    to : dtype
        The dtype after promotion.

    Returns
    -------
    bool
        Between kinds only true from real to complex floating-point. Sends nothing.

    Raises
    ------
    TypeError
        If one is not a dtype that an array can have.

    Examples
    --------
    >>> xp.can_cast(xp.int32, xp.int64), xp.can_cast(xp.int64, xp.int32)
    (True, False)
    """
    source = from_._local.dtype if isinstance(from_, Array) else to_torch_dtype(from_, "can_cast")
    target = to_torch_dtype(to, "can_cast")
    try:
        return promote(source, target) is target and _same_kind_up(source, target)
    except TypeError:
        return False


def _same_kind_up(source: Any, target: Any) -> bool:
    """Exclude promotions between kinds that the standard leaves open, such as int to float."""
    kinds = {"b": 0, "i": 1, "u": 1, "f": 2, "c": 3, "V": 2}
    a, b = kinds[to_numpy_dtype(source).kind], kinds[to_numpy_dtype(target).kind]
    return a == b or (a, b) == (2, 3)


def result_type(*arrays_and_dtypes: Array | DType | type[np.generic] | Scalar) -> DType:
    """Return the dtype of an operation on arrays, dtypes and Python scalars.

    By the standard's promotion table ("Type Promotion Rules"); where that is silent, as for an
    integer with a float, by NumPy's.

    Parameters
    ----------
    *arrays_and_dtypes : Array, dtype or Python scalar
        At least one; of scalars only, the default dtype of the highest kind results.

    Returns
    -------
    dtype
        The promoted dtype. Sends nothing.

    Raises
    ------
    TypeError
        If one is none of these.
    ValueError
        If there is none.

    Examples
    --------
    >>> xp.result_type(xp.int8, xp.uint8)
    dtype('int16')
    """
    strong = []
    scalars: list[Scalar] = []
    for item in arrays_and_dtypes:
        if isinstance(item, Array):
            strong.append(item._local.dtype)
        elif isinstance(item, (bool, int, float, complex)) and not isinstance(item, np.generic):
            scalars.append(item)
        else:
            given = item.dtype if isinstance(item, (np.ndarray, np.generic)) else item
            strong.append(to_torch_dtype(given, "result_type"))
    if not arrays_and_dtypes:
        raise ValueError("result_type: expected at least one array, dtype or scalar")
    dtype: torch.dtype = reduce(promote, strong) if strong else torch.bool
    for value in scalars:
        dtype = promote_scalar(dtype, value)
    return to_numpy_dtype(dtype)


@dataclass(frozen=True, slots=True)
class finfo_object:
    """Machine limits of a floating-point dtype: Python floats and the real dtype."""

    bits: int
    eps: float
    max: float
    min: float
    smallest_normal: float
    dtype: DType


@dataclass(frozen=True, slots=True)
class iinfo_object:
    """Machine limits of an integer dtype: Python ints."""

    bits: int
    max: int
    min: int
    dtype: DType


_limits = template(
    """
    type : dtype or Array
        An array stands for its dtype.
    """,
    """
    Returns
    -------
    finfo_object or iinfo_object
        The limits. Sends nothing.

    Raises
    ------
    TypeError
        If the dtype is of another kind.
    """,
)


@_limits(">>> xp.finfo(xp.float64).eps", "2.220446049250313e-16")
def finfo(type: Any, /) -> finfo_object:
    """Return the limits of a floating-point dtype, real or complex.

    As attributes: the floats ``eps``, ``max``, ``min`` and ``smallest_normal``, the number of
    ``bits``, and the real ``dtype``.
    """
    dtype = _dtype_of("finfo", type)
    if dtype.kind not in "fcV":
        raise TypeError(f"finfo: dtype is {shown(dtype)}; expected a floating-point dtype")
    if dtype.kind == "V":  # ml_dtypes.bfloat16, unknown to numpy.finfo
        return finfo_object(
            16, 2.0**-7, 3.3895313892515355e38, -3.3895313892515355e38, 2.0**-126, dtype
        )
    info = np.finfo(dtype)
    return finfo_object(
        info.bits,
        float(info.eps),
        float(info.max),
        float(info.min),
        float(info.smallest_normal),
        np.dtype(info.dtype),
    )


@_limits(">>> xp.iinfo(xp.int16).max", "32767")
def iinfo(type: Any, /) -> iinfo_object:
    """Return the limits of an integer dtype.

    As attributes: the ints ``max``, ``min`` and ``bits``, and the ``dtype``.
    """
    dtype = _dtype_of("iinfo", type)
    if dtype.kind not in "iu":
        raise TypeError(f"iinfo: dtype is {shown(dtype)}; expected an integer dtype")
    info = np.iinfo(dtype)
    return iinfo_object(info.bits, int(info.max), int(info.min), dtype)


def _dtype_of(func: str, type: Any) -> DType:
    """Return a dtype, or that of an array."""
    if isinstance(type, (Array, np.ndarray)):
        return type.dtype
    return to_numpy_dtype(to_torch_dtype(type, func))


_KINDS: Final[dict[str, str]] = {
    "bool": "b",
    "signed integer": "i",
    "unsigned integer": "u",
    "integral": "iu",
    "real floating": "fV",
    "complex floating": "c",
    "numeric": "iufcV",
}


def isdtype(dtype: Any, kind: Any) -> bool:
    """Return whether a dtype is of a kind.

    Parameters
    ----------
    dtype : dtype
        The dtype to test.
    kind : str, dtype or tuple
        "bool", "signed integer", "unsigned integer", "integral", "real floating", "complex
        floating" or "numeric"; a dtype; or several of these: one of them is enough.

    Returns
    -------
    bool
        Sends nothing.

    Raises
    ------
    TypeError
        If `dtype` is not a dtype that an array can have.
    ValueError
        If `kind` is another string.

    Examples
    --------
    >>> xp.isdtype(xp.float32, ("integral", "real floating"))
    True
    """
    if isinstance(kind, tuple):
        return any(isdtype(dtype, k) for k in kind)
    given = to_numpy_dtype(to_torch_dtype(dtype, "isdtype"))
    if isinstance(kind, str):
        if kind not in _KINDS:
            raise ValueError(f"isdtype: kind is {shown(kind)}; expected one of {', '.join(_KINDS)}")
        return given.kind in _KINDS[kind]
    return given == to_numpy_dtype(to_torch_dtype(kind, "isdtype"))


_DTYPES: Final = tuple(d for d in TO_NUMPY.values() if d.kind != "V" and d != float16)


class __array_namespace_info__:
    """What the namespace can do: capabilities, dtypes, devices. Sends nothing.

    Examples
    --------
    >>> xp.__array_namespace_info__().default_dtypes()["real floating"]
    dtype('float64')
    """

    def capabilities(self) -> dict[str, Any]:
        """Return which optional features are there.

        Returns
        -------
        dict
            True for "boolean indexing" and "data-dependent shapes"; 64 "max dimensions".
        """
        return {"boolean indexing": True, "data-dependent shapes": True, "max dimensions": 64}

    def default_device(self) -> Device:
        """Return the device of arrays that are made without ``device=``.

        Returns
        -------
        Device
            The CPU.
        """
        return Device("cpu")

    def default_dtypes(self, *, device: Any = None) -> dict[str, DType]:
        """Return the default dtype of each kind.

        Parameters
        ----------
        device : Device or str, optional
            Has no effect: all devices have the same dtypes.

        Returns
        -------
        dict of str to dtype
            For "real floating", "complex floating", "integral" and "indexing".
        """
        return {
            "real floating": to_numpy_dtype(default_float()),
            "complex floating": to_numpy_dtype(default_complex()),
            "integral": np.dtype("int64"),
            "indexing": np.dtype("int64"),
        }

    def dtypes(self, *, device: Any = None, kind: Any = None) -> dict[str, DType]:
        """Return the standard's dtypes.

        Parameters
        ----------
        device : Device or str, optional
            Has no effect: all devices have the same dtypes.
        kind : str or tuple of str, optional
            As in `isdtype`; by default all kinds.

        Returns
        -------
        dict of str to dtype
            The dtypes by name.
        """
        kinds = (kind,) if isinstance(kind, str) else kind
        for k in kinds or ():
            if k not in _KINDS:
                raise ValueError(f"dtypes: kind is {shown(k)}; expected one of {', '.join(_KINDS)}")
        return {
            dtype.name: dtype
            for dtype in _DTYPES
            if kinds is None or any(dtype.kind in _KINDS[k] for k in kinds)
        }

    def devices(self) -> tuple[Device, ...]:
        """Return the devices on which arrays can be stored.

        Returns
        -------
        tuple of Device
            The CPU, then CUDA if torch sees such a device.
        """
        cuda = (Device("cuda"),) if torch.cuda.is_available() else ()
        return (Device("cpu"), *cuda)
