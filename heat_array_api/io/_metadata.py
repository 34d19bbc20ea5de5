"""Names and attributes, checked before the first byte is written, for all formats.

A format stores what is stored here, and its own library reads the same back; anything else is an
error that all ranks raise alike, for they are given the same names and attributes.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import numpy as np
import torch

from .._core.array import Array
from .._errors import shown
from ._agreement import optional_package
from ._write import as_numpy

TITLES: Final = {"hdf5": "HDF5", "netcdf": "NetCDF", "zarr": "Zarr"}

NOUNS: Final = {"hdf5": "dataset", "netcdf": "variable", "zarr": "array"}
"""The argument that names a single array, and what the formats call it."""

RESERVED: Final = {
    "hdf5": frozenset({"DIMENSION_LIST", "REFERENCE_LIST"}),
    "netcdf": frozenset(
        {"_ARRAY_DIMENSIONS", "_Codecs", "_Format", "_IsNetcdf4", "_NCProperties"}
        | {"_Netcdf4Coordinates", "_Netcdf4Dimid", "_SuperblockVersion", "_nc3_strict"}
        | {"CLASS", "DIMENSION_LIST", "NAME", "REFERENCE_LIST"}
    ),
    "zarr": frozenset(),
}
"""Attributes that the libraries of the formats write themselves, or hide."""

LONGEST: Final = {"netcdf": 255, "zarr": 255}
"""Bytes of a name: those of netCDF4's buffer, and of a folder."""

PACKS: Final = ("scale_factor", "add_offset", "_Unsigned")
"""Attributes by which readers compute other numbers from the stored ones."""

MARKS: Final = ("_FillValue", "missing_value")
"""Attributes with the numbers that readers take for missing values."""

LIMITS: Final = ("valid_min", "valid_max", "valid_range")
"""Attributes with limits, outside which readers take numbers for missing values."""

ENCODING: Final = ("scale_factor", "add_offset", "_FillValue", "missing_value", "_Unsigned")
"""The attributes that describe how values are stored, as in xarray."""

_MOST_BYTES = 64_000  # of an attribute of HDF5 and its name: an object's header holds 64 KiB


# ---------------------------------------------------------------------- names


def check_names(func: str, kind: str, names: Iterable[str], groups: bool = True) -> None:
    """Raise if a format cannot store arrays of these names, with their groups, in one file."""
    noun, known = NOUNS[kind], set(names)
    for name in known:
        for part in name.split("/") if groups else (name,):
            problem = _problem(kind, part)
            if problem:
                raise ValueError(f"{func}: {noun} is {short(name)}: {problem}")
        for parent in _parents(name):
            if parent in known:
                raise ValueError(
                    f"{func}: {noun} is {short(name)}, but {short(parent)} is an array, no group"
                )


def check_dimensions(func: str, names: Iterable[Any]) -> None:
    """Raise if NetCDF cannot store dimensions of these names."""
    for name in names:
        if not isinstance(name, str):
            raise TypeError(f"{func}: dims has {shown(name)}; expected names, each a str")
        problem = _problem("netcdf", name)
        if problem:
            raise ValueError(f"{func}: dims has {short(name)}: {problem}")


def check_places(func: str, kind: str, names: Iterable[str], found: Mapping[str, str]) -> None:
    """Raise if new arrays would take the place of something else in a file.

    `found` has what is in the file: "array" or "group", by name.
    """
    noun = NOUNS[kind]
    for name in names:
        for parent in ("", *_parents(name)):
            if found.get(parent, "group") != "group":
                place = f"{short(parent)} in it" if parent else "it"
                raise ValueError(
                    f"{func}: {noun} is {short(name)}, which cannot be added to the file: {place} "
                    "is no group"
                )
        if found.get(name, "array") != "array":
            raise ValueError(
                f"{func}: {noun} is {short(name)}, which is a {found[name]} of the file; "
                "choose another name"
            )


def places_of(names: Iterable[str]) -> list[str]:
    """Return the names and those of their groups, of which `check_places` wants to know."""
    return list(dict.fromkeys(place for name in names for place in (*_parents(name), name)))


def _parents(name: str) -> Iterator[str]:
    parts = name.split("/")
    for i in range(1, len(parts)):
        yield "/".join(parts[:i])


def _problem(kind: str, part: str) -> str:
    """Return why a format cannot store a name without groups; "" if it can."""
    title = TITLES[kind]
    if not part:
        return "a name is empty"
    if part == "." or (part == ".." and kind != "hdf5"):
        return f"{part!r} is no name in {title}"
    if not _is_text(part):
        return "a name has letters that files cannot hold (NUL, or half of a surrogate pair)"
    if kind in LONGEST and len(part.encode()) > LONGEST[kind]:
        return f"{len(part.encode())} bytes; {title} has names of at most {LONGEST[kind]}"
    if kind == "zarr" and ("\\" in part or part in ("zarr.json", ".zarray", ".zgroup", ".zattrs")):
        return f"{part!r} has another meaning in a Zarr store"
    return _problem_of_netcdf(part) if kind == "netcdf" else ""


def _problem_of_netcdf(part: str) -> str:
    """NetCDF Users' Guide, "Permitted Characters in NetCDF Names"."""
    first = part[0]
    if first < "\x80" and not (first.isalnum() or first == "_"):
        return "names of NetCDF begin with a letter, a digit or an underscore"
    if part.endswith(" ") or any(c in "/\x7f" or c < " " for c in part):
        return "names of NetCDF have no '/', no control characters and no space at the end"
    if "_nc4_non_coord_" in part:
        return "NetCDF-4 gives '_nc4_non_coord_' another meaning"
    if unicodedata.normalize("NFC", part) != part:
        return "names of NetCDF are in Unicode's form NFC; use unicodedata.normalize('NFC', name)"
    return ""


def _is_text(text: str) -> bool:
    try:
        return b"\0" not in text.encode()
    except UnicodeEncodeError:
        return False


def short(value: Any) -> str:
    """Return how an error shows a value, of which there may be much."""
    if isinstance(value, np.generic) or (isinstance(value, np.ndarray) and value.size <= 8):
        value = value.tolist()
    text = shown(value)
    return text if len(text) <= 80 else f"{text[:60]}... ({len(text)} letters)"


# ---------------------------------------------------------------------- attributes


class _NotStorableError(Exception):
    """Says why a format cannot store a value."""


def stored_attributes(
    func: str, kind: str, given: Mapping[str, Any], what: str = "attributes"
) -> dict[str, dict[str, Any]]:
    """Return attributes by name of variable, in types that a format stores and gives back."""
    return {
        name: _stored(func, kind, f"{what} of {short(name) if name else 'the file'}", attributes)
        for name, attributes in given.items()
    }


def _stored(func: str, kind: str, where: str, attributes: Any) -> dict[str, Any]:
    if attributes is None:
        return {}
    if not isinstance(attributes, Mapping):
        raise TypeError(f"{func}: {where} is {short(attributes)}; expected a mapping")
    return {
        _stored_name(func, kind, where, key): _stored_value(func, kind, where, key, value)
        for key, value in attributes.items()
    }


def _stored_name(func: str, kind: str, where: str, key: Any) -> str:
    if not isinstance(key, str):
        raise TypeError(f"{func}: {where} has the name {short(key)}; expected a str")
    problem = ""
    if kind == "netcdf":
        problem = _problem("netcdf", key)
    elif kind == "hdf5":
        problem = "" if key and _is_text(key) else "a name is empty, or has NUL or surrogates"
    if key in RESERVED[kind]:
        problem = f"{TITLES[kind]} itself writes this attribute; leave it out"
    if problem:
        raise ValueError(f"{func}: {where} has the name {short(key)}: {problem}")
    return str(key)


def _stored_value(func: str, kind: str, where: str, key: str, value: Any) -> Any:
    try:
        if isinstance(value, Array):
            value = _whole(value)
        elif isinstance(value, torch.Tensor):
            value = as_numpy(value)
        if isinstance(value, np.ndarray) and not value.shape:
            value = value[()]
        if kind == "zarr":
            return _json(value)
        found = _hdf5_value(value)
        size = _bytes_of(found) + len(key.encode())
        if kind == "hdf5" and size > _MOST_BYTES:
            raise _NotStorableError(f"{size} bytes are more than 64,000; save it as an array")
        return _netcdf_value(found) if kind == "netcdf" else found
    except _NotStorableError as why:
        raise TypeError(
            f"{func}: {where}: {key!r} is {short(value)}, which {TITLES[kind]} cannot store: {why}"
        ) from None


def _whole(x: Array) -> Any:
    if x.split is not None:
        raise _NotStorableError("it is split; save it as an array")
    return as_numpy(x.detach()._local)


def _json(value: Any) -> Any:
    """Return a value as zarr reads it from JSON."""
    if value is None or isinstance(value, (bool, str)):
        return value if value is None or isinstance(value, bool) else str(value)
    if isinstance(value, np.generic):
        plain = float(value) if value.dtype.name == "bfloat16" else value.item()
        if isinstance(plain, (bool, int, float, str)):
            return plain
    if isinstance(value, (int, float)):
        return int(value) if isinstance(value, int) else float(value)
    if isinstance(value, (list, tuple, np.ndarray)):
        return [_json(v) for v in value]
    if isinstance(value, Mapping):
        wrong = [key for key in value if not isinstance(key, str)]
        if wrong:
            raise _NotStorableError(f"JSON has no key {short(wrong[0])}; use a str")
        return {str(key): _json(v) for key, v in value.items()}
    raise _NotStorableError(f"JSON has no {type(value).__name__}{_remedy(value)}")


def _remedy(value: Any) -> str:
    kind = getattr(getattr(value, "dtype", None), "kind", "")
    if hasattr(value, "isoformat") or (kind in "mM" and kind):
        return "; use a text, such as its isoformat()"
    if isinstance(value, complex) or kind == "c":
        return "; use its real and its imaginary part"
    if isinstance(value, (bool, np.bool_)) or kind == "b":
        return "; use 0 and 1"
    if isinstance(value, bytes):
        return "; decode them"
    return "; use numbers or texts"


def _hdf5_value(value: Any) -> Any:
    """Return a text, nested lists of texts, or NumPy's numbers."""
    if isinstance(value, (str, bytes)):
        return _text(value)
    if isinstance(value, (list, tuple)):
        return _array_of(value)
    if isinstance(value, np.ndarray) and value.dtype.kind in "UO":
        return _array_of(value.tolist()) if value.size else np.zeros(value.shape)
    if isinstance(value, (bool, int, float, complex)):
        value = np.asarray(value)[()]
    if type(value).__name__ == "Empty" and isinstance(value, optional_package("h5py").Empty):
        return value
    dtype = getattr(value, "dtype", None)
    if not isinstance(value, (np.ndarray, np.generic)) or dtype is None:
        raise _NotStorableError(f"it has no {type(value).__name__}{_remedy(value)}")
    if dtype.name == "bfloat16":
        return value.astype("float32")
    if dtype.kind not in "biufcSV" or dtype.hasobject:
        raise _NotStorableError(f"it has no {dtype}{_remedy(value)}")
    return value


def _text(value: Any) -> str:
    try:
        text = value if isinstance(value, str) else value.decode()
    except UnicodeDecodeError:
        raise _NotStorableError("these bytes are no text in UTF-8") from None
    if not _is_text(text):
        raise _NotStorableError("a text has no NUL and no half of a surrogate pair")
    return str(text)


def _array_of(values: Any) -> Any:
    """Return nested lists as lists of texts, or as an array that has the very same numbers."""
    flat = list(_flat(values))
    texts = [isinstance(v, (str, bytes)) for v in flat]
    if flat and all(texts):
        shape = _shape(values)
        if shape is None:
            raise _NotStorableError("the lists in it differ in length")
        return _texts(values)
    if any(texts):
        raise _NotStorableError("it mixes texts and numbers")
    try:
        found = np.asarray(values)
    except (ValueError, OverflowError):  # ragged
        raise _NotStorableError("the lists in it differ in length") from None
    if found.dtype.kind not in "biufc":
        raise _NotStorableError("not all in it is a number of at most 64 bits or a text")
    exact = zip(found.reshape(-1).tolist(), flat, strict=True)
    if not all(bool(a == b) or bool(a != a and b != b) for a, b in exact):
        raise _NotStorableError(f"{found.dtype} cannot hold all of its numbers")
    return found


def _flat(values: Any) -> Iterator[Any]:
    if isinstance(values, (list, tuple)) or (isinstance(values, np.ndarray) and values.shape):
        for v in values:
            yield from _flat(v)
    else:
        yield values


def _shape(values: Any) -> tuple[int, ...] | None:
    """Return the shape of nested lists; None if they are ragged."""
    if not isinstance(values, (list, tuple, np.ndarray)):
        return ()
    shapes = [_shape(v) for v in values]
    first = shapes[0] if shapes else ()
    return None if first is None or any(s != first for s in shapes) else (len(values), *first)


def _texts(values: Any) -> Any:
    if isinstance(values, (list, tuple, np.ndarray)):
        return [_texts(v) for v in values]
    return _text(values)


def _bytes_of(value: Any) -> int:
    """Return the bytes of a value in an object's header; texts are stored elsewhere."""
    if isinstance(value, list):
        return 16 * math.prod(_shape(value) or ())
    return int(getattr(value, "nbytes", 16))


def _netcdf_value(value: Any) -> Any:
    """Return what NetCDF stores of what HDF5 stores."""
    if isinstance(value, str):
        return value
    if isinstance(value, np.ndarray) and value.dtype.kind == "S":
        value = _texts(value.tolist()) if value.size else np.zeros(value.shape)
    shape = _shape(value) if isinstance(value, list) else np.shape(value)
    if shape is not None and len(shape) > 1:
        raise _NotStorableError(f"it has {len(shape)} axes, at most one is possible; flatten it")
    if isinstance(value, list):
        return value
    dtype = value.dtype
    if dtype == np.float16:
        return value.astype("float32")
    if (
        dtype.kind not in "iuf"
        or dtype.itemsize > 8
        or not isinstance(value, (np.ndarray, np.generic))
    ):
        raise _NotStorableError(f"it has no {dtype}{_remedy(value)}")
    return value


def same_value(one: Any, other: Any) -> bool:
    """Return whether two values of attributes are equal; NaN is, and a list of one is its item."""
    if one is None or other is None:
        return one is other
    one, other = (_texts(v) if isinstance(v, (bytes, list)) else v for v in (one, other))
    a, b = np.atleast_1d(np.asarray(one)), np.atleast_1d(np.asarray(other))
    numeric = a.dtype.kind in "biufc"
    if numeric != (b.dtype.kind in "biufc"):
        return False
    return bool(np.array_equal(a, b, equal_nan=numeric))


def stored_texts(func: str, name: str, values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return texts of a NetCDF variable: single bytes as they are, others as Python's texts."""
    if values.dtype == np.dtype("S1"):
        return values
    found = np.empty(values.shape, object)
    try:
        for i, text in enumerate(values.reshape(-1).tolist()):
            if not isinstance(text, (str, bytes)):
                raise _NotStorableError(f"it is {short(text)}; expected a text")
            found.reshape(-1)[i] = _text(text)
    except _NotStorableError as why:
        raise TypeError(f"{func}: NetCDF cannot store an element of {name!r}: {why}") from None
    return found
