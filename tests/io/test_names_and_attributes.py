"""Names and attributes: what a format stores its own library reads back; all else is refused.

A refusal leaves the folder byte for byte as it was, and is the same on all ranks.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import math
import re
import string
from functools import partial
from typing import NamedTuple

import h5py
import netCDF4
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import heat_array_api as xp
from files import shared_folder
from heat_array_api import io
from heat_array_api.io._agreement import at_root
from layouts import assert_equal, same_everywhere

VALUES = np.arange(6.0).reshape(3, 2)


@pytest.fixture(scope="module")
def folder(comm):
    with shared_folder(comm) as path:
        yield path


def on_one_rank(comm, step):
    return at_root("test", comm, step)


# ---------------------------------------------------------------- what the libraries read


class Found(NamedTuple):
    """What a format's own library reads: the names of arrays, attributes of "x" and the file."""

    arrays: dict
    of_x: dict
    of_file: dict


def by_h5py(path):
    with h5py.File(path) as file:
        arrays = {}
        file.visititems(lambda n, v: arrays.update({n: v[...]}) if hasattr(v, "shape") else None)
        return Found(arrays, dict(file["x"].attrs) if "x" in file else {}, dict(file.attrs))


def by_netcdf4(path):
    def visit(group, prefix):
        for name, variable in group.variables.items():
            variable.set_auto_maskandscale(False)
            yield prefix + name, np.asarray(variable[...])
        for name, inner in group.groups.items():
            yield from visit(inner, f"{prefix}{name}/")

    def attributes(of):
        return {key: of.getncattr(key) for key in of.ncattrs()}

    with netCDF4.Dataset(path) as file:
        of_x = attributes(file.variables["x"]) if "x" in file.variables else {}
        return Found(dict(visit(file, "")), of_x, attributes(file))


def by_zarr(path):
    root = pytest.importorskip("zarr").open_group(str(path), mode="r")
    arrays = {name: v[...] for name, v in root.members(max_depth=None) if hasattr(v, "shape")}
    return Found(arrays, dict(root["x"].attrs) if "x" in arrays else {}, dict(root.attrs))


FORMATS = {"hdf5": ("a.h5", by_h5py), "netcdf": ("a.nc", by_netcdf4), "zarr": ("a.zarr", by_zarr)}


def plain(value, kind):
    """Return a value without the types by which libraries give it back."""
    if isinstance(value, (np.ndarray, torch.Tensor, xp.Array)):
        value = np.asarray(value)
        value = value.astype(str) if value.dtype.kind == "S" else value
        value = value.tolist()
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, h5py.Empty):
        return f"Empty {value.dtype}"
    if isinstance(value, (list, tuple)):
        items = [plain(v, kind) for v in value]
        return items[0] if kind == "netcdf" and len(items) == 1 else items
    if isinstance(value, dict):
        return {key: plain(v, kind) for key, v in value.items()}
    return value


def same(one, other):
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[k], other[k]) for k in one)
    if isinstance(one, (str, dict, list)) != isinstance(other, (str, dict, list)):
        return False
    return one == other or (one != one and other != other)


def contents(folder):
    """Return every file below a folder with its bytes' digest."""
    return {
        str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest()
        if p.is_file()
        else ""
        for p in folder.rglob("*")
    }


def attempted(folder, comm, save):
    """Save; return None, or the error. Then nothing in the folder has changed."""
    before = on_one_rank(comm, lambda: contents(folder))
    try:
        save()
        error = None
    except Exception as caught:
        error = caught
    same_everywhere("the error", repr(error), comm)
    if error is not None:
        assert on_one_rank(comm, lambda: contents(folder)) == before
    return error


def refused(folder, comm, kind, match, save):
    error = attempted(folder, comm, save)
    assert isinstance(error, kind), error
    assert re.search(match, str(error)), error


# ---------------------------------------------------------------- values of attributes


def split_array():
    return xp.asarray([1.0, 2.0, 3.0], split=0)


ATTRIBUTES = {
    "a text": ("é€😀\n\x01", "hnz"),
    "an empty text": ("", "hnz"),
    "a text with NUL": ("a\0b", "z"),
    "half of a pair": ("\ud800", "z"),
    "a long text": ("x" * 70_000, "hnz"),
    "bytes": (b"abc", "hn"),
    "bytes that are no text": (b"\xff\xfe", ""),
    "bytes with NUL": (b"a\0", ""),
    "True": (True, "hz"),
    "NumPy's True": (np.True_, "hz"),
    "truths": ([True, False], "hz"),
    "int": (3, "hnz"),
    "int of 64 bits": (2**64 - 1, "hnz"),
    "a larger int": (2**64, "z"),
    "the least int": (-(2**63), "hnz"),
    "float": (0.1, "hnz"),
    "nan": (math.nan, "hnz"),
    "inf": (-math.inf, "hnz"),
    "complex": (1 + 2j, "h"),
    "complex64": (np.complex64(1j), "h"),
    "float16": (np.float16(0.5), "hnz"),
    "float16s": (np.asarray([0.5, 1], "f2"), "hnz"),
    "float32": (np.float32(0.1), "hnz"),
    "longdouble": (np.longdouble("0.1"), "h"),
    "int8": (np.int8(-3), "hnz"),
    "uint64": (np.uint64(2**63), "hnz"),
    "ints": ([1, 2], "hnz"),
    "a tuple": ((1, 2), "hnz"),
    "one int": ([1], "hnz"),
    "no ints": ([], "hnz"),
    "a matrix": ([[1, 2], [3, 4]], "hz"),
    "an empty matrix": ([[]], "hz"),
    "ragged lists": ([[1], [2, 3]], "z"),
    "0-d": (np.asarray(3), "hnz"),
    "int16s": (np.arange(3, dtype="i2"), "hnz"),
    "the other byte order": (np.arange(3, dtype=">i2"), "hnz"),
    "an array of two axes": (np.zeros((2, 2)), "hz"),
    "an empty array": (np.zeros(0, "i4"), "hnz"),
    "many": (np.arange(10_000), "nz"),
    "texts": (["a", "bb", ""], "hnz"),
    "one text": (["a"], "hnz"),
    "NumPy's texts": (np.asarray(["a", "bb"]), "hnz"),
    "texts as objects": (np.asarray(["a", "bb"], object), "hnz"),
    "NumPy's bytes": (np.asarray([b"a", b"bb"]), "hn"),
    "texts with NUL": (["a\0", "b"], "z"),
    "a matrix of texts": ([["a", "b"], ["c", "d"]], "hz"),
    "many texts": (["a"] * 5000, "nz"),
    "texts and numbers": ([1, "a"], "z"),
    "ints and floats": ([1, 2.5], "hnz"),
    "ints that no dtype holds": ([2**63 + 1, -1], "z"),
    "an int that floats round": ([2**53 + 1, 0.5], "z"),
    "None": (None, "z"),
    "a list with None": ([1, None], "z"),
    "a dict": ({"a": {"b": [1, "c"]}}, "z"),
    "a dict with an int": ({1: 2}, ""),
    "a set": ({1}, ""),
    "a date": (dt.date(2020, 1, 1), ""),
    "a datetime64": (np.datetime64("2020-01-01"), ""),
    "datetimes": (np.asarray(["2020"], "M8[s]"), ""),
    "a timedelta": (np.timedelta64(1, "s"), ""),
    "opaque": (np.void(b"abc"), "h"),
    "a record": (np.zeros((), [("a", "i4"), ("b", "f8")])[()], "h"),
    "HDF5's empty": (h5py.Empty("f8"), "h"),
    "an object": (object(), ""),
    "a function": (len, ""),
    "a tensor": (torch.arange(3), "hnz"),
    "an array of ours": (xp.asarray([1.5, 2.5], split=None), "hnz"),
    "a scalar of ours": (xp.asarray(1.5), "hnz"),
    "a split array of ours": (split_array, ""),
}


@pytest.mark.parametrize("kind", FORMATS)
def test_values_of_attributes(kind, folder, comm):
    """Every value is read back as it was given, or refused; `info` says what the library says."""
    if kind == "zarr":
        pytest.importorskip("zarr")
    file, read = FORMATS[kind]
    x, path = xp.asarray(VALUES, split=0), folder / file
    io.save({"x": x}, path)
    for case, (value, formats) in ATTRIBUTES.items():
        value = value() if value is split_array else value
        for owner in ("x", ""):
            save = partial(io.save, {"x": x}, path, attributes={owner: {"note": value, "b": 1}})
            error = attempted(folder, comm, save)
            assert (error is None) == (kind[0] in formats), (case, error)
            if error is not None:
                assert isinstance(error, TypeError), (case, error)
                assert f"save_{kind}: attributes of " in str(error), (case, error)
                assert "'note' is" in str(error), (case, error)
                continue
            found, expected = on_one_rank(comm, partial(read, path)), plain(value, kind)
            own = found.of_x if owner else found.of_file
            assert same(plain(own["note"], kind), expected), (case, own["note"])
            told = io.info(path)
            told = told["x"].attributes if owner else told.attributes
            assert told.keys() == own.keys() == {"note", "b"}
            assert same(plain(told["note"], kind), expected), (case, told["note"])
            comm.barrier()


# ---------------------------------------------------------------- names

NAMES = {
    "x": "hnz",
    "x y": "hnz",
    "x.y": "hnz",
    "1a": "hnz",
    "é😀": "hnz",
    "é" * 124: "hnz",
    "é" * 128: "h",
    "a" * 256: "h",
    "a" * 300: "h",
    "a" * 70_000: "h",
    "a//b": "",
    "a/./b": "",
    "../b": "h",
    "..": "h",
    ".": "",
    "a/..": "h",
    " ": "hz",
    "a ": "hz",
    " a": "hz",
    "a\n": "hz",
    "a\x01": "hz",
    "a\x7f": "hz",
    "a\0b": "",
    "\ud800": "",
    "-a": "hz",
    "@c": "hz",
    "a\\b": "hn",
    "e\u0301": "hz",
    "zarr.json": "hn",
    ".zgroup": "h",
    "g/zarr.json": "hn",
    "_nc4_non_coord_a": "hz",
    "_FillValue": "hnz",
    "DIMENSION_LIST": "hnz",
    "__a": "hnz",
}


@pytest.mark.parametrize("kind", FORMATS)
def test_names_of_arrays(kind, folder, comm):
    if kind == "zarr":
        pytest.importorskip("zarr")
    file, read = FORMATS[kind]
    x, path = xp.asarray(VALUES, split=0), folder / file
    noun = {"hdf5": "dataset", "netcdf": "variable", "zarr": "array"}[kind]
    for name, formats in NAMES.items():
        io.save({"kept": x}, path)
        for arrays, alone, mode in (({name: x}, None, "a"), (x, name, "w")):
            error = attempted(folder, comm, partial(io.save, arrays, path, alone, mode=mode))
            assert (error is None) == (kind[0] in formats), (name[:20], error)
            if error is not None:
                assert isinstance(error, ValueError), (name[:20], error)
                assert f"save_{kind}: {noun} is " in str(error), (name[:20], error)
                assert len(str(error)) < 300
                continue
            found = on_one_rank(comm, partial(read, path))
            assert set(found.arrays) == ({name, "kept"} if mode == "a" else {name})
            np.testing.assert_array_equal(found.arrays[name], VALUES)
            assert set(io.info(path)) == set(found.arrays)
            assert_equal(io.load(path, name, split=0), VALUES)
            comm.barrier()


OF_ATTRIBUTES = {
    "units": "hnz", "a b": "hnz", "é" * 127: "hnz", "a" * 300: "hz", "a" * 70_000: "z", "": "z",
    "a/b": "hz", "a ": "hz", "a\n": "hz", "a\0": "z", "\ud800": "z", "-a": "hz", "e\u0301": "hz",
    "DIMENSION_LIST": "z", "REFERENCE_LIST": "z", "CLASS": "hz", "NAME": "hz",
    "_NCProperties": "hz", "_Netcdf4Dimid": "hz", "_Netcdf4Coordinates": "hz",
    "_nc3_strict": "hz", "_Format": "hz", "_IsNetcdf4": "hz", "_SuperblockVersion": "hz",
    "_Codecs": "hz", "_ARRAY_DIMENSIONS": "hz", "_ChunkSizes": "hnz", "_nc4_non_coord_a": "hz",
    3: "", None: "", b"a": "", ("a",): "",
}  # fmt: skip


@pytest.mark.parametrize("kind", FORMATS)
def test_names_of_attributes(kind, folder, comm):
    if kind == "zarr":
        pytest.importorskip("zarr")
    file, read = FORMATS[kind]
    x, path = xp.asarray(VALUES, split=0), folder / file
    io.save({"x": x}, path)
    for name, formats in OF_ATTRIBUTES.items():
        for owner in ("x", ""):
            save = partial(io.save, {"x": x}, path, attributes={owner: {name: "a"}})
            error = attempted(folder, comm, save)
            assert (error is None) == (kind[0] in formats), (str(name)[:20], error)
            if error is not None:
                assert isinstance(error, (TypeError, ValueError)), (name, error)
                assert f"save_{kind}: attributes of " in str(error), (name, error)
                continue
            found = on_one_rank(comm, partial(read, path))
            assert (found.of_x if owner else found.of_file) == {name: "a"}
            told = io.info(path)
            assert (told["x"].attributes if owner else told.attributes) == {name: "a"}
            comm.barrier()


def test_names_of_dimensions(folder, comm):
    x, path = xp.asarray(VALUES, split=0), folder / "a.nc"
    io.save({"x": x}, path)
    for name in (
        "a/b", "", ".", " ", "a ", "-a", "a\n", "a\0", "\ud800", "e\u0301", "a" * 256, "a" * 300,
        "_nc4_non_coord_a",
    ):  # fmt: skip
        match = "save_netcdf: dims has "
        refused(folder, comm, ValueError, match, lambda n=name: io.save(x, path, dims=(n, "b")))
        coords = {name: np.arange(3.0)}
        refused(folder, comm, ValueError, match, lambda c=coords: io.save(x, path, coords=c))
    for dims in ((1, "b"), (None, "b"), {"x": (b"a", "b")}):
        refused(folder, comm, TypeError, "dims", lambda d=dims: io.save({"x": x}, path, dims=d))
    for dims in (("a", "a"), ("a",), ("a", "b", "c")):
        match = "dims of 'data' is .*expected 2 different names"
        refused(folder, comm, ValueError, match, lambda d=dims: io.save(x, path, dims=d))
    match = "would be read as complex"
    refused(folder, comm, ValueError, match, lambda: io.save(x, path, dims=("a", "complex")))
    for dims in (("é" * 127, "b"), ("complex", "b"), ("_FillValue", "NAME"), ("data", "b")):
        io.save(x, path, dims=dims)
        assert io.info(path)["data"].dims == dims
        np.testing.assert_array_equal(on_one_rank(comm, partial(by_netcdf4, path)).arrays["data"],
                                      VALUES)  # fmt: skip
        assert_equal(io.load(path, "data", split=0), VALUES)
        comm.barrier()


@pytest.mark.parametrize("kind", FORMATS)
def test_names_that_are_taken(kind, folder, comm):
    """A new array never takes the place of a group and what is in it."""
    if kind == "zarr":
        pytest.importorskip("zarr")
    file, read = FORMATS[kind]
    x, path = xp.asarray(VALUES, split=0), folder / file
    io.save({"x": x, "g/y": x}, path, attributes={"x": {"units": "K"}})
    for arrays, match in (
        ({"a": x, "a/b": x}, "is 'a/b', but 'a' is an array"),
        ({"g": x}, "is 'g', which is a group of the file"),
        ({"x/y": x}, "is 'x/y', which cannot be added to the file: 'x' in it is no group"),
        ({"g/y/z": x}, "is 'g/y/z', which cannot be added to the file: 'g/y' in it is no"),
    ):
        save = partial(io.save, arrays, path, mode="a")
        refused(folder, comm, ValueError, f"save_{kind}: .*{match}", save)
    replace = partial(io.save, {"x": x + 1, "z": x}, path, mode="a")
    if kind == "netcdf":
        refused(folder, comm, ValueError, "'x' is in the file, and NetCDF cannot", replace)
        return
    replace()
    found = on_one_rank(comm, partial(read, path))
    assert set(found.arrays) == {"x", "g/y", "z"}
    np.testing.assert_array_equal(found.arrays["x"], VALUES + 1)
    assert found.of_x == {}
    if kind == "zarr":
        io.save(x, path)  # the store is an array now
        refused(folder, comm, ValueError, "array is 'x', which .* it is no group", replace)


def test_attributes_of_nothing(folder, comm):
    x = xp.asarray(VALUES, split=0)
    for file in ("b.h5", "b.nc", "b.zarr"):
        if file == "b.zarr":
            pytest.importorskip("zarr")
        for attributes, kind in (
            ("ab", TypeError), ([1], TypeError), ({"x": 3}, TypeError),
            ({"x": [("a", 1)]}, TypeError),
            ({"y": {}}, KeyError), ({3: {}}, TypeError), ({0: {}}, TypeError),
            ({"x": {}, "/x": {}}, ValueError),
        ):  # fmt: skip
            save = partial(io.save, {"x": x}, folder / file, attributes=attributes)
            refused(folder, comm, kind, "save_.*: .*attributes", save)
    refused(
        folder, comm, KeyError, "save_netcdf: encoding of ''",
        lambda: io.save({"x": x}, folder / "b.nc", encoding={"": {"dtype": "int8"}}),
    )  # fmt: skip
    refused(
        folder, comm, ValueError, "save_zarr: attributes of '', but the store is an array",
        lambda: io.save(x, folder / "b.zarr", attributes={"": {"a": 1}}),
    )  # fmt: skip


# ---------------------------------------------------------------- attributes that describe storage


def write_netcdf(path, dtype, values, attributes):
    with netCDF4.Dataset(path, "w") as file:
        file.createDimension("t", len(values))
        fill = attributes.get("_FillValue")
        variable = file.createVariable("x", dtype, ("t",), fill_value=fill)
        variable.set_auto_maskandscale(False)
        rest = {key: value for key, value in attributes.items() if key != "_FillValue"}
        variable.setncatts(rest)
        variable[:] = np.asarray(values, dtype)


i1, i2, f4, f8 = np.int8, np.int16, np.float32, np.float64

STORED = {
    "packed": ("i2", [0, 1, -5, 300], {"scale_factor": 0.01, "add_offset": 273.15, "units": "K"}),
    "packed, float32": ("i2", [0, 1, -5, 300], {"scale_factor": f4(0.5), "_FillValue": i2(-5)}),
    "offset": ("i4", [0, 1, -5, 300], {"add_offset": 7}),
    "unsigned": ("i1", [0, 1, -5, 100], {"_Unsigned": "true"}),
    "not unsigned": ("i1", [0, 1, -5, 100], {"_Unsigned": "false"}),
    "GOES": ("i2", [0, -6, -1, 300], {
        "_Unsigned": "true", "_FillValue": i2(-1), "valid_range": np.asarray([0, -6], "i2"),
        "scale_factor": f4(0.5), "add_offset": f4(2.0)}),
    "bool": ("i1", [0, 1, 1, 0], {"dtype": "bool"}),
    "missing": ("f4", [0, 1, -5, 300], {"missing_value": f4(-5)}),
    "two missing": ("f8", [0, 1, -5, 300], {"missing_value": np.asarray([-5.0, 300.0])}),
    "filled": ("f8", [0, 1, -5, 300], {"_FillValue": f8(-5), "long_name": "x"}),
    "NaN": ("f8", [0, 1, math.nan, 300], {"_FillValue": f8("nan")}),
    "limits": ("f4", [0, 1, -5, 300], {"valid_min": f4(0), "valid_max": f4(100)}),
    "range of integers": ("i2", [0, 1, -5, 300], {"valid_range": np.asarray([0, 99], "i2")}),
    "filled integers": ("i4", [0, 1, -5, 300], {"_FillValue": np.int32(-5)}),
}  # fmt: skip

PACKED = {"packed", "packed, float32", "offset", "unsigned", "not unsigned", "GOES"}


@pytest.mark.parametrize("case", STORED)
def test_attributes_copied_from_info(case, folder, comm):
    """Saved with them, values come back equal, or it is refused. With `encoding` all is equal."""
    xarray = pytest.importorskip("xarray")
    dtype, values, attributes = STORED[case]
    path, again = folder / "s.nc", folder / "again.nc"
    on_one_rank(comm, lambda: write_netcdf(path, dtype, values, attributes))
    told = io.info(path)["x"]
    assert same(plain(told.attributes, "netcdf"), plain(attributes, "netcdf"))
    x = io.load(path, "x", split=0)
    expected = np.asarray(x)

    def check(array=expected):
        loaded = io.load(again, "x", split=0)
        assert_equal(loaded, array.astype(np.asarray(loaded).dtype), rtol=0, atol=0)

    save = partial(io.save_netcdf, x, again, "x", dims=("t",), attributes=told.attributes)
    if case in PACKED:
        match = "save_netcdf: attributes of 'x' has '.*', by which readers change"
        refused(folder, comm, ValueError, match, save)
    else:
        save()
        check()
    save = partial(save, encoding=told.encoding)
    if case == "range of integers":  # x has NaN, and the file no number that stands for it
        refused(folder, comm, ValueError, "would be stored as numbers from nan", save)
        return
    save()
    check()
    after = io.info(again)["x"]
    assert after.dtype == told.dtype
    assert same(plain(after.attributes, "netcdf"), plain(attributes, "netcdf"))
    raw = on_one_rank(comm, partial(by_netcdf4, again)).arrays["x"]
    there = expected == expected
    np.testing.assert_array_equal(raw[there], np.asarray(values, dtype)[there])

    def by_xarray():
        if case == "two missing":  # xarray warns of them
            return
        with xarray.open_dataset(path) as one, xarray.open_dataset(again) as other:
            np.testing.assert_array_equal(one["x"].values[there], other["x"].values[there])

    on_one_rank(comm, by_xarray)
    # In HDF5 and Zarr they are notes: nothing changes the values there.
    for file in ("s.h5", "s.zarr"):
        if file == "s.zarr":
            pytest.importorskip("zarr")
        io.save({"x": x}, folder / file, attributes={"x": told.attributes})
        assert_equal(io.load(folder / file, "x", split=0), expected, rtol=0, atol=0)
        noted = io.info(folder / file)["x"].attributes
        assert same(plain(noted, "netcdf"), plain(attributes, "netcdf"))


WRONG = [
    ({"scale_factor": 0}, {}, "scale_factor of 'x' is .*a number other than 0"),
    ({"scale_factor": "2"}, {}, "scale_factor of 'x' is '2'"),
    ({"scale_factor": [1.0, 2.0]}, {}, "scale_factor of 'x'"),
    ({"scale_factor": math.nan}, {}, "scale_factor of 'x'"),
    ({"add_offset": math.inf}, {}, "add_offset of 'x'"),
    ({"_FillValue": "a"}, {}, "_FillValue of 'x' is 'a'; expected numbers"),
    ({"_FillValue": [1.0, 2.0]}, {}, "_FillValue of 'x' .*expected one number"),
    ({"dtype": "int16", "_FillValue": 70_000}, {}, "70000, which int16 cannot hold"),
    ({"dtype": "int16", "_FillValue": 0.5}, {}, "0.5, which int16 cannot hold"),
    ({"dtype": "int16", "_FillValue": math.nan}, {}, "nan, which int16 cannot hold"),
    ({"dtype": "float32", "_FillValue": 1e300}, {}, "which float32 cannot hold"),
    ({"_Unsigned": "yes"}, {}, "expected 'true' or 'false'"),
    ({"_Unsigned": True}, {}, "_Unsigned"),
    ({"_Unsigned": "true"}, {}, "_Unsigned of 'x' is 'true', but it is stored as float64"),
    ({"dtype": "uint8", "_Unsigned": "false"}, {}, "'false', but it is stored as uint8"),
    ({"dtype": "S1"}, {}, "dtype of 'x' is .*; NetCDF cannot store float64 so"),
    ({"dtype": "bool"}, {}, "NetCDF cannot store float64 so"),
    ({"dtype": "complex64"}, {}, "NetCDF cannot store float64 so"),
    ({"dtype": "no"}, {}, "dtype of 'x' is 'no'; expected a dtype"),
    ({"valid_min": 1}, {}, "encoding of 'x' has .'valid_min'., which is unknown"),
    ({"_FillValue": 1.0}, {"_FillValue": 2.0}, "_FillValue of 'x' is .* in attributes, but"),
    ({"_FillValue": None}, {"_FillValue": 2.0}, "_FillValue of 'x' is .* in attributes, but"),
    ({}, {"dtype": "bool"}, "attributes of 'x' has dtype = 'bool', but the values are float64"),
    ({}, {"scale_factor": 1.0}, "attributes of 'x' has 'scale_factor', by which"),
    ({}, {"_Unsigned": "false"}, "attributes of 'x' has '_Unsigned', by which"),
    ({}, {"_FillValue": 2.0}, "'x' has values that readers would take for missing .*_FillValue"),
    ({}, {"missing_value": [9.0, 5.0]}, "'x' has values that readers would take for missing"),
    ({}, {"valid_max": 4}, "'x' has values that readers would take for missing .valid_max"),
    ({}, {"valid_min": 1}, "'x' has values that readers would take for missing .valid_min"),
    ({}, {"valid_range": [0, 4]}, "'x' has values that readers would take for missing"),
    ({"dtype": "int16"}, {"valid_range": [0, 4]}, "readers would take for missing"),
    ({}, {"valid_range": [0, 1, 2]}, "valid_range of 'x'"),
    ({}, {"valid_min": [0, 1]}, "valid_min of 'x'"),
    ({}, {"valid_min": "low"}, "valid_min of 'x' is 'low'; expected numbers"),
    ({"dtype": "int16"}, {"valid_max": 99.5}, "valid_max of 'x' is .*which int16 cannot hold"),
    ([("dtype", "int16")], {}, "encoding of 'x' is .*; expected a mapping"),
]  # fmt: skip


def test_wrong_encodings(folder, comm):
    x, path = xp.asarray(VALUES, split=0), folder / "w.nc"
    io.save({"x": x}, path)
    for encoding, attributes, match in WRONG:
        save = partial(
            io.save, {"x": x}, path, encoding={"x": encoding}, attributes={"x": attributes}
        )
        refused(folder, comm, (TypeError, ValueError), f"save_netcdf: .*{match}", save)
    for values in (VALUES > 2, VALUES + 0j):
        array = xp.asarray(values, split=0)
        for attributes in ({"_FillValue": 1}, {"valid_min": 0}):
            save = partial(io.save, {"x": array}, path, attributes={"x": attributes})
            refused(folder, comm, ValueError, "which has no ", save)
    good = {"_FillValue": 9.0, "valid_range": [0, 5], "missing_value": -1}
    for notes in (good, {"valid_min": 0}):
        io.save({"x": x}, path, attributes={"x": notes})
        assert_equal(io.load(path, "x", split=0), VALUES, rtol=0, atol=0)
        found = on_one_rank(comm, partial(by_netcdf4, path))
        assert same(plain(found.of_x, "netcdf"), notes)
        comm.barrier()


def test_rows_appended_to_packed_ones(folder, comm):
    """They are packed alike; what is said otherwise, or would be read otherwise, is refused."""
    x, path = xp.asarray(VALUES, split=0), folder / "p.nc"
    options = {"dims": {"x": "ty"}, "unlimited": "t"}
    packing = {"dtype": "int16", "scale_factor": 0.5, "add_offset": 1.0, "_FillValue": -9}
    notes = {"units": "K", "valid_range": [-8, 99], "levels": ["low", "high"]}
    io.save({"x": x}, path, encoding={"x": packing}, attributes={"x": notes}, **options)
    told = io.info(path)["x"]
    append = partial(io.save_netcdf, path=path, mode="a", append="t")
    for arrays, more, match in (
        ({"x": x}, {"attributes": {"x": {"units": "C"}}}, "has 'units' 'C', but 'K' in the file"),
        ({"x": x}, {"attributes": {"x": {"new": 1}}}, "has 'new' .*, but None in the file"),
        ({"x": x}, {"attributes": {"x": {"scale_factor": 0.1}}}, "scale_factor"),
        ({"x": x}, {"attributes": {"x": {"bad": [[1]]}}}, "which NetCDF cannot store"),
        ({"x": x}, {"encoding": {"x": {"scale_factor": 0.1}}}, "different in the file"),
        ({"x": x}, {"encoding": {"x": {"dtype": "no"}}}, "different in the file"),
        ({"x": x * 20}, {}, "that readers would take for missing"),
        ({"x": x * 0 - 3.5}, {}, "that readers would take for missing"),
        ({"x": x * 1e6}, {}, "that readers would take for missing"),
        ({"x": x > 0}, {}, "which has no|is int16 in the file"),
    ):
        save = partial(append, arrays, **more)
        refused(folder, comm, (TypeError, ValueError), f"save_netcdf: .*({match})", save)
    append({"x": x + 1}, attributes={"x": told.attributes, "": {"history": "more"}})
    append({"x": x + 2}, encoding={"x": told.encoding})
    expected = np.concatenate([VALUES, VALUES + 1, VALUES + 2])
    assert_equal(io.load(path, "x", split=0), expected, rtol=0, atol=0)
    after = io.info(path)
    assert same(plain(after["x"].attributes, "netcdf"), plain(told.attributes, "netcdf"))
    assert after.attributes == {"history": "more"}


def test_appending_looks_at_a_file_once(folder, comm, monkeypatch):
    from heat_array_api.io import _netcdf_save

    x, path = xp.asarray(VALUES, split=0), folder / "once.nc"
    io.save_netcdf(x, path, "x", dims="ty", unlimited="t")
    seen = []
    check = _netcdf_save.check_hdf5
    monkeypatch.setattr(_netcdf_save, "check_hdf5", lambda p: (seen.append(p), check(p)))
    io.save_netcdf(x, path, "x", mode="a", append="t")
    io.save_netcdf(x, path, "y", mode="a")
    assert seen == ([str(path)] * 2 if comm.rank == 0 else [])


def test_names_and_attributes_of_datasets(folder, comm):
    xarray = pytest.importorskip("xarray")
    x, path = xp.asarray(VALUES, split=0), folder / "d.nc"

    def dataset(name="x", dims=("t", "y"), attrs=None, whole=None, **more):
        variables = {name: xarray.Variable(dims, x, attrs), **more}
        return xarray.Dataset(variables, attrs=whole)

    texts = np.asarray(["a", None, "c"], object)
    for saved, match in (
        (dataset(1), "the Dataset has the name 1"),
        (dataset(dims=(1, "y")), "the Dataset has the name 1"),
        (dataset("a/b"), "variable is 'a/b'"),
        (dataset(dims=("a/b", "y")), "dims has 'a/b'"),
        (dataset(attrs={"a": [[1]]}), "attributes of 'x'"),
        (dataset(attrs={"a": None}), "attributes of 'x'"),
        (dataset(whole={"a": {}}), "attributes of the file"),
        (dataset(whole={1: 2}), "attributes of the file"),
        (dataset(attrs={"scale_factor": 0.1}), "attributes of 'x' has 'scale_factor'"),
        (dataset(attrs={"_FillValue": 2.0}), "readers would take for missing"),
        (dataset(names=("t", texts)), "NetCDF cannot store an element of 'names': it is nan"),
        (dataset(names=("t", ["a", "b\0d", "c"])), "NetCDF cannot store an element of 'names'"),
    ):
        save = partial(io.save_netcdf, saved, path)
        refused(folder, comm, (TypeError, ValueError), f"save_netcdf: .*{match}", save)
    good = dataset(names=("t", ["a", "é", ""]), attrs={"a": ["b", "c"]}, whole={"title": "t"})
    io.save_netcdf(good, path)
    found = on_one_rank(comm, partial(by_netcdf4, path))
    assert found.arrays["names"].tolist() == ["a", "é", ""]
    assert found.of_x == {"a": ["b", "c"]}
    assert found.of_file == {"title": "t"}


def test_checkpoints_know_no_encoding(folder, comm):
    x = xp.asarray(VALUES, split=0)
    tree = {"scale_factor": 0.5, "a/b": {"": {"..": x, "_FillValue": 1.0, "é\0": "\ud800"}}}
    io.save_checkpoint(folder / "state", tree)
    found = io.load_checkpoint(folder / "state")
    assert_equal(found["a/b"][""].pop(".."), VALUES)
    tree["a/b"][""].pop("..")
    assert found == tree


# ---------------------------------------------------------------- info


def write_all_kinds(path):
    """Every kind of attribute that h5py writes, links, and datasets without values."""
    enum = h5py.enum_dtype({"low": 1, "high": 2}, "i1")
    with h5py.File(path, "w") as file:
        x = file.create_dataset("x", data=VALUES)
        file["g/y"] = VALUES
        file["g/again"] = file["x"]
        file["soft"] = h5py.SoftLink("/g/y")
        file["g/up"] = h5py.SoftLink("/")
        file["lost"] = h5py.SoftLink("/nowhere")
        file["outside"] = h5py.ExternalLink("other.h5", "/x")
        file["nothing"] = h5py.Empty("f8")
        file["a type"] = np.dtype("f8")
        x.attrs["texts"] = ["a", "bb"]
        x.attrs["matrix of texts"] = [["a"], ["b"]]
        x.attrs["bytes"] = np.bytes_(b"abc")
        x.attrs["no text"] = np.bytes_(b"\xff")
        x.attrs["fixed"] = np.asarray([b"a", b"bb"])
        x.attrs["empty"] = h5py.Empty("S1")
        x.attrs["bool"] = True
        x.attrs["bools"] = [True, False]
        x.attrs["complex"] = 1j
        x.attrs["opaque"] = np.void(b"abc")
        x.attrs["record"] = np.zeros(2, [("a", "i4"), ("b", "f8")])
        x.attrs.create("enum", 2, dtype=enum)
        x.attrs["reference"] = file["g/y"].ref
        x.attrs["region"] = x.regionref[:1]
        x.attrs.create("references", [x.ref, file["g"].ref], dtype=h5py.ref_dtype)
        ragged = np.empty(2, object)
        ragged[:] = [np.arange(2), np.arange(3)]
        x.attrs.create("ragged", ragged, dtype=h5py.vlen_dtype("i8"))
        kind = np.dtype([("who", h5py.ref_dtype), ("n", "i4")])
        x.attrs.create("record of references", np.asarray([(x.ref, 3)], kind))
        space = h5py.h5s.create(h5py.h5s.SCALAR)
        h5py.h5a.create(x.id, b"time", h5py.h5t.UNIX_D32LE.copy(), space)
        x.dims[0].label = "t"
        scale = file.create_dataset("t", data=np.arange(3.0))
        scale.make_scale("t")
        x.dims[0].attach_scale(scale)
        return list(x.attrs)


def test_info_of_hdf5_has_all_attributes(folder, comm):
    path = folder / "kinds.h5"
    names = on_one_rank(comm, lambda: write_all_kinds(path))
    found = io.info(path)
    told = found["x"].attributes
    assert set(names) - told.keys() == {"DIMENSION_LIST"}
    expected = {
        "texts": ["a", "bb"], "matrix of texts": [["a"], ["b"]], "bytes": "abc",
        "no text": np.bytes_(b"\xff"), "bool": np.True_, "complex": 1j, "enum": 2,
        "opaque": np.void(b"abc"), "reference": "/g/y", "region": "/x",
        "references": ["/x", "/g"], "record of references": [["/x", 3]], "time": None,
    }  # fmt: skip
    for key, value in expected.items():
        assert told[key] == value, key
    assert told["empty"].dtype == np.dtype("S1")
    assert told["fixed"].tolist() == [b"a", b"bb"]
    assert told["bools"].tolist() == [True, False]
    assert told["record"].dtype.names == ("a", "b")
    assert [v.tolist() for v in told["ragged"]] == [[0, 1], [0, 1, 2]]
    # All names under which the datasets of this file can be loaded.
    assert set(found) == {"x", "g/y", "g/again", "soft", "nothing", "t"}
    assert found["nothing"].dtype is None
    for name in sorted(found.keys() - {"nothing"}):
        assert io.load(path, name, split=0).shape == found[name].shape
    assert set(found.groups) == {"", "g", "a type"}


def test_info_of_netcdf_has_all_attributes(folder, comm):
    path = folder / "kinds.nc"

    def write():
        with netCDF4.Dataset(path, "w") as file:
            file.createDimension("t", 2)
            group = file.createGroup("g")
            for owner in (file, group, file.createVariable("x", "f8", ("t",))):
                owner.setncatts(
                    {"text": "é", "texts": ["a", "b"], "n": np.int8(1), "k": [1.0, 2.0]}
                )
                owner.setncattr_string("string", "one")
                owner.setncattr("empty", "")
        with h5py.File(path, "a") as file:
            file["x"].attrs["bool"] = True  # netCDF4 lists it, or not; it cannot read it
            file["x"].attrs["no text"] = np.bytes_(b"\xff\xfe")

    def listed():
        with netCDF4.Dataset(path) as file:
            return [o.ncattrs() for o in (file["x"], file, file["g"])]

    on_one_rank(comm, write)
    names, found = on_one_rank(comm, listed), io.info(path)
    told = (found["x"].attributes, found.attributes, found.group_attributes("g"))
    for own, attributes in zip(names, told, strict=True):
        assert list(attributes) == own
        assert attributes["texts"] == ["a", "b"]
        assert attributes["string"] == "one"
        assert attributes["empty"] == ""


def test_info_of_zarr_has_all_attributes(folder, comm):
    zarr = pytest.importorskip("zarr")
    notes = {"a": [1, "b", None, {"c": [True, math.inf]}], "": "é", "n": 10**30}

    def write():
        for version in (2, 3):
            path = str(folder / f"kinds{version}.zarr")
            group = zarr.open_group(path, mode="w", zarr_format=version)
            inner = group.create_group("g")
            array = inner.create_array("x", shape=(2,), dtype="f8")
            for owner in (group, inner, array):
                owner.attrs.update(notes)

    on_one_rank(comm, write)
    for version in (2, 3):
        found = io.info(folder / f"kinds{version}.zarr")
        assert found.attributes == found.group_attributes("g") == notes
        assert found["g/x"].attributes == notes


# ---------------------------------------------------------------- anything

TEXTS = st.text(
    st.sampled_from(string.ascii_letters + "1_ ./-\\\0\n\x7fé😀\u0301\ud800"), max_size=6
)
NUMBERS = st.one_of(
    st.booleans(), st.integers(-(2**65), 2**65), st.floats(), st.complex_numbers(),
    st.sampled_from([np.int8, np.uint16, np.float16, np.float32, np.uint64]).map(lambda t: t(3)),
)  # fmt: skip
LISTS = st.recursive(
    st.one_of(NUMBERS, TEXTS, st.none(), st.binary(max_size=3)),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=5,
)
ANY = st.one_of(
    LISTS, TEXTS, st.dictionaries(TEXTS, LISTS, max_size=2), st.dates(),
    st.lists(NUMBERS, max_size=3).map(lambda v: np.asarray(v, object)),
)  # fmt: skip
WORDS = st.sampled_from(
    ["units", "note", "valid_min", "_FillValue", "scale_factor", "dtype", "CLASS"]
)


@given(
    kind=st.sampled_from(["hdf5", "netcdf", "zarr"]),
    name=st.one_of(st.just("x"), TEXTS.filter(lambda t: t.strip("/"))),
    attributes=st.dictionaries(st.one_of(TEXTS, WORDS), ANY, max_size=2),
    whole=st.dictionaries(TEXTS, ANY, max_size=1),
    mode=st.sampled_from("wa"),
)
def test_anything(folder, comm, kind, name, attributes, whole, mode):
    """It is refused before a byte, or read back; saved again as `info` says, it is the same."""
    if kind == "zarr":
        pytest.importorskip("zarr")
    file, read = FORMATS[kind]
    x, path = xp.asarray(VALUES, split=0), folder / file
    io.save({"kept": x}, path)
    notes = {name: attributes, "": whole}
    error = attempted(folder, comm, lambda: io.save({name: x}, path, mode=mode, attributes=notes))
    if error is not None:
        assert isinstance(error, (TypeError, ValueError)), error
        assert f"save_{kind}: " in str(error), error
        return
    name = name.strip("/")
    found, told = on_one_rank(comm, partial(read, path)), io.info(path)
    assert set(found.arrays) == set(told) == ({name, "kept"} if mode == "a" else {name})
    np.testing.assert_array_equal(found.arrays[name], VALUES)
    assert same(plain(told[name].attributes, kind), plain(attributes, kind))
    assert same(plain(told.attributes, kind), plain(found.of_file, kind))
    assert same(plain(told.attributes, kind), plain(whole, kind))
    assert_equal(io.load(path, name, split=0), VALUES, rtol=0, atol=0)
    comm.barrier()
    io.save({name: x}, path, attributes={name: told[name].attributes, "": told.attributes})
    again = io.info(path)
    assert same(plain(again[name].attributes, kind), plain(attributes, kind))
    assert_equal(io.load(path, name, split=0), VALUES, rtol=0, atol=0)
    comm.barrier()
