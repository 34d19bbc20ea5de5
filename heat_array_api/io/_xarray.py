"""xarray: NetCDF files as Datasets of heat_array_api arrays, and back."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

import numpy as np

from .._comm.communicator import as_communicator
from .._comm.recording import breaks
from .._core.arguments import as_flag
from .._core.array import Array
from .._creation import asarray, device_kind
from .._errors import shown
from ._agreement import at_root, members, optional_package
from ._arguments import (
    ReadOptions,
    SaveArguments,
    as_array,
    documented,
    name_of,
    names_of,
    path_of,
)
from ._info import FileInfo, VariableInfo, netcdf_info
from ._metadata import ENCODING, stored_texts
from ._netcdf import opened
from ._read import load


@breaks
@documented
def open_dataset(
    path: str | os.PathLike[str],
    *,
    split: str | Iterable[str] = (),
    group: str = "",
    device: Any = None,
    comm: Any = None,
    allow_external: bool = False,
) -> Any:
    """Open a NetCDF file as an xarray Dataset of heat_array_api arrays.

    Parameters
    ----------
    path : str or path-like
        The file; every rank must be able to read it.
    split : str or iterable of str
        Names of dimensions of the group's variables: each variable is split along the first of
        its dimensions among them, and a variable that has none is whole on every rank.
    group : str
        The group to open, with those above it: ``"model/ocean"``; by default the file itself.
    {device}
    {comm}
    {external}

    Returns
    -------
    xarray.Dataset
        Values decoded as by `load_netcdf`; times stay numbers with their units. Dimension
        coordinates, which xarray turns into indexes, and texts are NumPy arrays, whole on every
        rank. ``save_netcdf(dataset, path)`` saves it again. Messages: as in `load_netcdf`, for
        each variable.

    Raises
    ------
    ImportError
        If xarray or netCDF4 is not installed.
    OSError
        If the file cannot be read on any rank. Raised on all ranks.
    KeyError
        If the file has no such group.
    ValueError
        If no variable has a dimension of `split`, or the file leads to other files.

    Examples
    --------
    >>> t = xp.reshape(xp.arange(6.0, split=0), (3, 2))
    >>> xp.io.save_netcdf(t, "a.nc", "t", dims=("time", "x"))
    >>> dataset = xp.io.open_dataset("a.nc", split="time")
    >>> print(dataset["t"].mean("time").data)
    [2. 3.]
    """
    xarray = optional_package("xarray")
    func = "open_dataset"
    comm = as_communicator(func, comm)
    path = path_of(func, path)
    wanted = names_of(func, "split", split)
    group = name_of(func, "group", group).strip("/")
    device_kind(func, device)
    allow_external = as_flag(func, "allow_external", allow_external)
    found = at_root(func, comm, lambda: netcdf_info(path, allow_external))
    described_by_name = _of_group(func, path, found, group, wanted)
    variables: dict[str, Any] = {}
    for short, described in described_by_name.items():
        name, dims = described.name, described.dims or ()
        axis = next((i for i, dim in enumerate(dims) if dim in wanted), None)
        axis = None if dims[:1] == (short,) else axis  # a coordinate that becomes an index
        attributes = {k: v for k, v in described.attributes.items() if k not in ENCODING}
        encoding = {k: v for k, v in described.attributes.items() if k in ENCODING}
        if described.dtype is None or described.dtype.kind not in "biufc":
            data = at_root(func, comm, partial(_plain, path, name))
        else:
            options = ReadOptions(axis, None, device, comm, None, None)
            data = load(func, partial(opened, name), path, options)  # the file has been checked
            if data.dtype.kind == "c" and described.dtype.kind == "f":
                dims = dims[:-1]
            elif data.dtype.kind == "b":
                attributes.pop("dtype", None)
            else:
                encoding["dtype"] = described.dtype
            if dims == (short,):
                data = np.asarray(data)
        variables[short] = xarray.Variable(dims, data, attributes, encoding)
    # Sets of strings would be in a different order on each rank.
    named = [
        name
        for variable in variables.values()
        for name in str(variable.attrs.get("coordinates", "")).split()
    ]
    coordinates = [n for n in variables if variables[n].dims == (n,) or n in named]
    dataset = xarray.Dataset(
        {name: v for name, v in variables.items() if name not in coordinates},
        {name: variables[name] for name in coordinates},
        found.group_attributes(group),
    )
    dataset.encoding["unlimited_dims"] = {d for d in found.unlimited if d in dataset.sizes}
    return dataset


def _of_group(
    func: str, path: str, found: FileInfo, group: str, wanted: tuple[str, ...]
) -> dict[str, VariableInfo]:
    """Return a group's variables by their names in it; raise unless `wanted` are dimensions."""
    if group not in found.groups:
        listed = members("groups", filter(None, found.groups), group)
        raise KeyError(f"{func}: group {group!r} is not in {path!r}; {listed}")
    chosen = {
        name.rpartition("/")[2]: v for name, v in found.items() if name.rpartition("/")[0] == group
    }
    dims = list(dict.fromkeys(dim for v in chosen.values() for dim in v.dims or ()))
    for name in wanted:
        if name not in dims:
            listed = members("dimensions", dims, name)
            raise ValueError(
                f"{func}: split is {name!r}, which no variable of {path!r} has as a dimension; "
                f"{listed}"
            )
    return chosen


def _plain(path: str | os.PathLike[str], name: str) -> Any:
    """Return texts, which an Array cannot hold, as a NumPy array."""
    with optional_package("netCDF4").Dataset(os.fspath(path)) as file:
        file.set_auto_mask(False)
        return np.asarray(file[name][...])


def as_save_arguments(func: str, dataset: Any) -> SaveArguments:
    """Return the variables of a Dataset, coordinates included."""
    ours = [v.data for v in dataset.variables.values() if isinstance(v.data, Array)]
    comm = ours[0].comm if ours else as_communicator(func, None)
    arrays: dict[str, Array] = {}
    texts: dict[str, np.ndarray[Any, Any]] = {}
    encoding: dict[str, Mapping[str, Any]] = {}
    for name in (*dataset.variables, *dataset.dims):
        if not isinstance(name, str):
            raise TypeError(f"{func}: the Dataset has the name {shown(name)}; expected a str")
    for name, v in dataset.variables.items():
        data = v.data
        if not isinstance(data, Array):
            values = np.asarray(data)
            if values.dtype.kind in "SUTO":
                texts[name] = stored_texts(func, name, values)
                continue
            if values.dtype.kind not in "biufc":
                raise TypeError(f"{func}: {name!r} has dtype {values.dtype}; expected numbers")
            data = asarray(values, comm=comm, split=None)
        arrays[name] = as_array(func, data)
        kept = ("dtype", *ENCODING)
        encoding[name] = {k: v.encoding[k] for k in kept if v.encoding.get(k) is not None}
    if not arrays:
        raise ValueError(f"{func}: no arrays to save")
    return SaveArguments(
        arrays,
        {name: tuple(v.dims) for name, v in dataset.variables.items()},
        {"": dataset.attrs, **{name: v.attrs for name, v in dataset.variables.items()}},
        encoding,
        tuple(d for d in dataset.encoding.get("unlimited_dims", ()) if d in dataset.sizes),
        texts,
    )
