"""Arrays of fewer rows than ranks, of no rows and of no columns, in every format."""

from __future__ import annotations

import h5py
import netCDF4
import numpy as np
import pytest

import heat_array_api as xp
from files import shared_folder
from heat_array_api import io
from layouts import assert_equal, layouts, make

SHAPES = [(0,), (1,), (2,), (0, 3), (1, 3), (2, 1), (5, 2), (3, 0), (0, 0)]


@pytest.fixture(scope="module")
def folder(comm):
    with shared_folder(comm) as path:
        yield path


def wait(comm):
    """Let all ranks read a file before the next one is written."""
    comm.allgather_ints((0,))


def read_csv(path, has_header):
    """Return the header, if there is one, and the rows."""
    with open(path, encoding="utf-8") as file:
        header = file.readline().rstrip("\n") if has_header else None
        return header, [[float(v) for v in line.split(",") if v.strip()] for line in file]


def read_hdf5(path):
    with h5py.File(path) as file:
        return file["x"][...]


def read_netcdf(path):
    with netCDF4.Dataset(path) as file:
        return np.asarray(file["x"][...])


FORMATS = {
    "npy": ("a.npy", None, np.load, {}),
    "hdf5": ("a.h5", "x", read_hdf5, {}),
    "hdf5, gzip": ("a.h5", "x", read_hdf5, {"gzip": 1}),
    "hdf5, root": ("a.h5", "x", read_hdf5, {"strategy": "root"}),
    "netcdf": ("a.nc", "x", read_netcdf, {}),
    "netcdf, gzip": ("a.nc", "x", read_netcdf, {"gzip": 1}),
}


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", FORMATS)
def test_small_arrays(name, shape, folder, comm):
    file, variable, read, options = FORMATS[name]
    values = np.arange(np.prod(shape), dtype="float32").reshape(shape)
    for layout in layouts(shape, few=True):
        io.save(make(values, layout), folder / file, variable, **options)
        stored = read(folder / file)
        assert (stored.shape, stored.dtype) == (shape, values.dtype)
        np.testing.assert_array_equal(stored, values)
        for split in (None, *range(len(shape))):
            assert_equal(io.load(folder / file, variable, split=split), values)
        wait(comm)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_small_tables_as_text(shape, folder, comm):
    """`save_csv` once failed where a rank had no row."""
    values = np.arange(np.prod(shape), dtype="float64").reshape(shape)
    for layout in layouts(shape, few=True):
        for header in (None, "a line"):
            io.save_csv(make(values, layout), folder / "a.csv", header=header)
            first, lines = read_csv(folder / "a.csv", has_header=header is not None)
            table = values if values.ndim == 2 else values[:, None]
            assert (first, lines) == (header, table.tolist())
            if values.size:
                x = io.load_csv(folder / "a.csv", split=0, skip_lines=int(header is not None))
                assert_equal(x, values.reshape(len(values), -1))
            wait(comm)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_small_checkpoints(shape, folder, comm):
    values = np.arange(np.prod(shape)).reshape(shape)
    for layout in layouts(shape, few=True):
        io.save_checkpoint(folder / "state", {"x": make(values, layout), "n": 3})
        for split in (None, 0):
            assert_equal(io.load_checkpoint(folder / "state", split=split)["x"], values)
        wait(comm)


def test_a_small_zarr_array(folder, comm):
    zarr = pytest.importorskip("zarr")
    for shape in SHAPES:
        values = np.arange(np.prod(shape), dtype="int16").reshape(shape)
        for layout in layouts(shape, few=True):
            io.save(make(values, layout), folder / "a.zarr", "x")
            np.testing.assert_array_equal(
                zarr.open(str(folder / "a.zarr"), mode="r")["x"][...], values
            )
            assert_equal(io.load(folder / "a.zarr", "x", split=0), values)
            wait(comm)


def test_no_text_at_all(folder, comm):
    """A file of no lines is a table of no rows."""
    io.save_csv(xp.zeros((0, 2), split=0), folder / "a.csv")
    assert io.load_csv(folder / "a.csv", split=0).shape[0] == 0
    wait(comm)
