"""The arguments of savers, checked and brought into one form: arrays by name, and storage."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch

from .._comm.communicator import Communicator
from .._core.array import Array, common_communicator
from .._data_type import astype
from ._hdf5_datasets import Storage

__all__ = ["SaveArguments", "as_array", "as_variables", "by_name", "check_mode", "storage_of"]


class SaveArguments(NamedTuple):
    """What `save_netcdf` saves, by names of variables; "" holds the file's attributes."""

    arrays: dict[str, Array]
    dims: Mapping[str, Any]
    attributes: Mapping[str, Any]
    encoding: Mapping[str, Any]
    unlimited: tuple[str, ...] = ()
    texts: Mapping[str, np.ndarray[Any, Any]] = {}


def as_variables(
    func: str, x: Array | Mapping[str, Array], name: str | None
) -> tuple[dict[str, Array], Communicator]:
    """Return the arrays to save by name, and their communicator."""
    if isinstance(x, Mapping):
        if name is not None:
            raise TypeError(f"{func}: a name, {name!r}, for a mapping of names to arrays")
        if not x:
            raise ValueError(f"{func}: no arrays to save")
        found = {_checked(func, key): as_array(func, value) for key, value in x.items()}
        if len(found) < len(x):
            raise ValueError(f"{func}: two of the names {list(x)} are the same")
    else:
        found = {_checked(func, "data" if name is None else name): as_array(func, x)}
    return found, common_communicator(func, *found.values())


def by_name(
    func: str, what: str, given: Mapping[str, Any] | None, x: Any, names: Iterable[str]
) -> dict[str, Any]:
    """Return attributes (or encodings) by name of variable.

    For a single array they may be given directly; then none of the values is a mapping.
    """
    given = dict(given or {})
    names = list(names)
    if not isinstance(x, Mapping) and not any(isinstance(v, Mapping) for v in given.values()):
        return {names[0]: given}
    found = {name.strip("/"): value for name, value in given.items()}
    for name in found:
        if name and name not in names:
            raise KeyError(f"{func}: {what} of {name!r}, which is not among the arrays")
    return found


def _checked(func: str, name: Any) -> str:
    if not isinstance(name, str) or not name.strip("/"):
        raise TypeError(f"{func}: a name is {name!r}; expected a string")
    return name.strip("/")


def as_array(func: str, x: Any) -> Array:
    """Return an array as it is saved: detached from the tape, in a dtype that files have."""
    if not isinstance(x, Array):
        raise TypeError(f"{func}: got {type(x).__name__}; expected arrays of heat_array_api")
    x = x.detach()
    return astype(x, "float32") if x._local.dtype is torch.bfloat16 else x


def check_mode(func: str, mode: str) -> None:
    if mode not in ("w", "a"):
        raise ValueError(f"{func}: mode is {mode!r}; expected 'w' or 'a'")


def storage_of(func: str, chunks: Any, gzip: Any) -> Storage:
    if chunks not in (None, True) and not (
        isinstance(chunks, tuple) and all(isinstance(n, int) and n > 0 for n in chunks)
    ):
        raise TypeError(f"{func}: chunks is {chunks!r}; expected a tuple of ints, or True")
    if gzip is not None and (not isinstance(gzip, int) or not 0 <= gzip <= 9):
        raise ValueError(f"{func}: gzip is {gzip!r}; expected a level, 0 to 9")
    return Storage(chunks, None if gzip is None else int(gzip))
