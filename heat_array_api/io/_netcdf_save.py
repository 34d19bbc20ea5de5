"""Writing NetCDF-4: `save_netcdf`.

Arguments become variables as they are stored (`_Variable`): encoded, with names of dimensions.
Rows that are appended take dimensions and encodings from the file (`_Stored`). Then rank 0 makes
the structure through h5netcdf, and all ranks write their shards into the HDF5 datasets.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from contextlib import suppress
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch

from .._comm.recording import breaks
from .._core.array import Array, common_communicator
from .._core.layout import Shape
from .._creation import as_array as converted
from .._data_type import astype
from .._errors import shown
from ._agreement import at_root, members, optional_package
from ._agreement import progress as bar
from ._arguments import (
    SaveArguments,
    Storage,
    as_array,
    as_mapping,
    as_variables,
    by_name,
    check_chunks,
    check_mode,
    documented,
    name_of,
    names_of,
    path_of,
    progress_of,
    storage_of,
)
from ._atomic import replacing
from ._cf_encoding import Packing, packed, packing
from ._external import check_hdf5
from ._hdf5_datasets import Target, check_strategy, write_all
from ._hdf5_stream import writing
from ._metadata import (
    ENCODING,
    LIMITS,
    check_dimensions,
    check_names,
    check_places,
    same_value,
    short,
    stored_attributes,
)
from ._netcdf import COMPLEX_DIMENSION
from ._xarray import as_save_arguments


class _Variable(NamedTuple):
    """An array, or texts in NumPy's, and how it is stored."""

    name: str
    array: Any
    dims: tuple[str, ...]
    shape: Shape
    packing: Packing
    storage: Storage = Storage()

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the stored numbers; complex ones are pairs."""
        dtype = self.packing.dtype
        return np.dtype(f"f{dtype.itemsize // 2}") if dtype.kind == "c" else dtype


class _Stored(NamedTuple):
    """A variable that is in the file already."""

    dims: tuple[str, ...]
    shape: Shape
    dtype: np.dtype[Any]
    attributes: dict[str, Any]

    @property
    def boolean(self) -> bool:
        return same_value(self.attributes.get("dtype"), "bool")

    @property
    def encoding(self) -> dict[str, Any]:
        return {key: self.attributes[key] for key in ENCODING if key in self.attributes}


class _File(NamedTuple):
    """What is in the file already: lengths of dimensions, variables by name, groups."""

    sizes: Mapping[str, int] = {}
    variables: Mapping[str, _Stored] = {}
    groups: tuple[str, ...] = ()


@breaks
@documented
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
    """Save arrays as variables of a NetCDF-4 file, each rank its own shard.

    Parameters
    ----------
    x : Array, mapping of names to arrays, or xarray.Dataset
        Any layout and dtype (see Notes). A Dataset brings its own dimensions, coordinates,
        attributes and encodings.
    {target}
    variable : str, optional
        The name of a single variable, with its groups: ``"group/name"``; by default "data".
    {mode}
    dims : sequence of str, optional
        The names of the dimensions, or ``{name: dims}`` for several variables. Default:
        ``<variable>_dim0`` ..., or those that the variable has in the file.
    coords : mapping, optional
        Coordinate variables by the names of their dimensions: arrays of one axis.
    {attributes}
    encoding : mapping, optional
        How values are stored: "dtype", "scale_factor", "add_offset", "_FillValue",
        "missing_value", "_Unsigned", as in xarray; or ``{name: encoding}`` for several.
    unlimited : str or iterable of str
        The names of dimensions that can grow; their variables are chunked.
    append : str, optional
        With mode "a", the name of an unlimited dimension, the first one of the variables, along
        which rows are added. All variables that have it must be given, its coordinate included.
        Rows are packed as those in the file.
    {storage}
    {saving}
    KeyError
        If attributes or encodings are given for an unknown name.

    Notes
    -----
    Values that the integers of an encoding cannot hold are an error; NaN needs a "_FillValue".
    So are values that readers would take for missing (by "_FillValue", "missing_value",
    "valid_range" ...), and attributes by which readers change the numbers ("scale_factor",
    "add_offset", "_Unsigned") unless they are in `encoding`. With mode "a", a variable of the file
    is never replaced.
    bool is stored as int8 with the attribute ``dtype = "bool"`` (as in xarray), complex numbers as
    pairs along a last dimension "complex" (as in netCDF4's auto_complex), and `load_netcdf`
    restores both. float16 and bfloat16 become float32. Messages: as in `save_hdf5`.

    Examples
    --------
    >>> t = xp.reshape(xp.arange(4.0, split=0), (2, 2))
    >>> options = {"dims": ("time", "x"), "unlimited": "time"}
    >>> xp.io.save_netcdf(t, "a.nc", "t", **options)
    >>> xp.io.save_netcdf(t + 4, "a.nc", "t", mode="a", append="time")
    >>> print(xp.io.load_netcdf("a.nc", "t", split=0))
    [[0. 1.]
     [2. 3.]
     [4. 5.]
     [6. 7.]]
    """
    func = "save_netcdf"
    path, progress = path_of(func, path), progress_of(func, progress)
    check_mode(func, mode)
    check_strategy(func, strategy)
    if append is not None and name_of(func, "append", append) and mode != "a":
        raise ValueError(f"{func}: append is {append!r}, but mode {mode!r} makes a new file")
    named = names_of(func, "unlimited", unlimited)
    coords, attributes, encoding = (
        as_mapping(func, what, given)
        for what, given in (("coords", coords), ("attributes", attributes), ("encoding", encoding))
    )
    given = _given(func, x, variable, dims, coords, attributes, encoding)
    comm = common_communicator(func, *given.arrays.values())
    storage = storage_of(func, chunks, gzip)
    known = at_root(func, comm, lambda: _survey(path)) if mode == "a" else _File()
    stored: dict[str, _Stored] = {}
    if append is not None:
        stored = {name: v for name, v in known.variables.items() if v.dims[:1] == (append,)}
        given = _as_stored_before(func, append, given, stored)
    variables = [_planned(func, name, given, storage, stored) for name in given.arrays]
    texts = [_text(name, given) for name in given.texts]
    _check_coords(func, variables, coords)
    free = frozenset((*named, *given.unlimited, *(() if append is None else (append,))))
    sizes = _dimensions(func, [*variables, *texts], free, append)
    # NetCDF has no fixed dimension of length 0: a length of 0 means unlimited.
    free |= {dim for dim, n in sizes.items() if not n}
    _check_file(func, known, [*variables, *texts], stored, sizes, append)
    for v in variables:
        # A dimension of an old file may grow, too.
        grows = [axis for axis, dim in enumerate(v.dims) if dim in free or mode == "a"]
        check_chunks(func, v.name, v.shape, v.dtype, v.storage.chunks, grows=grows)
    variables = [v._replace(array=_packed(func, v)) for v in variables]
    whole = given.attributes.get("") or {}
    total = sum(v.array.nbytes for v in variables)
    with replacing(func, comm, path, keep=mode == "a") as unfinished:
        create = partial(_create, unfinished, variables, texts, sizes, free, append, stored, whole)
        places = at_root(func, comm, create)
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
    """Return what to save, by names of variables."""
    if hasattr(x, "data_vars"):
        if variable is not None or dims is not None or coords or attributes:
            raise TypeError(f"{func}: a Dataset has its own names, dims, coords and attributes")
        given = as_save_arguments(func, x)
        own = by_name(func, "encoding", encoding, given.arrays, given.arrays)
        both = {name: {**v, **(own.get(name) or {})} for name, v in given.encoding.items()}
        notes = stored_attributes(func, "netcdf", given.attributes)
        check_names(func, "netcdf", (*given.arrays, *given.texts), groups=False)
        return given._replace(encoding=both, attributes=notes)
    arrays, comm = as_variables(func, x, variable, "variable")
    twice = arrays.keys() & coords.keys()
    if twice:
        raise ValueError(f"{func}: {sorted(twice)} are among the variables and the coords")
    if isinstance(x, Mapping) or isinstance(dims, Mapping):
        named = as_mapping(func, "dims", dims)
    else:
        named = {} if dims is None else {next(iter(arrays)): dims}
    named = {_key(func, name): _names(func, name, given) for name, given in named.items()}
    check_dimensions(func, coords)
    for name, values in coords.items():
        line = converted(func, f"coords[{name!r}]", values, comm=comm)
        arrays[name], named[name] = as_array(func, line), (name,)
    check_names(func, "netcdf", arrays)
    notes = stored_attributes(func, "netcdf", by_name(func, "attributes", attributes, x, arrays))
    return SaveArguments(arrays, named, notes, by_name(func, "encoding", encoding, x, arrays))


def _key(func: str, name: Any) -> str:
    if not isinstance(name, str):
        raise TypeError(f"{func}: dims has the key {shown(name)}; expected a str")
    return name.strip("/")


def _names(func: str, name: str, dims: Any) -> tuple[str, ...] | None:
    """Return the dimensions' names of a variable in their order; None: by default."""
    if dims is None or isinstance(dims, str):
        return None if dims is None else tuple(dims)
    if isinstance(dims, (Set, Mapping)):
        raise TypeError(f"{func}: dims of {name!r} is {shown(dims)}, which has no order")
    return names_of(func, f"dims of {name!r}", dims)


def _check_coords(func: str, variables: list[_Variable], coords: Mapping[str, Any]) -> None:
    """Raise if a coordinate has no dimension."""
    dims = list(dict.fromkeys(d for v in variables if v.name not in coords for d in v.dims))
    for name in coords:
        if name not in dims:
            listed = members("dimensions", dims, name)
            raise ValueError(f"{func}: coords has {name!r}, which no variable has; {listed}")


def _dimensions(
    func: str, variables: list[_Variable], free: frozenset[str], append: str | None
) -> dict[str, int]:
    """Return the lengths of all dimensions, on which the variables must agree."""
    sizes: dict[str, int] = {}
    for v in variables:
        check_dimensions(func, v.dims)
        for dim, n in zip(v.dims, v.shape, strict=True):
            if sizes.setdefault(dim, n) != n:
                raise ValueError(
                    f"{func}: dimension {dim!r} has length {n} in {v.name!r}, not {sizes[dim]}"
                )
        if append is not None and append in v.dims[1:]:
            raise ValueError(f"{func}: {append!r} is not the first dimension of {v.name!r}")
    missing = free - sizes.keys()
    if missing:
        raise ValueError(f"{func}: unlimited is {sorted(missing)}; expected some of {list(sizes)}")
    return sizes


# ---------------------------------------------------------------------- variables as stored


def _planned(
    func: str,
    name: str,
    given: SaveArguments,
    storage: Storage,
    stored: Mapping[str, _Stored],
) -> _Variable:
    """Return how a variable is to be stored, from metadata alone."""
    x, dims = given.arrays[name], given.dims.get(name)
    attributes = dict(given.attributes.get(name) or {})
    if dims is None:
        # All groups share the dimensions of the file.
        dims = tuple(f"{name.replace('/', '_')}_dim{axis}" for axis in range(x.ndim))
    dims, shape = tuple(dims), x.shape
    if len(dims) != x.ndim or len(set(dims)) != len(dims):
        raise ValueError(f"{func}: dims of {name!r} is {dims}; expected {x.ndim} different names")
    if name in stored:
        attributes = _limits_before(func, name, attributes, stored[name])
    plan = packing(func, name, x, attributes, given.encoding.get(name) or {})
    if plan.dtype.kind == "c":
        dims, shape = (*dims, COMPLEX_DIMENSION), (*shape, 2)
        if isinstance(storage.chunks, tuple):
            storage = storage._replace(chunks=(*storage.chunks, 2))
    elif dims[-1:] == (COMPLEX_DIMENSION,) and shape[-1] == 2 and plan.dtype.kind == "f":
        raise ValueError(
            f"{func}: dims of {name!r} is {dims}: real numbers with a last dimension "
            f"{COMPLEX_DIMENSION!r} of length 2 would be read as complex ones; rename it"
        )
    return _Variable(name, x, dims, shape, plan, storage)


def _text(name: str, given: SaveArguments) -> _Variable:
    values, notes = given.texts[name], given.attributes.get(name) or {}
    plan = Packing(np.dtype(object), attributes=notes)
    return _Variable(name, values, tuple(given.dims[name]), values.shape, plan)


def _packed(func: str, v: _Variable) -> Array:
    """Return the numbers to store; complex ones as pairs along a last axis."""
    if v.packing.dtype.kind == "c":
        x = astype(v.array, v.packing.dtype)
        t = torch.view_as_real(x._local.resolve_conj())
        return Array(t, x._layout.insert(x.ndim, length=2))
    return packed(func, v.name, v.array, v.packing)


# ---------------------------------------------------------------------- a file that exists


def _survey(path: str) -> _File:
    """Return what is in a file, on the rank that calls it; nothing if there is no file."""
    if not os.path.exists(path):
        return _File()
    check_hdf5(path)  # what leads to another file would be written there
    with optional_package("h5netcdf").File(path, "r") as file:
        sizes = {name: int(dim.size) for name, dim in file.dimensions.items()}
        return _File(sizes, dict(_variables(file, "")), tuple(_groups(file, "")))


def _variables(group: Any, prefix: str) -> Iterator[tuple[str, _Stored]]:
    for name, found in group.variables.items():
        attributes = {}
        for key in found.attrs:
            with suppress(Exception):  # types that NetCDF does not have
                attributes[key] = found.attrs[key]
        try:
            dtype = np.dtype(getattr(found.dtype, "dtype", found.dtype))
        except TypeError:
            dtype = np.dtype(object)
        yield prefix + name, _Stored(tuple(found.dimensions), tuple(found.shape), dtype, attributes)
    for name, inner in group.groups.items():
        yield from _variables(inner, f"{prefix}{name}/")


def _groups(group: Any, prefix: str) -> Iterator[str]:
    for name, inner in group.groups.items():
        yield prefix + name
        yield from _groups(inner, f"{prefix}{name}/")


def _check_file(
    func: str,
    known: _File,
    variables: list[_Variable],
    stored: Mapping[str, _Stored],
    sizes: Mapping[str, int],
    append: str | None,
) -> None:
    """Raise if variables cannot be added to what is in the file."""
    for v in variables:
        if v.name in stored:
            _check_stored(func, v, stored[v.name])
        elif v.name in known.variables:
            raise ValueError(
                f"{func}: variable {v.name!r} is in the file, and NetCDF cannot replace it; "
                "append rows to it (append), or choose another name"
            )
    places = dict.fromkeys(known.variables, "array") | dict.fromkeys(known.groups, "group")
    check_places(func, "netcdf", [v.name for v in variables], places)
    for dim, n in sizes.items():
        if dim != append and known.sizes.get(dim, n) != n:
            raise ValueError(
                f"{func}: dimension {dim!r} has length {known.sizes[dim]} in the file, not {n}"
            )


def _as_stored_before(
    func: str, append: str, given: SaveArguments, stored: dict[str, _Stored]
) -> SaveArguments:
    """Return the arguments with dimensions and encodings from the variables in the file.

    All variables with the dimension must grow together; others would get rows never written.
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
                raise ValueError(
                    f"{func}: {key} of {name!r} is {short(value)}, but different in the file"
                )
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
    if not isinstance(other, np.dtype):
        return same_value(one, other)
    with suppress(TypeError):
        return bool(np.dtype(one) == other)
    return False


def _limits_before(
    func: str, name: str, attributes: Mapping[str, Any], before: _Stored
) -> dict[str, Any]:
    """Return the file's limits of a variable that gets rows; its attributes stay as they are."""
    for key, value in attributes.items():
        if not same_value(value, before.attributes.get(key)):
            raise ValueError(
                f"{func}: attributes of {name!r} has {key!r} {short(value)}, but "
                f"{short(before.attributes.get(key))} in the file; rows that are appended have "
                "the attributes of those in the file"
            )
    return {key: before.attributes[key] for key in LIMITS if key in before.attributes}


def _check_stored(func: str, v: _Variable, before: _Stored) -> None:
    """Raise if a variable would be stored otherwise than in the file."""
    boolean = v.packing.boolean
    if v.dims != before.dims or v.shape[1:] != before.shape[1:]:
        raise ValueError(
            f"{func}: {v.name!r} has dimensions {v.dims} and shape {v.array.shape}, but "
            f"{before.dims} and {before.shape} in the file"
        )
    if v.dtype == before.dtype.newbyteorder("=") != before.dtype:
        raise ValueError(
            f"{func}: {v.name!r} is {before.dtype} in the file: nothing is appended to numbers in "
            "another byte order"
        )
    if v.dtype != before.dtype or boolean != before.boolean:
        kind = "bool" if before.boolean else before.dtype
        if before.dims[-1] == COMPLEX_DIMENSION:
            kind = f"complex of {kind}"
        raise ValueError(
            f"{func}: {v.name!r} is {kind} in the file, not {'bool' if boolean else v.dtype}"
            "; convert it with astype"
        )


# ---------------------------------------------------------------------- the file


def _create(
    path: str,
    variables: list[_Variable],
    texts: list[_Variable],
    sizes: dict[str, int],
    free: frozenset[str],
    append: str | None,
    stored: Mapping[str, _Stored],
    whole: Mapping[str, Any],
) -> list[tuple[str, int]]:
    """Make dimensions and variables; return the HDF5 dataset of each, and the row to begin at."""
    places = []
    h5netcdf = optional_package("h5netcdf")
    grows = os.path.getsize(path) > 0
    with writing(h5netcdf.File, path, "r+" if grows else "w") as file:
        grown = _grow(file, sizes, free, append)
        for v in variables:
            place, _, last = v.name.rpartition("/")
            group = _group(file, place)
            if v.name in stored:
                places.append((group.variables[last]._h5ds.name, grown))
                continue
            options = _storage(v, free).options(v.array.shape)
            fill = v.packing.fill
            made = group.create_variable(last, v.dims, v.dtype, fillvalue=fill, **options)
            made.attrs.update(v.packing.attributes)
            places.append((made._h5ds.name, 0))
        for text in texts:
            _store_text(file, text)
        file.attrs.update(whole)
    return places


def _store_text(file: Any, text: _Variable) -> None:
    """Store texts, equal on all ranks, as characters (S1) or strings."""
    values = text.array
    kind = values.dtype if values.dtype.kind == "S" else optional_package("h5py").string_dtype()
    made = file.create_variable(text.name, text.dims, kind)
    made[...] = values
    made.attrs.update(text.packing.attributes)


def _group(file: Any, place: str) -> Any:
    """Return the group of a path, made with its parents if it does not exist."""
    for name in place.split("/") if place else ():
        file = file.groups[name] if name in file.groups else file.create_group(name)
    return file


def _storage(v: _Variable, free: frozenset[str]) -> Storage:
    grows = not v.storage.chunked and not free.isdisjoint(v.dims)
    return Storage(True) if grows else v.storage


def _grow(file: Any, sizes: dict[str, int], free: frozenset[str], append: str | None) -> int:
    """Make missing dimensions; return the previous length of the appended one."""
    before = 0
    for dim, n in sizes.items():
        if dim not in file.dimensions:
            file.dimensions[dim] = None if dim in free else n
            if dim in free:
                file.resize_dimension(dim, n)
        elif dim == append:
            before = file.dimensions[dim].size
            file.resize_dimension(dim, before + n)
    return before
