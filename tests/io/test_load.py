"""Reading HDF5 and NetCDF: every split and dtype against the libraries' own reading, and errors."""

from __future__ import annotations

import builtins
from functools import partial
from pathlib import Path

import h5py
import netCDF4
import numpy as np
import pytest

import heat_array_api as xp
from files import shared_folder
from heat_array_api.io._agreement import attempt
from heat_array_api.io._hdf5 import load_hdf5
from heat_array_api.io._netcdf import _Variable, load_netcdf
from heat_array_api.io._read import Source
from layouts import assert_equal, same_everywhere

SPLITS = (None, 0, 1, 2, -1)
SHAPE = (3, 5, 7)  # fewer rows than ranks, for some axes and numbers of ranks
INTEGERS = ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]
NAMES = [*INTEGERS, "float32", "float64"]
HDF5_ONLY = ["bool", "float16", "complex64", "complex128"]


@pytest.fixture(scope="module")
def folder(comm):
    """Return a folder that is the same on all ranks."""
    with shared_folder(comm) as path:
        yield path


def write(comm, func):
    """Run `func` on rank 0 while the others wait."""
    attempt("write", comm, func if comm.rank == 0 else lambda: None)


def values_of(dtype, shape=SHAPE):
    """Return values that use the dtype's range, the same on every rank."""
    dtype = np.dtype(dtype)
    n = int(np.prod(shape))
    if dtype.kind == "b":
        return (np.arange(n) % 3 == 0).reshape(shape)
    if dtype.kind in "iu":
        info = np.iinfo(dtype)
        # Not the least value of signed integers: near it NetCDF has its default fill values.
        low, high = (0 if dtype.kind == "u" else info.min // 2), info.max - 2
        step = (high - low) // n
        return (low + step * np.arange(n).astype(object)).astype(dtype).reshape(shape)
    values = np.linspace(-100, 100, n)
    if dtype.kind == "c":
        values = values + 1j * np.arange(n)
    return values.astype(dtype).reshape(shape)


def expect_error(comm, kind, match, func):
    """Check that `func` raises the same error on every rank."""
    with pytest.raises(kind, match=match) as caught:
        func()
    same_everywhere("the error", str(caught.value), comm)


# ---------------------------------------------------------------- HDF5


@pytest.fixture(scope="module")
def hdf5(comm, folder):
    path = folder / "file.h5"

    def fill():
        with h5py.File(path, "w") as file:
            for name in NAMES + HDF5_ONLY:
                file[f"native/{name}"] = values_of(name)
                swapped = np.dtype(name).newbyteorder(">")
                file[f"big/{name}"] = values_of(name).astype(swapped)
            file["scalar"] = 2.5
            file["empty"] = np.zeros((0, 4), dtype=np.int32)
            file["text"] = "words"
            file["null"] = h5py.Empty("f4")
            file["bits/enum"] = np.asarray([0, 1, 2], dtype="i2")
            kinds = h5py.enum_dtype({"A": 0, "B": 1}, basetype="i2")
            file.create_dataset("kinds", data=[0, 1, 1, 0], dtype=kinds)
            file.create_dataset(
                "packed", data=values_of("float32"), chunks=(2, 2, 3), compression="gzip"
            )

    write(comm, fill)
    return path


@pytest.mark.parametrize("name", NAMES + HDF5_ONLY)
def test_hdf5_dtypes_and_splits(hdf5, name):
    expected = values_of(name)
    for split in SPLITS:
        for group in ("native", "big"):
            x = load_hdf5(hdf5, f"{group}/{name}", split=split)
            assert_equal(x, expected, split=None if split is None else split % 3, rtol=0, atol=0)
            assert x.is_balanced


def test_hdf5_chunked_and_filtered(hdf5):
    for split in SPLITS:
        assert_equal(load_hdf5(hdf5, "packed", split=split), values_of("float32"), rtol=0, atol=0)


def test_hdf5_shapes_without_rows_or_axes(hdf5):
    assert_equal(load_hdf5(hdf5, "scalar"), np.float64(2.5), split=None)
    assert_equal(load_hdf5(hdf5, "scalar", split=None), np.float64(2.5), split=None)
    for split in (None, 0, 1):
        assert_equal(load_hdf5(hdf5, "empty", split=split), np.zeros((0, 4), np.int32), split=split)


def test_hdf5_enumeration_is_its_integers(hdf5):
    assert_equal(load_hdf5(hdf5, "kinds", split=0), np.asarray([0, 1, 1, 0], dtype=np.int16))


@pytest.mark.parametrize("dtype", ["float32", "float64", "int16", "uint16", "complex64", "bool"])
def test_hdf5_conversion(hdf5, dtype):
    stored = values_of("int8")
    x = load_hdf5(str(hdf5), "native/int8", split=1, dtype=dtype)
    assert_equal(x, stored.astype(dtype), split=1, rtol=0, atol=0)


def test_hdf5_to_bfloat16(hdf5):
    ml_dtypes = pytest.importorskip("ml_dtypes")
    x = load_hdf5(hdf5, "native/float32", split=2, dtype=ml_dtypes.bfloat16)
    assert_equal(x, values_of("float32").astype(ml_dtypes.bfloat16), split=2, rtol=0, atol=0)


def test_default_split_applies(hdf5):
    with xp.set_options(default_split=-1):
        assert load_hdf5(hdf5, "native/int8").split == 2
        assert load_hdf5(hdf5, "native/int8", split=None).split is None
        assert load_hdf5(hdf5, "scalar").split is None


def test_each_rank_reads_its_slab(hdf5, comm, monkeypatch):
    read = []

    def watched(self, slab, dtype):
        read.append(slab)
        return values_of("float64")[slab]

    monkeypatch.setattr(Source, "read", watched)
    with xp.trace() as trace:
        x = load_hdf5(hdf5, "native/float64", split=1)
    start, count = x.layout.start, x.layout.count
    assert read == ([(slice(0, 3), slice(start, start + count), slice(0, 7))] if count else [])
    assert trace.collectives == (["allgather_object"] * 2 if comm.size > 1 else [])


def test_hdf5_errors(hdf5, comm, folder):
    cases = (
        (FileNotFoundError, "load_hdf5: .*no.h5", folder / "no.h5", "x", {}),
        (KeyError, r"load_hdf5: dataset 'x' is not in .*file.h5.*big, bits", hdf5, "x", {}),
        (KeyError, "load_hdf5: dataset 'native' .* is a group", hdf5, "native", {}),
        (TypeError, "load_hdf5: .* holds values of object", hdf5, "text", {}),
        (ValueError, "null dataspace", hdf5, "null", {}),
        (IndexError, "load_hdf5: split 3 is out", hdf5, "packed", {"split": 3}),
        (TypeError, "load_hdf5: dtype 'S3'", hdf5, "packed", {"dtype": "S3"}),
        (TypeError, "holds complex64", hdf5, "native/complex64", {"dtype": "float32"}),
        (ValueError, "load_hdf5: device is 'abacus'", hdf5, "packed", {"device": "abacus"}),
    )
    for kind, match, path, name, options in cases:
        expect_error(comm, kind, match, partial(load_hdf5, path, name, **options))
    write(comm, lambda: (folder / "rubbish.h5").write_bytes(b"not an HDF5 file"))
    expect_error(comm, OSError, "load_hdf5: ", lambda: load_hdf5(folder / "rubbish.h5", "x"))


def test_missing_on_one_rank(hdf5, comm):
    last = comm.size - 1
    path = hdf5.with_name("elsewhere.h5") if comm.rank == last else hdf5
    match = f"on rank {last} of {comm.size}" if comm.size > 1 else "elsewhere.h5"
    expect_error(comm, FileNotFoundError, match, lambda: load_hdf5(path, "packed", split=0))
    assert load_hdf5(hdf5, "packed", split=0).shape == SHAPE  # and the job goes on


@pytest.mark.parametrize("kind", [OSError, MemoryError, UnicodeError, builtins.ValueError])
def test_reading_fails_on_one_rank(hdf5, comm, monkeypatch, kind):
    def fails(self, slab, dtype):
        raise UnicodeDecodeError("utf-8", b"x", 0, 1, "bad") if kind is UnicodeError else kind()

    if comm.rank == 0:
        monkeypatch.setattr(Source, "read", fails)
    expected = ValueError if kind is UnicodeError else kind
    match = f"on rank 0 of {comm.size}" if comm.size > 1 else "load_hdf5: "
    expect_error(comm, expected, match, lambda: load_hdf5(hdf5, "packed", split=0))


def test_an_error_of_no_builtin_type(comm):
    class Odd(Exception):
        pass

    def step():
        raise Odd("very")

    expect_error(comm, RuntimeError, "^f: very$", lambda: attempt("f", comm, step))


def test_ranks_see_different_files(hdf5, comm):
    if comm.size == 1:
        pytest.skip("takes two ranks")
    name = "packed" if comm.rank == 0 else "native/int8"
    expect_error(comm, RuntimeError, "different files", lambda: load_hdf5(hdf5, name))


@pytest.mark.parametrize("package", ["h5py", "netCDF4"])
def test_missing_package(comm, monkeypatch, package, hdf5):
    importing = builtins.__import__

    def without(name, *args, **kwargs):
        if name == package:
            raise ImportError(name)
        return importing(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    load = load_hdf5 if package == "h5py" else load_netcdf
    expect_error(comm, ImportError, rf"{package}.*heat_array_api\[io\]", lambda: load(hdf5, "x"))


# ---------------------------------------------------------------- NetCDF


def fill_netcdf(path):
    """Write variables of every dtype and of every kind of packing."""
    with netCDF4.Dataset(path, "w") as file:
        for name, n in zip("abc", SHAPE, strict=True):
            file.createDimension(name, n)
        file.createDimension("record", None)
        for name in NAMES:
            for endian, mark in (("little", "<"), ("big", ">")):
                order = np.dtype(name).newbyteorder(mark)
                options = {} if order.itemsize == 1 else {"endian": endian}
                variable = file.createVariable(f"{endian}_{name}", order, tuple("abc"), **options)
                variable[:] = values_of(name)
        file.createVariable("scalar", "f4", ())[...] = 1.5
        file.createVariable("missing_scalar", "f4", (), fill_value=-1)[...] = -1
        file.createVariable("empty", "i4", ("record", "b"))
        file.createVariable("text", str, ("a",))
        file.createVariable("letters", "S1", ("a",))
        kinds = file.createEnumType(np.int8, "kinds", {"A": 0, "B": 1})
        file.createVariable("enum", kinds, ("a",))[:] = np.asarray([0, 1, 1], dtype=np.int8)
        group = file.createGroup("outer").createGroup("inner")
        group.createVariable("deep", "f8", ("a", "b"))[:] = np.arange(15.0).reshape(3, 5)
        masked(file)


def masked(file):
    """Write variables with missing values, stored as they are: netCDF4 does no packing here."""

    def add(name, dtype, values, fill=None, **attributes):
        variable = file.createVariable(name, dtype, ("a", "b"), fill_value=fill)
        variable.set_auto_maskandscale(False)
        variable.setncatts(attributes)
        variable[:] = np.asarray(values, dtype=dtype).reshape(3, 5)

    ramp = np.arange(15)
    add("float_fill", "f4", ramp, fill=np.float32(7))
    add("float_missing", "f8", ramp, missing_value=3.0)
    add("float_two_missing", "f8", ramp, missing_value=np.asarray([3.0, 5.0]))
    add("float_valid", "f4", ramp, valid_range=np.asarray([2, 11], dtype="f4"))
    add("float_nan", "f8", np.where(ramp == 4, np.nan, ramp), fill=np.nan)
    add("int_fill", "i2", ramp, fill=np.int16(7))
    add("int_fill_unused", "i8", 2**60 + ramp, fill=np.int64(-1))
    add("packed", "i2", ramp * 100, fill=np.int16(700), scale_factor=0.01, add_offset=273.15)
    single = {"scale_factor": np.float32(0.5), "add_offset": np.float32(2)}
    add("packed_single", "i2", ramp, **single)
    add("packed_single_of_32_bits", "i4", ramp, **single)
    add("packed_offset", "u1", ramp, add_offset=10.0)
    add("packed_integer_scale", "i4", ramp, scale_factor=np.int32(3))
    add("unsigned", "i1", ramp * 17 - 120, _Unsigned="true")
    add("packed_float", "f4", ramp, fill=np.float32(7), scale_factor=np.float32(2))
    unwritten = file.createVariable("unwritten", "f4", ("a", "b"))
    unwritten[0, :] = np.arange(5)


MASKED = {
    "float_fill": "float32",
    "float_missing": "float64",
    "float_two_missing": "float64",
    "float_valid": "float32",
    "float_nan": "float64",
    "int_fill": "float32",
    "packed": "float64",
    "packed_single": "float32",
    "packed_single_of_32_bits": "float64",
    "packed_offset": "float64",
    "packed_integer_scale": "float64",
    "unsigned": "uint8",
    "packed_float": "float32",
    "unwritten": "float32",
}


@pytest.fixture(scope="module")
def netcdf(comm, folder):
    path = folder / "file.nc"
    write(comm, lambda: fill_netcdf(path))
    return path


@pytest.mark.parametrize("name", NAMES)
def test_netcdf_dtypes_and_splits(netcdf, name):
    expected = values_of(name)
    for split in SPLITS:
        for endian in ("little", "big"):
            x = load_netcdf(netcdf, f"{endian}_{name}", split=split)
            assert_equal(x, expected, split=None if split is None else split % 3, rtol=0, atol=0)


@pytest.mark.parametrize("name", MASKED)
def test_netcdf_decodes_as_the_library(netcdf, name):
    with netCDF4.Dataset(netcdf) as file:
        decoded = np.ma.asarray(file[name][:])
        file[name].set_auto_maskandscale(False)
        stored = file[name][:]
    dtype = np.dtype(MASKED[name])
    expected = decoded.astype(dtype)
    if dtype.kind == "f":
        expected = expected.filled(np.nan)
    for split in (None, 0, 1):
        assert_equal(load_netcdf(netcdf, name, split=split), expected, split=split)
        x = load_netcdf(netcdf, name, split=split, raw=True)
        assert_equal(x, stored, split=split, rtol=0, atol=0)


# Attributes of `_Unsigned` int16 variables, and the least and greatest number that is valid.
UNSIGNED_LIMITS = [
    ({"valid_range": np.asarray([0, -6], dtype="i2")}, 0, 65530),  # as in GOES-16 files
    ({"valid_range": np.asarray([0, 65530], dtype="u2")}, 0, 65530),
    ({"valid_range": np.asarray([0, 65530], dtype="i4")}, 0, 65530),
    ({"valid_range": np.asarray([5, 65530], dtype="f8")}, 5, 65530),
    ({"valid_min": np.int16(5)}, 5, 65535),
    ({"valid_max": np.int16(-6)}, 0, 65530),
    ({"valid_max": np.int16(-6), "valid_min": np.int16(5)}, 5, 65530),
    ({"valid_range": np.asarray([0, 2**20], dtype="i4")}, 0, 65535),
]
UNSIGNED_BITS = np.asarray([0, 1, 5, 100, -2, -1, -6, -5, 32767, -32768, -100, 7, 9, 11, 13], "i2")


def test_netcdf_limits_of_unsigned_variables_are_unsigned(folder, comm):
    path = folder / "unsigned.nc"
    scales = [{}, {"scale_factor": np.float32(0.5), "add_offset": np.float32(2)}]
    fills = [{}, {"missing_value": np.asarray([-5, 9], dtype="i2")}]
    cases = [
        (a | s | m, low, high) for a, low, high in UNSIGNED_LIMITS for s in scales for m in fills
    ]

    def fill():
        with netCDF4.Dataset(path, "w") as file:
            file.createDimension("a", 15)
            for i, (attributes, _, _) in enumerate(cases):
                variable = file.createVariable(f"v{i}", "i2", ("a",), fill_value=np.int16(-1))
                variable.set_auto_maskandscale(False)
                variable.setncatts({"_Unsigned": "true"} | attributes)
                variable[:] = UNSIGNED_BITS

    write(comm, fill)
    bits = UNSIGNED_BITS.view("u2")
    for i, (attributes, low, high) in enumerate(cases):
        missing = (bits == 65535) | (bits < low) | (bits > high)
        if "missing_value" in attributes:
            missing |= (bits == 65531) | (bits == 9)
        scale = attributes.get("scale_factor", 1)
        expected = bits.astype("float32") * scale + attributes.get("add_offset", 0)
        expected = np.where(missing, np.nan, expected).astype("float32")
        for split in (None, 0):
            assert_equal(load_netcdf(path, f"v{i}", split=split), expected, split=split)


def test_netcdf_integers_with_a_fill_value_stay_exact_on_request(netcdf, comm):
    name = "int_fill_unused"
    exact = 2**60 + np.arange(15).reshape(3, 5)
    assert_equal(load_netcdf(netcdf, name, split=0), exact.astype(np.float64))
    assert_equal(load_netcdf(netcdf, name, split=0, dtype=xp.int64), exact)
    match = "load_netcdf: variable 'int_fill' has missing values, which int32"
    expect_error(
        comm, ValueError, match, lambda: load_netcdf(netcdf, "int_fill", split=0, dtype=xp.int32)
    )


def test_netcdf_shapes_without_rows_or_axes(netcdf):
    assert_equal(load_netcdf(netcdf, "scalar", split=None), np.float32(1.5), split=None)
    assert_equal(load_netcdf(netcdf, "missing_scalar"), np.float32(np.nan), split=None)
    for split in (None, 0, 1):
        x = load_netcdf(netcdf, "empty", split=split)
        assert_equal(x, np.zeros((0, 5), np.int32), split=split)


def test_netcdf_groups_and_enumerations(netcdf):
    deep = np.arange(15.0).reshape(3, 5)
    assert_equal(load_netcdf(netcdf, "outer/inner/deep", split=1), deep, split=1)
    assert_equal(load_netcdf(netcdf, "/outer/inner/deep", split=0), deep, split=0)
    assert_equal(load_netcdf(netcdf, "enum", split=0), np.asarray([0, 1, 1], dtype=np.int8))


@pytest.mark.parametrize("dtype", ["float16", "float32", "int64", "complex128"])
def test_netcdf_conversion(netcdf, dtype):
    x = load_netcdf(netcdf, "little_int8", split=2, dtype=dtype)
    assert_equal(x, values_of("int8").astype(dtype), split=2, rtol=0, atol=0)
    if dtype != "int64":
        expected = np.where(np.arange(15) == 7, np.nan, np.arange(15)).reshape(3, 5)
        assert_equal(load_netcdf(netcdf, "float_fill", dtype=dtype), expected.astype(dtype))


def test_netcdf_errors(netcdf, comm, folder):
    cases = (
        (FileNotFoundError, "load_netcdf: .*no.nc", folder / "no.nc", "x", {}),
        (
            KeyError,
            "load_netcdf: variable 'x' is not in .*the variables little_int8",
            netcdf,
            "x",
            {},
        ),
        (KeyError, "variable 'mid/x' is not in .* the groups outer", netcdf, "mid/x", {}),
        (KeyError, "'outer/inner/x' .* variables deep", netcdf, "outer/inner/x", {}),
        (KeyError, "'outer/x' .* it has no variables", netcdf, "outer/x", {}),
        (TypeError, "holds values of object", netcdf, "text", {}),
        (TypeError, r"holds values of \|S1", netcdf, "letters", {}),
        (IndexError, "load_netcdf: split -4 is out", netcdf, "little_int8", {"split": -4}),
    )
    for kind, match, path, name, options in cases:
        expect_error(comm, kind, match, partial(load_netcdf, path, name, **options))


def test_netcdf_reading_fails_on_one_rank(netcdf, comm, monkeypatch):
    def fails(self, slab, dtype):
        raise OSError("disk gone")

    if comm.rank == comm.size - 1:
        monkeypatch.setattr(_Variable, "read", fails)
    expect_error(comm, OSError, "disk gone", lambda: load_netcdf(netcdf, "little_int8"))


def test_real_file():
    iris_sample_data = pytest.importorskip("iris_sample_data")
    path = Path(iris_sample_data.path) / "E1_north_america.nc"
    with netCDF4.Dataset(path) as file:
        expected = file["air_temperature"][:].filled(np.nan)
        forecast = file["forecast_period"][:].filled()
    for split in SPLITS:
        assert_equal(load_netcdf(path, "air_temperature", split=split), expected, rtol=0, atol=0)
    assert_equal(load_netcdf(path, "forecast_period", split=0), forecast)
    assert load_netcdf(path, "height").shape == ()


def test_real_file_with_a_land_mask():
    iris_sample_data = pytest.importorskip("iris_sample_data")
    path = Path(iris_sample_data.path) / "ostia_monthly.nc"
    with netCDF4.Dataset(path) as file:
        expected = file["surface_temperature"][:].filled(np.nan)
    for split in SPLITS:
        x = load_netcdf(path, "surface_temperature", split=split, dtype=xp.float64)
        assert_equal(x, expected.astype(np.float64), rtol=0, atol=0)
