"""What a file holds, without reading the values."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from .._comm.communicator import as_communicator
from .._comm.recording import breaks
from .._core.layout import Shape
from ._agreement import at_root, missing_package
from ._netcdf_classic import ends_of

__all__ = ["FileInfo", "VariableInfo", "format_of", "info"]


@dataclass(frozen=True)
class VariableInfo:
    """A variable of a file.

    Attributes
    ----------
    name : str
        With its groups.
    shape : tuple of int
    dtype : dtype or None
        As stored; None: no array can hold it (texts, compounds).
    dims : tuple of str or None
        The names of its dimensions, where the format has them.
    chunks : tuple of int or None
        Their shape; None: not chunked.
    attributes : dict
    """

    name: str
    shape: Shape
    dtype: np.dtype[Any] | None
    dims: tuple[str, ...] | None = None
    chunks: Shape | None = None
    attributes: dict[str, Any] = field(default_factory=dict)


class FileInfo(Mapping[str, VariableInfo]):
    """The variables of a file by name, and the attributes of it and of its groups.

    Attributes
    ----------
    unlimited : tuple of str
        The names of the dimensions that can grow.
    """

    def __init__(
        self,
        variables: Mapping[str, VariableInfo],
        groups: Mapping[str, dict[str, Any]],
        unlimited: tuple[str, ...] = (),
    ) -> None:
        self._variables, self._groups = dict(variables), dict(groups)
        self.unlimited = unlimited

    def __getitem__(self, name: str) -> VariableInfo:
        return self._variables[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._variables)

    def __len__(self) -> int:
        return len(self._variables)

    @property
    def attributes(self) -> dict[str, Any]:
        """The attributes of the file."""
        return self.group_attributes("")

    def group_attributes(self, group: str) -> dict[str, Any]:
        """Return the attributes of a group."""
        return self._groups.get(group.strip("/"), {})

    def __repr__(self) -> str:
        rows = [("name", "shape", "dtype", "dims", "chunks", "attributes")]
        rows += [
            (
                v.name,
                str(v.shape),
                str(v.dtype or "(not numbers)"),
                ", ".join(v.dims or ()),
                str(v.chunks or ""),
                ", ".join(v.attributes),
            )
            for v in self.values()
        ]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        return "\n".join(
            "  ".join(cell.ljust(n) for cell, n in zip(row, widths, strict=True)).rstrip()
            for row in rows
        )


@breaks
def info(path: str | os.PathLike[str], *, comm: Any = None) -> FileInfo:
    """List what a file holds: names, shapes, dtypes, dimensions, chunks, attributes.

    Parameters
    ----------
    path : str or path-like
        An HDF5, NetCDF, Zarr, npy or CSV file, by its suffix.
    comm : Communicator or mpi4py communicator, optional
        The ranks that ask; the world by default.

    Returns
    -------
    FileInfo
        A mapping of names to `VariableInfo`, equal on all ranks; it prints as a table.

    Notes
    -----
    Rank 0 reads. Messages: one small allgather and one broadcast.
    """
    name = os.fspath(path)
    readers = {"hdf5": _hdf5, "netcdf": _netcdf, "zarr": _zarr, "npy": _npy, "csv": _csv}
    read = readers[format_of("info", name)]
    return at_root("info", as_communicator(comm), lambda: read(name))


def _dtype(dtype: Any) -> np.dtype[Any] | None:
    if isinstance(dtype, np.dtype) and dtype.kind in "biufc":
        return dtype.newbyteorder("=")
    return None


def _plain(value: Any) -> Any:
    return value.decode() if isinstance(value, bytes) else value


def _hdf5(path: str) -> FileInfo:
    from ._hdf5_datasets import h5py_module

    h5py = h5py_module()
    variables: dict[str, VariableInfo] = {}
    groups: dict[str, dict[str, Any]] = {}

    def visit(name: str, found: Any) -> None:
        attributes = {key: _plain(value) for key, value in _safe_items(found)}
        if isinstance(found, h5py.Dataset):
            variables[name] = VariableInfo(
                name, found.shape or (), _hdf5_dtype(found), None, found.chunks, attributes
            )
        else:
            groups[name] = attributes

    with h5py.File(path, "r") as file:
        groups[""] = {key: _plain(value) for key, value in _safe_items(file)}
        file.visititems(visit)
    return FileInfo(variables, groups)


def _hdf5_dtype(found: Any) -> np.dtype[Any] | None:
    try:
        return _dtype(found.dtype)
    except TypeError:  # a type that NumPy does not have
        return None


def _safe_items(found: Any) -> Iterator[tuple[str, Any]]:
    """Yield attributes that can be sent: no references into the file."""
    for key in found.attrs:
        try:
            value = found.attrs[key]
        except (OSError, TypeError):
            continue
        if isinstance(value, (str, bytes, np.generic)) or (
            isinstance(value, np.ndarray) and value.dtype.kind in "biufcSU"
        ):
            yield key, value


def _netcdf(path: str) -> FileInfo:
    try:
        import netCDF4
    except ImportError:
        raise missing_package("netCDF4", "io") from None
    variables: dict[str, VariableInfo] = {}
    groups: dict[str, dict[str, Any]] = {}

    unlimited: list[str] = []

    def visit(group: Any, prefix: str) -> None:
        unlimited.extend(name for name, dim in group.dimensions.items() if dim.isunlimited())
        groups[prefix.strip("/")] = {k: group.getncattr(k) for k in group.ncattrs()}
        for name, found in group.variables.items():
            chunks = found.chunking()
            variables[prefix + name] = VariableInfo(
                prefix + name,
                tuple(int(n) for n in found.shape),
                _dtype(found.dtype),
                tuple(found.dimensions),
                tuple(chunks) if isinstance(chunks, list) else None,
                {k: found.getncattr(k) for k in found.ncattrs()},
            )
        for name, inner in group.groups.items():
            visit(inner, f"{prefix}{name}/")

    ends_of(path)
    with netCDF4.Dataset(path, "r") as file:
        visit(file, "")
    return FileInfo(variables, groups, tuple(unlimited))


def _zarr(path: str) -> FileInfo:
    from ._zarr import zarr_module

    zarr = zarr_module()
    root = zarr.open(path, mode="r")
    variables: dict[str, VariableInfo] = {}
    groups: dict[str, dict[str, Any]] = {}

    def visit(found: Any, name: str) -> None:
        attributes = dict(found.attrs)
        if hasattr(found, "shape"):
            dims = getattr(found.metadata, "dimension_names", None)
            variables[name or "data"] = VariableInfo(
                name or "data", found.shape, _dtype(found.dtype), dims, found.chunks, attributes
            )
            return
        groups[name] = attributes
        for key, inner in found.members():
            visit(inner, f"{name}/{key}" if name else key)

    visit(root, "")
    return FileInfo(variables, groups)


def _npy(path: str) -> FileInfo:
    from ._npy import read_header

    header = read_header(path)
    return FileInfo({"data": VariableInfo("data", header.shape, _dtype(header.dtype))}, {})


def _csv(path: str) -> FileInfo:
    with Path(path).open("rb") as file:
        head = file.readline(1 << 20)
    columns = head.count(b",") + 1
    return FileInfo({"data": VariableInfo("data", (-1, columns), None)}, {})


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
