"""Writing NetCDF-4: h5netcdf makes the structure on rank 0, and all ranks write their slabs."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from .._comm.recording import breaks
from .._core.array import Array, common_communicator
from .._core.layout import Shape
from .._creation import asarray
from .._data_type import astype
from ._agreement import at_root, missing_package
from ._agreement import progress as bar
from ._atomic import replacing
from ._cf_encoding import ENCODING, encoded
from ._hdf5_datasets import Storage, Target, h5py_module, write_all
from ._hdf5_stream import writing
from ._netcdf import COMPLEX_DIMENSION
from ._save_arguments import SaveArguments, as_array, as_variables, by_name, storage_of
from ._xarray import as_save_arguments

__all__ = [
    "Stored",
    "as_stored_before",
    "check_stored",
    "growing",
    "h5netcdf_module",
    "save_netcdf",
]


class _Variable(NamedTuple):
    """An array as it is stored, the names of its dimensions, and its attributes."""

    name: str
    array: Array
    dims: tuple[str, ...]
    attributes: dict[str, Any]
    fill: Any
    storage: Storage

    @property
    def shape(self) -> Shape:
        return self.array.shape


class _Text(NamedTuple):
    """Texts, equal on all ranks, which rank 0 stores: characters (S1), else strings."""

    name: str
    values: np.ndarray[Any, Any]
    dims: tuple[str, ...]
    attributes: dict[str, Any]

    @property
    def shape(self) -> Shape:
        return tuple(self.values.shape)


@breaks
def save_netcdf(
    x: Any,
    path: str | os.PathLike[str],
    variable: str | None = None,
    *,
    mode: str = "w",
    dims: Sequence[str] | Mapping[str, Sequence[str]] | None = None,
    coords: Mapping[str, Any] | None = None,
    attributes: Mapping[str, Any] | None = None,
    encoding: Mapping[str, Any] | None = None,
    unlimited: str | Iterable[str] = (),
    append: str | None = None,
    chunks: tuple[int, ...] | bool | None = None,
    gzip: int | None = None,
    strategy: str | None = None,
    progress: bool | None = None,
) -> None:
    """Save arrays as variables of a NetCDF-4 file, each rank its own slab.

    Parameters
    ----------
    x : Array, mapping of names to arrays, or xarray.Dataset
        Any layout and dtype (see Notes). A Dataset brings its dimensions, coordinates,
        attributes and encodings along.
    path : str or path-like
        The file, which takes this name once it is whole.
    variable : str, optional
        The name of the one variable, with its groups: ``"group/name"``; default "data".
    mode : {"w", "a"}
        "w": a new file. "a": what a file that exists holds is kept; it is copied first, so that a
        failure leaves it as it was.
    dims : sequence of str, optional
        The names of the dimensions; of several variables, ``{name: dims}``. Default
        ``<variable>_dim0`` ..., or those that the variable has in the file.
    coords : mapping, optional
        Coordinate variables, by the names of their dimensions: arrays of one axis.
    attributes : mapping, optional
        Of the variable; or by name, ``{name: attributes}``, of coordinates too. The name "" stands
        for the file.
    encoding : mapping, optional
        How values are stored: ``dtype``, ``scale_factor``, ``add_offset``, ``_FillValue``,
        ``missing_value``, ``_Unsigned``, as xarray has it; or by name, ``{name: encoding}``.
    unlimited : str or iterable of str
        Names of dimensions that can grow; their variables are chunked.
    append : str, optional
        In mode "a" the name of an unlimited dimension, the first of the variables, along which
        rows are added to the variables of the file: to all that have it, its coordinate among
        them. They are packed as the rows in the file.
    chunks : tuple of int or True, optional
        The shape of chunks; True: one that h5py finds.
    gzip : int, optional
        The level of compression, 0 to 9; implies chunks.
    strategy : {"mpio", "offset", "chunks", "root"}, optional
        How the shards get into the file; chosen by default (docs, "Reading and writing").
    progress : bool, optional
        Whether rank 0 shows a bar; by default for much data on a terminal.

    Raises
    ------
    OSError
        If the file cannot be written by any rank. All errors are raised on all ranks, and the
        file of that name, if there was one, is as before.
    KeyError, TypeError, ValueError
        If arguments do not fit, or integers cannot hold values: NaN needs a ``_FillValue``.

    Notes
    -----
    What NetCDF does not have is stored so that `load_netcdf` brings it back: bool as int8 with
    the attribute ``dtype = "bool"`` (as xarray), complex numbers as pairs along a last
    dimension "complex" (as netCDF4's auto_complex). float16 becomes float32.

    Messages: as `save_hdf5`.
    """
    func = "save_netcdf"
    if mode not in ("w", "a"):
        raise ValueError(f"{func}: mode is {mode!r}; expected 'w' or 'a'")
    if append is not None and mode != "a":
        raise ValueError(f"{func}: append is {append!r}, but mode {mode!r} makes a new file")
    given = _given(func, x, variable, dims, coords or {}, attributes, encoding)
    comm = common_communicator(func, *given.arrays.values())
    storage = storage_of(func, chunks, gzip)
    stored = {} if append is None else at_root(func, comm, lambda: growing(path, append))
    if append is not None:
        given = as_stored_before(func, append, given, stored)
    variables = [_as_stored(func, name, given, storage) for name in given.arrays]
    for v in variables:
        if v.name in stored:
            boolean = v.attributes.get("dtype") == "bool"
            check_stored(func, v.name, v.dims, v.shape, v.array.dtype, boolean, stored[v.name])
    named = (unlimited,) if isinstance(unlimited, str) else unlimited
    free = frozenset((*named, *given.unlimited, *(() if append is None else (append,))))
    texts = [
        _Text(name, values, tuple(given.dims[name]), dict(given.attributes[name]))
        for name, values in given.texts.items()
    ]
    sizes = _dimensions(func, [*variables, *texts], free, append)
    # A dimension of length 0 that cannot grow does not exist: 0 says that it can.
    free |= {dim for dim, n in sizes.items() if not n}
    whole = dict(given.attributes.get("") or {})
    total = sum(v.array.nbytes for v in variables)
    with replacing(func, comm, path, keep=mode == "a") as unfinished:
        places = at_root(
            func,
            comm,
            lambda: _create(unfinished, variables, texts, sizes, free, append, stored, whole),
        )
        targets = [
            Target(dataset, v.array, v.storage, start)
            for v, (dataset, start) in zip(variables, places, strict=True)
        ]
        with bar(func, total, comm, progress) as advance:
            write_all(func, comm, unfinished, targets, strategy, advance)


def _given(
    func: str,
    x: Any,
    variable: str | None,
    dims: Any,
    coords: Mapping[str, Any],
    attributes: Any,
    encoding: Any,
) -> SaveArguments:
    """Return what to save by the names of the variables."""
    if hasattr(x, "data_vars"):
        if variable is not None or dims is not None or coords or attributes:
            raise TypeError(f"{func}: a Dataset has its own names, dims, coords and attributes")
        given = as_save_arguments(func, x)
        own = by_name(func, "encoding", encoding, given.arrays, given.arrays)
        return given._replace(
            encoding={k: {**v, **own.get(k, {})} for k, v in given.encoding.items()}
        )
    arrays, comm = as_variables(func, x, variable)
    twice = arrays.keys() & coords.keys()
    if twice:
        raise ValueError(f"{func}: {sorted(twice)} are among the variables and the coords")
    named = dict(dims or {}) if isinstance(x, Mapping) or isinstance(dims, Mapping) else {}
    if not named and dims is not None:
        named = {next(iter(arrays)): dims}
    for name, values in coords.items():
        line = values if isinstance(values, Array) else asarray(values, comm=comm, split=None)
        arrays[name], named[name] = as_array(func, line), (name,)
    return SaveArguments(
        arrays,
        named,
        by_name(func, "attributes", attributes, x, arrays),
        by_name(func, "encoding", encoding, x, arrays),
    )


def _dimensions(
    func: str, variables: list[_Variable | _Text], free: frozenset[str], append: str | None
) -> dict[str, int]:
    """Return the lengths of all dimensions; variables must agree."""
    sizes: dict[str, int] = {}
    for v in variables:
        for dim, n in zip(v.dims, v.shape, strict=True):
            if sizes.setdefault(dim, n) != n:
                raise ValueError(
                    f"{func}: dimension {dim!r} has length {n} in {v.name!r}, not {sizes[dim]}"
                )
        if append is not None and append in v.dims[1:]:
            raise ValueError(f"{func}: {append!r} is not the first dimension of {v.name!r}")
    missing = free - sizes.keys()
    if missing:
        raise ValueError(f"{func}: unlimited {sorted(missing)}; the dimensions are {list(sizes)}")
    return sizes


# ---------------------------------------------------------------------- what is stored


def _as_stored(func: str, name: str, given: SaveArguments, storage: Storage) -> _Variable:
    """Return a variable with values that NetCDF has."""
    x, dims = given.arrays[name], given.dims.get(name)
    attributes = dict(given.attributes.get(name) or {})
    if dims is None:
        # All groups see the dimensions of the file.
        dims = tuple(f"{name.replace('/', '_')}_dim{axis}" for axis in range(x.ndim))
    dims = tuple(dims)
    if len(dims) != x.ndim or len(set(dims)) != len(dims):
        raise ValueError(f"{func}: dims {dims} for {name!r} of shape {x.shape}")
    encoding = dict(given.encoding.get(name) or {})
    x, attributes, fill = encoded(func, name, x, attributes, encoding)
    dtype = x._local.dtype
    if dtype is torch.bool:
        x, attributes = astype(x, "int8"), {**attributes, "dtype": "bool"}
    elif dtype is torch.float16:
        x = astype(x, "float32")
    elif dtype.is_complex:
        x, dims = _pairs(x), (*dims, COMPLEX_DIMENSION)
    return _Variable(name, x, dims, attributes, fill, storage)


def _pairs(x: Array) -> Array:
    """Return complex numbers as pairs along a last axis."""
    t = torch.view_as_real(x._local.resolve_conj())
    return Array(t, x._layout.insert(x.ndim, length=2))


# ---------------------------------------------------------------------- the file


def _create(
    path: str,
    variables: list[_Variable],
    texts: list[_Text],
    sizes: dict[str, int],
    free: frozenset[str],
    append: str | None,
    stored: Mapping[str, Stored],
    whole: dict[str, Any],
) -> list[tuple[str, int]]:
    """Make dimensions and variables; return the HDF5 dataset of each, and the row to begin at."""
    places = []
    with writing(h5netcdf_module().File, path, "r+" if os.path.getsize(path) else "w") as file:
        grown = _grow(file, sizes, free, append)
        for v in variables:
            place, _, last = v.name.rpartition("/")
            group = _group(file, place)
            if v.name in stored:
                places.append((group.variables[last]._h5ds.name, grown))
                continue
            made = group.create_variable(
                last, v.dims, v.array.dtype, fillvalue=v.fill, **_options(v, free)
            )
            made.attrs.update(v.attributes)
            places.append((made._h5ds.name, 0))
        for text in texts:
            _store_text(file, text)
        file.attrs.update(whole)
    return places


def _store_text(file: Any, text: _Text) -> None:
    values = text.values
    if values.dtype != np.dtype("S1"):
        values = values.astype(str).astype(object)
    kind = values.dtype if values.dtype.kind == "S" else h5py_module().string_dtype()
    made = file.create_variable(text.name, text.dims, kind)
    made[...] = values
    made.attrs.update(text.attributes)


def _group(file: Any, place: str) -> Any:
    """Return a group, by its path; it and those above it are made if need be."""
    for name in place.split("/") if place else ():
        file = file.groups[name] if name in file.groups else file.create_group(name)
    return file


def _options(v: _Variable, free: frozenset[str]) -> dict[str, Any]:
    storage = v.storage
    if not storage.chunked and not free.isdisjoint(v.dims):
        storage = Storage(True)
    return storage.options(v.array.shape)


def _grow(file: Any, sizes: dict[str, int], free: frozenset[str], append: str | None) -> int:
    """Make the dimensions that there are not; return how long the appended one was."""
    before = 0
    for dim, n in sizes.items():
        if dim not in file.dimensions:
            file.dimensions[dim] = None if dim in free else n
            if dim in free:
                file.resize_dimension(dim, n)
        elif dim == append:
            before = file.dimensions[dim].size
            file.resize_dimension(dim, before + n)
        elif file.dimensions[dim].size != n:
            raise ValueError(
                f"dimension {dim!r} has length {file.dimensions[dim].size} in the file, not {n}"
            )
    return before


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
