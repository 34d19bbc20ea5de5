"""Which format a file has, by its suffix."""

from __future__ import annotations

import os

__all__ = ["format_of"]

SUFFIXES = {
    ".h5": "hdf5",
    ".hdf5": "hdf5",
    ".hdf": "hdf5",
    ".he5": "hdf5",
    ".h5ad": "hdf5",
    ".mnc": "hdf5",
    ".nc": "netcdf",
    ".nc4": "netcdf",
    ".cdf": "netcdf",
    ".netcdf": "netcdf",
    ".zarr": "zarr",
    ".npy": "npy",
    ".csv": "csv",
    ".tsv": "csv",
    ".txt": "csv",
}


def format_of(func: str, path: str | os.PathLike[str]) -> str:
    """Return the format that a file's suffix stands for."""
    suffix = os.path.splitext(os.fspath(path).rstrip("/"))[1].lower()
    if suffix not in SUFFIXES:
        raise ValueError(
            f"{func}: {os.fspath(path)!r} has the suffix {suffix!r}; expected one of "
            f"{', '.join(SUFFIXES)}, or call the function of its format"
        )
    return SUFFIXES[suffix]
