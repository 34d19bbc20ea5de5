"""`load` and `save` for all formats: the suffix of the file selects the format."""

from __future__ import annotations

import os
from typing import Any

from .._comm.recording import breaks
from .._core.array import Array
from .._errors import shown
from ._arguments import documented, name_of
from ._csv import load_csv, save_csv
from ._hdf5 import load_hdf5, save_hdf5
from ._info import format_of
from ._netcdf import load_netcdf
from ._netcdf_save import save_netcdf
from ._npy import load_npy, save_npy
from ._zarr import load_zarr, save_zarr


@breaks
@documented
def load(path: str | os.PathLike[str], name: str | None = None, **options: Any) -> Array:
    """Load an array from a file, each rank its own shard; the suffix selects the format.

    Parameters
    ----------
    path : str or path-like
        An HDF5, NetCDF, Zarr, npy or CSV file; every rank must be able to read it.
    name : str, optional
        The variable, in formats that hold several; by default "data".
    **options
        The keywords of `load_hdf5`, `load_netcdf`, `load_zarr`, `load_npy` or `load_csv`. Most
        take these:
    {reading}
    ValueError
        If the suffix is unknown.

    Examples
    --------
    >>> xp.io.save(xp.arange(6, split=0), "a.h5")
    >>> x = xp.io.load("a.h5", split=0)
    >>> print(x)
    [0 1 2 3 4 5]
    """
    kind = _format("load", path, name)
    if kind in ("hdf5", "netcdf"):
        return (load_hdf5 if kind == "hdf5" else load_netcdf)(
            path, "data" if name is None else name, **options
        )
    if kind == "zarr":
        return load_zarr(path, name, **options)
    return (load_npy if kind == "npy" else load_csv)(path, **options)


@breaks
@documented
def save(x: Any, path: str | os.PathLike[str], name: str | None = None, **options: Any) -> None:
    """Save arrays to a file, each rank its own shard; the suffix selects the format.

    Parameters
    ----------
    x : Array, or mapping of names to arrays if the format holds several
        Any layout.
    {target}
    name : str, optional
        The name of a single array, in formats that hold several; by default "data".
    **options
        The keywords of `save_hdf5`, `save_netcdf`, `save_zarr`, `save_npy` or `save_csv`.
    {saving}

    Examples
    --------
    >>> xp.io.save({"x": xp.ones((4, 3), split=0), "y": xp.arange(2)}, "a.nc")
    >>> print(xp.io.load("a.nc", "y"))
    [0 1]
    """
    kind = _format("save", path, name)
    if kind in ("npy", "csv"):
        (save_npy if kind == "npy" else save_csv)(x, path, **options)
    elif kind == "netcdf":
        save_netcdf(x, path, name, **options)
    else:
        (save_hdf5 if kind == "hdf5" else save_zarr)(x, path, name, **options)


def _format(func: str, path: str | os.PathLike[str], name: str | None) -> str:
    kind = format_of(func, path)
    if name is not None and kind in ("npy", "csv"):
        raise TypeError(
            f"{func}: name is {shown(name)}; expected None: {kind} files hold one array"
        )
    if name is not None:
        name_of(func, "name", name)
    return kind
