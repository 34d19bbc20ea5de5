"""xarray: NetCDF files as Datasets of heat_array_api arrays, and back."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

import numpy as np

from .._comm.communicator import as_communicator
from .._comm.recording import breaks
from .._core.array import Array
from .._creation import asarray
from ._agreement import at_root, optional_package
from ._arguments import SaveArguments, documented, path_of
from ._cf_encoding import ENCODING
from ._info import info
from ._netcdf import load_netcdf


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
        Names of dimensions: each variable is split along the first of its dimensions among them.
    group : str
        The group to open.
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
    ValueError
        If the file leads to other files.

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
    wanted = (split,) if isinstance(split, str) else tuple(split)
    prefix = f"{group.strip('/')}/" if group.strip("/") else ""
    found = info(path, comm=comm, allow_external=allow_external)
    variables: dict[str, Any] = {}
    for name, described in found.items():
        if not name.startswith(prefix) or "/" in name[len(prefix) :]:
            continue
        dims = described.dims or ()
        short = name[len(prefix) :]
        axis = next((i for i, dim in enumerate(dims) if dim in wanted), None)
        axis = None if dims[:1] == (short,) else axis  # a coordinate that becomes an index
        attributes = {k: v for k, v in described.attributes.items() if k not in ENCODING}
        encoding = {k: v for k, v in described.attributes.items() if k in ENCODING}
        if described.dtype is None or described.dtype.kind not in "biufc":
            data = at_root(func, comm, partial(_plain, path, name))
        else:
            # `info` has checked the whole file.
            data = load_netcdf(
                path, name, split=axis, device=device, comm=comm, allow_external=True
            )
            if data.dtype.kind == "c" and described.dtype.kind == "f":
                dims = dims[:-1]
            elif data.dtype.kind == "b":
                attributes.pop("dtype", None)
            else:
                encoding["dtype"] = described.dtype
            if dims == (short,):
                data = np.asarray(data)
        variables[short] = xarray.Variable(dims, data, attributes, encoding)
    attributes = found.attributes if not prefix else found.group_attributes(prefix)
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
        attributes,
    )
    dataset.encoding["unlimited_dims"] = {d for d in found.unlimited if d in dataset.sizes}
    return dataset


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
    for name, v in dataset.variables.items():
        data = v.data
        if not isinstance(data, Array):
            values = np.asarray(data)
            if values.dtype.kind in "SUTO":
                texts[str(name)] = values
                continue
            if values.dtype.kind not in "biufc":
                raise TypeError(f"{func}: {name!r} has dtype {values.dtype}; expected numbers")
            data = asarray(values, comm=comm, split=None)
        arrays[str(name)] = data
        kept = ("dtype", *ENCODING)
        encoding[str(name)] = {k: v.encoding[k] for k in kept if v.encoding.get(k) is not None}
    if not arrays:
        raise ValueError(f"{func}: no arrays to save")
    return SaveArguments(
        arrays,
        {str(name): tuple(map(str, v.dims)) for name, v in dataset.variables.items()},
        {"": dataset.attrs, **{str(name): v.attrs for name, v in dataset.variables.items()}},
        encoding,
        tuple(str(d) for d in dataset.encoding.get("unlimited_dims", ()) if d in dataset.sizes),
        texts,
    )
