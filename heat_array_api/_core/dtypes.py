"""Dtypes: NumPy's for users, torch's inside, and one table between them.

An array's dtype is a ``np.dtype``; NumPy's scalar type, which equals it but hashes otherwise, names
the same dtype wherever one is taken.

Torch stores uint16, uint32 and uint64 but has few kernels for them. Kernels that move data run on
the *carrier*, a view as the signed dtype of the same width (`on_bits`); arithmetic runs NumPy's
function on the same memory (`numpy_kernel`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import Any, Final, NamedTuple

import numpy as np
import torch

from .._comm.assumptions import assumed
from .._comm.dtypes import HALVES, INTEGERS, SIGNED
from .._errors import shown
from .._options import default_dtype

__all__ = [
    "ANY",
    "BOOL",
    "COMPLEX",
    "FLOATING",
    "HALVES",
    "INTEGER",
    "INTEGER_OR_BOOL",
    "NUMERIC",
    "ORDERED",
    "REAL",
    "REAL_FLOATING",
    "SIGNED",
    "TO_NUMPY",
    "TO_TORCH",
    "WIDE_UNSIGNED",
    "DType",
    "Kind",
    "carrier",
    "check_conversion",
    "check_unmasked",
    "default_complex",
    "default_float",
    "from_numpy",
    "from_torch",
    "limits",
    "numpy_kernel",
    "on_bits",
    "promote",
    "promote_scalar",
    "to_numpy_dtype",
    "to_torch_dtype",
    "uncarry",
]

DType = np.dtype[Any]

_REAL_FLOATING = (*HALVES, torch.float32, torch.float64)
_COMPLEX = (torch.complex64, torch.complex128)
_DTYPES = (torch.bool, *INTEGERS, torch.float16, torch.float32, torch.float64, *_COMPLEX)

TO_TORCH: Final[dict[DType | type[np.generic], torch.dtype]] = {
    np.dtype(str(t).removeprefix("torch.")): t for t in _DTYPES
}
TO_NUMPY: Final[dict[torch.dtype, DType]] = {t: np.dtype(dtype) for dtype, t in TO_TORCH.items()}

try:  # NumPy has no bfloat16; ml_dtypes registers one
    import ml_dtypes
except ImportError:
    pass
else:
    TO_NUMPY[torch.bfloat16] = np.dtype(ml_dtypes.bfloat16)
    TO_TORCH[np.dtype(ml_dtypes.bfloat16)] = torch.bfloat16

TO_TORCH.update({dtype.type: t for t, dtype in TO_NUMPY.items()})

WIDE_UNSIGNED: Final = frozenset({torch.uint16, torch.uint32, torch.uint64})

_CARRIERS: Final[dict[torch.dtype, torch.dtype]] = {
    torch.uint16: torch.int16,
    torch.uint32: torch.int32,
    torch.uint64: torch.int64,
}


class Kind(NamedTuple):
    """A set of dtypes that a function accepts, with the standard's name for it."""

    name: str
    all: frozenset[torch.dtype]
    direct: frozenset[torch.dtype]  # the dtypes that torch has kernels for


def _kind(name: str, *dtypes: torch.dtype) -> Kind:
    members = frozenset(dtypes)
    return Kind(name, members, members - WIDE_UNSIGNED)


BOOL: Final = _kind("boolean", torch.bool)
INTEGER: Final = _kind("integer", *INTEGERS)
INTEGER_OR_BOOL: Final = _kind("integer or boolean", torch.bool, *INTEGERS)
REAL_FLOATING: Final = _kind("real floating-point", *_REAL_FLOATING)
COMPLEX: Final = _kind("complex floating-point", *_COMPLEX)
FLOATING: Final = _kind("floating-point", *_REAL_FLOATING, *_COMPLEX)
REAL: Final = _kind("real numeric", *INTEGERS, *_REAL_FLOATING)
NUMERIC: Final = _kind("numeric", *INTEGERS, *_REAL_FLOATING, *_COMPLEX)
ORDERED: Final = _kind("real", torch.bool, *INTEGERS, *_REAL_FLOATING)
ANY: Final = _kind("any", torch.bool, *INTEGERS, *_REAL_FLOATING, *_COMPLEX)


def to_numpy_dtype(dtype: torch.dtype) -> DType:
    """Return the NumPy dtype of a torch dtype.

    Raises
    ------
    TypeError
        For bfloat16 where ml_dtypes is not installed, and for torch's exotic dtypes.
    """
    try:
        return TO_NUMPY[dtype]
    except KeyError:
        hint = "; install ml_dtypes" if dtype is torch.bfloat16 else ""
        raise TypeError(f"{dtype} has no NumPy dtype{hint}") from None


def to_torch_dtype(dtype: Any, func: str = "dtype") -> torch.dtype:
    """Return the torch dtype of a NumPy dtype, of a name, or of a scalar type of NumPy or Python.

    Raises
    ------
    TypeError
        If no array can have that dtype.
    """
    try:
        return TO_TORCH[dtype]
    except (KeyError, TypeError):
        pass
    if isinstance(dtype, torch.dtype):
        if dtype in TO_NUMPY or dtype is torch.bfloat16:
            return dtype
        raise TypeError(f"{func}: dtype {dtype} is not supported")
    if dtype is None:  # NumPy takes None for float64
        raise TypeError(f"{func}: dtype is None; name a dtype")
    try:
        # NumPy's native byte order: torch has no other.
        return TO_TORCH[np.dtype(dtype).newbyteorder("=")]
    except (KeyError, TypeError):
        raise TypeError(f"{func}: dtype {shown(dtype)} is not supported") from None


def check_conversion(func: str, source: torch.dtype, target: torch.dtype) -> None:
    """Raise TypeError if converting `source` to `target` would drop imaginary parts."""
    if source in COMPLEX.all and target not in COMPLEX.all and target is not torch.bool:
        raise TypeError(
            f"{func}: {to_numpy_dtype(source)} to {to_numpy_dtype(target)} loses the imaginary "
            f"part; use real or abs"
        )


def check_unmasked(func: str, values: object) -> None:
    """Raise TypeError if `values` is a masked array: its mask would be lost.

    Whatever its mask is: of `from_local`, ranks would differ in that.
    """
    if isinstance(values, np.ma.MaskedArray):
        raise TypeError(
            f"{func}: a masked array would lose its mask; pass its filled(value), such as "
            f"filled(nan) (or its data, to use the masked elements too)"
        )


def from_numpy(func: str, values: np.ndarray[Any, Any], *, copy: bool = True) -> torch.Tensor:
    """Return NumPy values as a tensor: of any strides and byte order, bfloat16 too.

    Parameters
    ----------
    copy : bool
        False: share the memory where torch can.

    Raises
    ------
    TypeError
        If no array can have their dtype, or they are masked.
    """
    check_unmasked(func, values)
    dtype = to_torch_dtype(values.dtype, func)
    own = np.array(values, dtype=TO_NUMPY[dtype], order="C", copy=copy or None)
    if not own.flags.behaved:  # unaligned or read-only, of which torch would warn
        own = own.copy()
    if dtype is torch.bfloat16:
        return _shared(own.view(np.int16)).view(dtype)
    return _shared(own)


def _shared(values: np.ndarray[Any, Any]) -> torch.Tensor:
    """Return contiguous values as a tensor that shares their memory."""
    try:
        return torch.from_numpy(values)
    except ValueError:
        return torch.from_numpy(_usual_strides(values))


def _usual_strides(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return contiguous values with the strides that follow from their shape.

    NumPy keeps what a flip or a field of records leaves as strides where an array has no more than
    one row, for there they do not matter; torch refuses them.
    """
    lengths = [*values.shape[1:], values.itemsize]
    strides = [math.prod(lengths[i:]) for i in range(values.ndim)]
    return np.lib.stride_tricks.as_strided(values, strides=strides)


def from_torch(func: str, name: str, t: torch.Tensor) -> torch.Tensor:
    """Return a tensor of a user's as kernels and messages take it, sharing its memory if it is one.

    Raises
    ------
    TypeError
        If it holds no dense values, or no array can have their dtype.
    """
    if t.is_meta or t.is_nested or t.layout is not torch.strided:
        kind = "meta" if t.is_meta else "nested" if t.is_nested else str(t.layout)
        raise TypeError(
            f"{func}: {name} is a {kind.removeprefix('torch.')} tensor; expected a dense one"
        )
    if t.dtype not in ANY.all:
        expected = "a dtype of the standard, float16 or bfloat16"
        raise TypeError(f"{func}: {name} has dtype {t.dtype}; expected {expected}")
    t = t.resolve_conj().resolve_neg()
    # Torch's tape refuses what inference mode made; the other has no memory.
    return t.clone() if t.is_inference() or t._is_zerotensor() else t


@cache
def limits(dtype: torch.dtype) -> tuple[Any, Any]:
    """Return the least and the greatest value of a real dtype: the identities of max and min."""
    if dtype is torch.bool:
        return False, True
    if dtype in INTEGER.all:
        info = np.iinfo(TO_NUMPY[dtype])
        return int(info.min), int(info.max)
    return -math.inf, math.inf


def carrier(t: torch.Tensor) -> torch.Tensor:
    """View a wide unsigned tensor as the signed dtype of its width; others stay as they are."""
    signed = _CARRIERS.get(t.dtype)
    return t if signed is None else t.view(signed)


def uncarry(t: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Undo `carrier`: view `t` as `dtype` again where that is a wide unsigned dtype."""
    return t.view(dtype) if dtype in _CARRIERS else t


def on_bits(
    kernel: Callable[..., torch.Tensor], *tensors: torch.Tensor, **options: Any
) -> torch.Tensor:
    """Call a kernel that copies elements unchanged; wide unsigned tensors go in as their carriers.

    The tensors have one dtype, which is that of the result. Views, `torch.cat`, `reshape`,
    `contiguous` and `clone` need no help: torch has them for all dtypes.
    """
    dtype = tensors[0].dtype
    if dtype not in _CARRIERS:
        return kernel(*tensors, **options)
    return kernel(*map(carrier, tensors), **options).view(dtype)


_promoted: dict[tuple[torch.dtype, torch.dtype], torch.dtype] = {}


def promote(a: torch.dtype, b: torch.dtype) -> torch.dtype:
    """Return the dtype of an operation on arrays of dtypes `a` and `b`.

    By the standard's table ("Type Promotion Rules"), and by NumPy's where that has no entry, as for
    an integer with a float.
    """
    if a is b:
        return a
    key = (a, b)
    if key not in _promoted:
        if torch.bfloat16 in key:
            other = b if a is torch.bfloat16 else a
            _promoted[key] = torch.promote_types(_CARRIERS.get(other, other), torch.bfloat16)
        else:
            _promoted[key] = TO_TORCH[np.result_type(TO_NUMPY[a], TO_NUMPY[b])]
    return _promoted[key]


def promote_scalar(dtype: torch.dtype, value: complex) -> torch.dtype:
    """Return the dtype of an operation on an array of `dtype` and a Python scalar.

    The scalar takes the array's dtype ("Mixing arrays with Python scalars"); a scalar
    of a higher kind lifts the array's, as in NumPy.
    """
    if isinstance(value, bool) or dtype in COMPLEX.all:
        return dtype
    if isinstance(value, int):
        return torch.int64 if dtype is torch.bool else dtype
    if isinstance(value, float):
        if dtype in REAL_FLOATING.all:
            return dtype
        return default_float()
    if dtype in INTEGER_OR_BOOL.all:
        return default_complex()
    return torch.complex128 if dtype is torch.float64 else torch.complex64


def default_float() -> torch.dtype:
    """Return the default real floating-point dtype."""
    return TO_TORCH[default_dtype()]


def default_complex() -> torch.dtype:
    """Return the default complex dtype."""
    return torch.complex128 if default_float() is torch.float64 else torch.complex64


def numpy_kernel(func: str, *args: torch.Tensor | complex, **kwargs: Any) -> torch.Tensor:
    """Run NumPy's function `func` on the tensors' own memory; return a tensor."""
    device = torch.device("cpu")
    if assumed():
        return _without_values(func, args, kwargs)
    values: list[Any] = []
    for arg in args:
        if isinstance(arg, torch.Tensor):
            device = arg.device
            values.append(arg.cpu().numpy())
        else:
            values.append(arg)
    with np.errstate(all="ignore"):
        result = getattr(np, func)(*values, **kwargs)
    return torch.from_numpy(np.asarray(result)).to(device)


def _without_values(
    func: str, args: tuple[torch.Tensor | complex, ...], kwargs: dict[str, Any]
) -> torch.Tensor:
    """Return a tensor of the shape and dtype of `numpy_kernel`'s result, from no values."""
    tensors = [arg for arg in args if isinstance(arg, torch.Tensor)]
    few = [
        np.ones((1,) * arg.ndim, to_numpy_dtype(arg.dtype))
        if isinstance(arg, torch.Tensor)
        else arg
        for arg in args
    ]
    result = np.asarray(getattr(np, func)(*few, **kwargs))
    shape = np.broadcast_shapes(*(t.shape for t in tensors))
    if "axis" in kwargs:
        meta = torch.empty(shape, device="meta")
        shape = torch.sum(meta, dim=kwargs["axis"], keepdim=kwargs.get("keepdims", False)).shape
    return torch.empty(shape, dtype=TO_TORCH[result.dtype], device=tensors[0].device)
