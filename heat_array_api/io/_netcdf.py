"""Reading NetCDF through netCDF4: `load_netcdf`, with the decoding of the CF conventions."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np

from .._comm.recording import breaks
from .._core.arguments import as_flag
from .._core.array import Array
from .._core.layout import Shape
from .._creation import Split
from .._options import UNSET
from ._agreement import Values, members, optional_package
from ._arguments import ReadOptions, documented, name_of
from ._external import check_hdf5
from ._metadata import same_value
from ._netcdf_classic import ends_of
from ._read import Slab, Source, load

COMPLEX_DIMENSION = "complex"
"""A last dimension of this name and length 2 holds real and imaginary parts (nc-complex)."""


@breaks
@documented
def load_netcdf(
    path: str | os.PathLike[str],
    variable: str,
    *,
    split: Split = UNSET,
    dtype: Any = None,
    device: Any = None,
    raw: bool = False,
    comm: Any = None,
    selection: Any = None,
    progress: bool | None = None,
    allow_external: bool = False,
) -> Array:
    """Load a variable of a NetCDF file, each rank only its own shard.

    Parameters
    ----------
    {source}
    variable : str
        The name of the variable, with its groups: ``"group/name"``.
    raw : bool
        True: the values as they are stored. False: decoded by the CF conventions, that is
        unpacked (attributes scale_factor, add_offset, _Unsigned), and with NaN where they are
        missing (_FillValue, missing_value, valid_min ..., or cells never written).
    {external}
    {reading}
    ValueError
        If the file leads to other files, or `dtype` has no NaN and values are missing.

    Notes
    -----
    The decoded dtype depends on the file's metadata only, never on its values. A float variable
    keeps its dtype. A packed one becomes float32 if its integers have at most 16 bits and the
    attributes are float32, else float64. An integer variable that declares a fill value becomes
    float32 (up to 16 bits) or float64, as in xarray; with an integer `dtype` it stays exact, and
    raises if values are missing. One that declares none keeps its dtype and values.

    Examples
    --------
    >>> packed = {"dtype": "int16", "scale_factor": 0.5, "_FillValue": -1}
    >>> xp.io.save_netcdf(xp.asarray([1.5, np.nan, 3.0], split=0), "a.nc", encoding=packed)
    >>> print(xp.io.load_netcdf("a.nc", "data", split=0))
    [1.5 nan 3. ]
    >>> print(xp.io.load_netcdf("a.nc", "data", split=0, raw=True))
    [ 3 -1  6]
    """
    variable = name_of("load_netcdf", "variable", variable)
    allow_external = as_flag("load_netcdf", "allow_external", allow_external)
    raw = as_flag("load_netcdf", "raw", raw)

    options = ReadOptions(split, dtype, device, comm, selection, progress)
    check = partial(check_hdf5, allow_external=allow_external)
    open_source = partial(opened, variable, raw=raw, check=check)
    return load("load_netcdf", open_source, path, options)


@contextmanager
def opened(
    variable: str, name: str, *, raw: bool = False, check: Callable[[str], object] | None = None
) -> Iterator[Source]:
    """Yield a variable of the file `name`, open for reading; `check` it first, if given."""
    netCDF4 = optional_package("netCDF4")
    if check is not None:
        check(name)
    end = ends_of(name).get(variable.strip("/"), 0)
    with netCDF4.Dataset(name, "r") as file:
        found = _find(file, variable, name)
        length = os.path.getsize(name) if end else 0
        if length < end:
            raise OSError(f"{name!r} is cut short: {length} bytes; {variable!r} needs {end}")
        yield _Variable(found, raw)


def _find(file: Any, variable: str, name: str) -> Any:
    """Return the variable of a file, by its path through the groups."""
    *groups, last = variable.strip("/").split("/")
    place = file
    for group in groups:
        if group not in place.groups:
            listed = members("groups", place.groups, group)
            raise KeyError(f"variable {variable!r} is not in {name!r}; {listed}")
        place = place.groups[group]
    if last not in place.variables:
        listed = members("variables", place.variables, last)
        raise KeyError(f"variable {variable!r} is not in {name!r}; {listed}")
    return place.variables[last]


class _Variable(Source):
    """A variable, decoded by the CF conventions unless `raw`."""

    def __init__(self, found: Any, raw: bool) -> None:
        super().__init__(found)
        attributes = {} if raw else {name: found.getncattr(name) for name in found.ncattrs()}
        self._scale = attributes.get("scale_factor")
        self._offset = attributes.get("add_offset")
        self._packed = self._scale is not None or self._offset is not None
        stored = self._stored = self._storage()
        unsigned = str(attributes.get("_Unsigned", "false")).lower() == "true"
        if unsigned and stored.kind == "i":
            stored = np.dtype(f"u{stored.itemsize}")
        declares = {"_FillValue", "missing_value", "valid_min", "valid_max", "valid_range"}
        self._fills = not raw and (
            stored.kind == "f" or self._packed or not declares.isdisjoint(attributes)
        )
        self._values = stored
        # netCDF4 would compare the bits of `_Unsigned` variables as signed numbers.
        self._limits = attributes if self._fills and unsigned and stored.kind == "u" else None
        self._dtype = self._decoded()
        # How `save_netcdf` (like xarray, and netCDF4's auto_complex) stores other dtypes.
        self._boolean = same_value(attributes.get("dtype"), "bool") and stored.kind in "iu"
        self._pairs = (
            not raw
            and tuple(found.dimensions[-1:]) == (COMPLEX_DIMENSION,)
            and found.shape[-1] == 2
            and self._dtype.kind == "f"
        )
        found.set_auto_maskandscale(False)
        found.set_auto_mask(self._fills and self._limits is None)
        found.set_always_mask(True)

    def _storage(self) -> np.dtype[Any]:
        """Return the stored dtype in native byte order; object if no array can hold it."""
        datatype = self._found.datatype
        # Enumerations are read as integers; arrays hold no compounds, strings or ragged rows.
        if not isinstance(datatype, np.dtype):
            if type(datatype).__name__ != "EnumType":
                return np.dtype(object)
            datatype = np.dtype(datatype.dtype)
        native: np.dtype[Any] = datatype.newbyteorder("=")
        return native

    def _decoded(self) -> np.dtype[Any]:
        """Return the dtype of the decoded values."""
        values = self._values
        if not (self._packed or self._fills) or values.kind not in "fiu":
            return values
        if values.kind == "f" and not self._packed:
            return values
        attributes = [np.asarray(a).dtype for a in (self._scale, self._offset) if a is not None]
        single = all(dtype == np.float32 for dtype in attributes) and (
            values.itemsize <= 2 or values == np.float32
        )
        return np.dtype("float32" if single else "float64")

    @property
    def shape(self) -> Shape:
        shape = tuple(int(n) for n in self._found.shape)
        return shape[:-1] if self._pairs else shape

    @property
    def dtype(self) -> np.dtype[Any]:
        if self._boolean:
            return np.dtype(bool)
        if self._pairs:
            return np.dtype(f"c{2 * self._dtype.itemsize}")
        return self._dtype

    @property
    def chunks(self) -> Shape | None:
        chunks = self._found.chunking()
        return tuple(chunks) if isinstance(chunks, list) else None

    def read(self, slab: Slab, dtype: np.dtype[Any] | None) -> Values:
        if self._boolean:
            return np.asarray(self._read(slab, None) != 0)
        if self._pairs:
            parts = np.ascontiguousarray(self._read((*slab, slice(0, 2)), None))
            return np.asarray(parts.view(self.dtype)[..., 0])
        return self._read(slab, dtype)

    def _read(self, slab: Slab, dtype: np.dtype[Any] | None) -> Values:
        found = self._found[slab] if slab else self._found[...]
        mask = np.ma.getmaskarray(found) if self._fills else None
        values = np.asarray(np.ma.getdata(found))
        if values.dtype.newbyteorder("=") != self._values:
            values = values.astype(self._stored).view(self._values)
        if self._limits is not None:
            mask = _outside(values, self._limits)
        if self._packed:
            values = self._unpack(values)
        if mask is None or not mask.any():
            return values
        wanted = self._dtype if dtype is None else dtype
        if wanted.kind not in "fc":
            raise ValueError(
                f"variable {self._found.name!r} has missing values, which {wanted} cannot hold; "
                "pass a floating-point dtype, or raw=True"
            )
        values = values.astype(wanted)
        values[mask] = np.nan
        return values

    def _unpack(self, values: Values) -> Values:
        values = values.astype(self._dtype)
        if self._scale is not None:
            values *= self._scale
        if self._offset is not None:
            values += self._offset
        return values


def _outside(values: Values, attributes: dict[str, Any]) -> Values:
    """Return where values of an `_Unsigned` variable are missing or outside its valid range.

    The attributes have the variable's stored, signed dtype (NetCDF Users' Guide, GOES-16 files):
    ``valid_range = 0, -6`` of an int16 means 0 to 65530.
    """
    bits = 8 * values.dtype.itemsize

    def numbers(name: str) -> list[Any]:
        given = np.atleast_1d(attributes.get(name, ()))
        if given.dtype.kind not in "iuf":
            return []
        wraps = given.dtype.kind == "i"
        return [n % 2**bits if wraps and -(2 ** (bits - 1)) <= n < 0 else n for n in given.tolist()]

    fills = numbers("_FillValue")
    if not fills and bits > 8:  # bytes have no default fill value: all of them are data
        default = optional_package("netCDF4").default_fillvals[f"i{bits // 8}"]
        fills = [int(default) % 2**bits]
    mask = np.zeros(values.shape, dtype=bool)
    for fill in (*fills, *numbers("missing_value")):
        mask |= values == fill
    limits = numbers("valid_range")
    lowest, highest = (limits[:1], limits[1:]) if len(limits) == 2 else ([], [])
    for limit in lowest or numbers("valid_min"):
        mask |= values < limit
    for limit in highest or numbers("valid_max"):
        mask |= values > limit
    return mask
