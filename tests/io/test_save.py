"""Saving and loading: what other libraries read in the files, and what comes back."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import h5py
import netCDF4
import numpy as np
import pytest
import torch

import heat_array_api as xp
from files import shared_folder
from heat_array_api import io
from heat_array_api._core.layout import Layout
from heat_array_api.io import _atomic
from heat_array_api.io import _hdf5_datasets as _datasets
from heat_array_api.io import _read as _load
from heat_array_api.io import _write as _flat
from layouts import assert_equal, layouts, make, same_everywhere

SHAPE = (7, 5, 3)
DTYPES = [
    "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
    "float16", "float32", "float64", "complex64", "complex128",
]  # fmt: skip


@pytest.fixture(scope="module")
def folder(comm):
    with shared_folder(comm) as path:
        yield path


@pytest.fixture(params=["large", "small"])
def rounds(request, monkeypatch):
    """Run a test also with rounds of a few rows, as large arrays have them."""
    if request.param == "small":
        for module in (_datasets, _flat, _load):
            monkeypatch.setattr(module, "ROUND", 100)
        monkeypatch.setattr(_datasets, "MOST_BYTES_AT_ROOT", 0)
        monkeypatch.setattr(_load, "MANY", 2)
        monkeypatch.setattr(_load, "BLOCK", 32)


def values_of(dtype, shape=SHAPE):
    rng = np.random.default_rng(5)
    values = rng.standard_normal(shape) * 20
    kind = np.dtype(dtype).kind
    if kind == "b":
        return values > 0
    if kind == "u":
        values = np.abs(values)
    if kind == "c":
        values = values + 1j * rng.standard_normal(shape)
    return values.astype(dtype)


def expect_error(comm, kind, match, func):
    with pytest.raises(kind, match=match) as caught:
        func()
    same_everywhere("the error", str(caught.value), comm)


def on_one_rank(comm, step):
    """Run a step on rank 0, which sees the file whole; the others wait."""
    from heat_array_api.io._agreement import at_root

    return at_root("test", comm, step)


# ---------------------------------------------------------------- every format, dtype and layout


def read_hdf5(path, name):
    with h5py.File(path) as file:
        return file[name][...]


def read_netcdf(path, name):
    with netCDF4.Dataset(path) as file:
        file.set_auto_maskandscale(False)
        values = np.asarray(file[name][...])
        if file[name].dimensions[-1:] == ("complex",):
            values = values[..., 0] + 1j * values[..., 1]
        return values


def read_zarr(path, name):
    zarr = pytest.importorskip("zarr")
    return zarr.open(str(path), mode="r")[name][...]


FORMATS = {
    "hdf5": ("file.h5", "g/x", read_hdf5, {}),
    "hdf5, chunks": ("file.h5", "g/x", read_hdf5, {"chunks": (2, 5, 2)}),
    "hdf5, gzip": ("file.h5", "g/x", read_hdf5, {"chunks": (3, 2, 3), "gzip": 3}),
    "hdf5, found chunks": ("file.h5", "g/x", read_hdf5, {"gzip": 0}),
    "hdf5, root": ("file.h5", "g/x", read_hdf5, {"strategy": "root"}),
    "netcdf": ("file.nc", "g/x", read_netcdf, {}),
    "netcdf, gzip": ("file.nc", "g/x", read_netcdf, {"gzip": 1}),
    "netcdf, unlimited": ("file.nc", "x", read_netcdf, {"dims": "tyx", "unlimited": "t"}),
    "zarr": ("file.zarr", "g/x", read_zarr, {}),
    "zarr, chunks": ("file.zarr", "x", read_zarr, {"chunks": (2, 4, 3)}),
    "npy": ("file.npy", None, lambda path, _: np.load(path), {}),
}


# Part of the cases on each number of ranks, all on four: disks are slow.
# In small rounds an element's size matters, but not its kind.
SMALL_ROUNDS = ["bool", "float16", "int32", "uint64", "complex128"]


@pytest.mark.some_cases(53)
@pytest.mark.parametrize(
    ("rounds", "dtype"),
    [("large", dtype) for dtype in DTYPES] + [("small", dtype) for dtype in SMALL_ROUNDS],
    indirect=["rounds"],
)
@pytest.mark.parametrize("name", FORMATS)
def test_round_trip(name, dtype, folder, comm, rounds):
    file, variable, read, options = FORMATS[name]
    values = values_of(dtype)
    for i, layout in enumerate(layouts(SHAPE, few=True)):
        path = folder / file
        io.save(make(values, layout), path, variable, **options)
        stored = on_one_rank(comm, lambda path=path: read(path, variable))
        np.testing.assert_array_equal(stored, values)
        split = (None, 0, 1, 2)[i % 4]
        x = io.load(path, variable, split=split)
        expected = values.astype("float32") if (file, dtype) == ("file.nc", "float16") else values
        assert_equal(x, expected, split=split, rtol=0, atol=0)
        part = io.load(path, variable, split=None if split is None else 0, selection=np.s_[::-2, 1])
        assert_equal(part, expected[::-2, 1], rtol=0, atol=0)


@pytest.mark.parametrize("shape", [(), (0,), (3, 0), (1,), (0, 4, 2)])
@pytest.mark.parametrize("name", FORMATS)
def test_shapes_without_elements_or_axes(name, shape, folder, comm, rounds):
    file, variable, read, _ = FORMATS[name]
    values = values_of("float64", shape)
    for layout in layouts(shape):
        io.save(make(values, layout), folder / file, variable)
        np.testing.assert_array_equal(
            on_one_rank(comm, lambda: read(folder / file, variable)), values
        )
        assert_equal(io.load(folder / file, variable, split=None), values)


def test_bfloat16_becomes_float32(folder):
    x = xp.from_local(torch.tensor([1.5, -2.0], dtype=torch.bfloat16), split=None)
    io.save(x, folder / "b.npy")
    assert_equal(io.load(folder / "b.npy", split=0), np.asarray([1.5, -2.0], np.float32))


# ---------------------------------------------------------------- selections


SELECTIONS = [
    np.s_[2:5], np.s_[1], np.s_[..., 1], np.s_[::2, ::-1], np.s_[-1, 1:4:2, ::-2], np.s_[5:2],
    np.s_[:, 2:2], np.s_[6:0:-3, -2], np.s_[...],
]  # fmt: skip


@pytest.mark.parametrize("selection", SELECTIONS, ids=str)
def test_selections(selection, folder, rounds):
    values = values_of("float64")
    io.save({"x": make(values)}, folder / "s.h5", gzip=1, chunks=(2, 2, 2))
    io.save({"x": make(values)}, folder / "s.nc")
    io.save({"x": make(values)}, folder / "s.zarr")
    io.save(make(values), folder / "s.npy")
    expected = values[selection]
    for file, name in (("s.h5", "x"), ("s.nc", "x"), ("s.zarr", "x"), ("s.npy", None)):
        for split in (None, *range(expected.ndim)):
            x = io.load(folder / file, name, split=split, selection=selection)
            assert_equal(x, expected, split=split, rtol=0, atol=0)


def test_selections_out_of_range(folder, comm):
    io.save(make(values_of("float64")), folder / "s.npy")
    for selection, kind, match in (
        (np.s_[9], IndexError, "load_npy: selection: "),
        (np.s_[0, 0, 0, 0], IndexError, "load_npy: selection: index: 4 indices"),
        (np.s_[None, 0], TypeError, "load_npy: selection is None|expected slices and integers"),
        ("x", TypeError, "load_npy: selection is 'x'; expected slices and integers"),
    ):
        load = partial(io.load_npy, folder / "s.npy", selection=selection)
        expect_error(comm, kind, match, load)


# ---------------------------------------------------------------- how the shards get there


def test_strategies_are_noted_in_the_trace(folder, comm, monkeypatch):
    monkeypatch.setattr(_datasets, "MOST_BYTES_AT_ROOT", 0)
    x = make(values_of("float64"))
    for options, expected in (
        ({}, "io: offset"),
        ({"gzip": 1}, "io: chunks"),
        ({"chunks": (2, 2, 2)}, "io: chunks"),
        ({"strategy": "root"}, "io: root"),
    ):
        with xp.trace() as t:
            io.save_hdf5(x, folder / "t.h5", **options)
        names = [note.collective for note in t.notes]
        assert names == [expected] or h5py.get_config().mpi
    for file, expected in (("t.npy", "offset"), ("t.zarr", "whole chunks"), ("t.csv", "text")):
        with xp.trace() as t:
            io.save(x[0], folder / file)
        assert [note.collective for note in t.notes] == [f"io: {expected}"]
    match = "save_hdf5: strategy 'offset' cannot write 'data' .chunked"
    expect_error(
        comm, ValueError, match,
        lambda: io.save_hdf5(x, folder / "t.h5", gzip=1, strategy="offset"),
    )  # fmt: skip
    expect_error(
        comm, ValueError, "strategy is 'fast'; expected 'mpio', 'offset', 'chunks' or 'root'",
        lambda: io.save_hdf5(x, folder / "t.h5", strategy="fast"),
    )  # fmt: skip


def test_rows_that_lie_as_in_the_file_are_not_sent(folder, comm, monkeypatch):
    monkeypatch.setattr(_datasets, "MOST_BYTES_AT_ROOT", 0)
    n = 8 * comm.size
    x = xp.ones((n, 3), split=0)
    for save in (
        lambda: io.save_hdf5(x, folder / "m.h5"),
        lambda: io.save_npy(x, folder / "m.npy"),
        lambda: io.save_netcdf(x, folder / "m.nc"),
    ):
        with xp.trace() as t:
            save()
        kinds = {event.collective for event in t.events}
        assert kinds <= {"allgather_object", "bcast_object", "allgather_ints"}, kinds
    for load in (
        lambda: io.load_hdf5(folder / "m.h5", "data", split=0),
        lambda: io.load_npy(folder / "m.npy", split=0),
        lambda: io.load_netcdf(folder / "m.nc", "data", split=0),
    ):
        with xp.trace() as t:
            load()
        kinds = [event.collective for event in t.events]
        assert kinds == ["allgather_object"] * 2 * (comm.size > 1)


@pytest.mark.parametrize("rows", [1, 4, 5, 30])
def test_whole_chunks(rows, comm, monkeypatch):
    """Every rank has whole chunks, together all of them; only rows of shared chunks are sent."""
    monkeypatch.setattr(_flat, "ROUND", 2 * rows * 3 * 8)
    values = values_of("float64", (23, 3))
    for layout in layouts(values.shape):
        with xp.trace() as t:
            boxes = list(_flat.whole_chunks(make(values, layout), (rows, 3)))
        assert all(len(part) <= 2 * rows for _, part in boxes)
        assert_whole_boxes(boxes, values, (rows, 3), comm)
        if layout.split is None:
            assert t.count() == 0
        elif layout.split == 0:
            assert t.count("all_to_all") <= 1
            assert t.bytes() <= 2 * rows * 3 * 8


@pytest.mark.parametrize("chunks", [(1, 1, 1), (1, 4, 2), (2, 3, 5), (9, 9, 9)])
@pytest.mark.parametrize("shape", [(1, 23, 6), (2, 1, 40), (3, 9, 5)])
def test_whole_chunks_of_few_long_rows(shape, chunks, comm, monkeypatch):
    """Rows that are too much for a rank are taken apart, whichever axis is split."""
    monkeypatch.setattr(_flat, "ROUND", 100)
    values = values_of("float64", shape)
    for layout in layouts(shape):
        boxes = list(_flat.whole_chunks(make(values, layout), chunks))
        assert_whole_boxes(boxes, values, chunks, comm)


def assert_whole_boxes(boxes, values, chunks, comm):
    """Check that the ranks' boxes are of whole chunks, and hold all values, each once."""
    for corner, part in boxes:
        for first, n, chunk, whole in zip(corner, part.shape, chunks, values.shape, strict=True):
            assert not part.numel() or first % chunk == 0
            assert not part.numel() or n % chunk == 0 or first + n == whole
    mine = [(_flat.box(corner, part.shape), part.numpy()) for corner, part in boxes]
    everywhere = comm.allgather_object(mine)
    assert len({len(of_rank) for of_rank in everywhere}) == 1
    found = np.full_like(values, np.nan)
    for place, part in (piece for of_rank in everywhere for piece in of_rank):
        assert np.isnan(found[place]).all()
        found[place] = part
    np.testing.assert_array_equal(found, values)


@pytest.mark.parametrize("shape", [(1, 40, 6), (2, 3, 30), (1, 1, 50), (1, 2, 3, 20)])
def test_few_long_rows(shape, folder, comm, rounds):
    values = values_of("float32", shape)
    for name, (file, variable, read, _) in FORMATS.items():
        options = {"gzip": 1, "chunks": tuple(min(n, 4) for n in shape)} if "gzip" in name else {}
        for layout in layouts(shape, few=True):
            io.save(make(values, layout), folder / file, variable, **options)
            stored = on_one_rank(comm, partial(read, folder / file, variable))
            np.testing.assert_array_equal(stored, values)
        for split in (None, *range(len(shape))):
            x = io.load(folder / file, variable, split=split)
            assert_equal(x, values, split=split, rtol=0, atol=0)


def test_bars_of_progress(folder, comm, capsys):
    x = xp.ones((4 * comm.size, 3), split=0)
    io.save(x, folder / "bar.h5", progress=True)
    io.load(folder / "bar.h5", split=0, progress=True)
    shown = capsys.readouterr().err
    assert ("save_hdf5: 100%" in shown) == (comm.rank == 0)
    assert ("load_hdf5: 100%" in shown) == (comm.rank == 0)
    io.save(x, folder / "bar.csv", progress=True)
    io.load(folder / "bar.csv", split=0, progress=True)
    shown = capsys.readouterr().err
    assert ("save_csv: 100%" in shown) == (comm.rank == 0)
    assert ("load_csv: 100%" in shown) == (comm.rank == 0)
    io.save(x, folder / "bar.h5")
    assert capsys.readouterr().err == ""


# ---------------------------------------------------------------- attributes, several variables


def test_attributes_and_appending(folder, comm):
    values = values_of("float32")
    x = make(values)
    for file, dims in (("a.h5", {}), ("a.nc", {"dims": {"x": "abc", "y": "abc"}})):
        path = folder / file
        notes = {"x": {"units": "K", "range": np.asarray([1.0, 2.0])}, "": {"title": "test"}}
        io.save({"x": x}, path, attributes=notes, **dims)
        io.save({"y": x * 2}, path, mode="a", attributes={"y": {"level": 3}}, **dims)
        found = io.info(path)
        assert set(found) == {"x", "y"}
        assert found.attributes["title"] == "test"
        assert found["x"].attributes["units"] == "K"
        np.testing.assert_array_equal(found["x"].attributes["range"], [1.0, 2.0])
        assert found["y"].attributes["level"] == 3
        assert found["x"].shape == SHAPE
        assert found["x"].dtype == np.float32
        assert found["x"].dims == (tuple("abc") if dims else None)
        assert "float32" in repr(found)
        assert_equal(io.load(path, "x", split=0), values)
        assert_equal(io.load(path, "y", split=0), values * 2)
        io.save({"y": x}, path, mode="w", **dims)
        assert set(io.info(path)) == {"y"}
    io.save({"x": x, "g/y": x}, folder / "a.zarr", attributes={"x": {"units": "K"}})
    io.save({"z": x}, folder / "a.zarr", mode="a")
    found = io.info(folder / "a.zarr")
    assert set(found) == {"x", "g/y", "z"}
    assert found["x"].attributes == {"units": "K"}


def is_unlimited(path, dim):
    with netCDF4.Dataset(path) as file:
        return file.dimensions[dim].isunlimited()


def test_rows_are_appended_along_an_unlimited_dimension(folder, comm):
    values = values_of("float64")
    path = folder / "grow.nc"
    for layout in layouts(SHAPE, few=True):
        x = make(values, layout)
        times = np.arange(7.0)
        io.save_netcdf({"x": x}, path, dims={"x": "tyx"}, coords={"t": times}, unlimited="t")
        io.save_netcdf(
            {"x": x * 2}, path, mode="a", append="t", dims={"x": "tyx"}, coords={"t": times + 7}
        )
        assert_equal(io.load(path, "x", split=0), np.concatenate([values, 2 * values]))
        assert_equal(io.load(path, "t", split=0), np.arange(14.0))
        assert on_one_rank(comm, partial(is_unlimited, path, "t"))


def test_appended_rows_are_packed_as_those_in_the_file(folder, comm):
    values = np.round(values_of("float64"), 1)
    path = folder / "grow.nc"
    packing = {"dtype": "int16", "scale_factor": 0.1, "add_offset": 5.0, "_FillValue": -999}
    for layout in layouts(SHAPE, few=True):
        x = make(values, layout)
        flags = {"g/flag": x[:, 0, 0] > 0}
        io.save_netcdf(
            {"x": x, "y": x, **flags},
            path,
            dims={"x": "tyx", "y": "tyx", "g/flag": "t"},
            unlimited="t",
            encoding={"x": packing, "y": {"dtype": "float32"}},
        )
        io.save_netcdf({"x": x + 1, "y": x + 1, **flags}, path, mode="a", append="t")
        both = np.concatenate([values, values + 1])
        assert_equal(io.load(path, "x", split=0), both, rtol=0, atol=1e-12)
        assert_equal(io.load(path, "y", split=0), both.astype("float32"), rtol=0, atol=0)
        assert_equal(io.load(path, "g/flag", split=0), np.tile(values[:, 0, 0] > 0, 2))
        assert on_one_rank(comm, lambda: read_netcdf(path, "x")).dtype == np.int16


def test_rows_that_do_not_fit_are_not_appended(folder, comm):
    x = make(values_of("float64"))
    path = folder / "grow.nc"
    dims = {"x": "tyx", "n": "t"}
    n = xp.arange(7, split=0)
    io.save_netcdf({"x": x, "n": n}, path, dims=dims, unlimited="t")
    for arrays, options, match in (
        ({"x": x}, {}, "there are no rows for 'n'"),
        ({"x": x, "n": n, "z": n}, {"dims": {"z": "t"}}, "'t', which 'z' of the file does not"),
        ({"x": x[:, :1], "n": n}, {}, r"'x' has dimensions .* and shape \(7, 1, 3\), but"),
        ({"x": x, "n": n}, {"dims": {"x": "txy"}}, "'x' has dimensions"),
        ({"x": x, "n": xp.astype(n, "float64")}, {}, "'n' is int64 in the file, not float64"),
        ({"x": x, "n": n > 0}, {}, "'n' is int64 in the file, not bool"),
        ({"x": x, "n": n}, {"encoding": {"x": {"scale_factor": 2}}}, "scale_factor of 'x' is 2"),
    ):
        append = partial(io.save_netcdf, arrays, path, mode="a", append="t", **options)
        expect_error(comm, ValueError, f"save_netcdf: .*{match}", append)
    assert_equal(io.load(path, "x", split=0), values_of("float64"))


def test_integers_that_cannot_hold_the_values(folder, comm):
    values = np.asarray([1.0, np.nan, 3.0])
    path = folder / "i.nc"
    for x, encoding in (
        (values, {"dtype": "int16"}),
        ([4e4, 1.0], {"dtype": "int16"}),
        ([4.0, 1.0], {"dtype": "uint8", "scale_factor": 0.01}),
        ([300, 1], {"dtype": "uint8"}),
        ([-1.0, 1.0], {"dtype": "int8", "_Unsigned": "true"}),
    ):
        save = partial(io.save_netcdf, xp.asarray(x, split=0), path, encoding=encoding)
        expect_error(comm, ValueError, "save_netcdf: 'data' would be stored as numbers from", save)
    for encoding in (
        {"dtype": "int16", "missing_value": -1},
        {"dtype": "int8", "_Unsigned": "true", "_FillValue": -1},
        {"missing_value": np.asarray([-1.0, -2.0])},
        {"dtype": "uint64", "_FillValue": 2**63},
    ):
        io.save_netcdf(xp.asarray(values, split=0), path, encoding=encoding)
        x = io.load(path, "data", split=0, dtype="float64")
        assert_equal(x, values)
        raw = on_one_rank(comm, lambda: read_netcdf(path, "data"))
        assert raw.dtype == encoding.get("dtype", "float64")


def test_attributes_of_coordinates_and_of_the_file(folder, comm):
    x = xp.ones((4, 3), split=0)
    notes = {"x": {"units": "K"}, "t": {"units": "hours since 2000-01-01"}, "": {"title": "test"}}
    for arrays, name, dims in (({"x": x}, None, {"x": "ty"}), (x, "x", "ty")):
        coords = {"t": np.arange(4.0)}
        options = {"encoding": {"t": {"dtype": "int32"}}, "attributes": notes}
        io.save_netcdf(arrays, folder / "n.nc", name, dims=dims, coords=coords, **options)
        found = io.info(folder / "n.nc")
        assert found["t"].attributes == notes["t"]
        assert found["t"].dtype == np.int32
        assert found["x"].attributes == {"units": "K"}
        assert found.attributes["title"] == "test"
        assert found.unlimited == ()
    for file in ("n.h5", "n.zarr"):
        notes = {"/g/x": {"units": "K"}, "": {"title": "test"}}
        io.save({"/g/x": x}, folder / file, attributes=notes)
        found = io.info(folder / file)
        assert found["g/x"].attributes == {"units": "K"}
        assert found.attributes == {"title": "test"}
    for file in ("n.nc", "n.h5", "n.zarr"):
        save = partial(io.save, {"x": x}, folder / file, attributes={"y": {}})
        expect_error(comm, KeyError, "attributes of 'y', which is not among the arrays", save)
        save = partial(io.save, {"x": x, "/x": x}, folder / file)
        expect_error(comm, ValueError, "two of the names .* are the same", save)


def test_groups_with_variables_of_one_name(folder):
    values = values_of("float32")
    io.save({"g/x": make(values), "h/x": make(values[:2])}, folder / "g.nc")
    io.save({"x": make(values[0])}, folder / "g.nc", mode="a")
    assert_equal(io.load(folder / "g.nc", "g/x", split=0), values)
    assert_equal(io.load(folder / "g.nc", "h/x", split=0), values[:2])
    assert_equal(io.load(folder / "g.nc", "x", split=0), values[0])


def test_info_of_types_that_are_no_numbers(folder, comm):
    def write():
        with h5py.File(folder / "odd.h5", "w") as file:
            file["number"] = 1.0
            space = h5py.h5s.create_simple((3,))
            h5py.h5d.create(file.id, b"time", h5py.h5t.UNIX_D32LE.copy(), space)

    on_one_rank(comm, write)
    found = io.info(folder / "odd.h5")
    assert found["time"].dtype is None
    assert found["number"].dtype == np.float64
    expect_error(comm, TypeError, "load_hdf5: ", lambda: io.load(folder / "odd.h5", "time"))


def test_packed_values(folder, comm):
    values = np.round(values_of("float64"), 1)
    values[2, 1] = np.nan
    path = folder / "packed.nc"
    packing = {"dtype": "int16", "scale_factor": 0.1, "add_offset": 5.0, "_FillValue": -999}
    for layout in layouts(SHAPE, few=True):
        io.save_netcdf(make(values, layout), path, "x", encoding=packing)
        x = io.load(path, "x", split=0)
        assert_equal(x, values, rtol=0, atol=1e-12)
        raw = on_one_rank(comm, lambda: read_netcdf(path, "x"))
        assert raw.dtype == np.int16
        assert (raw == -999).sum() == 3
    expect_error(
        comm, ValueError, "save_netcdf: encoding of 'x' has .'zlib'.",
        lambda: io.save_netcdf(make(values), path, "x", encoding={"zlib": True}),
    )  # fmt: skip


def test_dimensions_must_agree(folder, comm):
    x = xp.ones((4, 3), split=0)
    for call, match in (
        (lambda: io.save_netcdf(x, folder / "d.nc", dims="ab", coords={"a": [1.0]}),
         "'a' has length 1"),
        (lambda: io.save_netcdf(x, folder / "d.nc", dims="a"), r"dims of 'data' is \('a',\)"),
        (lambda: io.save_netcdf(x, folder / "d.nc", dims="ab", unlimited="c"),
         "unlimited is .'c'.;"),
        (lambda: io.save_netcdf(x, folder / "d.nc", append="a"), "append is 'a', but mode 'w'"),
    ):  # fmt: skip
        expect_error(comm, ValueError, f"save_netcdf: .*{match}", call)


# ---------------------------------------------------------------- xarray


def test_datasets_of_xarray(folder, comm):
    xarray = pytest.importorskip("xarray")
    iris_sample_data = pytest.importorskip("iris_sample_data")
    for file in ("E1_north_america.nc", "ostia_monthly.nc"):
        path = Path(iris_sample_data.path) / file
        with xarray.open_dataset(path, decode_times=False) as expected:
            for dim in ("time", "longitude"):
                found = io.open_dataset(path, split=dim)
                compare_datasets(found, expected, dim)
                io.save_netcdf(found, folder / "again.nc")
                with xarray.open_dataset(folder / "again.nc", decode_times=False) as again:
                    for name, variable in expected.variables.items():
                        np.testing.assert_array_equal(again[name].values, variable.values)
                        assert variable.attrs.items() <= again[name].attrs.items()
                        assert again[name].dims == variable.dims
                comm.barrier()


def test_datasets_keep_how_they_are_stored(folder, comm):
    """Packing, numbers for what is missing, unlimited dimensions: once around, all the same."""
    xarray = pytest.importorskip("xarray")
    stored = {
        "unsigned": ("i1", [-1, -128, 5, 127], {"_Unsigned": "true"}),
        "packed": ("i2", [-5, 2, 4, 6], {"missing_value": np.int16(-5), "scale_factor": 0.5}),
        "missing": ("i2", [-5, 2, 4, 6], {"missing_value": np.int16(-5)}),
        "real": ("f4", [-5, 2, 4, 6], {"missing_value": np.float32(-5)}),
    }

    def write():
        with netCDF4.Dataset(folder / "s.nc", "w") as file:
            file.createDimension("t", None)
            for name, (dtype, values, attributes) in stored.items():
                variable = file.createVariable(name, dtype, ("t",))
                variable.set_auto_maskandscale(False)
                variable.setncatts(attributes)
                variable[:] = np.asarray(values, dtype)

    on_one_rank(comm, write)
    dataset = io.open_dataset(folder / "s.nc", split="t")
    io.save_netcdf(dataset, folder / "again.nc", encoding={"real": {"dtype": "float64"}})
    for name, (dtype, values, attributes) in stored.items():
        raw = on_one_rank(comm, partial(read_netcdf, folder / "again.nc", name))
        np.testing.assert_array_equal(raw, np.asarray(values, "f8" if name == "real" else dtype))
        assert io.info(folder / "again.nc")[name].attributes == attributes
        x = io.load(folder / "again.nc", name, split=0)
        assert_equal(x, np.asarray(dataset[name].data, x.dtype))
    assert on_one_rank(comm, partial(is_unlimited, folder / "again.nc", "t"))
    io.save_netcdf(dataset.isel(t=0), folder / "again.nc")
    match = "a Dataset has its own names, dims"
    expect_error(comm, TypeError, match, lambda: io.save_netcdf(dataset, folder / "a.nc", dims="t"))
    with xarray.open_dataset(folder / "again.nc") as again:
        assert again["real"].shape == ()
    comm.barrier()


def compare_datasets(found, expected, dim):
    assert set(found.variables) == set(expected.variables)
    assert set(found.coords) == set(expected.coords)
    assert found.sizes == expected.sizes
    for name in expected.data_vars:
        ours = found[name].data
        assert isinstance(ours, xp.Array)
        dims = expected[name].dims
        assert ours.split == (dims.index(dim) if dim in dims else None)
        assert_equal(ours, expected[name].values, rtol=0, atol=0)


# ---------------------------------------------------------------- text and npy


@pytest.mark.parametrize("dtype", [d for d in DTYPES if "complex" not in d])
def test_tables_as_text(dtype, folder, comm):
    values = values_of(dtype, (23, 4))
    for layout in layouts(values.shape, few=True):
        io.save_csv(make(values, layout), folder / "t.csv", header="a,b,c,d")
        lines = on_one_rank(comm, lambda: (folder / "t.csv").read_text().splitlines())
        assert lines[0] == "a,b,c,d"
        assert len(lines) == 24
        for split in (None, 0, 1):
            x = io.load_csv(folder / "t.csv", skip_lines=1, dtype=dtype, split=split)
            assert_equal(x, values, split=split, rtol=0, atol=0)


def test_a_format_of_numbers_that_is_none(folder, comm):
    """One row: the other ranks have no number that the format could fail on."""
    x = xp.ones((1, 3), split=0)
    match = "save_csv: format is '%q' .unsupported format.*expected a format of one number"
    expect_error(comm, ValueError, match, lambda: io.save_csv(x, folder / "q.csv", format="%q"))


def test_text_of_others(folder, comm):
    text = "# comment\n1 2 3\n\n4 5 6  # more\n-1.5e3 nan inf"
    on_one_rank(comm, lambda: (folder / "o.txt").write_text(text))
    expected = np.asarray([[1, 2, 3], [4, 5, 6], [-1500, np.nan, np.inf]])
    assert_equal(io.load_csv(folder / "o.txt", delimiter=None, split=0), expected)
    columns = io.load_csv(folder / "o.txt", delimiter=None, columns=(2, 0), split=0)
    assert_equal(columns, expected[:, [2, 0]])
    on_one_rank(comm, lambda: (folder / "bad.csv").write_text("1,2\n3,x\n"))
    expect_error(comm, ValueError, "load_csv: ", lambda: io.load_csv(folder / "bad.csv"))
    on_one_rank(comm, lambda: (folder / "bad.csv").write_text("1,2\n3\n" * 10))
    expect_error(comm, ValueError, "load_csv: ", lambda: io.load_csv(folder / "bad.csv"))
    on_one_rank(comm, lambda: (folder / "none.csv").write_text(""))
    assert io.load_csv(folder / "none.csv", split=0).shape == (0, 0)


def test_npy_of_others(folder, comm):
    values = values_of("float64")

    def write():
        np.save(folder / "f.npy", np.asfortranarray(values))
        np.save(folder / "b.npy", values.astype(">f4"))
        np.save(folder / "o.npy", np.asarray([{}], dtype=object), allow_pickle=True)
        (folder / "cut.npy").write_bytes((folder / "f.npy").read_bytes()[:-9])

    on_one_rank(comm, write)
    for split in (None, 0, 1, 2):
        assert_equal(io.load(folder / "f.npy", split=split), values, split=split, rtol=0, atol=0)
        assert_equal(io.load(folder / "b.npy", split=split), values.astype("f4"), rtol=0, atol=0)
    match = "load_npy: .*Python objects .a pickle., which are never loaded"
    expect_error(comm, ValueError, match, lambda: io.load(folder / "o.npy"))
    expect_error(comm, ValueError, "load_npy: .* is cut short", lambda: io.load(folder / "cut.npy"))


# ---------------------------------------------------------------- errors


def test_errors(folder, comm):
    x = xp.ones((4, 3), split=0)
    for kind, match, call in (
        (ValueError, "save: .* has the suffix '.bin'; expected", lambda: io.save(x, "a.bin")),
        (TypeError, "save: name is 'x'; expected None", lambda: io.save(x, folder / "a.npy", "x")),
        (FileNotFoundError, "there is no folder", lambda: io.save(x, folder / "no" / "a.npy")),
        (IsADirectoryError, "is a folder", lambda: io.save_npy(x, folder)),
        (TypeError, "save_hdf5: x is ndarray", lambda: io.save_hdf5(np.ones(3), folder / "e.h5")),
        (ValueError, "save_hdf5: no arrays", lambda: io.save_hdf5({}, folder / "e.h5")),
        (ValueError, "mode is 'r'", lambda: io.save_hdf5(x, folder / "e.h5", mode="r")),
        (ValueError, "gzip is 11", lambda: io.save_hdf5(x, folder / "e.h5", gzip=11)),
        (TypeError, "chunks is 3", lambda: io.save_hdf5(x, folder / "e.h5", chunks=3)),
        (ValueError, "save_hdf5: ", lambda: io.save_hdf5(x, folder / "e.h5", chunks=(9, 9))),
        (KeyError, "attributes of 'z'",
         lambda: io.save_hdf5({"x": x}, folder / "e.h5", attributes={"z": {}})),
        (TypeError, "real table", lambda: io.save_csv(x[0, 0], folder / "e.csv")),
        (FileNotFoundError, "load_zarr: there is no folder", lambda: io.load(folder / "no.zarr")),
        (KeyError, "array 'q' is not in", lambda: io.load(folder / "z.zarr", "q")),
    ):  # fmt: skip
        if "array 'q'" in match:
            io.save({"p": x}, folder / "z.zarr")
        expect_error(comm, kind, match, call)
    assert not on_one_rank(comm, lambda: list(map(str, folder.glob(".*unfinished"))))


def test_a_failure_leaves_the_old_file(folder, comm, monkeypatch):
    """Whichever rank fails, and whenever, the file under the name is the old one."""
    old = values_of("float64")
    new = make(old + 1, Layout.balanced(SHAPE, 0, comm))
    path = folder / "kept.h5"
    for rank in range(comm.size):
        io.save_hdf5(make(old), path)

        def fails(*args, rank=rank):
            if comm.rank == rank:
                raise OSError(28, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(_datasets, "MOST_BYTES_AT_ROOT", 0)
            patch.setattr(_flat, "_write_all", fails)
            expect_error(
                comm, OSError, "No space left", lambda: io.save_hdf5(new, path, strategy="offset")
            )
        assert_equal(io.load_hdf5(path, "data", split=0), old)
    assert on_one_rank(comm, lambda: sorted(p.name for p in folder.glob("*kept*"))) == ["kept.h5"]


@pytest.mark.parametrize(
    ("file", "step"), [("kept.npy", "flush"), ("kept.zarr", "flush"), ("kept.zarr", "_swap")]
)
def test_a_failure_at_the_last_moment(file, step, folder, comm, monkeypatch):
    """What cannot be flushed or renamed leaves the old file, and nothing beside it."""
    x = make(values_of("float64"), Layout.balanced(SHAPE, 0, comm))
    io.save(x, folder / file)

    def fails(*args):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(_atomic, step, fails)
    expect_error(comm, OSError, "Input/output error", lambda: io.save(x + 1, folder / file))
    assert_equal(io.load(folder / file, split=0), np.asarray(x))
    assert on_one_rank(comm, lambda: [p.name for p in folder.glob(".kept*")]) == []


def test_folders_where_two_names_cannot_be_exchanged(folder, comm, monkeypatch):
    """A job killed between the two renames leaves the old folder, which the next save finds."""
    x = make(values_of("float64"), Layout.balanced(SHAPE, 0, comm))
    path, aside = folder / "two.zarr", folder / ".two.zarr.replaced.unfinished"
    io.save({"x": x}, path)
    monkeypatch.setattr(_atomic, "_swap", lambda one, other: False)
    io.save({"x": x + 1}, path)
    assert_equal(io.load(path, "x", split=0), np.asarray(x) + 1)
    on_one_rank(comm, lambda: path.rename(aside) and None)
    io.save({"y": x}, path, mode="a")
    assert set(io.info(path)) == {"x", "y"}
    assert not on_one_rank(comm, aside.exists)


# ---------------------------------------------------------------- checkpoints


def test_checkpoints(folder, comm):
    values = values_of("float32")
    parameter = torch.nn.Parameter(torch.ones(3))
    optimizer = torch.optim.Adam([parameter], lr=0.1)
    parameter.grad = torch.full((3,), 2.0)
    optimizer.step()
    for layout in layouts(SHAPE, few=True):
        tree = {
            "model": {"w": make(values, layout), "b": [make(values[0]), (1, 2.5, None, "s", True)]},
            "optimizer": optimizer.state_dict(),
            "numpy": np.arange(4),
        }
        io.save_checkpoint(folder / "checkpoints", tree)
        for split in ("saved", None, 1):
            found = io.load_checkpoint(folder / "checkpoints", split=split)
            w = found["model"]["w"]
            assert_equal(w, values, rtol=0, atol=0)
            assert w.split == (layout.split if split == "saved" else split)
            assert_equal(found["model"]["b"][0], values[0])
            assert found["model"]["b"][1] == (1, 2.5, None, "s", True)
            np.testing.assert_array_equal(found["numpy"], np.arange(4))
            torch.optim.Adam([parameter], lr=0.5).load_state_dict(found["optimizer"])
            assert found["optimizer"]["param_groups"][0]["lr"] == 0.1
            state = found["optimizer"]["state"][0]
            assert torch.equal(state["exp_avg"], optimizer.state[parameter]["exp_avg"])
    match = "save_checkpoint: /x is function"
    expect_error(comm, TypeError, match, lambda: io.save_checkpoint(folder, {"x": make}))
    expect_error(comm, OSError, "load_checkpoint: ", lambda: io.load_checkpoint(folder / "none"))
    io.save_hdf5(make(values), folder / "checkpoint.h5")
    expect_error(comm, ValueError, "is not a checkpoint", lambda: io.load_checkpoint(folder))


def test_a_checkpoint_is_text_and_arrays(folder, comm):
    io.save_checkpoint(folder / "plain", {"a": xp.ones(3, split=0)})

    def read():
        with h5py.File(folder / "plain" / "checkpoint.h5") as file:
            return json.loads(file["tree"][...].tobytes().decode())

    assert on_one_rank(comm, read)["version"] == 1


def test_a_checkpoint_of_many_arrays(folder):
    tree = {f"layer {i:04}": {"weights": xp.full(2, i, split=None)} for i in range(600)}
    tree["scalar"] = xp.asarray(2.5)
    io.save_checkpoint(folder / "many", tree)
    found = io.load_checkpoint(
        folder / "many", split=lambda place, shape: 0 if place.endswith("0/weights") else None
    )
    assert found.keys() == tree.keys()
    for i in (0, 7, 590):
        x = found[f"layer {i:04}"]["weights"]
        assert_equal(x, np.full(2, i))
        assert x.split == (None if i % 10 else 0)
    assert_equal(io.load_checkpoint(folder / "many", split=0)["scalar"], np.asarray(2.5))
