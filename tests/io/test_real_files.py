"""Files that others have made, of climate, oceans, cells and brains.

Every variable is compared with what h5py, netCDF4 and xarray read, in one process.
"""

from __future__ import annotations

import importlib.util

import h5py
import netCDF4
import numpy as np
import pytest

import heat_array_api as xp
from files import files_of, shared_folder
from heat_array_api import io
from layouts import assert_equal

SPLITS = (None, 0, 1, -1)


NETCDF = files_of("iris_sample_data", "*.nc")
HDF5 = files_of("scanpy", "10x_pbmc68k_reduced.h5ad") + [
    path for path in files_of("nibabel", "minc2*.mnc") if h5py.is_hdf5(path)
]
NEMO = [path for path in NETCDF if path.name.startswith("nemo")]


@pytest.fixture(scope="module")
def folder(comm):
    with shared_folder(comm) as path:
        yield path


def splits_of(shape):
    return [split for split in SPLITS if split is None or -len(shape) <= split < len(shape)]


def test_there_are_files():
    if importlib.util.find_spec("iris_sample_data") is None:
        pytest.skip("iris_sample_data is not installed")
    assert len(NETCDF) >= 14
    assert len(NEMO) == 3


def as_netcdf4(path, name):
    """Return what netCDF4 makes of a variable, with NaN where it is masked.

    Integers that declare nothing to be missing are all there.
    """
    with netCDF4.Dataset(path) as file:
        if file[name].dtype.kind in "iu" and "_FillValue" not in file[name].ncattrs():
            file[name].set_auto_mask(False)
        values = file[name][...]
    if np.ma.isMaskedArray(values) and values.dtype.kind == "f":
        return values.filled(np.nan)
    return np.ma.getdata(values)


@pytest.mark.parametrize("path", NETCDF, ids=lambda path: path.name)
def test_netcdf_as_netcdf4_reads_it(path):
    seen = 0
    for name, variable in io.info(path).items():
        if variable.dtype is None:
            with pytest.raises(TypeError, match="which no array can"):
                io.load_netcdf(path, name)
            continue
        expected = as_netcdf4(path, name)
        assert variable.shape == expected.shape
        for split in splits_of(expected.shape):
            x = io.load(path, name, split=split)
            assert_equal(x, expected.astype(x.dtype), rtol=0, atol=0)
            seen += 1
        raw = io.load(path, name, split=None, raw=True)
        assert raw.dtype == variable.dtype
    assert seen


@pytest.mark.parametrize("path", NETCDF, ids=lambda path: path.name)
def test_netcdf_as_xarray_reads_it(path, folder, comm):
    xarray = pytest.importorskip("xarray")
    expected = xarray.open_dataset(path, decode_times=False, engine="netcdf4")
    found = io.open_dataset(path, split=expected.sizes)
    assert_same_dataset(found, expected)
    io.save_netcdf(found, folder / path.name)
    again = xarray.open_dataset(folder / path.name, decode_times=False, engine="h5netcdf")
    time = [dim for dim in again.sizes if dim == "time"]
    assert_same_dataset(io.open_dataset(folder / path.name, split=time), again)
    assert_same_dataset(found, again)
    again.close()
    expected.close()


def never_written_is_nan(values):
    """Return NaN for cells that were never written, as netCDF4 has it; xarray leaves 9.97e36."""
    if values.dtype.kind != "f":
        return values
    never = np.asarray(netCDF4.default_fillvals[values.dtype.str[1:]], values.dtype)
    return np.where(values == never, np.nan, values)


def assert_same_dataset(found, expected):
    """Compare values, dimensions, coordinates and attributes; ours with NumPy's."""
    assert dict(found.sizes) == dict(expected.sizes)
    assert set(found.variables) == set(expected.variables)
    for name, theirs in expected.variables.items():
        ours = found.variables[name]
        assert ours.dims == theirs.dims
        values = np.asarray(ours.data)
        kinds = {values.dtype.kind, theirs.dtype.kind}
        assert len(kinds) == 1 or kinds <= set("SUTO")
        if theirs.dtype.kind in "biufc":
            np.testing.assert_array_equal(values, never_written_is_nan(theirs.values))
        else:
            np.testing.assert_array_equal(values.astype(str), theirs.values.astype(str))
        for key, value in theirs.attrs.items():
            np.testing.assert_array_equal(ours.attrs[key], value)


@pytest.mark.parametrize("path", HDF5, ids=lambda path: path.name)
def test_hdf5_as_h5py_reads_it(path):
    seen = 0
    with h5py.File(path) as file:
        for name, dataset in io.info(path).items():
            if dataset.dtype is None:
                with pytest.raises(TypeError, match="which no array can"):
                    io.load_hdf5(path, name)
                continue
            expected = file[name][()]
            for split in splits_of(expected.shape):
                assert_equal(io.load(path, name, split=split), expected, rtol=0, atol=0)
                seen += 1
    assert seen


@pytest.mark.parametrize("path", HDF5[:1] + HDF5[-1:], ids=lambda path: path.name)
def test_hdf5_again(path, folder, comm):
    """All numbers of a file, in another: in groups, with attributes, compressed."""
    found = {n: v for n, v in io.info(path).items() if v.dtype is not None}
    arrays = {n: io.load(path, n, split=0 if v.shape else None) for n, v in found.items()}
    io.save_hdf5(
        arrays, folder / "again.h5", gzip=1, attributes={n: v.attributes for n, v in found.items()}
    )
    again = io.info(folder / "again.h5")
    assert list(again) == sorted(found)
    for name, variable in found.items():
        assert again[name].attributes.keys() == variable.attributes.keys()
        assert_equal(io.load(folder / "again.h5", name, split=0), np.asarray(arrays[name]))


@pytest.mark.skipif(not NEMO, reason="iris_sample_data is not installed")
def test_months_of_the_ocean_are_one_record(folder, comm):
    """Three files of a month each, with missing values on land, become one along time."""
    path = folder / "nemo.nc"
    packed = {"dtype": "int16", "scale_factor": 0.002, "add_offset": 20.0, "_FillValue": -32768}
    for i, month in enumerate(NEMO):
        tos = io.load(month, "tos", split=1)
        options = {"append": "time"} if i else {"unlimited": "time"}
        io.save_netcdf(
            tos, path, "tos", dims=("time", "y", "x"), mode="a" if i else "w",
            encoding=packed, **options,
        )  # fmt: skip
    expected = np.concatenate([as_netcdf4(month, "tos") for month in NEMO])
    x = io.load(path, "tos", split=0)
    assert x.shape == (3, 330, 360)
    assert_equal(xp.isnan(x), np.isnan(expected))
    np.testing.assert_allclose(np.asarray(x), expected, rtol=0, atol=0.0011)
    np.testing.assert_allclose(as_netcdf4(path, "tos"), np.asarray(x), rtol=1e-6)
    mean = xp.nanmean(io.load(path, "tos", split=1))
    np.testing.assert_allclose(float(mean), np.nanmean(expected.astype("float64")), rtol=1e-4)
