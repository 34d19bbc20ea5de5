"""Wrong arguments of readers: the same error on every rank, with the function's name."""

from __future__ import annotations

import os

import numpy as np
import pytest

import heat_array_api as xp
from files import shared_folder
from heat_array_api import io
from layouts import same_everywhere

READERS = {
    "load_hdf5": ("a.h5", "data"),
    "load_netcdf": ("a.nc", "data"),
    "load_zarr": ("a.zarr", None),
    "load_npy": ("a.npy", None),
    "load_csv": ("a.csv", None),
}
WRONG = (1.5, object(), [[1], [2, 3]], {"a": 1}, np.asarray(["a", "b"]))


@pytest.fixture(scope="module")
def folder(comm):
    with shared_folder(comm) as path:
        for name, _ in READERS.values():
            io.save(xp.ones((4, 3), split=0), path / name)
        yield path


def refused(comm, kinds, match, call):
    with pytest.raises(kinds, match=match) as caught:
        call()
    same_everywhere("the error", str(caught.value), comm)


@pytest.mark.parametrize("name", [*READERS, "load", "info", "open_dataset", "load_checkpoint"])
def test_paths(name, comm):
    rest = ("x",) if name in ("load_hdf5", "load_netcdf") else ()
    what = "directory" if name == "load_checkpoint" else "path"
    for wrong in (None, *WRONG):
        call = lambda wrong=wrong: getattr(io, name)(wrong, *rest)  # noqa: E731
        refused(comm, TypeError, f"^{name}: {what} is .*; expected a str", call)


@pytest.mark.parametrize("name", ["load_hdf5", "load_netcdf", "load_zarr"])
def test_names_of_variables(name, folder, comm):
    for wrong in WRONG:
        call = lambda wrong=wrong: getattr(io, name)(folder / READERS[name][0], wrong)  # noqa: E731
        refused(comm, TypeError, f"^{name}: .* is .*; expected a str", call)


@pytest.mark.parametrize("name", READERS)
def test_keywords(name, folder, comm):
    file, variable = READERS[name]
    given = (folder / file,) if variable is None else (folder / file, variable)
    for keyword in ("split", "dtype", "device", "comm", "progress", "selection"):
        if name == "load_csv" and keyword == "selection":
            continue
        for wrong in WRONG:
            call = lambda k=keyword, v=wrong: getattr(io, name)(*given, **{k: v})  # noqa: E731
            refused(comm, (TypeError, ValueError, IndexError), f"^{name}: ", call)


@pytest.fixture(scope="module")
def named(folder, comm):
    """Files with names that can be misspelt."""
    t = xp.ones((4, 3, 2), split=0)
    options = {"dims": ("time", "latitude", "longitude"), "coords": {"time": np.arange(4.0)}}
    io.save_netcdf(t, folder / "n.nc", "t", **options)
    io.save_netcdf({"model/ocean/s": xp.ones((2, 5), split=0)}, folder / "n.nc", mode="a")
    for suffix in ("h5", "zarr"):
        io.save({"temperature": t, "model/ocean/salinity": t}, folder / f"n.{suffix}")
    return folder


MISSPELT = {
    "dimension": (lambda f: io.open_dataset(f / "n.nc", split="tme"),
        ValueError, "split is 'tme', .* time, latitude, longitude; did you mean 'time'"),
    "one of several": (lambda f: io.open_dataset(f / "n.nc", split=("time", "latitud")),
        ValueError, "split is 'latitud', .* did you mean 'latitude'"),
    "of another group": (lambda f: io.open_dataset(f / "n.nc", split="time", group="model/ocean"),
        ValueError, "split is 'time', .* it has the dimensions model_ocean_s_dim0, "),
    "no dimension": (lambda f: io.open_dataset(f / "n.nc", group="model", split="x"),
        ValueError, "split is 'x', .* it has no dimensions"),
    "group": (lambda f: io.open_dataset(f / "n.nc", group="model/ocen"),
        KeyError, "group 'model/ocen' is not in .* did you mean 'model/ocean'"),
    "variable": (lambda f: io.load_netcdf(f / "n.nc", "T"),
        KeyError, "variable 'T' is not in .* t, time"),
    "group of a variable": (lambda f: io.load_netcdf(f / "n.nc", "modl/ocean/s"),
        KeyError, "it has the groups model; did you mean 'model'"),
    "dataset": (lambda f: io.load(f / "n.h5", "temprature"),
        KeyError, "it has the members model, temperature; did you mean 'temperature'"),
    "dataset in a group": (lambda f: io.load(f / "n.h5", "model/ocean/salinty"),
        KeyError, "in '/model/ocean' it has the members salinity; did you mean 'salinity'"),
    "group of a dataset": (lambda f: io.load(f / "n.h5", "modle/ocean/salinity"),
        KeyError, "it has the members model, temperature; did you mean 'model'"),
    "array": (lambda f: io.load(f / "n.zarr", "temprature"),
        KeyError, "did you mean 'temperature'"),
    "array of an array": (lambda f: io.load(f / "a.zarr", "x"),
        KeyError, "array 'x' is not in .*, which is an array itself"),
    "arrangement of a checkpoint": (lambda f: io.load_checkpoint(f, "save"),
        ValueError, "split is 'save'; expected 'saved'"),
}  # fmt: skip


@pytest.mark.parametrize("case", MISSPELT)
def test_misspelt_names(case, named, comm):
    call, kinds, match = MISSPELT[case]
    refused(comm, kinds, match, lambda: call(named))


def test_names_that_are_there(named):
    found = io.open_dataset(named / "n.nc", split={"longitude", "latitude"})
    assert found["t"].data.split == 1
    assert found["time"].dims == ("time",)
    found = io.open_dataset(named / "n.nc", group="/model/ocean/", split=["model_ocean_s_dim1"])
    assert found["s"].data.split == 1
    assert not io.open_dataset(named / "n.nc", group="model").variables


def test_a_netcdf_file_of_another_suffix(named, comm):
    if comm.rank == 0:
        os.symlink(named / "n.nc", named / "netcdf.h5")
    comm.allgather_ints((0,))
    found = io.open_dataset(named / "netcdf.h5", split="time")
    assert found["t"].data.split == 0


def test_more_lines_skipped_than_there_are(folder):
    assert io.load_csv(folder / "a.csv", skip_lines=10**18).shape[0] == 0
