"""Files that are cut short or have wrong bits: an array or an error, the same on all ranks."""

from __future__ import annotations

import random

import netCDF4
import numpy as np
import pytest

import heat_array_api as xp
from files import shared_folder
from heat_array_api import io
from heat_array_api.io._agreement import at_root
from layouts import same_everywhere

VALUES = np.random.default_rng(0).standard_normal((40, 30))


@pytest.fixture(scope="module")
def folder(comm):
    with shared_folder(comm) as path:
        yield path


CLASSIC = ["NETCDF3_CLASSIC", "NETCDF3_64BIT_OFFSET", "NETCDF3_64BIT_DATA"]


def write_classic(path, form):
    """Write variables with and without records, of sizes that are padded."""
    with netCDF4.Dataset(path, "w", format=form) as file:
        file.title = "test"
        file.createDimension("t", None)
        file.createDimension("y", 3)
        file.createVariable("first", "f8", ("y",))[:] = np.arange(3)
        for name, dtype, dims in (("data", "f4", ("t", "y")), ("odd", "i1", ("t", "y"))):
            variable = file.createVariable(name, dtype, dims)
            variable.units = "m"
            variable[:] = np.arange(15).reshape(5, 3)


@pytest.mark.parametrize("form", CLASSIC)
def test_classic_files_that_are_cut_short(form, folder, comm):
    """Never zeros in place of what is not there, as netCDF has it."""
    path = folder / "classic.nc"
    at_root("test", comm, lambda: write_classic(path, form))
    expected = np.arange(15).reshape(5, 3)
    for name in ("data", "odd"):
        np.testing.assert_array_equal(np.asarray(io.load(path, name, split=0)), expected)
    assert set(io.info(path)) == {"first", "data", "odd"}
    whole = at_root("test", comm, path.read_bytes)
    for length in (0, 3, 5, 30, 60, 130, len(whole) - 41, len(whole) - 2):
        at_root("test", comm, lambda n=length: path.write_bytes(whole[:n]))
        with pytest.raises(OSError, match=r"load_netcdf: .*classic\.nc") as caught:
            io.load(path, "odd", split=0)
        same_everywhere("the error", str(caught.value), comm)
    # What a cut does not reach is there.
    np.testing.assert_array_equal(np.asarray(io.load(path, "first", split=0)), np.arange(3))


@pytest.mark.parametrize("form", CLASSIC)
def test_classic_headers_with_wrong_bits(form, folder, comm):
    """Counts that are too large by far are not counted to."""
    path = folder / "classic.nc"
    at_root("test", comm, lambda: write_classic(path, form))
    whole = at_root("test", comm, path.read_bytes)
    rng = random.Random(4)
    for _ in range(60):
        broken = bytearray(whole)
        for _ in range(rng.randrange(1, 4)):
            broken[rng.randrange(4, 250)] ^= 1 << rng.randrange(8)
        at_root("test", comm, lambda data=bytes(broken): path.write_bytes(data))
        outcomes = []
        for action in (lambda: io.load(path, "data", split=0).shape, lambda: len(io.info(path))):
            try:
                outcomes.append(str(action()))
            except Exception as error:
                outcomes.append(f"{type(error).__name__}: {error}")
        same_everywhere("the outcomes", "; ".join(outcomes), comm)
        comm.barrier()


@pytest.mark.parametrize(
    "file", ["x.h5", "z.h5", "x.nc", "x.npy", "x.csv", "x.zarr/zarr.json", "x.zarr/c/0/0"]
)
def test_broken_files(file, folder, comm):
    path, saved = folder / file, folder / file.split("/")[0]
    options = {"gzip": 1} if file == "z.h5" else {}
    io.save(xp.asarray(VALUES, split=0), saved, **options)
    whole = at_root("test", comm, path.read_bytes)
    rng = random.Random(3)
    for case in range(30):
        broken = bytearray(whole)
        if case % 3 == 0:
            del broken[rng.randrange(len(broken)) :]
        for _ in range(1 + case % 5):
            if broken:
                broken[rng.randrange(min(len(broken), 2000))] ^= 1 << rng.randrange(8)
        at_root("test", comm, lambda data=bytes(broken): path.write_bytes(data))
        try:
            x = io.load(saved, split=case % 2)
            outcome = f"array {x.shape}"
        except Exception as error:
            outcome = f"{type(error).__name__}: {error}"
        same_everywhere("the outcome", outcome, comm)
        comm.barrier()
