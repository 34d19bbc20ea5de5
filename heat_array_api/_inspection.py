"""Inspection (the standard's chapter "Inspection"): what this namespace offers."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from ._array import Device
from ._data_type import _KINDS
from ._dtypes import DType, default_complex, default_float, to_numpy_dtype

__all__ = ["__array_namespace_info__"]

_DTYPES = [
    "bool",
    "int8",
    "int16",
    "int32",
    "int64",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
    "float32",
    "float64",
    "complex64",
    "complex128",
]


class __array_namespace_info__:
    """The namespace's capabilities, default dtypes, dtypes and devices. Sends nothing."""

    def capabilities(self) -> dict[str, Any]:
        """Return what optional behaviours are present: boolean indexing, data-dependent shapes."""
        return {"boolean indexing": True, "data-dependent shapes": True, "max dimensions": 64}

    def default_device(self) -> Device:
        """Return the device of arrays made without ``device=``."""
        return Device("cpu")

    def default_dtypes(self, *, device: Any = None) -> dict[str, DType]:
        """Return the default dtype of each kind."""
        return {
            "real floating": to_numpy_dtype(default_float()),
            "complex floating": to_numpy_dtype(default_complex()),
            "integral": np.dtype("int64"),
            "indexing": np.dtype("int64"),
        }

    def dtypes(self, *, device: Any = None, kind: Any = None) -> dict[str, DType]:
        """Return the standard's dtypes, of `kind` only if it is given."""
        kinds = (kind,) if isinstance(kind, str) else kind
        for k in kinds or ():
            if k not in _KINDS:
                raise ValueError(f"dtypes: kind is {k!r}; expected one of {', '.join(_KINDS)}")
        return {
            name: np.dtype(name)
            for name in _DTYPES
            if kinds is None or any(np.dtype(name).kind in _KINDS[k] for k in kinds)
        }

    def devices(self) -> tuple[Device, ...]:
        """Return the devices arrays can live on."""
        cuda = (Device("cuda"),) if torch.cuda.is_available() else ()
        return (Device("cpu"), *cuda)
