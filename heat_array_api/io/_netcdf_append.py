"""Rows that are added to variables of a NetCDF file: packed as those that it holds."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from .._layout import Shape
from ._agreement import missing_package
from ._netcdf import COMPLEX_DIMENSION
from ._packing import ENCODING
from ._variables import SaveArguments

__all__ = ["Stored", "as_stored_before", "check_stored", "growing", "h5netcdf_module"]


class Stored(NamedTuple):
    """What a file says of a variable."""

    dims: tuple[str, ...]
    shape: Shape
    dtype: np.dtype[Any]
    boolean: bool
    encoding: dict[str, Any]


def h5netcdf_module() -> Any:
    try:
        import h5netcdf  # type: ignore[import-untyped]
    except ImportError:
        raise missing_package("h5netcdf", "io") from None
    return h5netcdf


def growing(path: str | os.PathLike[str], dim: str) -> dict[str, Stored]:
    """Return the variables of a file whose first dimension is `dim`; none if there is no file."""
    if not os.path.exists(path):
        return {}
    with h5netcdf_module().File(path, "r") as file:
        return {name: v for name, v in _variables(file, "") if v.dims[:1] == (dim,)}


def _variables(group: Any, prefix: str) -> Iterator[tuple[str, Stored]]:
    for name, found in group.variables.items():
        attributes = dict(found.attrs)
        yield (
            prefix + name,
            Stored(
                tuple(found.dimensions),
                tuple(found.shape),
                np.dtype(found.dtype),
                attributes.get("dtype") == "bool",
                {key: attributes[key] for key in ENCODING if key in attributes},
            ),
        )
    for name, inner in group.groups.items():
        yield from _variables(inner, f"{prefix}{name}/")


def as_stored_before(
    func: str, append: str, given: SaveArguments, stored: dict[str, Stored]
) -> SaveArguments:
    """Return what to save with the dimensions and encodings of the variables in the file.

    All variables of the dimension must grow with it: others would have rows that nobody wrote.
    """
    dims, encoding = dict(given.dims), dict(given.encoding)
    for name, before in stored.items():
        if name not in given.arrays:
            raise ValueError(f"{func}: append is {append!r}, but there are no rows for {name!r}")
        own, dtype = dict(encoding.get(name) or {}), given.arrays[name].dtype
        if dtype.kind in "iuf" and (before.encoding or before.dtype.kind == dtype.kind == "f"):
            inherited = {"dtype": before.dtype, **before.encoding}
        else:
            inherited = before.encoding
        for key, value in own.items():
            if not _equal(value, inherited.get(key, before.dtype if key == "dtype" else None)):
                raise ValueError(f"{func}: {key} of {name!r} is {value}, but another in the file")
        encoding[name] = {**own, **inherited}
        if dims.get(name) is None:
            dims[name] = before.dims[: given.arrays[name].ndim]
    if stored:
        for name in (*given.arrays, *given.texts):
            if name not in stored and append in tuple(dims.get(name) or ()):
                raise ValueError(
                    f"{func}: append is {append!r}, which {name!r} of the file does not have"
                )
    return given._replace(dims=dims, encoding=encoding)


def _equal(one: Any, other: Any) -> bool:
    if isinstance(other, np.dtype):
        return bool(np.dtype(one) == other)
    return bool(np.all(one == other) or (one != one and other != other))


def check_stored(
    func: str,
    name: str,
    dims: tuple[str, ...],
    shape: Shape,
    dtype: np.dtype[Any],
    boolean: bool,
    before: Stored,
) -> None:
    """Raise if a variable is not stored as that of the file."""
    if dims != before.dims or shape[1:] != before.shape[1:]:
        raise ValueError(
            f"{func}: {name!r} has dimensions {dims} and shape {shape}, but {before.dims} and "
            f"{before.shape} in the file"
        )
    if dtype != before.dtype or boolean != before.boolean:
        kind = "bool" if before.boolean else before.dtype
        if before.dims[-1] == COMPLEX_DIMENSION:
            kind = f"complex of {kind}"
        raise ValueError(
            f"{func}: {name!r} is {kind} in the file, not {'bool' if boolean else dtype}; "
            "convert it with astype"
        )
