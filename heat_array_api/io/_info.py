"""Which format a file has, and which variables it holds, without reading values."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from .._comm.communicator import as_communicator
from .._comm.recording import breaks
from .._core.arguments import as_flag
from .._core.layout import Shape
from ._agreement import at_root, optional_package
from ._arguments import documented, path_of
from ._external import check_hdf5, check_member, reading_store
from ._metadata import ENCODING, RESERVED
from ._netcdf_classic import ends_of

SUFFIXES = {
    suffix: kind
    for kind, suffixes in {
        "hdf5": ".h5 .hdf5 .hdf .he5 .h5ad .mnc",
        "netcdf": ".nc .nc4 .cdf .netcdf",
        "zarr": ".zarr",
        "npy": ".npy",
        "csv": ".csv .tsv .txt",
    }.items()
    for suffix in suffixes.split()
}


def format_of(func: str, path: str | os.PathLike[str]) -> str:
    """Return the format that a file's suffix stands for."""
    name = path_of(func, path)
    suffix = os.path.splitext(name.rstrip("/"))[1].lower()
    if suffix not in SUFFIXES:
        raise ValueError(
            f"{func}: {name!r} has the suffix {suffix!r}; expected one of "
            f"{', '.join(SUFFIXES)}, or call the function of its format"
        )
    return SUFFIXES[suffix]


@dataclass(frozen=True)
class VariableInfo:
    """The description of a variable of a file, without its values.

    Attributes
    ----------
    name : str
        The name, with its groups.
    shape : tuple of int
        The global shape.
    dtype : dtype or None
        As stored; None if no array can hold it (strings, compounds).
    dims : tuple of str or None
        The names of the dimensions, if the format has them.
    chunks : tuple of int or None
        The shape of the chunks, if there are any.
    attributes : dict
        All attributes, such as units, as the format's library reads them: texts, numbers and NumPy
        arrays, lists of texts. A reference of HDF5 is the name of what it leads to; a value
        is None if it has a type that the library cannot read.

    Examples
    --------
    >>> xp.io.save(xp.ones((4, 3), split=0), "a.h5")
    >>> found = xp.io.info("a.h5")["data"]
    >>> found.shape, found.dtype, found.chunks
    ((4, 3), dtype('float64'), None)
    """

    name: str
    shape: Shape
    dtype: np.dtype[Any] | None
    dims: tuple[str, ...] | None = None
    chunks: Shape | None = None
    attributes: dict[str, Any] = field(default_factory=dict)

    @property
    def encoding(self) -> dict[str, Any]:
        """How the values are stored, as `save_netcdf` takes it: the dtype, and what packs them."""
        stored = {"dtype": self.dtype} if self.dtype is not None else {}
        return stored | {key: self.attributes[key] for key in ENCODING if key in self.attributes}


class FileInfo(Mapping[str, VariableInfo]):
    """The variables of a file by name, and the attributes of the file and its groups.

    Attributes
    ----------
    unlimited : tuple of str
        The names of the dimensions that can grow.
    groups : tuple of str
        The names of the groups; "" is the file.

    Examples
    --------
    >>> xp.io.save(xp.ones(4, split=0), "a.h5", "run/x", attributes={"units": "K"})
    >>> print(xp.io.info("a.h5"))
    name   shape  dtype    dims  chunks  attributes
    run/x  (4,)   float64                units
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

    @property
    def groups(self) -> tuple[str, ...]:
        """The names of the groups; "" is the file."""
        return tuple(self._groups)

    def group_attributes(self, group: str) -> dict[str, Any]:
        """Return the attributes of a group.

        Parameters
        ----------
        group : str
            The path of the group; "" is the file.

        Returns
        -------
        dict
            The attributes; empty if there is no such group.
        """
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
@documented
def info(
    path: str | os.PathLike[str], *, comm: Any = None, allow_external: bool = False
) -> FileInfo:
    """List what a file holds: names, shapes, dtypes, dimensions, chunks, attributes.

    Parameters
    ----------
    path : str or path-like
        An HDF5, NetCDF, Zarr, npy or CSV file; its suffix says which.
    comm : Communicator or mpi4py communicator, optional
        The ranks that ask; by default all ranks of the job, `world()`.
    {external}

    Returns
    -------
    FileInfo
        A mapping of names to `VariableInfo`, equal on all ranks; it prints as a table. Rank 0
        reads and sends it: one small allgather and one broadcast.

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If the suffix is unknown, or the file leads to other files.

    Examples
    --------
    >>> xp.io.save({"x": xp.ones((4, 3), split=0), "y": xp.zeros(2)}, "a.h5")
    >>> print(xp.io.info("a.h5"))
    name  shape   dtype    dims  chunks  attributes
    x     (4, 3)  float64
    y     (2,)    float64
    """
    name = path_of("info", path)
    allow_external = as_flag("info", "allow_external", allow_external)
    # The others open no other file for the names.
    readers: dict[str, Callable[[str], FileInfo]] = {
        "hdf5": _hdf5,
        "netcdf": partial(netcdf_info, allow_external=allow_external),
        "zarr": partial(_zarr, allow_external=allow_external),
        "npy": _npy,
        "csv": _csv,
    }
    read = readers[format_of("info", name)]
    return at_root("info", as_communicator("info", comm), lambda: read(name))


# ---------------------------------------------------------------------- one reader for each format


def _dtype(found: Any) -> np.dtype[Any] | None:
    """Return the dtype of a variable; None if no array can hold it."""
    try:
        dtype = found.dtype
    except TypeError:  # NumPy has no such type
        return None
    numeric = isinstance(dtype, np.dtype) and dtype.kind in "biufc"
    return dtype.newbyteorder("=") if numeric else None


Found = Iterator[tuple[str, VariableInfo | dict[str, Any]]]
"""Variables, and the attributes of groups, by name."""


def _collected(items: Found, unlimited: Iterable[str] = ()) -> FileInfo:
    variables: dict[str, VariableInfo] = {}
    groups: dict[str, dict[str, Any]] = {}
    for name, found in items:
        if isinstance(found, VariableInfo):
            variables[name] = found
        else:
            groups[name] = found
    return FileInfo(variables, groups, tuple(unlimited))


def _hdf5(path: str) -> FileInfo:
    h5py = optional_package("h5py")
    seen: set[int] = set()

    def visit(group: Any, prefix: str) -> Found:
        yield prefix.strip("/"), _hdf5_attributes(group)
        seen.add(h5py.h5o.get_info(group.id).addr)
        for key in group:
            name = prefix + key
            try:
                if not isinstance(group.get(key, getlink=True), h5py.HardLink):
                    check_member(group.file, name)
            except ValueError:  # it leads to another file, which is not opened
                continue
            found = group.get(key)
            if isinstance(found, h5py.Dataset):
                # Without a shape there are no values (a null dataspace).
                dtype, shape = _dtype(found) if found.shape is not None else None, found.shape or ()
                attributes = _hdf5_attributes(found)
                yield name, VariableInfo(name, shape, dtype, None, found.chunks, attributes)
            elif isinstance(found, h5py.Datatype):
                yield name, _hdf5_attributes(found)
            elif found is not None and h5py.h5o.get_info(found.id).addr not in seen:
                yield from visit(found, f"{name}/")

    with h5py.File(path, "r") as file:
        return _collected(visit(file, ""))


def _hdf5_attributes(found: Any) -> dict[str, Any]:
    """Return the attributes, without those by which HDF5 ties datasets to their dimensions."""
    kept: dict[str, Any] = {}
    for key in found.attrs:
        if key not in RESERVED["hdf5"]:
            value = None
            with suppress(OSError, TypeError):  # NumPy has no such type
                value = _told(found.attrs[key], found)
            kept[key] = value
    return kept


def _told(value: Any, found: Any) -> Any:
    """Return a value that other ranks understand: texts in lists, names for references."""
    h5py = optional_package("h5py")
    if isinstance(value, bytes):
        with suppress(UnicodeDecodeError):
            return value.decode()
    if isinstance(value, (h5py.Reference, h5py.RegionReference)):
        return found.file[value].name if value else None
    if isinstance(value, (list, tuple)):
        return [_told(v, found) for v in value]
    if isinstance(value, (np.ndarray, np.void)) and value.dtype.hasobject:
        return _told(value.tolist(), found)
    return value


def netcdf_info(path: str, allow_external: bool) -> FileInfo:
    """Describe a NetCDF file, on the rank that calls it."""
    netCDF4 = optional_package("netCDF4")
    unlimited: list[str] = []

    def visit(group: Any, prefix: str) -> Found:
        unlimited.extend(name for name, dim in group.dimensions.items() if dim.isunlimited())
        yield prefix.strip("/"), _netcdf_attributes(group)
        for key, found in group.variables.items():
            name, chunks = prefix + key, found.chunking()
            dims, shape = tuple(found.dimensions), tuple(int(n) for n in found.shape)
            chunks = tuple(chunks) if isinstance(chunks, list) else None
            attributes = _netcdf_attributes(found)
            yield name, VariableInfo(name, shape, _dtype(found), dims, chunks, attributes)
        for name, inner in group.groups.items():
            yield from visit(inner, f"{prefix}{name}/")

    check_hdf5(path, allow_external)
    ends_of(path)
    with netCDF4.Dataset(path, "r") as file:
        return _collected(visit(file, ""), unlimited)


def _netcdf_attributes(found: Any) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    for key in found.ncattrs():
        kept[key] = None
        with suppress(AttributeError, KeyError, RuntimeError):  # a type that netCDF4 cannot read
            kept[key] = found.getncattr(key)
    return kept


def _zarr(path: str, allow_external: bool) -> FileInfo:
    def visit(found: Any, name: str) -> Found:
        attributes = dict(found.attrs)
        if hasattr(found, "shape"):
            name, dims = name or "data", getattr(found.metadata, "dimension_names", None)
            dtype = _dtype(found)
            yield name, VariableInfo(name, found.shape, dtype, dims, found.chunks, attributes)
            return
        yield name, attributes
        for key, inner in found.members():
            yield from visit(inner, f"{name}/{key}" if name else key)

    store = reading_store(path, allow_external)
    return _collected(visit(optional_package("zarr", "zarr").open(store, mode="r"), ""))


def _npy(path: str) -> FileInfo:
    from ._npy import read_header

    header = read_header(path)
    return FileInfo({"data": VariableInfo("data", header.shape, _dtype(header))}, {})


def _csv(path: str) -> FileInfo:
    with Path(path).open("rb") as file:
        head = file.readline(1 << 20)
    columns = head.count(b",") + 1
    return FileInfo({"data": VariableInfo("data", (-1, columns), None)}, {})
