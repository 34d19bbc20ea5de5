"""Reading files in parallel: each rank reads only its own slab.

HDF5 needs h5py and NetCDF needs netCDF4 (``pip install "heat_array_api[io]"``); each is
imported when the first file of its kind is opened.
"""

from __future__ import annotations

from ._hdf5 import load_hdf5
from ._netcdf import load_netcdf

__all__ = ["load_hdf5", "load_netcdf"]
