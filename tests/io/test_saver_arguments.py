"""Arguments of savers that have the right type and are wrong: refused before the file is touched.

Values of wrong types are tried by `tests/project/test_wrong_arguments.py`, for every parameter.
"""

from __future__ import annotations

import functools
import math
import os
import re

import numpy as np
import pytest
import torch

import heat_array_api as xp
from arguments import WRONG, fault, outcome
from files import shared_folder
from heat_array_api import io
from layouts import assert_equal, same_everywhere

OLD = np.arange(12.0).reshape(4, 3)
INTEGERS = {"dtype": "int16"}
HUGE = 10**18
BY_VALUES = ("would be stored as", "readers would take for missing")


@pytest.fixture(scope="module")
def folder(comm):
    with shared_folder(comm) as path:
        before = os.getcwd()
        os.chdir(path)
        try:
            for suffix in ("h5", "nc", "zarr", "npy", "csv"):
                io.save(xp.asarray(OLD, split=0), f"x.{suffix}")
            io.save_checkpoint("x", {"x": xp.asarray(OLD, split=0)})
            yield path
        finally:
            os.chdir(before)


def content(folder):
    """Return all files, and the bytes of each."""
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def new():
    return xp.ones((4, 3), split=0)


def saves(suffix, **options):
    return lambda: io.save(new(), f"x.{suffix}", **options)


def complex_numbers():
    return xp.ones((2, 2), dtype="complex64", split=0)


@functools.cache
def elsewhere():
    return xp.world().split(0)


def holds_itself():
    tree: list = [1]
    tree.append(tree)
    return tree


def checkpoint(make):
    return lambda: io.save_checkpoint("x", {"a": [make()]})


CASES = {
    "chunks of other axes": (saves("h5", chunks=(2,)), "expected 2 lengths"),
    "chunks that are longer": (saves("h5", chunks=(5, 3)), "expected lengths that are no longer"),
    "chunks of length 0": (saves("h5", chunks=(0, 3)), r"chunks.0. is 0; expected at least 1"),
    "huge chunks": (saves("h5", chunks=(HUGE, 3)), "below 4 GiB"),
    "chunks False": (saves("h5", chunks=False), "chunks is False; expected a tuple"),
    "chunks 1": (saves("h5", chunks=1), "chunks is 1; expected a tuple"),
    "gzip": (saves("h5", gzip=10), "gzip is 10; expected a level, 0 to 9"),
    "strategy": (saves("h5", strategy="fast"), "strategy is 'fast'; expected 'mpio', .* or 'root'"),
    "mode": (saves("h5", mode="r"), "mode is 'r'; expected 'w' or 'a'"),
    "name": (lambda: io.save_hdf5(new(), "x.h5", "/"), "dataset is '/'; expected a string"),
    "progress": (saves("h5", progress=2), "progress is 2; expected True or False"),
    "netcdf, chunks": (saves("nc", chunks=(2,)), "expected 2 lengths"),
    "netcdf, huge chunks": (saves("nc", chunks=(HUGE, 3)), "below 4 GiB"),
    "netcdf, longer chunks": (saves("nc", chunks=(5, 3)), "expected lengths that are no longer"),
    "netcdf, strategy": (saves("nc", strategy="no"), "strategy is 'no'"),
    "netcdf, dims in no order": (saves("nc", dims={"a", "b"}), "dims is set|which has no order"),
    "netcdf, dims by number": (saves("nc", dims=(0, 1)), "dims of 'data' is .0, 1."),
    "netcdf, unlimited": (
        saves("nc", dims=("t", "x"), unlimited="tt"), "unlimited is .'tt'.; expected some of",
    ),
    "netcdf, coords": (
        saves("nc", dims=("time", "x"), coords={"tme": [1.0] * 4}),
        "coords has 'tme', which no variable has; .* time, x; did you mean 'time'",
    ),
    "netcdf, coords of two axes": (
        saves("nc", dims=("t", "x"), coords={"t": [[1.0]]}), "dims of 't' is",
    ),
    "netcdf, append": (saves("nc", append="t"), "append is 't', but mode 'w'"),
    "encoding, name": (saves("nc", encoding={"dtyp": "f4"}), "'dtyp'"),
    "encoding, number": (saves("nc", encoding={3: "f4"}), "encoding of 'data' has .'3'."),
    "encoding, no mapping": (
        lambda: io.save_netcdf({"a": new()}, "x.nc", encoding={"a": 3}),
        "encoding of 'a' is 3; expected a mapping",
    ),
    "encoding, dtype": (saves("nc", encoding={"dtype": "U3"}), "dtype of 'data' is 'U3'"),
    "scale 0": (saves("nc", encoding={"scale_factor": 0}), "scale_factor of 'data' is 0.0"),
    "scale nan": (saves("nc", encoding={"scale_factor": math.nan}), "scale_factor of .* is nan"),
    "offset inf": (saves("nc", encoding={"add_offset": math.inf}), "add_offset of 'data' is inf"),
    "fill too big": (
        saves("nc", encoding={**INTEGERS, "_FillValue": 2**15}), "_FillValue of .* is 32768",
    ),
    "fill far too big": (saves("nc", encoding={**INTEGERS, "_FillValue": 2**70}), "'_FillValue'"),
    "fill nan": (saves("nc", encoding={**INTEGERS, "_FillValue": math.nan}), "_FillValue of .*nan"),
    "fill 1.5": (saves("nc", encoding={**INTEGERS, "missing_value": 1.5}), "missing_value .*1.5"),
    "unsigned": (saves("nc", encoding={**INTEGERS, "_Unsigned": "yes"}), "_Unsigned of .* 'yes'"),
    "zarr, chunks": (saves("zarr", chunks=(2,)), "expected 2 lengths"),
    "zarr, huge chunks": (saves("zarr", chunks=(HUGE, 3)), "below 2 GiB"),
    "zarr, mode": (saves("zarr", mode="a"), "array is None; expected a name in mode 'a'"),
    "csv, delimiter": (saves("csv", delimiter=""), "delimiter is ''; expected a text"),
    "csv, end of line": (saves("csv", delimiter="\n"), "expected one that ends no line"),
    "csv, header": (saves("csv", header=3), "header is 3; expected a str"),
    "csv, format": (saves("csv", format="abc"), "format is 'abc' .*; expected a format of one"),
    "csv, two formats": (saves("csv", format="%d %d"), "format is '%d %d' "),
    "csv, complex": (lambda: io.save_csv(complex_numbers(), "x.csv"), "expected a real table"),
    "npy, name": (lambda: io.save(new(), "x.npy", "a"), "name is 'a'; expected None"),
    "no path": (lambda: io.save_npy(new(), ""), "path is ''; expected the name of a file"),
    "path with nothing": (lambda: io.save_npy(new(), "a\0.npy"), "path is 'a"),
    "half a character": (lambda: io.save_npy(new(), "\ud800.npy"), "path is '"),
    "checkpoint, key": (checkpoint(lambda: {1.5: 2}), "a key is 1.5"),
    "checkpoint, object": (checkpoint(object), "/a/0 is object, which cannot be saved"),
    "checkpoint, sparse": (checkpoint(lambda: torch.ones(3).to_sparse()), "/a/0 is a sparse"),
    "checkpoint, meta": (checkpoint(lambda: torch.ones(3, device="meta")), "/a/0 is a meta"),
    "checkpoint, masked": (checkpoint(lambda: np.ma.masked_array([1], [1])), "lose its mask"),
    "checkpoint, circle": (checkpoint(holds_itself), "or holds itself"),
    "checkpoint, ranks": (
        lambda: io.save_checkpoint("x", {"x": new()}, comm=elsewhere()), "comm is not that",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_refused_before_anything_is_touched(case, folder, comm):
    call, match = CASES[case]
    elsewhere()
    before = content(folder)
    kinds, match = (TypeError, ValueError), f"^save_?\\w*: .*{match}"
    with xp.trace() as t, pytest.raises(kinds, match=match) as caught:
        call()
    assert not t.events
    same_everywhere("the error", str(caught.value), comm)
    comm.allgather_ints((0,))
    assert content(folder) == before


@pytest.mark.parametrize(
    "key", ["dtype", "scale_factor", "add_offset", "_FillValue", "missing_value", "_Unsigned"]
)
def test_values_of_encodings(key, folder, comm):
    """Those of the fuzz of wrong arguments; some happen to make sense."""
    faults = []
    reads_the_values = re.compile("would be stored as|values that readers would take for missing")
    x = new()
    for wrong in WRONG[comm.size % 3 :: 1 if comm.size == 1 else 3]:
        for others in ({}, INTEGERS):
            encoding = {"data": {**others, key: wrong.make()}}
            found = outcome(io.save_netcdf, [x, "e.nc"], {"encoding": encoding})
            same_everywhere("the error", str(found.error), comm)
            depends = reads_the_values.search(str(found.error)) is not None
            problem = fault("io.save_netcdf", found, depends)
            faults += [f"{wrong.label}: {problem}"] if problem else []
    assert not faults


def test_what_is_right(folder, comm):
    """Lists and NumPy's integers are taken; what has no rows has no chunks."""
    x = new()
    io.save_hdf5(x, "y.h5", chunks=[np.int64(2), 3], gzip=np.int8(4))
    assert io.info("y.h5")["data"].chunks == (2, 3)
    io.save_netcdf(x, "y.nc", dims=(d for d in ("t", "x")), unlimited={"t"}, chunks=[9, 3])
    assert io.info("y.nc")["data"].chunks == (9, 3)
    io.save_netcdf(complex_numbers(), "y.nc", chunks=(1, 2))
    assert io.info("y.nc")["data"].chunks == (1, 2, 2)
    assert_equal(io.load("y.nc", split=0), np.ones((2, 2), "complex64"))
    none = xp.ones((0, 3), split=0)
    for suffix, options in (("h5", {"gzip": 1}), ("h5", {}), ("nc", {}), ("zarr", {})):
        io.save(none, f"y.{suffix}", chunks=(2, 3), **options)
        assert_equal(io.load(f"y.{suffix}", split=0), np.ones((0, 3)))
    io.save_zarr(x, "y.zarr", chunks=[3, 2])
    assert_equal(io.load("y.zarr", split=0), np.ones((4, 3)))


def test_tensors_in_checkpoints(folder):
    values = torch.asarray([1 + 2j, 3 - 1j])
    tree = {
        "conj": values.conj(),
        "neg": values.conj().imag,
        "short": torch.ones(2, dtype=torch.uint16),
    }
    io.save_checkpoint("y", tree)
    found = io.load_checkpoint("y")
    assert found.keys() == tree.keys()
    for name, expected in tree.items():
        assert found[name].dtype is expected.dtype
        assert torch.equal(found[name], expected)
