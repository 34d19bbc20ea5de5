"""Reading and writing files in parallel: each rank touches only its own shard.

HDF5 needs h5py, NetCDF netCDF4 and h5netcdf (``pip install "heat_array_api[io]"``), Zarr needs
zarr. Each is imported when a file of its kind is first opened. A saved file appears whole or not
at all.
"""

from __future__ import annotations

from ._checkpoint import load_checkpoint, save_checkpoint
from ._csv import load_csv, save_csv
from ._formats import load, save
from ._hdf5 import load_hdf5, save_hdf5
from ._info import FileInfo, VariableInfo, info
from ._netcdf import load_netcdf
from ._netcdf_save import save_netcdf
from ._npy import load_npy, save_npy
from ._xarray import open_dataset
from ._zarr import load_zarr, save_zarr

__all__ = [
    "FileInfo", "VariableInfo", "info", "load", "load_checkpoint", "load_csv", "load_hdf5",
    "load_netcdf", "load_npy", "load_zarr", "open_dataset", "save", "save_checkpoint", "save_csv",
    "save_hdf5", "save_netcdf", "save_npy", "save_zarr",
]  # fmt: skip


def __dir__() -> list[str]:
    return sorted(__all__)
