"""One name for all formats: `load` and `save` by the suffix of the file."""

from __future__ import annotations

import os
from typing import Any

from .._comm.recording import breaks
from .._core.array import Array
from ._csv import load_csv, save_csv
from ._hdf5 import load_hdf5, save_hdf5
from ._info import format_of
from ._netcdf import load_netcdf
from ._netcdf_save import save_netcdf
from ._npy import load_npy, save_npy
from ._zarr import load_zarr, save_zarr

__all__ = ["load", "save"]


@breaks
def load(path: str | os.PathLike[str], name: str | None = None, **options: Any) -> Array:
    """Load an array from a file, each rank its own slab; the suffix says which format.

    Parameters
    ----------
    path : str or path-like
        An HDF5, NetCDF, Zarr, npy or CSV file.
    name : str, optional
        Of the variable, in formats that hold several.
    **options
        Of `load_hdf5`, `load_netcdf`, `load_zarr`, `load_npy` or `load_csv`.

    Returns
    -------
    Array
    """
    kind = format_of("load", path)
    if kind in ("npy", "csv"):
        if name is not None:
            raise TypeError(f"load: a name, {name!r}, but a {kind} file holds one array")
        return (load_npy if kind == "npy" else load_csv)(path, **options)
    if kind == "zarr":
        return load_zarr(path, name, **options)
    several = load_hdf5 if kind == "hdf5" else load_netcdf
    return several(path, "data" if name is None else name, **options)


@breaks
def save(x: Any, path: str | os.PathLike[str], name: str | None = None, **options: Any) -> None:
    """Save arrays to a file, each rank its own slab; the suffix says which format.

    Parameters
    ----------
    x : Array, or mapping of names to arrays where the format holds several
        Any layout.
    path : str or path-like
        An HDF5, NetCDF, Zarr, npy or CSV file.
    name : str, optional
        Of the variable, in formats that hold several; default "data".
    **options
        Of `save_hdf5`, `save_netcdf`, `save_zarr`, `save_npy` or `save_csv`.
    """
    kind = format_of("save", path)
    if kind in ("npy", "csv"):
        if name is not None:
            raise TypeError(f"save: a name, {name!r}, but a {kind} file holds one array")
        (save_npy if kind == "npy" else save_csv)(x, path, **options)
    elif kind == "netcdf":
        save_netcdf(x, path, name, **options)
    else:
        (save_hdf5 if kind == "hdf5" else save_zarr)(x, path, name, **options)
