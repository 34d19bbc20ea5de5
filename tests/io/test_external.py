"""Files that lead to other files are refused, on all ranks alike, unless the user allows it."""

from __future__ import annotations

import os
import shutil

import h5py
import numpy as np
import pytest

import heat_array_api as xp
from files import shared_folder
from heat_array_api import io
from heat_array_api.io._external import check_hdf5
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


def zarr_stores(folder, comm, name):
    """Make a store of four chunks, a copy of it, and another one with other values."""
    for store, values in ((name, VALUES), (f"other-{name}", SECRET)):
        x = xp.asarray(values, split=0)
        io.save_zarr({"x": x}, folder / store, chunks=(1, 3), attributes={"x": {"a": 1}})
    return folder / name, folder / f"other-{name}"


def linked(comm, path, target):
    """Replace a part of a store by a link."""
    if comm.rank == 0:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
        os.symlink(target, path)
    comm.allgather_ints((0,))


PARTS = ["x/c/3/0", "x/c/2", "x/c", "x/zarr.json", "zarr.json", "x"]


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("way", ["absolute", "relative", "by another"])
def test_parts_of_a_zarr_store_that_are_links_out_of_it(part, way, folder, comm):
    pytest.importorskip("zarr")
    store, other = zarr_stores(folder, comm, f"{part.replace('/', '-')}-{way}.zarr")
    if way == "relative":
        target = os.path.relpath(other / part, (store / part).parent)
    elif way == "absolute":
        target = other / part
    else:
        target = store.with_suffix(".between")
        if comm.rank == 0:
            os.symlink(other / part, target)
    linked(comm, store / part, target)
    refused(comm, lambda: io.load_zarr(store, "x", split=0))
    refused(comm, lambda: io.load(store, "x", split=1))
    if part.endswith("json") or part == "x":
        refused(comm, lambda: io.info(store))
    expected = VALUES.copy()
    rows = {"x/c/3/0": [3], "x/c/2": [2], "x/c": [0, 1, 2, 3], "x": [0, 1, 2, 3]}.get(part, [])
    expected[rows] = SECRET[rows]
    found = io.load_zarr(store, "x", split=0, allow_external=True)
    assert_equal(found, expected)
    assert io.info(store, allow_external=True)["x"].attributes == {"a": 1}
    # What is appended to is copied first, and would hold the other file's values.
    before = names_in(store)
    match = "nothing is added to a store"
    refused(comm, lambda: io.save_zarr({"z": found}, store, mode="a"), match)
    assert names_in(store) == before


def names_in(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_a_chunk_that_is_not_read_is_not_looked_at(folder, comm):
    pytest.importorskip("zarr")
    store, other = zarr_stores(folder, comm, "part.zarr")
    linked(comm, store / "x/c/3/0", other / "x/c/3/0")
    found = io.load_zarr(store, "x", split=0, selection=np.s_[:3])
    assert_equal(found, VALUES[:3])


def test_links_inside_a_zarr_store_and_to_it(folder, comm):
    """A store that is given by a link, and a chunk that is one to another chunk."""
    pytest.importorskip("zarr")
    store, _ = zarr_stores(folder, comm, "whole.zarr")
    linked(comm, store / "x/c/3/0", store / "x/c/0/0")
    if comm.rank == 0:
        os.symlink(store, folder / "link.zarr")
    comm.allgather_ints((0,))
    expected = VALUES.copy()
    expected[3] = expected[0]
    for path in (store, folder / "link.zarr"):
        assert_equal(io.load_zarr(path, "x", split=0), expected)
    io.save_zarr({"z": xp.asarray(VALUES)}, folder / "link.zarr", mode="a")
    assert_equal(io.load_zarr(store, "z", split=0), VALUES)
    assert_equal(io.load_zarr(store, "x", split=0), expected)


def test_files_given_by_a_link(folder, comm):
    """What the user names may be a link."""
    for name in ("v.npy", "v.csv", "v.h5", "v.nc"):
        io.save(xp.asarray(VALUES, split=0), folder / name)
        if comm.rank == 0:
            os.symlink(folder / name, folder / f"link-{name}")
        comm.allgather_ints((0,))
        assert_equal(io.load(folder / f"link-{name}", split=0), VALUES)


@pytest.mark.parametrize("part", ["tree", "values/0", "values/1"])
def test_a_checkpoint_that_leads_outside(part, folder, comm):
    path = folder / f"checkpoint-{part.replace('/', '-')}"
    io.save_checkpoint(path, {"x": xp.asarray(VALUES, split=0), "n": VALUES})
    if comm.rank == 0:
        with h5py.File(path / "checkpoint.h5", "a") as file:
            del file[part]
            file[part] = h5py.ExternalLink(str(folder / "other.h5"), "/secret")
    comm.allgather_ints((0,))
    match = "load_checkpoint: .*secret.*other.h5"
    refused(comm, lambda: io.load_checkpoint(path), match)


def hard(file):
    file["g/h/up"] = file["g"]


def soft(file):
    file["g/h/up"] = h5py.SoftLink("/g")


def by_turns(file):
    file["k/to g"] = h5py.SoftLink("/g")
    file["g/h/to k"] = h5py.SoftLink("/k")


@pytest.mark.parametrize("close", [hard, soft, by_turns])
@pytest.mark.parametrize("allow", [False, True])
def test_a_group_that_holds_itself(close, allow, folder, comm):
    """The NetCDF library ends the process when it opens such a file."""
    path = folder / f"{close.__name__}.nc"
    if comm.rank == 0:
        with h5py.File(path, "w") as file:
            file["x"] = VALUES
            file["g/h/i"] = VALUES
            close(file)
    comm.allgather_ints((0,))
    for call in (
        lambda: io.info(path, allow_external=allow),
        lambda: io.open_dataset(path, allow_external=allow),
        lambda: io.load_netcdf(path, "x", allow_external=allow),
        lambda: io.save_netcdf(xp.ones(3), path, "y", mode="a"),
    ):
        refused(comm, call, "is a group that holds itself")
    assert_equal(io.load_hdf5(path, "x", split=0), VALUES)


def test_groups_that_others_lead_to(folder, comm):
    """Two ways to one group are no circle."""
    path = folder / "two ways.nc"
    if comm.rank == 0:
        with h5py.File(path, "w") as file:
            file["a/x"] = VALUES
            file["b/hard"] = file["a"]
            file["c"] = h5py.SoftLink("/b")
            file["none"] = h5py.SoftLink("/nowhere")
    comm.allgather_ints((0,))
    check_hdf5(str(path))
