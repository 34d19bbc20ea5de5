"""Files that lead to other files are refused, on all ranks alike, unless the user allows it."""

from __future__ import annotations

import os

import h5py
import numpy as np
import pytest

from files import shared_folder
from heat_array_api import io
from layouts import assert_equal, same_everywhere

VALUES = np.arange(12.0).reshape(4, 3)
SECRET = VALUES + 100


@pytest.fixture(scope="module")
def folder(comm):
    with shared_folder(comm) as path:
        if comm.rank == 0:
            write_files(path)
        comm.allgather_ints((0,))
        yield path


def write_files(folder):
    with h5py.File(folder / "other.h5", "w") as file:
        file["secret"] = SECRET
    SECRET.tofile(folder / "raw.bin")
    with h5py.File(folder / "a.h5", "w") as file:
        file["x"] = VALUES
        file["soft"] = h5py.SoftLink("/x")
        file["g/relative"] = h5py.SoftLink("y")
        file["g/y"] = VALUES
        file["link"] = h5py.ExternalLink("other.h5", "/secret")
        file["group"] = h5py.ExternalLink("other.h5", "/")
        file["soft to link"] = h5py.SoftLink("/link")
        file["loop"] = h5py.SoftLink("/loop")
        raw = [(str(folder / "raw.bin"), 0, SECRET.nbytes)]
        file.create_dataset("raw", SECRET.shape, "f8", external=raw)
        for name, target in (("virtual", "other.h5"), ("virtual here", ".")):
            layout = h5py.VirtualLayout((4, 3), "f8")
            source = "x" if target == "." else "secret"
            layout[...] = h5py.VirtualSource(target, source, (4, 3))
            file.create_virtual_dataset(name, layout)
        layout = h5py.VirtualLayout((4, 3), "f8")
        layout[...] = h5py.VirtualSource(".", "virtual", (4, 3))
        file.create_virtual_dataset("virtual of virtual", layout)


OUTSIDE = ["link", "group/secret", "soft to link", "raw", "virtual", "virtual of virtual"]
INSIDE = ["x", "soft", "g/relative", "virtual here", "./g/./y"]


def refused(comm, call, match="allow_external=True"):
    with pytest.raises(ValueError, match=match) as caught:
        call()
    same_everywhere("the error", str(caught.value), comm)


@pytest.mark.parametrize("name", OUTSIDE)
def test_hdf5_that_leads_outside(name, folder, comm):
    path = folder / "a.h5"
    refused(comm, lambda: io.load_hdf5(path, name, split=0))
    refused(comm, lambda: io.load(path, name))
    found = io.load_hdf5(path, name, split=0, allow_external=True)
    assert_equal(found, SECRET)


@pytest.mark.parametrize("name", INSIDE)
def test_hdf5_that_stays_inside(name, folder):
    assert_equal(io.load_hdf5(folder / "a.h5", name, split=0), VALUES)


def test_links_without_end(folder, comm):
    refused(comm, lambda: io.load_hdf5(folder / "a.h5", "loop"), "too many")


def test_appending_writes_into_this_file_alone(folder, comm):
    from heat_array_api import asarray

    before = (folder / "other.h5").read_bytes()
    whole = (folder / "a.h5").read_bytes()
    x = asarray(VALUES, split=0)
    refused(comm, lambda: io.save_hdf5(x, folder / "a.h5", "group/new", mode="a"))
    assert (folder / "other.h5").read_bytes() == before
    assert (folder / "a.h5").read_bytes() == whole


def test_netcdf_that_leads_outside(folder, comm):
    path = folder / "n.nc"
    if comm.rank == 0:
        with h5py.File(folder / "outside.nc", "w") as file:
            file["secret"] = SECRET
    from heat_array_api import asarray

    io.save_netcdf(asarray(VALUES, split=0), path, "x", dims=("t", "y"))
    assert_equal(io.load_netcdf(path, "x", split=0), VALUES)
    if comm.rank == 0:
        with h5py.File(path, "a") as file:
            file["link"] = h5py.ExternalLink("outside.nc", "/secret")
    comm.allgather_ints((0,))
    refused(comm, lambda: io.load_netcdf(path, "x", split=0))
    refused(comm, lambda: io.info(path))
    refused(comm, lambda: io.open_dataset(path))
    assert_equal(io.load_netcdf(path, "x", split=0, allow_external=True), VALUES)
    refused(comm, lambda: io.save_netcdf(asarray(VALUES), path, "z", mode="a"))


def test_addresses_are_no_files(comm):
    for call in (io.info, lambda path: io.load_netcdf(path, "x")):
        refused(comm, lambda call=call: call("http://localhost:1/a.nc"), "is an address")
    for call in (io.info, lambda path: io.load_zarr(path, "x")):
        with pytest.raises(FileNotFoundError, match="there is no folder"):
            call("http://localhost:1/a.zarr")


def test_a_zarr_array_outside_its_store(folder, comm):
    pytest.importorskip("zarr")
    from heat_array_api import asarray

    for name in ("inside", "outside"):
        io.save_zarr({"x": asarray(VALUES, split=0)}, folder / f"{name}.zarr")
    if comm.rank == 0:
        os.symlink(folder / "outside.zarr" / "x", folder / "inside.zarr" / "y")
    comm.allgather_ints((0,))
    assert_equal(io.load_zarr(folder / "inside.zarr", "x", split=0), VALUES)
    refused(comm, lambda: io.load_zarr(folder / "inside.zarr", "y", split=0))
    found = io.load_zarr(folder / "inside.zarr", "y", split=0, allow_external=True)
    assert_equal(found, VALUES)
    with pytest.raises((KeyError, ValueError)):
        io.load_zarr(folder / "inside.zarr", "../outside.zarr/x")
