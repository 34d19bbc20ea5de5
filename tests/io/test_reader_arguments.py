"""Wrong arguments of readers: the same error on every rank, with the function's name."""

from __future__ import annotations

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


def test_more_lines_skipped_than_there_are(folder):
    assert io.load_csv(folder / "a.csv", skip_lines=10**18).shape[0] == 0
